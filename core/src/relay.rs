//! The relay: sees to every job that has been silent for too long, so that nothing depends on a message, a worker or an
//! uploader staying alive. Any number of relays may run at once: each step is a compare-and-swap.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use crate::bell::ring;
use crate::blob::{BlobError, BlobStore, Fid};
use crate::clock::{Clock, since};
use crate::job::{ChangeError, Job, JobError, JobStore, MailState, NotPossible, Output, Policy, State, change};
use crate::queue::Queue;
use crate::quota::DAY;
use crate::retry::BoxError;
use crate::shutdown::Shutdown;

const BATCH: usize = 500;

/// Rings, reclaims and cleans up.
#[derive(Clone)]
pub struct Relay {
    /// Where jobs are kept.
    pub jobs: Arc<dyn JobStore>,
    /// Where videos are kept.
    pub videos: Arc<dyn BlobStore>,
    /// Where MP3s are kept.
    pub mp3s: Arc<dyn BlobStore>,
    /// Whose bells are rung.
    pub queue: Arc<dyn Queue>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The jobs' measures.
    pub policy: Policy,
    /// How often due jobs are looked for.
    pub every: Duration,
    /// How often orphaned blobs are looked for.
    pub collect_every: Duration,
    /// Blobs younger than this are no orphans yet: their job may be about to be saved.
    pub orphan_age: Duration,
}

impl Relay {
    /// Works until `shutdown` says stop.
    pub async fn run(&self, shutdown: &Shutdown) {
        let mut next_collection = tokio::time::Instant::now() + self.collect_every;
        loop {
            tokio::select! {
                () = shutdown.stop().cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
            }
            if let Err(err) = self.tick().await {
                warn!(error = &*err as &dyn std::error::Error, "the relay could not look for due jobs");
            }
            if tokio::time::Instant::now() >= next_collection {
                next_collection = tokio::time::Instant::now() + self.collect_every;
                if let Err(err) = self.collect_orphans().await {
                    warn!(error = &*err as &dyn std::error::Error, "the relay could not collect orphaned blobs");
                }
            }
        }
    }

    /// Sees to every job that is due; returns how many it moved on.
    ///
    /// # Errors
    /// When the jobs can't be read. Trouble with a single job is logged, and the job stays due.
    pub async fn tick(&self) -> Result<usize, BoxError> {
        let mut moved = 0;
        let mut broker_is_down = false;
        let due = self.jobs.due(self.clock.now(), BATCH).await?;
        // Then jobs that nothing can be done for would keep the others from ever being looked at, and make room.
        let is_crowded = due.len() == BATCH;
        for job in due {
            if broker_is_down && job.bell().is_some() {
                if is_crowded {
                    self.put_off(&job).await;
                }
                continue;
            }
            match self.see_to(&job).await {
                Ok(()) => moved += 1,
                Err(trouble) => {
                    if is_crowded {
                        self.put_off(&job).await;
                    }
                    match trouble {
                        Trouble::Broker(err) => {
                            broker_is_down = true;
                            warn!(error = &*err as &dyn std::error::Error, "the relay could not ring");
                        }
                        Trouble::Store(err) => {
                            let error = &*err as &dyn std::error::Error;
                            warn!(job.id = %job.id, error, "the relay could not see to a job");
                        }
                    }
                }
            }
        }
        Ok(moved)
    }

    /// Lets others come first for a while.
    async fn put_off(&self, job: &Job) {
        let (now, p) = (self.clock.now(), &self.policy);
        // Whoever changed it since has also said when it is due.
        let _stays_due = self.step(job, |job| job.put_off(now, p)).await;
    }

    /// Takes the one step that a due job needs.
    async fn see_to(&self, job: &Job) -> Result<(), Trouble> {
        let (now, p) = (self.clock.now(), &self.policy);
        match (&job.state, &job.mail) {
            (State::Uploading { .. } | State::Deleted, _) => self.remove(job).await,
            (State::Queued { .. }, _) => self.ring(job).await,
            (State::Converting { .. }, _) => {
                let Some(job) = self.step(job, |job| job.lose_lease(now, p)).await? else { return Ok(()) };
                info!(job.id = %job.id, attempt = job.attempt, "a worker lost job {}", job.id);
                ring(&*self.queue, &job).await.map_err(Trouble::Broker)
            }
            (_, MailState::Pending { .. }) if job.bell().is_some() => self.ring(job).await,
            (_, MailState::Sending { .. }) => {
                self.step(job, |job| job.lose_mail(now, p)).await?;
                Ok(())
            }
            _ => self.retain(job, now).await,
        }
    }

