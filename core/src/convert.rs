//! Convert: a queued job becomes an MP3, or a reason why there is none.
//!
//! Order: claim the job (a new epoch and a lease) → transcode with heartbeats → store the MP3 under a fresh fid → one
//! compare-and-swap to `done` with the epoch → ring for the mail → settle the delivery. A worker that loses the job on
//! the way deletes its own MP3 and forgets the job.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::AsyncSeekExt;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tracing::field::{self, Empty};
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::adopt::Adopt;
use crate::bell::try_to_ring;
use crate::blob::{BlobError, BlobInfo, BlobMeta, BlobStore, Fid};
use crate::clock::{Clock, since};
use crate::job::{ChangeError, Job, JobId, JobStore, Output, Phase, Policy, State, change};
use crate::queue::{Message, Queue, Settlement};
use crate::quota::Quota;
use crate::retry::Retryable;
use crate::source::BlobSource;
use crate::trace::Place;
use crate::transcode::{Problem, TranscodeError, Transcoded, Transcoder};
use crate::worker::Handler;

/// When a job whose owner has enough of them converted is looked at again.
const NEXT_LOOK: Duration = Duration::from_secs(2);
/// How often a worker says how far it is, and hears whether it still has the job.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// What a job failed of when its attempt took the transcoder down: the codes of [`TranscodeError::is_crash`].
const CRASHES: [&str; 3] = ["crashed", "time_exceeded", "stalled"];

/// Converts the jobs of the `video` queue.
#[derive(Clone)]
pub struct Convert {
    /// Where jobs are kept.
    pub jobs: Arc<dyn JobStore>,
    /// Where videos are read from.
    pub videos: Arc<dyn BlobStore>,
    /// Where MP3s are written to.
    pub mp3s: Arc<dyn BlobStore>,
    /// Whose bell is rung for the mail.
    pub queue: Arc<dyn Queue>,
    /// Does the work.
    pub transcoder: Arc<dyn Transcoder>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The job's measures.
    pub policy: Policy,
    /// What one account may have converted at the same time.
    pub quota: Quota,
    /// Where an MP3 grows until it is stored.
    pub work_dir: PathBuf,
}

#[async_trait]
impl Handler for Convert {
    async fn handle(&self, message: &Message, kill: &CancellationToken) -> Settlement {
        let (jobs, videos) = (&*self.jobs, &*self.videos);
        let adopt = Adopt { jobs, videos, clock: &*self.clock, policy: &self.policy };
        let id = match adopt.job_of(message).await {
            Ok((id, _)) => id,
            Err(settlement) => return settlement,
        };
        let (now, policy) = (self.clock.now(), &self.policy);
        if self.others_come_first(id).await {
            return Settlement::Retry { after: NEXT_LOOK };
        }
        let mut place = Place::of(None);
        let claimed = change(&*self.jobs, id, |job| {
            place = Place::of(job.trace);
            Ok(job.claim(now, policy)?.caused_by(place.here))
        });
        match claimed.await {
            Ok(job) => {
                let span = span(&job, &place);
                self.run(job, kill).instrument(span).await
            }
            // Deleted meanwhile, done by somebody else, or in somebody's hands.
            Err(ChangeError::Gone) => Settlement::Ack,
            Err(ChangeError::NotPossible(_)) => self.not_now(id, now).await,
            Err(ChangeError::Store(err)) => {
                warn!(job.id = %id, error = &err as &dyn std::error::Error, "could not claim a job");
                Settlement::Retry { after: self.policy.backoff.first }
            }
        }
    }
}

/// How an attempt ended.
enum End {
    /// The MP3 lies in a file.
    Made(Transcoded, File),
    /// The job belongs to somebody else now, or to nobody.
    Lost,
    /// Told to give up.
    Killed,
    /// There will never be an MP3.
    Hopeless(Problem),
    /// Another attempt may do better.
    Failed(Problem),
}

/// What the transcoder's thread and the heartbeat tell each other.
#[derive(Default)]
struct Shared {
    give_up: AtomicBool,
    /// In thousandths.
    progress: AtomicU64,
    started: AtomicBool,
}

