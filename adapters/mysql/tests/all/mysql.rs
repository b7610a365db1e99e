//! What the suite of the port doesn't ask: other people's tables, rights, locks, and a server that goes away.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use std::error::Error;
use std::time::{Duration, Instant};

use microserve_core::account::{Account, AccountId, AuthError, AuthStore, Email, PasswordHash, Tally, TallyName};
use microserve_core::api_key::{ApiKey, ApiKeyId, KeyDigest, Scope, Scopes};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::password::{Passwords, Verdict};
use microserve_mysql::MySqlAccounts;
use microserve_testkit::servers::mariadb::Server;

const PATIENCE: Duration = Duration::from_secs(10);

/// As the tutorial makes it, with somebody in it.
const TUTORIAL: &str = "CREATE TABLE user (
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE, password VARCHAR(255) NOT NULL);
    INSERT INTO user (email, password) VALUES ('Georgio@Email.com', 'Admin123')";

async fn open(url: &str) -> Result<MySqlAccounts, AuthError> {
    MySqlAccounts::open(&url.parse().unwrap()).await
}

async fn migrated(url: &str) -> MySqlAccounts {
    let accounts = open(url).await.unwrap();
    accounts.migrate(PATIENCE).await.unwrap();
    accounts
}

/// The database's name in its URL.
fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

fn email(text: &str) -> Email {
    text.parse().unwrap()
}

fn anna() -> Account {
    let now = SystemClock.now();
    Account {
        id: AccountId::random(),
        email: email("anna@example.com"),
        password: PasswordHash::from_stored("$argon2id$…"),
        admin: false,
        disabled: false,
        created_at: now,
        password_changed_at: now,
    }
}

/// An error with everything that is behind it.
fn words(err: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(err), |err| (*err).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_table_that_is_there_is_adopted() {
    let server = Server::start();
    let url = server.database();
    server.sql(name(&url), TUTORIAL);
    let before = SystemClock.now();
    let accounts = migrated(&url).await;

    let georgio = accounts.find(&email("georgio@email.com")).await.unwrap().unwrap();
    assert_eq!((georgio.email.as_str(), georgio.password.as_str()), ("Georgio@email.com", "Admin123"));
    assert!(!georgio.admin && !georgio.disabled && georgio.created_at >= before, "{georgio:?}");
    assert_eq!(accounts.get(georgio.id).await.unwrap().unwrap(), georgio, "its id stays");
    assert_eq!(server.sql(name(&url), "SELECT id, email, password FROM user"), "1\tGeorgio@Email.com\tAdmin123");

    let again = Account { email: email("GEORGIO@email.com"), ..anna() };
    assert!(matches!(accounts.insert(&again).await, Err(AuthError::AlreadyExists)));
}

#[tokio::test]
async fn a_password_in_plain_text_lets_nobody_in() {
    let server = Server::start();
    let url = server.database();
    server.sql(name(&url), TUTORIAL);
    let georgio = migrated(&url).await.find(&email("georgio@email.com")).await.unwrap().unwrap();
    let verdict = Passwords::new(1).verify(Some(&georgio.password), "Admin123".into()).await.unwrap();
    assert_eq!(verdict, Verdict::Wrong);
}

#[tokio::test]
async fn rows_that_others_add_are_adopted_at_the_next_migration() {
    let server = Server::start();
    let url = server.database();
    let accounts = migrated(&url).await;
    server.sql(name(&url), "INSERT INTO user (email, password) VALUES ('bob@example.com', 'x'), ('no address', 'x')");
    assert_eq!(accounts.list(None, 10).await.unwrap(), []);
    accounts.migrate(PATIENCE).await.unwrap();
    let listed: Vec<_> = accounts.list(None, 10).await.unwrap().into_iter().map(|a| a.email).collect();
    assert_eq!(listed, [email("bob@example.com")], "what is no account is not shown, and harms nobody");
    assert_eq!(server.sql(name(&url), "SELECT email FROM user WHERE account_id IS NULL"), "no address");
}

#[tokio::test]
async fn addresses_that_differ_in_case_only_are_one_account() {
    let server = Server::start();
    let url = server.database();
    let cased = "CREATE TABLE user (id INT AUTO_INCREMENT PRIMARY KEY,
            email VARCHAR(255) COLLATE utf8mb4_bin NOT NULL UNIQUE, password VARCHAR(255) NOT NULL);
        INSERT INTO user (email, password) VALUES ('Bob@example.com', 'first'), ('bob@example.com', 'second')";
    server.sql(name(&url), cased);
    let all = migrated(&url).await.list(None, 10).await.unwrap();
    let [bob] = &all[..] else { panic!("one account, not {all:?}") };
    assert_eq!(bob.password.as_str(), "first");
}

