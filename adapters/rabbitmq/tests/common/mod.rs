//! What the tests with a broker share.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::{Duration, Instant};

use microserve_core::queue::{Message, Queue, QueueError, QueueName, Settlement};
use microserve_rabbitmq::RabbitQueue;

/// A broker that is there again is used again within this time.
pub const RECOVERY: Duration = Duration::from_secs(60);

pub async fn open(url: &str) -> RabbitQueue {
    RabbitQueue::open(&url.parse().unwrap()).await.unwrap()
}

pub fn message(n: usize) -> Message {
    Message::new(n.to_string(), "{}")
}

pub fn is_unavailable<T>(outcome: &Result<T, QueueError>) -> bool {
    matches!(outcome, Err(QueueError::Unavailable(_)))
}

/// An error with everything that is behind it.
pub fn words(err: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(err), |err| (*err).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub async fn publish_until_it_works(queue: &RabbitQueue, message: Message) {
    let started = Instant::now();
    while let Err(err) = queue.publish(&QueueName::VIDEO, message.clone()).await {
        assert!(matches!(err, QueueError::Unavailable(_)), "{}", words(&err));
        assert!(started.elapsed() < RECOVERY, "it is there again: {}", words(&err));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Takes messages until all of these have come; others may come as well. Those that have not come for a minute are lost.
pub async fn assert_come(queue: &RabbitQueue, wanted: impl IntoIterator<Item = usize>) {
    let mut missing: BTreeSet<_> = wanted.into_iter().map(|n| n.to_string()).collect();
    let started = Instant::now();
    while !missing.is_empty() {
        assert!(started.elapsed() < RECOVERY, "lost: {missing:?}");
        let Ok(mut consumer) = queue.consume(&QueueName::VIDEO, 10).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while !missing.is_empty() {
            let next = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await;
            let Ok(Ok(delivery)) = next else { break };
            if delivery.receipt.settle(Settlement::Ack).await.is_ok() {
                missing.remove(&delivery.message.id);
            }
        }
    }
}
