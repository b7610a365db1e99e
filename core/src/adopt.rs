//! Adopt: videos and MP3s of services that know nothing of jobs, such as those of the well-known Python tutorial.
//!
//! Their messages name a video, perhaps an MP3, and an address. A job is made of that under the video's own fid, so that
//! the same message means the same job however often it comes. An MP3 is copied under a fid of ours: then it is the job's
//! like any other, and theirs stays theirs.

use std::sync::Arc;

use tracing::{info, warn};

use crate::account::Email;
use crate::blob::{BlobError, BlobInfo, BlobMeta, BlobStore, Fid};
use crate::clock::Clock;
use crate::convert::mp3_name;
use crate::events::Event;
use crate::job::{ChangeError, Job, JobError, JobId, JobStore, Output, Phase, Policy, State, change};
use crate::queue::{Message, Settlement};
use crate::retry::BoxError;
use crate::transcode::SourceInfo;

/// Finds the jobs that messages are about, and makes them for those of others.
#[derive(Clone)]
pub(crate) struct Adopt<'a> {
    pub(crate) jobs: &'a dyn JobStore,
    pub(crate) videos: &'a dyn BlobStore,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) policy: &'a Policy,
}

impl Adopt<'_> {
    /// The job that a message is about, or what becomes of a message that is about none.
    pub(crate) async fn job_of(&self, message: &Message) -> Result<(JobId, Event), Settlement> {
        let event = Event::from_body(&message.body).map_err(|err| dead(format!("not an event: {err}")))?;
        let id = match &event.job_id {
            Some(id) => id.parse().map_err(|_| dead("the event's job_id is not an id"))?,
            None => self.job_of_video(&event).await?,
        };
        Ok((id, event))
    }

    async fn job_of_video(&self, event: &Event) -> Result<JobId, Settlement> {
        let fid: Fid = event.video_fid.parse().map_err(|_| dead("the event's video_fid is not an id"))?;
        let email: Email = event.username.parse().map_err(|_| dead("the event's username is not an address"))?;
        let id = JobId::from_bytes(*fid.as_bytes());
        if self.jobs.get(id).await.map_err(|err| self.later(err))?.is_some() {
            return Ok(id);
        }
        let video = match self.videos.head(&fid).await {
            Ok(video) => video,
            Err(BlobError::NotFound(_)) => return Err(dead("there is no such video")),
            Err(err) => return Err(self.later(err)),
        };
        if video.meta.job != id {
            // One of ours: whoever passed the message on has left out which.
            return Ok(video.meta.job);
        }
        let job = Job::adopted(&video, email, self.clock.now(), self.policy);
        let job = Job { trace: event.trace(), ..job };
        match self.jobs.insert(&job).await {
            Ok(()) => info!(job.id = %id, size_bytes = video.size, "adopted the video of job {id}"),
            // A duplicate of the message was faster.
            Err(JobError::Conflict) => {}
            Err(err) => return Err(self.later(err)),
        }
        Ok(id)
    }

    /// Makes an MP3 that somebody else's converter has made the job's, if the job waits for one. Otherwise does nothing.
    pub(crate) async fn mp3(&self, id: JobId, theirs: &Fid, mp3s: &Arc<dyn BlobStore>) -> Result<(), Settlement> {
        let waits = self.jobs.get(id).await.map_err(|err| self.later(err))?;
        if !waits.is_some_and(|job| matches!(job.state, State::Queued { .. })) {
            return Ok(());
        }
        let now = self.clock.now();
        let job = match change(self.jobs, id, |job| job.claim(now, self.policy)).await {
            Ok(job) => job,
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => return Ok(()),
            Err(ChangeError::Store(err)) => return Err(self.later(err)),
        };
        let copied = match self.copied(&job, theirs, &**mp3s).await {
            Ok(copied) => copied,
            Err(err) => {
                let now = self.clock.now();
                // If that fails, too, the lease runs out.
                let _released = change(self.jobs, id, |row| row.release(job.epoch, now, self.policy)).await;
                return Err(match err {
                    BlobError::NotFound(_) => dead("there is no such MP3"),
                    err => self.later(err),
                });
            }
        };
        self.commit(&job, &copied, &**mp3s).await
    }

    /// Copies an MP3 under a fid of ours, and says in the job's row now and then that it goes on.
    async fn copied(&self, job: &Job, theirs: &Fid, mp3s: &dyn BlobStore) -> Result<BlobInfo, BlobError> {
        let ours = Fid::random();
        let copy = async {
            let body = mp3s.get(theirs, None).await?.body;
            let meta =
                BlobMeta { job: job.id, content_type: "audio/mpeg".to_owned(), filename: mp3_name(&job.filename) };
            mp3s.put(&ours, meta, body).await
        };
        let mut copy = std::pin::pin!(copy);
        loop {
            tokio::select! {
                done = &mut copy => return done,
                () = tokio::time::sleep(self.policy.lease / 4) => {
                    let now = self.clock.now();
                    // If the job is lost, committing fails.
                    let _kept = change(self.jobs, job.id, |row| {
                        row.beat(job.epoch, Phase::Storing, 1.0, now, self.policy)
                    })
                    .await;
                }
            }
        }
    }

    async fn commit(&self, job: &Job, copied: &BlobInfo, mp3s: &dyn BlobStore) -> Result<(), Settlement> {
        let output =
            Output { fid: copied.fid, size: copied.size, sha256: copied.sha256, duration: None, bitrate: None };
        let (now, mut already) = (self.clock.now(), false);
        let committed = change(self.jobs, job.id, |row| {
            already = row.output.as_ref().is_some_and(|output| output.fid == copied.fid);
            row.complete(job.epoch, SourceInfo::default(), output.clone(), now, self.policy)
        });
        match committed.await {
            Ok(_) => {
                info!(job.id = %job.id, size_bytes = copied.size, "took over the MP3 of job {}", job.id);
                Ok(())
            }
            // The change was made, and its answer was lost.
            Err(ChangeError::NotPossible(_)) if already => Ok(()),
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => {
                if let Err(err) = mp3s.delete(&copied.fid).await {
                    let error = &err as &dyn std::error::Error;
                    warn!(job.id = %job.id, error, "could not delete a copied mp3: the collector will");
                }
                Ok(())
            }
            // Perhaps committed, perhaps not. If no job needs the copy, the collector takes it.
            Err(ChangeError::Store(err)) => Err(self.later(err)),
        }
    }

    fn later(&self, err: impl Into<BoxError>) -> Settlement {
        let err: BoxError = err.into();
        warn!(error = &*err as &dyn std::error::Error, "could not find the job of a message");
        Settlement::Retry { after: self.policy.backoff.first }
    }
}

fn dead(reason: impl Into<String>) -> Settlement {
    Settlement::DeadLetter { reason: reason.into() }
}
