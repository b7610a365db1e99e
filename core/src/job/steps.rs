//! The steps of a job's life: from a job and the time to the next job, or to why not.

use jiff::Timestamp;

use super::{Job, JobId, MailState, NotPossible, Output, Phase, Policy, State, Status, Step};
use crate::account::{AccountId, Email};
use crate::blob::{BlobInfo, Fid};
use crate::clock::later;
use crate::link::LinkKey;
use crate::queue::QueueName;
use crate::quota::DAY;
use crate::trace::TraceContext;
use crate::transcode::{Options, Problem, SourceInfo};

impl Job {
    /// A job whose video begins to arrive.
    #[must_use]
    pub fn new(owner: AccountId, email: Email, filename: String, options: Options, now: Timestamp, p: &Policy) -> Self {
        Self {
            id: JobId::random(),
            version: 0,
            owner,
            email,
            filename,
            options,
            request: None,
            trace: None,
            parts: None,
            video: Fid::random(),
            video_size: None,
            video_gone: false,
            state: State::Uploading { seen_at: now },
            epoch: 0,
            attempt: 0,
            progress: 0.0,
            rings: 0,
            due_at: None,
            source: None,
            output: None,
            link_key: Some(LinkKey::random()),
            last_problem: None,
            mail: MailState::None,
            created_at: now,
            accepted_at: None,
            started_at: None,
            finished_at: None,
        }
        .rescheduled(now, p)
    }

    /// A job for a video that another service has stored: accepted when it was. Its id is the video's fid.
    #[must_use]
    pub fn adopted(video: &BlobInfo, email: Email, now: Timestamp, p: &Policy) -> Self {
        let filename = if video.meta.filename.is_empty() { "video" } else { &video.meta.filename };
        let owner = AccountId::adopted(&email);
        let job = Self::new(owner, email, filename.to_owned(), Options::default(), now, p);
        let job = Self {
            id: JobId::from_bytes(*video.fid.as_bytes()),
            video: video.fid,
            video_size: Some(video.size),
            accepted_at: Some(now),
            ..job
        };
        job.enter(State::Queued { not_before: now }, now, p)
    }

    /// The same job in the trace of `cause`, unless it is in one already.
    #[must_use]
    pub fn caused_by(self, cause: TraceContext) -> Self {
        Self { trace: self.trace.or(Some(cause)), ..self }
    }

