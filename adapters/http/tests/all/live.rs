//! Jobs that are waited for and watched, and run again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use common::{Answer, WATCHERS, World, add_account, request};
use http_body_util::BodyExt;
use microserve_core::clock::Clock;
use microserve_core::job::{Job, JobStore, Phase, Policy};
use microserve_core::queue::{Queue, QueueName};
use microserve_core::transcode::Problem;
use microserve_core::{SystemClock, TokioClock};
use microserve_http::{Limits, serve};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// Takes a job a step further, as a worker would.
async fn step(world: &World, id: &str, step: impl FnOnce(Job) -> Job) -> Job {
    let job = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
    world.jobs.update(step(job)).await.unwrap()
}

async fn claim(world: &World, id: &str) -> Job {
    step(world, id, |job| job.claim(world.clock.now(), &Policy::default()).unwrap()).await
}

async fn beat(world: &World, id: &str, progress: f64) -> Job {
    let now = world.clock.now();
    step(world, id, |job| {
        let epoch = job.epoch;
        job.beat(epoch, Phase::Transcoding, progress, now, &Policy::default()).unwrap()
    })
    .await
}

async fn fail(world: &World, id: &str) -> Job {
    let (now, p) = (world.clock.now(), Policy::default());
    let problem = Problem { code: "corrupt".to_owned(), detail: "the file is damaged".to_owned() };
    step(world, id, |job| {
        let epoch = job.epoch;
        job.fail(epoch, problem, now, &p).unwrap()
    })
    .await
}

async fn waiting(world: &World, token: &str, id: &str, headers: &[(&str, &str)]) -> Answer {
    let mut get = request("GET", &format!("/jobs/{id}"), token);
    for (name, value) in headers {
        get = get.header(*name, *value);
    }
    world.send(get.body(Body::empty()).unwrap()).await
}

async fn soon<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection that is sent events.
struct Events {
    lines: BufReader<TcpStream>,
}

/// An event: its id, name and data. A comment or a `retry` is one without a name.
type Event = (Option<u64>, String, String);

impl Events {
    async fn open(address: SocketAddr, token: &str, id: &str, more: &str) -> (String, Self) {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /jobs/{id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}Connection: close\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self { lines: BufReader::new(tcp) };
        let mut answer = String::new();
        loop {
            let line = events.line().await.expect("the answer has a head");
            if line.is_empty() {
                return (answer, events);
            }
            answer.push_str(&line.to_ascii_lowercase());
            answer.push('\n');
        }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), self.lines.read_line(&mut line));
        (read.await.expect("something is sent").unwrap() > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), String::new());
        loop {
            let line = self.line().await?;
            // What is between events belongs to HTTP's chunks.
            match line.split_once(": ") {
                Some(("id", value)) => id = value.parse().ok(),
                Some(("event", value)) => name = value.to_owned(),
                Some(("data", value)) => data = value.to_owned(),
                Some(("retry", value)) => data = format!("retry {value}"),
                _ if line.is_empty() && !(name.is_empty() && data.is_empty()) => return Some((id, name, data)),
                _ if line == "0" => return None,
                _ => {}
            }
        }
    }

    /// The next event, which has to be this one.
    async fn expect(&mut self, expected: &str, job: &Job) -> Value {
        let (id, name, data) = self.next().await.expect("there is another event");
        assert_eq!((id, name.as_str()), (Some(job.version), expected), "{data}");
        serde_json::from_str(&data).unwrap()
    }
}

async fn listen(world: &World) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (router, stopping) = (world.app.clone(), world.shutdown.clone());
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    world.shutdown.spawn(async move { serve(listener, router, limits, &stopping).await });
    address
}