    /// Rings, and notes it in the row so that the next time is later.
    async fn ring(&self, job: &Job) -> Result<(), Trouble> {
        ring(&*self.queue, job).await.map_err(Trouble::Broker)?;
        let now = self.clock.now();
        self.step(job, |job| job.rang(now, &self.policy)).await?;
        Ok(())
    }

    /// An abandoned upload, or a deleted job: its blobs go first, so that the row tells of them until they are gone.
    async fn remove(&self, job: &Job) -> Result<(), Trouble> {
        // An uploader that is only slow must find its job gone before its blob is deleted under it.
        let job = if let State::Uploading { .. } = job.state {
            let (now, p) = (self.clock.now(), &self.policy);
            match self.step(job, |job| job.cancel(now, p)?.delete(now, p)).await? {
                Some(job) => job,
                None => return Ok(()),
            }
        } else {
            job.clone()
        };
        for fid in job.stored_parts().chain([&job.video]) {
            self.videos.delete(fid).await?;
        }
        if let Some(output) = &job.output {
            self.mp3s.delete(&output.fid).await?;
        }
        let (now, p) = (self.clock.now(), &self.policy);
        // What was converted within a day counts on, whether it is kept or not.
        if job.seconds() > 0.0 && since(now, job.created_at) < DAY {
            self.step(&job, |job| job.bury(now, p)).await?;
            return Ok(());
        }
        match self.jobs.remove(&job).await {
            Ok(()) | Err(JobError::Conflict) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    /// What is no longer to be kept goes: first in the row, so that nobody counts on a blob that is about to vanish.
    /// If the blob then stays behind, the collector finds it.
    async fn retain(&self, job: &Job, now: Timestamp) -> Result<(), Trouble> {
        let p = &self.policy;
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        // Nobody counts on the parts of what was cancelled.
        for fid in job.stored_parts() {
            self.videos.delete(fid).await?;
        }
        if job.stored_parts().next().is_some() {
            self.step(job, |job| job.forget_parts(now, p)).await?;
        } else if is_due(job.mp3_expires_at(p)) {
            let expired = self.step(job, |job| job.expire(now, p)).await?;
            if let Some(Output { fid, .. }) = expired.and_then(|job| job.output) {
                self.mp3s.delete(&fid).await?;
            }
        } else if is_due(job.video_expires_at(p)) {
            if self.step(job, |job| job.forget_video(now, p)).await?.is_some() {
                self.videos.delete(&job.video).await?;
            }
        } else {
            // The retention was changed since the date was set.
            self.step(job, |job| job.retained(now, p)).await?;
        }
        Ok(())
    }

    /// A step on the job as it was read: when it has changed since, somebody else saw to it (`None`).
    async fn step<F>(&self, job: &Job, step: F) -> Result<Option<Job>, Trouble>
    where
        F: FnMut(Job) -> Result<Job, NotPossible>,
    {
        let seen = job.version;
        let mut step = step;
        let changed = change(&*self.jobs, job.id, |row| {
            if row.version == seen { step(row) } else { Err(NotPossible { status: row.status(), step: "relayed" }) }
        });
        match changed.await {
            Ok(job) => Ok(Some(job)),
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => Ok(None),
            Err(ChangeError::Store(err)) => Err(err.into()),
        }
    }

    /// Deletes blobs that no job needs: of losers, of crashed workers, of jobs that are gone. Returns how many.
    ///
    /// # Errors
    /// When a store fails; what was not looked at is looked at the next time.
    pub async fn collect_orphans(&self) -> Result<usize, BoxError> {
        Ok(self.collect(&*self.videos).await? + self.collect(&*self.mp3s).await?)
    }

    async fn collect(&self, store: &dyn BlobStore) -> Result<usize, BoxError> {
        let mut collected = 0;
        let mut after: Option<Fid> = None;
        loop {
            let page = store.list(after, BATCH).await?;
            let Some(last) = page.last() else { return Ok(collected) };
            after = Some(last.fid);
            for blob in page {
                if since(self.clock.now(), blob.created_at) < self.orphan_age {
                    continue;
                }
                let job = self.jobs.get(blob.meta.job).await?;
                if !job.is_some_and(|job| job.needs(&blob.fid)) {
                    store.delete(&blob.fid).await?;
                    collected += 1;
                    info!(fid = %blob.fid, job.id = %blob.meta.job, "collected an orphaned blob");
                }
            }
        }
    }
}

/// Why a due job could not be seen to.
enum Trouble {
    Broker(BoxError),
    Store(BoxError),
}

impl From<JobError> for Trouble {
    fn from(err: JobError) -> Self {
        Self::Store(err.into())
    }
}

impl From<BlobError> for Trouble {
    fn from(err: BlobError) -> Self {
        Self::Store(err.into())
    }
}
