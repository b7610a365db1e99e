//! Resumable uploads: the protocol tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) with creation,
//! creation-with-upload, creation-defer-length, expiration, termination and checksum.
//!
//! An upload has the id of the job that it becomes. What has come lies in the stores, so any gateway goes on where
//! another one stopped, and with any token of the same account.

use std::sync::OnceLock;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use microserve_core::blob::ByteStream;
use microserve_core::job::{Job, Parts};
use microserve_core::trace::TraceContext;
use microserve_core::upload::{Beginning, UploadError};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::Instrument;

use crate::bearer::{Caller, Uploader};
use crate::body::{self, RequestBody};
use crate::conditional::format_date;
use crate::gateway::{Gateway, Shared};
use crate::problem::{Code, Problem};
use crate::upload::{content_length, stem};
use crate::{edge, jobs};

mod checksum;
mod metadata;

use checksum::Checksum;

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,expiration,termination,checksum";
/// The methods of an upload, which a POST may stand for but for the first.
const OVERRIDABLE: &str = "OPTIONS,HEAD,PATCH,DELETE";
/// The media type of a part.
const PART: &str = "application/offset+octet-stream";

/// What came is kept when nothing more comes for this long: a connection may be dead, and its sender about to go on
/// elsewhere.
const QUIET: Duration = Duration::from_secs(2);
/// A longer part is stored as several, so that a crash of this process costs no more.
const LARGEST_PART: u64 = 1 << 30;

static TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
static UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
static UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
static UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
static UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
static UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// The job that the upload has become.
static MICROSERVE_JOB: HeaderName = HeaderName::from_static("microserve-job");
static METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// What all answers of the protocol have; requests of another version of it are refused.
pub(crate) async fn protocol(request: Request, next: Next) -> Response {
    let version = request.headers().get(&TUS_RESUMABLE).map(HeaderValue::as_bytes);
    let is_right = version == Some(VERSION.as_bytes()) || request.method() == Method::OPTIONS;
    let mut response = if is_right {
        next.run(request).await
    } else {
        let problem = Problem::new(Code::UnknownVersion, "send the header `Tus-Resumable: 1.0.0`");
        problem.header(HeaderName::from_static("tus-version"), HeaderValue::from_static(VERSION)).into_response()
    };
    response.headers_mut().insert(TUS_RESUMABLE.clone(), HeaderValue::from_static(VERSION));
    response
}

