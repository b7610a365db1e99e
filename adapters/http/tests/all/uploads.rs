//! Uploads that go wrong: what the client is told, and that nothing is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use common::{FORM, LIMIT, World, file, form, option, request, upload, upload_body, wav};
use futures_util::{StreamExt, stream};
use microserve_core::job::JobStore;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn odd_forms_are_refused_by_name_and_leave_nothing() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let (good, video) = (file("f", "a.wav", &wav(1)), wav(1));
    let whole = form(std::slice::from_ref(&good));
    let long = "x".repeat(70_000);
    let head = |head: &str| [head.as_bytes(), &video].concat();
    let many: Vec<_> = (0..20).map(|_| option("title", "")).chain([good.clone()]).collect();
    let latin1 = head("Content-Disposition: form-data; name=\"g\"; filename=\"\u{0}.wav\"\r\n\r\n")
        .iter()
        .map(|byte| if *byte == 0 { 0xe4 } else { *byte })
        .collect::<Vec<_>>();

    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("no parts", form(&[]), 400, "no_file"),
        ("only options", form(&[option("title", "x")]), 400, "no_file"),
        ("two files", form(&[good.clone(), file("g", "b.wav", &video)]), 400, "several_files"),
        ("two files, the second empty", form(&[good.clone(), file("g", "", b"")]), 400, "several_files"),
        ("a second file named in latin-1", form(&[good.clone(), latin1]), 400, "several_files"),
        ("empty file", form(&[file("f", "a.wav", b"")]), 422, "empty_file"),
        ("text", form(&[file("f", "a.wav", &b"just some words\n".repeat(100))]), 415, "unsupported_container"),
        ("bad option", form(&[option("bitrate", "193"), good.clone()]), 422, "invalid_option"),
        ("unknown option", form(&[option("bitrat", "192"), good.clone()]), 422, "invalid_option"),
        ("an option behind the file", form(&[good.clone(), option("bitrate", "192")]), 422, "invalid_option"),
        (
            "an option that is not UTF-8",
            form(&[[&option("title", "")[..], b"\xff"].concat(), good.clone()]),
            422,
            "invalid_option",
        ),
        ("an endless option", form(&[option("title", &long), good.clone()]), 422, "invalid_option"),
        ("an option twice", form(&[option("vbr", "1"), option("vbr", "2"), good.clone()]), 422, "invalid_option"),
        ("too many parts", form(&many), 422, "invalid_option"),
        ("empty body", Vec::new(), 400, "malformed_multipart"),
        ("no multipart at all", b"hello".to_vec(), 400, "malformed_multipart"),
        ("cut in the first boundary", whole[..5].to_vec(), 400, "malformed_multipart"),
        ("cut in the headers", whole[..40].to_vec(), 400, "malformed_multipart"),
        ("cut in the file", whole[..1000].to_vec(), 400, "malformed_multipart"),
        ("cut in the last boundary", whole[..whole.len() - 6].to_vec(), 400, "malformed_multipart"),
        ("headers that are none", form(&[head("\u{1}:\u{2}\r\n\r\n")]), 400, "malformed_multipart"),
        ("over the limit", form(&[file("f", "a.wav", &wav(12))]), 413, "too_large"),
    ];
    for (name, body, status, code) in cases {
        println!("{name}");
        // In one piece, and in many: boundaries fall between pieces.
        let pieces: Vec<_> = body.chunks(997).map(Bytes::copy_from_slice).map(Ok::<_, Infallible>).collect();
        for body in [Body::from(body), Body::from_stream(stream::iter(pieces))] {
            world.send(upload_body(&token, "/upload", body)).await.expect(status, code);
            world.assert_nothing_left().await;
        }
    }
}

