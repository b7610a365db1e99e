//! The tables, brought up to date.
//!
//! There is no list of steps done: what the table `user` lacks is looked up, and added by one `ALTER TABLE`, which both
//! databases do as a whole or not at all. So it does not matter how often this runs, or where it broke off.

use std::time::Duration;

use microserve_core::account::{AccountId, Email};
use microserve_core::clock::{Clock, SystemClock};
use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::connections::{Connections, PATIENCE, close, within};
use crate::error::Failure;

/// The table as others make it. `user` is no reserved word, but looks like one.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS `user` (
    id       INT          NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email    VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    password VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL
) ENGINE = InnoDB";

// By their usual rules, databases take ä for a, and the last of two such addresses for one that is there already.
const EMAIL: &str = "MODIFY COLUMN email VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL";

/// Our columns: the name, the type in the database's words, and how it is added. Rows that others insert may leave them
/// out. Times are milliseconds since 1970; ids are 24 hexadecimal characters; `email_key` is the address in lower case,
/// which is what makes it the same account.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("account_id", "char", "ADD COLUMN account_id CHAR(24) CHARACTER SET ascii COLLATE ascii_bin NULL UNIQUE"),
    ("email_key", "varchar", "ADD COLUMN email_key VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL UNIQUE"),
    ("admin", "tinyint", "ADD COLUMN admin BOOLEAN NOT NULL DEFAULT FALSE"),
    ("disabled", "tinyint", "ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE"),
    ("created_at", "bigint", "ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0"),
    ("password_changed_at", "bigint", "ADD COLUMN password_changed_at BIGINT NOT NULL DEFAULT 0"),
];

// Converted because MySQL 8 calls the texts of its dictionary binary.
const LOOK: &str = "SELECT CONVERT(column_name USING utf8mb4), CONVERT(data_type USING utf8mb4),
        CONVERT(COALESCE(collation_name, '') USING utf8mb4)
    FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'user'";

/// How often something has happened lately, such as a login with a wrong password.
const CREATE_TALLIES: &str = "CREATE TABLE IF NOT EXISTS microserve_tally (
    name  CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    count INT UNSIGNED NOT NULL,
    at    BIGINT NOT NULL,
    INDEX at (at)
) ENGINE = InnoDB";
/// What machines log in with: see `ApiKey`.
const CREATE_API_KEYS: &str = "CREATE TABLE IF NOT EXISTS microserve_api_key (
    digest     CHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    id         CHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    account_id CHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    name       VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    scopes     VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NULL,
    INDEX of_account (account_id, created_at, id)
) ENGINE = InnoDB";
/// The tables beside `user`.
const BESIDE: [(&str, &str); 2] = [("microserve_tally", CREATE_TALLIES), ("microserve_api_key", CREATE_API_KEYS)];
const LOOK_BESIDE: &str = "SELECT CONVERT(table_name USING utf8mb4) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name IN ('microserve_tally', 'microserve_api_key')";

/// Rows without an account id, in pages.
const UNADOPTED: &str = "SELECT CAST(id AS SIGNED), email FROM `user`
    WHERE (account_id IS NULL OR email_key IS NULL) AND id > ? ORDER BY id LIMIT 500";
const ADOPT: &str = "UPDATE `user` SET account_id = ?, email_key = ?, created_at = ?, password_changed_at = ?
    WHERE id = ? AND (account_id IS NULL OR email_key IS NULL)";

/// Makes the tables, or adds what they lack.
pub(crate) async fn bring_up_to_date(
    connections: &Connections,
    conn: &mut MySqlConnection,
    patience: Duration,
) -> Result<(), Failure> {
    if Table::look(conn).await?.is_up_to_date()? {
        return Ok(());
    }
    lock(conn, patience).await?;
    // The waits for those who use the table; the defaults are a day and a year.
    let seconds = patience.as_secs().max(1);
    let waits = format!("SET SESSION lock_wait_timeout = {seconds}, SESSION innodb_lock_wait_timeout = {seconds}");
    within(PATIENCE, sqlx::query(AssertSqlSafe(waits)).execute(&mut *conn)).await?;
    let table = Table::look(conn).await?;
    if !table.is_there() {
        change(connections, conn, CREATE.to_owned()).await?;
    }
    for create in table.lacks_beside() {
        change(connections, conn, create.to_owned()).await?;
    }
    let lacks = Table::look(conn).await?.lacks()?;
    if !lacks.is_empty() {
        change(connections, conn, format!("ALTER TABLE `user` {}", lacks.join(", "))).await?;
        info!("brought the table `user` up to date");
    }
    Ok(())
}

