//! Upload: a form with a video, or a video, becomes a job.
//!
//! The work runs in a task of its own that outlives the request: when the client hangs up, the body ends in an error
//! and the upload is undone at once, instead of being dropped half-way and left for the relay to find.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use microserve_core::api_key::Scope;
use microserve_core::blob::Fid;
use microserve_core::idempotency::IdempotencyKey;
use microserve_core::job::{Job, JobId, Status};
use microserve_core::trace::TraceContext;
use microserve_core::transcode::Asked;
use microserve_core::upload::{Incoming, UploadError};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::body::RequestBody;
use crate::gateway::{Gateway, Shared};
use crate::jobs::Links;
use crate::multipart::{Form, OVERHEAD, boundary};
use crate::openapi::shapes;
use crate::problem::{Code, Problem};
use crate::{edge, filename, idempotency};

/// The media type of what nobody has named.
pub(crate) const UNKNOWN: &str = "application/octet-stream";

/// `POST /upload`: a form.
pub(crate) async fn form(State(gateway): State<Shared>, request: Request) -> Result<Response, Problem> {
    take(gateway, request, None).await
}

/// `PUT /upload/{name}`: the file itself, as `curl -T` sends it.
pub(crate) async fn file(
    State(gateway): State<Shared>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path(name) = name.map_err(|_| Problem::new(Code::InvalidParameter, "the name in the path is not UTF-8"))?;
    take(gateway, request, Some(name)).await
}

async fn take(gateway: Shared, request: Request, name: Option<String>) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mount = edge::mount(&parts);
    let (tell, told) = oneshot::channel();
    let shutdown = gateway.shutdown.clone();
    let task = async move {
        let mut body = RequestBody::new(body, gateway.shutdown.kill().clone());
        let outcome = receive(&gateway, &parts, name, &mut body).await;
        let is_accepted = outcome.is_ok();
        let _ = tell.send(outcome);
        // RFC 9110 §10.1.1: who waits for "100 Continue" has not begun to send, and reading on would ask for it.
        if !body.has_begun() && parts.headers.contains_key(header::EXPECT) {
            return;
        }
        match is_accepted {
            // Nothing is left of it, unless the same request came before. Clients believe in a success only when they
            // could send everything.
            true => body.drain(gateway.upload.max_bytes).await,
            false => body.linger().await,
        }
    };
    shutdown.spawn(task.in_current_span());
    let job = told.await.map_err(|_| Problem::internal("the upload's task panicked"))??;
    Ok(accepted(&job, &mount))
}

async fn receive(
    gateway: &Gateway,
    parts: &Parts,
    name: Option<String>,
    body: &mut RequestBody,
) -> Result<Job, Problem> {
    let caller = gateway.verifier.caller(&parts.headers, Scope::Upload).await?;
    let key = idempotency::key(&parts.headers)?;
    let mut asked = asked_in_query(parts)?;
    let (room, fault, limit) = (AtomicU64::new(0), OnceLock::new(), gateway.upload.max_bytes);
    let (filename, content_type, body) = match name {
        Some(name) => {
            refuse_what_is_too_large(parts, limit, 0)?;
            (filename::clean(&name), content_type(&parts.headers), body.explained(&fault))
        }
        None => {
            let boundary = boundary(&parts.headers)?;
            refuse_what_is_too_large(parts, limit, OVERHEAD)?;
            let file = Form::new(body, boundary, &room).file(&mut asked).await?;
            (filename::clean(file.filename()), file.content_type(), file.into_body(&fault))
        }
    };
    let options = asked.finish(Some(stem(&filename)))?;
    let key = key.map(|key| IdempotencyKey::new(key, idempotency::digest(parts, &filename, &options)));
    let (owner, email) = (caller.id, caller.email);
    let trace = parts.extensions.get::<TraceContext>().copied();
    let incoming = Incoming { owner, email, options, filename, content_type, key, trace, body };
    let outcome = gateway.upload.upload(incoming).await;
    outcome.map_err(|err| match (err, fault.get()) {
        (UploadError::Body(_), Some(problem)) => problem.clone(),
        (err, _) => err.into(),
    })
}

/// Said in advance, it needs no waiting for the bytes.
fn refuse_what_is_too_large(parts: &Parts, limit: u64, overhead: u64) -> Result<(), Problem> {
    match content_length(&parts.headers) {
        Some(length) if length > limit.saturating_add(overhead) => Err(Problem::too_large(limit)),
        _ => Ok(()),
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// What the client takes the file for, without parameters.
fn content_type(headers: &HeaderMap) -> String {
    media_type(headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default())
}

/// A media type (RFC 9110 §8.3.1) without its parameters; the one of unknown things if it is none.
pub(crate) fn media_type(text: &str) -> String {
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_token =
        |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b));
    let good = essence.len() <= 127 && essence.split_once('/').is_some_and(|(a, b)| is_token(a) && is_token(b));
    if good { essence } else { UNKNOWN.to_owned() }
}

/// A name without its ending.
pub(crate) fn stem(filename: &str) -> &str {
    filename.rsplit_once('.').map_or(filename, |(stem, _)| stem)
}

fn asked_in_query(parts: &Parts) -> Result<Asked, Problem> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(pairs) = query.map_err(|_| Problem::new(Code::InvalidParameter, "the query can't be read"))?;
    let mut asked = Asked::default();
    pairs.iter().try_for_each(|(name, value)| asked.set(name, value))?;
    Ok(asked)
}

/// What has become of an upload.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Accepted<'a> {
    #[schemars(with = "shapes::Id")]
    job_id: JobId,
    #[schemars(with = "shapes::Id")]
    video_fid: &'a Fid,
    #[schemars(with = "shapes::JobStatus")]
    status: Status,
    links: Links,
}

/// The same for the same job, however far it has come since.
fn accepted(job: &Job, mount: &str) -> Response {
    let links = Links::of_accepted(job, mount);
    let location = HeaderValue::try_from(links.this()).ok().map(|value| [(header::LOCATION, value)]);
    let body = Accepted { job_id: job.id, video_fid: &job.video, status: Status::Queued, links };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    response.headers_mut().extend(location.into_iter().flatten());
    response
}
