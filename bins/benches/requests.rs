//! Requests, measured: `microserve serve` as it is released beside a plain axum handler, in turns; and whether the time that a
//! refused login takes tells who has an account, before and after that load. Prints Markdown. `make bench-requests` runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, missing_docs, reason = "a bench is no part of the library")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use microserve_testkit::media;
use microserve_testkit::port::free_port;
use microserve_testkit::server::{Server, add_user};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ANNA: &str = "anna@example.com";
/// Connections that ask at the same time.
const CLIENTS: usize = 8;
/// How long each kind of request is made in a round, and the rounds.
const TURN: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// Logins of each kind, whose times are compared.
const LOGINS: usize = 500;
/// The plain handler's answer, of about a job's length.
const PLAIN: &str = include_str!("requests.rs");
const PLAIN_BYTES: usize = 600;

/// A connection that is kept.
struct Connection {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(port: u16) -> Self {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        Self { tcp, buffer: vec![0; 256 * 1024] }
    }

    /// Sends a request and reads its answer to the end; the status and the body.
    async fn ask(&mut self, request: &str) -> (u16, Vec<u8>) {
        self.tcp.write_all(request.as_bytes()).await.unwrap();
        let mut have = 0;
        let head = loop {
            let read = self.tcp.read(&mut self.buffer[have..]).await.unwrap();
            assert!(read > 0, "the server closed the connection: {request}");
            have += read;
            if let Some(at) = self.buffer[..have].windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        let length: usize = length.parse().unwrap();
        let mut body = self.buffer[head..have].to_vec();
        body.resize(length, 0);
        self.tcp.read_exact(&mut body[have - head..]).await.unwrap();
        (status, body)
    }
}

fn request(method: &str, path: &str, authorization: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

fn basic(email: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{email}:{password}")))
}

/// Answers per second, and the median time that one takes, in milliseconds.
/// `requests` has one for each client.
async fn pace(port: u16, requests: &[String; CLIENTS]) -> (f64, f64) {
    let started = Instant::now();
    let clients = requests.iter().map(|request| async move {
        let (mut connection, mut times) = (Connection::open(port).await, Vec::new());
        while started.elapsed() < TURN {
            let asked = Instant::now();
            let (status, _) = connection.ask(request).await;
            assert_eq!(status, 200, "{request}");
            times.push(asked.elapsed().as_secs_f64() * 1000.0);
        }
        times
    });
    let mut times = join_all(clients).await.concat();
    (times.len() as f64 / started.elapsed().as_secs_f64(), median(&mut times))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How likely one of `a` is larger than one of `b`: the area under the ROC curve, 0.5 when they can't be told apart.
fn auc(a: &[f64], b: &[f64]) -> f64 {
    let larger = |x: &f64| {
        b.iter()
            .map(|y| {
                if x > y {
                    1.0
                } else if x == y {
                    0.5
                } else {
                    0.0
                }
            })
            .sum::<f64>()
    };
    a.iter().map(larger).sum::<f64>() / (a.len() * b.len()) as f64
}

/// The plain handler, in a process of its own.
struct Plain {
    child: Child,
    port: u16,
}

impl Plain {
    fn start() -> Self {
        let port = free_port();
        let this = std::env::current_exe().unwrap();
        let child = Command::new(this).args(["--plain", &port.to_string()]).stdin(Stdio::null()).spawn().unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

async fn serve_plain(port: u16) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let router = Router::new().route("/", get(|| async { &PLAIN[..PLAIN_BYTES] }));
    axum::serve(listener, router).await.unwrap();
}

/// A finished job of a minute; its id and its MP3's.
async fn finished(port: u16, bearer: &str) -> (String, String) {
    let video = std::fs::read(media::tone_mp4(60)).unwrap();
    let mut connection = Connection::open(port).await;
    let head = format!(
        "PUT /upload/a.mp4 HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\nContent-Length: {}\r\n\r\n",
        video.len()
    );
    connection.tcp.write_all(head.as_bytes()).await.unwrap();
    connection.tcp.write_all(&video).await.unwrap();
    let (_, body) = connection.ask("").await;
    let accepted: Value = serde_json::from_slice(&body).unwrap();
    let id = accepted["job_id"].as_str().unwrap().to_owned();
    loop {
        let (_, body) = connection.ask(&request("GET", &format!("/jobs/{id}"), bearer, "")).await;
        let job: Value = serde_json::from_slice(&body).unwrap();
        if let Some(mp3) = job["mp3_fid"].as_str() {
            return (id, mp3.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes an account for each client; their logins.
async fn register(port: u16) -> [String; CLIENTS] {
    let mut connection = Connection::open(port).await;
    for n in 0..CLIENTS {
        let newcomer = format!(r#"{{"email":"client{n}@example.com","password":"correct horse {n}"}}"#);
        assert_eq!(connection.ask(&request("POST", "/register", "", &newcomer)).await.0, 201);
    }
    let login = |n| basic(&format!("client{n}@example.com"), &format!("correct horse {n}"));
    std::array::from_fn(|n| request("POST", "/login", &login(n), ""))
}

async fn requests(port: u16, password: &str) {
    let login = request("POST", "/login", &basic(ANNA, password), "");
    let (_, body) = Connection::open(port).await.ask(&login).await;
    let token: Value = serde_json::from_slice(&body).unwrap();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let (job, mp3) = finished(port, &bearer).await;
    let plain = Plain::start();
    let same = |path: &str| std::array::from_fn(|_| request("GET", path, &bearer, ""));
    let kinds = [
        ("a plain axum handler", plain.port, same("/")),
        ("`GET /jobs/{id}`", port, same(&format!("/jobs/{job}"))),
        ("`GET /download`, an MP3 of a minute", port, same(&format!("/download?fid={mp3}"))),
        ("`POST /login`, an account each", port, register(port).await),
    ];
    let mut paces = vec![Vec::new(); kinds.len()];
    for round in 0..ROUNDS {
        for (kind, (name, port, requests)) in kinds.iter().enumerate() {
            eprintln!("round {} of {ROUNDS}: {name}", round + 1);
            paces[kind].push(pace(*port, requests).await);
        }
    }
    println!("| {CLIENTS} connections | answers/s | of the plain one's | median |\n|---|---|---|---|");
    for (kind, (name, ..)) in kinds.iter().enumerate() {
        let mut ratios: Vec<f64> = paces[kind].iter().zip(&paces[0]).map(|(ours, plain)| ours.0 / plain.0).collect();
        let mut rates: Vec<f64> = paces[kind].iter().map(|pace| pace.0).collect();
        let mut times: Vec<f64> = paces[kind].iter().map(|pace| pace.1).collect();
        let (rate, ratio, time) = (median(&mut rates), median(&mut ratios), median(&mut times));
        println!("| {name} | {rate:.0} | {ratio:.4} | {time:.2} ms |");
    }
}

/// Which of a pair comes first, 0 or 1: neither always, and in no pattern that some habit of the server's could have too.
fn first(n: usize) -> usize {
    ((n as u32).wrapping_mul(0x9E37_79B9) >> 31) as usize
}

/// Refused logins, of accounts that are there and of some that are not, in pairs. `when` is part of their names.
async fn logins(port: u16, when: &str) {
    let mut connection = Connection::open(port).await;
    for n in 0..LOGINS {
        let newcomer = format!(r#"{{"email":"known{n}@{when}.example.com","password":"correct horse {n}"}}"#);
        let (status, _) = connection.ask(&request("POST", "/register", "", &newcomer)).await;
        assert_eq!(status, 201);
    }
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..LOGINS {
        for kind in [first(n), 1 - first(n)] {
            let name = ["known", "other"][kind];
            let login = request("POST", "/login", &basic(&format!("{name}{n}@{when}.example.com"), "a guess"), "");
            let asked = Instant::now();
            let (status, _) = connection.ask(&login).await;
            times[kind].push(asked.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(status, 401);
        }
    }
    let area = auc(&times[0], &times[1]);
    let [known, other] = times.each_mut().map(|times| median(times));
    println!(
        "\n2 × {LOGINS} refused logins, {when} the load: {known:.2} ms at accounts that are there, {other:.2} ms at others; \
         AUC {area:.3}."
    );
}

/// Registrations of addresses that have an account, and of some that have none, in turns.
async fn registrations(port: u16) {
    let mut connection = Connection::open(port).await;
    let mut times = [Vec::new(), Vec::new()];
    for n in 0..LOGINS {
        for kind in [first(n), 1 - first(n)] {
            let name = ["known", "fresh"][kind];
            let newcomer = format!(r#"{{"email":"{name}{n}@after.example.com","password":"correct horse {n}"}}"#);
            let asked = Instant::now();
            let (status, _) = connection.ask(&request("POST", "/register", "", &newcomer)).await;
            times[kind].push(asked.elapsed().as_secs_f64() * 1000.0);
            assert_eq!(status, 201);
        }
    }
    let area = auc(&times[0], &times[1]);
    let [known, fresh] = times.each_mut().map(|times| median(times));
    println!(
        "\n2 × {LOGINS} registrations: {known:.2} ms of addresses that have an account, {fresh:.2} ms of others; AUC \
         {area:.3}."
    );
}

#[tokio::main]
async fn main() {
    let args: Vec<_> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--plain") {
        return serve_plain(args[at + 1].parse().unwrap()).await;
    }
    let exe = Path::new(env!("CARGO_BIN_EXE_microserve"));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let password = add_user(exe, &data, ANNA);
    let server = Server::start(exe, &data, &["--registration", "open"]);
    logins(server.port(), "before").await;
    requests(server.port(), &password).await;
    logins(server.port(), "after").await;
    registrations(server.port()).await;
}
