//! What the broker's troubles mean to whoever asked.

use std::time::Duration;

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use microserve_core::BoxError;
use microserve_core::inspect::Step;
use microserve_core::queue::QueueError;
use tokio::time::timeout;

/// Why a message could not be passed on.
#[derive(Debug)]
pub(crate) struct Failure {
    transient: bool,
    soft: Option<AMQPSoftError>,
    /// There was no answer at all: the connection is not to be trusted any more.
    pub(crate) silent: bool,
    source: BoxError,
}

impl Failure {
    /// Somebody has to change something.
    pub(crate) fn misuse(words: impl Into<BoxError>) -> Self {
        Self { transient: false, soft: None, silent: false, source: words.into() }
    }

    /// It may pass.
    pub(crate) fn passing(words: impl Into<BoxError>) -> Self {
        Self { transient: true, soft: None, silent: false, source: words.into() }
    }

    fn silence(limit: Duration) -> Self {
        Self { silent: true, ..Self::passing(format!("the broker has not answered within {limit:?}")) }
    }

    /// Whether there is a queue of this name and other arguments, or perhaps one that the user may only use.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self.soft, Some(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::ACCESSREFUSED))
    }
}

/// For those who inspect.
impl Failure {
    /// What was tried in vain, if this came of connecting.
    pub(crate) fn step(&self) -> Step {
        let kind = self.source.downcast_ref::<lapin::Error>().map(lapin::Error::kind);
        match (&self.soft, kind) {
            (Some(AMQPSoftError::ACCESSREFUSED), _) => Step::LogIn,
            // No such virtual host, for instance.
            (_, Some(ErrorKind::ProtocolError(_))) => Step::Use,
            // What rustls says of a certificate or of what is no TLS.
            (_, Some(ErrorKind::IOError(err))) if err.kind() == std::io::ErrorKind::InvalidData => Step::Encrypt,
            _ => Step::Reach,
        }
    }

    /// Whether there is no such queue.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.soft, Some(AMQPSoftError::NOTFOUND))
    }

    /// Whether this user may not do it.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.soft, Some(AMQPSoftError::ACCESSREFUSED))
    }

    pub(crate) fn into_source(self) -> BoxError {
        self.source
    }
}

impl From<lapin::Error> for Failure {
    fn from(err: lapin::Error) -> Self {
        let soft = match err.kind() {
            ErrorKind::ProtocolError(amqp) => match amqp.kind() {
                AMQPErrorKind::Soft(soft) => Some(soft.clone()),
                AMQPErrorKind::Hard(_) => None,
            },
            _ => None,
        };
        Self { transient: is_transient(err.kind()), soft, silent: false, source: err.into() }
    }
}

/// The one place that decides what may be tried again (AMQP 0-9-1, "reply codes", and what RabbitMQ uses them for).
fn is_transient(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::ProtocolError(amqp) => match amqp.kind() {
            // Wrong password, no right, a message that is too large.
            AMQPErrorKind::Soft(soft) => !matches!(soft, AMQPSoftError::ACCESSREFUSED | AMQPSoftError::CONTENTTOOLARGE),
            // A broker that stops or was told to end the connection, or is short of something. Others are about what was
            // said: no such virtual host, a frame it does not understand.
            AMQPErrorKind::Hard(hard) => matches!(
                hard,
                AMQPHardError::CONNECTIONFORCED | AMQPHardError::RESOURCEERROR | AMQPHardError::INTERNALERROR
            ),
        },
        ErrorKind::InvalidProtocolVersion(_)
        | ErrorKind::SerialisationError(_)
        | ErrorKind::AuthProviderError(_)
        | ErrorKind::NoDefaultRuntime => false,
        _ => true,
    }
}

impl From<Failure> for QueueError {
    fn from(failure: Failure) -> Self {
        if failure.transient { Self::Unavailable(failure.source) } else { Self::Internal(failure.source) }
    }
}

/// Waits for the broker, but not longer than this.
pub(crate) async fn within<T, E: Into<Failure>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    timeout(limit, answer).await.map_err(|_| Failure::silence(limit))?.map_err(Into::into)
}
