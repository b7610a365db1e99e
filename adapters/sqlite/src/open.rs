//! Opening the file: connections, and tables brought up to date.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use microserve_core::BoxError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};
use tokio::time::Instant;

use crate::writer::Writer;

/// How long to wait for other processes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Reads are short, and SQLite serves them from memory mostly.
const READERS: u32 = 4;
/// The steps from an empty file to the present tables; the last statement of each sets `user_version` to its number.
pub(crate) const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/0001_accounts_jobs_messages.sql"),
    include_str!("../migrations/0002_jobs_of_everybody.sql"),
    include_str!("../migrations/0003_tallies.sql"),
    include_str!("../migrations/0004_what_jobs_take_up.sql"),
    include_str!("../migrations/0005_api_keys.sql"),
];
/// `PRAGMA application_id` of our files: "msrv".
pub(crate) const APPLICATION_ID: i64 = 0x6d73_7276;

/// Why a file can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be made or read.
    #[error("can't open the database file {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        #[source]
        source: BoxError,
    },
    /// The file belongs to another program.
    #[error("{} is a database of another program", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was last used by a newer microserve.
    #[error("{} has tables of version {version}, and this microserve knows versions up to {}", .path.display(), MIGRATIONS.len())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i64,
    },
}

/// Opens the file for reading and for writing.
pub(crate) async fn open(path: &Path) -> Result<(SqlitePool, Writer), OpenError> {
    let failed = |source: BoxError| OpenError::File { path: path.to_owned(), source };
    let made = path.to_owned();
    // An absolute path is nothing but a path to SQLite: not `:memory:`, and no `file:` URL.
    let absolute = tokio::task::spawn_blocking(move || make_file(&made))
        .await
        .map_err(|err| failed(err.into()))?
        .map_err(|err| failed(err.into()))?;
    let options = options(&absolute);
    let mut conn = connect(&options).await.map_err(|err| failed(err.into()))?;
    migrate(&mut conn, path).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .min_connections(1)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        // There is no network in between that could have cut the connection.
        .test_before_acquire(false)
        .connect_with(options.clone().pragma("query_only", "ON"))
        .await
        .map_err(|err| failed(err.into()))?;
    let writer = Writer::start(options, conn).map_err(|err| failed(err.into()))?;
    Ok((readers, writer))
}

/// Makes the file if it isn't there, for its owner only whatever the umask says; SQLite gives the files beside it
/// (`-wal`, `-shm`) the same mode. Returns its absolute path.
fn make_file(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(_) => {
            // The file's name has to survive a power cut as well. SQLite sees to the files that it makes itself.
            if let Some(folder) = path.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(err),
    }
    Ok(path)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // FULL: a commit is an fsync. With NORMAL a power cut would undo what was answered.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        // After a burst the log is cut down to this (64 MiB) again.
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// Connects. Turning on the write-ahead log of a fresh file wants it for itself and doesn't wait for another process
/// that does the same, so the waiting is done here.
async fn connect(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match SqliteConnection::connect_with(options).await {
            Err(sqlx::Error::Database(err)) if err.code().as_deref() == Some("5") && Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            outcome => return outcome,
        }
    }
}

/// Brings the tables up to date, in one transaction: another process that opens the file waits, and then finds
/// nothing left to do.
async fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let failed = |err: sqlx::Error| OpenError::File { path: path.to_owned(), source: err.into() };
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let (application, version, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version),
                (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed)?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let done = usize::try_from(version).ok().filter(|done| *done <= MIGRATIONS.len());
    let Some(done) = done else { return Err(OpenError::Newer { path: path.to_owned(), version }) };
    for step in &MIGRATIONS[done..] {
        sqlx::raw_sql(*step).execute(&mut *transaction).await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)
}
