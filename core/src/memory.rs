//! Reference adapters: every port in memory.
//!
//! They are for tests, for examples, and for reading: each is the shortest adapter that keeps its port's promises, all
//! of which `core/tests/all/conformance.rs` checks. Clones share what they hold, as two connections to one server would.
//! Nothing survives the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod accounts;
mod blobs;
mod jobs;
mod mailer;
mod queue;
mod transcoder;

pub use accounts::MemoryAccounts;
pub use blobs::MemoryBlobs;
pub use jobs::MemoryJobs;
pub use mailer::MemoryMailer;
pub use queue::MemoryQueue;
pub use transcoder::FakeTranscoder;

/// Locks for a moment that holds no `.await`. A panic elsewhere leaves what is inside as good as it was: every change
/// here is a single insertion, removal or assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
