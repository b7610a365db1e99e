//! What clients do wrong: the documented status and code, nothing left behind, never a 500.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use common::{Client, World};
use futures_util::StreamExt;
use microserve_testkit::media;
use microserve_testkit::server::files_below;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, RequestBuilder};
use serde_json::Value;

const LIMIT: u64 = 64 << 20;

fn file(bytes: impl Into<Vec<u8>>, name: &str) -> Part {
    Part::bytes(bytes.into()).file_name(name.to_owned())
}

fn upload(client: &Client) -> RequestBuilder {
    client.http.post(format!("{}/upload", client.url)).bearer_auth(&client.token)
}

/// Sends a request and checks status and code of its problem document.
async fn expect(name: &str, request: RequestBuilder, status: u16, code: &str) {
    let answer = request.send().await.unwrap_or_else(|err| panic!("{name}: no answer: {err:?}"));
    let (got, kind) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
    assert!(answer.headers().contains_key("x-request-id"), "{name}: no request id");
    let body = answer.text().await.unwrap();
    assert_eq!(got, status, "{name}: {body}");
    assert_eq!(kind.unwrap(), "application/problem+json", "{name}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["code"], code, "{name}: {body}");
    assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{name}: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_uploads_are_told_what_is_wrong_and_leave_nothing() {
    let world = World::with(&["--max-upload", "64MiB"]).await;
    let c = &world.client;
    let video = std::fs::read(media::tone_mp4(2)).unwrap();
    let silent = std::fs::read(media::video_only_mp4()).unwrap();
    let text = "just some words\n".repeat(1000);

    expect("no file", upload(c).multipart(Form::new().text("title", "x")), 400, "no_file").await;
    let two = Form::new().part("a", file(video.clone(), "a.mp4")).part("b", file(video.clone(), "b.mp4"));
    expect("two files", upload(c).multipart(two), 400, "several_files").await;
    expect("empty", upload(c).multipart(Form::new().part("f", file("", "a.mp4"))), 422, "empty_file").await;
    expect("text", upload(c).multipart(Form::new().part("f", file(text, "a.mp4"))), 415, "unsupported_container").await;
    expect("no sound", upload(c).multipart(Form::new().part("f", file(silent, "a.mp4"))), 415, "no_audio_track").await;
    let cut = video[..video.len() / 8].to_vec();
    expect("cut", upload(c).multipart(Form::new().part("f", file(cut, "a.mp4"))), 415, "corrupt").await;
    expect("not multipart", upload(c).header("content-type", "text/plain").body("x"), 415, "expected_multipart").await;
    let head = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.mp4\"\r\n\r\n";
    let torn = [head.as_bytes(), &video].concat();
    let torn = upload(c).header("content-type", "multipart/form-data; boundary=B").body(torn);
    expect("torn multipart", torn, 400, "malformed_multipart").await;
    let bad = Form::new().text("bitrate", "193").part("f", file(video.clone(), "a.mp4"));
    expect("bad option", upload(c).multipart(bad), 422, "invalid_option").await;

    let honest = upload(c).header("content-type", "multipart/form-data; boundary=B");
    let over = honest.header("content-length", (3u64 << 30) + LIMIT).body(Body::wrap_stream(endless(head)));
    expect("3 GiB over the limit, told in advance", over, 413, "too_large").await;
    let chunked = upload(c).header("content-type", "multipart/form-data; boundary=B");
    expect("over the limit without a word", chunked.body(Body::wrap_stream(endless(head))), 413, "too_large").await;

    expect("no token", c.http.post(format!("{}/upload", c.url)).body("x"), 401, "invalid_token").await;
    assert_nothing_left(&world).await;
}

/// The head of a file part, and then some: up to twice the limit.
fn endless(head: &'static str) -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    futures_util::stream::unfold(0u64, move |sent| async move {
        // The client looks for an answer only when it has to wait, which on this line it never would.
        tokio::time::sleep(Duration::from_millis(1)).await;
        // It begins as a video does, or it would be refused for that.
        let piece =
            if sent == 0 { [head, "\0\0\0\x14ftypisom\0\0\0\0isom"].concat().into_bytes() } else { vec![0; 1 << 20] };
        (sent < 2 * LIMIT).then(|| (Ok(piece), sent + (1 << 20)))
    })
}

/// A film without sound, of which no more comes than the beginning.
fn silent(name: &str, more: &[&str]) -> Body {
    let noise = "color=gray:size=1280x720:rate=1,noise=alls=100";
    let args = ["-f", "lavfi", "-i", noise, "-frames:v", "4", "-c:v", "mjpeg", "-q:v", "1", "-qmin", "1"];
    let film = std::fs::read(media::make(name, &[&args, more].concat())).unwrap();
    assert!(film.len() > 3 << 20, "{} bytes", film.len());
    let beginning = futures_util::stream::iter([Ok::<_, std::io::Error>(film[..2 << 20].to_vec())]);
    Body::wrap_stream(beginning.chain(futures_util::stream::pending()))
}

