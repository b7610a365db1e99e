//! Which queues there are at the broker, and how they come to be there.
//!
//! | queue | what it holds |
//! |---|---|
//! | `video`, `mp3` | messages that wait for somebody |
//! | `video.dead`, `mp3.dead` | messages that nobody can use |
//! | `video.retry.1s`, … `video.retry.4096s` | messages whose next attempt has to wait, each until its own time |
//!
//! All of them are durable quorum queues on the default exchange. One that is there already, whatever its arguments, is
//! used as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use microserve_core::queue::QueueName;

use crate::connection::Open;
use crate::error::Failure;

/// What a broker keeps, from when on, of a queue that was just made: RabbitMQ 3.10 that is killed within a second or so
/// forgets the queue, with every message that it has confirmed.
const SETTLED: Duration = Duration::from_secs(3);

/// Messages wait for their next attempt behind others that wait about as long: the first of these that is long enough.
/// Whoever has to wait longer than the last waits there several times.
const DELAYS: [u64; 7] = [1, 4, 16, 64, 256, 1024, LONGEST.as_secs()];
/// Nobody waits longer at a time, so nobody waits longer than this behind others.
pub(crate) const LONGEST: Duration = Duration::from_secs(4096);

/// How often a delivery may come back, because whoever had it vanished, before it is a dead letter. Only a fuse: attempts
/// are counted in the job's row.
const FUSE: i64 = 100;

/// A queue as it is to be declared.
pub(crate) struct Declaration {
    pub(crate) name: String,
    /// Whether messages wait in it for their next attempt.
    pub(crate) delays: bool,
    arguments: FieldTable,
}

impl Declaration {
    /// A queue that is published to and consumed from.
    pub(crate) fn of(queue: &QueueName) -> Self {
        let arguments = if is_dead(queue) {
            arguments([])
        } else {
            dead_lettering_to(queue.dead().as_str(), [("x-delivery-limit", AMQPValue::LongLongInt(FUSE))])
        };
        Self { name: queue.as_str().to_owned(), delays: false, arguments }
    }

    /// Where messages of `queue` wait that are not to be delivered before `after` has passed. A message behind one that
    /// waits longer comes late, never early: messages leave a queue at its head only.
    pub(crate) fn delaying(queue: &QueueName, after: Duration) -> Self {
        let enough = |delay: &&u64| Duration::from_secs(**delay) >= after;
        let delay = DELAYS.iter().find(enough).or(DELAYS.last()).copied().unwrap_or_default();
        Self::delay(queue, delay)
    }

    fn delay(queue: &QueueName, delay: u64) -> Self {
        let arguments = dead_lettering_to(queue.as_str(), []);
        Self { name: format!("{queue}.retry.{delay}s"), delays: true, arguments }
    }

    /// All that belongs to a queue.
    pub(crate) fn family(queue: &QueueName) -> Vec<Self> {
        let mut family = vec![Self::of(&queue.dead()), Self::of(queue)];
        family.extend(DELAYS.map(|delay| Self::delay(queue, delay)));
        family
    }
}

pub(crate) fn is_dead(queue: &QueueName) -> bool {
    queue.as_str().ends_with(".dead")
}

fn arguments<const N: usize>(more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut all = BTreeMap::from([("x-queue-type".into(), text("quorum"))]);
    all.extend(more.map(|(key, value)| (ShortString::from(key), value)));
    all.into()
}