#[tokio::test]
async fn a_job_is_told_as_it_goes_on_until_it_is_final() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let queued = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
    let (head, mut events) = Events::open(listen(&world).await, &token, &id, "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    for header in ["content-type: text/event-stream\n", "cache-control: no-store\n", "x-accel-buffering: no\n"] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(events.next().await.unwrap().2, "retry 3000");
    let told = events.expect("status", &queued).await;
    let mut shown = world.get(&token, &format!("/jobs/{id}")).await.json();
    // Its place changes without it, so events don't tell.
    shown["position"] = serde_json::Value::Null;
    assert_eq!(told, shown, "the data is what GET says");
    // Quiet for longer than a slow reader may be: it takes nothing because there is nothing.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let claimed = claim(&world, &id).await;
    assert_eq!(events.expect("status", &claimed).await["phase"], "probing");
    let transcoding = beat(&world, &id, 0.25).await;
    assert_eq!(events.expect("status", &transcoding).await["phase"], "transcoding");
    let further = beat(&world, &id, 0.5).await;
    assert_eq!(events.expect("progress", &further).await["progress"], 0.5);
    // Nothing that anybody sees has changed.
    beat(&world, &id, 0.5).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let failed = fail(&world, &id).await;
    assert_eq!(events.expect("status", &failed).await["error"]["code"], "corrupt");
    assert_eq!(events.next().await, None, "and that is the end");
    assert_eq!(world.watches.watchers(), 0);
}

#[tokio::test]
async fn who_comes_back_hears_only_news() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let claimed = claim(&world, &id).await;
    let address = listen(&world).await;
    let seen = |version: u64| format!("Last-Event-ID: {version}\r\n");
    let (_, mut events) = Events::open(address, &token, &id, &seen(claimed.version)).await;
    assert_eq!(events.next().await.unwrap().2, "retry 3000");
    let beaten = beat(&world, &id, 0.1).await;
    events.expect("status", &beaten).await;
    for other in [seen(claimed.version), "Last-Event-ID: x\r\n".to_owned(), seen(u64::MAX)] {
        let (_, mut events) = Events::open(address, &token, &id, &other).await;
        events.next().await.unwrap();
        events.expect("status", &beaten).await;
    }
    let failed = fail(&world, &id).await;
    let (_, mut events) = Events::open(address, &token, &id, &seen(beaten.version)).await;
    events.next().await.unwrap();
    events.expect("status", &failed).await;
    assert_eq!(events.next().await, None);
    let (head, _) = Events::open(address, &token, &id, &seen(failed.version)).await;
    assert!(head.starts_with("http/1.1 204"), "who has seen the end is told to stay away: {head}");
}

#[tokio::test]
async fn somebody_elses_job_can_be_neither_watched_nor_retried() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    add_account(&world.accounts, &SystemClock, "eve@example.com").await;
    let eve = world.token("eve@example.com").await;
    for (method, path, status, code) in [
        ("GET", format!("/jobs/{id}/events"), 404, "not_found"),
        ("GET", "/jobs/000000000000000000000000/events".to_owned(), 404, "not_found"),
        ("GET", "/jobs/x/events".to_owned(), 400, "malformed_id"),
        ("POST", format!("/jobs/{id}/retry"), 404, "not_found"),
        ("POST", format!("/jobs/{id}/events"), 405, "method_not_allowed"),
        ("GET", format!("/jobs/{id}/retry"), 405, "method_not_allowed"),
        ("POST", format!("/jobs/{id}"), 405, "method_not_allowed"),
    ] {
        world.send(request(method, &path, &eve).body(Body::empty()).unwrap()).await.expect(status, code);
        let nobody = world.send(request(method, &path, "x").body(Body::empty()).unwrap()).await;
        assert!([401, 405].contains(&nobody.status.as_u16()), "{nobody:?}");
    }
    let wait = [("prefer", "wait=30")];
    waiting(&world, &eve, &id, &wait).await.expect(404, "not_found");
    assert_eq!(world.watches.watchers(), 0);
}

#[tokio::test]
async fn a_deleted_job_and_a_stopping_server_end_the_stream() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let (deleted, other) = (world.upload(&token).await, world.upload(&token).await);
    let address = listen(&world).await;
    let (_, mut first) = Events::open(address, &token, &deleted, "").await;
    let (_, mut second) = Events::open(address, &token, &other, "").await;
    for events in [&mut first, &mut second] {
        assert_eq!(events.next().await.unwrap().2, "retry 3000");
        events.next().await.unwrap();
    }
    world.jobs.remove(&world.jobs.get(deleted.parse().unwrap()).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(first.next().await, None);
    let drained = world.shutdown.drain(Duration::from_secs(3));
    let (drained, ended) = tokio::join!(drained, second.next());
    assert!(drained && ended.is_none());
}

