//! A conversion that is watched and cancelled, on the real thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Client, World, children};
use microserve_testkit::media;
use reqwest::{Response, StatusCode};
use serde_json::Value;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// So many minutes of a tone in AAC: a minute of it over and over, which costs no encoding.
fn long(minutes: u32) -> PathBuf {
    let tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=60", "-ac", "2", "-c:a", "aac"];
    let minute = media::make("minute.m4a", &tone);
    let again = (minutes - 1).to_string();
    media::make("long.m4a", &["-stream_loop", &again, "-i", minute.to_str().unwrap(), "-c", "copy"])
}

/// What a stream sends, in pieces.
struct Events {
    answer: Response,
    buffer: String,
}

impl Events {
    async fn of(client: &Client, id: &str) -> Self {
        let answer = client.get(&format!("/jobs/{id}/events")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        Self { answer, buffer: String::new() }
    }

    /// The next event's name and data; `None` at the end.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let told = field("event: ").zip(field("data: "));
                self.buffer = rest.to_owned();
                if let Some((name, data)) = told {
                    return Some((name, serde_json::from_str(&data).unwrap()));
                }
            }
            let piece =
                tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("something is sent").unwrap()?;
            self.buffer.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

async fn until(what: &str, patience: Duration, is_so: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < patience, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_is_watched_to_its_end_and_moves_every_second() {
    let world = World::start().await;
    let id = world.client.upload(&long(30)).await;
    let mut events = Events::of(&world.client, &id).await;
    let (mut told, mut moves) = (Vec::new(), Vec::new());
    while let Some((name, job)) = events.next().await {
        if job["phase"] == "transcoding" {
            moves.push((Instant::now(), job["progress"].as_f64().unwrap()));
        }
        told.push((name, job));
    }
    let (name, last) = told.last().unwrap();
    assert_eq!((name.as_str(), last["status"].as_str()), ("status", Some("done")), "{last}");
    assert_eq!(told[0].0, "status");
    assert_eq!(last["mp3_fid"], world.client.job(&id).await["mp3_fid"]);
    assert!(moves.len() >= 2, "it took long enough to be seen moving: {told:?}");
    assert!(moves.is_sorted_by(|a, b| a.1 <= b.1), "{moves:?}");
    let gaps: Vec<_> = moves.windows(2).map(|two| two[1].0 - two[0].0).collect();
    println!("progress in {} steps, {:?} apart at most", moves.len(), gaps.iter().max());
    // A second, and what a busy machine and the store's polling add.
    assert!(gaps.iter().all(|gap| *gap < Duration::from_millis(2500)), "{gaps:?}");
    // Who waits instead is answered when it is final.
    let id = world.client.upload(&long(5)).await;
    let waited = world.client.http.get(format!("{}/jobs/{id}", world.client.url)).bearer_auth(&world.client.token);
    let waited = waited.header("prefer", "wait=60").send().await.unwrap();
    assert_eq!(waited.headers()["preference-applied"], "wait=60");
    assert_eq!(waited.json::<Value>().await.unwrap()["status"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_conversion_stops_within_two_seconds_and_can_run_again() {
    let world = World::start().await;
    let id = world.client.upload(&long(60)).await;
    let mut events = Events::of(&world.client, &id).await;
    while events.next().await.expect("it goes on").1["phase"] != "transcoding" {}
    assert_eq!(children(&world.server).len(), 1);
    let delete = world.client.http.delete(format!("{}/jobs/{id}", world.client.url)).bearer_auth(&world.client.token);
    assert_eq!(delete.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let took =
        until("the conversion has not ended", Duration::from_secs(2), || children(&world.server).is_empty()).await;
    println!("the conversion ended {took:?} after it was cancelled");
    let mut last = Value::Null;
    while let Some((_, job)) = events.next().await {
        last = job;
    }
    assert_eq!((&last["status"], &last["mail"]), (&"cancelled".into(), &Value::Null), "{last}");
    let post = || {
        let retry = world.client.http.post(format!("{}/jobs/{id}/retry", world.client.url));
        retry.bearer_auth(&world.client.token).send()
    };
    assert_eq!(post().await.unwrap().status(), StatusCode::ACCEPTED);
    until("it runs again", Duration::from_secs(30), || children(&world.server).len() == 1).await;
    let refused = post().await.unwrap();
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "not_retryable");
}