impl Convert {
    /// Whether enough of its owner's jobs are being converted. Workers that look at the same moment may each take one more.
    async fn others_come_first(&self, id: JobId) -> bool {
        let Some(most) = self.quota.converting else { return false };
        let Ok(Some(job)) = self.jobs.get(id).await else { return false };
        // The seconds of a day are not asked for.
        let usage = self.jobs.usage(job.owner, Timestamp::MAX).await;
        usage.is_ok_and(|usage| usage.converting >= most) && matches!(job.state, State::Queued { .. })
    }

    async fn run(&self, job: Job, kill: &CancellationToken) -> Settlement {
        debug!(job.id = %job.id, attempt = job.attempt, "converting job {}", job.id);
        let end = match self.transcode(&job, kill).await {
            End::Made(transcoded, mp3) => match self.store(&job, transcoded, mp3, kill).await {
                Ok(settlement) => return settlement,
                Err(end) => end,
            },
            end => end,
        };
        match end {
            End::Made(..) | End::Lost => {
                ended("lost");
                Settlement::Ack
            }
            End::Killed => {
                ended("released");
                self.release(&job).await
            }
            End::Hopeless(problem) => self.close(&job, problem, true).await,
            End::Failed(problem) => self.close(&job, problem, false).await,
        }
    }

    /// Runs the transcoder on a blocking thread, with heartbeats beside it.
    async fn transcode(&self, job: &Job, kill: &CancellationToken) -> End {
        let source = match BlobSource::open(Arc::clone(&self.videos), &job.video).await {
            Ok(source) => source,
            Err(BlobError::NotFound(_)) => {
                return End::Hopeless(problem("video_missing", "the uploaded video is no longer there".to_owned()));
            }
            Err(err) => return End::Failed(problem("video_unavailable", err.to_string())),
        };
        let shared = Arc::new(Shared::default());
        let (transcoder, options, dir) = (Arc::clone(&self.transcoder), job.options.clone(), self.work_dir.clone());
        let told = Arc::clone(&shared);
        let span = Span::current();
        let work = tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            let mut source = source;
            let mut sink = tempfile::tempfile_in(dir).map_err(TranscodeError::Sink)?;
            let transcoded = transcoder.transcode(&mut source, &mut sink, &options, &mut |progress| {
                let thousandths = progress.fraction().unwrap_or(0.0) * 1000.0;
                told.progress.store(thousandths as u64, Ordering::Relaxed);
                told.started.store(true, Ordering::Relaxed);
                if told.give_up.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            Ok((transcoded, sink))
        });
        let (done, lost) = self.with_heartbeat(job, &shared, Phase::Transcoding, kill, work).await;
        match done {
            Ok(Ok((transcoded, mp3))) if !lost => End::Made(transcoded, mp3),
            Ok(Ok(_)) => End::Lost,
            Ok(Err(TranscodeError::Cancelled)) => {
                if lost {
                    End::Lost
                } else {
                    End::Killed
                }
            }
            Ok(Err(err)) if err.is_crash() => crashed(job, &err),
            Ok(Err(err)) if err.is_retryable() => {
                warn!(job.id = %job.id, error = &err as &dyn std::error::Error, "an attempt at job {} failed", job.id);
                End::Failed(err.problem())
            }
            Ok(Err(err)) => End::Hopeless(err.problem()),
            // It panicked.
            Err(err) => crashed(job, &TranscodeError::Crashed { detail: err.to_string() }),
        }
    }

