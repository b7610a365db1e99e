//! The heart of microserve.
pub mod account;
pub mod blob;
pub mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod convert;
pub mod download;
pub mod events;
mod id;
pub mod job;
pub mod login;
pub mod mail;
pub mod memory;
pub mod notify;
pub mod open;
pub mod password;
pub mod queue;
pub mod relay;
pub mod retry;
pub mod shutdown;
pub mod source;
pub mod transcode;
pub mod upload;
pub mod worker;
pub use clock::{Clock, SystemClock, TokioClock};
pub use id::ParseIdError;
pub use retry::{Backoff, BoxError, Retryable};
pub use shutdown::Shutdown;
