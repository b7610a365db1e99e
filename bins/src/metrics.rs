//! Metrics: what a process has done and how it is doing, in numbers, for Prometheus at `GET /metrics`.
//!
//! The ports are counted by wrapping them ([`Measured`]), requests by a layer around the router, so that nothing inside
//! knows of it. Labels are words of the program's own: routes, ports, codes. Whatever comes from outside, such as a
//! name, an address or an id, is no label, so there are only so many series.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use microserve_core::account::AuthStore;
use microserve_core::clock::Clock;
use microserve_core::job::JobStore;
use microserve_core::mail::Mailer;
use microserve_core::transcode::Transcoder;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::roles::Work;

mod http;
mod pools;
mod ports;
mod queue;
mod stores;
mod waiting;
mod work;

use http::Http;
use pools::Pools;
use ports::{Calls, Measured, Ports};
use waiting::Waiting;

/// A metric that there is one of, or none as long as nobody knows its value.
type Single<M> = Family<[(&'static str, &'static str); 0], M>;

/// A word for what became of something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// The metrics of one process. Clones are the same.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    http: Http,
    ports: Ports,
    pools: Pools,
    memory: Single<Gauge>,
    waiting: Waiting,
    /// Where the jobs are that may wait, as soon as it is known.
    jobs: OnceLock<(Arc<dyn JobStore>, Arc<dyn Clock>)>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let memory = Single::<Gauge>::default();
        registry.register(
            "process_resident_memory_bytes",
            "Memory that is in use, without that of conversions, which are processes of their own",
            memory.clone(),
        );
        let ours = registry.sub_registry_with_prefix("microserve");
        ours.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let (http, ports, waiting) = (Http::new(ours), Ports::new(ours), Waiting::new(ours));
        let pools = Pools::new(ours);
        Self(Arc::new(Inner { registry, http, ports, pools, memory, waiting, jobs: OnceLock::new() }))
    }

    /// Counts the requests to a router.
    pub(crate) fn requests(&self, router: Router) -> Router {
        http::counted(router, &self.0.http)
    }

    /// Counts the logins of a router that decides on them, not only passes them on.
    pub(crate) fn logins(&self, router: Router) -> Router {
        http::with_logins(router, &self.0.http)
    }

    /// The accounts, as a role uses them.
    pub(crate) fn accounts(&self, role: &'static str, accounts: &Arc<dyn AuthStore>) -> Arc<dyn AuthStore> {
        let watched = Arc::clone(accounts);
        self.0.pools.watch("accounts", move || watched.pool());
        self.measured(role, "accounts", accounts)
    }

    /// Jobs, blobs and messages, as a role uses them.
    pub(crate) fn work(&self, role: &'static str, work: &Work) -> Work {
        let watched = Arc::clone(&work.jobs);
        self.0.pools.watch("jobs", move || watched.pool());
        Work {
            jobs: self.measured(role, "jobs", &work.jobs),
            videos: self.measured(role, "videos", &work.videos),
            mp3s: self.measured(role, "mp3s", &work.mp3s),
            queue: self.measured(role, "queue", &work.queue),
        }
    }

    /// The mailer, as a role uses it.
    pub(crate) fn mailer(&self, role: &'static str, mailer: &Arc<dyn Mailer>) -> Arc<dyn Mailer> {
        self.measured(role, "mailer", mailer)
    }

    /// The transcoder, as a role uses it.
    pub(crate) fn transcoder(&self, role: &'static str, transcoder: &Arc<dyn Transcoder>) -> Arc<dyn Transcoder> {
        self.measured(role, "transcoder", transcoder)
    }

    /// Tells of the jobs that wait in this store. Only the first time counts.
    pub(crate) fn tell_of(&self, jobs: &Arc<dyn JobStore>, clock: &Arc<dyn Clock>) {
        let _the_first_counts = self.0.jobs.set((Arc::clone(jobs), Arc::clone(clock)));
    }

    /// `GET /metrics`.
    pub(crate) fn router(&self) -> Router {
        let metrics = self.clone();
        Router::new().route("/metrics", get(async move |headers: HeaderMap| metrics.scraped(&headers).await))
    }

    fn measured<P: ?Sized>(&self, role: &'static str, port: &'static str, inner: &Arc<P>) -> Arc<Measured<P>> {
        let calls = Calls { ports: self.0.ports.clone(), role, port };
        Arc::new(Measured { calls, inner: Arc::clone(inner) })
    }

    async fn scraped(&self, headers: &HeaderMap) -> Response {
        match resident_memory() {
            Some(bytes) => _ = self.0.memory.get_or_create(&[]).set(bytes),
            None => self.0.memory.clear(),
        }
        self.0.pools.refresh();
        if let Some((jobs, clock)) = self.0.jobs.get() {
            self.0.waiting.refresh(&**jobs, &**clock).await;
        }
        match self.encoded(headers) {
            Ok((kind, text)) => ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response(),
            Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    /// OpenMetrics 1.0 for those who ask for it, Prometheus' older text for all others.
    fn encoded(&self, headers: &HeaderMap) -> Result<(&'static str, String), fmt::Error> {
        let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut page = String::new();
        if accepted.any(|kinds| kinds.contains("application/openmetrics-text")) {
            text::encode(&mut page, &self.0.registry)?;
            return Ok(("application/openmetrics-text; version=1.0.0; charset=utf-8", page));
        }
        prometheus_text::encode(&mut page, &self.0.registry)?;
        Ok(("text/plain; version=0.0.4; charset=utf-8", page))
    }
}

/// Bytes, by proc_pid_status(5). `None` where there is no such thing.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
