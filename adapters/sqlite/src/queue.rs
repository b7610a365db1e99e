//! The queues in the file.
//!
//! A message is a row. Taking it makes it invisible for the length of the lease and gives it a token; with the token
//! it is settled. There is nothing to clean up behind a consumer that vanished: its messages become visible again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::clock::{later, since};
use microserve_core::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Receipt, Settlement};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::{Rings, Sqlite};

/// How soon a message of another process is noticed; those of this process are at once.
const POLL: Duration = Duration::from_millis(200);
/// How long a delivery may be held without a word.
const LEASE: Duration = Duration::from_secs(60);

const PUBLISH: &str = "INSERT INTO messages (queue, id, body, visible_at, dead_reason) VALUES (?1, ?2, ?3, ?4, ?5)";
const FIRST: &str = "SELECT visible_at FROM messages WHERE queue = ?1 ORDER BY visible_at LIMIT 1";
/// One statement finds the first in line and takes it, so no two consumers can get the same.
const TAKE: &str = "UPDATE messages SET attempts = attempts + 1, visible_at = ?3, token = randomblob(16)
    WHERE seq = (SELECT seq FROM messages WHERE queue = ?1 AND visible_at <= ?2 ORDER BY visible_at, seq LIMIT 1)
    RETURNING seq, token, id, body, attempts, dead_reason";
const EXTEND: &str = "UPDATE messages SET visible_at = ?3 WHERE seq = ?1 AND token = ?2";
const ACK: &str = "DELETE FROM messages WHERE seq = ?1 AND token = ?2";
const GIVE_BACK: &str = "UPDATE messages SET visible_at = ?3, token = NULL WHERE seq = ?1 AND token = ?2";
const BURY: &str = "UPDATE messages SET queue = ?4, dead_reason = ?5, attempts = 0, visible_at = ?3, token = NULL
    WHERE seq = ?1 AND token = ?2";

/// Queues in a SQLite file, which several processes may share.
///
/// A delivery that is held longer than the lease (a minute) without [`Receipt::extend`] goes to somebody else.
#[derive(Clone)]
pub struct SqliteQueue {
    pub(crate) file: Sqlite,
    lease: Duration,
}

impl SqliteQueue {
    pub(crate) fn new(file: Sqlite) -> Self {
        Self { file, lease: LEASE }
    }

    /// Takes deliveries back from consumers that are silent for as long as `lease`.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.file.clock.now()
    }

    fn end_of_lease(&self) -> i64 {
        later(self.now(), self.lease).as_millisecond()
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        let (queue, now) = (queue.as_str().to_owned(), self.now().as_millisecond());
        let stored = self.file.writer.run(Rings::Yes, move |conn| {
            Box::pin(async move {
                let insert = sqlx::query(PUBLISH).bind(queue).bind(message.id).bind(Vec::from(message.body));
                insert.bind(now).bind(message.dead_reason).execute(conn).await.map(|_| ())
            })
        });
        Ok(stored.await?)
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let hands = Arc::new(Semaphore::new(prefetch.max(1).into()));
        Ok(Box::new(SqliteConsumer { queue: self.clone(), name: queue.clone(), hands }))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Ok(self.file.ping().await?)
    }
}

