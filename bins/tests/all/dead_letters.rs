//! `microserve dead-letters` beside a running server, on SQLite and on RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{World, exe};
use microserve::core::events::Event;
use microserve::core::open::SecretUrl;
use microserve::core::queue::{Message, QueueName};
use microserve::registry::Registry;
use microserve_testkit::media;
use microserve_testkit::servers::rabbitmq::shared;
use serde_json::Value;

/// Whoever looks after the dead letters of a queue.
struct Operator {
    queue: String,
}

impl Operator {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(exe());
        command.arg("dead-letters").args(args).args(["--queue", &self.queue]).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What it says on standard output, if it succeeds.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Its complaint, if it fails.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.ok(&["list", "--json"])).unwrap()
    }

    /// The letters, once there are as many.
    fn wait_for(&self, letters: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let list = self.list();
            if list.len() == letters {
                return list;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "there should be {letters}: {list:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

async fn operate(url: &str) {
    let operator = Operator { queue: url.to_owned() };
    let world = World::with(&["--queue", url]).await;
    let queue = Registry::embedded().queue.open(&url.parse::<SecretUrl>().unwrap()).await.unwrap();

    // What nobody can read dies, and dies again.
    for (id, garbage) in [("x", "not JSON \u{1b}[31m"), ("y", r#"{"video_fid":"64b","username":"anna@example.com"}"#)] {
        queue.publish(&QueueName::VIDEO, Message::new(id, garbage)).await.unwrap();
    }
    let letters = operator.wait_for(2);
    let (unreadable, jobless) =
        if letters[0]["message_id"] == "x" { (&letters[0], &letters[1]) } else { (&letters[1], &letters[0]) };
    assert!(unreadable["reason"].as_str().unwrap().starts_with("not an event"), "{unreadable}");
    assert!(unreadable["since"].is_string() && unreadable["event"].is_null(), "{unreadable}");
    assert_eq!(jobless["event"]["video_fid"], "64b");
    let table = operator.ok(&["list"]);
    assert!(table.starts_with("ID ") && table.contains("video 64b") && table.lines().count() == 3, "{table}");
    let id = unreadable["id"].as_str().unwrap();
    let shown = operator.ok(&["show", id]);
    assert!(shown.contains("not JSON") && !shown.contains('\u{1b}'), "a terminal is not steered: {shown}");
    operator.ok(&["replay", "--all"]);
    let again = operator.wait_for(2);
    assert!(
        again.iter().all(|letter| letter["reason"] == unreadable["reason"] || letter["reason"] == jobless["reason"])
    );

    // A letter of a job that is done changes nothing.
    let job = world.client.upload(&media::tone_mp4(2)).await;
    let done = world.client.until_final(&job, Duration::from_secs(120)).await;
    let event = Event {
        video_fid: done["video_fid"].as_str().unwrap().to_owned(),
        mp3_fid: None,
        username: "anna@example.com".to_owned(),
        job_id: Some(job.clone()),
        v: Some(1),
        other: serde_json::Map::new(),
    };
    let late = Message { dead_reason: Some("died long ago".to_owned()), ..event.to_message().unwrap() };
    queue.publish(&QueueName::VIDEO.dead(), late).await.unwrap();
    let letters = operator.wait_for(3);
    let late = letters.iter().find(|letter| letter["reason"] == "died long ago").unwrap();
    assert_eq!(late["event"]["job_id"], *job);
    operator.ok(&["replay", late["id"].as_str().unwrap()]);
    operator.wait_for(2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let after = world.client.job(&job).await;
    assert_eq!(
        (&after["status"], &after["attempts"], &after["mp3_fid"]),
        (&done["status"], &done["attempts"], &done["mp3_fid"])
    );

    // What is thrown away is thrown away for good, and not by accident.
    assert!(operator.fails(&["purge", "--all"]).contains("--yes"));
    assert!(operator.fails(&["purge", "nothing", "--yes"]).contains("there is no dead letter nothing"));
    assert!(operator.fails(&["replay", "nothing"]).contains("microserve dead-letters list"));
    assert!(operator.fails(&["show", "nothing"]).contains("there is no dead letter nothing"));
    assert_eq!(operator.run(&["purge"]).status.code(), Some(2), "which one has to be said");
    let first = operator.wait_for(2)[0]["id"].as_str().unwrap().to_owned();
    operator.ok(&["purge", &first, "--yes"]);
    assert_ne!(operator.wait_for(1)[0]["id"], *first);
    operator.ok(&["purge", "--all", "--yes", "--of", "mp3"]);
    operator.wait_for(1);
    operator.ok(&["purge", "--all", "--yes"]);
    operator.wait_for(0);
    assert_eq!(operator.ok(&["list"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_on_sqlite_are_shown_replayed_and_purged() {
    let folder = tempfile::tempdir().unwrap();
    operate(&format!("sqlite://{}/queue.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_on_rabbitmq_are_shown_replayed_and_purged() {
    let broker = shared();
    operate(&broker.vhost()).await;
}
