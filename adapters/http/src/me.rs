//! The caller's own account: what it takes up and may take up; and its end.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use microserve_core::account::{AccountId, Email};
use microserve_core::job::delete_all;
use microserve_core::quota::{DAY, Quota, Usage};
use schemars::JsonSchema;
use serde::Serialize;

use crate::bearer::{Person, Reader};
use crate::gateway::Shared;
use crate::openapi::shapes;
use crate::problem::Problem;

/// An account as its owner sees it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Account")]
pub(crate) struct Me<'a> {
    #[schemars(with = "shapes::Id")]
    account_id: AccountId,
    #[schemars(with = "String")]
    email: &'a Email,
    admin: bool,
    usage: Used,
    limits: Limits,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
struct Used {
    #[serde(flatten)]
    #[schemars(with = "shapes::Usage")]
    now: Usage,
    /// From when on `seconds` are counted.
    #[schemars(with = "shapes::Time")]
    since: Timestamp,
}

#[derive(Serialize, JsonSchema)]
struct Limits {
    #[serde(flatten)]
    #[schemars(with = "shapes::Quota")]
    quota: Quota,
    /// The largest video, in bytes.
    upload_bytes: u64,
}

/// `GET /me`.
pub(crate) async fn show(State(gateway): State<Shared>, Reader(caller): Reader) -> Result<Response, Problem> {
    let since = gateway.clock.now().checked_sub(DAY).unwrap_or(Timestamp::MIN);
    let now = gateway.jobs.usage(caller.id, since).await?;
    let me = Me {
        account_id: caller.id,
        email: &caller.email,
        admin: caller.admin,
        usage: Used { now, since },
        limits: Limits { quota: gateway.upload.quota, upload_bytes: gateway.upload.max_bytes },
    };
    Ok(([(header::CACHE_CONTROL, "private, no-store")], Json(me)).into_response())
}

/// `DELETE /me`: the account goes, and everything that it has. The jobs first: without the account, nobody could ask for
/// that again. What is begun meanwhile, on this or another gateway, goes at the second look.
pub(crate) async fn remove(
    State(gateway): State<Shared>,
    Person(caller): Person,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let jobs = &*gateway.jobs;
    delete_all(jobs, caller.id, gateway.clock.now(), &gateway.policy).await?;
    gateway.verifier.remove_account(&headers).await?;
    delete_all(jobs, caller.id, gateway.clock.now(), &gateway.policy).await?;
    Ok(StatusCode::NO_CONTENT)
}
