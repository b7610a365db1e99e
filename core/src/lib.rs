//! The heart of microserve.
pub mod retry;
pub mod transcode;
pub use retry::{Backoff, BoxError, Retryable};
