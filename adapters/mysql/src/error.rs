//! What the database's troubles mean to whoever asked.

use std::fmt;
use std::time::Duration;

use microserve_core::BoxError;
use microserve_core::account::AuthError;
use microserve_core::inspect::Step;
use sqlx::mysql::MySqlDatabaseError;

/// Why something could not be read or written.
#[derive(Debug)]
pub(crate) struct Failure {
    transient: bool,
    number: Option<u16>,
    source: BoxError,
}

impl Failure {
    /// Somebody has to change something.
    pub(crate) fn misuse(words: impl Into<String>) -> Self {
        Self { transient: false, number: None, source: words.into().into() }
    }

    /// There was no answer in time.
    pub(crate) fn slow(limit: Duration) -> Self {
        Self { transient: true, number: None, source: format!("no answer within {limit:?}").into() }
    }

    /// Something that others do has not ended in time.
    pub(crate) fn busy(words: impl Into<String>) -> Self {
        Self { transient: true, number: None, source: words.into().into() }
    }

    /// The same failure, and what it was about.
    pub(crate) fn about(self, words: &'static str) -> Self {
        Self { source: Box::new(About { words, source: self.source }), ..self }
    }

    /// Whether a row of this key is there already: ER_DUP_ENTRY. (`constraint()` is a thing of other databases.)
    pub(crate) fn is_duplicate(&self) -> bool {
        self.number == Some(1062)
    }

    /// Whether the user lacks a right: on the database, a statement, a table or a column.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.number, Some(1044 | 1142 | 1143 | 1227))
    }

    /// What was tried in vain, if this came of connecting.
    pub(crate) fn step(&self) -> Step {
        match (self.number, self.source.downcast_ref()) {
            // ER_ACCESS_DENIED_ERROR, and the same without a password; a way to log in that we don't know.
            (Some(1045 | 1251 | 1698), _) => Step::LogIn,
            // The server is there, and says something else: no such database, say.
            (Some(_), _) => Step::Use,
            (None, Some(sqlx::Error::Tls(_))) => Step::Encrypt,
            // What rustls says of a certificate.
            (None, Some(sqlx::Error::Io(err))) if err.kind() == std::io::ErrorKind::InvalidData => Step::Encrypt,
            (None, Some(sqlx::Error::Configuration(_))) => Step::Read,
            _ => Step::Reach,
        }
    }

    pub(crate) fn into_source(self) -> BoxError {
        self.source
    }

    /// Whether the server itself has said so.
    pub(crate) fn is_answer(&self) -> bool {
        self.number.is_some()
    }

    /// Whether a lock was not given in time.
    pub(crate) fn is_locked(&self) -> bool {
        self.number == Some(1205)
    }
}

/// An error of the database, and what was tried.
#[derive(Debug)]
struct About {
    words: &'static str,
    source: BoxError,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words)
    }
}

impl std::error::Error for About {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(err: sqlx::Error) -> Self {
        Self { transient: is_transient(&err), number: number(&err), source: err.into() }
    }
}

/// The one place that decides what may be tried again.
fn is_transient(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Database(db) => number(err).is_some_and(may_pass) || db.code().as_deref().is_some_and(is_connection),
        sqlx::Error::Io(_)
        // Certificates are renewed.
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

/// The error's number, if it came from the server (MySQL "Server Error Message Reference", MariaDB "Error Code
/// Reference").
fn number(err: &sqlx::Error) -> Option<u16> {
    err.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// SQLSTATE classes: 08 is the connection, 40 a transaction that was rolled back for another's sake.
fn is_connection(state: &str) -> bool {
    state.starts_with("08") || state.starts_with("40")
}

/// The server or somebody else on it is in trouble, and somebody will see to it.
fn may_pass(number: u16) -> bool {
    matches!(
        number,
        // Disk full, out of memory, out of threads, trouble in the storage engine.
        1021 | 1030 | 1037 | 1038 | 1041 | 1135
        // Too many connections: in all, of this user, within the hour; the host is blocked for its failed ones.
        | 1040 | 1129 | 1203 | 1226
        // A node of a cluster that is not ready, a server that stops, one that is a replica or read-only for now.
        | 1047 | 1053 | 1290 | 1792 | 1836
        // A full table, a lock that was not given, a deadlock.
        | 1114 | 1205 | 1213
        // A statement or connection that was ended from outside.
        | 1317 | 1927 | 1969 | 3024 | 4031
    )
}

impl From<Failure> for AuthError {
    fn from(failure: Failure) -> Self {
        if failure.transient { Self::Unavailable(failure.source) } else { Self::Internal(failure.source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_may_pass_is_unavailable() {
        for (err, transient) in [
            (sqlx::Error::PoolTimedOut, true),
            (sqlx::Error::Io(std::io::Error::other("cable")), true),
            (sqlx::Error::Tls("expired".into()), true),
            (sqlx::Error::RowNotFound, false),
            (sqlx::Error::Configuration("nonsense".into()), false),
        ] {
            let words = err.to_string();
            let auth: AuthError = Failure::from(err).into();
            assert_eq!(matches!(auth, AuthError::Unavailable(_)), transient, "{words}");
        }
        assert!(may_pass(1205) && is_connection("08S01") && !may_pass(1045) && !is_connection("42000"));
    }
}