    /// Where it stands, without details.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Uploading { .. } => Status::Uploading,
            State::Queued { .. } => Status::Queued,
            State::Converting { .. } => Status::Converting,
            State::Done => Status::Done,
            State::Failed { .. } => Status::Failed,
            State::Cancelled => Status::Cancelled,
            State::Expired => Status::Expired,
            State::Deleted => Status::Deleted,
        }
    }

    /// The queue whose workers have to do something about this job; `None` if nobody has.
    #[must_use]
    pub fn bell(&self) -> Option<QueueName> {
        match self.state {
            State::Queued { .. } => Some(QueueName::VIDEO),
            State::Done | State::Failed { .. } if self.mail.is_pending() => Some(QueueName::MP3),
            _ => None,
        }
    }

    /// Whether this job still needs the blob `fid`; one that no job needs is an orphan.
    #[must_use]
    pub fn needs(&self, fid: &Fid) -> bool {
        let video = self.video == *fid && !self.video_gone && self.state != State::Deleted;
        let is_part = || self.unfinished().is_some_and(|parts| parts.stored.iter().any(|part| part.fid == *fid));
        video || self.mp3() == Some(fid) || is_part()
    }

    /// The MP3's fid, while the MP3 can be downloaded.
    #[must_use]
    pub fn mp3(&self) -> Option<&Fid> {
        (self.state == State::Done).then_some(self.output.as_ref().map(|o| &o.fid))?
    }

    /// The uploader is still at it.
    ///
    /// # Errors
    /// [`NotPossible`] unless uploading.
    pub fn keep_uploading(mut self, now: Timestamp, p: &Policy) -> Step {
        let State::Uploading { seen_at } = &mut self.state else { return Err(self.cannot("uploaded")) };
        *seen_at = now;
        Ok(self.rescheduled(now, p))
    }

    /// The video is stored: the job is accepted, and its bell is to be rung.
    ///
    /// # Errors
    /// [`NotPossible`] unless uploading.
    pub fn accept(mut self, size: u64, now: Timestamp, p: &Policy) -> Step {
        if !matches!(self.state, State::Uploading { .. }) {
            return Err(self.cannot("accepted"));
        }
        self.video_size = Some(size);
        self.accepted_at = Some(now);
        Ok(self.enter(State::Queued { not_before: now }, now, p))
    }

    /// A worker takes it: a new epoch and attempt begin.
    ///
    /// # Errors
    /// [`NotPossible`] unless queued and its time has come.
    pub fn claim(mut self, now: Timestamp, p: &Policy) -> Step {
        match self.state {
            State::Queued { not_before } if not_before <= now => {}
            _ => return Err(self.cannot("claimed")),
        }
        self.epoch += 1;
        self.attempt += 1;
        self.progress = 0.0;
        self.started_at = Some(now);
        let lease_until = later(now, p.lease);
        Ok(self.enter(State::Converting { lease_until, phase: Phase::Probing }, now, p))
    }

    /// The worker of `epoch` is still at it.
    ///
    /// # Errors
    /// [`NotPossible`] when it has lost the job.
    pub fn beat(mut self, epoch: u32, phase: Phase, progress: f64, now: Timestamp, p: &Policy) -> Step {
        self.held_by(epoch, "kept")?;
        self.progress = progress.clamp(0.0, 1.0);
        self.state = State::Converting { lease_until: later(now, p.lease), phase };
        Ok(self.rescheduled(now, p))
    }

    /// The worker of `epoch` has made the MP3.
    ///
    /// # Errors
    /// [`NotPossible`] when it has lost the job.
    pub fn complete(mut self, epoch: u32, source: SourceInfo, output: Output, now: Timestamp, p: &Policy) -> Step {
        self.held_by(epoch, "completed")?;
        self.source = Some(source);
        self.output = Some(output);
        self.progress = 1.0;
        self.last_problem = None;
        Ok(self.finish(State::Done, MailState::due(now), now, p))
    }

    /// The worker of `epoch` found that there can be no MP3.
    ///
    /// # Errors
    /// [`NotPossible`] when it has lost the job.
    pub fn fail(self, epoch: u32, problem: Problem, now: Timestamp, p: &Policy) -> Step {
        self.held_by(epoch, "failed")?;
        Ok(self.finish(State::Failed { problem }, MailState::due(now), now, p))
    }

    /// The attempt of `epoch` failed in a way that may pass: queued again after a while, or failed for good when the
    /// attempts are used up.
    ///
    /// # Errors
    /// [`NotPossible`] when the worker has lost the job.
    pub fn retry_later(mut self, epoch: u32, problem: Problem, now: Timestamp, p: &Policy) -> Step {
        self.held_by(epoch, "retried")?;
        if self.is_used_up(now, p) {
            return self.fail(epoch, problem, now, p);
        }
        self.last_problem = Some(problem);
        let not_before = later(now, p.backoff.delay(self.attempt, self.seed()));
        Ok(self.enter(State::Queued { not_before }, now, p))
    }

    /// The worker of `epoch` is being shut down and gives the job back: that costs no attempt.
    ///
    /// # Errors
    /// [`NotPossible`] when it has lost the job.
    pub fn release(mut self, epoch: u32, now: Timestamp, p: &Policy) -> Step {
        self.held_by(epoch, "released")?;
        self.attempt -= 1;
        Ok(self.enter(State::Queued { not_before: now }, now, p))
    }

    /// The worker was silent for longer than its lease: it crashed, froze or was cut off. Somebody else may go on at
    /// once, unless the attempts are used up.
    ///
    /// # Errors
    /// [`NotPossible`] unless converting with a lease that has run out.
    pub fn lose_lease(self, now: Timestamp, p: &Policy) -> Step {
        match self.state {
            State::Converting { lease_until, .. } if lease_until <= now => {}
            _ => return Err(self.cannot("taken from its worker")),
        }
        if self.is_used_up(now, p) {
            let problem = Problem {
                code: "poison".to_owned(),
                detail: format!("{} workers stopped without a word while converting this video", self.attempt),
            };
            return Ok(self.finish(State::Failed { problem }, MailState::due(now), now, p));
        }
        Ok(self.enter(State::Queued { not_before: now }, now, p))
    }

    /// The owner doesn't want it any more. A worker that has it loses it.
    ///
    /// # Errors
    /// [`NotPossible`] when it is final already.
    pub fn cancel(mut self, now: Timestamp, p: &Policy) -> Step {
        if self.status().is_final() {
            return Err(self.cannot("cancelled"));
        }
        self.epoch += 1;
        Ok(self.finish(State::Cancelled, MailState::None, now, p))
    }

    /// It is to run again, as if it had only now been uploaded: with all its attempts, and a mail at its new end.
    ///
    /// # Errors
    /// [`NotPossible`] unless it failed or was cancelled and its video is still there, or while its mail goes out.
    pub fn retry(mut self, now: Timestamp, p: &Policy) -> Step {
        if !matches!(self.state, State::Failed { .. } | State::Cancelled) {
            return Err(self.cannot("retried"));
        }
        if self.video_gone || self.video_size.is_none() {
            return Err(self.cannot("retried: its video is not there, and has to be uploaded again"));
        }
        // What becomes of that mail would be taken for what becomes of the next.
        if matches!(self.mail, MailState::Sending { .. }) {
            return Err(self.cannot("retried while its mail goes out: try again in a moment"));
        }
        self.attempt = 0;
        self.progress = 0.0;
        self.last_problem = None;
        self.mail = MailState::None;
        self.accepted_at = Some(now);
        self.started_at = None;
        self.finished_at = None;
        Ok(self.enter(State::Queued { not_before: now }, now, p))
    }

    /// The owner deletes it with its files.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is final, or deleted already.
    pub fn delete(self, now: Timestamp, p: &Policy) -> Step {
        if !self.status().is_final() || self.state == State::Deleted {
            return Err(self.cannot("deleted"));
        }
        Ok(self.enter(State::Deleted, now, p))
    }

    /// Links to its MP3 can be made again, after they were revoked.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is done.
    pub fn allow_links(mut self) -> Step {
        if self.state != State::Done {
            return Err(self.cannot("linked to"));
        }
        self.link_key.get_or_insert_with(LinkKey::random);
        Ok(self)
    }

    /// All links to its MP3 end.
    ///
    /// # Errors
    /// None: that there are none is as good.
    pub fn revoke_links(mut self) -> Step {
        self.link_key = None;
        Ok(self)
    }

    /// Its files are gone. Until a day after it was made, the row stays for the owner's quota, with nothing personal in it.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is deleted.
    pub fn bury(mut self, now: Timestamp, p: &Policy) -> Step {
        if self.state != State::Deleted {
            return Err(self.cannot("buried"));
        }
        self.filename = String::new();
        self.email = Email::nobody();
        self.options = Options::default();
        self.last_problem = None;
        self.trace = None;
        self.parts = None;
        self.link_key = None;
        self.source = self.source.map(|source| SourceInfo { title: None, ..source });
        let mut job = self.rescheduled(now, p);
        job.due_at = Some(later(job.created_at, DAY).max(now));
        Ok(job)
    }

    /// The relay has rung the bell.
    ///
    /// # Errors
    /// [`NotPossible`] when there is no bell to ring.
    pub fn rang(mut self, now: Timestamp, p: &Policy) -> Step {
        if self.bell().is_none() {
            return Err(self.cannot("announced"));
        }
        self.rings = self.rings.saturating_add(1);
        Ok(self.rescheduled(now, p))
    }

    /// The relay could do nothing for it right now: others come first for a while. Nothing else changes.
    ///
    /// # Errors
    /// [`NotPossible`] when the relay has nothing to do for it.
    pub fn put_off(mut self, now: Timestamp, p: &Policy) -> Step {
        let Some(due_at) = self.due_at else { return Err(self.cannot("put off")) };
        self.due_at = Some(due_at.max(later(now, p.ring_again.delay(1, self.seed()))));
        Ok(self)
    }

    /// The video's blob has been deleted, as the retention wants it.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is final.
    pub fn forget_video(mut self, now: Timestamp, p: &Policy) -> Step {
        if !self.status().is_final() {
            return Err(self.cannot("stripped of its video"));
        }
        self.video_gone = true;
        Ok(self.rescheduled(now, p))
    }

    /// The MP3 is no longer to be had, as the retention wants it.
    ///
    /// # Errors
    /// [`NotPossible`] unless done.
    pub fn expire(self, now: Timestamp, p: &Policy) -> Step {
        if self.state != State::Done {
            return Err(self.cannot("expired"));
        }
        Ok(self.enter(State::Expired, now, p))
    }

    /// Nothing changes, but the relay's date is worked out anew: the retention may be another than when it was set.
    ///
    /// # Errors
    /// [`NotPossible`] unless it is final.
    pub fn retained(self, now: Timestamp, p: &Policy) -> Step {
        if !self.status().is_final() {
            return Err(self.cannot("retained"));
        }
        Ok(self.rescheduled(now, p))
    }

    /// When the retention wants the video deleted.
    #[must_use]
    pub fn video_expires_at(&self, p: &Policy) -> Option<Timestamp> {
        if self.video_gone { None } else { Some(later(self.finished_at?, p.keep_videos?)) }
    }

    /// When the retention wants the MP3 deleted.
    #[must_use]
    pub fn mp3_expires_at(&self, p: &Policy) -> Option<Timestamp> {
        if self.state == State::Done { Some(later(self.finished_at?, p.keep_mp3s?)) } else { None }
    }

    /// What the jitter of this job's waits is made from.
    fn seed(&self) -> u64 {
        self.id.as_bytes().iter().fold(0, |seed, byte| seed.rotate_left(8) ^ u64::from(*byte))
    }

    fn is_used_up(&self, now: Timestamp, p: &Policy) -> bool {
        let too_old = self.accepted_at.is_some_and(|at| later(at, p.give_up_after) <= now);
        self.attempt >= p.attempts || too_old
    }

    fn held_by(&self, epoch: u32, step: &'static str) -> Result<(), NotPossible> {
        let held = matches!(self.state, State::Converting { .. }) && self.epoch == epoch;
        if held { Ok(()) } else { Err(self.cannot(step)) }
    }

    pub(crate) fn cannot(&self, step: &'static str) -> NotPossible {
        NotPossible { status: self.status(), step }
    }

    fn finish(mut self, state: State, mail: MailState, now: Timestamp, p: &Policy) -> Self {
        self.finished_at = Some(now);
        self.mail = mail;
        self.enter(state, now, p)
    }

    fn enter(mut self, state: State, now: Timestamp, p: &Policy) -> Self {
        self.state = state;
        self.rings = 0;
        self.rescheduled(now, p)
    }

    /// Works out `due_at`: the one place that says when a silent job needs the relay.
    pub(super) fn rescheduled(mut self, now: Timestamp, p: &Policy) -> Self {
        let ring = |not_before: Timestamp| later(not_before.max(now), p.ring_again.delay(self.rings + 1, self.seed()));
        self.due_at = match &self.state {
            State::Uploading { seen_at } if self.parts.is_some() => Some(later(*seen_at, p.resume_ttl)),
            State::Uploading { seen_at } => Some(later(*seen_at, p.upload_ttl)),
            State::Queued { not_before } => Some(ring(*not_before)),
            State::Converting { lease_until, .. } => Some(*lease_until),
            State::Deleted => Some(now),
            State::Cancelled if self.stored_parts().next().is_some() => Some(now),
            State::Done | State::Failed { .. } | State::Cancelled | State::Expired => match self.mail {
                MailState::Pending { not_before, .. } if self.bell().is_some() => Some(ring(not_before)),
                MailState::Sending { lease_until, .. } => Some(lease_until),
                _ => [self.video_expires_at(p), self.mp3_expires_at(p)].into_iter().flatten().min(),
            },
        };
        self
    }
}
