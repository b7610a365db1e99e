//! Jobs as their owner sees them: listed, shown, waited for, cancelled, deleted, run again.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::bell::try_to_ring;
use microserve_core::blob::{Fid, Sha256};
use microserve_core::expect::Expectation;
use microserve_core::job::{ChangeError, Job, JobId, ListQuery, Phase, State as JobState, Status, change};
use microserve_core::transcode::{Problem as Why, SourceInfo};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use crate::bearer::{Caller, Manager, Reader};
use crate::conditional::Validators;
use crate::edge;
use crate::gateway::{Gateway, PATIENCE, Shared};
use crate::openapi::shapes;
use crate::prefer;
use crate::problem::{Code, Problem};

const DEFAULT_PAGE: usize = 20;
pub(crate) const LARGEST_PAGE: usize = 100;

/// `GET /jobs`'s parameters.
#[derive(Deserialize)]
pub(crate) struct Page {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

impl Page {
    fn query(self, owner: AccountId) -> Result<ListQuery, Problem> {
        let invalid = |detail: String| Problem::new(Code::InvalidParameter, detail);
        let status = self.status.map(|word| word.parse::<Status>().map_err(|err| invalid(format!("`status`: {err}"))));
        let limit = self.limit.map_or(Some(DEFAULT_PAGE), |text| text.parse().ok());
        let limit = limit.filter(|limit| (1..=LARGEST_PAGE).contains(limit));
        let limit = limit.ok_or_else(|| invalid(format!("`limit` is a number from 1 to {LARGEST_PAGE}")))?;
        let after = self.cursor.map(|text| {
            parse_cursor(&text).ok_or_else(|| invalid("`cursor` is a `next_cursor` of an earlier page".to_owned()))
        });
        Ok(ListQuery { owner: Some(owner), status: status.transpose()?, after: after.transpose()?, limit })
    }
}

/// Where a page ends: the time and id of its last job, which is what the list is sorted by.
fn cursor(job: &Job) -> String {
    format!("{:x}-{}", job.created_at.as_millisecond(), job.id)
}

fn parse_cursor(text: &str) -> Option<(Timestamp, JobId)> {
    let (millis, id) = text.split_once('-')?;
    let time = Timestamp::from_millisecond(i64::from_str_radix(millis, 16).ok()?).ok()?;
    Some((time, id.parse().ok()?))
}

/// A page of jobs, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Jobs")]
pub(crate) struct Listed<'a> {
    jobs: Vec<Shown<'a>>,
    /// The `cursor` of the next page, if there is one.
    next_cursor: Option<String>,
}

/// `GET /jobs`.
pub(crate) async fn list(
    State(gateway): State<Shared>,
    Reader(caller): Reader,
    page: Result<Query<Page>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Query(page) = page.map_err(|_| Problem::new(Code::InvalidParameter, "the query can't be read"))?;
    let query = page.query(caller.id)?;
    // One more than is shown tells whether there is another page.
    let mut jobs = gateway.jobs.list(&ListQuery { limit: query.limit + 1, ..query.clone() }).await?;
    let more = jobs.len() > query.limit;
    jobs.truncate(query.limit);
    let mount = edge::mount(&request.into_parts().0);
    let next_cursor = jobs.last().filter(|_| more).map(cursor);
    let list = Listed { jobs: jobs.iter().map(|job| Shown::of(job, &mount)).collect(), next_cursor };
    Ok((private(), Json(list)).into_response())
}

