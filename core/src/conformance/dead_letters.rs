//! The promises of [`DeadLetters`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{assert_quiet, consume, fresh, message, next, publish, settle};
use super::{noise, now};
use crate::clock::since;
use crate::dead_letters::{DeadLetters, Letter, Verdict};
use crate::job::JobId;
use crate::queue::{Message, QueueName, Settlement};

/// A broker may take a moment to have everything back in its place.
const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes messages and makes dead letters of them, one after the other.
async fn bury(queue: &dyn DeadLetters, name: &QueueName, messages: &[Message], reason: &str) {
    let mut consumer = consume(queue, name, 1).await;
    for message in messages {
        publish(queue, name, std::slice::from_ref(message)).await;
        settle(next(&mut *consumer).await, Settlement::DeadLetter { reason: reason.to_owned() }).await;
    }
}

/// All letters, as they are shown.
async fn look(queue: &dyn DeadLetters, name: &QueueName) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut note = |letter: &Letter| {
        letters.push(letter.clone());
        Verdict::Keep
    };
    let changed = queue.visit(name, &mut note).await.expect("letters can be looked at");
    assert_eq!(changed, 0, "looking changes nothing");
    letters
}

/// All letters, once there are as many as there should be.
async fn look_for(queue: &dyn DeadLetters, name: &QueueName, expected: usize) -> Vec<Letter> {
    let began = Instant::now();
    loop {
        let letters = look(queue, name).await;
        if letters.len() == expected {
            return letters;
        }
        assert!(began.elapsed() < PATIENCE, "there should be {expected} letters: {letters:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Does this to the first letter of an id, and nothing to the others.
async fn decide(queue: &dyn DeadLetters, name: &QueueName, id: &str, verdict: Verdict) {
    let mut found = false;
    let mut decide = |letter: &Letter| {
        if found {
            return Verdict::Stop;
        }
        found = letter.id == id;
        if found { verdict } else { Verdict::Keep }
    };
    let changed = queue.visit(name, &mut decide).await.expect("letters can be visited");
    assert_eq!(changed, 1, "one letter was to be changed");
}

fn ids(letters: &[Letter]) -> Vec<&str> {
    let mut ids: Vec<&str> = letters.iter().map(|letter| &*letter.id).collect();
    ids.sort_unstable();
    ids
}

async fn letters_are_shown_the_oldest_first(queue: Arc<dyn DeadLetters>) {
    let name = fresh();
    assert_eq!(look(&*queue, &name).await, [], "a queue that is new has no dead letters");
    let sent = [message("1"), message("2"), message("3")];
    bury(&*queue, &name, &sent, "not JSON: expected `{`").await;
    let letters = look_for(&*queue, &name, 3).await;
    for (letter, sent) in letters.iter().zip(sent) {
        let expected = Message { dead_reason: Some("not JSON: expected `{`".to_owned()), ..sent };
        assert_eq!(letter.message, expected, "a letter is the message with its reason, the oldest first");
        let at = letter.at.expect("a letter that was buried just now has its time");
        let age = since(now(), at).max(since(at, now()));
        assert!(age < Duration::from_secs(120), "it died just now, and not {age:?} from now");
        let is_plain = letter.id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        assert!(is_plain && !letter.id.is_empty(), "an id can be typed: {:?}", letter.id);
    }
    let mut distinct = ids(&letters);
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "each has an id of its own");
}

async fn letters_keep_their_bytes(queue: Arc<dyn DeadLetters>) {
    let name = fresh();
    let bodies = [Vec::new(), "Ünï 🎵\r\n\0".as_bytes().to_vec(), (0..=255).collect(), noise(100_000, 1)];
    let sent = bodies.map(|body| Message::new(JobId::random().to_string(), body));
    bury(&*queue, &name, &sent, "ünreadable 🎵").await;
    let letters = look_for(&*queue, &name, sent.len()).await;
    for (letter, sent) in letters.into_iter().zip(sent) {
        let (found, size) = (letter.message, sent.body.len());
        assert!(found.id == sent.id && found.body == sent.body, "id and body of {size} bytes are kept");
        assert_eq!(found.dead_reason.as_deref(), Some("ünreadable 🎵"));
    }
}

async fn letters_of_other_queues_are_not_shown(queue: Arc<dyn DeadLetters>) {
    let (ours, other) = (fresh(), fresh());
    bury(&*queue, &other, &[message("for the other")], "no").await;
    publish(&*queue, &ours, &[message("alive")]).await;
    assert_eq!(look(&*queue, &ours).await, [], "neither another queue's letters nor living messages are shown");
}

async fn looking_loses_nothing(queue: Arc<dyn DeadLetters>) {
    let name = fresh();
    let sent = [message("1"), message("2"), message("3")];
    bury(&*queue, &name, &sent, "no").await;
    let first = look_for(&*queue, &name, 3).await;
    for _ in 0..25 {
        let again = look_for(&*queue, &name, 3).await;
        assert_eq!(ids(&again), ids(&first), "a letter keeps its id");
    }
    let mut dead = consume(&*queue, &name.dead(), 1).await;
    let mut seen = Vec::new();
    for _ in &sent {
        let delivery = next(&mut *dead).await;
        assert_eq!(delivery.message.dead_reason.as_deref(), Some("no"), "and its reason");
        seen.push(delivery.message.id.clone());
        settle(delivery, Settlement::Ack).await;
    }
    seen.sort_unstable();
    let mut expected = sent.map(|message| message.id);
    expected.sort_unstable();
    assert_eq!(seen, expected, "each letter is there once, however often it was looked at");
    assert_quiet(&mut *dead, "looking must not make letters").await;
}

async fn stopping_leaves_the_rest(queue: Arc<dyn DeadLetters>) {
    let name = fresh();
    bury(&*queue, &name, &[message("1"), message("2"), message("3")], "no").await;
    let all = look_for(&*queue, &name, 3).await;
    let mut shown = Vec::new();
    let mut decide = |letter: &Letter| {
        shown.push(letter.id.clone());
        if shown.len() == 2 { Verdict::Stop } else { Verdict::Purge }
    };
    let changed = queue.visit(&name, &mut decide).await.expect("letters can be visited");
    assert_eq!(changed, 1);
    assert_eq!(shown.len(), 2, "nothing is shown behind a stop");
    let left = look_for(&*queue, &name, 2).await;
    let expected: Vec<Letter> = all.into_iter().filter(|letter| letter.id != shown[0]).collect();
    assert_eq!(ids(&left), ids(&expected), "the one that was stopped at stays, and so do those behind it");
}

async fn replayed_goes_back_to_its_queue(queue: Arc<dyn DeadLetters>) {
    let (name, sent) = (fresh(), [message("again"), message("stays")]);
    bury(&*queue, &name, &sent, "no").await;
    let letters = look_for(&*queue, &name, 2).await;
    decide(&*queue, &name, &letters[0].id, Verdict::Replay).await;
    let mut consumer = consume(&*queue, &name, 1).await;
    let delivery = next(&mut *consumer).await;
    let [again, _] = sent;
    assert_eq!((&delivery.message, delivery.attempt), (&again, 1), "it comes as if it had never been delivered");
    settle(delivery, Settlement::Ack).await;
    assert_quiet(&mut *consumer, "the other letter was not replayed").await;
    let left = look_for(&*queue, &name, 1).await;
    assert_eq!(ids(&left), [&*letters[1].id], "only what was replayed has gone");
}

async fn replayed_may_die_again(queue: Arc<dyn DeadLetters>) {
    let (name, sent) = (fresh(), message("garbage"));
    bury(&*queue, &name, std::slice::from_ref(&sent), "once").await;
    let mut consumer = consume(&*queue, &name, 1).await;
    for round in 1..=3 {
        let began = Instant::now();
        // It may not be back in its place yet.
        while queue.visit(&name, &mut |_| Verdict::Replay).await.expect("letters can be replayed") == 0 {
            assert!(began.elapsed() < PATIENCE, "there is a letter to be replayed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let delivery = next(&mut *consumer).await;
        assert_eq!(delivery.message, sent, "a replayed letter has no reason any more");
        settle(delivery, Settlement::DeadLetter { reason: format!("round {round}") }).await;
        let letters = look_for(&*queue, &name, 1).await;
        let expected = Message { dead_reason: Some(format!("round {round}")), ..sent.clone() };
        assert_eq!(letters[0].message, expected, "and gets a new one when it dies again");
    }
}

async fn purged_is_gone(queue: Arc<dyn DeadLetters>) {
    let name = fresh();
    bury(&*queue, &name, &[message("1"), message("2"), message("3")], "no").await;
    let letters = look_for(&*queue, &name, 3).await;
    decide(&*queue, &name, &letters[1].id, Verdict::Purge).await;
    let left = look_for(&*queue, &name, 2).await;
    assert!(!ids(&left).contains(&&*letters[1].id), "the right one has gone");
    let purged = queue.visit(&name, &mut |_| Verdict::Purge).await.expect("letters can be purged");
    assert_eq!(purged, 2);
    assert_eq!(look(&*queue, &name).await, [], "all have gone");
    let mut consumer = consume(&*queue, &name, 1).await;
    assert_quiet(&mut *consumer, "a purged letter must not come back").await;
}

suite! { $ dead_letters_conformance: dead_letters of DeadLetters {
    letters_are_shown_the_oldest_first,
    letters_keep_their_bytes,
    letters_of_other_queues_are_not_shown,
    looking_loses_nothing,
    stopping_leaves_the_rest,
    replayed_goes_back_to_its_queue,
    replayed_may_die_again,
    purged_is_gone,
} }
