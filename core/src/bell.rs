//! Ringing a job's bell: a message that somebody should look at its row.
//!
//! Whoever takes a job a step further rings for it afterwards. If that fails the relay does it later, so the step stands.

use std::time::Duration;

use crate::events::Event;
use crate::job::Job;
use crate::queue::Queue;
use crate::retry::BoxError;

/// Nobody waits longer for the broker: the relay rings again anyway.
const WAIT: Duration = Duration::from_secs(2);

/// Publishes the message that a job's state calls for, if it calls for one.
///
/// # Errors
/// When the broker refuses it or is silent.
pub async fn ring(queue: &dyn Queue, job: &Job) -> Result<(), BoxError> {
    let Some(name) = job.bell() else { return Ok(()) };
    let message = Event::of(job).to_message()?;
    match tokio::time::timeout(WAIT, queue.publish(&name, message)).await {
        Ok(published) => Ok(published?),
        Err(_) => Err("the queue is silent".into()),
    }
}

/// As [`ring`]; when it can't be done, says so in the log and leaves it to the relay.
pub async fn try_to_ring(queue: &dyn Queue, job: &Job) {
    if let Err(err) = ring(queue, job).await {
        tracing::warn!(job.id = %job.id, error = &*err as &dyn std::error::Error, "could not ring for a job: the relay will");
    }
}
