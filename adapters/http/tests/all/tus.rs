//! Resumable uploads: the protocol, and that nothing is lost or left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use crate::common;

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use common::{Answer, LIMIT, World, add_account, request, wav};
use futures_util::{StreamExt, stream};
use microserve_core::blob::BlobStore;
use microserve_core::job::JobStore;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

const PART: &str = "application/offset+octet-stream";

fn tus(method: &str, path: &str, token: &str) -> Builder {
    request(method, path, token).header("tus-resumable", "1.0.0")
}

fn empty(request: Builder) -> Request<Body> {
    request.body(Body::empty()).unwrap()
}

fn part(token: &str, path: &str, offset: usize, bytes: &[u8]) -> Request<Body> {
    let request = tus("PATCH", path, token).header("upload-offset", offset).header(header::CONTENT_TYPE, PART);
    request.header(header::CONTENT_LENGTH, bytes.len()).body(bytes.to_vec().into()).unwrap()
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().map(|(key, value)| format!("{key} {}", STANDARD.encode(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// A gateway, somebody with a token, and an upload that has begun.
struct Begun {
    world: World,
    token: String,
    path: String,
    whole: Vec<u8>,
}

impl Begun {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.token("anna@example.com").await;
        let whole = wav(1);
        let request = tus("POST", "/files", &token).header("upload-length", whole.len());
        let request =
            request.header("upload-metadata", metadata(&[("filename", "été.wav"), ("filetype", "audio/wav")]));
        let answer = world.send(empty(request)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        let path = answer.header("location").to_owned();
        Self { world, token, path, whole }
    }

    async fn offset(&self) -> usize {
        let answer = self.world.send(empty(tus("HEAD", &self.path, &self.token))).await;
        assert_eq!((answer.status, answer.header("cache-control")), (StatusCode::OK, "no-store"), "{answer:?}");
        answer.header("upload-offset").parse().unwrap()
    }

    async fn part(&self, offset: usize, to: usize) -> Answer {
        self.world.send(part(&self.token, &self.path, offset, &self.whole[offset..to])).await
    }

    async fn broken_part(&self, offset: usize, to: usize) {
        let body = [Ok(Bytes::copy_from_slice(&self.whole[offset..to])), Err(io::ErrorKind::ConnectionReset.into())];
        let request = tus("PATCH", &self.path, &self.token).header("upload-offset", offset);
        let request = request.header(header::CONTENT_TYPE, PART);
        let body: Body = Body::from_stream(stream::iter::<[io::Result<Bytes>; 2]>(body));
        self.world.send(request.body(body).unwrap()).await.expect(400, "incomplete_body");
    }

    /// The job, complete, with the bytes that were sent.
    async fn assert_complete(&self) {
        let answer = self.world.send(empty(tus("HEAD", &self.path, &self.token))).await;
        let id = answer.header("microserve-job").parse().unwrap();
        assert_eq!(answer.header("upload-offset"), answer.header("upload-length"));
        let job = self.world.jobs.get(id).await.unwrap().unwrap();
        assert_eq!((job.status().as_str(), job.video_size), ("queued", Some(self.whole.len() as u64)));
        let body = self.world.videos.get(&job.video, None).await.unwrap().body;
        let pieces: Vec<Bytes> = body.map(|piece| piece.unwrap()).collect().await;
        assert!(pieces.concat() == self.whole, "other bytes");
        assert_eq!(self.world.videos_left().await, 1, "parts are left behind");
    }
}

#[tokio::test]
async fn what_can_be_done_is_told_to_everybody() {
    let world = World::new().await;
    let answer = world.send(Request::options("/files").body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"));
    assert_eq!(answer.header("tus-max-size"), LIMIT.to_string());
    for extension in
        ["creation", "creation-with-upload", "creation-defer-length", "expiration", "termination", "checksum"]
    {
        assert!(answer.header("tus-extension").split(',').any(|name| name == extension), "{extension}");
    }
    assert!(answer.header("tus-checksum-algorithm").split(',').any(|name| name == "sha1"));
}

#[tokio::test]
async fn an_upload_in_one_part_is_stored_once() {
    let begun = Begun::new().await;
    let job = begun.world.jobs.due(jiff::Timestamp::MAX, 1).await.unwrap().remove(0);
    assert_eq!((&*job.filename, job.options.fallback_title.as_deref()), ("été.wav", Some("été")));
    let answer = begun.part(0, begun.whole.len()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert_eq!(answer.header("upload-offset"), begun.whole.len().to_string());
    assert_eq!(answer.header("microserve-job"), job.id.to_string());
    begun.assert_complete().await;
    // Sent again because the answer was lost, or ended too late.
    begun.part(0, 1000).await.expect(409, "offset_mismatch");
    let answer = begun.world.send(empty(tus("DELETE", &begun.path, &begun.token))).await;
    answer.expect(409, "upload_complete");
    begun.assert_complete().await;
}

#[tokio::test]
async fn what_came_before_a_cut_is_kept() {
    let begun = Begun::new().await;
    let mut at = 0;
    for n in 1..40 {
        assert_eq!(begun.offset().await, at);
        begun.broken_part(at, at + n * 100).await;
        at += n * 100;
    }
    assert!(begun.world.videos_left().await < 39, "nothing was merged");
    assert_eq!(begun.part(at, begun.whole.len()).await.status, StatusCode::NO_CONTENT);
    begun.assert_complete().await;
}

#[tokio::test]
async fn its_job_tells_how_much_has_come() {
    let upload = Begun::new().await;
    let half = upload.whole.len() / 2;
    assert_eq!(upload.part(0, half).await.status, StatusCode::NO_CONTENT);
    let id = upload.path.rsplit('/').next().unwrap();
    let job = upload.world.get(&upload.token, &format!("/jobs/{id}")).await.json();
    let told = job["progress"].as_f64().unwrap();
    assert!(job["status"] == "uploading" && (told - half as f64 / upload.whole.len() as f64).abs() < 1e-9, "{job}");
}

#[tokio::test]
async fn what_came_is_kept_when_nothing_more_does() {
    let begun = Begun::new().await;
    let stalled =
        stream::iter([Ok::<_, io::Error>(Bytes::copy_from_slice(&begun.whole[..5000]))]).chain(stream::pending());
    let request = tus("PATCH", &begun.path, &begun.token).header("upload-offset", 0).header(header::CONTENT_TYPE, PART);
    let stalled = begun.world.send(request.body(Body::from_stream(stalled)).unwrap());
    let elsewhere = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(begun.offset().await, 5000);
        // Somebody goes on elsewhere while the dead connection is waited for.
        assert_eq!(begun.part(5000, 9000).await.status, StatusCode::NO_CONTENT);
        assert_eq!(begun.part(9000, begun.whole.len()).await.status, StatusCode::NO_CONTENT);
    };
    tokio::time::pause();
    let (answer, ()) = tokio::join!(stalled, elsewhere);
    answer.expect(408, "too_slow");
    begun.assert_complete().await;
}

#[tokio::test]
async fn of_two_who_go_on_at_the_same_place_one_wins() {
    let begun = Begun::new().await;
    for round in 0..20 {
        let (from, to) = (round * 1000, (round + 1) * 1000);
        let (a, b) = tokio::join!(begun.part(from, to), begun.part(from, to));
        let good = [&a, &b].iter().filter(|answer| answer.status == StatusCode::NO_CONTENT).count();
        let late = [&a, &b].iter().filter(|answer| answer.status == StatusCode::CONFLICT).count();
        assert_eq!((good, late), (1, 1), "{a:?} {b:?}");
        assert_eq!(begun.offset().await, to);
    }
    let (a, b) = tokio::join!(begun.part(20_000, begun.whole.len()), begun.part(20_000, begun.whole.len()));
    assert!(a.status == StatusCode::NO_CONTENT || b.status == StatusCode::NO_CONTENT);
    begun.assert_complete().await;
}

#[tokio::test]
async fn first_bytes_come_with_the_beginning_and_the_length_with_the_end() {
    let world = World::new().await;
    let (token, whole) = (world.token("anna@example.com").await, wav(1));
    let request = tus("POST", "/files", &token).header("upload-defer-length", 1).header(header::CONTENT_TYPE, PART);
    let answer = world.send(request.body(whole[..7000].to_vec().into()).unwrap()).await;
    assert_eq!((answer.status, answer.header("upload-offset")), (StatusCode::CREATED, "7000"), "{answer:?}");
    assert!(answer.header("upload-expires").ends_with("GMT"));
    let begun = Begun { path: answer.header("location").to_owned(), world, token, whole };
    let answer = begun.world.send(empty(tus("HEAD", &begun.path, &begun.token))).await;
    assert_eq!(answer.header("upload-defer-length"), "1");
    assert!(!answer.headers.contains_key("upload-length"));
    begun.part(7000, begun.whole.len()).await;
    assert_eq!(begun.offset().await, begun.whole.len());
    // That it was all of it is said without a byte.
    let request = tus("PATCH", &begun.path, &begun.token).header("upload-offset", begun.whole.len());
    let request = request.header(header::CONTENT_TYPE, PART).header("upload-length", begun.whole.len());
    let answer = begun.world.send(empty(request)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    begun.assert_complete().await;
}

#[tokio::test]
async fn damaged_bytes_are_not_kept() {
    let begun = Begun::new().await;
    let bytes = &begun.whole[..5000];
    let checked = |name: &str, digest: &[u8]| {
        let mut request = part(&begun.token, &begun.path, 0, bytes);
        let value = format!("{name} {}", STANDARD.encode(digest)).parse().unwrap();
        request.headers_mut().insert("upload-checksum", value);
        request
    };
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let answer = begun.world.send(checked("sha1", digest(&SHA256, bytes).as_ref())).await;
    answer.expect(460, "checksum_mismatch");
    begun.world.send(checked("crc32", b"1234")).await.expect(400, "invalid_header");
    assert_eq!((begun.offset().await, begun.world.videos_left().await), (0, 0));
    assert_eq!(begun.world.send(checked("sha1", sha1.as_ref())).await.status, StatusCode::NO_CONTENT);
    assert_eq!(begun.offset().await, 5000);
    begun.part(5000, begun.whole.len()).await;
    begun.assert_complete().await;
}

#[tokio::test]
async fn what_is_given_up_is_gone() {
    let begun = Begun::new().await;
    begun.part(0, 5000).await;
    begun.part(5000, 6000).await;
    let answer = begun.world.send(empty(tus("DELETE", &begun.path, &begun.token))).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    begun.world.assert_nothing_left().await;
    assert_eq!(begun.world.send(empty(tus("HEAD", &begun.path, &begun.token))).await.status, StatusCode::NOT_FOUND);
    begun.part(6000, 7000).await.expect(404, "not_found");
}

#[tokio::test]
async fn what_can_not_be_converted_is_refused_and_gone() {
    let world = World::new().await;
    let (token, whole) = (world.token("anna@example.com").await, b"just some words\n".repeat(100));
    let answer = world.send(empty(tus("POST", "/files", &token).header("upload-length", whole.len()))).await;
    let begun = Begun { path: answer.header("location").to_owned(), world, token, whole };
    begun.part(0, 100).await;
    begun.part(100, begun.whole.len()).await.expect(415, "unsupported_container");
    begun.world.assert_nothing_left().await;

    // Once enough of it has come, and not only when it is complete.
    let whole = b"just some words\n".repeat(10_000);
    let (world, token) = (begun.world, begun.token);
    let answer = world.send(empty(tus("POST", "/files", &token).header("upload-length", whole.len()))).await;
    let begun = Begun { path: answer.header("location").to_owned(), world, token, whole };
    begun.part(0, 70_000).await.expect(415, "unsupported_container");
    begun.world.assert_nothing_left().await;
}

#[tokio::test]
async fn uploads_are_their_owners_alone() {
    let begun = Begun::new().await;
    begun.part(0, 1000).await;
    add_account(&begun.world.accounts, &*begun.world.clock, "bert@example.com").await;
    let bert = begun.world.token("bert@example.com").await;
    for method in ["PATCH", "DELETE", "POST"] {
        let mut request = part(&bert, &begun.path, 1000, &begun.whole[1000..]);
        *request.method_mut() = method.parse().unwrap();
        request.headers_mut().insert("x-http-method-override", "PATCH".parse().unwrap());
        begun.world.send(request).await.expect(404, "not_found");
        let mut request = part("no token", &begun.path, 1000, &begun.whole[1000..]);
        *request.method_mut() = method.parse().unwrap();
        begun.world.send(request).await.expect(401, "invalid_token");
    }
    // An answer to HEAD has no body.
    assert_eq!(begun.world.send(empty(tus("HEAD", &begun.path, &bert))).await.status, StatusCode::NOT_FOUND);
    assert_eq!(begun.world.send(empty(tus("HEAD", &begun.path, "no token"))).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(begun.offset().await, 1000);
    // A job that was not uploaded this way is no upload.
    let job = begun.world.upload(&begun.token).await;
    let answer = begun.world.send(empty(tus("HEAD", &format!("/files/{job}"), &begun.token))).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nonsense_is_refused_by_name() {
    let begun = Begun::new().await;
    let (world, token) = (&begun.world, &begun.token);
    let create = |headers: &[(&'static str, String)]| {
        let request =
            headers.iter().fold(tus("POST", "/files", token), |request, (name, value)| request.header(*name, value));
        empty(request)
    };
    let length = |length: &str| ("upload-length", length.to_owned());
    let meta = |text: String| ("upload-metadata", text);
    for (headers, status, code) in [
        (vec![], 400, "invalid_header"),
        (vec![length("-1")], 400, "invalid_header"),
        (vec![length("99999999999999999999999")], 400, "invalid_header"),
        (vec![length("5"), ("upload-defer-length", "1".into())], 400, "invalid_header"),
        (vec![("upload-defer-length", "2".into())], 400, "invalid_header"),
        (vec![length("0")], 422, "empty_file"),
        (vec![length(&(LIMIT + 1).to_string())], 413, "too_large"),
        (vec![length("5"), meta("filename %%%".into())], 400, "invalid_header"),
        (vec![length("5"), meta(format!("filename {}", STANDARD.encode(b"\xff")))], 400, "invalid_header"),
        (vec![length("5"), meta("x".repeat(5000))], 400, "invalid_header"),
        (vec![length("5"), meta(metadata(&[("bitrate", "193")]))], 422, "invalid_option"),
        (vec![length("5"), meta(metadata(&[("bitrat", "192")]))], 422, "invalid_option"),
        (vec![length("5"), meta(metadata(&[("vbr", "2"), ("bitrate", "192")]))], 422, "invalid_option"),
    ] {
        world.send(create(&headers)).await.expect(status, code);
    }
    assert_eq!(world.jobs.due(jiff::Timestamp::MAX, 10).await.unwrap().len(), 1);

    let version = request("POST", "/files", token).header("upload-length", 5);
    let answer = world.send(empty(version)).await;
    answer.expect(412, "unknown_version");
    assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"));
    let send = async |change: &dyn Fn(&mut Request<Body>)| {
        let mut request = part(token, &begun.path, 0, b"12345");
        change(&mut request);
        world.send(request).await
    };
    let header = |name: &'static str, value: &'static str| {
        move |request: &mut Request<Body>| drop(request.headers_mut().insert(name, value.parse().unwrap()))
    };
    send(&header("content-type", "text/plain")).await.expect(415, "expected_part");
    send(&header("upload-offset", "x")).await.expect(400, "invalid_header");
    send(&header("upload-offset", "1")).await.expect(409, "offset_mismatch");
    send(&header("upload-length", "3")).await.expect(409, "offset_mismatch");
    send(&header("content-length", "999999999")).await.expect(413, "too_large");
    send(&|request| *request.uri_mut() = "/files/x".parse().unwrap()).await.expect(400, "malformed_id");
    send(&|request| *request.uri_mut() = format!("/files/{}", "0".repeat(24)).parse().unwrap())
        .await
        .expect(404, "not_found");
    let plain = send(&|request| *request.method_mut() = "POST".parse().unwrap()).await;
    plain.expect(405, "method_not_allowed");
    assert_eq!(plain.header("allow"), "OPTIONS,HEAD,PATCH,DELETE");
    assert_eq!(begun.offset().await, 0);
}
