//! Upload: a form with a video becomes a job.
//!
//! The work runs in a task of its own that outlives the request: when the client hangs up, the body ends in an error
//! and the upload is undone at once, instead of being dropped half-way and left for the relay to find.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use microserve_core::blob::Fid;
use microserve_core::job::{Job, JobId};
use microserve_core::transcode::Asked;
use microserve_core::upload::{Incoming, UploadError};
use serde::Serialize;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::body::RequestBody;
use crate::gateway::{Gateway, Shared};
use crate::jobs::Links;
use crate::multipart::{Form, OVERHEAD, boundary};
use crate::problem::{Code, Problem};
use crate::{edge, filename};

/// `POST /upload`.
pub(crate) async fn upload(State(gateway): State<Shared>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mount = edge::mount(&parts);
    let (tell, told) = oneshot::channel();
    let shutdown = gateway.shutdown.clone();
    let task = async move {
        let mut body = RequestBody::new(body, gateway.shutdown.kill().clone());
        let outcome = receive(&gateway, &parts, &mut body).await;
        let _ = tell.send(outcome);
        // RFC 9110 §10.1.1: who waits for "100 Continue" has not begun to send, and reading on would ask for it.
        if body.has_begun() || !parts.headers.contains_key(header::EXPECT) {
            body.linger().await;
        }
    };
    shutdown.spawn(task.in_current_span());
    let job = told.await.map_err(|_| Problem::internal("the upload's task panicked"))??;
    Ok(accepted(&job, &mount))
}

async fn receive(gateway: &Gateway, parts: &Parts, body: &mut RequestBody) -> Result<Job, Problem> {
    let caller = gateway.verifier.caller(&parts.headers).await?;
    let boundary = boundary(&parts.headers)?;
    refuse_what_is_too_large(parts, gateway.upload.max_bytes)?;
    let mut asked = asked_in_query(parts)?;

    let (room, fault) = (AtomicU64::new(0), OnceLock::new());
    let file = Form::new(body, boundary, &room).file(&mut asked).await?;
    let filename = filename::clean(file.filename());
    let options = asked.finish(Some(stem(&filename)))?;
    let incoming = Incoming {
        owner: caller.id,
        email: caller.email,
        options,
        filename,
        content_type: file.content_type(),
        body: file.into_body(&fault),
    };
    let outcome = gateway.upload.upload(incoming).await;
    outcome.map_err(|err| match (err, fault.get()) {
        (UploadError::Body(_), Some(problem)) => problem.clone(),
        (err, _) => err.into(),
    })
}

/// Said in advance, it needs no waiting for the bytes.
fn refuse_what_is_too_large(parts: &Parts, limit: u64) -> Result<(), Problem> {
    let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > limit.saturating_add(OVERHEAD) => Err(Problem::too_large(limit)),
        _ => Ok(()),
    }
}

/// A name without its ending.
fn stem(filename: &str) -> &str {
    filename.rsplit_once('.').map_or(filename, |(stem, _)| stem)
}

fn asked_in_query(parts: &Parts) -> Result<Asked, Problem> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let Query(pairs) = query.map_err(|_| Problem::new(Code::InvalidParameter, "the query can't be read"))?;
    let mut asked = Asked::default();
    pairs.iter().try_for_each(|(name, value)| asked.set(name, value))?;
    Ok(asked)
}

#[derive(Serialize)]
struct Accepted<'a> {
    job_id: JobId,
    video_fid: &'a Fid,
    status: &'static str,
    links: Links,
}

fn accepted(job: &Job, mount: &str) -> Response {
    let links = Links::of(job, mount);
    let location = HeaderValue::try_from(links.this()).ok().map(|value| [(header::LOCATION, value)]);
    let body = Accepted { job_id: job.id, video_fid: &job.video, status: job.status().as_str(), links };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    response.headers_mut().extend(location.into_iter().flatten());
    response
}
