//! What MongoDB's troubles mean to whoever asked, and how long an answer is waited for.

use std::fmt;
use std::time::{Duration, Instant};

use microserve_core::blob::BlobError;
use microserve_core::inspect::Step;
use microserve_core::job::JobError;
use microserve_core::retry::{Backoff, BoxError, Retryable};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use tokio::time::timeout;

/// How long the answer to a question is waited for, be it that there is none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// How long something is tried again whose loss would cost a whole upload or download: longer than the election of a
/// new primary takes (ten seconds until the old one is given up, and a few for the vote).
const STAMINA: Duration = Duration::from_secs(30);
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(50), factor: 2, max: Duration::from_secs(1) };

/// Why MongoDB can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It can't be reached or is busy: try again.
    #[error("MongoDB is unavailable")]
    Unavailable(#[source] BoxError),
    /// The URL, the password or a right is wrong: trying again won't help.
    #[error("MongoDB can't be used")]
    Misused(#[source] BoxError),
}

impl Retryable for OpenError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Why something could not be read or written.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    source: BoxError,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MayPass,
    Full,
    Duplicate,
    /// There is an index of the same keys and another kind.
    OtherIndex,
    Stays,
}

impl Failure {
    /// Somebody has to change something.
    pub(crate) fn misuse(words: impl Into<String>) -> Self {
        Self { kind: Kind::Stays, source: words.into().into() }
    }

    /// What is stored is not what was written.
    pub(crate) fn damage(words: impl Into<String>) -> Self {
        Self::misuse(words)
    }

    /// Somebody else is at it, and will have ended some time.
    pub(crate) fn busy(words: impl Into<String>) -> Self {
        Self { kind: Kind::MayPass, source: words.into().into() }
    }

    fn slow(limit: Duration) -> Self {
        Self::busy(format!("no answer within {limit:?}"))
    }

    /// The same failure, and what it was about.
    pub(crate) fn about(self, words: impl Into<String>) -> Self {
        Self { source: Box::new(About { words: words.into(), source: self.source }), ..self }
    }

    pub(crate) fn may_pass(&self) -> bool {
        self.kind == Kind::MayPass
    }

    /// Whether there is a document of this key already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.kind == Kind::Duplicate
    }

    /// Whether there is an index of the same keys and another kind.
    pub(crate) fn is_other_index(&self) -> bool {
        self.kind == Kind::OtherIndex
    }
}

/// For those who inspect.
impl Failure {
    /// What was tried in vain, if this is about the first question to a server.
    pub(crate) fn step(&self) -> Step {
        match self.source.downcast_ref::<Error>().map(|err| &*err.kind) {
            Some(ErrorKind::Authentication { .. }) => Step::LogIn,
            Some(ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }) => Step::Read,
            Some(ErrorKind::Command(_)) => Step::Use,
            _ => Step::Reach,
        }
    }

    /// Whether this user may not do it.
    pub(crate) fn is_denied(&self) -> bool {
        self.code() == Some(13)
    }

    /// Whether there is no such collection or database.
    pub(crate) fn is_missing(&self) -> bool {
        self.code() == Some(26)
    }

    fn code(&self) -> Option<i32> {
        match &*self.source.downcast_ref::<Error>()?.kind {
            ErrorKind::Command(command) => Some(command.code),
            ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
            _ => None,
        }
    }

    pub(crate) fn into_source(self) -> BoxError {
        self.source
    }
}

/// An error, and what was tried.
#[derive(Debug)]
struct About {
    words: String,
    source: BoxError,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for About {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        Self { kind: kind(&err), source: err.into() }
    }
}

impl From<mongodb::bson::error::Error> for Failure {
    fn from(err: mongodb::bson::error::Error) -> Self {
        Self { kind: Kind::Stays, source: err.into() }
    }
}

