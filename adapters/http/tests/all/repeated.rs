//! Uploads by `PUT`, and uploads that are sent again under the same `Idempotency-Key`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use crate::common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use common::{Answer, World, add_account, file, option, request, upload, wav};
use futures_util::stream;
use microserve_core::TokioClock;
use microserve_core::job::JobStore;

fn put(token: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    request("PUT", path, token).body(body.into()).unwrap()
}

/// The same, with a key and the length that a client tells.
fn keyed(token: &str, key: &str, path: &str, bytes: Vec<u8>) -> Request<Body> {
    let length = bytes.len();
    let request = request("PUT", path, token).header("idempotency-key", key).header(header::CONTENT_LENGTH, length);
    request.body(bytes.into()).unwrap()
}

/// What is sent into a channel, as a body.
fn pieces(channel: tokio::sync::mpsc::Receiver<Vec<u8>>) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::unfold(channel, |mut channel| async { Some((Ok(channel.recv().await?.into()), channel)) })
}

async fn jobs(world: &World) -> usize {
    world.jobs.due(jiff::Timestamp::MAX, 100).await.unwrap().len()
}

fn accepted(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    answer.json()["job_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_file_is_put() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let answer = world.send(put(&token, "/upload/my%20holiday%2F%C3%A9t%C3%A9.wav?bitrate=96", wav(1))).await;
    let id = accepted(&answer);
    assert_eq!(answer.header("location"), format!("/jobs/{id}"));
    let job = world.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((&*job.filename, job.video_size), ("été.wav", Some(wav(1).len() as u64)));
    assert_eq!(job.options.quality, Some(microserve_core::transcode::Quality::Cbr(96)));
    assert_eq!(job.options.fallback_title.as_deref(), Some("été"));
}

#[tokio::test]
async fn what_is_put_wrongly_is_refused_by_name_and_leaves_nothing() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    for (path, body, status, code) in [
        ("/upload/a.wav", vec![], 422, "empty_file"),
        ("/upload/a.wav", b"just some words\n".repeat(100), 415, "unsupported_container"),
        ("/upload/a.wav", wav(12), 413, "too_large"),
        ("/upload/a.wav?bitrate=193", wav(1), 422, "invalid_option"),
        ("/upload/a.wav?bitrat=192", wav(1), 422, "invalid_option"),
        ("/upload/%ff", wav(1), 400, "invalid_parameter"),
    ] {
        world.send(put(&token, path, body)).await.expect(status, code);
        world.assert_nothing_left().await;
    }
    world.send(put("no token", "/upload/a.wav", wav(1))).await.expect(401, "invalid_token");
    let broken = [Ok(Bytes::from(wav(1)[..5000].to_vec())), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let answer = world.send(put(&token, "/upload/a.wav", Body::from_stream(stream::iter(broken)))).await;
    answer.expect(400, "incomplete_body");
    world.assert_nothing_left().await;
    world.get(&token, "/upload/a.wav").await.expect(405, "method_not_allowed");
}

#[tokio::test]
async fn the_same_request_is_carried_out_once() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let first = world.send(keyed(&token, "k1", "/upload/a.wav", wav(1))).await;
    let id = accepted(&first);
    world.convert(&id, b"an mp3").await;
    // Whatever has become of the job: the answer is the first one's.
    let again = world.send(keyed(&token, "\"k1\"", "/upload/a.wav", wav(1))).await;
    assert_eq!((again.status, again.body, jobs(&world).await), (first.status, first.body, 1));
    assert_eq!(world.videos_left().await, 1);

    world.send(keyed(&token, "k1", "/upload/b.wav", wav(1))).await.expect(422, "key_reused");
    world.send(keyed(&token, "k1", "/upload/a.wav", wav(2))).await.expect(422, "key_reused");
    world.send(keyed(&token, "k1", "/upload/a.wav?vbr=4", wav(1))).await.expect(422, "key_reused");
    world.send(keyed(&token, "bad key", "/upload/a.wav", wav(1))).await.expect(400, "invalid_header");
    assert_eq!(jobs(&world).await, 1);

    assert_ne!(accepted(&world.send(keyed(&token, "k2", "/upload/a.wav", wav(1))).await), id);
    // Somebody else's key of the same name is another one.
    add_account(&world.accounts, &*world.clock, "bert@example.com").await;
    let bert = world.token("bert@example.com").await;
    assert_ne!(accepted(&world.send(keyed(&bert, "k1", "/upload/a.wav", wav(1))).await), id);
}

