//! Dead letters that others made, and queues that don't keep what is looked at often.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{assert_come, is_unavailable, open};
use lapin::options::{BasicGetOptions, BasicNackOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use microserve_core::dead_letters::{DeadLetters, Letter, Verdict};
use microserve_core::queue::{Message, Queue, QueueName};
use microserve_rabbitmq::RabbitQueue;
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault, Towards};
use microserve_testkit::servers::rabbitmq::{Server, shared};

async fn channel(url: &str) -> lapin::Channel {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

async fn look(queue: &RabbitQueue) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut note = |letter: &Letter| {
        letters.push(letter.clone());
        Verdict::Keep
    };
    queue.visit(&QueueName::VIDEO, &mut note).await.unwrap();
    letters
}

#[tokio::test]
async fn a_queue_with_a_delivery_limit_loses_no_letter_that_is_looked_at() {
    let broker = shared();
    let url = broker.vhost();
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(LongString::from("quorum")));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(5));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel(&url).await.queue_declare("video.dead".into(), durable, arguments).await.unwrap();
    let queue = open(&url).await;
    for n in 0..4 {
        let letter = Message { dead_reason: Some("no".to_owned()), ..Message::new(n.to_string(), "{}") };
        queue.publish(&QueueName::VIDEO.dead(), letter).await.unwrap();
    }
    let ids = |letters: &[Letter]| letters.iter().map(|letter| letter.id.clone()).collect::<BTreeSet<_>>();
    let first = ids(&look(&queue).await);
    assert_eq!(first.len(), 4);
    for round in 0..30 {
        assert_eq!(ids(&look(&queue).await), first, "round {round}");
    }
}

#[tokio::test]
async fn letters_that_the_broker_made_say_why_and_since_when() {
    let broker = shared();
    let url = broker.vhost();
    let queue = open(&url).await;
    let body = br#"{"video_fid":"64b","mp3_fid":null,"username":"anna@example.com"}"#;
    let theirs = channel(&url).await;
    let sent = theirs.basic_publish(
        "".into(),
        "video".into(),
        BasicPublishOptions::default(),
        body,
        BasicProperties::default(),
    );
    sent.await.unwrap();
    let started = Instant::now();
    let letter = loop {
        if let [letter] = &look(&queue).await[..] {
            break letter.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "what comes back for ever becomes a dead letter");
        // The fuse: nobody can keep it in hand.
        if let Some(got) = theirs.basic_get("video".into(), BasicGetOptions::default()).await.unwrap() {
            got.acker.nack(BasicNackOptions { requeue: true, ..Default::default() }).await.unwrap();
        }
    };
    assert_eq!(letter.message.dead_reason.as_deref(), Some("delivery_limit"));
    assert_eq!((&*letter.message.id, &*letter.message.body), ("", &body[..]));
    assert!(letter.at.is_some());
    assert_eq!(look(&queue).await, std::slice::from_ref(&letter), "its name stays");
    assert_eq!(queue.visit(&QueueName::VIDEO, &mut |_| Verdict::Replay).await.unwrap(), 1);
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let again = consumer.next().await.unwrap();
    assert_eq!((again.message.id.as_str(), again.attempt), ("", 1));
}

#[tokio::test]
async fn a_visit_that_is_dropped_gives_everything_back() {
    let broker = shared();
    let queue = open(&broker.vhost()).await;
    for n in 0..20 {
        queue.publish(&QueueName::VIDEO.dead(), Message::new(n.to_string(), "{}")).await.unwrap();
    }
    for millis in [0, 1, 2, 4, 8, 16] {
        let mut keep = |_: &Letter| Verdict::Keep;
        let visit = queue.visit(&QueueName::VIDEO, &mut keep);
        let _dropped = tokio::time::timeout(Duration::from_millis(millis), visit).await;
    }
    let started = Instant::now();
    while look(&queue).await.len() < 20 {
        assert!(started.elapsed() < Duration::from_secs(20), "what a dropped visit had in hand comes back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_gone_is_unavailable_and_the_letters_are_there_afterwards() {
    let mut broker = Server::start();
    let queue = open(&broker.vhost()).await;
    queue.publish(&QueueName::VIDEO.dead(), Message::new("1", "{}")).await.unwrap();
    broker.freeze();
    let mut keep = |_: &Letter| Verdict::Keep;
    assert!(is_unavailable(&queue.visit(&QueueName::VIDEO, &mut keep).await));
    broker.thaw();
    broker.kill();
    assert!(is_unavailable(&queue.visit(&QueueName::VIDEO, &mut |_| Verdict::Replay).await));
    broker.restart();
    let started = Instant::now();
    loop {
        let mut count = 0;
        let mut keep = |_: &Letter| {
            count += 1;
            Verdict::Keep
        };
        if queue.visit(&QueueName::VIDEO, &mut keep).await.is_ok() && count == 1 {
            break;
        }
        assert!(started.elapsed() < common::RECOVERY, "the letter is lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_letters_are_replayed_loses_none() {
    // The names of methods as they stand in frames: class and method (AMQP 0-9-1, section 4.2.4).
    let [publish, get, got, ack, nack] = [40, 70, 71, 80, 120].map(|method| vec![0, 60, 0, method]);
    let broker = shared();
    let url = broker.vhost();
    let proxy = ChaosProxy::start(broker.port());
    let direct = open(&url).await;
    let through = url.replace(&format!(":{}/", broker.port()), &format!(":{}/", proxy.port()));
    let queue = open(&format!("{through}?timeout=2&heartbeat=2")).await;
    let mut letters = 0;
    for (towards, method) in [
        (Towards::Server, get),
        (Towards::Client, got),
        (Towards::Server, publish),
        (Towards::Client, ack.clone()),
        (Towards::Server, ack),
        (Towards::Server, nack),
    ] {
        for arrive in [false, true] {
            for _ in 0..3 {
                let letter = Message { dead_reason: Some("no".to_owned()), ..Message::new(letters.to_string(), "{}") };
                direct.publish(&QueueName::VIDEO.dead(), letter).await.unwrap();
                letters += 1;
            }
            let fault = Fault::CutOn { towards, bytes: method.clone(), arrive };
            proxy.set(fault.clone());
            let started = Instant::now();
            // What the last cut has left in hand may not be back yet.
            while !proxy.is_healthy() {
                assert!(started.elapsed() < common::RECOVERY, "{fault:?} never came to pass");
                let mut every_third = |letter: &Letter| {
                    if letter.message.id.parse::<usize>().unwrap().is_multiple_of(3) {
                        Verdict::Replay
                    } else {
                        Verdict::Keep
                    }
                };
                let visited = queue.visit(&QueueName::VIDEO, &mut every_third).await;
                assert!(visited.is_ok() || is_unavailable(&visited), "{fault:?}: {visited:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    let started = Instant::now();
    // What the last cut has left in hand comes back in the meantime.
    while started.elapsed() < Duration::from_secs(2)
        || queue.visit(&QueueName::VIDEO, &mut |_| Verdict::Replay).await.is_err()
        || !look(&direct).await.is_empty()
    {
        assert!(started.elapsed() < common::RECOVERY, "letters can be replayed again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_come(&direct, 0..letters).await;
}
