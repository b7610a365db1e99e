//! Upload: a stream of bytes becomes an accepted job.
//!
//! Order: the job's row (`uploading`) → the blob → one compare-and-swap to `queued`. From there on the job is accepted
//! and never lost. Whatever fails before leaves nothing behind; whatever fails after (the doorbell) is made good by the
//! relay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use jiff::Timestamp;
use tracing::{info, warn};

use crate::account::{AccountId, Email};
use crate::bell::try_to_ring;
use crate::blob::{BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream};
use crate::clock::Clock;
use crate::idempotency::IdempotencyKey;
use crate::job::{ChangeError, Job, JobError, JobId, JobStore, NotPossible, Policy, change};
use crate::queue::Queue;
use crate::quota::{DAY, Exceeded, Quota};
use crate::retry::{BoxError, Retryable};
use crate::trace::TraceContext;
use crate::transcode::{Options, Problem};

mod peek;
mod preflight;
mod resume;

use peek::Verdict;
pub use preflight::Preflight;
pub use resume::Beginning;

/// Takes uploads in.
#[derive(Clone)]
pub struct Upload {
    /// Where jobs are kept.
    pub jobs: Arc<dyn JobStore>,
    /// Where videos are kept.
    pub videos: Arc<dyn BlobStore>,
    /// Whose bell is rung.
    pub queue: Arc<dyn Queue>,
    /// Looks at a stored video before it is accepted, so that its sender hears at once when it can't be converted.
    pub preflight: Option<Preflight>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The job's measures.
    pub policy: Policy,
    /// The largest video, in bytes.
    pub max_bytes: u64,
    /// The most that one account may take up.
    pub quota: Quota,
}

/// A video on its way in.
pub struct Incoming<'a> {
    /// Whose it is.
    pub owner: AccountId,
    /// Where the mail goes.
    pub email: Email,
    /// Its name, already cleaned: for people only.
    pub filename: String,
    /// Its media type, as its sender says.
    pub content_type: String,
    /// What the MP3 is to be like.
    pub options: Options,
    /// What its sender calls this request, if it is to be carried out once however often it is sent.
    pub key: Option<IdempotencyKey>,
    /// The request that brings it.
    pub trace: Option<TraceContext>,
    /// Its bytes.
    pub body: ByteStream<'a>,
}

impl Upload {
    /// Stores a video and queues its job. When its sender has sent the same request before, that one's job is returned
    /// and nothing is read.
    ///
    /// # Errors
    /// One of [`UploadError`]; then nothing is left behind, at the latest after the relay has come by.
    pub async fn upload(&self, incoming: Incoming<'_>) -> Result<Job, UploadError> {
        let Incoming { owner, email, filename, content_type, options, key, trace, body } = incoming;
        let now = self.clock.now();
        let mut job = Job { trace, ..Job::new(owner, email, filename, options, now, &self.policy) };
        if let Some(key) = &key {
            if let Some(earlier) = self.earlier(key, owner, now).await? {
                return Ok(earlier);
            }
            (job.id, job.request) = (key.ids(owner, now)[0], Some(key.request()));
        }
        match self.jobs.insert(&job).await {
            // The same request is being carried out since a moment ago.
            Err(JobError::Conflict) if key.is_some() => return Err(UploadError::InProgress),
            Err(err) => {
                // The row may be there all the same, and nobody would send the same request again before it is gone.
                self.clean_up(&job).await;
                return Err(err.into());
            }
            Ok(()) => {}
        }
        let meta = BlobMeta { job: job.id, content_type, filename: job.filename.clone() };
        let outcome = match self.left(owner, now).await {
            Ok(left) => self.store(&job, meta, body, left).await,
            Err(err) => Err(err),
        };
        match &outcome {
            // Whether the job was accepted is not known: it must not be cleaned away. The relay finds out.
            Ok(_) | Err(UploadError::Unknown(_)) => {}
            Err(_) => self.clean_up(&job).await,
        }
        outcome
    }