/// At least once: what leaves this queue has reached the other (RabbitMQ "Quorum Queues", "at-least-once dead
/// lettering", which wants `reject-publish`).
fn dead_lettering_to<const N: usize>(queue: &str, more: [(&str, AMQPValue); N]) -> FieldTable {
    let mut all = BTreeMap::from([
        ("x-queue-type".into(), text("quorum")),
        ("x-dead-letter-exchange".into(), text("")),
        ("x-dead-letter-routing-key".into(), text(queue)),
        ("x-dead-letter-strategy".into(), text("at-least-once")),
        ("x-overflow".into(), text("reject-publish")),
    ]);
    all.extend(more.map(|(key, value)| (ShortString::from(key), value)));
    all.into()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// The queues that are known to be there, on one connection.
#[derive(Default)]
pub(crate) struct Declared(Mutex<BTreeSet<String>>);

/// When each queue was first seen, on any connection.
#[derive(Default)]
pub(crate) struct Topology(Mutex<BTreeMap<String, Instant>>);

impl Topology {
    /// Sees to it that the queues of the library are there, and all that belongs to them.
    pub(crate) async fn ensure_all(&self, open: &Open) -> Result<(), Failure> {
        for queue in [QueueName::VIDEO, QueueName::MP3] {
            for declaration in Declaration::family(&queue) {
                self.ensure(open, &declaration).await?;
            }
        }
        Ok(())
    }

    /// Sees to it that a queue is there.
    pub(crate) async fn ensure(&self, open: &Open, queue: &Declaration) -> Result<(), Failure> {
        if lock(&open.declared.0).contains(&queue.name) {
            return Ok(());
        }
        declare(open, queue).await?;
        lock(&open.declared.0).insert(queue.name.clone());
        lock(&self.0).entry(queue.name.clone()).or_insert_with(Instant::now);
        Ok(())
    }

    /// A queue that was there is there no longer.
    pub(crate) fn forget(&self, open: &Open, name: &str) {
        lock(&open.declared.0).remove(name);
        lock(&self.0).remove(name);
    }

    /// How long it is until a queue is no longer new; nothing, if it is not. One that was there before this program saw
    /// it may be new as well.
    pub(crate) fn settles_in(&self, name: &str) -> Duration {
        let seen = lock(&self.0).get(name).copied();
        seen.map_or(SETTLED, |seen| SETTLED.saturating_sub(seen.elapsed()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Declares a queue on a channel of its own: a conflict closes it.
async fn declare(open: &Open, queue: &Declaration) -> Result<(), Failure> {
    let name = ShortString::try_new(queue.name.clone()).map_err(|err| Failure::misuse(err.to_string()))?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = open.channel().await?.queue_declare(name, durable, queue.arguments.clone()).await;
    match declared.map_err(Failure::from) {
        Err(conflict) if conflict.is_conflict() => {
            // Somebody else's, with other arguments; or this user may use queues and not make them.
            if is_there(open, &queue.name).await.is_ok() { Ok(()) } else { Err(conflict) }
        }
        declared => declared.map(|_| ()),
    }
}

/// How many messages wait in a queue. Fails if there is no such queue, which closes the channel as well.
pub(crate) async fn is_there(open: &Open, name: &str) -> Result<u32, Failure> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let name = ShortString::try_new(name).map_err(|err| Failure::misuse(err.to_string()))?;
    Ok(open.channel().await?.queue_declare(name, passive, FieldTable::default()).await?.message_count())
}

/// What is found where a queue should be.
pub(crate) enum Found {
    Missing,
    /// As it is to be, as far as this user can tell.
    Ours {
        messages: u32,
    },
    /// One with other arguments: how they differ, in the broker's words.
    Other(String),
}

/// Compares a queue with what it should be. It is not made.
pub(crate) async fn look(open: &Open, queue: &Declaration) -> Result<Found, Failure> {
    let messages = match is_there(open, &queue.name).await {
        Err(failure) if failure.is_missing() => return Ok(Found::Missing),
        outcome => outcome?,
    };
    // The broker compares only when somebody declares what is there.
    let name = ShortString::try_new(queue.name.clone()).map_err(|err| Failure::misuse(err.to_string()))?;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    match open.channel().await?.queue_declare(name, durable, queue.arguments.clone()).await.map_err(Failure::from) {
        // Whoever may not make queues is not told either.
        Err(refused) if refused.is_refused() => Ok(Found::Ours { messages }),
        Err(conflict) if conflict.is_conflict() => Ok(Found::Other(conflict.into_source().to_string())),
        outcome => outcome.map(|_| Found::Ours { messages }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_of_a_delay_is_the_first_that_is_long_enough() {
        for (millis, name) in [
            (0, "video.retry.1s"),
            (1_000, "video.retry.1s"),
            (1_001, "video.retry.4s"),
            (1_800_000, "video.retry.4096s"),
            (86_400_000, "video.retry.4096s"),
        ] {
            let declaration = Declaration::delaying(&QueueName::VIDEO, Duration::from_millis(millis));
            assert_eq!(declaration.name, name, "{millis} ms");
        }
    }
}
