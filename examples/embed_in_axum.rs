//! microserve inside somebody's own axum app, below `/mp3`, with everything in memory.
//!
//! ```sh
//! cargo run -p microserve-examples --example embed_in_axum -- you@example.com 'a long password'
//! curl -X POST http://127.0.0.1:3000/mp3/login -u 'you@example.com:a long password'
//! ```
//!
//! Take adapters that keep things (`microserve::sqlite`, `microserve::filesystem`, your own) for anything but a try:
//! what is in memory is gone with the process.

use std::error::Error;
use std::io::{Write, stderr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use microserve::core::account::{Account, AccountId, AuthStore};
use microserve::core::api_key::ApiKeys;
use microserve::core::convert::Convert;
use microserve::core::download::Download;
use microserve::core::expect::Expect;
use microserve::core::job::Policy;
use microserve::core::login::Login;
use microserve::core::memory::{MemoryAccounts, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};
use microserve::core::notify::Notify;
use microserve::core::password::Passwords;
use microserve::core::queue::QueueName;
use microserve::core::quota::Quota;
use microserve::core::relay::Relay;
use microserve::core::upload::{Preflight, Upload};
use microserve::core::watch::Watches;
use microserve::core::worker::{Handler, Worker};
use microserve::core::{Clock, Shutdown, SystemClock};
use microserve::http::{Auth, Gateway, Registration, TokenKeys, Verifier};
use microserve::transcoder::NativeTranscoder;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const ADDRESS: &str = "127.0.0.1:3000";

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(email), Some(password)) = (arguments.next(), arguments.next()) else {
        return Err("usage: embed_in_axum EMAIL PASSWORD".into());
    };
    let accounts = Arc::new(MemoryAccounts::default());
    accounts.insert(&account(&email, password).await?).await?;

    let shutdown = Shutdown::new();
    let app = Router::new()
        .route("/", get(|| async { "A page of my own. The videos go to /mp3/upload.\n" }))
        .nest("/mp3", microserve(accounts, &shutdown)?);
    let listener = tokio::net::TcpListener::bind(ADDRESS).await?;
    writeln!(stderr(), "listening on http://{ADDRESS}; Ctrl-C stops")?;
    let stop = shutdown.stop().clone();
    // `microserve::http::serve` in the place of `axum::serve` has time limits that the internet calls for.
    shutdown.spawn(async move { axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await });
    tokio::signal::ctrl_c().await?;
    shutdown.drain(Duration::from_secs(30)).await;
    Ok(())
}

async fn account(email: &str, password: String) -> Outcome<Account> {
    let (now, password) = (SystemClock.now(), Passwords::new(1).hash(password.into()).await?);
    let (id, email) = (AccountId::random(), email.parse()?);
    Ok(Account { id, email, password, admin: false, disabled: false, created_at: now, password_changed_at: now })
}

/// Starts the workers as tasks of `shutdown`; returns the routes.
fn microserve(accounts: Arc<dyn AuthStore>, shutdown: &Shutdown) -> Outcome<Router> {
    let (jobs, queue) = (Arc::new(MemoryJobs::default()), Arc::new(MemoryQueue::default()));
    let (videos, mp3s) = (Arc::new(MemoryBlobs::default()), Arc::new(MemoryBlobs::default()));
    let (clock, policy): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Policy::default());
    let transcoder = Arc::new(NativeTranscoder::default());

    let convert = Convert {
        jobs: jobs.clone(),
        videos: videos.clone(),
        mp3s: mp3s.clone(),
        queue: queue.clone(),
        transcoder: transcoder.clone(),
        clock: clock.clone(),
        policy,
        quota: Quota::default(),
        work_dir: std::env::temp_dir(),
    };
    let notify = Notify {
        jobs: jobs.clone(),
        videos: videos.clone(),
        mp3s: mp3s.clone(),
        mailer: Arc::new(MemoryMailer::default()),
        clock: clock.clone(),
        policy,
        from: "mp3@example.com".parse()?,
        public_url: format!("http://{ADDRESS}/mp3"),
    };
    let handlers: [(QueueName, Arc<dyn Handler>); 2] =
        [(QueueName::VIDEO, Arc::new(convert)), (QueueName::MP3, Arc::new(notify))];
    for (name, handler) in handlers {
        let worker = Worker { queue: queue.clone(), name, parallel: 1, extend_every: Duration::from_secs(15), handler };
        let stopping = shutdown.clone();
        shutdown.spawn(async move { worker.run(&stopping).await });
    }
    // The relay sees to whatever was left behind: without it, a job that a worker lost would wait for ever.
    let relay = Relay {
        jobs: jobs.clone(),
        videos: videos.clone(),
        mp3s: mp3s.clone(),
        queue: queue.clone(),
        clock: clock.clone(),
        policy,
        every: Duration::from_secs(1),
        collect_every: Duration::from_secs(600),
        orphan_age: Duration::from_secs(3600),
    };
    let stopping = shutdown.clone();
    shutdown.spawn(async move { relay.run(&stopping).await });

    let keys = Arc::new(TokenKeys::generate()?);
    let verifier = Verifier::new(keys.clone(), accounts.clone(), clock.clone());
    let gateway = microserve::http::gateway(Gateway {
        upload: Upload {
            jobs: jobs.clone(),
            videos,
            queue,
            preflight: Some(Preflight::new(transcoder, 2)),
            clock: clock.clone(),
            policy,
            max_bytes: 1 << 30,
            quota: Quota::default(),
        },
        download: Download { jobs: jobs.clone(), mp3s },
        expect: Expect::new(jobs.clone(), clock.clone()),
        watches: Watches::new(jobs.clone(), shutdown, Watches::MOST),
        jobs,
        verifier: verifier.clone(),
        clock: clock.clone(),
        policy,
        shutdown: shutdown.clone(),
    });
    let auth = microserve::http::auth(Auth {
        login: Login::new(accounts.clone(), Passwords::new(1), clock.clone()),
        api_keys: ApiKeys::new(accounts, clock.clone()),
        keys,
        verifier,
        registration: Registration::Closed,
        clock,
    });
    Ok(gateway.merge(auth))
}
