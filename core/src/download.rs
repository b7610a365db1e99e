//! Download: the owner of a job gets its MP3, and nobody else does.

use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;

use crate::account::AccountId;
use crate::blob::{Blob, BlobError, BlobStore, Fid};
use crate::job::{Job, JobError, JobId, JobStore, Output, Status};
use crate::retry::{BoxError, Retryable};

/// Gives MP3s to their owners.
#[derive(Clone)]
pub struct Download {
    /// Where jobs are kept.
    pub jobs: Arc<dyn JobStore>,
    /// Where MP3s are kept.
    pub mp3s: Arc<dyn BlobStore>,
}

/// The proof that somebody may read an MP3: only [`Download::find`] makes one, and only for the job's owner.
#[derive(Clone, Debug)]
pub struct Granted {
    job: Job,
    output: Output,
}

impl Granted {
    /// The job that made the MP3.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The MP3.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }
}

fn granted(job: Job) -> Result<Granted, DownloadError> {
    match (job.status(), job.output.clone()) {
        (Status::Deleted, _) => Err(DownloadError::NotFound),
        (Status::Expired, _) => Err(DownloadError::Expired),
        (Status::Done, Some(output)) => Ok(Granted { job, output }),
        (status, _) => Err(DownloadError::NotReady(status)),
    }
}

impl Download {
    /// Finds an MP3 by its own fid or by its job's id. Somebody else's is as unknown as one that never was.
    ///
    /// # Errors
    /// One of [`DownloadError`].
    pub async fn find(&self, owner: AccountId, fid: &Fid) -> Result<Granted, DownloadError> {
        let job = self.job(fid).await?;
        if job.owner != owner {
            return Err(DownloadError::NotFound);
        }
        granted(job)
    }

    /// Finds an MP3 by a link: its fid, until when it is good (seconds since 1970), and its signature.
    ///
    /// # Errors
    /// One of [`DownloadError`]; a link that was never made is as unknown as its file.
    pub async fn find_by_link(
        &self,
        fid: &Fid,
        expires: i64,
        signature: &str,
        now: Timestamp,
    ) -> Result<Granted, DownloadError> {
        let job = self.job(fid).await?;
        if !job.has_signed(fid, expires, signature) {
            return Err(DownloadError::NotFound);
        }
        if expires <= now.as_second() {
            return Err(DownloadError::LinkExpired);
        }
        granted(job)
    }

    async fn job(&self, fid: &Fid) -> Result<Job, DownloadError> {
        match self.jobs.get(JobId::from_bytes(*fid.as_bytes())).await? {
            Some(job) => Ok(job),
            None => self.job_of_mp3(fid).await,
        }
    }

    async fn job_of_mp3(&self, fid: &Fid) -> Result<Job, DownloadError> {
        let info = match self.mp3s.head(fid).await {
            Ok(info) => info,
            Err(BlobError::NotFound(_)) => return Err(DownloadError::NotFound),
            Err(err) => return Err(err.into()),
        };
        let job = self.jobs.get(info.meta.job).await?.ok_or(DownloadError::NotFound)?;
        // A loser's MP3 that was not yet collected is nobody's.
        if job.output.as_ref().is_some_and(|output| output.fid == *fid) {
            Ok(job)
        } else {
            Err(DownloadError::NotFound)
        }
    }

    /// Opens the MP3, or a range of its bytes.
    ///
    /// # Errors
    /// [`DownloadError::RangeNotSatisfiable`], [`DownloadError::Unavailable`], [`DownloadError::Internal`].
    pub async fn open(&self, granted: &Granted, range: Option<Range<u64>>) -> Result<Blob, DownloadError> {
        Ok(self.mp3s.get(&granted.output.fid, range).await?)
    }
}

/// Why there is nothing to download.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// There is no such MP3, or it is somebody else's.
    #[error("there is no such file")]
    NotFound,
    /// The job has not come to an MP3 (yet).
    #[error("there is no MP3: the job is {}", .0.as_str())]
    NotReady(Status),
    /// The link was good for a limited time.
    #[error("the link has expired")]
    LinkExpired,
    /// There was one.
    #[error("the MP3 is no longer kept")]
    Expired,
    /// The range lies behind the end.
    #[error("range starts at byte {start}, but the file has {size} bytes")]
    RangeNotSatisfiable {
        /// Where the range starts.
        start: u64,
        /// How long the file is.
        size: u64,
    },
    /// A store can't be reached.
    #[error("downloading is not possible right now")]
    Unavailable(#[source] BoxError),
    /// Something is broken.
    #[error("the download failed")]
    Internal(#[source] BoxError),
}

impl From<BlobError> for DownloadError {
    fn from(err: BlobError) -> Self {
        match err {
            BlobError::RangeNotSatisfiable { start, size } => Self::RangeNotSatisfiable { start, size },
            err if err.is_retryable() => Self::Unavailable(err.into()),
            // The row says there is one, and there is none: that is damage, not a wrong question.
            err => Self::Internal(err.into()),
        }
    }
}

impl From<JobError> for DownloadError {
    fn from(err: JobError) -> Self {
        if err.is_retryable() { Self::Unavailable(err.into()) } else { Self::Internal(err.into()) }
    }
}
