//! Jobs and blobs in MongoDB: from the upload to the MP3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Client, World, exe};
use microserve_testkit::server::Server;
use microserve_testkit::servers::mongodb;
use microserve_testkit::{judge, media};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};

const PATIENCE: Duration = Duration::from_secs(60);

async fn range(client: &Client, fid: &str, range: &str) -> reqwest::Response {
    let get = client.http.get(format!("{}/download?fid={fid}", client.url)).bearer_auth(&client.token);
    get.header(RANGE, range).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_becomes_an_mp3_that_is_read_whole_and_in_parts() {
    let database = mongodb::Server::start();
    let url = database.database();
    let world = World::with(&["--jobs", &url, "--blobs", &url]).await;
    let job = world.client.upload(&media::tone_mp4(60)).await;
    let done = world.client.until_final(&job, PATIENCE).await;
    assert_eq!(done["status"], "done", "{done}");
    let (fid, mp3) = (done["mp3_fid"].as_str().unwrap(), world.data.join("tone.mp3"));
    world.client.download(fid, &mp3).await;
    judge::assert_clean(&mp3);

    let whole = std::fs::read(&mp3).unwrap();
    // Around the end of the first chunk.
    let part = range(&world.client, fid, "bytes=261000-261200").await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 261000-261200/{}", whole.len()));
    assert_eq!(part.bytes().await.unwrap(), whole[261_000..=261_200]);
    assert_eq!(range(&world.client, fid, "bytes=-10").await.bytes().await.unwrap(), whole[whole.len() - 10..]);
    assert_eq!(range(&world.client, fid, "bytes=99999999-").await.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert!(!world.data.join("blobs").exists(), "nothing is kept in the data folder but accounts, queue and mails");
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_blobs_outlive_their_server_and_are_shared_with_others() {
    let (database, folder) = (mongodb::Server::start(), tempfile::tempdir().unwrap());
    let (url, data) = (database.database(), folder.path().join("data"));
    let password = microserve_testkit::server::add_user(exe(), &data, "anna@example.com");
    let options = ["--jobs", &url, "--blobs", &url];
    let first = Server::start(exe(), &data, &options);
    let anna = Client::login(&first.url, "anna@example.com", &password).await;
    let job = anna.upload(&media::tone_mp4(2)).await;
    first.kill();

    let (second, third) = (Server::start(exe(), &data, &options), Server::start(exe(), &data, &options));
    let anna = Client::login(&second.url, "anna@example.com", &password).await;
    let done = anna.until_final(&job, PATIENCE).await;
    assert_eq!(done["status"], "done", "{done}");
    let anna = Client::login(&third.url, "anna@example.com", &password).await;
    anna.download(done["mp3_fid"].as_str().unwrap(), &data.join("tone.mp3")).await;
    judge::assert_clean(&data.join("tone.mp3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_down_uploads_are_unavailable() {
    let mut database = mongodb::Server::start();
    let url = database.database();
    let world = World::with(&["--jobs", &url, "--blobs", &url]).await;
    database.kill();
    let form =
        reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::bytes(vec![0; 9]).file_name("a.mp4"));
    let started = Instant::now();
    let refused = world.client.post_form(form).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(started.elapsed() < PATIENCE && refused.headers().contains_key("retry-after"));
    let ready = world.client.http.get(format!("{}/readyz", world.server.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);

    database.restart();
    let job = world.client.upload(&media::tone_mp4(2)).await;
    assert_eq!(world.client.until_final(&job, PATIENCE).await["status"], "done");
}

#[test]
fn a_database_that_is_not_there_is_named_without_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let mut serve = Command::new(exe());
    serve.args(["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data"]).arg(folder.path());
    let output = serve.args(["--blobs", "mongodb://anna:hunter2@127.0.0.1:1,localhost:2/"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let names = said.contains("127.0.0.1:1,localhost:2") && said.contains("refused");
    assert!(output.status.code() == Some(1) && names && !said.contains("hunter2"), "{said}");
}
