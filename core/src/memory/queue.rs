use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::lock;
use crate::clock::{Clock, SystemClock};
use crate::dead_letters::{DeadLetters, Decide, Letter, Verdict};
use crate::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Receipt, Settlement};

/// Queues in a map. A delivery is in exactly one place: waiting here, or in somebody's [`Delivery`], whose drop brings
/// it back. So there is no lease to run out, and nothing to extend.
#[derive(Clone, Default)]
pub struct MemoryQueue {
    queues: Arc<Mutex<HashMap<QueueName, Arc<Line>>>>,
}

/// One queue.
#[derive(Default)]
struct Line {
    waiting: Mutex<VecDeque<Waiting>>,
    /// Somebody joined the line: every consumer looks again.
    changed: Notify,
}

/// A message that waits for a consumer.
struct Waiting {
    message: Message,
    /// How many times it has been delivered.
    delivered: u32,
    /// Not before this moment.
    not_before: Instant,
    /// Which of all that ever waited it is.
    nth: u64,
    /// When it joined the line.
    since: Timestamp,
}

impl MemoryQueue {
    fn line(&self, name: &QueueName) -> Arc<Line> {
        Arc::clone(lock(&self.queues).entry(name.clone()).or_default())
    }

    /// How many messages wait in a queue, those of delayed retries included, but not those in somebody's hands.
    #[must_use]
    pub fn waiting(&self, name: &QueueName) -> usize {
        lock(&self.line(name).waiting).len()
    }
}

impl Line {
    fn join(&self, message: Message, delivered: u32, not_before: Instant) {
        static NTH: AtomicU64 = AtomicU64::new(0);
        let (nth, since) = (NTH.fetch_add(1, Ordering::Relaxed), SystemClock.now());
        lock(&self.waiting).push_back(Waiting { message, delivered, not_before, nth, since });
        self.changed.notify_waiters();
    }

    /// Takes the first whose time has come, or says when the next one's comes.
    fn take(&self, now: Instant) -> Result<Waiting, Option<Instant>> {
        let mut waiting = lock(&self.waiting);
        match waiting.iter().position(|w| w.not_before <= now).and_then(|at| waiting.remove(at)) {
            Some(first) => Ok(first),
            None => Err(waiting.iter().map(|w| w.not_before).min()),
        }
    }

    /// Takes this one, unless somebody was quicker.
    fn take_nth(&self, nth: u64) -> Option<Waiting> {
        let mut waiting = lock(&self.waiting);
        let at = waiting.iter().position(|w| w.nth == nth)?;
        waiting.remove(at)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        self.line(queue).join(message, 0, Instant::now());
        Ok(())
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let hands = Arc::new(Semaphore::new(prefetch.into()));
        Ok(Box::new(MemoryConsumer { line: self.line(queue), dead: self.line(&queue.dead()), hands }))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for MemoryQueue {
    async fn visit(&self, queue: &QueueName, decide: &mut Decide<'_>) -> Result<u64, QueueError> {
        let dead = self.line(&queue.dead());
        let letters: Vec<Letter> = lock(&dead.waiting)
            .iter()
            .map(|w| Letter { id: w.nth.to_string(), message: w.message.clone(), at: Some(w.since) })
            .collect();
        let mut changed = 0;
        for letter in letters {
            let verdict = decide(&letter);
            match verdict {
                Verdict::Keep => continue,
                Verdict::Stop => break,
                Verdict::Replay | Verdict::Purge => {}
            }
            let taken = letter.id.parse().ok().and_then(|nth| dead.take_nth(nth));
            let Some(Waiting { message, .. }) = taken else { continue };
            if verdict == Verdict::Replay {
                self.line(queue).join(Message { dead_reason: None, ..message }, 0, Instant::now());
            }
            changed += 1;
        }
        Ok(changed)
    }
}

struct MemoryConsumer {
    line: Arc<Line>,
    dead: Arc<Line>,
    /// As many permits as the prefetch; each unsettled delivery holds one.
    hands: Arc<Semaphore>,
}

#[async_trait]
impl Consumer for MemoryConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let hand = Arc::clone(&self.hands).acquire_owned().await.map_err(|err| QueueError::Internal(err.into()))?;
        loop {
            // Listen before looking, or a message that comes in between would be slept through.
            let changed = self.line.changed.notified();
            match self.line.take(Instant::now()) {
                // Nothing is awaited behind this point: dropping `next` can't lose the message.
                Ok(taken) => return Ok(self.deliver(taken, hand)),
                Err(None) => changed.await,
                Err(Some(later)) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(later) => {}
                    }
                }
            }
        }
    }
}

impl MemoryConsumer {
    fn deliver(&self, taken: Waiting, hand: OwnedSemaphorePermit) -> Delivery {
        let attempt = taken.delivered + 1;
        let receipt = MemoryReceipt {
            line: Arc::clone(&self.line),
            dead: Arc::clone(&self.dead),
            unsettled: Some(taken.message.clone()),
            attempt,
            _hand: hand,
        };
        Delivery { message: taken.message, attempt, receipt: Box::new(receipt) }
    }
}

struct MemoryReceipt {
    line: Arc<Line>,
    dead: Arc<Line>,
    /// The message, until it is settled.
    unsettled: Option<Message>,
    attempt: u32,
    _hand: OwnedSemaphorePermit,
}

#[async_trait]
impl Receipt for MemoryReceipt {
    async fn extend(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let message = self.unsettled.take().ok_or(QueueError::Stale)?;
        match settlement {
            Settlement::Ack => {}
            Settlement::Retry { after } => self.line.join(message, self.attempt, Instant::now() + after),
            Settlement::DeadLetter { reason } => {
                self.dead.join(Message { dead_reason: Some(reason), ..message }, 0, Instant::now());
            }
        }
        Ok(())
    }
}

impl Drop for MemoryReceipt {
    fn drop(&mut self) {
        if let Some(message) = self.unsettled.take() {
            self.line.join(message, self.attempt, Instant::now());
        }
    }
}
