//! SIGTERM: what was begun is finished, nothing new is taken, and whoever asks is told so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::World;
use futures_util::stream;
use microserve_testkit::media;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_begun_is_accepted_while_the_server_stops() {
    let world = World::start().await;
    let video = Bytes::from(std::fs::read(media::tone_mp4(2)).unwrap());
    let (length, pieces) = (video.len() as u64, video.chunks(video.len().div_ceil(10)).map(Bytes::copy_from_slice));
    let slow = stream::unfold(pieces.collect::<Vec<_>>().into_iter(), |mut pieces| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Some((Ok::<_, std::io::Error>(pieces.next()?), pieces))
    });
    let part = Part::stream_with_length(Body::wrap_stream(slow), length).file_name("tone.mp4");
    let (client, form) = (world.client.clone(), Form::new().part("file", part));
    let upload = tokio::spawn(async move { client.post_form(form).await.unwrap() });
    until(|| async { world.client.jobs().await.iter().any(|job| job["status"] == "uploading") }).await;
    let readyz = format!("{}/readyz", world.server.ops_url);
    let ready = || async { world.client.http.get(&readyz).send().await.unwrap().status() };
    assert_eq!(ready().await, 200);

    world.server.ask_to_stop();
    until(|| async { ready().await == 503 }).await;
    let healthz = format!("{}/healthz", world.server.ops_url);
    assert_eq!(world.client.http.get(healthz).send().await.unwrap().status(), 200, "it is alive");
    let fresh = crate::common::http().build().unwrap();
    assert!(fresh.get(format!("{}/jobs", world.client.url)).send().await.is_err(), "nothing new is taken");
    let answer = upload.await.unwrap();
    assert_eq!(answer.status(), 202);
    let id = answer.json::<Value>().await.unwrap()["job_id"].as_str().unwrap().to_owned();

    assert!(world.server.stop().success());
    let again = microserve_testkit::server::Server::start(common::exe(), &world.data, &[]);
    let client = common::Client { url: again.url.clone(), ..world.client.clone() };
    let job = client.until_final(&id, Duration::from_secs(60)).await;
    assert_eq!((&job["status"], &job["attempts"]), (&"done".into(), &1.into()), "{job}");
}

async fn until<F: Future<Output = bool>>(is_so: impl Fn() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < Duration::from_secs(10), "it did not come to that");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
