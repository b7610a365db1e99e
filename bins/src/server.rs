//! Every role in one process: gateway, auth, converter, notifier and relay, on the adapters that the configuration
//! names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use microserve_core::account::AuthStore;
use microserve_core::blob::BlobStore;
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::convert::Convert;
use microserve_core::download::Download;
use microserve_core::job::{JobStore, Policy};
use microserve_core::login::Login;
use microserve_core::mail::Mailer;
use microserve_core::notify::Notify;
use microserve_core::password::Passwords;
use microserve_core::queue::{Queue, QueueName};
use microserve_core::relay::Relay;
use microserve_core::transcode::Transcoder;
use microserve_core::upload::Upload;
use microserve_core::worker::{Handler, Worker};
use microserve_core::{BoxError, Shutdown};
use microserve_http::{Auth, Check, Gateway, Limits, Ops, Verifier};
use tokio::net::TcpListener;

use crate::config::{Compat, Serve, Stores};
use crate::registry::Registry;
use crate::{keys, late};

/// Mails that are sent at the same time.
const MAILS: u16 = 4;
/// How often a delivery in hand is extended: the embedded queue takes it back after a minute.
const EXTEND_EVERY: Duration = Duration::from_secs(15);

/// The opened adapters of every port.
#[derive(Clone)]
pub struct Stack {
    /// Accounts.
    pub accounts: Arc<dyn AuthStore>,
    /// Jobs.
    pub jobs: Arc<dyn JobStore>,
    /// Uploaded videos.
    pub videos: Arc<dyn BlobStore>,
    /// Finished MP3s.
    pub mp3s: Arc<dyn BlobStore>,
    /// Messages.
    pub queue: Arc<dyn Queue>,
    /// Mails.
    pub mailer: Arc<dyn Mailer>,
    /// Turns videos into MP3s.
    pub transcoder: Arc<dyn Transcoder>,
}

impl Stack {
    /// Opens what the configuration names. Accounts whose server can't be reached are opened by a task of `shutdown`
    /// as soon as it can; until then they are unavailable.
    ///
    /// # Errors
    /// When a URL names no adapter, or an adapter can't be opened and trying again won't help.
    pub async fn open(stores: &Stores, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let blobs = registry.blobs.open(&stores.blobs_url()?).await?;
        Ok(Self {
            accounts: late::accounts(registry, stores.accounts_url()?, shutdown).await?,
            jobs: registry.jobs.open(&stores.jobs_url()?).await?,
            videos: blobs.videos,
            mp3s: blobs.mp3s,
            queue: registry.queue.open(&stores.queue_url()?).await?,
            mailer: registry.mailer.open(&stores.mailer_url()?).await?,
            transcoder: registry.transcoder.open(&stores.transcoder_url()?).await?,
        })
    }
}

/// A running all-in-one server.
pub struct Server {
    /// Where people reach it.
    pub address: SocketAddr,
    /// Where its health is told.
    pub ops_address: SocketAddr,
    /// What it runs on.
    pub stack: Stack,
    /// The ops port's own: it answers while the rest drains, that it is alive and no longer ready.
    ops: Shutdown,
}

impl Server {
    /// Opens the stores, binds both addresses and starts every role as tasks of `shutdown`.
    ///
    /// # Errors
    /// When a store can't be opened, a key can't be read or an address can't be bound.
    pub async fn start(config: &Serve, registry: &Registry, shutdown: &Shutdown) -> Result<Self, BoxError> {
        let data = &config.stores.data;
        let work_dir = data.join("work");
        std::fs::create_dir_all(&work_dir).map_err(|err| format!("can't make the folder {}: {err}", data.display()))?;
        let stack = Stack::open(&config.stores, registry, shutdown).await?;
        let listener = bind(config.listen).await?;
        let ops_listener = bind(config.ops_listen).await?;
        let (address, ops_address) = (listener.local_addr()?, ops_listener.local_addr()?);

        let roles =
            Roles { config, stack: &stack, policy: policy(config), clock: Arc::new(SystemClock), shutdown, work_dir };
        let ops = Shutdown::new();
        roles.http(listener)?;
        roles.ops(ops_listener, &ops);
        roles.workers(address);
        Ok(Self { address, ops_address, stack, ops })
    }

