//! Ops: whether the process lives, whether it can serve, and what it is. For a listener that strangers don't reach.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::{BoxFuture, join_all};
use microserve_core::{BoxError, Shutdown};
use serde_json::{Map, Value, json};
use tracing::warn;

use crate::edge::with_edge;

/// What takes longer to answer is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the ops routes need.
pub struct Ops {
    /// What has to work.
    pub checks: Checks,
    /// Once it says stop, nothing new is to come here.
    pub shutdown: Shutdown,
}

/// What has to work: known from the beginning, or as soon as it is [set](Self::set). Clones share it.
#[derive(Clone, Default)]
pub struct Checks(Arc<OnceLock<Vec<Check>>>);

impl Checks {
    /// Says what has to work. Only the first time counts.
    pub fn set(&self, checks: Vec<Check>) {
        let _the_first_counts = self.0.set(checks);
    }
}

impl From<Vec<Check>> for Checks {
    fn from(checks: Vec<Check>) -> Self {
        Self(Arc::new(OnceLock::from(checks)))
    }
}

type Ask = dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// One thing that has to work.
pub struct Check {
    name: &'static str,
    ask: Box<Ask>,
    /// `None` if nothing goes on without it; else whether it has worked once.
    worked: Option<AtomicBool>,
}

impl Check {
    /// A check by name; `ask` is called for every `/readyz`.
    pub fn new<A, F>(name: &'static str, ask: A) -> Self
    where
        A: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self { name, ask: Box::new(move || Box::pin(ask())), worked: None }
    }

    /// The same of something that most goes on without, for a while: it has to work once. After that its failure is told,
    /// but keeps nobody away.
    #[must_use]
    pub fn tolerated(self) -> Self {
        Self { worked: Some(AtomicBool::new(false)), ..self }
    }

    /// Whether one can serve with this outcome.
    fn bears(&self, outcome: &str) -> bool {
        let Some(worked) = &self.worked else { return outcome == "ok" };
        if outcome == "ok" {
            worked.store(true, Ordering::Relaxed);
        }
        worked.load(Ordering::Relaxed)
    }

    /// `ok`, `failed` or `timeout`. Why is for the log.
    async fn outcome(&self) -> &'static str {
        match tokio::time::timeout(PATIENCE, (self.ask)()).await {
            Ok(Ok(())) => "ok",
            Ok(Err(err)) => {
                warn!(check = self.name, error = &*err as &dyn std::error::Error, "{} is not ready", self.name);
                "failed"
            }
            Err(_) => {
                warn!(check = self.name, "{} does not answer", self.name);
                "timeout"
            }
        }
    }
}

/// `GET /healthz`, `GET /readyz`, `GET /version`.
///
/// `/readyz` answers `{"status", "checks": {NAME: "ok" | "failed" | "timeout"}}`: 200 if the status is `ready`, or `degraded`
/// (something [tolerated](Check::tolerated) fails); 503 if it is `unready`, `starting` or `draining`.
pub fn ops(ops: Ops) -> Router {
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(readyz))
        .route("/version", get(version));
    with_edge(router.with_state(Arc::new(ops)))
}

async fn readyz(State(ops): State<Arc<Ops>>) -> (StatusCode, Json<Value>) {
    let Some(checks) = ops.checks.0.get() else { return told("starting", &Map::new()) };
    let outcomes = join_all(checks.iter().map(Check::outcome)).await;
    // Each is looked at: what is tolerated has to be seen working once.
    let borne: Vec<_> = checks.iter().zip(&outcomes).map(|(check, outcome)| check.bears(outcome)).collect();
    let status = if ops.shutdown.stop().is_cancelled() {
        "draining"
    } else if outcomes.iter().all(|outcome| *outcome == "ok") {
        "ready"
    } else if borne.iter().all(|borne| *borne) {
        "degraded"
    } else {
        "unready"
    };
    let named = checks.iter().zip(outcomes).map(|(check, outcome)| (check.name.to_owned(), outcome.into()));
    told(status, &named.collect())
}

fn told(status: &str, checks: &Map<String, Value>) -> (StatusCode, Json<Value>) {
    let serves = matches!(status, "ready" | "degraded");
    let code = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"status": status, "checks": checks})))
}

async fn version() -> Json<Value> {
    Json(json!({"name": "microserve", "version": env!("CARGO_PKG_VERSION")}))
}
