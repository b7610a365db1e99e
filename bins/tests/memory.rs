//! A big video passes through a small server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

mod common;

use std::time::Duration;

use common::World;
use microserve_testkit::{judge, media};
use reqwest::Body;
use reqwest::multipart::{Form, Part};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_is_uploaded_and_converted_within_little_memory() {
    let world = World::start().await;
    let video = media::big_mp4(1024);
    let size = std::fs::metadata(&video).unwrap().len();
    assert!(size >= 1024 * MIB, "the video has {size} bytes");

    let file = tokio::fs::File::open(&video).await.unwrap();
    let body = Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 1 << 20));
    let part = Part::stream_with_length(body, size).file_name("big.mp4");
    let answer = world.client.post_form(Form::new().part("file", part)).await.unwrap();
    assert_eq!(answer.status(), 202);
    let uploaded = world.server.peak_memory();
    let job: serde_json::Value = answer.json().await.unwrap();
    let job = world.client.until_final(job["job_id"].as_str().unwrap(), Duration::from_secs(300)).await;
    let converted = world.server.peak_memory();
    println!("peak memory: {} MiB after the upload, {} MiB after the conversion", uploaded / MIB, converted / MIB);
    assert_eq!(job["status"], "done", "{job}");
    assert!(uploaded < 64 * MIB, "uploading 1 GiB took {} MiB", uploaded / MIB);
    assert!(converted < 128 * MIB, "converting 1 GiB took {} MiB", converted / MIB);

    let mp3 = world.data.join("big.mp3");
    world.client.download(job["mp3_fid"].as_str().unwrap(), &mp3).await;
    judge::assert_clean(&mp3);
}
