//! The worker: takes deliveries from a queue, has a [`Handler`] do what they ask for, and settles them afterwards.
//!
//! It keeps deliveries from being taken back while the handler is at work, makes a new consumer when the broker went
//! away, and drains at shutdown.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::queue::{Consumer, Delivery, Message, Queue, QueueError, QueueName, Receipt, Settlement};
use crate::retry::Backoff;
use crate::shutdown::Shutdown;

/// Does what a message asks for.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Handles one message. It may be handled twice, or by two handlers at once: the job's version decides. All
    /// effects are durable when this returns.
    ///
    /// When `kill` fires the work is to be given up at once; somebody else goes on with it.
    async fn handle(&self, message: &Message, kill: &CancellationToken) -> Settlement;
}

/// What a worker needs.
#[derive(Clone)]
pub struct Worker {
    /// Where messages come from.
    pub queue: Arc<dyn Queue>,
    /// Which of its queues.
    pub name: QueueName,
    /// How many messages are handled at a time.
    pub parallel: u16,
    /// How often a delivery in hand is extended: well within the broker's patience.
    pub extend_every: Duration,
    /// Does the work.
    pub handler: Arc<dyn Handler>,
}

impl Worker {
    /// Works until `shutdown` says stop and the deliveries in hand are settled, or until it says kill.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut failures = 0;
        // Outlives the consumers: what a lost one has left in hand still counts.
        let hands = Arc::new(Semaphore::new(self.parallel.max(1).into()));
        while !shutdown.stop().is_cancelled() {
            let consumer = tokio::select! {
                () = shutdown.stop().cancelled() => break,
                consumer = self.queue.consume(&self.name, self.parallel.max(1)) => consumer,
            };
            let lost = match consumer {
                Ok(consumer) => {
                    if failures > 0 {
                        info!(queue = %self.name, "taking messages from {} again", self.name);
                    }
                    failures = 0;
                    self.consume(consumer, &hands, shutdown).await
                }
                Err(err) => Some(err),
            };
            let Some(err) = lost else { break };
            failures += 1;
            let pause = Backoff::RECONNECT.delay(failures, u64::from(self.parallel));
            warn!(queue = %self.name, error = &err as &dyn std::error::Error, "lost the queue {}, trying again", self.name);
            tokio::select! {
                () = shutdown.stop().cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        debug!(queue = %self.name, "stopped taking messages");
    }

    /// Takes messages until told to stop (`None`) or the broker is lost.
    async fn consume(
        &self,
        mut consumer: Box<dyn Consumer>,
        hands: &Arc<Semaphore>,
        shutdown: &Shutdown,
    ) -> Option<QueueError> {
        let in_hand = TaskTracker::new();
        let lost = loop {
            let next = async {
                // The semaphore is never closed.
                let hand = Arc::clone(hands).acquire_owned().await.ok();
                consumer.next().await.map(|delivery| (delivery, hand))
            };
            let delivery = tokio::select! {
                () = shutdown.stop().cancelled() => break None,
                delivery = next => delivery,
            };
            match delivery {
                Ok((delivery, hand)) => {
                    let (worker, kill) = (self.clone(), shutdown.kill().clone());
                    shutdown.spawn(in_hand.track_future(async move {
                        worker.process(delivery, &kill).await;
                        drop(hand);
                    }));
                }
                Err(err) => break Some(err),
            }
        };
        in_hand.close();
        if lost.is_none() {
            // The consumer lives until the last delivery is settled: closing it would give them all back.
            in_hand.wait().await;
        }
        drop(consumer);
        lost
    }

    async fn process(&self, delivery: Delivery, kill: &CancellationToken) {
        let Delivery { message, receipt, attempt: _ } = delivery;
        let settlement = {
            let mut work = std::pin::pin!(self.handler.handle(&message, kill));
            loop {
                tokio::select! {
                    settlement = &mut work => break settlement,
                    () = tokio::time::sleep(self.extend_every) => tokio::select! {
                        // A broker that is slow to answer must not keep the work waiting.
                        settlement = &mut work => break settlement,
                        () = extend(&*receipt, &self.name) => {}
                    },
                }
            }
        };
        match receipt.settle(settlement).await {
            Ok(()) => {}
            // Taken back meanwhile: whoever gets it next finds the job settled.
            Err(QueueError::Stale) => debug!(queue = %self.name, "a delivery was taken back before it was settled"),
            Err(err) => {
                warn!(queue = %self.name, error = &err as &dyn std::error::Error, "could not settle a delivery");
            }
        }
    }
}

async fn extend(receipt: &dyn Receipt, queue: &QueueName) {
    match receipt.extend().await {
        Ok(()) | Err(QueueError::Stale) => {}
        Err(err) => debug!(queue = %queue, error = &err as &dyn std::error::Error, "could not extend a delivery"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::memory::MemoryQueue;

    /// Loses its connection whenever somebody waits for a message.
    struct Flapping(MemoryQueue);

    #[async_trait]
    impl Queue for Flapping {
        async fn publish(&self, queue: &QueueName, message: Message) -> Result<(), QueueError> {
            self.0.publish(queue, message).await
        }

        async fn consume(&self, queue: &QueueName, prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
            Ok(Box::new(FlappingConsumer(self.0.consume(queue, prefetch).await?)))
        }

        async fn ping(&self) -> Result<(), QueueError> {
            self.0.ping().await
        }
    }

    struct FlappingConsumer(Box<dyn Consumer>);

    #[async_trait]
    impl Consumer for FlappingConsumer {
        async fn next(&mut self) -> Result<Delivery, QueueError> {
            let next = tokio::time::timeout(Duration::from_secs(1), self.0.next()).await;
            next.unwrap_or_else(|_| Err(QueueError::Unavailable("flapping".into())))
        }
    }

    /// Takes its time, and counts.
    #[derive(Default)]
    struct Slow {
        at_work: AtomicUsize,
        most: AtomicUsize,
        done: AtomicUsize,
    }

    #[async_trait]
    impl Handler for Slow {
        async fn handle(&self, _message: &Message, _kill: &CancellationToken) -> Settlement {
            let at_work = self.at_work.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(at_work, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.at_work.fetch_sub(1, Ordering::Relaxed);
            self.done.fetch_add(1, Ordering::Relaxed);
            Settlement::Ack
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flapping_broker_brings_no_more_work_than_allowed() {
        let queue = Arc::new(Flapping(MemoryQueue::default()));
        for n in 0..8 {
            queue.publish(&QueueName::VIDEO, Message::new(n.to_string(), "x")).await.unwrap();
        }
        let slow = Arc::new(Slow::default());
        let (handler, extend_every) = (Arc::clone(&slow) as _, Duration::from_secs(15));
        let worker = Worker { queue, name: QueueName::VIDEO, parallel: 2, extend_every, handler };
        let shutdown = Shutdown::new();
        let until = shutdown.clone();
        shutdown.spawn(async move { worker.run(&until).await });
        while slow.done.load(Ordering::Relaxed) < 8 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(slow.most.load(Ordering::Relaxed), 2);
        assert!(shutdown.drain(Duration::from_secs(120)).await);
    }
}
