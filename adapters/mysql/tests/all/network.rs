//! A network with faults between us and the database, while calls go on: nobody waits without end, nothing is there by
//! half, what was acknowledged stays, and things go on by themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use microserve_core::account::{Account, AccountId, AuthError, AuthStore, PasswordHash};
use microserve_core::clock::{Clock, SystemClock};
use microserve_mysql::MySqlAccounts;
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};
use microserve_testkit::servers::mariadb::Server;

/// No call takes longer, whatever the fault: two seconds are waited for an answer, and a busy machine.
const BOUND: Duration = Duration::from_secs(4);
/// A network that is well again is used again within this time.
const RECOVERY: Duration = Duration::from_secs(15);
/// How long a fault lasts that does not end by itself: longer than an answer is waited for.
const LASTING: Duration = Duration::from_millis(2_500);

/// A server behind a proxy, and its database in the proxy's and in its own URL.
struct World {
    server: Server,
    proxy: ChaosProxy,
    url: String,
    direct: String,
}

impl World {
    fn start() -> Self {
        let server = Server::start();
        let proxy = ChaosProxy::start(server.port());
        let direct = server.database();
        // In the open, so that the proxy can see what passes.
        let url = direct.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
        Self { server, proxy, url: format!("{url}?ssl-mode=DISABLED"), direct }
    }

    fn sql(&self, statements: &str) -> String {
        self.server.sql(self.direct.rsplit('/').next().unwrap(), statements)
    }
}

async fn open(url: &str) -> MySqlAccounts {
    MySqlAccounts::open(&url.parse().unwrap()).await.unwrap()
}

fn account(n: usize) -> Account {
    let now = SystemClock.now();
    Account {
        id: AccountId::random(),
        email: format!("anna{n}@example.com").parse().unwrap(),
        password: hash(0),
        admin: false,
        disabled: false,
        created_at: now,
        password_changed_at: now,
    }
}

fn hash(n: usize) -> PasswordHash {
    PasswordHash::from_stored(format!("$argon2id${n:06}"))
}

/// What was asked for, and what the database has said yes to.
#[derive(Default)]
struct Book {
    n: usize,
    asked: BTreeMap<AccountId, Account>,
    acknowledged: Vec<AccountId>,
    /// The last password that was acknowledged.
    password: usize,
    failed: usize,
}

/// Fails unless the outcome is good or may pass, and came in time.
fn judged<T: std::fmt::Debug>(what: &str, started: Instant, outcome: Result<T, AuthError>) -> Option<T> {
    assert!(started.elapsed() < BOUND, "{what}: {outcome:?} came after {:?}", started.elapsed());
    match outcome {
        Ok(value) => Some(value),
        Err(AuthError::Unavailable(_)) => None,
        Err(err) => panic!("{what}: {err:?}"),
    }
}

impl Book {
    /// Every kind of call once; whether all went well.
    async fn round(&mut self, accounts: &MySqlAccounts, owner: &Account) -> bool {
        self.n += 1;
        let fresh = account(self.n);
        self.asked.insert(fresh.id, fresh.clone());
        let started = Instant::now();
        let inserted = judged("insert", started, accounts.insert(&fresh).await).is_some();
        if inserted {
            self.acknowledged.push(fresh.id);
        }
        let started = Instant::now();
        let set = accounts.set_password(owner.id, &hash(self.n), owner.created_at).await;
        let set = judged("set_password", started, set).is_some();
        if set {
            self.password = self.n;
        }
        let started = Instant::now();
        let found = judged("find", started, accounts.find(&owner.email).await);
        if let Some(found) = &found {
            let password = found.as_ref().unwrap().password.as_str().to_owned();
            assert!(
                password.as_str() >= hash(self.password).as_str(),
                "{password}: {} was acknowledged",
                self.password
            );
        }
        let started = Instant::now();
        let listed = judged("list", started, accounts.list(None, 3).await).is_some();
        let well = inserted && set && found.is_some() && listed;
        self.failed += usize::from(!well);
        well
    }

    async fn until_well(&mut self, accounts: &MySqlAccounts, owner: &Account, name: &str) {
        let started = Instant::now();
        while !self.round(accounts, owner).await {
            assert!(started.elapsed() < RECOVERY, "{name}: it is not there again");
        }
        println!("{name}: well again after {:?}", started.elapsed());
    }
}