#[tokio::test]
async fn a_form_is_sent_again_without_being_read_again() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let form = |title: &str| {
        let mut request = upload(&token, "/upload", &[option("title", title), file("f", "a.wav", &wav(1))]);
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let id = accepted(&world.send(form("one")).await);
    assert_eq!(accepted(&world.send(form("one")).await), id);
    world.send(form("two")).await.expect(422, "key_reused");
    assert_eq!((jobs(&world).await, world.videos_left().await), (1, 1));
}

#[tokio::test]
async fn whoever_asks_before_sending_need_not_send_it_again() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let id = accepted(&world.send(keyed(&token, "k", "/upload/a.wav", wav(1))).await);
    let read = Arc::new(AtomicBool::new(false));
    let body = stream::poll_fn({
        let read = read.clone();
        move |_| {
            read.store(true, Ordering::SeqCst);
            Poll::Ready(None::<io::Result<Bytes>>)
        }
    });
    let mut again = keyed(&token, "k", "/upload/a.wav", wav(1));
    again.headers_mut().insert(header::EXPECT, "100-continue".parse().unwrap());
    *again.body_mut() = Body::from_stream(body);
    assert_eq!(accepted(&world.send(again).await), id);
    assert!(world.shutdown.drain(Duration::from_secs(5)).await);
    assert!(!read.load(Ordering::SeqCst), "it was asked to send all of it");
}

#[tokio::test]
async fn a_request_that_is_being_carried_out_is_not_carried_out_twice() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let (send, receive) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    let slow = request("PUT", "/upload/a.wav", &token).header("idempotency-key", "k");
    let slow = world.send(slow.body(Body::from_stream(pieces(receive))).unwrap());
    let meanwhile = async {
        send.send(wav(1)[..5000].to_vec()).await.unwrap();
        while jobs(&world).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let again = request("PUT", "/upload/a.wav", &token).header("idempotency-key", "k").body(Body::from(wav(1)));
        let answer = world.send(again.unwrap()).await;
        answer.expect(409, "in_progress");
        assert!(answer.headers.contains_key(header::RETRY_AFTER));
        send.send(wav(1)[5000..].to_vec()).await.unwrap();
        drop(send);
    };
    let (first, ()) = tokio::join!(slow, meanwhile);
    let again = request("PUT", "/upload/a.wav", &token).header("idempotency-key", "k").body(Body::from(wav(1)));
    assert_eq!(accepted(&world.send(again.unwrap()).await), accepted(&first));
    assert_eq!((jobs(&world).await, world.videos_left().await), (1, 1));
}

#[tokio::test]
async fn what_failed_may_be_sent_again() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let broken = [Ok(Bytes::from(wav(1)[..5000].to_vec())), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let request = request("PUT", "/upload/a.wav", &token).header("idempotency-key", "k");
    let request = request.header(header::CONTENT_LENGTH, wav(1).len());
    let answer = world.send(request.body(Body::from_stream(stream::iter(broken))).unwrap()).await;
    answer.expect(400, "incomplete_body");
    accepted(&world.send(keyed(&token, "k", "/upload/a.wav", wav(1))).await);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    tokio::time::pause();
    let world = World::with(Arc::new(TokioClock::start()), |accounts| accounts).await;
    let send = async || {
        let token = world.token("anna@example.com").await;
        accepted(&world.send(keyed(&token, "k", "/upload/a.wav", wav(1))).await)
    };
    const HOUR: Duration = Duration::from_secs(60 * 60);
    // The clock starts at midnight. Whatever the hour, the key lasts a day.
    for hours in [0, 13, 10] {
        tokio::time::advance(HOUR * hours).await;
        let first = send().await;
        tokio::time::advance(HOUR * 23).await;
        assert_eq!(send().await, first);
        tokio::time::advance(HOUR).await;
        assert_ne!(send().await, first);
        tokio::time::advance(HOUR * 24).await;
    }
}