#[tokio::test(flavor = "multi_thread")]
async fn films_without_sound_are_refused_while_they_come() {
    let world = World::start().await;
    let c = &world.client;
    for (name, more) in [("silent.mkv", &[][..]), ("silent.mov", &["-movflags", "+faststart"]), ("silent.avi", &[])] {
        let put = c.http.put(format!("{}/upload/{name}", c.url)).bearer_auth(&c.token);
        let refused = expect(name, put.body(silent(name, more)), 415, "no_audio_track");
        tokio::time::timeout(Duration::from_secs(30), refused).await.unwrap_or_else(|_| panic!("{name}: not refused"));
    }
    let files = format!("{}/files", c.url);
    let create = c.http.post(files).bearer_auth(&c.token).header("tus-resumable", "1.0.0");
    let created = create.header("upload-length", 1u64 << 30).send().await.unwrap();
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    let patch = c.http.patch(format!("{}{location}", c.url)).bearer_auth(&c.token).header("tus-resumable", "1.0.0");
    let patch = patch.header("content-type", "application/offset+octet-stream").header("upload-offset", 0);
    let refused = expect("in parts", patch.body(silent("silent.mkv", &[])), 415, "no_audio_track");
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("refused while it comes");
    assert_nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_logins_tokens_and_downloads_are_told_what_is_wrong() {
    let world = World::start().await;
    let (c, url) = (&world.client, &world.client.url);
    let login = |name: &'static str, password: &'static str| {
        c.http.post(format!("{url}/login")).basic_auth(name, Some(password))
    };
    expect("wrong password", login("anna@example.com", "wrong password"), 401, "invalid_credentials").await;
    expect("nobody", login("nobody@example.com", "wrong password"), 401, "invalid_credentials").await;
    expect("no address", login("nobody", "x"), 401, "invalid_credentials").await;
    expect("no credentials", c.http.post(format!("{url}/login")), 401, "invalid_credentials").await;

    let forged = format!("{}x", c.token);
    expect("forged", c.http.get(format!("{url}/jobs")).bearer_auth(forged), 401, "invalid_token").await;
    expect("no token", c.http.get(format!("{url}/jobs")), 401, "invalid_token").await;

    let job = c.upload(&media::tone_mp4(2)).await;
    let done = c.until_final(&job, Duration::from_secs(60)).await;
    let fid = done["mp3_fid"].as_str().unwrap();
    let get = |client: &Client, path: String| client.http.get(format!("{url}{path}")).bearer_auth(&client.token);
    let other = world.other("eve@example.com").await;
    expect("someone else's fid", get(&other, format!("/download?fid={fid}")), 404, "not_found").await;
    expect("someone else's job", get(&other, format!("/jobs/{job}")), 404, "not_found").await;
    let delete = other.http.delete(format!("{url}/jobs/{job}")).bearer_auth(&other.token);
    expect("deleting someone else's job", delete, 404, "not_found").await;
    expect("unknown fid", get(c, format!("/download?fid={}", "0".repeat(24))), 404, "not_found").await;
    expect("malformed fid", get(c, "/download?fid=..%2F..%2Fetc".to_owned()), 400, "malformed_id").await;
    expect("no fid", get(c, "/download".to_owned()), 400, "malformed_id").await;
    expect("malformed job", get(c, "/jobs/x".to_owned()), 400, "malformed_id").await;
    expect("no such page", get(c, "/nowhere".to_owned()), 404, "not_found").await;
    expect("wrong method", c.http.put(format!("{url}/jobs")).bearer_auth(&c.token), 405, "method_not_allowed").await;
    let behind = get(c, format!("/download?fid={fid}")).header("range", "bytes=99999999-");
    expect("range behind the end", behind, 416, "range_not_satisfiable").await;
    // RFC 9110 §14.2: a Range that can't be understood is ignored.
    for range in ["bytes=", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=0-1,5-6"] {
        let whole = get(c, format!("/download?fid={fid}")).header("range", range).send().await.unwrap();
        assert_eq!(whole.status(), 200, "{range}");
    }
}

/// No job, no blob, no temporary file.
async fn assert_nothing_left(world: &World) {
    let started = Instant::now();
    loop {
        let (jobs, files) = (world.client.jobs().await, files_below(&world.data.join("blobs")));
        if jobs.is_empty() && files.is_empty() {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "left behind: {jobs:?} {files:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
