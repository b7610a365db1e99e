//! Messages by RabbitMQ: from the upload to the mail and the download, whatever becomes of the broker meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{World, exe};
use microserve::core::queue::{Message, Queue, QueueName};
use microserve::rabbitmq::RabbitQueue;
use microserve_testkit::server::files_below;
use microserve_testkit::servers::rabbitmq::{Server, shared};
use microserve_testkit::{judge, media};
use reqwest::StatusCode;

/// The job is done, its owner has exactly one mail of it, and its MP3 is whole.
async fn assert_done(world: &World, job: &str, seconds: u32) {
    let done = world.client.until_final(job, Duration::from_secs(180)).await;
    assert_eq!(done["status"], "done", "{done}");
    let started = Instant::now();
    while world.client.job(job).await["mail"] != "sent" {
        assert!(started.elapsed() < Duration::from_secs(120), "the mail has not gone out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fid = done["mp3_fid"].as_str().unwrap();
    let mails: Vec<_> = files_below(&world.data.join("mail")).into_iter().map(std::fs::read_to_string).collect();
    let told = mails.iter().filter(|mail| mail.as_ref().unwrap().contains(&format!("File ID: {fid}"))).count();
    assert_eq!(told, 1);
    let mp3 = world.data.join("downloaded.mp3");
    world.client.download(fid, &mp3).await;
    judge::assert_clean(&mp3);
    assert!((judge::duration(&mp3) - f64::from(seconds)).abs() < 0.001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_becomes_an_mp3_and_garbage_a_dead_letter() {
    let broker = shared();
    let url = broker.vhost();
    let world = World::with(&["--queue", &url]).await;
    let queue = RabbitQueue::open(&url.parse().unwrap()).await.unwrap();
    for garbage in ["", "{}", "\u{1F3B5}"] {
        queue.publish(&QueueName::VIDEO, Message::new("garbage", garbage)).await.unwrap();
    }
    let job = world.client.upload(&media::tone_mp4(2)).await;
    assert_done(&world, &job, 2).await;
    let mut dead = queue.consume(&QueueName::VIDEO.dead(), 10).await.unwrap();
    for _ in 0..3 {
        let letter = tokio::time::timeout(Duration::from_secs(20), dead.next()).await.unwrap().unwrap();
        assert_eq!(letter.message.id, "garbage");
        assert!(letter.message.dead_reason.as_ref().is_some_and(|reason| !reason.is_empty()), "{:?}", letter.message);
    }
    let ready = world.client.http.get(format!("{}/readyz", world.server.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uploaded_while_the_broker_is_down_is_converted_afterwards() {
    let mut broker = Server::start();
    let url = broker.vhost();
    broker.kill();
    // The server comes up without its broker.
    let world = World::with(&["--queue", &url]).await;
    let first = world.client.upload(&media::tone_mp4(2)).await;
    let ready = world.client.http.get(format!("{}/readyz", world.server.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    broker.restart();
    assert_done(&world, &first, 2).await;

    broker.kill();
    let second = world.client.upload(&media::tone_mp4(3)).await;
    broker.restart();
    assert_done(&world, &second, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversion_may_take_longer_than_the_broker_waits_for_its_end() {
    let broker = Server::start();
    broker.set_ack_limit(Duration::from_millis(500));
    let seconds = 900;
    let world = World::with(&["--queue", &broker.vhost()]).await;
    let job = world.client.upload(&media::tone_mp4(seconds)).await;
    assert_done(&world, &job, seconds).await;
    assert_eq!(world.client.job(&job).await["attempts"], 1);
    let taken_back = broker.log().matches("timed out").count();
    assert!(taken_back > 0, "the conversion was too short for what this shows:\n{}", broker.log());
    let mp3s = files_below(&world.data.join("blobs/mp3s")).len();
    assert_eq!(mp3s, 1, "whoever came second has made none");
}

#[test]
fn a_broker_with_another_password_is_named_without_it() {
    let broker = shared();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("amqp://guest:hunter2@127.0.0.1:{}", broker.port());
    let mut serve = Command::new(exe());
    let output = serve.args(["serve", "--queue", &url, "--data"]).arg(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("127.0.0.1") && said.contains("ACCESS_REFUSED"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