/// `OPTIONS /files` and `OPTIONS /files/{id}`: what can be done here.
pub(crate) async fn options(State(gateway): State<Shared>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert("tus-version", HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert("tus-max-size", HeaderValue::from(gateway.upload.max_bytes));
    headers.insert("tus-checksum-algorithm", HeaderValue::from_static(checksum::ALGORITHMS));
    response
}

/// `POST /files`: an upload begins, and may bring its first bytes along.
pub(crate) async fn create(
    State(gateway): State<Shared>,
    Uploader(caller): Uploader,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mount = edge::mount(&parts);
    let brings_bytes = is_part(&parts.headers);
    let job = gateway.upload.begin(beginning(&parts, caller)?).await?;
    let job = if brings_bytes { receive(gateway, parts.headers, body, job).await? } else { job };
    let mut response = stands(StatusCode::CREATED, &job);
    if let Ok(location) = HeaderValue::try_from(format!("{mount}/files/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `HEAD /files/{id}`: how far it is.
pub(crate) async fn head(
    State(gateway): State<Shared>,
    Uploader(caller): Uploader,
    id: Id,
) -> Result<Response, Problem> {
    let job = completed(&gateway, owned(&gateway, &caller, id).await?).await?;
    let mut response = stands(StatusCode::OK, &job);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match length(&job) {
        Some(length) => headers.insert(UPLOAD_LENGTH.clone(), HeaderValue::from(length)),
        None => headers.insert(UPLOAD_DEFER_LENGTH.clone(), HeaderValue::from_static("1")),
    };
    let metadata = job.parts.iter().filter(|parts| !parts.metadata.is_empty());
    if let Some(Ok(metadata)) = metadata.map(|parts| HeaderValue::from_str(&parts.metadata)).next() {
        headers.insert(UPLOAD_METADATA.clone(), metadata);
    }
    Ok(response)
}

/// `PATCH /files/{id}`: it goes on.
pub(crate) async fn patch(
    State(gateway): State<Shared>,
    Uploader(caller): Uploader,
    id: Id,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let job = owned(&gateway, &caller, id).await?;
    if !is_part(&parts.headers) {
        return Err(Problem::new(Code::ExpectedPart, format!("send the bytes with `Content-Type: {PART}`")));
    }
    let offset = number(&parts.headers, &UPLOAD_OFFSET)?;
    let offset = offset.ok_or_else(|| invalid(&UPLOAD_OFFSET, "says where these bytes begin"))?;
    if offset != received(&job) {
        return Err(UploadError::Elsewhere.into());
    }
    let job = match number(&parts.headers, &UPLOAD_LENGTH)? {
        Some(length) if job.unfinished().is_some() => gateway.upload.set_length(&job, length).await?,
        _ => job,
    };
    let job = receive(Shared::clone(&gateway), parts.headers, body, job).await?;
    Ok(stands(StatusCode::NO_CONTENT, &completed(&gateway, job).await?))
}

/// `DELETE /files/{id}`: it will not go on.
pub(crate) async fn remove(
    State(gateway): State<Shared>,
    Uploader(caller): Uploader,
    id: Id,
) -> Result<Response, Problem> {
    let job = owned(&gateway, &caller, id).await?;
    match gateway.upload.abandon(&job).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(UploadError::Elsewhere) => {
            let detail = format!("the upload is complete; its job is deleted at /jobs/{}", job.id);
            Err(Problem::new(Code::UploadComplete, detail))
        }
        Err(err) => Err(err.into()),
    }
}

/// `POST /files/{id}`: one of the others, for clients that can't send its method.
pub(crate) async fn overridden(
    gateway: State<Shared>,
    caller: Uploader,
    id: Id,
    request: Request,
) -> Result<Response, Problem> {
    match request.headers().get(&METHOD_OVERRIDE).map(HeaderValue::as_bytes) {
        Some(b"PATCH") => patch(gateway, caller, id, request).await,
        Some(b"DELETE") => remove(gateway, caller, id).await,
        Some(b"HEAD") => head(gateway, caller, id).await,
        // RFC 9110 §15.5.6: with the methods that there are.
        _ => Ok((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, OVERRIDABLE)]).into_response()),
    }
}

type Id = Result<Path<String>, PathRejection>;

/// The upload of this id, if it is the caller's.
async fn owned(gateway: &Gateway, caller: &Caller, id: Id) -> Result<Job, Problem> {
    let job = jobs::owned(gateway, caller, id).await?;
    let is_upload = job.parts.is_some() && (job.unfinished().is_some() || job.accepted_at.is_some());
    if is_upload { Ok(job) } else { Err(Problem::not_found()) }
}

fn beginning(request: &request::Parts, caller: Caller) -> Result<Beginning, Problem> {
    let headers = &request.headers;
    let length = number(headers, &UPLOAD_LENGTH)?;
    let is_deferred = headers.get(&UPLOAD_DEFER_LENGTH).map(HeaderValue::as_bytes);
    match (length, is_deferred) {
        (Some(_), None) | (None, Some(b"1")) => {}
        _ => return Err(invalid(&UPLOAD_LENGTH, "or `Upload-Defer-Length: 1` says how long the file is")),
    }
    let metadata = metadata::read(headers)?;
    let parts = Parts { length, content_type: metadata.content_type, metadata: metadata.raw, stored: Vec::new() };
    let options = metadata.asked.finish(Some(stem(&metadata.filename)))?;
    let trace = request.extensions.get::<TraceContext>().copied();
    Ok(Beginning { owner: caller.id, email: caller.email, filename: metadata.filename, options, parts, trace })
}

/// Takes bytes in, in a task of its own: what has come is kept even if nobody waits for the answer any more.
async fn receive(gateway: Shared, headers: HeaderMap, body: Body, job: Job) -> Result<Job, Problem> {
    let (tell, told) = oneshot::channel();
    let shutdown = gateway.shutdown.clone();
    let task = async move {
        let mut body = RequestBody::new(body, gateway.shutdown.kill().clone());
        let _ = tell.send(store(&gateway, &headers, &mut body, job).await);
        if body.has_begun() || !headers.contains_key(header::EXPECT) {
            body.linger().await;
        }
    };
    shutdown.spawn(task.in_current_span());
    told.await.map_err(|_| Problem::internal("the upload's task panicked"))?
}

async fn store(gateway: &Gateway, headers: &HeaderMap, body: &mut RequestBody, job: Job) -> Result<Job, Problem> {
    let limit = gateway.upload.max_bytes;
    let room = length(&job).unwrap_or(limit).saturating_sub(received(&job));
    if content_length(headers).is_some_and(|length| length > room) {
        return Err(Problem::too_large(length(&job).unwrap_or(limit)));
    }
    if let Some(checksum) = Checksum::of(headers)? {
        // As a whole, or not at all.
        let fault = OnceLock::new();
        let outcome = gateway.upload.append(&job, checksum.checked(body, room, &fault)).await;
        return outcome.map_err(|err| fault.get().cloned().unwrap_or_else(|| err.into()));
    }
    let (mut job, mut pieces) = (job, Pieces { body, rest: None, room, fault: None });
    while let Some(first) = pieces.next().await {
        job = gateway.upload.append(&job, pieces.part(first)).await?;
        if job.unfinished().is_none() {
            return Ok(job);
        }
    }
    match pieces.fault {
        Some(problem) => Err(problem),
        None if pieces.room == 0 && length(&job).is_none() => Err(Problem::too_large(limit)),
        None => Ok(job),
    }
}

/// Completes an upload that has got all its bytes, and then was told that these are all, or was left alone.
async fn completed(gateway: &Gateway, job: Job) -> Result<Job, Problem> {
    match job.unfinished() {
        Some(parts) if parts.length == Some(parts.received()) => {
            Ok(gateway.upload.append(&job, stream::empty().boxed()).await?)
        }
        _ => Ok(job),
    }
}

/// A body that is stored part by part.
struct Pieces<'a> {
    body: &'a mut RequestBody,
    /// What did not fit into the last part.
    rest: Option<Bytes>,
    /// Bytes that are still wanted.
    room: u64,
    /// Why nothing more came.
    fault: Option<Problem>,
}

