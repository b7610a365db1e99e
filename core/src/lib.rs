//! The heart of microserve.
pub mod account;
pub mod blob;
pub mod clock;
pub mod events;
mod id;
pub mod job;
pub mod mail;
pub mod open;
pub mod queue;
pub mod retry;
pub mod shutdown;
pub mod transcode;
pub use clock::{Clock, SystemClock, TokioClock};
pub use id::ParseIdError;
pub use retry::{Backoff, BoxError, Retryable};
pub use shutdown::Shutdown;
