//! Downloads: whole, in part, not again, not yet, no longer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use axum::body::Body;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Answer, World, request};
use microserve_core::blob::BlobStore;
use microserve_core::job::{JobStore, Policy};

const MP3: &[u8] = b"0123456789";

struct Ready {
    world: World,
    token: String,
    path: String,
}

impl Ready {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.token("anna@example.com").await;
        let id = world.upload(&token).await;
        let job = world.convert(&id, MP3).await;
        let path = format!("/download?fid={}", job.mp3().unwrap());
        Self { world, token, path }
    }

    async fn send(&self, method: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = request(method, &self.path, &self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.world.send(request.body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn a_download_has_all_its_headers() {
    let ready = Ready::new().await;
    let (whole, head) = (ready.send("GET", &[]).await, ready.send("HEAD", &[("range", "bytes=0-1")]).await);
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, MP3));
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    let disposition = "attachment; filename=\"holiday.mp3\"; filename*=UTF-8''holiday.mp3";
    let sha256 = ring::digest::digest(&ring::digest::SHA256, MP3);
    let digest = format!("sha-256=:{}:", STANDARD.encode(sha256.as_ref()));
    let etag = format!("\"{}\"", hex::encode(sha256.as_ref()));
    for answer in [&whole, &head] {
        for (name, value) in [
            ("content-type", "audio/mpeg"),
            ("content-length", "10"),
            ("accept-ranges", "bytes"),
            ("cache-control", "private, no-cache"),
            ("x-content-type-options", "nosniff"),
            ("content-disposition", disposition),
            ("repr-digest", &digest),
            ("etag", &etag),
        ] {
            assert_eq!(answer.header(name), value, "{name}");
        }
        assert!(answer.header("last-modified").ends_with(" GMT"));
    }
}

#[tokio::test]
async fn a_job_id_is_as_good_as_a_fid() {
    let ready = Ready::new().await;
    let jobs = ready.world.get(&ready.token, "/jobs").await.json();
    let id = jobs["jobs"][0]["job_id"].as_str().unwrap();
    assert_eq!(ready.world.get(&ready.token, &format!("/download?fid={id}")).await.body, MP3);
}

#[tokio::test]
async fn parts_are_exact() {
    let ready = Ready::new().await;
    for (range, part, bytes) in [
        ("bytes=0-3", "bytes 0-3/10", &b"0123"[..]),
        ("bytes=4-", "bytes 4-9/10", b"456789"),
        ("bytes=-3", "bytes 7-9/10", b"789"),
        ("bytes=8-99", "bytes 8-9/10", b"89"),
    ] {
        let answer = ready.send("GET", &[("range", range)]).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::PARTIAL_CONTENT, bytes), "{range}");
        assert_eq!(answer.header("content-range"), part);
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
    }
    for ignored in ["bytes=", "bytes=a-b", "bytes=5-2", "lines=1-2", "bytes=0-1,5-6"] {
        let answer = ready.send("GET", &[("range", ignored)]).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, MP3), "{ignored}");
    }
    let behind = ready.send("GET", &[("range", "bytes=10-")]).await;
    behind.expect(416, "range_not_satisfiable");
    assert_eq!(behind.header("content-range"), "bytes */10");
}

#[tokio::test]
async fn conditions_are_obeyed() {
    let ready = Ready::new().await;
    let first = ready.send("GET", &[]).await;
    let (etag, date) = (first.header("etag"), first.header("last-modified"));
    for known in [("if-none-match", etag), ("if-none-match", "*"), ("if-modified-since", date)] {
        let answer = ready.send("GET", &[known]).await;
        assert_eq!((answer.status, answer.body.len(), answer.header("etag")), (StatusCode::NOT_MODIFIED, 0, etag));
    }
    assert_eq!(ready.send("GET", &[("if-none-match", "\"x\"")]).await.status, StatusCode::OK);
    for same in [etag, date] {
        let part = ready.send("GET", &[("range", "bytes=5-"), ("if-range", same)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{same}");
    }
    let weak = format!("W/{etag}");
    for other in ["\"x\"", &weak, "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let whole = ready.send("GET", &[("range", "bytes=5-"), ("if-range", other)]).await;
        assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, MP3), "{other}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_apart_for_its_owner() {
    let ready = Ready::new().await;
    let (world, token) = (&ready.world, &ready.token);
    let queued = world.upload(token).await;
    world.get(token, &format!("/download?fid={queued}")).await.expect(409, "not_ready");
    let jobs = world.get(token, "/jobs?status=done").await.json();
    let id = jobs["jobs"][0]["job_id"].as_str().unwrap().parse().unwrap();
    let job = world.jobs.get(id).await.unwrap().unwrap();
    world.jobs.update(job.expire(world.clock.now(), &Policy::default()).unwrap()).await.unwrap();
    ready.send("GET", &[]).await.expect(410, "expired");
    let shown = world.get(token, &format!("/jobs/{id}")).await.json();
    assert_eq!((&shown["status"], &shown["mp3_fid"], &shown["output"]), (&"expired".into(), &().into(), &().into()));
}

#[tokio::test]
async fn a_lost_blob_is_our_fault() {
    let ready = Ready::new().await;
    for blob in ready.world.mp3s.list(None, 10).await.unwrap() {
        ready.world.mp3s.delete(&blob.fid).await.unwrap();
    }
    let jobs = ready.world.get(&ready.token, "/jobs").await.json();
    let id = jobs["jobs"][0]["job_id"].as_str().unwrap();
    ready.world.get(&ready.token, &format!("/download?fid={id}")).await.expect(500, "internal");
}