#[tokio::test]
async fn a_client_that_hangs_up_is_watched_for_no_longer() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let address = listen(&world).await;
    let (_, mut events) = Events::open(address, &token, &id, "").await;
    events.next().await.unwrap();
    assert_eq!(world.watches.watchers(), 1);
    drop(events);
    soon("the watcher is gone", || async { world.watches.watchers() == 0 }).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let head =
        format!("GET /jobs/{id} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nPrefer: wait=60\r\n\r\n");
    tcp.write_all(head.as_bytes()).await.unwrap();
    soon("it waits", || async { world.watches.watchers() == 1 }).await;
    drop(tcp);
    soon("and is gone", || async { world.watches.watchers() == 0 }).await;
}

/// A stream's answer, whose body nobody has read yet.
async fn unread(world: &World, token: &str, id: &str) -> Body {
    let events = request("GET", &format!("/jobs/{id}/events"), token).body(Body::empty()).unwrap();
    let answer = world.app.clone().oneshot(events).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.into_body()
}

async fn frame(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    Some(String::from_utf8(frame.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_is_given_up_and_a_quiet_stream_is_not() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
    let world = World::with(clock, |accounts| accounts).await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let (mut read, left) = (unread(&world, &token, &id).await, unread(&world, &token, &id).await);
    assert_eq!(frame(&mut read).await.unwrap(), "retry: 3000\n\n");
    assert!(frame(&mut read).await.unwrap().contains("event: status\n"));
    assert_eq!(world.watches.watchers(), 2);
    let started = tokio::time::Instant::now();
    for n in 1..=20 {
        assert_eq!(frame(&mut read).await.unwrap(), ":\n\n");
        assert_eq!(started.elapsed().as_secs(), 15 * n);
    }
    assert_eq!(world.watches.watchers(), 1, "who takes nothing is gone after a minute");
    drop(left);
}

#[tokio::test]
async fn stopping_waits_for_no_reader_that_takes_nothing() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let left = unread(&world, &token, &id).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(world.shutdown.drain(Duration::from_secs(3)).await);
    drop(left);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_no_longer_good_ends_the_stream() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
    let world = World::with(clock, |accounts| accounts).await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let mut body = unread(&world, &token, &id).await;
    let started = tokio::time::Instant::now();
    while frame(&mut body).await.is_some() && started.elapsed().as_secs() < 100_000 {}
    let seconds = started.elapsed().as_secs();
    // A day, and the half minute that clocks may be apart.
    assert!((86_400..86_400 + 60).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_the_job_is_final() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
    let world = World::with(clock, |accounts| accounts).await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let started = tokio::time::Instant::now();
    let work = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.jobs.update(world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        world.convert(&id, b"ID3 an mp3").await;
    };
    let (answer, ()) = tokio::join!(waiting(&world, &token, &id, &[("prefer", "wait=300")]), work);
    assert_eq!((answer.status, answer.header("preference-applied")), (StatusCode::OK, "wait=60"));
    assert_eq!(answer.json()["status"], "done");
    let took = started.elapsed();
    assert!(
        (Duration::from_secs(40)..Duration::from_secs(41)).contains(&took),
        "longer than others may take: {took:?}"
    );
    let again = waiting(&world, &token, &id, &[("prefer", "wait=30")]).await;
    assert_eq!((again.json()["status"].as_str(), started.elapsed()), (Some("done"), took), "it is final already");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_another_version_ends_in_that_or_in_304() {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
    let world = World::with(clock, |accounts| accounts).await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let etag = waiting(&world, &token, &id, &[]).await.header("etag").to_owned();
    let wait = |etag: String| {
        let (world, token, id) = (&world, &token, &id);
        async move { waiting(world, token, id, &[("prefer", "wait=10"), ("if-none-match", &etag)]).await }
    };
    let started = tokio::time::Instant::now();
    let answer = wait(etag.clone()).await;
    assert_eq!((answer.status, started.elapsed().as_secs()), (StatusCode::NOT_MODIFIED, 10));
    assert_eq!(answer.header("preference-applied"), "wait=10");
    let work = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        claim(&world, &id).await
    };
    let (answer, claimed) = tokio::join!(wait(etag.clone()), work);
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::OK, format!("\"{}\"", claimed.version).as_str()));
    assert_eq!(started.elapsed().as_secs(), 13);
    assert_eq!(wait(etag).await.status, StatusCode::OK, "an old version is answered at once");
    assert_eq!(started.elapsed().as_secs(), 13);
}