    /// Drains `shutdown`, then closes the ops port. Returns whether everything ended within the grace.
    pub async fn stop(&self, shutdown: &Shutdown, grace: Duration) -> bool {
        let ended = shutdown.drain(grace).await;
        self.ops.drain(Duration::from_secs(1)).await;
        ended
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, BoxError> {
    TcpListener::bind(address).await.map_err(|err| format!("can't listen on {address}: {err}").into())
}

fn policy(config: &Serve) -> Policy {
    Policy { keep_videos: config.keep_videos.0, keep_mp3s: config.keep_mp3s.0, ..Policy::default() }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What starting the roles needs.
struct Roles<'a> {
    config: &'a Serve,
    stack: &'a Stack,
    policy: Policy,
    clock: Arc<dyn Clock>,
    shutdown: &'a Shutdown,
    work_dir: PathBuf,
}

impl Roles<'_> {
    fn http(&self, listener: TcpListener) -> Result<(), BoxError> {
        let Stack { accounts, jobs, videos, mp3s, queue, transcoder, .. } = self.stack.clone();
        let keys = Arc::new(keys::load_or_make(&self.config.stores.data.join("keys"), &*self.clock)?);
        let passwords = Passwords::new(processors())?;
        let passwords =
            if self.config.compat == Some(Compat::Tutorial) { passwords.with_plain_text() } else { passwords };
        let login = Login::new(Arc::clone(&accounts), passwords);
        let upload = Upload {
            jobs: Arc::clone(&jobs),
            videos,
            queue,
            preflight: Some(transcoder),
            clock: Arc::clone(&self.clock),
            policy: self.policy,
            max_bytes: self.config.max_upload,
        };
        let verifier = Verifier::new(Arc::clone(&keys), accounts, Arc::clone(&self.clock));
        let gateway = microserve_http::gateway(Gateway {
            upload,
            download: Download { jobs: Arc::clone(&jobs), mp3s },
            jobs,
            verifier: verifier.clone(),
            clock: Arc::clone(&self.clock),
            policy: self.policy,
            shutdown: self.shutdown.clone(),
        });
        let auth = microserve_http::auth(Auth { login, keys, verifier, clock: Arc::clone(&self.clock) });
        let (router, shutdown) = (gateway.merge(auth), self.shutdown.clone());
        self.shutdown
            .spawn(async move { microserve_http::serve(listener, router, Limits::default(), &shutdown).await });
        Ok(())
    }

    fn ops(&self, listener: TcpListener, ops: &Shutdown) {
        let router = microserve_http::ops(Ops { checks: self.checks(), shutdown: self.shutdown.clone() });
        let shutdown = ops.clone();
        ops.spawn(async move { microserve_http::serve(listener, router, Limits::default(), &shutdown).await });
    }

    fn checks(&self) -> Vec<Check> {
        let Stack { accounts, jobs, videos, mp3s, queue, mailer, .. } = self.stack.clone();
        vec![
            Check::new("accounts", move || {
                let p = accounts.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
            Check::new("jobs", move || {
                let p = jobs.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
            Check::new("videos", move || {
                let p = videos.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
            Check::new("mp3s", move || {
                let p = mp3s.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
            Check::new("queue", move || {
                let p = queue.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
            Check::new("mailer", move || {
                let p = mailer.clone();
                async move { p.ping().await.map_err(BoxError::from) }
            }),
        ]
    }

    fn workers(&self, address: SocketAddr) {
        let Stack { jobs, videos, mp3s, queue, mailer, transcoder, .. } = self.stack.clone();
        let (clock, policy) = (Arc::clone(&self.clock), self.policy);
        let convert = Convert {
            jobs: Arc::clone(&jobs),
            videos: Arc::clone(&videos),
            mp3s: Arc::clone(&mp3s),
            queue: Arc::clone(&queue),
            transcoder,
            clock: Arc::clone(&clock),
            policy,
            work_dir: self.work_dir.clone(),
        };
        let conversions = self.config.conversions.unwrap_or_else(|| u16::try_from(processors()).unwrap_or(u16::MAX));
        self.work(QueueName::VIDEO, conversions, Arc::new(convert));

        let public_url = self.config.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let public_url = public_url.trim_end_matches('/').to_owned();
        let from = self.config.mail_from.clone();
        let notify = Notify { jobs: Arc::clone(&jobs), mailer, clock: Arc::clone(&clock), policy, from, public_url };
        self.work(QueueName::MP3, MAILS, Arc::new(notify));

        let relay = Relay {
            jobs,
            videos,
            mp3s,
            queue,
            clock,
            policy,
            every: Duration::from_secs(1),
            collect_every: Duration::from_secs(600),
            orphan_age: Duration::from_secs(3600),
        };
        let shutdown = self.shutdown.clone();
        self.shutdown.spawn(async move { relay.run(&shutdown).await });
    }

    fn work(&self, name: QueueName, parallel: u16, handler: Arc<dyn Handler>) {
        let worker =
            Worker { queue: Arc::clone(&self.stack.queue), name, parallel, extend_every: EXTEND_EVERY, handler };
        let shutdown = self.shutdown.clone();
        self.shutdown.spawn(async move { worker.run(&shutdown).await });
    }
}
