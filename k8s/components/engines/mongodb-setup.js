// Makes the replica set of one and its users, whatever of that is missing. Run by mongosh beside every start.
const fs = require('fs');
const accounts = JSON.parse(fs.readFileSync('/run/secrets/accounts.json', 'utf8'));
const [owner, ...services] = accounts;
const server = 'mongodb://127.0.0.1:27017/admin?directConnection=true&serverSelectionTimeoutMS=2000';
const patience = Date.now() + 60_000;

function until(attempt) {
  for (;;) {
    try {
      return attempt();
    } catch (trouble) {
      if (Date.now() > patience) throw trouble;
      sleep(500);
    }
  }
}

// As long as there is no user, whoever comes from the same machine may do this much (MongoDB, "Localhost Exception").
const stranger = until(() => connect(server));
try {
  stranger.adminCommand({ replSetInitiate: { _id: 'rs0', members: [{ _id: 0, host: 'mongodb:27017' }] } });
} catch (trouble) {
  // Done before: by now that wants a user.
  if (!['AlreadyInitialized', 'Unauthorized'].includes(trouble.codeName)) throw trouble;
}
until(() => {
  if (!stranger.hello().isWritablePrimary) throw new Error('mongodb-setup: no primary yet');
});
try {
  stranger.createUser(owner);
} catch (trouble) {
  if (!['Unauthorized', 'Location51003'].includes(trouble.codeName)) throw trouble;
}
stranger.auth(owner.user, owner.pwd);
for (const { user, pwd, roles } of services) {
  if (stranger.getUser(user)) stranger.updateUser(user, { pwd, roles });
  else stranger.createUser({ user, pwd, roles });
}
