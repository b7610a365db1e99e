//! Dead letters: rows like other messages, on a queue of their own.

use async_trait::async_trait;
use jiff::Timestamp;
use microserve_core::dead_letters::{DeadLetters, Decide, Letter, Verdict};
use microserve_core::queue::{Message, QueueError, QueueName};

use crate::Rings;
use crate::error::Failure;
use crate::queue::SqliteQueue;

/// So many are in memory at the same time.
const PAGE: i64 = 16;

/// What has been visible since before the visit began. A letter that is in somebody's hands is not: its lease ends later.
const NEXT: &str = "SELECT seq, visible_at, id, body, dead_reason FROM messages
    WHERE queue = ?1 AND (visible_at, seq) > (?2, ?3) AND visible_at <= ?4 ORDER BY visible_at, seq LIMIT ?5";
// Changed only as it was read: somebody may have taken it since.
const REPLAY: &str = "UPDATE messages SET queue = ?4, dead_reason = NULL, attempts = 0, visible_at = ?5, token = NULL
    WHERE seq = ?1 AND queue = ?2 AND visible_at = ?3";
const PURGE: &str = "DELETE FROM messages WHERE seq = ?1 AND queue = ?2 AND visible_at = ?3";

type Row = (i64, i64, String, Vec<u8>, Option<String>);

#[async_trait]
impl DeadLetters for SqliteQueue {
    async fn visit(&self, queue: &QueueName, decide: &mut Decide<'_>) -> Result<u64, QueueError> {
        let began = self.now().as_millisecond();
        let dead = queue.dead();
        let (mut place, mut changed) = ((i64::MIN, i64::MIN), 0);
        loop {
            let page = sqlx::query_as(NEXT).bind(dead.as_str()).bind(place.0).bind(place.1).bind(began).bind(PAGE);
            let page: Vec<Row> = page.fetch_all(&self.file.readers).await.map_err(Failure::from)?;
            if page.is_empty() {
                return Ok(changed);
            }
            for (seq, visible_at, id, body, dead_reason) in page {
                place = (visible_at, seq);
                let message = Message { id, body: body.into(), dead_reason };
                let at = Timestamp::from_millisecond(visible_at).ok();
                changed += match decide(&Letter { id: seq.to_string(), message, at }) {
                    Verdict::Keep => 0,
                    Verdict::Stop => return Ok(changed),
                    Verdict::Replay => self.replay(&dead, place, queue).await?,
                    Verdict::Purge => self.purge(&dead, place).await?,
                };
            }
        }
    }
}

impl SqliteQueue {
    async fn replay(&self, dead: &QueueName, (at, seq): (i64, i64), to: &QueueName) -> Result<u64, Failure> {
        let (dead, to, now) = (dead.as_str().to_owned(), to.as_str().to_owned(), self.now().as_millisecond());
        let replay = self.file.writer.run(Rings::Yes, move |conn| {
            Box::pin(async move {
                let update = sqlx::query(REPLAY).bind(seq).bind(dead).bind(at).bind(to).bind(now);
                Ok(update.execute(conn).await?.rows_affected())
            })
        });
        replay.await
    }

    async fn purge(&self, dead: &QueueName, (at, seq): (i64, i64)) -> Result<u64, Failure> {
        let dead = dead.as_str().to_owned();
        let purge = self.file.writer.run(Rings::No, move |conn| {
            Box::pin(async move {
                Ok(sqlx::query(PURGE).bind(seq).bind(dead).bind(at).execute(conn).await?.rows_affected())
            })
        });
        purge.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn letters_are_found_by_an_index() {
        crate::queue::tests::assert_indexed(&[NEXT, REPLAY, PURGE]).await;
    }
}
