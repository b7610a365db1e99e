//! Links to an MP3 that are good for some time without a token: made for its owner, and revoked.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use microserve_core::clock::later;
use microserve_core::job::{ChangeError, Status, change};
use schemars::JsonSchema;
use serde::Serialize;

use crate::bearer::Manager;
use crate::edge;
use crate::gateway::Shared;
use crate::jobs::owned;
use crate::openapi::shapes;
use crate::problem::{Code, Problem};

/// A link to an MP3.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Link {
    /// Relative to the server.
    url: String,
    #[schemars(with = "shapes::Time")]
    expires_at: Timestamp,
}

/// `POST /jobs/{id}/link`.
pub(crate) async fn create(
    State(gateway): State<Shared>,
    Manager(caller): Manager,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let mut job = owned(&gateway, &caller, id).await?;
    let expires_at = Timestamp::from_second(later(gateway.clock.now(), gateway.policy.link_ttl).as_second());
    let expires_at = expires_at.map_err(Problem::internal)?;
    if job.link(expires_at).is_none() {
        job = match change(&*gateway.jobs, job.id, |job| job.allow_links()).await {
            Ok(job) => job,
            Err(ChangeError::NotPossible(err)) if err.status != Status::Deleted => {
                return Err(Problem::new(Code::NotReady, err.to_string()));
            }
            Err(err) => return Err(err.into()),
        };
    }
    let query = job.link(expires_at).ok_or_else(Problem::not_found)?;
    let url = format!("{}/download?{query}", edge::mount(&request.into_parts().0));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(Link { url, expires_at })).into_response())
}

/// `DELETE /jobs/{id}/link`: all of them, that of the mail too.
pub(crate) async fn revoke(
    State(gateway): State<Shared>,
    Manager(caller): Manager,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let job = owned(&gateway, &caller, id).await?;
    change(&*gateway.jobs, job.id, |job| job.revoke_links()).await?;
    Ok(StatusCode::NO_CONTENT)
}
