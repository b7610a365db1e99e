//! A message of ours as one of AMQP's, and back.
//!
//! As the tutorial's services write and read them: JSON, persistent, to the default exchange. What is not in the body is
//! in headers of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use microserve_core::queue::Message;

use crate::error::Failure;

/// Why a message is a dead letter.
const DEAD_REASON: &str = "microserve-dead-reason";
/// How many times it was delivered before it was published anew, for another attempt.
const ATTEMPTS: &str = "microserve-attempts";
/// How many times it came back since (RabbitMQ "Quorum Queues", "poison message handling").
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Why the broker itself made it a dead letter (RabbitMQ "Dead Letter Exchanges").
const FIRST_DEATH: &str = "x-first-death-reason";

const PERSISTENT: u8 = 2;

/// How a message is published the first time.
pub(crate) fn properties(message: &Message) -> Result<BasicProperties, Failure> {
    let id = ShortString::try_new(message.id.clone()).map_err(|err| Failure::misuse(format!("the id: {err}")))?;
    let mut headers = BTreeMap::new();
    if let Some(reason) = &message.dead_reason {
        headers.insert(DEAD_REASON.into(), text(reason));
    }
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id);
    Ok(properties.with_content_type("application/json".into()).with_headers(headers.into()))
}

/// The message that was delivered, and how many times it has been by now.
pub(crate) fn read(delivery: &lapin::message::Delivery, dead: bool) -> (Message, u32) {
    let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    let header = |key| delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get(key));
    let by_broker = || header(FIRST_DEATH).filter(|_| dead).and_then(words);
    let dead_reason = header(DEAD_REASON).and_then(words).or_else(by_broker);
    let before = header(ATTEMPTS).and_then(count).unwrap_or(0);
    // A classic queue does not count; it says whether there was another time.
    let since = header(DELIVERY_COUNT).and_then(count).unwrap_or_else(|| delivery.redelivered.into());
    let message = Message { id, body: delivery.data.clone().into(), dead_reason };
    (message, before.saturating_add(since).saturating_add(1))
}

/// A copy to be delivered again once `after` has passed.
pub(crate) fn retried(properties: &BasicProperties, attempts: u32, after: Duration) -> BasicProperties {
    let attempts = AMQPValue::LongLongInt(attempts.into());
    let headers = headers(properties, [(ATTEMPTS, attempts)]);
    // Rounded up: not before its time.
    let millis = after.as_nanos().div_ceil(1_000_000).min(u128::from(u32::MAX));
    copied(properties, headers).with_expiration(ShortString::from(millis.to_string()))
}

/// A copy for the dead-letter queue.
pub(crate) fn buried(properties: &BasicProperties, reason: &str) -> BasicProperties {
    copied(properties, headers(properties, [(DEAD_REASON, text(reason))]))
}

/// What somebody else wrote is kept, apart from what the broker would take for its own.
fn copied(properties: &BasicProperties, headers: FieldTable) -> BasicProperties {
    let mut copy = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(headers);
    if let Some(kind) = properties.content_type() {
        copy = copy.with_content_type(kind.clone());
    }
    if let Some(encoding) = properties.content_encoding() {
        copy = copy.with_content_encoding(encoding.clone());
    }
    if let Some(id) = properties.message_id() {
        copy = copy.with_message_id(id.clone());
    }
    if let Some(id) = properties.correlation_id() {
        copy = copy.with_correlation_id(id.clone());
    }
    if let Some(at) = properties.timestamp() {
        copy = copy.with_timestamp(*at);
    }
    copy
}

/// The headers without those in which the broker keeps its own accounts, and without those that are replaced.
fn headers<const N: usize>(properties: &BasicProperties, more: [(&str, AMQPValue); N]) -> FieldTable {
    let old = properties.headers().iter().flat_map(|headers| headers.inner().iter());
    let brokers = |key: &str| key == DELIVERY_COUNT || key.contains("death");
    let kept = old.filter(|(key, _)| ![ATTEMPTS, DEAD_REASON].contains(&key.as_str()) && !brokers(key.as_str()));
    let mut all: BTreeMap<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.extend(more.map(|(key, value)| (ShortString::from(key), value)));
    all.into()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

fn words(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn count(value: &AMQPValue) -> Option<u32> {
    match *value {
        AMQPValue::LongLongInt(n) => u32::try_from(n).ok(),
        AMQPValue::LongInt(n) => u32::try_from(n).ok(),
        AMQPValue::LongUInt(n) => Some(n),
        AMQPValue::ShortInt(n) => u32::try_from(n).ok(),
        AMQPValue::ShortUInt(n) => Some(n.into()),
        AMQPValue::ShortShortInt(n) => u32::try_from(n).ok(),
        AMQPValue::ShortShortUInt(n) => Some(n.into()),
        _ => None,
    }
}
