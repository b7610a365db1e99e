//! An upload that comes in several requests, and may go on after each of them broke off, on any gateway.
//!
//! Order: the job's row (`uploading`, in parts) → for each request a blob of its own, which counts once the row names it →
//! with the last one, all of them become the video, and one compare-and-swap accepts the job. Most videos come in a
//! single part, and that is the video then.

use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use super::peek::Verdict;
use super::{Upload, UploadError, seen};
use crate::account::{AccountId, Email};
use crate::blob::{BlobError, BlobInfo, BlobMeta, ByteStream, Fid};
use crate::job::{ChangeError, Job, Part, Parts, change};
use crate::quota::Exceeded;
use crate::retry::Retryable;
use crate::trace::TraceContext;
use crate::transcode::Options;

/// So many parts of about the same size are merged: a sender of small pieces would make the row grow without end.
const MERGED: usize = 32;

/// A video that will come in several requests.
pub struct Beginning {
    /// Whose it is.
    pub owner: AccountId,
    /// Where the mail goes.
    pub email: Email,
    /// Its name, already cleaned: for people only.
    pub filename: String,
    /// What the MP3 is to be like.
    pub options: Options,
    /// What is known of it so far.
    pub parts: Parts,
    /// The request that begins it.
    pub trace: Option<TraceContext>,
}

impl Upload {
    /// Makes room for a video. Nothing is left of it if it is not completed in time.
    ///
    /// # Errors
    /// [`UploadError::Empty`] and [`UploadError::TooLarge`] of a length that can't be had; [`UploadError::Quota`];
    /// [`UploadError::Unavailable`], [`UploadError::Internal`].
    pub async fn begin(&self, beginning: Beginning) -> Result<Job, UploadError> {
        let Beginning { owner, email, filename, options, parts, trace } = beginning;
        if let Some(length) = parts.length {
            self.check_length(length)?;
        }
        let now = self.clock.now();
        let job = Job { trace, ..Job::new(owner, email, filename, options, now, &self.policy) };
        let job = job.in_parts(parts, now, &self.policy);
        self.jobs.insert(&job).await?;
        match self.left(owner, now).await {
            Ok(_) => Ok(job),
            Err(err) => {
                self.clean_up(&job).await;
                Err(err)
            }
        }
    }

    /// Notes how long the video will be, which was not known when it began.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); [`UploadError::Elsewhere`] when another length was told, or more has come already.
    pub async fn set_length(&self, job: &Job, length: u64) -> Result<Job, UploadError> {
        self.check_length(length)?;
        let left = self.left(job.owner, self.clock.now()).await?;
        if length.saturating_sub(job.bytes()) > left {
            return Err(UploadError::Quota(Exceeded::Bytes { limit: self.quota.bytes.unwrap_or(left) }));
        }
        let (now, policy) = (self.clock.now(), &self.policy);
        changed(change(&*self.jobs, job.id, |row| row.set_length(length, now, policy)).await)
    }

    fn check_length(&self, length: u64) -> Result<(), UploadError> {
        match length {
            0 => Err(UploadError::Empty),
            length if length > self.max_bytes => Err(UploadError::TooLarge { limit: self.max_bytes }),
            _ => Ok(()),
        }
    }

