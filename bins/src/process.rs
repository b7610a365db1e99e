//! A process that serves: its listeners, its health and metrics, and its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use microserve_core::account::AuthStore;
use microserve_core::blob::BlobStore;
use microserve_core::job::JobStore;
use microserve_core::mail::Mailer;
use microserve_core::queue::Queue;
use microserve_core::{BoxError, Shutdown};
use microserve_http::{AuthService, Check, Checks, Limits, Ops};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::roles::Work;

/// The ops port. It answers from the beginning, while nothing is ready, to the end, while everything drains.
pub(crate) struct OpsPort {
    pub(crate) address: SocketAddr,
    /// What has to work is said as soon as it is known.
    pub(crate) checks: Checks,
    pub(crate) metrics: Metrics,
    shutdown: Shutdown,
}

impl OpsPort {
    /// Binds it, and tells of `serving`.
    pub(crate) async fn start(address: SocketAddr, serving: &Shutdown) -> Result<Self, BoxError> {
        let listener = bind(address).await?;
        let (address, shutdown, checks) = (listener.local_addr()?, Shutdown::new(), Checks::default());
        let (ops, metrics) = (Ops { checks: checks.clone(), shutdown: serving.clone() }, Metrics::new());
        let router = microserve_http::ops(ops).merge(metrics.router());
        serve(listener, router, Limits::default(), &shutdown);
        Ok(Self { address, checks, metrics, shutdown })
    }

    /// Drains what is served, then closes the port. Returns whether everything ended within the grace.
    pub(crate) async fn stop_after(&self, serving: &Shutdown, grace: Duration) -> bool {
        let ended = serving.drain(grace).await;
        self.shutdown.drain(Duration::from_secs(1)).await;
        ended
    }
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, BoxError> {
    TcpListener::bind(address).await.map_err(|err| format!("can't listen on {address}: {err}").into())
}

/// Serves as a task of `shutdown`.
pub(crate) fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: &Shutdown) {
    let stopping = shutdown.clone();
    shutdown.spawn(async move { microserve_http::serve(listener, router, limits, &stopping).await });
}

macro_rules! check {
    ($name:expr, $port:expr) => {{
        let port = Arc::clone($port);
        Check::new($name, move || {
            let port = Arc::clone(&port);
            async move { port.ping().await.map_err(BoxError::from) }
        })
    }};
}

/// Tokens go on working without the accounts.
pub(crate) fn accounts(accounts: &Arc<dyn AuthStore>) -> Check {
    check!("accounts", accounts).tolerated()
}

/// Tokens go on working without the auth service.
pub(crate) fn auth(auth: &Arc<AuthService>) -> Check {
    check!("auth", auth).tolerated()
}

pub(crate) fn jobs(jobs: &Arc<dyn JobStore>) -> Check {
    check!("jobs", jobs)
}

pub(crate) fn blobs(name: &'static str, blobs: &Arc<dyn BlobStore>) -> Check {
    check!(name, blobs)
}

/// Uploads are taken without the queue, and told of afterwards.
pub(crate) fn queue(queue: &Arc<dyn Queue>) -> Check {
    check!("queue", queue).tolerated()
}

/// Mails are tried again.
pub(crate) fn mailer(mailer: &Arc<dyn Mailer>) -> Check {
    check!("mailer", mailer).tolerated()
}

pub(crate) fn work(work: &Work) -> Vec<Check> {
    vec![jobs(&work.jobs), blobs("videos", &work.videos), blobs("mp3s", &work.mp3s), queue(&work.queue)]
}