struct SqliteConsumer {
    queue: SqliteQueue,
    name: QueueName,
    /// As many permits as the prefetch; each unsettled delivery holds one.
    hands: Arc<Semaphore>,
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let hand = Arc::clone(&self.hands).acquire_owned().await.map_err(|err| QueueError::Internal(err.into()))?;
        loop {
            // Listen before looking, or a message that comes in between would be slept through.
            let changed = self.queue.file.writer.queues_changed.notified();
            let pause = match self.first().await? {
                Some(wait) if wait.is_zero() => match self.take().await? {
                    Some((message, attempt, lease)) => {
                        return Ok(Delivery {
                            message,
                            attempt,
                            receipt: Box::new(SqliteReceipt { lease, _hand: hand }),
                        });
                    }
                    // Somebody else was quicker.
                    None => continue,
                },
                Some(wait) => wait.min(POLL),
                None => POLL,
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

impl SqliteConsumer {
    /// How long it is until a message is visible: nothing if one is now, none if the queue is empty. Only reads, so
    /// that consumers that wait don't get in the way of those who write.
    async fn first(&self) -> Result<Option<Duration>, Failure> {
        let query = sqlx::query_scalar(FIRST).bind(self.name.as_str()).fetch_optional(&self.queue.file.readers);
        let first: Option<i64> = query.await?;
        let until = |at| since(Timestamp::from_millisecond(at).unwrap_or(Timestamp::MAX), self.queue.now());
        Ok(first.map(until))
    }

    /// Takes the first visible message, if there is one.
    async fn take(&self) -> Result<Option<(Message, u32, Lease)>, Failure> {
        let (queue, name) = (self.queue.clone(), self.name.clone());
        let take = self.queue.file.writer.run(Rings::No, move |conn| {
            Box::pin(async move {
                let (now, end) = (queue.now().as_millisecond(), queue.end_of_lease());
                let row = sqlx::query_as(TAKE).bind(name.as_str()).bind(now).bind(end).fetch_optional(conn).await?;
                // From here on the lease belongs to a value: wherever that is dropped, on its way to a consumer that
                // is no longer waiting for instance, the message is given back.
                Ok(row.map(|row| taken(queue, name, row)))
            })
        });
        take.await
    }
}

type Row = (i64, Vec<u8>, String, Vec<u8>, u32, Option<String>);

fn taken(
    queue: SqliteQueue,
    name: QueueName,
    (seq, token, id, body, attempts, dead_reason): Row,
) -> (Message, u32, Lease) {
    let lease = Lease { queue, name, seq, token, held: true };
    (Message { id, body: body.into(), dead_reason }, attempts, lease)
}

/// The right to settle a message, as long as nobody else has got one for it. Dropping it gives the message back.
struct Lease {
    queue: SqliteQueue,
    name: QueueName,
    seq: i64,
    token: Vec<u8>,
    held: bool,
}

impl Lease {
    /// Runs a statement that takes the row's number and token, and `bind`s the rest.
    async fn change<B>(&self, rings: Rings, sql: &'static str, bind: B) -> Result<(), QueueError>
    where
        B: FnOnce(Query) -> Query + Send + 'static,
    {
        let (seq, token) = (self.seq, self.token.clone());
        let change = self.queue.file.writer.run(rings, move |conn| {
            Box::pin(
                async move { Ok(bind(sqlx::query(sql).bind(seq).bind(token)).execute(conn).await?.rows_affected()) },
            )
        });
        if change.await? == 1 { Ok(()) } else { Err(QueueError::Stale) }
    }
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        let (seq, token, now) = (self.seq, std::mem::take(&mut self.token), self.queue.now().as_millisecond());
        // Behind everything that was asked before: a settlement that is under way wins. If the process ends first, the
        // lease runs out.
        self.queue.file.writer.run_later(Rings::Yes, move |conn| {
            Box::pin(
                async move { sqlx::query(GIVE_BACK).bind(seq).bind(token).bind(now).execute(conn).await.map(|_| ()) },
            )
        });
    }
}

struct SqliteReceipt {
    lease: Lease,
    /// Given back behind the lease, so that the next message is not taken before this one is settled.
    _hand: OwnedSemaphorePermit,
}

#[async_trait]
impl Receipt for SqliteReceipt {
    async fn extend(&self) -> Result<(), QueueError> {
        let end = self.lease.queue.end_of_lease();
        self.lease.change(Rings::No, EXTEND, move |extend| extend.bind(end)).await
    }

    async fn settle(mut self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let (lease, now) = (&self.lease, self.lease.queue.now());
        let settled = match settlement {
            Settlement::Ack => lease.change(Rings::No, ACK, |ack| ack).await,
            Settlement::Retry { after } => {
                let visible_at = later(now, after).as_millisecond();
                lease.change(Rings::Yes, GIVE_BACK, move |retry| retry.bind(visible_at)).await
            }
            Settlement::DeadLetter { reason } => {
                let dead = lease.name.dead().as_str().to_owned();
                let now = now.as_millisecond();
                lease.change(Rings::Yes, BURY, move |bury| bury.bind(now).bind(dead).bind(reason)).await
            }
        };
        // When the outcome is unknown the lease is still held, and dropping it gives the message back.
        self.lease.held = !matches!(settled, Ok(()) | Err(QueueError::Stale));
        settled
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Asserts that SQLite finds what these statements ask for by an index, in order, and doesn't go through a table.
    pub(crate) async fn assert_indexed(statements: &[&'static str]) {
        let folder = tempfile::tempdir().unwrap();
        let file = Sqlite::open(folder.path().join("db")).await.unwrap();
        for sql in statements {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&file.readers).await.unwrap();
            let plan: Vec<String> = plan.into_iter().map(|step| step.3).collect();
            let slow = plan.iter().any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE"));
            assert!(!slow && plan.iter().any(|step| step.starts_with("SEARCH")), "{sql}\n{plan:#?}");
        }
    }

    #[tokio::test]
    async fn hot_queries_use_an_index() {
        assert_indexed(&[FIRST, TAKE, EXTEND, ACK, GIVE_BACK, BURY]).await;
    }
}
