//! What the suite of the port doesn't ask: other people's queues and messages, and a broker that stops, hangs or has no
//! memory left.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use common::{assert_come, is_unavailable, message, open, publish_until_it_works, words};
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use microserve_core::queue::{Message, Queue, QueueError, QueueName, Settlement};
use microserve_rabbitmq::RabbitQueue;
use microserve_testkit::servers::rabbitmq::{Server, shared};

async fn tutorial(url: &str) -> lapin::Channel {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

#[tokio::test]
async fn queues_that_are_there_are_adopted() {
    let broker = shared();
    let url = broker.vhost();
    let theirs = tutorial(&url).await;
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    theirs.queue_declare("video".into(), durable, FieldTable::default()).await.unwrap();
    let body = br#"{"video_fid":"64b","mp3_fid":null,"username":"anna@example.com"}"#;
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let sent = theirs.basic_publish("".into(), "video".into(), BasicPublishOptions::default(), body, persistent);
    sent.await.unwrap().await.unwrap();

    let queue = open(&url).await;
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    assert_eq!((&*delivery.message.id, &*delivery.message.body, delivery.attempt), ("", &body[..], 1));
    drop(delivery);
    let again = consumer.next().await.unwrap();
    assert_eq!(again.attempt, 2, "a classic queue does not count, and says that there was another time");
    again.receipt.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test]
async fn messages_look_as_the_tutorials_services_expect_them() {
    let broker = shared();
    let url = broker.vhost();
    let queue = open(&url).await;
    queue.publish(&QueueName::VIDEO, Message::new("job", "{}")).await.unwrap();
    let theirs = tutorial(&url).await;
    let got = theirs.basic_get("video".into(), BasicGetOptions::default()).await.unwrap().unwrap();
    let properties = &got.properties;
    assert_eq!((got.exchange.as_str(), got.routing_key.as_str(), &got.data[..]), ("", "video", &b"{}"[..]));
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "job");
}

#[tokio::test]
async fn retries_keep_what_others_wrote() {
    let broker = shared();
    let url = broker.vhost();
    let queue = open(&url).await;
    let theirs = tutorial(&url).await;
    let mut headers = FieldTable::default();
    headers.insert("traceparent".into(), AMQPValue::LongString("00-1-2-03".into()));
    let properties = BasicProperties::default().with_message_id("1".into()).with_headers(headers);
    let sent = theirs.basic_publish("".into(), "video".into(), BasicPublishOptions::default(), b"{}", properties);
    sent.await.unwrap().await.unwrap();
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let retry = Settlement::Retry { after: Duration::from_millis(10) };
    for attempt in 1..4 {
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.attempt, attempt);
        delivery.receipt.settle(retry.clone()).await.unwrap();
    }
    let dead = consumer.next().await.unwrap();
    dead.receipt.settle(Settlement::DeadLetter { reason: "enough".into() }).await.unwrap();
    let got = theirs.basic_get("video.dead".into(), BasicGetOptions::default()).await.unwrap().unwrap();
    let headers = got.properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["traceparent"], AMQPValue::LongString("00-1-2-03".into()));
    assert_eq!(headers["microserve-dead-reason"], AMQPValue::LongString("enough".into()));
    assert!(!headers.keys().any(|key| key.as_str().contains("death")), "{headers:?}");
}