    /// The job of the same request, if it was sent before.
    async fn earlier(
        &self,
        key: &IdempotencyKey,
        owner: AccountId,
        now: Timestamp,
    ) -> Result<Option<Job>, UploadError> {
        for id in key.ids(owner, now) {
            let Some(job) = self.jobs.get(id).await? else { continue };
            if IdempotencyKey::is_forgotten(job.created_at, now) {
                continue;
            }
            return match job {
                Job { request, .. } if request != Some(key.request()) => Err(UploadError::KeyReused),
                Job { accepted_at: None, .. } => Err(UploadError::InProgress),
                job => Ok(Some(job)),
            };
        }
        Ok(None)
    }

    /// How many bytes its owner has left, with all that has been begun.
    async fn left(&self, owner: AccountId, now: Timestamp) -> Result<u64, UploadError> {
        if !self.quota.limits_uploads() {
            return Ok(u64::MAX);
        }
        let usage = self.jobs.usage(owner, now.checked_sub(DAY).unwrap_or(Timestamp::MIN)).await?;
        self.quota.check(&usage).map_err(UploadError::Quota)?;
        Ok(self.quota.bytes.map_or(u64::MAX, |limit| limit.saturating_sub(usage.bytes)))
    }

    async fn store(&self, job: &Job, meta: BlobMeta, body: ByteStream<'_>, left: u64) -> Result<Job, UploadError> {
        let (received, verdict) = (AtomicU64::new(0), Verdict::default());
        let limited = limit(self.glanced(body, None, &verdict).await?, self.max_bytes.min(left), &received);
        let put = self.videos.put(&job.video, meta, limited);
        let info = match self.keeping_alive(job, put).await? {
            Ok(info) => info,
            Err(BlobError::Body(_)) if received.load(Ordering::Relaxed) > self.max_bytes => {
                return Err(UploadError::TooLarge { limit: self.max_bytes });
            }
            Err(BlobError::Body(_)) if received.load(Ordering::Relaxed) > left => {
                let limit = self.quota.bytes.unwrap_or(left);
                return Err(UploadError::Quota(Exceeded::Bytes { limit }));
            }
            Err(err) => return Err(seen(&verdict, err)),
        };
        if info.size == 0 {
            return Err(UploadError::Empty);
        }
        self.inspect(&info).await?;
        self.accept(job.id, &info, |row, now| row.accept(info.size, now, &self.policy)).await
    }

    /// Accepts the job whose video is stored, by the step that this kind of upload takes.
    async fn accept<F>(&self, id: JobId, video: &BlobInfo, step: F) -> Result<Job, UploadError>
    where
        F: Fn(Job, Timestamp) -> Result<Job, NotPossible>,
    {
        let now = self.clock.now();
        let mut already = None;
        let accepted = change(&*self.jobs, id, |row| {
            already = (row.accepted_at.is_some() && row.video == video.fid).then(|| row.clone());
            step(row, now)
        });
        let accepted = match accepted.await {
            Ok(accepted) => accepted,
            // Nobody else accepts this video: the answer to our own change was lost, and the job has gone on since.
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => return already.ok_or(UploadError::Cancelled),
            Err(ChangeError::Store(err)) if err.is_retryable() => return Err(UploadError::Unknown(err.into())),
            Err(ChangeError::Store(err)) => return Err(UploadError::Internal(err.into())),
        };
        try_to_ring(&*self.queue, &accepted).await;
        info!(job.id = %id, size_bytes = accepted.video_size, "accepted job {id}");
        Ok(accepted)
    }

    /// Runs `put` and says in the job's row, now and then, that the upload is alive.
    async fn keeping_alive<T>(&self, job: &Job, put: impl Future<Output = T>) -> Result<T, UploadError> {
        let mut put = std::pin::pin!(put);
        loop {
            let pause = tokio::time::sleep(self.policy.upload_ttl / 4);
            tokio::select! {
                done = &mut put => return Ok(done),
                () = pause => {
                    let (now, policy) = (self.clock.now(), &self.policy);
                    match change(&*self.jobs, job.id, |job| job.keep_uploading(now, policy)).await {
                        Err(ChangeError::Gone | ChangeError::NotPossible(_)) => return Err(UploadError::Cancelled),
                        Ok(_) | Err(ChangeError::Store(_)) => {}
                    }
                }
            }
        }
    }

