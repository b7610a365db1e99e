//! What a server, its table and our rights on it are like.

use jiff::{SignedDuration, Timestamp};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::inspect::{Fact, Line, Step};
use microserve_core::open::SecretUrl;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{FromRow, MySqlConnection};

use crate::MySqlAccounts;
use crate::connections::{Connections, PATIENCE, close, within};
use crate::error::Failure;
use crate::migrate::Table;
use crate::settings;

/// Statements that touch no row, and the right that each needs.
const RIGHTS: [(&str, &str, &str); 11] = [
    ("user", "SELECT", "SELECT 1 FROM `user` WHERE FALSE"),
    ("user", "INSERT", "INSERT INTO `user` (email, password) SELECT '', '' FROM DUAL WHERE FALSE"),
    ("user", "UPDATE", "UPDATE `user` SET disabled = TRUE WHERE FALSE"),
    ("user", "DELETE", "DELETE FROM `user` WHERE FALSE"),
    ("microserve_tally", "SELECT", "SELECT 1 FROM microserve_tally WHERE FALSE"),
    (
        "microserve_tally",
        "INSERT",
        "INSERT INTO microserve_tally (name, count, at) SELECT '', 0, 0 FROM DUAL WHERE FALSE",
    ),
    ("microserve_tally", "UPDATE", "UPDATE microserve_tally SET at = 0 WHERE FALSE"),
    ("microserve_tally", "DELETE", "DELETE FROM microserve_tally WHERE FALSE"),
    ("microserve_api_key", "SELECT", "SELECT 1 FROM microserve_api_key WHERE FALSE"),
    (
        "microserve_api_key",
        "INSERT",
        "INSERT INTO microserve_api_key (digest, id, account_id, name, scopes, created_at)
            SELECT '', '', '', '', '', 0 FROM DUAL WHERE FALSE",
    ),
    ("microserve_api_key", "DELETE", "DELETE FROM microserve_api_key WHERE FALSE"),
];

impl MySqlAccounts {
    /// Finds out whether the server can be reached and logged in to, how the line is protected, whether its clock agrees
    /// with ours, whether the table is there and up to date, and which rights on it this user lacks.
    pub async fn inspect(url: &SecretUrl) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Err((step, failure)) = look(url, &mut facts).await {
            facts.push(Fact::obstacle(step, failure.into_source()));
        }
        facts
    }
}

async fn look(url: &SecretUrl, facts: &mut Vec<Fact>) -> Result<(), (Step, Failure)> {
    let using = |failure| (Step::Use, failure);
    let options = settings::parse(url).map_err(|failure| (Step::Read, failure))?;
    let connected = Connections::new(options.clone()).own().await;
    let mut conn = connected.map_err(|failure| (failure.step(), failure))?;
    let (version, _): (String, i64) = one(&mut conn, "SELECT VERSION(), 1").await.map_err(using)?;
    let product = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    facts.push(Fact::Answers(format!("{product} {version}")));
    let (_, cipher): (String, String) = one(&mut conn, "SHOW STATUS LIKE 'Ssl_cipher'").await.map_err(using)?;
    facts.push(Fact::Line(line(url, &options, !cipher.is_empty())));
    facts.push(Fact::LoggedIn);
    facts.push(Fact::Clock(clock(&mut conn).await.map_err(using)?));
    let table = Table::look(&mut conn).await.map_err(using)?;
    if !table.is_up_to_date().map_err(using)? {
        let what = if table.is_there() { "our part of the table user, or one beside it" } else { "the table user" };
        facts.push(Fact::Unmade(what.to_owned()));
        close(conn).await;
        return Ok(());
    }
    facts.push(Fact::Ready("the table user".to_owned()));
    for (table, right, statement) in RIGHTS {
        match within(PATIENCE, sqlx::query(statement).execute(&mut conn)).await {
            Err(failure) if failure.is_denied() => {
                facts.push(Fact::NoRight { on: format!("the table {table}"), right: right.to_owned() });
            }
            outcome => outcome.map(|_| ()).map_err(using)?,
        }
    }
    close(conn).await;
    Ok(())
}

async fn one<Row>(conn: &mut MySqlConnection, query: &'static str) -> Result<Row, Failure>
where
    Row: for<'r> FromRow<'r, sqlx::mysql::MySqlRow> + Send + Unpin,
{
    within(PATIENCE, sqlx::query_as(query).fetch_one(conn)).await
}

/// How far the server's clock is ahead of ours, as it was in the middle of asking.
async fn clock(conn: &mut MySqlConnection) -> Result<SignedDuration, Failure> {
    let asked = SystemClock.now();
    let (millis, _): (i64, i64) = one(conn, "SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), 1").await?;
    let answered = SystemClock.now();
    let theirs = Timestamp::from_millisecond(millis).map_err(|err| Failure::misuse(err.to_string()))?;
    Ok(theirs.duration_since(asked) - answered.duration_since(asked) / 2)
}

fn line(url: &SecretUrl, options: &MySqlConnectOptions, encrypted: bool) -> Line {
    match options.get_ssl_mode() {
        MySqlSslMode::VerifyIdentity => Line::Verified,
        _ if settings::is_local(url) => Line::Local,
        _ if encrypted => Line::Unverified,
        _ => Line::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_tls_is_open_off_this_machine() {
        for (url, encrypted, expected) in [
            ("mysql://a@db.example.com/x", true, Line::Verified),
            ("mysql://a@127.0.0.1/x", false, Line::Local),
            ("mysql://a@db.example.com/x?ssl-mode=preferred", true, Line::Unverified),
            ("mysql://a@db.example.com/x?ssl-mode=preferred", false, Line::Open),
            ("mysql://a@db.example.com/x?ssl-mode=disabled", false, Line::Open),
        ] {
            let url: SecretUrl = url.parse().unwrap();
            assert_eq!(line(&url, &settings::parse(&url).unwrap(), encrypted), expected, "{url}");
        }
    }
}
