//! A gateway with everything in memory, and somebody who talks to it.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use microserve_core::account::{Account, AccountId, AuthStore, PasswordHash};
use microserve_core::api_key::ApiKeys;
use microserve_core::blob::{BlobMeta, BlobStore, Fid};
use microserve_core::clock::Clock;
use microserve_core::download::Download;
use microserve_core::expect::Expect;
use microserve_core::job::{Job, JobStore, Output, Policy};
use microserve_core::login::Login;
use microserve_core::memory::{FakeTranscoder, MemoryAccounts, MemoryBlobs, MemoryJobs, MemoryQueue};
use microserve_core::password::Passwords;
use microserve_core::quota::Quota;
use microserve_core::transcode::{Options, SourceInfo};
use microserve_core::upload::{Preflight, Upload};
use microserve_core::watch::Watches;
use microserve_core::{Shutdown, SystemClock};
use microserve_http::{Auth, Gateway, Registration, TokenKeys, Verifier};
use serde_json::Value;
use tower::ServiceExt;

pub const PASSWORD: &str = "correct horse";
/// The largest video.
pub const LIMIT: u64 = 1 << 20;

/// How many may watch: a quarter of them one's own jobs.
pub const WATCHERS: usize = 16;

pub struct World {
    pub accounts: Arc<MemoryAccounts>,
    pub jobs: Arc<MemoryJobs>,
    pub queue: Arc<MemoryQueue>,
    pub videos: Arc<MemoryBlobs>,
    pub mp3s: Arc<MemoryBlobs>,
    pub watches: Watches,
    pub keys: Arc<TokenKeys>,
    pub clock: Arc<dyn Clock>,
    pub shutdown: Shutdown,
    pub app: Router,
    pub anna: Account,
    pub quota: Quota,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().unwrap()
    }

    /// Checks status and code, and that it is a problem as RFC 9457 has it.
    pub fn expect(&self, status: u16, code: &str) {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{body}");
        for member in ["type", "title", "detail", "instance"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
        }
        assert!(!self.header("x-request-id").is_empty());
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(Arc::new(SystemClock), |accounts| accounts).await
    }

    /// With another clock, and with something around the account store that the gateway asks.
    pub async fn with(clock: Arc<dyn Clock>, around: impl FnOnce(Arc<dyn AuthStore>) -> Arc<dyn AuthStore>) -> Self {
        Self::with_watchers(clock, around, WATCHERS).await
    }

    /// The same for so many watchers.
    pub async fn with_watchers(
        clock: Arc<dyn Clock>,
        around: impl FnOnce(Arc<dyn AuthStore>) -> Arc<dyn AuthStore>,
        watchers: usize,
    ) -> Self {
        let accounts = Arc::new(MemoryAccounts::default());
        let (jobs, queue) = (Arc::new(MemoryJobs::default()), Arc::new(MemoryQueue::default()));
        let (videos, mp3s) = (Arc::new(MemoryBlobs::default()), Arc::new(MemoryBlobs::default()));
        let keys = Arc::new(TokenKeys::generate().unwrap());
        let verifier = Verifier::new(keys.clone(), around(accounts.clone()), clock.clone());
        let anna = add_account(&accounts, &*clock, "anna@example.com").await;
        let app = Router::new();
        let shutdown = Shutdown::new();
        let watches = Watches::new(jobs.clone(), &shutdown, watchers);
        let mut world = Self {
            accounts,
            jobs,
            queue,
            videos,
            mp3s,
            watches,
            keys,
            clock,
            shutdown,
            app,
            anna,
            quota: Quota::default(),
        };
        let auth = world.auth(Registration::Closed, &verifier);
        world.app = world.gateway(verifier).merge(microserve_http::auth(auth));
        world
    }

    /// What lets people in.
    pub fn auth(&self, registration: Registration, verifier: &Verifier) -> Auth {
        let clock = self.clock.clone();
        let login = Login::new(self.accounts.clone(), Passwords::new(2), clock.clone());
        let api_keys = ApiKeys::new(self.accounts.clone(), clock.clone());
        Auth { login, api_keys, keys: self.keys.clone(), verifier: verifier.clone(), registration, clock }
    }

    /// Puts everything together anew: with another quota, or for other newcomers.
    pub fn rebuild(&mut self, registration: Registration, quota: Quota) {
        self.quota = quota;
        let verifier = Verifier::new(self.keys.clone(), self.accounts.clone(), self.clock.clone());
        let auth = self.auth(registration, &verifier);
        self.app = self.gateway(verifier).merge(microserve_http::auth(auth));
    }

    /// A gateway for those whom `verifier` knows.
    pub fn gateway(&self, verifier: Verifier) -> Router {
        let (clock, policy) = (self.clock.clone(), Policy::default());
        let upload = Upload {
            jobs: self.jobs.clone(),
            videos: self.videos.clone(),
            queue: self.queue.clone(),
            preflight: Some(Preflight::new(Arc::new(FakeTranscoder), 2)),
            clock: clock.clone(),
            policy,
            max_bytes: LIMIT,
            quota: self.quota,
        };
        microserve_http::gateway(Gateway {
            upload,
            download: Download { jobs: self.jobs.clone(), mp3s: self.mp3s.clone() },
            jobs: self.jobs.clone(),
            expect: Expect::new(self.jobs.clone(), clock.clone()),
            watches: self.watches.clone(),
            verifier,
            clock,
            policy,
            shutdown: self.shutdown.clone(),
        })
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        answer(&self.app, request).await
    }

    /// A token as a login gives it.
    pub async fn token(&self, email: &str) -> String {
        let answer = self.send(login(email, PASSWORD)).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.send(request("GET", path, token).body(Body::empty()).unwrap()).await
    }

    /// Uploads a good video; the job's id.
    pub async fn upload(&self, token: &str) -> String {
        let answer = self.send(upload(token, "/upload", &[file("file", "holiday.wav", &wav(1))])).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.json()["job_id"].as_str().unwrap().to_owned()
    }

    /// Converts a job without any worker: `mp3` is what came out.
    pub async fn convert(&self, id: &str, mp3: &'static [u8]) -> Job {
        let (now, policy) = (self.clock.now(), Policy::default());
        let job = self.jobs.get(id.parse().unwrap()).await.unwrap().unwrap();
        let job = self.jobs.update(job.claim(now, &policy).unwrap()).await.unwrap();
        let meta = BlobMeta { job: job.id, content_type: "audio/mpeg".into(), filename: "holiday.mp3".into() };
        let body = futures_util::stream::iter([Ok(mp3.into())]);
        let info = self.mp3s.put(&Fid::random(), meta, Box::pin(body)).await.unwrap();
        let output =
            Output { fid: info.fid, size: info.size, sha256: info.sha256, duration: Some(1.0), bitrate: Some(128_000) };
        let epoch = job.epoch;
        let done = job.complete(epoch, SourceInfo::default(), output, now, &policy).unwrap();
        self.jobs.update(done).await.unwrap()
    }

    /// No row and no blob of anybody.
    pub async fn assert_nothing_left(&self) {
        let rows = self.jobs.due(jiff::Timestamp::MAX, 10).await.unwrap();
        let blobs = self.videos.list(None, 10).await.unwrap();
        assert!(rows.is_empty() && blobs.is_empty(), "left behind: {rows:?} {blobs:?}");
    }

    /// How many videos there are.
    pub async fn videos_left(&self) -> usize {
        self.videos.list(None, 100).await.unwrap().len()
    }

    /// The same, when what is left is being cleaned away right now.
    pub async fn until_nothing_left(&self) {
        for _ in 0..200 {
            let rows = self.jobs.due(jiff::Timestamp::MAX, 10).await.unwrap();
            if rows.is_empty() && self.videos.list(None, 10).await.unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.assert_nothing_left().await;
    }

    /// A row that is there without an upload.
    pub async fn insert_job(&self, owner: AccountId) -> Job {
        let email = "anna@example.com".parse().unwrap();
        let job = Job::new(owner, email, "a.mp4".into(), Options::default(), self.clock.now(), &Policy::default());
        self.jobs.insert(&job).await.unwrap();
        job
    }
}

