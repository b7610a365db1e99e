//! A job's events, as they happen: server-sent events (WHATWG HTML, §9.2).
//!
//! An event's id is the job's version and its data what `GET /jobs/{id}` says. `status` comes first and whenever status or
//! phase change, `progress` when anything else does. Changes that come faster than the client reads become one.
//!
//! The stream ends behind a final status, whatever becomes of the mail; when the token is no longer good; when the server
//! stops; and when the client takes nothing for a minute. Browsers come back by themselves and name the last id that they
//! saw. If that is the job's version, they are told nothing until there is news; if the job is final as well, they get
//! 204, which tells them to stay away.

use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use microserve_core::job::{Job, Phase, Status};
use microserve_core::watch::Watcher;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::bearer::Reader;
use crate::edge;
use crate::gateway::Shared;
use crate::jobs::{self, Shown};
use crate::problem::{Code, Problem};

/// Something is sent at least this often, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A client that takes nothing for longer is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Comes first: the answer begins at once, and a browser that loses it waits three seconds before it comes back.
const OPENING: Bytes = Bytes::from_static(b"retry: 3000\n\n");
/// A comment.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");

/// `GET /jobs/{id}/events`.
pub(crate) async fn events(
    State(gateway): State<Shared>,
    Reader(caller): Reader,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let job = jobs::owned(&gateway, &caller, id).await?;
    let mut watcher = gateway.watches.watch(job)?;
    let job = watcher.job();
    let has_seen =
        parts.headers.get("last-event-id").is_some_and(|id| id.as_bytes() == job.version.to_string().as_bytes());
    if has_seen && job.status().is_final() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (frames, body) = mpsc::channel(1);
    let mount = edge::mount(&parts);
    let told = has_seen.then(|| Told::of(&job, &mount));
    let feed = Feed { gateway: gateway.clone(), headers: parts.headers, mount, told, frames };
    gateway.shutdown.spawn(feed.run(watcher));
    let body = stream::unfold(body, |mut body| async move {
        let frame: Bytes = body.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), body))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // nginx and its like hold back what they pass on, unless told not to.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// What a client was last told of its job.
#[derive(PartialEq)]
struct Told {
    status: Status,
    phase: Option<Phase>,
    json: String,
}

impl Told {
    fn of(job: &Job, mount: &str) -> Self {
        let shown = Shown::of(job, mount);
        let (status, phase) = (shown.status, shown.phase);
        // Such a value can always be written.
        Self { status, phase, json: serde_json::to_string(&shown).unwrap_or_default() }
    }
}

/// Writes a client's events, as a task of its own: a body that nobody reads is not run, and would never end.
struct Feed {
    gateway: Shared,
    /// The request's, for its token.
    headers: HeaderMap,
    mount: String,
    told: Option<Told>,
    frames: mpsc::Sender<Bytes>,
}

impl Feed {
    async fn run(mut self, mut watcher: Watcher) {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut job = watcher.job();
        let mut goes_on = self.send(OPENING).await;
        loop {
            if let Some(news) = self.news(&job) {
                goes_on = goes_on && self.send(news).await;
            }
            if !goes_on || job.status().is_final() {
                return;
            }
            tokio::select! {
                changed = watcher.changed() => match changed {
                    Some(changed) => job = changed,
                    None => return,
                },
                () = self.frames.closed() => return,
                _ = heartbeat.tick() => goes_on = self.is_welcome().await && self.send(NOTHING).await,
            }
        }
    }

    /// The event that tells what the client doesn't know yet.
    fn news(&mut self, job: &Job) -> Option<Bytes> {
        let now = Told::of(job, &self.mount);
        let name = match &self.told {
            Some(told) if *told == now => return None,
            Some(told) if (told.status, told.phase) == (now.status, now.phase) => "progress",
            _ => "status",
        };
        let event = format!("id: {}\nevent: {name}\ndata: {}\n\n", job.version, now.json);
        self.told = Some(now);
        Some(event.into())
    }

    /// Returns whether the client may still read, and does. The server's stop is not held up.
    async fn send(&self, frame: Bytes) -> bool {
        tokio::select! {
            sent = timeout(PATIENCE, self.frames.send(frame)) => matches!(sent, Ok(Ok(()))),
            () = self.gateway.shutdown.stop().cancelled() => false,
        }
    }

    /// Whether the token or the API key is still good. When nobody can tell, it is.
    async fn is_welcome(&self) -> bool {
        let holder = self.gateway.verifier.holder(&self.headers).await;
        !holder.is_err_and(|problem| problem.code() == Code::InvalidToken)
    }
}