    /// Stores the next part: the one behind what `job`, as it was read, has received. With the last part the job is
    /// accepted. The caller sees to it that no more comes than is wanted, and that the body ends in an error only if
    /// nothing of it is to be kept.
    ///
    /// # Errors
    /// [`UploadError::Elsewhere`] when another request was faster; [`UploadError::Unusable`], and nothing is left of the
    /// upload; any other, and what came before is still there.
    pub async fn append(&self, job: &Job, body: ByteStream<'_>) -> Result<Job, UploadError> {
        let parts = job.unfinished().ok_or(UploadError::Elsewhere)?;
        if parts.length.is_none() {
            // What is to come was not counted when it began.
            self.left(job.owner, self.clock.now()).await?;
        }
        let (at, fid) = (parts.received(), Fid::random());
        let verdict = Verdict::default();
        let body = if at == 0 { self.first(job, parts, body, &verdict).await? } else { body };
        let info = match self.videos.put(&fid, meta(job, parts), body).await {
            Ok(info) => info,
            Err(err) => return Err(self.ended(job, seen(&verdict, err)).await),
        };
        let part = Part { fid, size: info.size };
        if part.size == 0 {
            self.forget(&fid).await;
        }
        let outcome = if parts.length == Some(at + part.size) {
            let last = (part.size > 0).then_some(part);
            let whole: Vec<Part> = parts.stored.iter().copied().chain(last).collect();
            self.complete(job, at, &whole).await
        } else if part.size == 0 {
            return Ok(job.clone());
        } else {
            let (now, policy) = (self.clock.now(), &self.policy);
            changed(change(&*self.jobs, job.id, |row| row.append(at, part, now, policy)).await)
        };
        match outcome {
            Ok(job) if job.unfinished().is_some() => Ok(self.tidied(job).await),
            // The row may name it all the same: whoever goes on finds that out, or the collector of orphans.
            Err(UploadError::Unknown(_)) | Ok(_) => outcome,
            Err(err) => {
                self.forget(&fid).await;
                Err(err)
            }
        }
    }

    /// A glance at the first part.
    async fn first<'a>(
        &self,
        job: &Job,
        parts: &Parts,
        body: ByteStream<'a>,
        verdict: &Verdict,
    ) -> Result<ByteStream<'a>, UploadError> {
        match self.glanced(body, Some(parts.length.unwrap_or(u64::MAX)), verdict).await {
            Ok(body) => Ok(body),
            Err(err) => Err(self.ended(job, err).await),
        }
    }

    /// Nothing is left of an upload that can't be used, whatever else would come.
    async fn ended(&self, job: &Job, why: UploadError) -> UploadError {
        if matches!(why, UploadError::Unusable(_)) {
            self.clean_up(job).await;
        }
        why
    }

    /// Ends an upload before its time; nothing of it is left. One that was completed stays.
    ///
    /// # Errors
    /// [`UploadError::Elsewhere`] when it was completed; [`UploadError::Unavailable`], [`UploadError::Internal`].
    pub async fn abandon(&self, job: &Job) -> Result<(), UploadError> {
        let (now, policy) = (self.clock.now(), &self.policy);
        let deleted = change(&*self.jobs, job.id, |row| {
            if row.unfinished().is_none() {
                Err(row.cannot("abandoned"))
            } else {
                row.cancel(now, policy)?.delete(now, policy)
            }
        });
        // From here on the relay sees to it, should this fail.
        let row = changed(deleted.await)?;
        self.clean_up(&row).await;
        Ok(())
    }

    /// Makes a video of all parts, the last of which the row does not know yet, and accepts the job.
    async fn complete(&self, job: &Job, at: u64, parts: &[Part]) -> Result<Job, UploadError> {
        let video = match parts {
            [only] => self.videos.head(&only.fid).await?,
            _ => self.joined(job, parts).await?,
        };
        let whole = Part { fid: video.fid, size: video.size };
        let accepted = match self.inspect(&video).await {
            Ok(()) => self.accept(job.id, &video, |row, now| row.accept_parts(at, whole, now, &self.policy)).await,
            Err(err) => Err(err),
        };
        let accepted = match accepted {
            // Another request has gone on with it.
            Err(UploadError::Cancelled) if self.is_going_on(job).await => Err(UploadError::Elsewhere),
            accepted => accepted,
        };
        match accepted {
            Ok(job) => {
                for part in parts.iter().filter(|part| part.fid != job.video) {
                    self.forget(&part.fid).await;
                }
                Ok(job)
            }
            Err(err @ UploadError::Unknown(_)) => Err(err),
            Err(err) => {
                if !parts.contains(&whole) {
                    self.forget(&video.fid).await;
                }
                Err(self.ended(job, err).await)
            }
        }
    }

    async fn is_going_on(&self, job: &Job) -> bool {
        self.jobs.get(job.id).await.is_ok_and(|row| row.is_some_and(|row| row.unfinished().is_some()))
    }

    /// Puts the parts into one blob.
    async fn joined(&self, job: &Job, parts: &[Part]) -> Result<BlobInfo, UploadError> {
        let content = job.parts.as_ref().ok_or(UploadError::Elsewhere)?;
        let videos = self.videos.clone();
        let bodies =
            stream::iter(parts.to_vec()).then(move |part| {
                let videos = videos.clone();
                async move {
                    Ok::<_, std::io::Error>(videos.get(&part.fid, None).await.map_err(std::io::Error::other)?.body)
                }
            });
        match self.videos.put(&Fid::random(), meta(job, content), bodies.try_flatten().boxed()).await {
            // It is the store's own bytes that can't be read.
            Err(BlobError::Body(err)) => Err(UploadError::Unavailable(err.into())),
            outcome => Ok(outcome?),
        }
    }

    /// Merges the last parts as long as there are many of about the same size: each byte is copied a few times at most.
    /// If that fails, there are more parts, that is all.
    async fn tidied(&self, mut job: Job) -> Job {
        while let Some(merged) = self.merged(&job).await {
            job = merged;
        }
        job
    }

    async fn merged(&self, job: &Job) -> Option<Job> {
        let parts = job.unfinished()?;
        let count = crowd(&parts.stored);
        if count < MERGED {
            return None;
        }
        let crowd = &parts.stored[parts.stored.len() - count..];
        let info = self.joined(job, crowd).await.ok()?;
        let (at, into) = (parts.received(), Part { fid: info.fid, size: info.size });
        let (now, policy) = (self.clock.now(), &self.policy);
        let gone = match change(&*self.jobs, job.id, |row| row.merge(at, count, into, now, policy)).await {
            Ok(merged) => {
                for part in crowd {
                    self.forget(&part.fid).await;
                }
                return Some(merged);
            }
            // The row may name it.
            Err(ChangeError::Store(err)) => !err.is_retryable(),
            Err(_) => true,
        };
        if gone {
            self.forget(&info.fid).await;
        }
        None
    }

    /// Deletes a blob that no job needs. If that fails, the collector of orphans will.
    async fn forget(&self, fid: &Fid) {
        if let Err(err) = self.videos.delete(fid).await {
            warn!(%fid, error = &err as &dyn std::error::Error, "could not delete a part of an upload: the relay will");
        }
    }
}