/// The one place that decides what may be tried again.
fn kind(err: &Error) -> Kind {
    // What the server or the driver says of itself. (MongoDB "Transactions", "Retryable Writes"; server 8 and later tell
    // of overload that way.)
    if ["RetryableWriteError", "RetryableError", "SystemOverloadedError"].iter().any(|label| err.contains_label(label))
    {
        return Kind::MayPass;
    }
    match &*err.kind {
        ErrorKind::Command(command) => kind_of(command.code, &command.message),
        ErrorKind::Write(WriteFailure::WriteError(write)) => kind_of(write.code, &write.message),
        // Written on one server and not known to be on enough of them: whether it stays is yet to be seen.
        ErrorKind::Write(WriteFailure::WriteConcernError(_))
        | ErrorKind::Io(_)
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::ServerSelection { .. } => Kind::MayPass,
        _ => Kind::Stays,
    }
}

/// By the server's number (MongoDB "Error Codes", `src/mongo/base/error_codes.yml`).
fn kind_of(code: i32, message: &str) -> Kind {
    match code {
        11000 | 11001 | 12582 => Kind::Duplicate,
        // Same name or same keys.
        85 | 86 => Kind::OtherIndex,
        // Its disk is full; what was paid for at Atlas is used up.
        14031 => Kind::Full,
        8000 if message.contains("space quota") => Kind::Full,
        // Hosts and networks that are away or slow.
        6 | 7 | 89 | 262 | 9001 => Kind::MayPass,
        // A primary that is none any more, or not yet, or is stopping.
        91 | 189 | 10058 | 10107 | 11600 | 11601 | 11602 | 13435 | 13436 => Kind::MayPass,
        // Too few servers, or too slow ones, for a majority.
        64 | 79 | 100 | 133 | 134 => Kind::MayPass,
        // Ended from outside, or after too long; locks, conflicts, cursors that are gone.
        24 | 43 | 46 | 50 | 112 | 175 | 237 | 239 | 290 => Kind::MayPass,
        _ => Kind::Stays,
    }
}

impl From<Failure> for BlobError {
    fn from(Failure { kind, source }: Failure) -> Self {
        match kind {
            Kind::MayPass => Self::Unavailable(source),
            Kind::Full => Self::Full(source),
            Kind::Duplicate | Kind::OtherIndex | Kind::Stays => Self::Internal(source),
        }
    }
}

impl From<Failure> for JobError {
    fn from(Failure { kind, source }: Failure) -> Self {
        match kind {
            // There is no other word for it here, and it passes when room is made.
            Kind::MayPass | Kind::Full => Self::Unavailable(source),
            Kind::Duplicate | Kind::OtherIndex | Kind::Stays => Self::Internal(source),
        }
    }
}

impl From<Failure> for OpenError {
    fn from(Failure { kind, source }: Failure) -> Self {
        match kind {
            Kind::MayPass | Kind::Full => Self::Unavailable(source),
            Kind::Duplicate | Kind::OtherIndex | Kind::Stays => Self::Misused(source),
        }
    }
}

/// Waits for the server, but not longer than this. The driver itself would wait for ever for one that hangs.
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl IntoFuture<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    Ok(timeout(limit, answer).await.map_err(|_| Failure::slow(limit))??)
}

/// Tries until it is done or [`STAMINA`] is over. The attempt's number tells it whether an earlier one may have done it,
/// unnoticed.
pub(crate) async fn persist<T, F>(attempt: impl Fn(u32) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let started = Instant::now();
    let mut n = 1;
    loop {
        match attempt(n).await {
            Err(failure) if failure.may_pass() && started.elapsed() < STAMINA => {}
            outcome => return outcome,
        }
        tokio::time::sleep(TRY_AGAIN.delay(n, u64::from(n))).await;
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_may_pass_is_unavailable() {
        for (code, kind) in [
            (10107, Kind::MayPass),
            (91, Kind::MayPass),
            (64, Kind::MayPass),
            (14031, Kind::Full),
            (11000, Kind::Duplicate),
            (13, Kind::Stays),
            (18, Kind::Stays),
        ] {
            assert_eq!(kind_of(code, ""), kind, "{code}");
        }
        assert_eq!(kind_of(8000, "you are over your space quota, using 513 MB of 512 MB"), Kind::Full);
        let broken = Failure::from(Error::from(std::io::Error::other("cable")));
        assert!(matches!(BlobError::from(broken), BlobError::Unavailable(_)));
        let misused = Failure::misuse("nonsense").about("opening");
        assert!(matches!(JobError::from(misused), JobError::Internal(_)));
    }
}
