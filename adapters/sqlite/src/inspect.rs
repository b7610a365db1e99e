//! Whether a file can be opened, without making it or changing it.

use std::path::Path;
use std::time::Duration;

use microserve_core::inspect::{Fact, Step};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::Sqlite;
use crate::open::{APPLICATION_ID, MIGRATIONS, OpenError};

/// How long to wait for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);

impl Sqlite {
    /// Finds out whether the file is one of ours, of which version, and whether it can be written. It is neither made
    /// nor brought up to date.
    pub async fn inspect(path: impl AsRef<Path>) -> Vec<Fact> {
        let path = path.as_ref();
        if !path.exists() {
            return vec![Fact::Unmade(format!("the file {}", path.display()))];
        }
        let mut facts = Vec::new();
        if let Err(obstacle) = look(path, &mut facts).await {
            facts.push(obstacle);
        }
        facts
    }
}

async fn look(path: &Path, facts: &mut Vec<Fact>) -> Result<(), Fact> {
    let using = |err: sqlx::Error| Fact::obstacle(Step::Use, err);
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).disable_statement_logging();
    let connected = SqliteConnection::connect_with(&options).await;
    let mut conn = connected.map_err(|err| Fact::obstacle(Step::Reach, err))?;
    let (release, application, version): (String, i64, i64) = sqlx::query_as(
        "SELECT sqlite_version(), (SELECT application_id FROM pragma_application_id),
                (SELECT user_version FROM pragma_user_version)",
    )
    .fetch_one(&mut conn)
    .await
    .map_err(using)?;
    facts.push(Fact::Answers(format!("SQLite {release}")));
    let path = path.to_owned();
    if application != APPLICATION_ID && (application, version) != (0, 0) {
        return Err(Fact::obstacle(Step::Use, OpenError::Foreign { path }));
    }
    match usize::try_from(version) {
        Ok(version) if version == MIGRATIONS.len() => facts.push(Fact::Ready("the tables".to_owned())),
        Ok(version) if version < MIGRATIONS.len() => facts.push(Fact::Unmade("tables of this version".to_owned())),
        _ => return Err(Fact::obstacle(Step::Use, OpenError::Newer { path, version })),
    }
    // Takes the one right to write, and changes nothing.
    let writing = conn.begin_with("BEGIN IMMEDIATE").await.map_err(using)?;
    writing.rollback().await.map_err(using)?;
    conn.close().await.map_err(using)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        assert!(matches!(&Sqlite::inspect(&path).await[..], [Fact::Unmade(_)]));
        assert!(!path.exists());
        drop(Sqlite::open(&path).await.unwrap());
        let facts = Sqlite::inspect(&path).await;
        assert!(matches!(&facts[..], [Fact::Answers(_), Fact::Ready(_)]), "{facts:?}");
        for (sql, ends) in [
            ("PRAGMA user_version = 1", "Unmade"),
            ("PRAGMA user_version = 99", "Newer"),
            ("PRAGMA application_id = 7", "Foreign"),
        ] {
            let mut conn = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path)).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
            let last = format!("{:?}", Sqlite::inspect(&path).await.last());
            assert!(last.contains(ends), "{sql}: {last}");
        }
        std::fs::write(&path, "this is no database, but long enough to be taken for one".repeat(100)).unwrap();
        let facts = Sqlite::inspect(&path).await;
        assert!(matches!(facts.last(), Some(Fact::Obstacle { .. })), "{facts:?}");
    }
}