/// How many parts at the end are no larger than the last one, by orders of magnitude of [`MERGED`].
fn crowd(parts: &[Part]) -> usize {
    let order = |part: &Part| part.size.max(1).ilog(MERGED as u64);
    let Some(last) = parts.last() else { return 0 };
    parts.iter().rev().take_while(|part| order(part) <= order(last)).count()
}

fn meta(job: &Job, parts: &Parts) -> BlobMeta {
    BlobMeta { job: job.id, content_type: parts.content_type.clone(), filename: job.filename.clone() }
}

/// What became of a step that another request may have made impossible.
fn changed(outcome: Result<Job, ChangeError>) -> Result<Job, UploadError> {
    outcome.map_err(|err| match err {
        ChangeError::Gone | ChangeError::NotPossible(_) => UploadError::Elsewhere,
        ChangeError::Store(err) if err.is_retryable() => UploadError::Unknown(err.into()),
        ChangeError::Store(err) => err.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(sizes: &[u64]) -> Vec<Part> {
        sizes.iter().map(|size| Part { fid: Fid::random(), size: *size }).collect()
    }

    #[test]
    fn small_parts_behind_a_large_one_are_a_crowd() {
        assert_eq!(crowd(&[]), 0);
        assert_eq!(crowd(&parts(&[1_000_000, 5, 1, 9])), 3);
        assert_eq!(crowd(&parts(&[1_000_000, 5, 1, 1_000_000])), 4);
    }

    #[test]
    fn any_number_of_pieces_becomes_few_parts() {
        let mut stored = Vec::new();
        let (mut copied, mut most) = (0, 0);
        for _ in 0..100_000 {
            stored.extend(parts(&[1000]));
            while let count = crowd(&stored)
                && count >= MERGED
            {
                let rest = stored.split_off(stored.len() - count);
                let size = rest.iter().map(|part| part.size).sum();
                copied += size;
                stored.extend(parts(&[size]));
            }
            most = most.max(stored.len());
        }
        let received: u64 = stored.iter().map(|part| part.size).sum();
        assert_eq!(received, 100_000_000);
        assert!(most <= 4 * MERGED, "{most} parts");
        assert!(copied <= 4 * received, "{copied} bytes copied");
    }
}
