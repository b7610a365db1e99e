//! Expectations: how many jobs come before one that waits, and when it will be done, by how fast jobs were converted lately.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::clock::{Clock, later, since};
use crate::job::{Job, JobError, JobStore, ListQuery, State, Status};

/// So many of the last jobs tell the speed.
const LATELY: usize = 32;
/// The speed is measured again after this long, however many ask.
const FRESH: Duration = Duration::from_secs(10);
/// With less of it done, a conversion says nothing about its end.
const TELLING: f64 = 0.05;

/// Tells what to expect.
#[derive(Clone)]
pub struct Expect {
    jobs: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    speed: Arc<Mutex<Option<(Timestamp, Speed)>>>,
}

/// What to expect of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Its place among those that wait: 1 is next.
    pub position: Option<u64>,
    /// When it should be done.
    pub done_at: Option<Timestamp>,
}

/// How fast jobs are converted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Speed {
    /// What one takes.
    one: Duration,
    /// Between the ends of two: less, when several are converted at the same time.
    interval: Duration,
}

impl Expect {
    /// Asks these jobs.
    #[must_use]
    pub fn new(jobs: Arc<dyn JobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { jobs, clock, speed: Arc::default() }
    }

    /// What to expect of a job: nothing, unless it waits or is being converted, and as long as nothing was converted.
    ///
    /// # Errors
    /// [`JobError`], when the store does not tell.
    pub async fn of(&self, job: &Job) -> Result<Expectation, JobError> {
        let now = self.clock.now();
        match &job.state {
            State::Queued { not_before } => {
                let ahead = self.jobs.queued_before(job.created_at).await?;
                let done_at = self.speed(now).await?.map(|speed| {
                    let wait = speed.interval.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
                    later(later(now, wait).max(*not_before), speed.one)
                });
                Ok(Expectation { position: Some(ahead + 1), done_at })
            }
            State::Converting { .. } => {
                let ran = job.started_at.map(|at| since(now, at)).filter(|_| job.progress >= TELLING);
                let done_at = ran.map(|ran| later(now, ran.mul_f64((1.0 - job.progress).max(0.0) / job.progress)));
                Ok(Expectation { position: None, done_at })
            }
            _ => Ok(Expectation::default()),
        }
    }

    /// Whoever asks while it is being measured waits for that.
    async fn speed(&self, now: Timestamp) -> Result<Option<Speed>, JobError> {
        let mut known = self.speed.lock().await;
        if let Some((measured, speed)) = *known
            && since(now, measured) < FRESH
        {
            return Ok(Some(speed));
        }
        let query = ListQuery { owner: None, status: Some(Status::Done), after: None, limit: LATELY };
        let speed = Speed::of(&self.jobs.list(&query).await?);
        *known = speed.map(|speed| (now, speed));
        Ok(speed)
    }
}

impl Speed {
    fn of(done: &[Job]) -> Option<Self> {
        let runs: Vec<_> = done.iter().filter_map(|job| Some((job.started_at?, job.finished_at?))).collect();
        let count = u32::try_from(runs.len()).ok().filter(|count| *count > 0)?;
        let first = runs.iter().map(|run| run.0).min()?;
        let last = runs.iter().map(|run| run.1).max()?;
        let busy: Duration = runs.iter().map(|(started, finished)| since(*finished, *started)).sum();
        // Idle times in between make it too slow, never too fast: then nobody waits anyway.
        let interval = (since(last, first) / count).min(busy / count);
        Some(Self { one: busy / count, interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AccountId;
    use crate::blob::{Fid, Sha256};
    use crate::clock::TokioClock;
    use crate::job::{Output, Policy};
    use crate::memory::MemoryJobs;
    use crate::transcode::{Options, SourceInfo};

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn queued(at: Timestamp) -> Job {
        let policy = Policy::default();
        let email = "anna@example.com".parse().unwrap();
        let job = Job::new(AccountId::random(), email, "a.mp4".into(), Options::default(), at, &policy);
        job.accept(1, at, &policy).unwrap()
    }

    fn done(started: Timestamp, took: Duration) -> Job {
        let output = Output { fid: Fid::random(), size: 1, sha256: Sha256([0; 32]), duration: None, bitrate: None };
        let job = queued(started).claim(started, &Policy::default()).unwrap();
        job.complete(1, SourceInfo::default(), output, later(started, took), &Policy::default()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_for_how_long() {
        let (jobs, clock) = (Arc::new(MemoryJobs::default()), TokioClock::start());
        let expect = Expect::new(Arc::clone(&jobs) as _, Arc::new(clock));
        let start = clock.now();
        let mine = queued(later(start, seconds(3)));
        jobs.insert(&mine).await.unwrap();
        let told = expect.of(&mine).await.unwrap();
        assert_eq!(told, Expectation { position: Some(1), done_at: None }, "nobody knows how fast it goes");
        // Two at a time, each of them for eight seconds.
        for n in 0..4 {
            jobs.insert(&done(later(start, seconds(n / 2 * 8)), seconds(8))).await.unwrap();
        }
        for n in 0..3 {
            jobs.insert(&queued(later(start, seconds(n)))).await.unwrap();
        }
        tokio::time::advance(seconds(20)).await;
        let told = expect.of(&mine).await.unwrap();
        let expected = later(clock.now(), seconds(3 * 4 + 8));
        assert_eq!(told, Expectation { position: Some(4), done_at: Some(expected) });
    }

    #[tokio::test(start_paused = true)]
    async fn what_runs_goes_on_as_it_began() {
        let clock = TokioClock::start();
        let expect = Expect::new(Arc::new(MemoryJobs::default()), Arc::new(clock));
        let (start, policy) = (clock.now(), Policy::default());
        let job = queued(start).claim(start, &policy).unwrap();
        assert_eq!(expect.of(&job).await.unwrap(), Expectation::default());
        tokio::time::advance(seconds(30)).await;
        let job = job.beat(1, crate::job::Phase::Transcoding, 0.25, clock.now(), &policy).unwrap();
        let expected = Expectation { position: None, done_at: Some(later(start, seconds(120))) };
        assert_eq!(expect.of(&job).await.unwrap(), expected);
    }
}
