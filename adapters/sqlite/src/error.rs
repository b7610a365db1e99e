//! What SQLite's troubles mean to whoever asked.

use std::sync::Arc;

use microserve_core::account::AuthError;
use microserve_core::job::JobError;
use microserve_core::queue::QueueError;

/// Why something could not be read or written. One failed transaction may have carried several changes, so the error
/// is shared by all who hear of it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    transient: bool,
    source: Arc<sqlx::Error>,
}

impl Failure {
    /// The failure for those whose changes were undone by no fault of their own: they may try again.
    pub(crate) fn for_bystanders(&self) -> Self {
        Self { transient: true, source: Arc::clone(&self.source) }
    }
}

impl From<sqlx::Error> for Failure {
    fn from(err: sqlx::Error) -> Self {
        Self { transient: is_transient(&err), source: Arc::new(err) }
    }
}

/// The one place that decides what may be tried again.
fn is_transient(err: &sqlx::Error) -> bool {
    match err {
        sqlx::Error::Database(err) => {
            // Primary result codes are the low byte of extended ones (https://sqlite.org/rescode.html).
            let code = err.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(0) & 0xff;
            // BUSY, LOCKED: another process or connection is at it. NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL:
            // the machine is in trouble, and somebody will see to it. Anything else (CORRUPT, NOTADB, CONSTRAINT,
            // SQL errors) stays as it is.
            matches!(code, 5 | 6 | 7 | 9 | 10 | 13 | 14 | 15)
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        _ => false,
    }
}

impl From<Failure> for AuthError {
    fn from(failure: Failure) -> Self {
        let source = failure.source.into();
        if failure.transient { Self::Unavailable(source) } else { Self::Internal(source) }
    }
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        let source = failure.source.into();
        if failure.transient { Self::Unavailable(source) } else { Self::Internal(source) }
    }
}

impl From<Failure> for QueueError {
    fn from(failure: Failure) -> Self {
        let source = failure.source.into();
        if failure.transient { Self::Unavailable(source) } else { Self::Internal(source) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_may_pass_is_unavailable() {
        for (err, transient) in [
            (sqlx::Error::PoolTimedOut, true),
            (sqlx::Error::WorkerCrashed, true),
            (sqlx::Error::Io(std::io::Error::other("cable")), true),
            (sqlx::Error::RowNotFound, false),
            (sqlx::Error::Protocol("nonsense".into()), false),
        ] {
            let words = err.to_string();
            let job: JobError = Failure::from(err).into();
            assert_eq!(matches!(job, JobError::Unavailable(_)), transient, "{words}");
        }
    }
}