impl Pieces<'_> {
    /// The next bytes, unless there are none, or no more are wanted.
    async fn next(&mut self) -> Option<Bytes> {
        if self.room == 0 || self.fault.is_some() {
            return None;
        }
        let piece = match self.rest.take() {
            Some(rest) => Ok(rest),
            None => self.body.next().await?,
        };
        match piece {
            Ok(mut piece) => {
                piece.truncate(usize::try_from(self.room).unwrap_or(usize::MAX));
                self.room -= piece.len() as u64;
                Some(piece)
            }
            Err(err) => {
                self.fault = Some(body::problem(&err));
                None
            }
        }
    }

    /// A part: from its first bytes to where the body ends, or is quiet, or the part is long enough. It ends well however
    /// the body does.
    fn part(&mut self, first: Bytes) -> ByteStream<'_> {
        let part = stream::unfold((self, Some(first), 0), |(pieces, first, size)| async move {
            let piece = match first {
                Some(first) => first,
                None if size >= LARGEST_PART => return None,
                None => timeout(QUIET, pieces.next()).await.ok()??,
            };
            let size = size + piece.len() as u64;
            Some((Ok(piece), (pieces, None, size)))
        });
        part.boxed()
    }
}

fn received(job: &Job) -> u64 {
    job.unfinished().map_or(job.video_size.unwrap_or(0), Parts::received)
}

fn length(job: &Job) -> Option<u64> {
    job.unfinished().map_or(job.video_size, |parts| parts.length)
}

/// An answer that tells where the upload stands.
fn stands(status: StatusCode, job: &Job) -> Response {
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET.clone(), HeaderValue::from(received(job)));
    let expires = job.due_at.filter(|_| job.unfinished().is_some()).and_then(format_date);
    if let Some(Ok(expires)) = expires.map(HeaderValue::try_from) {
        headers.insert(UPLOAD_EXPIRES.clone(), expires);
    }
    if job.accepted_at.is_some()
        && let Ok(id) = HeaderValue::try_from(job.id.to_string())
    {
        headers.insert(MICROSERVE_JOB.clone(), id);
    }
    response
}

fn is_part(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == PART)
}

/// A header that is a number, if it is there.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| invalid(name, "is a number of bytes"))
}

fn invalid(name: &HeaderName, words: &str) -> Problem {
    Problem::new(Code::InvalidHeader, format!("the header `{name}` {words}"))
}