/// `GET /jobs/{id}`, which waits for news if the client prefers that.
pub(crate) async fn show(
    State(gateway): State<Shared>,
    Reader(caller): Reader,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut job = owned(&gateway, &caller, id).await?;
    let wait = prefer::wait(&parts.headers);
    if let Some(wait) = wait {
        job = waited(&gateway, &caller, job, &parts.headers, wait).await?;
    }
    // What nobody knows is left out: the job itself is what was asked for.
    let expected = gateway.expect.of(&job).await.unwrap_or_default();
    let mut response = shown(StatusCode::OK, &job, expected, &edge::mount(&parts), &parts.headers);
    if let Some(applied) = wait.and_then(|wait| HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// The job once it is news to the client: of another version than the one that the client names, or final if it names
/// none. As it is by then, if that takes too long or the server stops.
async fn waited(
    gateway: &Gateway,
    caller: &Caller,
    job: Job,
    headers: &HeaderMap,
    wait: Duration,
) -> Result<Job, Problem> {
    let names_one = headers.contains_key(header::IF_NONE_MATCH);
    let is_news = |job: &Job| if names_one { !validators(job).not_modified(headers) } else { job.status().is_final() };
    if is_news(&job) {
        return Ok(job);
    }
    let id = job.id;
    let mut watcher = gateway.watches.watch(job)?;
    let mut job = watcher.job();
    let until = Instant::now() + wait;
    while !is_news(&job) {
        match timeout_at(until, watcher.changed()).await {
            Ok(Some(changed)) => job = changed,
            // Gone, or the server stops.
            Ok(None) => return find(gateway, caller, id).await,
            Err(_) => break,
        }
    }
    Ok(Arc::unwrap_or_clone(job))
}

/// `DELETE /jobs/{id}`: an unfinished one is cancelled, a finished one deleted with its files.
pub(crate) async fn remove(
    State(gateway): State<Shared>,
    Manager(caller): Manager,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let job = owned(&gateway, &caller, id).await?;
    let (now, policy) = (gateway.clock.now(), &gateway.policy);
    let changed = change(&*gateway.jobs, job.id, |job| {
        if job.status().is_final() { job.delete(now, policy) } else { job.cancel(now, policy) }
    });
    let job = changed.await?;
    if job.status() == Status::Deleted {
        info!(target: "audit", { job.id = %job.id, account.id = %caller.id }, "deleted");
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (parts, _) = request.into_parts();
    Ok(shown(StatusCode::ACCEPTED, &job, Expectation::default(), &edge::mount(&parts), &HeaderMap::new()))
}

/// `POST /jobs/{id}/retry`: a failed or cancelled one runs again.
pub(crate) async fn retry(
    State(gateway): State<Shared>,
    Manager(caller): Manager,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let job = owned(&gateway, &caller, id).await?;
    let (now, policy) = (gateway.clock.now(), &gateway.policy);
    let queued = match change(&*gateway.jobs, job.id, |job| job.retry(now, policy)).await {
        Ok(queued) => queued,
        Err(ChangeError::NotPossible(err)) if err.status != Status::Deleted => {
            return Err(Problem::new(Code::NotRetryable, err.to_string()));
        }
        Err(err) => return Err(err.into()),
    };
    try_to_ring(&*gateway.upload.queue, &queued).await;
    let (parts, _) = request.into_parts();
    Ok(shown(StatusCode::ACCEPTED, &queued, Expectation::default(), &edge::mount(&parts), &HeaderMap::new()))
}

/// The job that a path names, if it is the caller's: somebody else's is as unknown as one that never was.
pub(crate) async fn owned(
    gateway: &Gateway,
    caller: &Caller,
    id: Result<Path<String>, PathRejection>,
) -> Result<Job, Problem> {
    let id: Option<JobId> = id.ok().and_then(|Path(text)| text.parse().ok());
    let id = id.ok_or_else(|| Problem::new(Code::MalformedId, "a job's id is 24 lower-case hexadecimal characters"))?;
    find(gateway, caller, id).await
}

async fn find(gateway: &Gateway, caller: &Caller, id: JobId) -> Result<Job, Problem> {
    let found = timeout(PATIENCE, gateway.jobs.get(id)).await;
    let found = found.map_err(|_| Problem::unavailable("the job store takes too long"))??;
    let job = found.filter(|job| job.owner == caller.id && job.status() != Status::Deleted);
    job.ok_or_else(Problem::not_found)
}

fn private() -> [(header::HeaderName, HeaderValue); 1] {
    [(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"))]
}

fn validators(job: &Job) -> Validators {
    Validators { etag: format!("\"{}\"", job.version), modified: None }
}

/// A job with its version as `ETag`, or nothing but that if the client has it.
fn shown(status: StatusCode, job: &Job, expected: Expectation, mount: &str, headers: &HeaderMap) -> Response {
    let validators = validators(job);
    let mut response = if validators.not_modified(headers) {
        (StatusCode::NOT_MODIFIED, private()).into_response()
    } else {
        (status, private(), Json(Shown::of(job, mount).expected(expected))).into_response()
    };
    if let Ok(etag) = HeaderValue::try_from(validators.etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// A job as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Job")]
pub(crate) struct Shown<'a> {
    #[schemars(with = "shapes::Id")]
    job_id: JobId,
    #[schemars(with = "shapes::JobStatus")]
    pub(crate) status: Status,
    /// What a worker does with it, while it is `converting`.
    #[schemars(with = "Option<shapes::JobPhase>")]
    pub(crate) phase: Option<Phase>,
    /// In 0..=1: of the conversion, or of an upload that has told its length.
    #[schemars(range(min = 0.0, max = 1.0))]
    progress: f64,
    /// Among those that wait: 1 is next. Told of a single job only, as is what follows.
    position: Option<u64>,
    /// When it should be done.
    #[schemars(with = "Option<shapes::Time>")]
    expected_at: Option<Timestamp>,
    /// How often it was begun.
    attempts: u32,
    /// What the client calls the video.
    filename: &'a str,
    #[schemars(with = "shapes::Id")]
    video_fid: &'a Fid,
    /// What to download, once it is `done`.
    #[schemars(with = "Option<shapes::Id>")]
    mp3_fid: Option<&'a Fid>,
    /// Why it is `failed`.
    #[schemars(with = "Option<shapes::JobError>")]
    error: Option<&'a Why>,
    #[schemars(with = "shapes::Time")]
    created_at: Timestamp,
    #[schemars(with = "Option<shapes::Time>")]
    started_at: Option<Timestamp>,
    #[schemars(with = "Option<shapes::Time>")]
    finished_at: Option<Timestamp>,
    source: Option<Source<'a>>,
    output: Option<Made>,
    /// What has become of the mail that tells the owner.
    #[schemars(with = "Option<shapes::Mail>")]
    mail: Option<&'static str>,
    links: Links,
}

/// What the video was found to be.
#[derive(Serialize, JsonSchema)]
struct Source<'a> {
    container: &'a str,
    codec: Option<&'a str>,
    channels: Option<u16>,
    /// In Hz.
    sample_rate: Option<u32>,
    /// In seconds.
    duration: Option<f64>,
    title: Option<&'a str>,
}

/// The MP3.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Output")]
struct Made {
    /// The mean in bit/s.
    bitrate: Option<u32>,
    /// In seconds.
    duration: Option<f64>,
    /// In bytes.
    size: u64,
    #[schemars(with = "shapes::Digest")]
    sha256: Sha256,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(job: &'a Job, mount: &str) -> Self {
        let phase = if let JobState::Converting { phase, .. } = &job.state { Some(*phase) } else { None };
        let error = if let JobState::Failed { problem } = &job.state { Some(problem) } else { None };
        let output = job.output.as_ref().filter(|_| job.mp3().is_some());
        let made = output.map(|o| Made { bitrate: o.bitrate, duration: o.duration, size: o.size, sha256: o.sha256 });
        Self {
            job_id: job.id,
            status: job.status(),
            phase,
            progress: progress(job),
            position: None,
            expected_at: None,
            attempts: job.attempt,
            filename: &job.filename,
            video_fid: &job.video,
            mp3_fid: job.mp3(),
            error,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            source: job.source.as_ref().map(Source::of),
            output: made,
            mail: job.mail.as_str(),
            links: Links::of(job, mount),
        }
    }
}

impl Shown<'_> {
    fn expected(self, expected: Expectation) -> Self {
        Self { position: expected.position, expected_at: expected.done_at, ..self }
    }
}

fn progress(job: &Job) -> f64 {
    match job.unfinished() {
        Some(parts) => parts.length.map_or(0.0, |length| parts.received() as f64 / length.max(1) as f64),
        None => job.progress,
    }
}

impl<'a> Source<'a> {
    fn of(info: &'a SourceInfo) -> Self {
        let audio = info.audio();
        Self {
            container: &info.container,
            codec: audio.map(|track| track.codec.as_str()),
            channels: audio.map(|track| track.channels),
            sample_rate: audio.map(|track| track.sample_rate),
            duration: audio.and_then(|track| track.duration),
            title: info.title.as_deref(),
        }
    }
}

/// Where to go from a job.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Links {
    #[serde(rename = "self")]
    this: String,
    /// What happens to it, as it happens.
    events: String,
    /// Once there is an MP3.
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<String>,
}

impl Links {
    pub(crate) fn of(job: &Job, mount: &str) -> Self {
        let download = job.mp3().map(|fid| format!("{mount}/download?fid={fid}"));
        let this = format!("{mount}/jobs/{}", job.id);
        Self { events: format!("{this}/events"), this, download }
    }

    /// Those of a job that was accepted a moment ago.
    pub(crate) fn of_accepted(job: &Job, mount: &str) -> Self {
        Self { download: None, ..Self::of(job, mount) }
    }

    pub(crate) fn this(&self) -> &str {
        &self.this
    }
}
