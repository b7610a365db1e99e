//! The server over real connections: slow, silent, many, gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, Version};
use axum::routing::get;
use bytes::Bytes;
use common::{FORM, LIMIT, World, file, form, wav};
use futures_util::stream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use microserve_core::Shutdown;
use microserve_core::job::JobStore;
use microserve_http::{Limits, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(150);

async fn start(router: Router, limits: Limits, shutdown: &Shutdown) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stopping = shutdown.clone();
    shutdown.spawn(async move { serve(listener, router, limits, &stopping).await });
    address
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// Everything until the server closes, or as much as came if it closes roughly.
async fn read_all(tcp: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let reading = tcp.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn ask(tcp: &mut TcpStream) -> String {
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    read_all(tcp).await
}

#[tokio::test]
async fn slow_headers_and_silence_are_cut_off() {
    let shutdown = Shutdown::new();
    let limits = Limits { header_timeout: SHORT, idle_timeout: SHORT, ..Limits::default() };
    let address = start(hello(), limits, &shutdown).await;
    // Nothing; the start of HTTP/2's preface; half a request; a request, and then nothing more.
    for start in ["", "PRI * HTTP", "GET / HTTP/1.1\r\nHost: x\r\nX: ", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut tcp = connect(address).await;
        tcp.write_all(start.as_bytes()).await.unwrap();
        let started = Instant::now();
        read_all(&mut tcp).await;
        assert!(started.elapsed() < Duration::from_secs(2), "{start:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let shutdown = Shutdown::new();
    let address = start(hello(), Limits::default(), &shutdown).await;
    let many: String = (0..65).map(|n| format!("X-{n}: 1\r\n")).collect();
    for headers in [many, format!("X: {}\r\n", "x".repeat(17 * 1024))] {
        let mut tcp = connect(address).await;
        let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let _ = tcp.write_all(request.as_bytes()).await;
        let answer = read_all(&mut tcp).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(ask(&mut connect(address).await).await.ends_with("hello"));
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let shutdown = Shutdown::new();
    let limits = Limits { connections_per_address: 2, ..Limits::default() };
    let address = start(hello(), limits, &shutdown).await;
    let (first, mut second) = (connect(address).await, connect(address).await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(read_all(&mut connect(address).await).await, "", "the third is closed unheard");
    assert!(ask(&mut second).await.ends_with("hello"));
    drop((first, second));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(ask(&mut connect(address).await).await.ends_with("hello"), "there is room again");
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_their_turn() {
    let shutdown = Shutdown::new();
    let limits = Limits { connections: 1, ..Limits::default() };
    let address = start(hello(), limits, &shutdown).await;
    let first = connect(address).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut second = connect(address).await;
    let waiting = tokio::time::timeout(Duration::from_millis(100), ask(&mut second)).await;
    assert!(waiting.is_err(), "it is not served yet");
    drop(first);
    assert!(read_all(&mut second).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_dropped() {
    let shutdown = Shutdown::new();
    let limits = Limits { write_timeout: SHORT, ..Limits::default() };
    let endless = || async {
        Body::from_stream(stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[0; 65_536]))))
    };
    let address = start(Router::new().route("/", get(endless)), limits, &shutdown).await;
    let mut tcp = connect(address).await;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // What is in the buffers ends at last, since nothing new comes in.
    read_all(&mut tcp).await;
}

#[tokio::test]
async fn stopping_finishes_what_was_begun_and_takes_nothing_new() {
    let shutdown = Shutdown::new();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "done"
    };
    let address = start(Router::new().route("/", get(slow)), Limits::default(), &shutdown).await;
    let mut idle = connect(address).await;
    let mut busy = connect(address).await;
    busy.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (drained, answer) = tokio::join!(shutdown.drain(Duration::from_secs(3)), read_all(&mut busy));
    assert!(drained && answer.ends_with("done"), "{answer}");
    assert_eq!(read_all(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn killing_cuts_off_what_does_not_end() {
    let shutdown = Shutdown::new();
    let hangs = || async { std::future::pending::<()>().await };
    let address = start(Router::new().route("/", get(hangs)), Limits::default(), &shutdown).await;
    let mut tcp = connect(address).await;
    tcp.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!shutdown.drain(Duration::from_millis(100)).await);
    assert_eq!(read_all(&mut tcp).await, "");
}

/// The head of an upload of `length` bytes.
fn head(token: &str, length: usize) -> String {
    format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let address = start(world.app.clone(), Limits::default(), &world.shutdown).await;
    let form = form(&[file("f", "a.wav", &wav(2))]);
    for sent in [200, form.len() / 2, form.len() - 6] {
        let mut tcp = connect(address).await;
        tcp.write_all(head(&token, form.len()).as_bytes()).await.unwrap();
        tcp.write_all(&form[..sent]).await.unwrap();
        while world.jobs.due(jiff::Timestamp::MAX, 1).await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(tcp);
        world.until_nothing_left().await;
    }
}

#[tokio::test]
async fn a_refused_upload_is_read_on_so_that_its_client_sees_why() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let address = start(world.app.clone(), Limits::default(), &world.shutdown).await;
    let too_large = form(&[file("f", "a.wav", &vec![0; 8 * LIMIT as usize])]);
    for (token, expected) in [(token.as_str(), "413"), ("none", "401")] {
        let mut tcp = connect(address).await;
        // A client that writes everything before it reads anything, as many do.
        tcp.write_all(head(token, too_large.len()).as_bytes()).await.unwrap();
        tcp.write_all(&too_large).await.unwrap();
        let mut answer = [0; 12];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {expected}"));
    }
    world.until_nothing_left().await;
}

#[tokio::test]
async fn an_upload_over_http_2_is_as_good() {
    let world = World::new().await;
    let token = world.token("anna@example.com").await;
    let address = start(world.app.clone(), Limits::default(), &world.shutdown).await;
    let io = TokioIo::new(connect(address).await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    world.shutdown.spawn(connection);
    let request = common::upload(&token, "/upload", &[file("f", "a.wav", &wav(2))]);
    let answer = client.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::ACCEPTED, Version::HTTP_2));
}
