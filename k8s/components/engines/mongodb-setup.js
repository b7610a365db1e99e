// Makes the replica set of one and its users, whatever of that is missing. Run by mongosh beside every start.
const fs = require('fs');
const [owner, ...services] = JSON.parse(fs.readFileSync('/run/secrets/accounts.json', 'utf8'));
const server = 'mongodb://127.0.0.1:27017/admin?directConnection=true&serverSelectionTimeoutMS=2000';
const patience = Date.now() + 60_000;

let admin;
while (!admin) {
  try {
    admin = connect(server);
  } catch (trouble) {
    if (Date.now() > patience) throw trouble;
    sleep(500);
  }
}

// As long as there is no user, whoever comes from the same machine may do this much (MongoDB, "Localhost Exception").
// Later it takes a user, and has been done.
const done = ['AlreadyInitialized', 'Unauthorized'];
try {
  admin.adminCommand({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: 'mongodb:27017' }] } });
} catch (trouble) {
  if (!done.includes(trouble.codeName)) throw trouble;
}
let primary = false;
while (!primary) {
  primary = admin.hello().isWritablePrimary;
  if (!primary && Date.now() > patience) throw new Error('mongodb-setup: it does not become primary');
  if (!primary) sleep(500);
}
try {
  admin.createUser(owner);
} catch (trouble) {
  if (!done.includes(trouble.codeName)) throw trouble;
}
admin.auth(owner.user, owner.pwd);
for (const { user, pwd, roles } of services) {
  const known = admin.getUser(user);
  if (known) admin.updateUser(user, { pwd, roles });
  else admin.createUser({ user, pwd, roles });
}
