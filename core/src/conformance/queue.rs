//! The promises of [`Queue`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::noise;
use crate::job::JobId;
use crate::queue::{Consumer, Delivery, Message, Queue, QueueName, Settlement};

/// Whatever is to come has come by then.
const PATIENCE: Duration = Duration::from_secs(15);
/// What has not come by then is taken not to come.
const QUIET: Duration = Duration::from_millis(400);

pub(super) fn fresh() -> QueueName {
    QueueName::new(format!("check-{}", JobId::random()))
}

pub(super) fn message(text: &str) -> Message {
    Message::new(JobId::random().to_string(), format!(r#"{{"text":"{text}"}}"#))
}

pub(super) async fn publish(queue: &dyn Queue, name: &QueueName, messages: &[Message]) {
    for message in messages {
        queue.publish(name, message.clone()).await.expect("a message can be published");
    }
}

pub(super) async fn consume(queue: &dyn Queue, name: &QueueName, prefetch: u16) -> Box<dyn Consumer> {
    queue.consume(name, prefetch).await.expect("a queue can be consumed, also before anything was published")
}

pub(super) async fn next(consumer: &mut dyn Consumer) -> Delivery {
    let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await;
    delivery.expect("a message that waits must be delivered").expect("the consumer works")
}

pub(super) async fn assert_quiet(consumer: &mut dyn Consumer, why: &str) {
    if let Ok(next) = tokio::time::timeout(QUIET, consumer.next()).await {
        let delivery = next.expect("the consumer works");
        panic!("{why}, but there came attempt {} of {:?}", delivery.attempt, delivery.message);
    }
}

pub(super) async fn settle(delivery: Delivery, settlement: Settlement) {
    delivery.receipt.settle(settlement).await.expect("a delivery in hand can be settled");
}

async fn published_is_delivered(queue: Arc<dyn Queue>) {
    let (name, sent) = (fresh(), message("hello"));
    let mut consumer = consume(&*queue, &name, 1).await;
    publish(&*queue, &name, std::slice::from_ref(&sent)).await;
    let delivery = next(&mut *consumer).await;
    assert_eq!(
        (delivery.message.clone(), delivery.attempt),
        (sent, 1),
        "a message arrives as it was sent, the first time"
    );
    settle(delivery, Settlement::Ack).await;
}

async fn messages_keep_their_bytes(queue: Arc<dyn Queue>) {
    let name = fresh();
    let mut consumer = consume(&*queue, &name, 1).await;
    for body in [Vec::new(), b"{}".to_vec(), "Ünï 🎵\r\n\0".as_bytes().to_vec(), (0..=255).collect(), noise(100_000, 1)]
    {
        let sent = Message::new(JobId::random().to_string(), body);
        publish(&*queue, &name, std::slice::from_ref(&sent)).await;
        let delivery = next(&mut *consumer).await;
        assert!(delivery.message == sent, "id and body arrive byte by byte: {:?} of {}", delivery.message.id, sent.id);
        settle(delivery, Settlement::Ack).await;
    }
}

async fn queues_are_separate(queue: Arc<dyn Queue>) {
    let (ours, other) = (fresh(), fresh());
    let mut consumer = consume(&*queue, &ours, 1).await;
    publish(&*queue, &other, &[message("for the other")]).await;
    assert_quiet(&mut *consumer, "a message for another queue must not come here").await;
}

async fn published_before_consuming_waits(queue: Arc<dyn Queue>) {
    let (name, sent) = (fresh(), message("early"));
    publish(&*queue, &name, std::slice::from_ref(&sent)).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    let delivery = next(&mut *consumer).await;
    assert_eq!(delivery.message, sent, "a message waits until somebody consumes the queue");
    settle(delivery, Settlement::Ack).await;
}

async fn prefetch_is_a_limit(queue: Arc<dyn Queue>) {
    let name = fresh();
    publish(&*queue, &name, &[message("1"), message("2"), message("3")]).await;
    let mut consumer = consume(&*queue, &name, 2).await;
    let (first, second) = (next(&mut *consumer).await, next(&mut *consumer).await);
    assert_quiet(&mut *consumer, "with a prefetch of 2, the third message must wait").await;
    settle(first, Settlement::Ack).await;
    let third = next(&mut *consumer).await;
    settle(second, Settlement::Ack).await;
    settle(third, Settlement::Ack).await;
}

async fn consumers_share_the_work(queue: Arc<dyn Queue>) {
    let name = fresh();
    let (mut a, mut b) = (consume(&*queue, &name, 1).await, consume(&*queue, &name, 1).await);
    let sent: Vec<Message> = (0..6).map(|n| message(&n.to_string())).collect();
    publish(&*queue, &name, &sent).await;
    let mut seen = Vec::new();
    while seen.len() < sent.len() {
        // Both hold one at the same time, so each message must have gone to one of them only.
        let (one, two) = (next(&mut *a).await, next(&mut *b).await);
        seen.extend([one.message.id.clone(), two.message.id.clone()]);
        settle(one, Settlement::Ack).await;
        settle(two, Settlement::Ack).await;
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), sent.len(), "each message goes to one consumer");
    assert_quiet(&mut *a, "no message may be left").await;
}

async fn next_is_cancel_safe(queue: Arc<dyn Queue>) {
    let name = fresh();
    let mut consumer = consume(&*queue, &name, 1).await;
    let sent: Vec<Message> = (0..20).map(|n| message(&n.to_string())).collect();
    publish(&*queue, &name, &sent).await;
    let (mut seen, began) = (BTreeSet::new(), Instant::now());
    while seen.len() < sent.len() {
        assert!(began.elapsed() < PATIENCE, "dropping next() must lose nothing; {} of 20 came", seen.len());
        // Too short for some, long enough for others.
        let wait = Duration::from_micros(50 << ((seen.len() + began.elapsed().as_millis() as usize) % 10));
        if let Ok(delivery) = tokio::time::timeout(wait, consumer.next()).await {
            let delivery = delivery.expect("the consumer works");
            seen.insert(delivery.message.id.clone());
            settle(delivery, Settlement::Ack).await;
        }
    }
}

async fn dropped_delivery_comes_back(queue: Arc<dyn Queue>) {
    let (name, sent) = (fresh(), message("dropped"));
    publish(&*queue, &name, std::slice::from_ref(&sent)).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    drop(next(&mut *consumer).await);
    let again = next(&mut *consumer).await;
    assert_eq!(again.message, sent, "a delivery that is dropped unsettled comes again");
    settle(again, Settlement::Ack).await;
}

async fn dropped_consumer_gives_everything_back(queue: Arc<dyn Queue>) {
    let name = fresh();
    let sent = [message("in hand"), message("prefetched")];
    publish(&*queue, &name, &sent).await;
    let mut first = consume(&*queue, &name, 5).await;
    let in_hand = next(&mut *first).await;
    drop(first);
    drop(in_hand);
    let mut second = consume(&*queue, &name, 5).await;
    let mut seen = BTreeSet::new();
    while seen.len() < sent.len() {
        let delivery = next(&mut *second).await;
        seen.insert(delivery.message.id.clone());
        settle(delivery, Settlement::Ack).await;
    }
}

async fn extended_delivery_stays(queue: Arc<dyn Queue>) {
    let name = fresh();
    publish(&*queue, &name, &[message("long work")]).await;
    let mut worker = consume(&*queue, &name, 1).await;
    let delivery = next(&mut *worker).await;
    let mut idle = consume(&*queue, &name, 1).await;
    // Longer than the lease that adapters are tested with.
    for _ in 0..8 {
        delivery.receipt.extend().await.expect("a delivery in hand can be extended");
        assert_quiet(&mut *idle, "an extended delivery must not go to somebody else").await;
    }
    settle(delivery, Settlement::Ack).await;
    assert_quiet(&mut *idle, "it was acked").await;
}

async fn acked_is_gone(queue: Arc<dyn Queue>) {
    let name = fresh();
    publish(&*queue, &name, &[message("once")]).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    settle(next(&mut *consumer).await, Settlement::Ack).await;
    assert_quiet(&mut *consumer, "an acked message must not come again").await;
    drop(consumer);
    let mut another = consume(&*queue, &name, 1).await;
    assert_quiet(&mut *another, "an acked message must not come to somebody else either").await;
}

async fn retry_comes_back_later_and_counts(queue: Arc<dyn Queue>) {
    const AFTER: Duration = Duration::from_millis(450);
    let (name, sent) = (fresh(), message("again"));
    publish(&*queue, &name, std::slice::from_ref(&sent)).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    for attempt in 1..=3 {
        let delivery = next(&mut *consumer).await;
        assert_eq!((&delivery.message, delivery.attempt), (&sent, attempt), "the same message, and one attempt more");
        let began = Instant::now();
        settle(delivery, Settlement::Retry { after: AFTER }).await;
        if attempt < 3 {
            continue;
        }
        let last = next(&mut *consumer).await;
        // Brokers count in whole milliseconds.
        let waited = began.elapsed() + Duration::from_millis(5);
        assert!(waited >= AFTER, "a retry must not come before its time; this one came after {waited:?}");
        settle(last, Settlement::Ack).await;
    }
}

async fn waiting_retry_lets_others_pass(queue: Arc<dyn Queue>) {
    let (name, later) = (fresh(), message("much later"));
    publish(&*queue, &name, std::slice::from_ref(&later)).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    settle(next(&mut *consumer).await, Settlement::Retry { after: Duration::from_secs(3600) }).await;
    let soon = message("soon");
    publish(&*queue, &name, std::slice::from_ref(&soon)).await;
    settle(next(&mut *consumer).await, Settlement::Retry { after: Duration::from_millis(100) }).await;
    let again = next(&mut *consumer).await;
    assert_eq!(again.message, soon, "a retry of an hour must not hold up one of a tenth of a second");
    settle(again, Settlement::Ack).await;
}

async fn dead_letter_goes_to_the_dead_queue(queue: Arc<dyn Queue>) {
    let (name, sent) = (fresh(), message("nobody can use this"));
    publish(&*queue, &name, std::slice::from_ref(&sent)).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    let reason = "not JSON: expected `{` at line 1".to_owned();
    settle(next(&mut *consumer).await, Settlement::DeadLetter { reason: reason.clone() }).await;
    let mut dead = consume(&*queue, &name.dead(), 1).await;
    let letter = next(&mut *dead).await;
    let expected = Message { dead_reason: Some(reason), ..sent };
    assert_eq!(letter.message, expected, "a dead letter is the message with its reason");
    settle(letter, Settlement::Ack).await;
    assert_quiet(&mut *consumer, "a dead letter must leave its queue").await;
}

async fn ping_succeeds(queue: Arc<dyn Queue>) {
    queue.ping().await.expect("the broker can be used");
}

suite! { $ queue_conformance: queue of Queue {
    published_is_delivered,
    messages_keep_their_bytes,
    queues_are_separate,
    published_before_consuming_waits,
    prefetch_is_a_limit,
    consumers_share_the_work,
    next_is_cancel_safe,
    dropped_delivery_comes_back,
    dropped_consumer_gives_everything_back,
    extended_delivery_stays,
    acked_is_gone,
    retry_comes_back_later_and_counts,
    waiting_retry_lets_others_pass,
    dead_letter_goes_to_the_dead_queue,
    ping_succeeds,
} }
