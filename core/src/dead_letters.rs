//! Dead letters: messages that nobody could use, for people who want to know why, and to have them tried again.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::queue::{Message, Queue, QueueError, QueueName};

/// A queue whose dead letters can be looked at, tried again and thrown away.
#[async_trait]
pub trait DeadLetters: Queue {
    /// Goes through the dead letters of `queue`, which lie in [`QueueName::dead`], the oldest first, and does to each of
    /// them what `decide` says. Returns how many were replayed or purged.
    ///
    /// Each letter is shown once, and those that come in meanwhile, one that was replayed and died again among them,
    /// are left for the next time. A letter that is in somebody's hands is not shown. Those that stay keep their id, but
    /// perhaps not their place. (Checks: `letters_are_shown_the_oldest_first`, `letters_keep_their_bytes`,
    /// `letters_of_other_queues_are_not_shown`, `looking_loses_nothing`, `stopping_leaves_the_rest`,
    /// `replayed_goes_back_to_its_queue`, `replayed_may_die_again`, `purged_is_gone`.)
    ///
    /// # Errors
    /// [`QueueError::Unavailable`], [`QueueError::Stale`], [`QueueError::Internal`]. What was decided before is done, and
    /// every other letter stays; a letter that was about to be replayed may be in both queues, never in neither.
    async fn visit(&self, queue: &QueueName, decide: &mut Decide<'_>) -> Result<u64, QueueError>;
}

/// Says what becomes of a letter.
pub type Decide<'d> = dyn FnMut(&Letter) -> Verdict + Send + 'd;

/// What becomes of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, and the next one is looked at.
    Keep,
    /// It goes back to the queue that it came from, as if it had never been delivered.
    Replay,
    /// It is thrown away.
    Purge,
    /// It stays, and so do those behind it: nothing more is looked at.
    Stop,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Names it among the letters of its queue, the same whenever it is looked at: letters, digits and dashes. Two that
    /// are the same in every respect may share it.
    pub id: String,
    /// The message; its `dead_reason` is why nobody could use it, if that is known.
    pub message: Message,
    /// When it became a dead letter, if that is known.
    pub at: Option<Timestamp>,
}
