//! Queues: at-least-once doorbells.
//!
//! A message says that a job wants attention; the job's row says what is to be done. Losing a message delays a job,
//! getting it twice changes nothing.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::retry::{BoxError, Retryable};

/// The name of a queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Cow<'static, str>);

impl QueueName {
    /// Jobs whose video is to be converted.
    pub const VIDEO: Self = Self(Cow::Borrowed("video"));
    /// Jobs whose owner is to be told.
    pub const MP3: Self = Self(Cow::Borrowed("mp3"));

    /// A queue of another name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// Where messages of this queue go that nobody can use: `video.dead` for `video`.
    #[must_use]
    pub fn dead(&self) -> Self {
        Self::new(format!("{}.dead", self.0))
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What goes through a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// AMQP's `message_id`: the job's id.
    pub id: String,
    /// JSON, see [`crate::events`].
    pub body: Bytes,
    /// On a dead-letter queue: why the message ended there.
    pub dead_reason: Option<String>,
}

impl Message {
    /// A message with this id and body.
    #[must_use]
    pub fn new(id: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { id: id.into(), body: body.into(), dead_reason: None }
    }
}

/// Carries messages from those who ring to those who work.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Hands a message over; returns when the broker has stored it. (Checks: `published_is_delivered`,
    /// `messages_keep_their_bytes`, `queues_are_separate`, `published_before_consuming_waits`.)
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] — the message may have been stored all the same; [`QueueError::Internal`].
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError>;

    /// Starts to take messages, at most `prefetch` (≥ 1) of them unsettled at a time. Of several consumers each message
    /// goes to one. (Checks: `prefetch_is_a_limit`, `consumers_share_the_work`.)
    ///
    /// # Errors
    /// [`QueueError::Unavailable`], [`QueueError::Internal`].
    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError>;

    /// Whether the broker can be used right now. (Check: `ping_succeeds`.)
    ///
    /// # Errors
    /// [`QueueError::Unavailable`], [`QueueError::Internal`].
    async fn ping(&self) -> Result<(), QueueError>;
}

/// Takes messages from one queue. Dropping it gives unsettled deliveries back, sooner or later.
/// (Check: `dropped_consumer_gives_everything_back`.)
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next delivery. Dropping this future loses nothing. (Check: `next_is_cancel_safe`.)
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: make a new consumer; [`QueueError::Internal`].
    async fn next(&mut self) -> Result<Delivery, QueueError>;
}

/// A message in somebody's hands. Dropping it unsettled gives it back.
/// (Check: `dropped_delivery_comes_back`.)
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// How many times it has been delivered, this one included, as far as the broker counts. Only a hint: attempts
    /// at a job are counted in its row.
    pub attempt: u32,
    /// Settles it.
    pub receipt: Box<dyn Receipt>,
}

/// The right to settle one delivery.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Keeps the delivery for longer, where the broker would take it back after some time; elsewhere does nothing.
    /// (Check: `extended_delivery_stays`.)
    ///
    /// # Errors
    /// [`QueueError::Stale`] when it has been taken back already; [`QueueError::Unavailable`], [`QueueError::Internal`].
    async fn extend(&self) -> Result<(), QueueError>;

    /// Says what becomes of the message. (Checks: `acked_is_gone`, `retry_comes_back_later_and_counts`,
    /// `waiting_retry_lets_others_pass`, `dead_letter_goes_to_the_dead_queue`.)
    ///
    /// # Errors
    /// [`QueueError::Stale`] when it has been taken back already; [`QueueError::Unavailable`] — then it comes again;
    /// [`QueueError::Internal`].
    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), QueueError>;
}

/// What becomes of a delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Done: forget it.
    Ack,
    /// Deliver it again, not before `after` has passed.
    Retry {
        /// The least time to wait.
        after: Duration,
    },
    /// Nobody can use it: put it on the dead-letter queue.
    DeadLetter {
        /// Why, in a few words.
        reason: String,
    },
}

/// Why a queue can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The delivery was taken back: its lease ran out or its connection was lost.
    #[error("the delivery was taken back")]
    Stale,
    /// The broker can't be reached or is busy: try again.
    #[error("the queue is unavailable")]
    Unavailable(#[source] BoxError),
    /// The broker is broken or misused: trying again won't help.
    #[error("the queue failed")]
    Internal(#[source] BoxError),
}

impl Retryable for QueueError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