#[tokio::test]
async fn what_is_refused_by_its_headers_is_not_read() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let send = async |kind: &str, length: u64, token: &str, path: &str| {
        let request =
            request("POST", path, token).header(header::CONTENT_TYPE, kind).header(header::CONTENT_LENGTH, length);
        // A body that never comes: whoever waits for it hangs. `Expect` says that it will not come unasked.
        let body = Body::from_stream(stream::pending::<io::Result<Bytes>>());
        let answer = world.send(request.header(header::EXPECT, "100-continue").body(body).unwrap());
        tokio::time::timeout(Duration::from_secs(2), answer).await.expect("an answer at once")
    };
    let over = send(FORM, 3 << 30, &token, "/upload").await;
    over.expect(413, "too_large");
    assert!(over.json()["detail"].as_str().unwrap().contains(&LIMIT.to_string()));
    send(FORM, 100, "no token", "/upload").await.expect(401, "invalid_token");
    send(FORM, 100, &token, "/upload?bitrate=193").await.expect(422, "invalid_option");
    for kind in ["text/plain", "application/json", "multipart/form-data", "multipart/mixed; boundary=x", ""] {
        send(kind, 100, &token, "/upload").await.expect(415, "expected_multipart");
    }
    let boundary = format!("multipart/form-data; boundary={}", "x".repeat(71));
    send(&boundary, 100, &token, "/upload").await.expect(400, "malformed_multipart");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn what_is_no_video_is_refused_before_all_of_it_has_come() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let words = Bytes::from(b"just some words\n".repeat(6_000));
    let endless = |start: Bytes| Body::from_stream(stream::iter([Ok::<_, io::Error>(start)]).chain(stream::pending()));
    let form = Bytes::from([&form(&[file("f", "a.mp4", &words)])[..90_000]].concat());
    let put = request("PUT", "/upload/a.mp4", &token).body(endless(words)).unwrap();
    for request in [upload_body(&token, "/upload", endless(form)), put] {
        let answer = tokio::time::timeout(Duration::from_secs(2), world.send(request)).await;
        answer.expect("an answer at once").expect(415, "unsupported_container");
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_part_whose_headers_never_end_is_cut_off() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let start = Bytes::from_static(b"--BOUNDARY\r\nContent-Disposition: form-data; name=\"");
    // A preamble, a part's headers, and what follows the file: each of them without an end.
    let whole = form(&[file("f", "a.wav", &wav(1))]);
    let behind = [&whole[..whole.len() - "--BOUNDARY--\r\n".len()], b"--BOUNDARY\r\nX: "].concat();
    for start in [Bytes::new(), start, Bytes::from(behind)] {
        let endless = stream::iter([Ok::<_, Infallible>(start)])
            .chain(stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 4096]))).take(1000));
        let answer = world.send(upload_body(&token, "/upload", Body::from_stream(endless))).await;
        answer.expect(400, "malformed_multipart");
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let start = Bytes::from(form(&[file("f", "a.wav", &wav(1))])[..5000].to_vec());
    let body = stream::iter([Ok(start), Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
    let answer = world.send(upload_body(&token, "/upload", Body::from_stream(body))).await;
    answer.expect(400, "malformed_multipart");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn a_request_that_is_dropped_ends_its_upload() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let start = Bytes::from(form(&[file("f", "a.wav", &wav(1))])[..5000].to_vec());
    let gone = CancellationToken::new();
    let body =
        stream::iter([Ok::<_, io::Error>(start)]).chain(stream::pending()).take_until(gone.clone().cancelled_owned());
    {
        let sending = world.send(upload_body(&token, "/upload", Body::from_stream(body)));
        assert!(tokio::time::timeout(Duration::from_millis(100), sending).await.is_err());
    }
    let rows = world.jobs.due(jiff::Timestamp::MAX, 10).await.unwrap();
    assert_eq!(rows.len(), 1, "the upload goes on in its own task");
    gone.cancel();
    world.until_nothing_left().await;
}

#[tokio::test]
async fn a_stalled_or_dribbling_body_is_cut_off() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let start = || Bytes::from(form(&[file("f", "a.wav", &wav(1))])[..5000].to_vec());
    let stalled = stream::iter([Ok::<_, io::Error>(start())]).chain(stream::pending());
    let dribbling = stream::iter([Ok::<_, io::Error>(start())]).chain(stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    }));
    tokio::time::pause();
    for body in [Body::from_stream(stalled), Body::from_stream(dribbling)] {
        let started = tokio::time::Instant::now();
        world.send(upload_body(&token, "/upload", body)).await.expect(408, "too_slow");
        assert!(started.elapsed() <= Duration::from_secs(40), "{:?}", started.elapsed());
        world.assert_nothing_left().await;
    }
}

#[tokio::test]
async fn a_slow_but_steady_body_is_waited_for() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let pieces: Vec<_> = form(&[file("f", "a.wav", &wav(2))]).chunks(8192).map(Bytes::copy_from_slice).collect();
    let steady = stream::iter(pieces).then(|piece| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, io::Error>(piece)
    });
    tokio::time::pause();
    let answer = world.send(upload_body(&token, "/upload", Body::from_stream(steady))).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
}

#[tokio::test]
async fn killing_the_server_undoes_running_uploads() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let start = Bytes::from(form(&[file("f", "a.wav", &wav(1))])[..5000].to_vec());
    let body = Body::from_stream(stream::iter([Ok::<_, io::Error>(start)]).chain(stream::pending()));
    let kill = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.shutdown.kill().cancel();
    };
    let (answer, ()) = tokio::join!(world.send(upload_body(&token, "/upload", body)), kill);
    answer.expect(503, "unavailable");
    world.assert_nothing_left().await;
}

#[tokio::test]
async fn names_are_kept_clean() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    for (sent, kept) in
        [("../../etc/passwd", "passwd"), ("C:\\v.mp4", "v.mp4"), ("", "video"), ("cafe\u{301}.mp4", "café.mp4")]
    {
        let answer = world.send(upload(&token, "/upload", &[file("f", sent, &wav(1))])).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let job = world.get(&token, answer.header("location")).await.json();
        assert_eq!(job["filename"], kept, "{sent}");
    }
}
