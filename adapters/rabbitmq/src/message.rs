//! A message of ours as one of AMQP's, and back.
//!
//! As the tutorial's services write and read them: JSON, persistent, to the default exchange. What is not in the body is
//! in headers of our own.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use microserve_core::dead_letters::Letter;
use microserve_core::queue::Message;
use sha2::{Digest, Sha256};

use crate::error::Failure;
use crate::topology::LONGEST;

/// Why a message is a dead letter.
const DEAD_REASON: &str = "microserve-dead-reason";
/// When it became one, in milliseconds since 1970.
const DEAD_AT: &str = "microserve-dead-at";
/// How many times it was delivered before it was published anew, for another attempt.
const ATTEMPTS: &str = "microserve-attempts";
/// How many milliseconds it has to wait beyond those that it waits in a queue.
const LEFT: &str = "microserve-wait-left";
/// How many times it came back since (RabbitMQ "Quorum Queues", "poison message handling").
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Why the broker itself made it a dead letter (RabbitMQ "Dead Letter Exchanges").
const FIRST_DEATH: &str = "x-first-death-reason";
/// And what else it noted then: the last time first.
const DEATHS: &str = "x-death";

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
pub(crate) fn read(delivery: &Delivery, dead: bool) -> (Message, u32) {
    let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    let by_broker = || header(delivery, FIRST_DEATH).filter(|_| dead).and_then(words);
    let dead_reason = header(delivery, DEAD_REASON).and_then(words).or_else(by_broker);
    let before = header(delivery, ATTEMPTS).and_then(count).unwrap_or(0);
    let message = Message { id, body: delivery.data.clone().into(), dead_reason };
    (message, before.saturating_add(came_back(delivery)).saturating_add(1))
}

/// How many times a delivery was given back since it was published.
pub(crate) fn came_back(delivery: &Delivery) -> u32 {
    // A classic queue does not count; it says whether there was another time.
    header(delivery, DELIVERY_COUNT).and_then(count).unwrap_or_else(|| delivery.redelivered.into())
}

/// The dead letter that was delivered.
///
/// AMQP names a message for as long as somebody has it in hand. So a letter is named by what it says, and when it died:
/// letters that share a name are the same.
pub(crate) fn letter(delivery: &Delivery) -> Letter {
    let (message, _) = read(delivery, true);
    let by_broker = || header(delivery, DEATHS).and_then(last_death);
    let at = header(delivery, DEAD_AT).and_then(millis).or_else(by_broker);
    let reason = message.dead_reason.as_deref().unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [message.id.as_bytes(), reason.as_bytes(), &at.map_or(0, Timestamp::as_millisecond).to_be_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.update(&message.body);
    Letter { id: hex::encode(&digest.finalize()[..6]), message, at }
}

fn header<'d>(delivery: &'d Delivery, key: &str) -> Option<&'d AMQPValue> {
    delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get(key))
}

/// A copy to be delivered again once `after` has passed.
pub(crate) fn retried(properties: &BasicProperties, attempts: u32, after: Duration) -> BasicProperties {
    let now = after.min(LONGEST);
    // Both rounded up: not before its time.
    let millis = |time: Duration| i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
    let (attempts, left) = (AMQPValue::LongLongInt(attempts.into()), AMQPValue::LongLongInt(millis(after - now)));
    let headers = headers(properties, [(ATTEMPTS, attempts), (LEFT, left)]);
    copied(properties, headers).with_expiration(ShortString::from(millis(now).to_string()))
}

/// How long a message that was delivered has yet to wait, and as which attempt: the last queue of delays was not enough.
pub(crate) fn left(properties: &BasicProperties) -> Option<(Duration, u32)> {
    let headers = properties.headers().as_ref()?.inner();
    let AMQPValue::LongLongInt(left) = headers.get(LEFT)? else { return None };
    let left = Duration::from_millis(u64::try_from(*left).ok().filter(|left| *left > 0)?);
    Some((left, headers.get(ATTEMPTS).and_then(count).unwrap_or(0)))
}

/// A copy for the dead-letter queue.
pub(crate) fn buried(properties: &BasicProperties, reason: Option<&str>, at: Option<Timestamp>) -> BasicProperties {
    let reason = reason.map(|reason| (DEAD_REASON, text(reason)));
    let at = at.map(|at| (DEAD_AT, AMQPValue::LongLongInt(at.as_millisecond())));
    copied(properties, headers(properties, reason.into_iter().chain(at)))
}

/// A copy for the queue that a dead letter came from.
pub(crate) fn revived(properties: &BasicProperties) -> BasicProperties {
    copied(properties, headers(properties, []))
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
fn headers<'h>(properties: &BasicProperties, more: impl IntoIterator<Item = (&'h str, AMQPValue)>) -> FieldTable {
    let old = properties.headers().iter().flat_map(|headers| headers.inner().iter());
    let brokers = |key: &str| key == DELIVERY_COUNT || key.contains("death");
    let ours = [ATTEMPTS, LEFT, DEAD_REASON, DEAD_AT];
    let kept = old.filter(|(key, _)| !ours.contains(&key.as_str()) && !brokers(key.as_str()));
    let mut all: BTreeMap<_, _> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
    all.extend(more.into_iter().map(|(key, value)| (ShortString::from(key), value)));
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

fn millis(value: &AMQPValue) -> Option<Timestamp> {
    let AMQPValue::LongLongInt(millis) = *value else { return None };
    Timestamp::from_millisecond(millis).ok()
}

/// When the broker made it a dead letter.
fn last_death(deaths: &AMQPValue) -> Option<Timestamp> {
    let AMQPValue::FieldArray(deaths) = deaths else { return None };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else { return None };
    let AMQPValue::Timestamp(seconds) = *last.inner().get("time")? else { return None };
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_wait_is_several_that_are_not_too_long() {
        let (mut properties, mut after, mut waits) =
            (BasicProperties::default(), Duration::from_secs(8 * 3600), vec![]);
        loop {
            properties = retried(&properties, 3, after);
            waits.push(properties.expiration().as_ref().unwrap().as_str().parse::<u64>().unwrap());
            let Some((left, attempts)) = left(&properties) else { break };
            assert_eq!(attempts, 3);
            after = left;
        }
        assert_eq!(waits, [vec![4_096_000; 7], vec![128_000]].concat());
        assert!(left(&buried(&retried(&properties, 1, Duration::from_secs(5_000)), Some("enough"), None)).is_none());
    }

    #[test]
    fn no_wait_is_too_long_to_be_written_down() {
        assert!(left(&retried(&BasicProperties::default(), 1, Duration::MAX)).is_some());
    }
}
