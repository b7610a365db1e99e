//! Consuming: deliveries on a channel each consumer has for itself, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, BasicProperties};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::queue::{Consumer, Delivery, Message, QueueError, QueueName, Receipt, Settlement};

use crate::connection::Open;
use crate::error::{Failure, within};
use crate::message;
use crate::publisher::Publisher;
use crate::topology::{Declaration, is_dead};

pub(crate) struct RabbitConsumer {
    /// Dropping it closes its channel, and that gives back what is not settled.
    deliveries: lapin::Consumer,
    queue: QueueName,
    publisher: Arc<Publisher>,
    timeout: Duration,
    _open: Arc<Open>,
}

impl RabbitConsumer {
    pub(crate) async fn start(
        open: Arc<Open>,
        queue: QueueName,
        prefetch: u16,
        publisher: Arc<Publisher>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let channel = open.channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let name = ShortString::try_new(queue.as_str()).map_err(|err| Failure::misuse(err.to_string()))?;
        // The broker makes up a tag.
        let options = BasicConsumeOptions::default();
        let deliveries = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
        Ok(Self { deliveries, queue, publisher, timeout, _open: open })
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn next(&mut self) -> Result<Delivery, QueueError> {
        loop {
            let Some(delivery) = self.deliveries.next().await else {
                return Err(QueueError::Unavailable("the broker has ended the consumer".into()));
            };
            // Whatever it was: with a new consumer it may work.
            let delivery = delivery.map_err(|err| QueueError::Unavailable(err.into()))?;
            let (message, attempt) = message::read(&delivery, is_dead(&self.queue));
            let receipt = RabbitReceipt {
                acker: delivery.acker,
                queue: self.queue.clone(),
                message: message.clone(),
                attempt,
                properties: delivery.properties,
                publisher: Arc::clone(&self.publisher),
                timeout: self.timeout,
            };
            let Some((after, attempts)) = message::left(&receipt.properties) else {
                return Ok(Delivery { message, attempt, receipt: Box::new(receipt) });
            };
            match receipt.wait(attempts, after).await {
                // Who has it now waits with it.
                Ok(()) | Err(QueueError::Stale) => {}
                Err(err) => return Err(err),
            }
        }
    }
}

struct RabbitReceipt {
    acker: Acker,
    queue: QueueName,
    message: Message,
    attempt: u32,
    properties: BasicProperties,
    publisher: Arc<Publisher>,
    timeout: Duration,
}

impl RabbitReceipt {
    fn ensure_in_hand(&self) -> Result<(), QueueError> {
        if self.acker.usable() { Ok(()) } else { Err(QueueError::Stale) }
    }

    /// Says that the message is done with; the broker does not answer that.
    async fn ack(&self) -> Result<(), QueueError> {
        let acked = within(self.timeout, self.acker.ack(BasicAckOptions::default())).await?;
        // `false`: the channel is gone, and the message with it.
        if acked { Ok(()) } else { Err(QueueError::Stale) }
    }

    /// Puts a copy elsewhere, and only then lets go of the original: a crash in between makes two of it, not none.
    async fn move_to(&self, queue: &Declaration, properties: &BasicProperties) -> Result<(), QueueError> {
        // Who has it now settles it.
        self.ensure_in_hand()?;
        self.publisher.publish(queue, properties, &self.message.body).await?;
        self.ack().await
    }

    /// Has the message delivered again later, after so many attempts.
    async fn wait(&self, attempts: u32, after: Duration) -> Result<(), QueueError> {
        let later = message::retried(&self.properties, attempts, after);
        self.move_to(&Declaration::delaying(&self.queue, after), &later).await
    }
}

#[async_trait]
impl Receipt for RabbitReceipt {
    /// RabbitMQ knows no such thing: it gives a delivery half an hour (`consumer_timeout`), and then takes back all that
    /// its channel has.
    async fn extend(&self) -> Result<(), QueueError> {
        self.ensure_in_hand()
    }

    async fn settle(self: Box<Self>, settlement: Settlement) -> Result<(), QueueError> {
        match settlement {
            Settlement::Ack => self.ack().await,
            Settlement::Retry { after } => self.wait(self.attempt, after).await,
            Settlement::DeadLetter { reason } => {
                let buried = message::buried(&self.properties, Some(&reason), Some(SystemClock.now()));
                self.move_to(&Declaration::of(&self.queue.dead()), &buried).await
            }
        }
    }
}

impl Drop for RabbitReceipt {
    fn drop(&mut self) {
        // Nothing happens if it is settled. The order is given at once; nobody has to wait for its being sent.
        let give_back = BasicNackOptions { requeue: true, ..Default::default() };
        let _sent_later = self.acker.nack(give_back).now_or_never();
    }
}