    /// The blobs first: as long as the row is there, the relay knows of them. A job that was accepted after all stays, and
    /// so does another one under the same id.
    async fn clean_up(&self, job: &Job) {
        let outcome = async {
            let row = self.jobs.get(job.id).await?;
            if row.as_ref().is_some_and(|row| row.accepted_at.is_some() || row.video != job.video) {
                return Ok(());
            }
            let parts = row.iter().flat_map(Job::stored_parts);
            for fid in parts.chain([&job.video]) {
                self.videos.delete(fid).await.map_err(BoxError::from)?;
            }
            if let Some(row) = row {
                self.jobs.remove(&row).await?;
            }
            Ok::<_, BoxError>(())
        };
        if let Err(err) = outcome.await {
            warn!(job.id = %job.id, error = &*err as &dyn std::error::Error, "could not clean up after an upload: the relay will");
        }
    }
}

/// Counts what passes and ends in an error beyond `max` bytes.
fn limit<'a>(body: ByteStream<'a>, max: u64, received: &'a AtomicU64) -> ByteStream<'a> {
    body.map(move |piece| {
        let piece = piece?;
        let len = piece.len() as u64;
        if received.fetch_add(len, Ordering::Relaxed).saturating_add(len) > max {
            return Err(io::Error::other("the upload is over the limit"));
        }
        Ok(piece)
    })
    .boxed()
}

/// Why a video is not stored, if that was seen while it came.
fn seen(verdict: &Verdict, err: BlobError) -> UploadError {
    match (err, verdict.get()) {
        (BlobError::Body(_), Some(problem)) => UploadError::Unusable(problem.clone()),
        (err, _) => err.into(),
    }
}

/// Why an upload was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UploadError {
    /// Nothing was sent.
    #[error("the file is empty")]
    Empty,
    /// Too much was sent.
    #[error("the file is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The account takes up too much with it.
    #[error(transparent)]
    Quota(Exceeded),
    /// What was sent can't be converted.
    #[error("the file can't be converted: {}", .0.detail)]
    Unusable(Problem),
    /// The sender broke off.
    #[error("the upload broke off")]
    Body(#[source] io::Error),
    /// The job was cancelled meanwhile.
    #[error("the job was cancelled during its upload")]
    Cancelled,
    /// The same request is being carried out.
    #[error("the same request is being carried out")]
    InProgress,
    /// The key stands for another request.
    #[error("this key was used for another request")]
    KeyReused,
    /// The upload has gone on elsewhere.
    #[error("the upload does not stand where this part begins")]
    Elsewhere,
    /// There is no room for it.
    #[error("there is no room left for uploads")]
    Full(#[source] BoxError),
    /// A store can't be reached.
    #[error("uploading is not possible right now")]
    Unavailable(#[source] BoxError),
    /// A store did not say whether the job was accepted.
    #[error("nobody knows whether the upload was accepted")]
    Unknown(#[source] BoxError),
    /// Something is broken.
    #[error("the upload failed")]
    Internal(#[source] BoxError),
}

impl From<BlobError> for UploadError {
    fn from(err: BlobError) -> Self {
        match err {
            BlobError::Body(err) => Self::Body(err),
            BlobError::Full(err) => Self::Full(err),
            err if err.is_retryable() => Self::Unavailable(err.into()),
            err => Self::Internal(err.into()),
        }
    }
}

impl From<JobError> for UploadError {
    fn from(err: JobError) -> Self {
        if err.is_retryable() { Self::Unavailable(err.into()) } else { Self::Internal(err.into()) }
    }
}