async fn survives(faults: Vec<Fault>) {
    let world = World::start();
    let accounts = open(&world.url).await;
    accounts.migrate(Duration::from_secs(10)).await.unwrap();
    let (mut book, owner) = (Book::default(), account(0));
    accounts.insert(&owner).await.unwrap();
    for fault in faults {
        let name = format!("{fault:?}");
        let once = matches!(fault, Fault::CutOn { .. });
        // Statements are told to each connection anew, so that a cut finds their words.
        if once {
            world.proxy.set(Fault::Reset);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        world.proxy.set(fault);
        let started = Instant::now();
        while !world.proxy.is_healthy() && (once || started.elapsed() < LASTING) {
            assert!(started.elapsed() < RECOVERY, "{name}: never came to pass");
            book.round(&accounts, &owner).await;
        }
        world.proxy.heal();
        book.until_well(&accounts, &owner, &name).await;
    }
    let stored = open(&world.direct).await.list(None, usize::MAX).await.unwrap();
    for account in stored.iter().filter(|account| account.id != owner.id) {
        assert_eq!(Some(account), book.asked.get(&account.id), "as it was asked for, or not at all");
    }
    for id in &book.acknowledged {
        assert!(stored.iter().any(|account| account.id == *id), "{id:?} was acknowledged");
    }
    println!("acknowledged {}, lost 0; {} of {} rounds failed", book.acknowledged.len(), book.failed, book.n);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_breaks_loses_nothing() {
    survives(vec![Fault::Refuse, Fault::Reset, Fault::HalfClose, Fault::CutAfter(900)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_loses_nothing() {
    survives(vec![Fault::BlackHole, Fault::BlackHole]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_network_loses_nothing() {
    survives(vec![Fault::Latency(Duration::from_millis(200)), Fault::Throttle(1_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_the_worst_moment_loses_nothing() {
    // The end of an OK packet with one row changed (MySQL "OK_Packet"), which is all that says yes.
    let yes = [0, 0, 1, 0, 1, 0];
    let mut cuts = Vec::new();
    for arrive in [false, true] {
        let words: [(Towards, &[u8]); 5] = [
            (Towards::Server, b"INSERT INTO"),
            (Towards::Server, b"@example.com"),
            (Towards::Server, b"UPDATE `user`"),
            (Towards::Server, b"$argon2id$"),
            (Towards::Client, &yes),
        ];
        cuts.extend(words.map(|(towards, bytes)| Fault::CutOn { towards, bytes: bytes.to_vec(), arrive }));
    }
    survives(cuts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_cut_is_done_by_the_next() {
    for word in ["GET_LOCK", "CREATE TABLE", "ALTER TABLE", "UPDATE `user`"] {
        for arrive in [false, true] {
            let world = World::start();
            // Made by it where it says so, somebody else's otherwise.
            if word != "CREATE TABLE" {
                world.sql(
                    "CREATE TABLE user (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
                        email VARCHAR(255) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL);
                    INSERT INTO user (email, password) VALUES ('bob@example.com', 'x'), ('eve@example.com', 'x')",
                );
            }
            let accounts = open(&world.url).await;
            world.proxy.set(Fault::CutOn { towards: Towards::Server, bytes: word.into(), arrive });
            let cut = accounts.migrate(Duration::from_secs(5)).await;
            assert!(matches!(cut, Err(AuthError::Unavailable(_))) && world.proxy.is_healthy(), "{word}: {cut:?}");
            accounts.migrate(Duration::from_secs(5)).await.unwrap();
            let expected = if word == "CREATE TABLE" { 0 } else { 2 };
            assert_eq!(accounts.list(None, 9).await.unwrap().len(), expected, "{word}");
            assert_eq!(world.sql("SELECT COUNT(*) FROM user WHERE account_id IS NULL"), "0", "{word}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_whose_database_falls_silent_ends() {
    let world = World::start();
    let accounts = open(&world.url).await;
    world.sql("CREATE TABLE user (id INT PRIMARY KEY, email VARCHAR(255) UNIQUE, password VARCHAR(255))");
    // It waits for this one, and hears nothing more.
    let _holding = world.server.hold(world.direct.rsplit('/').next().unwrap(), "BEGIN; SELECT * FROM user");
    let migrating = tokio::spawn({
        let accounts = accounts.clone();
        async move { accounts.migrate(Duration::from_secs(100)).await }
    });
    let started = Instant::now();
    while !world.sql("SELECT info FROM information_schema.processlist").contains("ALTER TABLE `user`") {
        assert!(started.elapsed() < RECOVERY, "it never got there");
    }
    world.proxy.set(Fault::BlackHole);
    let started = Instant::now();
    let err = migrating.await.unwrap().unwrap_err();
    assert!(matches!(err, AuthError::Unavailable(_)) && started.elapsed() < RECOVERY, "{err:?}");
}