#[tokio::test]
async fn addresses_that_differ_in_accents_are_two_accounts() {
    let server = Server::start();
    let url = server.database();
    // The usual rules of a database of these days, and of one of former days.
    server.sql(name(&url), "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_swedish_ci");
    server.sql(name(&url), TUTORIAL);
    let accounts = migrated(&url).await;
    for address in ["anna@example.com", "ånna@example.com", "アンナ@example.com"] {
        accounts.insert(&Account { email: email(address), ..anna() }).await.unwrap();
    }
    let other = accounts.find(&email("ÅNNA@example.com")).await.unwrap().unwrap();
    assert_eq!(other.email.as_str(), "ånna@example.com");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_or_at_once_is_migrating() {
    let server = Server::start();
    let url = server.database();
    server.sql(name(&url), TUTORIAL);
    let racers: Vec<_> = (0..6)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { migrated(&url).await }
            })
        })
        .collect();
    let mut ids = Vec::new();
    for racer in racers {
        ids.push(racer.await.unwrap().find(&email("georgio@email.com")).await.unwrap().unwrap().id);
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "everybody sees the same account: {ids:?}");
    migrated(&url).await.insert(&anna()).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_is_locked_out_says_by_what() {
    let server = Server::start();
    let url = server.database();
    let accounts = open(&url).await.unwrap();
    for (held, said) in [
        (
            "SELECT GET_LOCK(CONCAT('microserve.', LEFT(SHA2(DATABASE(), 256), 32)), 0)".to_owned(),
            "somebody else has been migrating",
        ),
        (format!("{TUTORIAL}; BEGIN; SELECT * FROM user"), "a transaction that does not end"),
    ] {
        let holding = server.hold(name(&url), &held);
        let started = Instant::now();
        let err = accounts.migrate(Duration::from_secs(1)).await.unwrap_err();
        assert!(matches!(err, AuthError::Unavailable(_)) && words(&err).contains(said), "{}", words(&err));
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        drop(holding);
    }
    accounts.migrate(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_column_of_the_same_name_and_another_type_is_left_alone() {
    let server = Server::start();
    let url = server.database();
    server.sql(name(&url), TUTORIAL);
    server.sql(name(&url), "ALTER TABLE user ADD COLUMN created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP");
    let err = open(&url).await.unwrap().migrate(PATIENCE).await.unwrap_err();
    assert!(matches!(err, AuthError::Internal(_)) && words(&err).contains("created_at"), "{}", words(&err));
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let server = Server::start();
    let (fresh, tutorial) = (server.database(), server.database());
    server.sql(name(&tutorial), TUTORIAL);
    server.sql("", "CREATE USER 'microserve'@'%' IDENTIFIED BY 'a'; CREATE USER 'owner'@'%' IDENTIFIED BY 'b'");
    for database in [name(&fresh), name(&tutorial)] {
        server.sql(database, "GRANT SELECT, INSERT, UPDATE, CREATE, ALTER ON user TO 'owner'@'%'");
        server.sql(database, "GRANT CREATE ON microserve_tally TO 'owner'@'%'");
        server.sql(database, "GRANT CREATE ON microserve_api_key TO 'owner'@'%'");
    }
    migrated(&server.url("owner", "b", name(&fresh))).await;
    for database in [name(&fresh), name(&tutorial)] {
        server.sql(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON user TO 'microserve'@'%'");
    }
    let beside = "GRANT SELECT, INSERT, UPDATE, DELETE ON microserve_tally TO 'microserve'@'%';
        GRANT SELECT, INSERT, DELETE ON microserve_api_key TO 'microserve'@'%'";
    server.sql(name(&fresh), beside);

    let daily = open(&server.url("microserve", "a", name(&tutorial))).await.unwrap();
    let err = daily.migrate(PATIENCE).await.unwrap_err();
    assert!(matches!(err, AuthError::Internal(_)) && words(&err).contains("let its owner"), "{}", words(&err));
    migrated(&server.url("owner", "b", name(&tutorial))).await;
    server.sql(name(&tutorial), beside);
    daily.migrate(PATIENCE).await.unwrap();

    let daily = migrated(&server.url("microserve", "a", name(&fresh))).await;
    let (anna, hash) = (anna(), PasswordHash::from_stored("$argon2id$…2"));
    daily.ping().await.unwrap();
    daily.insert(&anna).await.unwrap();
    assert_eq!(daily.list(None, 10).await.unwrap(), std::slice::from_ref(&anna));
    assert_eq!(daily.find(&anna.email).await.unwrap(), daily.get(anna.id).await.unwrap());
    assert!(daily.rehash(anna.id, &anna.password, &hash).await.unwrap());
    assert!(!daily.rehash(anna.id, &PasswordHash::from_stored("$ARGON2ID$…2"), &hash).await.unwrap());
    daily.set_password(anna.id, &hash, anna.created_at).await.unwrap();
    daily.set_disabled(anna.id, true).await.unwrap();
    let (name, tally) = (TallyName::of("account", "anna"), Tally { count: 1, at: anna.created_at });
    assert!(daily.swap_tally(&name, None, Some(tally)).await.unwrap());
    assert!(daily.swap_tally(&name, Some(tally), Some(Tally { count: 2, ..tally })).await.unwrap());
    assert_eq!(daily.tally(&name).await.unwrap(), Some(Tally { count: 2, ..tally }));
    daily.forget_tallies(anna.created_at).await.unwrap();
    let key = ApiKey {
        id: ApiKeyId::random(),
        account: anna.id,
        name: "ci".to_owned(),
        digest: KeyDigest::from_stored("0".repeat(64)),
        scopes: Scopes::from_iter([Scope::Upload]),
        created_at: anna.created_at,
        expires_at: None,
    };
    daily.insert_api_key(&key).await.unwrap();
    assert_eq!(daily.find_api_key(&key.digest).await.unwrap().as_ref(), Some(&key));
    assert_eq!(daily.api_keys(anna.id).await.unwrap(), std::slice::from_ref(&key));
    assert!(daily.delete_api_key(anna.id, key.id).await.unwrap());
    let pool = daily.pool().unwrap();
    assert!(pool.open >= 1 && pool.idle <= pool.open && pool.open <= pool.most, "{pool:?}");
    daily.delete(anna.id).await.unwrap();
}

#[tokio::test]
async fn whoever_logs_in_is_found_by_an_index() {
    let server = Server::start();
    let url = server.database();
    let accounts = migrated(&url).await;
    let rows: Vec<_> = (0..500).map(|n| format!("('user{n}@example.com', 'x')")).collect();
    server.sql(name(&url), &format!("INSERT INTO user (email, password) VALUES {}", rows.join(", ")));
    accounts.migrate(PATIENCE).await.unwrap();
    server.sql(name(&url), "ANALYZE TABLE user");
    let id = accounts.find(&email("user7@example.com")).await.unwrap().unwrap().id;
    for (question, index, rows) in [
        ("email_key = 'user7@example.com'".to_owned(), "email_key", 1),
        (format!("account_id = '{id}'"), "account_id", 1),
        ("email_key > 'user7@example.com' ORDER BY email_key LIMIT 10".to_owned(), "email_key", 100),
    ] {
        // The columns of EXPLAIN: …, key, key_len, ref, rows, …
        let plan = server.sql(
            name(&url),
            &format!("EXPLAIN FORMAT=TRADITIONAL SELECT * FROM user WHERE account_id IS NOT NULL AND {question}"),
        );
        let columns: Vec<_> = plan.split('\t').collect();
        let of_rows = if columns.len() > 10 { 9 } else { 8 };
        let (key, looked_at): (_, u32) = (columns[of_rows - 3], columns[of_rows].parse().unwrap());
        assert!(key == index && looked_at <= rows, "{question}: {plan}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable_and_comes_back() {
    let mut server = Server::start();
    let url = server.database();
    let accounts = migrated(&url).await;
    accounts.insert(&anna()).await.unwrap();
    server.kill();

    let started = Instant::now();
    let Err(err) = open(&url).await else { panic!("there is no server") };
    assert!(matches!(err, AuthError::Unavailable(_)) && words(&err).contains("refused"), "{}", words(&err));
    for _ in 0..2 {
        let started = Instant::now();
        let err = accounts.find(&email("anna@example.com")).await.unwrap_err();
        assert!(matches!(err, AuthError::Unavailable(_)) && words(&err).contains("refused"), "{}", words(&err));
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());

    server.restart();
    assert!(accounts.find(&email("anna@example.com")).await.unwrap().is_some(), "nothing had to be opened anew");
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_and_comes_back() {
    let server = Server::start();
    let accounts = migrated(&server.database()).await;
    accounts.insert(&anna()).await.unwrap();
    server.freeze();
    for _ in 0..2 {
        // More than there are connections, and nobody waits for the answer.
        let crowd = (0..20).map(|_| {
            tokio::spawn({
                let accounts = accounts.clone();
                async move { accounts.ping().await }
            })
        });
        let crowd: Vec<_> = crowd.collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        crowd.iter().for_each(tokio::task::JoinHandle::abort);
        let started = Instant::now();
        let err = accounts.find(&email("anna@example.com")).await.unwrap_err();
        assert!(matches!(err, AuthError::Unavailable(_)), "{}", words(&err));
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }
    server.thaw();
    let started = Instant::now();
    while accounts.ping().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "it is there again");
    }
    assert!(accounts.find(&email("anna@example.com")).await.unwrap().is_some());
}

#[tokio::test]
async fn certificates_are_verified() {
    let server = Server::start();
    let (port, ca) = (server.port(), server.authority());
    for (rest, trusted) in [
        (format!("localhost:{port}/mysql?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"), true),
        (format!("localhost:{port}/mysql?ssl-mode=VERIFY_IDENTITY"), false),
        (format!("127.0.0.1:{port}/mysql?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}"), false),
        (format!("localhost:{port}/mysql?ssl-mode=DISABLED"), true),
    ] {
        let opened = open(&format!("mysql://root@{rest}")).await;
        assert_eq!(opened.is_ok(), trusted, "{rest}: {:?}", opened.err());
    }
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_try_again() {
    let server = Server::start();
    let url = server.url("root", "wrong-secret", "mysql");
    let Err(err) = open(&url).await else { panic!("root has no password") };
    assert!(matches!(err, AuthError::Internal(_)) && !words(&err).contains("wrong-secret"), "{}", words(&err));
}
