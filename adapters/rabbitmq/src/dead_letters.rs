//! Dead letters: fetched without being acknowledged, so that all that are not decided on go back to where they were.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::ShortString;
use microserve_core::dead_letters::{DeadLetters, Decide, Letter, Verdict};
use microserve_core::queue::{QueueError, QueueName};
use tracing::debug;

use crate::connection::Open;
use crate::error::{Failure, within};
use crate::message;
use crate::queue::RabbitQueue;
use crate::topology::Declaration;

/// A letter that was given back so often is replaced by a copy at the end of the queue, which counts anew: a quorum queue
/// with a delivery limit, which from RabbitMQ 4.0 on is 20 unless told otherwise, throws away what came back more often.
const WORN: u32 = 3;

#[async_trait]
impl DeadLetters for RabbitQueue {
    async fn visit(&self, queue: &QueueName, decide: &mut Decide<'_>) -> Result<u64, QueueError> {
        let open = within(self.timeout, self.consuming.get()).await?;
        let mut visit =
            Visit { queue: self, open: &open, name: queue, dead: Declaration::of(&queue.dead()), changed: 0 };
        let visited = visit.run(decide).await;
        self.consuming.judged(&open, visited).await?;
        Ok(visit.changed)
    }
}

struct Visit<'v> {
    queue: &'v RabbitQueue,
    open: &'v Arc<Open>,
    name: &'v QueueName,
    dead: Declaration,
    changed: u64,
}

impl Visit<'_> {
    async fn run(&mut self, decide: &mut Decide<'_>) -> Result<(), Failure> {
        let limit = self.queue.timeout;
        within(limit, self.queue.topology.ensure(self.open, &self.dead)).await?;
        // Dropping it closes it, and that gives back what is not acknowledged.
        let channel = within(limit, self.open.channel()).await?;
        let name = ShortString::try_new(self.dead.name.clone()).map_err(|err| Failure::misuse(err.to_string()))?;
        // Copies and letters that come in meanwhile stand behind those that were there.
        let mut left = None;
        while left != Some(0) {
            let got = within(limit, channel.basic_get(name.clone(), BasicGetOptions::default())).await?;
            let Some(got) = got else { break };
            left = Some(left.unwrap_or_else(|| got.message_count.saturating_add(1)) - 1);
            if self.settle(&got, decide).await? == Verdict::Stop {
                break;
            }
        }
        give_back(&channel, self.queue.timeout).await
    }

    async fn settle(&mut self, got: &BasicGetMessage, decide: &mut Decide<'_>) -> Result<Verdict, Failure> {
        let letter = message::letter(got);
        let verdict = decide(&letter);
        match verdict {
            Verdict::Keep | Verdict::Stop if message::came_back(got) < WORN => return Ok(verdict),
            Verdict::Keep | Verdict::Stop => self.renew(got, &letter).await?,
            Verdict::Replay => {
                let (to, properties) = (Declaration::of(self.name), message::revived(&got.properties));
                self.queue.publisher.publish(&to, &properties, &got.data).await?;
            }
            Verdict::Purge => {}
        }
        // What takes its place is stored by now: a crash makes two of it, not none.
        let acked = within(self.queue.timeout, got.acker.ack(BasicAckOptions::default())).await?;
        if !acked {
            return Err(Failure::passing("the connection was lost while a letter was in hand"));
        }
        self.changed += u64::from(matches!(verdict, Verdict::Replay | Verdict::Purge));
        Ok(verdict)
    }

    async fn renew(&self, got: &BasicGetMessage, letter: &Letter) -> Result<(), Failure> {
        debug!(queue = %self.dead.name, "a dead letter that was looked at often moves to the end of its queue");
        let properties = message::buried(&got.properties, letter.message.dead_reason.as_deref(), letter.at);
        self.queue.publisher.publish(&self.dead, &properties, &got.data).await
    }
}

/// Gives back all that a channel has in hand. Closing it does so too, but sooner or later: who looks again right after
/// this would not find them.
async fn give_back(channel: &Channel, limit: std::time::Duration) -> Result<(), Failure> {
    let all = BasicNackOptions { multiple: true, requeue: true };
    within(limit, channel.basic_nack(0, all)).await?;
    within(limit, channel.close(200, "".into())).await
}