    /// Waits for `work` and tells the job's row every second that it goes on. Sets `give_up` when the job is lost or
    /// `kill` fires. Returns what the work gave, and whether the job was lost.
    async fn with_heartbeat<T>(
        &self,
        job: &Job,
        shared: &Shared,
        phase: Phase,
        kill: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> (T, bool) {
        let mut work = std::pin::pin!(work);
        let mut lost = false;
        loop {
            tokio::select! {
                done = &mut work => return (done, lost),
                () = kill.cancelled(), if !shared.give_up.load(Ordering::Relaxed) => {
                    shared.give_up.store(true, Ordering::Relaxed);
                }
                () = tokio::time::sleep(HEARTBEAT), if !lost => {
                    let mut beat = std::pin::pin!(self.beat(job, shared, phase));
                    tokio::select! {
                        done = &mut work => return (done, lost),
                        still_ours = &mut beat => if !still_ours {
                            lost = true;
                            shared.give_up.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
        }
    }

    /// Says in the job's row that the work goes on; returns whether the job is still ours, as far as one can know.
    async fn beat(&self, job: &Job, shared: &Shared, phase: Phase) -> bool {
        let phase = if shared.started.load(Ordering::Relaxed) { phase } else { Phase::Probing };
        let progress = shared.progress.load(Ordering::Relaxed) as f64 / 1000.0;
        let (now, policy) = (self.clock.now(), &self.policy);
        match change(&*self.jobs, job.id, |row| row.beat(job.epoch, phase, progress, now, policy)).await {
            Ok(_) => true,
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => false,
            // Nobody knows. Going on does no harm: if the lease has run out, committing will fail.
            Err(ChangeError::Store(_)) => true,
        }
    }

    /// Stores the MP3 and commits it.
    async fn store(
        &self,
        job: &Job,
        transcoded: Transcoded,
        mp3: File,
        kill: &CancellationToken,
    ) -> Result<Settlement, End> {
        let fid = Fid::random();
        let shared = Shared { progress: AtomicU64::new(1000), started: AtomicBool::new(true), ..Shared::default() };
        let put = self.put(job, &fid, mp3);
        let stored = match self.with_heartbeat(job, &shared, Phase::Storing, kill, put).await {
            (Ok(info), _) => info,
            (Err(err), _) => return Err(End::Failed(problem("mp3_unavailable", err.to_string()))),
        };
        let (duration, bitrate) = (transcoded.duration(), transcoded.bitrate);
        let (size, sha256) = (stored.size, stored.sha256);
        let output = Output { fid, size, sha256, duration: Some(duration), bitrate: Some(bitrate) };
        let (now, policy) = (self.clock.now(), &self.policy);
        let mut already = None;
        let committed = change(&*self.jobs, job.id, |row| {
            already = row.output.as_ref().is_some_and(|output| output.fid == fid).then(|| row.clone());
            row.complete(job.epoch, transcoded.source.clone(), output.clone(), now, policy)
        });
        let committed = match committed.await {
            // Our own change was made, its answer was lost, and the job has gone on since: the MP3 is the job's.
            Err(ChangeError::NotPossible(err)) => already.ok_or(ChangeError::NotPossible(err)),
            committed => committed,
        };
        match committed {
            Ok(done) => {
                let took = job.started_at.map_or(Duration::ZERO, |at| since(now, at));
                info!(job.id = %done.id, size_bytes = stored.size, duration_s = duration, took_ms = took.as_millis(), "converted job {}", done.id);
                ended("done");
                try_to_ring(&*self.queue, &done).await;
                Ok(Settlement::Ack)
            }
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => {
                if let Err(err) = self.mp3s.delete(&fid).await {
                    warn!(job.id = %job.id, error = &err as &dyn std::error::Error, "could not delete a loser's mp3: the collector will");
                }
                Err(End::Lost)
            }
            // Perhaps committed, perhaps not. The blob stays: if no job needs it, the collector takes it.
            Err(ChangeError::Store(err)) => {
                warn!(job.id = %job.id, error = &err as &dyn std::error::Error, "could not commit job {}", job.id);
                Ok(Settlement::Retry { after: self.policy.lease })
            }
        }
    }

    async fn put(&self, job: &Job, fid: &Fid, mp3: File) -> Result<BlobInfo, BlobError> {
        let mut file = tokio::fs::File::from_std(mp3);
        file.rewind().await.map_err(BlobError::Body)?;
        let meta = BlobMeta { job: job.id, content_type: "audio/mpeg".to_owned(), filename: mp3_name(&job.filename) };
        self.mp3s.put(fid, meta, Box::pin(ReaderStream::with_capacity(file, 256 * 1024))).await
    }

    /// Told to give up: the job goes back to the queue, and the attempt doesn't count.
    async fn release(&self, job: &Job) -> Settlement {
        let (now, policy) = (self.clock.now(), &self.policy);
        match change(&*self.jobs, job.id, |row| row.release(job.epoch, now, policy)).await {
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => Settlement::Ack,
            Ok(_) | Err(ChangeError::Store(_)) => Settlement::Retry { after: Duration::ZERO },
        }
    }

    /// The attempt failed, for now or for good.
    async fn close(&self, job: &Job, problem: Problem, hopeless: bool) -> Settlement {
        info!(job.id = %job.id, attempt = job.attempt, code = problem.code, hopeless, "could not convert job {}", job.id);
        Span::current().record("code", field::display(&problem.code));
        let (now, policy) = (self.clock.now(), &self.policy);
        let closed = change(&*self.jobs, job.id, |row| {
            let problem = problem.clone();
            if hopeless {
                row.fail(job.epoch, problem, now, policy)
            } else {
                row.retry_later(job.epoch, problem, now, policy)
            }
        });
        match closed.await {
            Ok(Job { state: State::Queued { not_before }, .. }) => {
                ended("retry");
                Settlement::Retry { after: since(not_before, now) }
            }
            Ok(failed) => {
                ended("failed");
                try_to_ring(&*self.queue, &failed).await;
                Settlement::Ack
            }
            Err(ChangeError::Gone | ChangeError::NotPossible(_)) => Settlement::Ack,
            Err(ChangeError::Store(_)) => Settlement::Retry { after: self.policy.lease },
        }
    }

    /// A delivery that came before the job's time has to come again; any other found nothing to do.
    async fn not_now(&self, id: JobId, now: Timestamp) -> Settlement {
        match self.jobs.get(id).await {
            Ok(Some(Job { state: State::Queued { not_before }, .. })) => {
                Settlement::Retry { after: since(not_before, now).max(Duration::from_millis(10)) }
            }
            Ok(_) => Settlement::Ack,
            Err(_) => Settlement::Retry { after: self.policy.backoff.first },
        }
    }
}

/// An attempt, for the log and for whoever records traces.
fn span(job: &Job, Place { here, parent }: &Place) -> Span {
    info_span!(
        "conversion",
        trace_id = %here.trace,
        span_id = %here.span,
        parent_id = parent.map(field::display),
        job.id = %job.id,
        attempt = job.attempt,
        outcome = Empty,
        code = Empty,
    )
}

/// Says in the attempt's span what became of it.
fn ended(outcome: &'static str) {
    Span::current().record("outcome", outcome);
}

/// The transcoder crashed or hung. Once may be chance; twice it is the video.
fn crashed(job: &Job, err: &TranscodeError) -> End {
    warn!(job.id = %job.id, code = err.code(), error = err as &dyn std::error::Error, "the transcoder crashed on job {}", job.id);
    if job.last_problem.as_ref().is_some_and(|problem| CRASHES.contains(&problem.code.as_str())) {
        return End::Hopeless(problem("poison", "the transcoder crashed or hung twice on this video".to_owned()));
    }
    let detail = match err {
        // How is for the log alone.
        TranscodeError::Crashed { .. } => "the transcoder crashed".to_owned(),
        err => err.to_string(),
    };
    End::Failed(problem(err.code(), detail))
}

fn problem(code: &str, detail: String) -> Problem {
    Problem { code: code.to_owned(), detail }
}

/// `holiday.mkv` becomes `holiday.mp3`.
#[must_use]
pub fn mp3_name(video: &str) -> String {
    let stem = match video.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && ending.len() <= 5 => stem,
        _ => video,
    };
    format!("{}.mp3", if stem.is_empty() { "audio" } else { stem })
}