#[tokio::test]
async fn a_wait_longer_than_any_queue_allows_is_waited_to_its_end_and_is_one_attempt() {
    let broker = shared();
    let url = broker.vhost();
    let queue = open(&url).await;
    let theirs = tutorial(&url).await;
    // As one is that comes out of the last queue of delays, and has this left.
    let left = Duration::from_millis(700);
    let mut headers = FieldTable::default();
    headers.insert("microserve-attempts".into(), AMQPValue::LongLongInt(2));
    headers.insert("microserve-wait-left".into(), AMQPValue::LongLongInt(700));
    let properties = BasicProperties::default().with_message_id("1".into()).with_headers(headers);
    let started = Instant::now();
    let sent = theirs.basic_publish("".into(), "video".into(), BasicPublishOptions::default(), b"{}", properties);
    sent.await.unwrap().await.unwrap();
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    assert!(started.elapsed() >= left, "it came after {:?}", started.elapsed());
    assert_eq!((&*delivery.message.id, delivery.attempt), ("1", 3));
    delivery.receipt.settle(Settlement::Ack).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_was_removed_is_made_again() {
    let broker = shared();
    let url = broker.vhost();
    let queue = open(&url).await;
    tutorial(&url).await.queue_delete("video".into(), Default::default()).await.unwrap();
    queue.publish(&QueueName::VIDEO, message(1)).await.unwrap();
    assert_come(&queue, [1]).await;
}

#[tokio::test]
async fn a_user_that_may_not_make_queues_uses_those_that_are_there() {
    let broker = shared();
    let url = broker.vhost();
    let vhost = url.rsplit('/').next().unwrap();
    // The user is called as the virtual host.
    broker.eval(&format!(
        r#"rabbit_auth_backend_internal:add_user(<<"{vhost}">>, <<"pw">>, <<"test">>),
        rabbit_auth_backend_internal:set_permissions(<<"{vhost}">>, <<"{vhost}">>, <<"">>, <<".*">>, <<".*">>, <<"test">>)"#
    ));
    let daily = url.replace("guest:guest", &format!("{vhost}:pw"));
    let Err(err) = RabbitQueue::open(&daily.parse().unwrap()).await else { panic!("there are no queues yet") };
    assert!(matches!(err, QueueError::Internal(_)) && words(&err).contains("ACCESS_REFUSED"), "{}", words(&err));
    open(&url).await;
    let queue = open(&daily).await;
    queue.publish(&QueueName::VIDEO, message(1)).await.unwrap();
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let delivery = consumer.next().await.unwrap();
    delivery.receipt.settle(Settlement::Retry { after: Duration::ZERO }).await.unwrap();
    drop(consumer);
    assert_come(&queue, [1]).await;
}

#[tokio::test]
async fn a_wrong_password_is_no_reason_to_try_again_and_is_not_told() {
    let broker = shared();
    for (url, reason) in [
        (format!("amqp://guest:wrong-secret@127.0.0.1:{}", broker.port()), "ACCESS_REFUSED"),
        (format!("amqp://guest:guest@127.0.0.1:{}/nowhere", broker.port()), "nowhere"),
    ] {
        let Err(err) = RabbitQueue::open(&url.parse().unwrap()).await else { panic!("{url} was taken") };
        assert!(matches!(err, QueueError::Internal(_)) && words(&err).contains(reason), "{}", words(&err));
        assert!(!format!("{} {err:?}", words(&err)).contains("wrong-secret"), "{err:?}");
    }
}

#[tokio::test]
async fn certificates_are_verified() {
    let broker = shared();
    let (port, ca) = (broker.tls_port(), broker.authority());
    for (rest, trusted) in [
        (format!("localhost:{port}?ca={ca}"), true),
        (format!("localhost:{port}"), false),
        (format!("127.0.0.1:{port}?ca={ca}"), false),
    ] {
        let queue = RabbitQueue::new(&format!("amqps://guest:guest@{rest}").parse().unwrap()).unwrap();
        let pinged = queue.ping().await;
        assert_eq!(pinged.is_ok(), trusted, "{rest}: {pinged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_the_broker_is_killed() {
    let mut broker = Server::start();
    let url = broker.vhost();
    let queue = RabbitQueue::new(&url.parse().unwrap()).unwrap();
    // The queues are made by the first publishing, and the broker is killed as soon as it is acknowledged.
    queue.publish(&QueueName::VIDEO, message(0)).await.unwrap();
    broker.kill();

    let started = Instant::now();
    for _ in 0..2 {
        assert!(is_unavailable(&queue.publish(&QueueName::VIDEO, message(99)).await));
        assert!(is_unavailable(&queue.consume(&QueueName::VIDEO, 1).await.map(|_| ())));
        assert!(is_unavailable(&queue.ping().await));
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    RabbitQueue::open(&url.parse().unwrap()).await.unwrap();

    broker.restart();
    publish_until_it_works(&queue, message(1)).await;
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let waiting = consumer.next().await.unwrap();
    broker.kill();
    assert!(is_unavailable(&consumer.next().await.map(|_| ())), "whoever waits hears of it");
    assert!(matches!(
        waiting.receipt.settle(Settlement::Ack).await,
        Err(QueueError::Stale | QueueError::Unavailable(_))
    ));
    broker.restart();
    assert_come(&queue, [0, 1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_with_a_queue_that_is_new() {
    let mut broker = Server::start();
    let url = broker.vhost();
    let queue = open(&url).await;
    let fresh = QueueName::new("fresh");
    queue.publish(&fresh, message(0)).await.unwrap();
    broker.kill();
    broker.restart();
    let queue = open(&url).await;
    let mut consumer = queue.consume(&fresh, 1).await.unwrap();
    let come = tokio::time::timeout(Duration::from_secs(20), consumer.next()).await.expect("it is lost").unwrap();
    assert_eq!(come.message.id, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_is_unavailable_and_comes_back() {
    let broker = Server::start();
    let url = format!("{}?timeout=2&heartbeat=1", broker.vhost());
    let queue = open(&url).await;
    queue.publish(&QueueName::VIDEO, message(0)).await.unwrap();
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let in_hand = consumer.next().await.unwrap();
    broker.freeze();
    let started = Instant::now();
    for _ in 0..5 {
        assert!(is_unavailable(&queue.publish(&QueueName::VIDEO, message(99)).await));
        assert!(is_unavailable(&queue.consume(&QueueName::VIDEO, 1).await.map(|_| ())));
    }
    assert!(is_unavailable(&consumer.next().await.map(|_| ())), "heartbeats are missing");
    drop((consumer, in_hand));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    // Those that were given up are gone, and their threads with them.
    let started = Instant::now();
    while io_threads() > 1 {
        assert!(started.elapsed() < Duration::from_secs(10), "{} threads are left", io_threads());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.thaw();
    publish_until_it_works(&queue, message(1)).await;
    assert_come(&queue, [0, 1]).await;
}

/// How many of the driver's connections live: each has a thread.
fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map_while(Result::ok);
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_memory_is_unavailable_and_deliveries_are_settled_meanwhile() {
    let broker = Server::start();
    let url = format!("{}?timeout=2", broker.vhost());
    let queue = open(&url).await;
    for n in 0..2 {
        queue.publish(&QueueName::VIDEO, message(n)).await.unwrap();
    }
    let mut consumer = queue.consume(&QueueName::VIDEO, 1).await.unwrap();
    let in_hand = consumer.next().await.unwrap();
    broker.set_memory_alarm(true);
    let started = Instant::now();
    for _ in 0..20 {
        assert!(is_unavailable(&queue.publish(&QueueName::VIDEO, message(9)).await));
    }
    assert!(is_unavailable(&queue.ping().await));
    assert!(started.elapsed() < Duration::from_secs(20), "once it is known it costs no time: {:?}", started.elapsed());
    in_hand.receipt.settle(Settlement::Ack).await.unwrap();
    let next = consumer.next().await.unwrap();
    let retry = next.receipt.settle(Settlement::Retry { after: Duration::ZERO }).await;
    assert!(is_unavailable(&retry), "that has to be published");
    broker.set_memory_alarm(false);
    publish_until_it_works(&queue, message(2)).await;
    drop(consumer);
    assert_come(&queue, [1, 2]).await;
}