#[tokio::test]
async fn waiting_ends_when_the_server_stops() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let started = Instant::now();
    let stop = async {
        soon("it waits", || async { world.watches.watchers() == 1 }).await;
        world.shutdown.drain(Duration::from_secs(3)).await
    };
    let (answer, drained) = tokio::join!(waiting(&world, &token, &id, &[("prefer", "wait=60")]), stop);
    assert!(drained && started.elapsed() < Duration::from_secs(3));
    assert_eq!((answer.status, answer.json()["status"].as_str()), (StatusCode::OK, Some("queued")));
}

#[tokio::test]
async fn more_watchers_than_the_limit_are_told_to_come_back() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let mut streams = Vec::new();
    for _ in 0..WATCHERS / 4 {
        streams.push(unread(&world, &token, &id).await);
    }
    let answer = world.get(&token, &format!("/jobs/{id}/events")).await;
    answer.expect(503, "busy");
    assert!(answer.header("retry-after").parse::<u64>().is_ok());
    waiting(&world, &token, &id, &[("prefer", "wait=9")]).await.expect(503, "busy");
    assert_eq!(waiting(&world, &token, &id, &[]).await.status, StatusCode::OK, "who doesn't wait is answered");
    streams.clear();
    soon("there is room again", || async { world.watches.watchers() == 0 }).await;
}

#[tokio::test]
async fn a_failed_or_cancelled_job_runs_again_and_no_other() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = world.upload(&token).await;
    let retry =
        async || world.send(request("POST", &format!("/jobs/{id}/retry"), &token).body(Body::empty()).unwrap()).await;
    retry().await.expect(409, "not_retryable");
    claim(&world, &id).await;
    retry().await.expect(409, "not_retryable");
    fail(&world, &id).await;
    let mut bell = world.queue.consume(&QueueName::VIDEO, 9).await.unwrap();
    bell.next().await.unwrap();
    let answer = retry().await;
    assert_eq!((answer.status, answer.json()["status"].as_str()), (StatusCode::ACCEPTED, Some("queued")));
    assert_eq!((&answer.json()["error"], &answer.json()["attempts"]), (&Value::Null, &0.into()));
    assert_eq!(answer.header("etag"), waiting(&world, &token, &id, &[]).await.header("etag"));
    let rung = tokio::time::timeout(Duration::from_secs(5), bell.next()).await.expect("its bell is rung");
    drop(rung.unwrap());
    let delete = || world.send(request("DELETE", &format!("/jobs/{id}"), &token).body(Body::empty()).unwrap());
    assert_eq!(delete().await.status, StatusCode::ACCEPTED);
    assert_eq!(retry().await.status, StatusCode::ACCEPTED, "a cancelled one, too");
    delete().await;
    // Its video is gone by now.
    step(&world, &id, |job| job.forget_video(world.clock.now(), &Policy::default()).unwrap()).await;
    let answer = retry().await;
    answer.expect(409, "not_retryable");
    assert!(answer.json()["detail"].as_str().unwrap().contains("uploaded again"), "{answer:?}");
    delete().await;
    retry().await.expect(404, "not_found");
}

/// What this process has resident, in bytes (proc(5)).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn thousands_of_streams_take_little_memory_and_hear_at_once() {
    // The first ones take up what the login's hashing has left behind.
    const FIRST: usize = 4_000;
    const ALL: usize = 6_000;
    let world = World::with_watchers(Arc::new(SystemClock), |accounts| accounts, 4 * ALL).await;
    let token = world.token("anna@example.com").await;
    let mut jobs = Vec::new();
    for _ in 0..ALL {
        jobs.push(world.insert_job(world.anna.id).await.id.to_string());
    }
    let (mut before, mut bodies) = (0, Vec::with_capacity(ALL));
    for (n, id) in jobs.iter().enumerate() {
        if n == FIRST {
            before = resident();
        }
        let mut body = unread(&world, &token, id).await;
        frame(&mut body).await.unwrap();
        frame(&mut body).await.unwrap();
        bodies.push(body);
    }
    let each = resident().saturating_sub(before) / (ALL - FIRST);
    println!("a stream: {each} bytes, its connection not counted");
    assert!(each < 16 * 1024);
    bodies.truncate(1000);
    for id in &jobs[..1000] {
        step(&world, id, |job| job.accept(1, world.clock.now(), &Policy::default()).unwrap()).await;
    }
    let started = Instant::now();
    for body in &mut bodies {
        assert!(frame(body).await.unwrap().contains("event: status\n"));
    }
    // A poll is all that it takes; a busy machine takes its time.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
