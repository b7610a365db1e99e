//! Upload: a stream of bytes becomes an accepted job.
//!
//! Order: the job's row (`uploading`) → the blob → one compare-and-swap to `queued`. From there on the job is accepted
//! and never lost. Whatever fails before leaves nothing behind; whatever fails after (the doorbell) is made good by the
//! relay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use crate::account::{AccountId, Email};
use crate::bell::try_to_ring;
use crate::blob::{BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream};
use crate::clock::Clock;
use crate::job::{ChangeError, Job, JobError, JobStore, Policy, change};
use crate::queue::Queue;
use crate::retry::{BoxError, Retryable};
use crate::source::BlobSource;
use crate::transcode::{Options, Problem, Transcoder};

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
}

/// Looks at videos before they are accepted, no more than so many at a time: each may take all the memory that a
/// transcoder may have. Clones count together.
#[derive(Clone)]
pub struct Preflight {
    transcoder: Arc<dyn Transcoder>,
    places: Arc<Semaphore>,
}

/// So long an upload waits for a place. Files that keep the others from being looked at keep nobody from uploading.
const PATIENCE: Duration = Duration::from_secs(30);

impl Preflight {
    /// Looks at so many videos at the same time, at least one. Others wait, half a minute at most.
    #[must_use]
    pub fn new(transcoder: Arc<dyn Transcoder>, at_a_time: usize) -> Self {
        Self { transcoder, places: Arc::new(Semaphore::new(at_a_time.max(1))) }
    }

    /// A place. It is free again when this is dropped. `None`: there was none in time.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }
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
    /// Its bytes.
    pub body: ByteStream<'a>,
}

impl Upload {
    /// Stores a video and queues its job.
    ///
    /// # Errors
    /// One of [`UploadError`]; then nothing is left behind, at the latest after the relay has come by.
    pub async fn upload(&self, incoming: Incoming<'_>) -> Result<Job, UploadError> {
        let Incoming { owner, email, filename, content_type, options, body } = incoming;
        let job = Job::new(owner, email, filename, options, self.clock.now(), &self.policy);
        self.jobs.insert(&job).await?;
        let meta = BlobMeta { job: job.id, content_type, filename: job.filename.clone() };
        match self.store(&job, meta, body).await {
            Ok(accepted) => {
                try_to_ring(&*self.queue, &accepted).await;
                info!(job.id = %accepted.id, size_bytes = accepted.video_size, "accepted job {}", accepted.id);
                Ok(accepted)
            }
            // Whether the job was accepted is not known: it must not be cleaned away. The relay finds out.
            Err(err @ UploadError::Unknown(_)) => Err(err),
            Err(err) => {
                self.clean_up(&job).await;
                Err(err)
            }
        }
    }

    async fn store(&self, job: &Job, meta: BlobMeta, body: ByteStream<'_>) -> Result<Job, UploadError> {
        let received = AtomicU64::new(0);
        let limited = limit(body, self.max_bytes, &received);
        let put = self.videos.put(&job.video, meta, limited);
        let info = match self.keeping_alive(job, put).await? {
            Ok(info) => info,
            Err(BlobError::Body(_)) if received.load(Ordering::Relaxed) > self.max_bytes => {
                return Err(UploadError::TooLarge { limit: self.max_bytes });
            }
            Err(err) => return Err(err.into()),
        };
        if info.size == 0 {
            return Err(UploadError::Empty);
        }
        self.inspect(&info).await?;
        let (now, policy) = (self.clock.now(), &self.policy);
        let mut already = None;
        let accepted = change(&*self.jobs, job.id, |row| {
            already = row.accepted_at.map(|_| row.clone());
            row.accept(info.size, now, policy)
        });
        match accepted.await {
            Ok(accepted) => Ok(accepted),
            // Nobody else accepts it: the answer to our own change was lost, and the job has gone on since.
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => already.ok_or(UploadError::Cancelled),
            Err(ChangeError::Store(err)) if err.is_retryable() => Err(UploadError::Unknown(err.into())),
            Err(ChangeError::Store(err)) => Err(UploadError::Internal(err.into())),
        }
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

    async fn inspect(&self, info: &BlobInfo) -> Result<(), UploadError> {
        let Some(preflight) = &self.preflight else { return Ok(()) };
        // The converter looks at it, too: the sender hears of it later then.
        let Some(place) = preflight.place().await else { return Ok(()) };
        let mut source = BlobSource::open(Arc::clone(&self.videos), &info.fid).await?;
        let transcoder = Arc::clone(&preflight.transcoder);
        let probe = tokio::task::spawn_blocking(move || {
            // It goes along: a task that is given up makes no room for another before the work is over.
            let _place = place;
            transcoder.probe(&mut source)
        });
        let problem = match probe.await {
            Ok(Ok(info)) => info.problem,
            Ok(Err(err)) if !err.is_retryable() => Some(err.problem()),
            // Not the file's fault: let the converter have a try at it.
            Ok(Err(_)) | Err(_) => None,
        };
        problem.map_or(Ok(()), |problem| Err(UploadError::Unusable(problem)))
    }

    /// The blob first: as long as the row is there, the relay knows of it. A job that was accepted after all stays.
    async fn clean_up(&self, job: &Job) {
        let outcome = async {
            let row = self.jobs.get(job.id).await?;
            if row.as_ref().is_some_and(|row| row.accepted_at.is_some()) {
                return Ok(());
            }
            self.videos.delete(&job.video).await.map_err(BoxError::from)?;
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
    /// What was sent can't be converted.
    #[error("the file can't be converted: {}", .0.detail)]
    Unusable(Problem),
    /// The sender broke off.
    #[error("the upload broke off")]
    Body(#[source] io::Error),
    /// The job was cancelled meanwhile.
    #[error("the job was cancelled during its upload")]
    Cancelled,
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