/// Lets one migrate at a time. The lock is the connection's, and ends with it.
async fn lock(conn: &mut MySqlConnection, patience: Duration) -> Result<(), Failure> {
    // Names of locks are the whole server's, and have at most 64 characters. (MySQL 9.6 has no MD5 any more.)
    let lock = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('microserve.', LEFT(SHA2(DATABASE(), 256), 32)), ?)");
    let lock = lock.bind(patience.as_secs()).fetch_one(conn);
    let got: Option<i64> = within(patience + PATIENCE, lock).await?;
    if got == Some(1) {
        return Ok(());
    }
    Err(Failure::busy(format!("somebody else has been migrating the table `user` for more than {patience:?}")))
}

/// Changes the table. Copying a large one takes its time, which has no limit but that the server is there.
async fn change(connections: &Connections, conn: &mut MySqlConnection, statement: String) -> Result<(), Failure> {
    let change = async { sqlx::query(AssertSqlSafe(statement)).execute(conn).await.map_err(Failure::from) };
    let outcome = tokio::select! {
        outcome = change => outcome,
        gone = until_gone(connections) => Err(gone),
    };
    match outcome {
        Err(err) if err.is_denied() => {
            Err(err
                .about("this user of the database may not make or change our tables; let its owner migrate once, and grant the rights on them"))
        }
        Err(err) if err.is_locked() => Err(err.about("a transaction that does not end keeps the table `user` in use")),
        outcome => outcome.map(drop),
    }
}

/// Returns why the server can't be reached, once it can't be: a connection on which one waits doesn't tell.
async fn until_gone(connections: &Connections) -> Failure {
    loop {
        sleep(PATIENCE).await;
        match connections.own().await {
            Ok(conn) => close(conn).await,
            // It has no room for us, but it is there.
            Err(failure) if failure.is_answer() => {}
            Err(failure) => return failure.about("the database was lost while it changed the table `user`"),
        }
    }
}

/// What there is, as far as this user sees it.
pub(crate) struct Table {
    /// The columns of `user`: name, type and collation. None: there is no table.
    columns: Vec<(String, String, String)>,
    /// Our tables beside it.
    beside: Vec<String>,
}

impl Table {
    pub(crate) async fn look(conn: &mut MySqlConnection) -> Result<Self, Failure> {
        let columns = within(PATIENCE, sqlx::query_as(LOOK).fetch_all(&mut *conn)).await?;
        let beside = within(PATIENCE, sqlx::query_scalar(LOOK_BESIDE).fetch_all(conn)).await?;
        Ok(Self { columns, beside })
    }

    /// Whether there is a table `user`.
    pub(crate) fn is_there(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Whether nothing is to be changed.
    pub(crate) fn is_up_to_date(&self) -> Result<bool, Failure> {
        Ok(self.lacks()?.is_empty() && self.lacks_beside().next().is_none())
    }

    /// What it takes to make the tables beside it.
    fn lacks_beside(&self) -> impl Iterator<Item = &'static str> {
        let lacks = |name: &str| !self.beside.iter().any(|table| table == name);
        BESIDE.into_iter().filter(move |(name, _)| lacks(name)).map(|(_, create)| create)
    }

    /// What it takes to make the table ours.
    fn lacks(&self) -> Result<Vec<&'static str>, Failure> {
        let mut lacks = Vec::new();
        let email = self.columns.iter().find(|(name, ..)| name == "email");
        if email.is_none_or(|(_, _, collation)| collation != "utf8mb4_bin") {
            lacks.push(EMAIL);
        }
        for (column, needed, add) in COLUMNS {
            match self.columns.iter().find(|(name, ..)| name == column) {
                None => lacks.push(add),
                Some((_, is, _)) if is == needed => {}
                Some((_, is, _)) => {
                    return Err(Failure::misuse(format!(
                        "the table `user` has a column {column} of its own: it is {is}, and should be {needed}"
                    )));
                }
            }
        }
        Ok(lacks)
    }
}

/// Gives rows that others made what they lack to be accounts.
pub(crate) async fn adopt(conn: &mut MySqlConnection) -> Result<(), Failure> {
    let now = SystemClock.now().as_millisecond();
    let (mut adopted, mut left, mut last) = (0, 0, i64::MIN);
    loop {
        let page: Vec<(i64, String)> =
            within(PATIENCE, sqlx::query_as(UNADOPTED).bind(last).fetch_all(&mut *conn)).await?;
        let Some((id, _)) = page.last() else { break };
        last = *id;
        for (id, email) in page {
            let Ok(email) = email.parse::<Email>() else {
                left += 1;
                continue;
            };
            let adopt = sqlx::query(ADOPT).bind(AccountId::adopted(&email).to_string()).bind(email.canonical());
            let adopt = adopt.bind(now).bind(now).bind(id);
            match within(PATIENCE, adopt.execute(&mut *conn)).await {
                Ok(done) => adopted += done.rows_affected(),
                Err(err) if err.is_duplicate() => left += 1,
                Err(err) => return Err(err),
            }
        }
    }
    if adopted > 0 {
        info!("gave {adopted} rows of the table `user` their account ids");
    }
    if left > 0 {
        warn!("{left} rows of the table `user` have no e-mail address, or one that is there twice, and are not used");
    }
    Ok(())
}