pub async fn answer(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    Answer { status, headers, body }
}

pub async fn add_account(accounts: &MemoryAccounts, clock: &dyn Clock, email: &str) -> Account {
    // The hash of `PASSWORD`, made once: hashing is slow.
    static HASH: tokio::sync::OnceCell<PasswordHash> = tokio::sync::OnceCell::const_new();
    let hash = HASH.get_or_init(|| async { Passwords::new(1).hash(PASSWORD.into()).await.unwrap() }).await;
    let (id, email, now) = (AccountId::random(), email.parse().unwrap(), clock.now());
    let password = hash.clone();
    let account =
        Account { id, email, password, admin: false, disabled: false, created_at: now, password_changed_at: now };
    accounts.insert(&account).await.unwrap();
    account
}

pub fn request(method: &str, path: &str, token: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {token}"))
}

pub fn login(email: &str, password: &str) -> Request<Body> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{email}:{password}")));
    Request::post("/login").header(header::AUTHORIZATION, basic).body(Body::empty()).unwrap()
}

/// Seconds of silence that the fake transcoder understands.
pub fn wav(seconds: u32) -> Vec<u8> {
    let data = seconds * 88_200;
    let mut wav = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data".to_vec();
    wav.extend(data.to_le_bytes());
    wav.resize(44 + data as usize, 0);
    wav
}

/// A part of a form, without its boundary.
pub fn file(name: &str, filename: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: video/mp4\r\n\r\n"
    );
    [head.as_bytes(), bytes].concat()
}

pub fn option(name: &str, value: &str) -> Vec<u8> {
    format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}").into_bytes()
}

pub fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut form = Vec::new();
    for part in parts {
        form.extend(b"--BOUNDARY\r\n");
        form.extend(part);
        form.extend(b"\r\n");
    }
    form.extend(b"--BOUNDARY--\r\n");
    form
}

pub const FORM: &str = "multipart/form-data; boundary=BOUNDARY";

pub fn upload(token: &str, path: &str, parts: &[Vec<u8>]) -> Request<Body> {
    upload_body(token, path, Body::from(form(parts)))
}

pub fn upload_body(token: &str, path: &str, body: Body) -> Request<Body> {
    request("POST", path, token).header(header::CONTENT_TYPE, FORM).body(body).unwrap()
}
