//! Messages, counted: published, taken, and what became of them.

use async_trait::async_trait;
use microserve_core::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Receipt, Settlement};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::ports::{Calls, Kind, Measured};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Published {
    role: &'static str,
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Settled {
    queue: &'static str,
    settlement: &'static str,
}

/// What is counted of messages.
#[derive(Clone)]
pub(super) struct Messages {
    published: Family<Published, Counter>,
    settled: Family<Settled, Counter>,
}

impl Messages {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let messages = Self { published: Family::default(), settled: Family::default() };
        registry.register("messages_published", "Messages that a queue has stored", messages.published.clone());
        registry.register("messages_settled", "Messages that were handled", messages.settled.clone());
        messages
    }
}

/// A word for a queue. Others have names of their own, which are not for labels.
fn word(queue: &QueueName) -> &'static str {
    match queue.as_str() {
        "video" => "video",
        "mp3" => "mp3",
        _ => "other",
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl<P: Queue + ?Sized> Queue for Measured<P> {
    async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
        self.calls.run("publish", self.inner.publish(queue, message)).await?;
        let published = Published { role: self.calls.role, queue: word(queue) };
        self.calls.ports.messages.published.get_or_create(&published).inc();
        Ok(())
    }

    async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        let inner = self.calls.run("consume", self.inner.consume(queue, prefetch)).await?;
        Ok(Box::new(MeasuredConsumer { calls: self.calls.clone(), queue: word(queue), inner }))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.calls.run("ping", self.inner.ping()).await
    }
}

struct MeasuredConsumer {
    calls: Calls,
    queue: &'static str,
    inner: Box<dyn Consumer>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl Consumer for MeasuredConsumer {
    /// Not timed, and not counted when dropped: waiting for work says nothing of the queue.
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        let delivery = self.inner.next().await;
        self.calls.count("next", delivery.as_ref().map_or_else(Kind::kind, |_| "ok"));
        let delivery = delivery?;
        let receipt = MeasuredReceipt { calls: self.calls.clone(), queue: self.queue, inner: delivery.receipt };
        Ok(Delivery { receipt: Box::new(receipt), ..delivery })
    }
}

struct MeasuredReceipt {
    calls: Calls,
    queue: &'static str,
    inner: Box<dyn Receipt>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a forgotten method would change what it does")]
impl Receipt for MeasuredReceipt {
    async fn extend(&self) -> Result<(), QueueError> {
        self.calls.run("extend", self.inner.extend()).await
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        let Self { calls, queue, inner } = *self;
        let word = match &settlement {
            Settlement::Ack => "ack",
            Settlement::Retry { .. } => "retry",
            Settlement::DeadLetter { .. } => "dead_letter",
        };
        calls.run("settle", inner.settle(settlement)).await?;
        calls.ports.messages.settled.get_or_create(&Settled { queue, settlement: word }).inc();
        Ok(())
    }
}
