//! Ops: whether the process lives, whether it can serve, and what it is. For a listener that strangers don't reach.

use std::sync::Arc;
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
    pub checks: Vec<Check>,
    /// Once it says stop, nothing new is to come here.
    pub shutdown: Shutdown,
}

type Ask = dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// One thing that has to work.
pub struct Check {
    name: &'static str,
    ask: Box<Ask>,
}

impl Check {
    /// A check by name; `ask` is called for every `/readyz`.
    pub fn new<A, F>(name: &'static str, ask: A) -> Self
    where
        A: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        Self { name, ask: Box::new(move || Box::pin(ask())) }
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
pub fn ops(ops: Ops) -> Router {
    let router = Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(readyz))
        .route("/version", get(version));
    with_edge(router.with_state(Arc::new(ops)))
}

async fn readyz(State(ops): State<Arc<Ops>>) -> (StatusCode, Json<Value>) {
    let outcomes = join_all(ops.checks.iter().map(Check::outcome)).await;
    let status = if ops.shutdown.stop().is_cancelled() {
        "draining"
    } else if outcomes.iter().all(|outcome| *outcome == "ok") {
        "ready"
    } else {
        "unready"
    };
    let checks: Map<_, _> =
        ops.checks.iter().zip(outcomes).map(|(check, outcome)| (check.name.to_owned(), outcome.into())).collect();
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"status": status, "checks": checks})))
}

async fn version() -> Json<Value> {
    Json(json!({"name": "microserve", "version": env!("CARGO_PKG_VERSION")}))
}
