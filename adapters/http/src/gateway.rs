//! The gateway: uploads, jobs and downloads, for those who have a token.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::routing::{delete, get, options, post, put};
use microserve_core::Shutdown;
use microserve_core::clock::Clock;
use microserve_core::download::Download;
use microserve_core::expect::Expect;
use microserve_core::job::{JobStore, Policy};
use microserve_core::upload::Upload;
use microserve_core::watch::Watches;
use tower_http::timeout::TimeoutLayer;

use crate::bearer::Verifier;
use crate::edge::with_edge;
use crate::{download, events, jobs, links, me, openapi, page, tus, upload};

/// A store that takes longer to find a job or an MP3 is taken for one that can't be reached.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// What the gateway needs.
pub struct Gateway {
    /// Takes videos in.
    pub upload: Upload,
    /// Gives MP3s out.
    pub download: Download,
    /// Where jobs are looked up and cancelled.
    pub jobs: Arc<dyn JobStore>,
    /// Lets clients wait for what becomes of a job.
    pub watches: Watches,
    /// Tells when jobs will be done.
    pub expect: Expect,
    /// Tells whose a token is.
    pub verifier: Verifier,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The job's measures.
    pub policy: Policy,
    /// Uploads are tasks of it, so that stopping waits for them.
    pub shutdown: Shutdown,
}

pub(crate) type Shared = Arc<Gateway>;

/// `POST /upload`, `PUT /upload/{name}`, `/files` as tus 1.0.0 has it, `GET /jobs`, `GET` and `DELETE /jobs/{id}`,
/// `GET /jobs/{id}/events`, `POST /jobs/{id}/retry`, `POST` and `DELETE /jobs/{id}/link`, `GET` and `HEAD /download`,
/// `GET` and `DELETE /me`; the page at `/` and `/page/…`; `GET /openapi.json` and `GET /docs`.
pub fn gateway(gateway: Gateway) -> Router {
    let patient = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PATIENCE);
    let files = Router::new()
        .route("/files", options(tus::options).post(tus::create))
        .route(
            "/files/{id}",
            options(tus::options).head(tus::head).patch(tus::patch).delete(tus::remove).post(tus::overridden),
        )
        .layer(from_fn(tus::protocol));
    let router = Router::new()
        .route("/me", get(me::show).delete(me::remove))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{id}", delete(jobs::remove))
        .route("/jobs/{id}/retry", post(jobs::retry))
        .route("/jobs/{id}/link", post(links::create).delete(links::revoke))
        .route("/download", get(download::download))
        .layer(patient)
        // These may wait on purpose, and are patient with the store by themselves.
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/events", get(events::events))
        .route("/upload", post(upload::form))
        .route("/upload/{name}", put(upload::file))
        .merge(files)
        .merge(openapi::routes())
        .merge(page::page());
    with_edge(router.with_state(Arc::new(gateway)))
}
