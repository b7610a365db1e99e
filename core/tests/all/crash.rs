//! The real use-cases, on adapters that fail: whatever goes wrong, and wherever, no accepted upload is lost, no job has
//! two MP3s, no file is left over, and the owner hears of it.
//!
//! One process uploads, converts, mails and relays, and one fault happens to it: at its first operation, at its second,
//! and so on, until it has fewer. A healthy process goes on. The end is what counts, and two things on the way: an MP3
//! that was committed is never deleted or replaced, nor is the video of a job that still needs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "test code")]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use microserve_core::conformance::faulty::{Fault, Faulty, Script};
use microserve_core::conformance::transcoder::wav;
use microserve_core::convert::Convert;
use microserve_core::events::Event;
use microserve_core::job::{Job, JobError, JobId, JobStore, ListQuery, MailState, Policy, State, Status};
use microserve_core::memory::{FakeTranscoder, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};
use microserve_core::notify::Notify;
use microserve_core::queue::{Queue, QueueName};
use microserve_core::quota::{Quota, Usage};
use microserve_core::relay::Relay;
use microserve_core::upload::{Incoming, Upload};
use microserve_core::worker::Worker;
use microserve_core::{Clock, Shutdown, TokioClock};
use tokio::sync::Notify as Bell;
use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);

fn policy() -> Policy {
    Policy {
        upload_ttl: 2 * MINUTE,
        lease: Duration::from_secs(30),
        mail_lease: MINUTE,
        keep_videos: Some(30 * MINUTE),
        keep_mp3s: None,
        ..Policy::default()
    }
}

/// What outlives every process: the stores, the broker and the mail server.
struct World {
    jobs: Arc<WatchedJobs>,
    videos: Arc<WatchedBlobs>,
    mp3s: Arc<WatchedBlobs>,
    queue: Arc<MemoryQueue>,
    mailer: Arc<MemoryMailer>,
    clock: Arc<TokioClock>,
    owner: AccountId,
    work_dir: tempfile::TempDir,
    wrongs: Wrongs,
}

/// What must never happen, and did.
type Wrongs = Arc<Mutex<Vec<String>>>;

/// Jobs, with an eye on what is done to them.
struct WatchedJobs {
    inner: MemoryJobs,
    /// The MP3 that each job was completed with.
    committed: Mutex<HashMap<JobId, Fid>>,
    wrongs: Wrongs,
}

#[async_trait]
impl JobStore for WatchedJobs {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        self.inner.insert(job).await
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        self.inner.get(id).await
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        self.inner.get_many(ids).await
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        let job = self.inner.update(job).await?;
        if let Some(mp3) = job.mp3() {
            let first = *self.committed.lock().unwrap().entry(job.id).or_insert(*mp3);
            if first != *mp3 {
                self.wrongs.lock().unwrap().push("a job got a second MP3".into());
            }
        }
        Ok(job)
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        let stored = self.inner.get(job.id).await?;
        self.inner.remove(job).await?;
        if stored.is_some_and(|job| job.accepted_at.is_some()) {
            self.wrongs.lock().unwrap().push("an accepted job was removed".into());
        }
        Ok(())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Job>, JobError> {
        self.inner.list(query).await
    }

    async fn due(&self, before: Timestamp, limit: usize) -> Result<Vec<Job>, JobError> {
        self.inner.due(before, limit).await
    }

    async fn usage(&self, owner: AccountId, since: Timestamp) -> Result<Usage, JobError> {
        self.inner.usage(owner, since).await
    }

    async fn queued_before(&self, moment: Timestamp) -> Result<u64, JobError> {
        self.inner.queued_before(moment).await
    }

    async fn ping(&self) -> Result<(), JobError> {
        self.inner.ping().await
    }
}

/// Blobs that take some time to write, with an eye on what is deleted.
struct WatchedBlobs {
    inner: MemoryBlobs,
    put_takes: Duration,
    jobs: Arc<WatchedJobs>,
    wrongs: Wrongs,
}

#[async_trait]
impl BlobStore for WatchedBlobs {
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        tokio::time::sleep(self.put_takes).await;
        self.inner.put(fid, meta, body).await
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        self.inner.head(fid).await
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        self.inner.get(fid, range).await
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        if let Ok(info) = self.inner.head(fid).await {
            let job = self.jobs.inner.get(info.meta.job).await.unwrap();
            // The video of an upload that failed, or of a job that has ended, may go while its row still tells of it.
            let still_needed = |job: &Job| match job.status() {
                Status::Queued | Status::Converting => job.needs(fid),
                Status::Done => job.mp3() == Some(fid),
                _ => false,
            };
            if let Some(job) = job.filter(still_needed) {
                self.wrongs.lock().unwrap().push(format!("a blob was deleted that a job needs: {:?}", job.state));
            }
        }
        self.inner.delete(fid).await
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        self.inner.list(after, limit).await
    }

    async fn ping(&self) -> Result<(), BlobError> {
        self.inner.ping().await
    }
}

impl World {
    fn new() -> Self {
        let wrongs = Wrongs::default();
        let clock = Arc::new(TokioClock::start());
        let inner = MemoryJobs::default();
        let jobs = Arc::new(WatchedJobs { inner, committed: Mutex::default(), wrongs: Arc::clone(&wrongs) });
        let blobs = |secs| {
            Arc::new(WatchedBlobs {
                inner: MemoryBlobs::new(Arc::clone(&clock) as Arc<dyn Clock>),
                put_takes: Duration::from_secs(secs),
                jobs: Arc::clone(&jobs),
                wrongs: Arc::clone(&wrongs),
            })
        };
        Self {
            // Long enough for a sign of life while uploading, and for some heartbeats and an extension while storing.
            videos: blobs(35),
            mp3s: blobs(4),
            queue: Arc::default(),
            mailer: Arc::default(),
            clock,
            owner: AccountId::random(),
            work_dir: tempfile::tempdir().unwrap(),
            wrongs,
            jobs,
        }
    }

    async fn job(&self) -> Option<Job> {
        let query = ListQuery { owner: Some(self.owner), status: None, after: None, limit: 10 };
        let mut jobs = self.jobs.inner.list(&query).await.unwrap();
        assert!(jobs.len() <= 1, "one upload makes one job");
        jobs.pop()
    }

    /// Rings for the job when nobody should: deliveries may come twice, and late.
    async fn ring_for_nothing(&self) {
        if let Some(job) = self.job().await {
            for queue in [QueueName::VIDEO, QueueName::MP3] {
                self.queue.publish(&queue, Event::of(&job).to_message().unwrap()).await.unwrap();
            }
        }
    }

    /// Lets time pass. It stands still while the transcoder's thread is at work, and would for ever if that thread waits
    /// for time to pass: then it is pushed on.
    async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        let (stuck, over) = (Arc::new(Bell::new()), Arc::new(AtomicBool::new(false)));
        let (bell, stop) = (Arc::clone(&stuck), Arc::clone(&over));
        let watchdog = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(20));
                bell.notify_one();
            }
        });
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => break,
                () = stuck.notified() => tokio::time::advance(Duration::from_secs(5)).await,
            }
        }
        over.store(true, Ordering::Relaxed);
        watchdog.thread().unpark();
        watchdog.join().unwrap();
    }
}

/// Everything microserve does, in one process.
struct Process {
    script: Script,
    shutdown: Shutdown,
    upload: Upload,
    relay: Relay,
}

impl Process {
    fn start(world: &World, script: Script) -> Self {
        let jobs: Arc<dyn JobStore> = Arc::new(Faulty::new(Arc::clone(&world.jobs), &script));
        let videos: Arc<dyn BlobStore> = Arc::new(Faulty::new(Arc::clone(&world.videos), &script));
        let mp3s: Arc<dyn BlobStore> = Arc::new(Faulty::new(Arc::clone(&world.mp3s), &script));
        let queue: Arc<dyn Queue> = Arc::new(Faulty::new(Arc::clone(&world.queue), &script));
        let clock: Arc<dyn Clock> = Arc::clone(&world.clock) as _;
        let policy = policy();
        let convert = Convert {
            jobs: Arc::clone(&jobs),
            videos: Arc::clone(&videos),
            mp3s: Arc::clone(&mp3s),
            queue: Arc::clone(&queue),
            transcoder: Arc::new(FakeTranscoder),
            clock: Arc::clone(&clock),
            policy,
            quota: Quota::default(),
            work_dir: world.work_dir.path().to_owned(),
        };
        let notify = Notify {
            jobs: Arc::clone(&jobs),
            videos: Arc::clone(&videos),
            mp3s: Arc::clone(&mp3s),
            mailer: Arc::new(Faulty::new(Arc::clone(&world.mailer), &script)),
            clock: Arc::clone(&clock),
            policy,
            from: "microserve@example.com".parse().unwrap(),
            public_url: "https://example.com".into(),
        };
        let worker = |name, handler| Worker {
            queue: Arc::clone(&queue),
            name,
            parallel: 2,
            extend_every: Duration::from_millis(2500),
            handler,
        };
        let workers = [worker(QueueName::VIDEO, Arc::new(convert) as _), worker(QueueName::MP3, Arc::new(notify) as _)];
        let relay = Relay {
            jobs: Arc::clone(&jobs),
            videos: Arc::clone(&videos),
            mp3s,
            queue: Arc::clone(&queue),
            clock: Arc::clone(&clock),
            policy,
            every: Duration::from_secs(5),
            collect_every: MINUTE,
            orphan_age: 2 * MINUTE,
        };
        let shutdown = Shutdown::new();
        for worker in workers {
            let until = shutdown.clone();
            shutdown.spawn(async move { worker.run(&until).await });
        }
        let (relaying, until) = (relay.clone(), shutdown.clone());
        shutdown.spawn(async move { relaying.run(&until).await });
        let upload = Upload {
            jobs,
            videos,
            queue,
            preflight: None,
            clock,
            policy,
            max_bytes: 1_000_000,
            quota: Quota::default(),
        };
        Self { script, shutdown, upload, relay }
    }

    /// Uploads a video; returns what its sender hears, nothing if the process dies before.
    async fn upload(&self, owner: AccountId) -> Option<bool> {
        let (upload, script) = (self.upload.clone(), self.script.clone());
        let uploading = self.shutdown.spawn(async move {
            let incoming = Incoming {
                owner,
                email: "anna@example.com".parse().unwrap(),
                filename: "holiday.wav".into(),
                content_type: "audio/wav".into(),
                options: Default::default(),
                key: None,
                trace: None,
                body: stream::iter([Ok(wav(1, 4410).into())]).boxed(),
            };
            tokio::select! {
                () = script.crashed() => None,
                answer = upload.upload(incoming) => Some(answer.is_ok()),
            }
        });
        uploading.await.unwrap()
    }

    /// What the operating system does with a dead process: its connections are closed.
    async fn bury_the_dead(&self) {
        self.script.crashed().await;
        self.script.bury();
        self.shutdown.stop().cancel();
        self.shutdown.kill().cancel();
    }
}

/// Who is there besides the process that the fault happens to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Others {
    /// Nobody, until that process has ended: what it leaves behind is found later.
    Later,
    /// A healthy process from the beginning, and bells that ring for nothing.
    AtOnce,
}

/// Plays one life through. Returns how many operations the faulty process has begun.
async fn play(script: Script, others: Others, what: &str) -> usize {
    let world = World::new();
    let faulty = Process::start(&world, script.clone());
    let healthy = (others == Others::AtOnce).then(|| Process::start(&world, Script::new()));
    let mut heard = None;
    {
        let trouble = async {
            for _ in 0..120 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if others == Others::AtOnce {
                    world.ring_for_nothing().await;
                }
            }
        };
        let uploading = async { heard = faulty.upload(world.owner).await };
        let burying = faulty.bury_the_dead().map(|()| ()).fuse();
        let time = world.pass(20 * MINUTE);
        let mut rest = std::pin::pin!(async { tokio::join!(trouble, uploading, time) });
        let mut burying = std::pin::pin!(burying);
        tokio::select! {
            _ = &mut rest => {}
            () = &mut burying => { rest.await; }
        }
    }
    if !script.has_crashed() {
        assert!(faulty.shutdown.drain(MINUTE).await, "{what}: a process that is told to stop must stop");
    }
    let begun = script.log().len();
    script.bury();
    let healthy = healthy.unwrap_or_else(|| Process::start(&world, Script::new()));
    world.pass(20 * MINUTE).await;
    let job = world.job().await;
    assert_end(&world, job.as_ref(), heard, what).await;
    // The retention, and what the collector leaves.
    world.pass(60 * MINUTE).await;
    healthy.relay.collect_orphans().await.unwrap();
    let (videos, mp3s) = (left(&world.videos).await, left(&world.mp3s).await);
    assert_eq!(videos, [], "{what}: the retention takes the video");
    let needed: Vec<Fid> = job.iter().filter_map(|job| job.mp3().copied()).collect();
    assert_eq!(mp3s, needed, "{what}: exactly the MP3 of the job is left");
    assert!(healthy.shutdown.drain(MINUTE).await, "{what}: the healthy process stops when it is told to");
    begun
}

async fn left(store: &WatchedBlobs) -> Vec<Fid> {
    store.inner.list(None, 100).await.unwrap().into_iter().map(|info| info.fid).collect()
}

async fn assert_end(world: &World, job: Option<&Job>, heard: Option<bool>, what: &str) {
    assert_eq!(*world.wrongs.lock().unwrap(), Vec::<String>::new(), "{what}");
    for queue in [QueueName::VIDEO, QueueName::MP3] {
        assert_eq!(world.queue.waiting(&queue), 0, "{what}: a message is left on {queue}");
        assert_eq!(world.queue.waiting(&queue.dead()), 0, "{what}: a message ended on {}", queue.dead());
    }
    let mails = world.mailer.mails();
    let Some(job) = job else {
        assert_ne!(heard, Some(true), "{what}: an accepted upload was lost");
        assert_eq!((left(&world.videos).await.len(), mails.len()), (0, 0), "{what}: a failed upload leaves nothing");
        return;
    };
    assert_eq!(job.state, State::Done, "{what}: the job must be done; its row is {job:?}");
    assert!(matches!(job.mail, MailState::Sent { .. } | MailState::Unknown), "{what}: its mail is {:?}", job.mail);
    let output = job.output.as_ref().unwrap();
    let stored = world.mp3s.inner.head(&output.fid).await;
    let stored = stored.unwrap_or_else(|err| panic!("{what}: the MP3 of a job must be there: {err}"));
    assert_eq!((stored.size, stored.sha256, stored.meta.job), (output.size, output.sha256, job.id), "{what}");
    assert!((1..=2).contains(&mails.len()), "{what}: {} mails were sent", mails.len());
    assert!(mails.iter().all(|mail| *mail == mails[0]), "{what}: a mail is repeated word by word");
}

/// Runs a future on a runtime of its own, whose time is ours.
fn in_no_time<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap().block_on(future)
}

/// Plays a fault at the first operation, the second, and so on to the last.
fn everywhere(fault: Fault, others: Others) {
    let mut n = 0;
    loop {
        n += 1;
        let script = Script::new().at(n, fault);
        let what = format!("{fault:?} at operation {n}, others {others:?}");
        let guard = Named(&what, script.clone());
        let begun = in_no_time(play(script.clone(), others, &what));
        drop(guard);
        // The later operations are those of an idle process, over and over.
        if begun < n || n > 120 {
            break;
        }
    }
    assert!(n > 40, "a life has more than {n} operations");
}

/// Says, when a test fails, what was played and what the process had done until then.
struct Named<'a>(&'a str, Script);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.1.log();
            eprintln!("{}\nlast of {}: {:?}", self.0, log.len(), &log[log.len().saturating_sub(30)..]);
        }
    }
}

#[test]
fn without_faults_there_is_one_mail_and_one_mp3() {
    in_no_time(async {
        let world = World::new();
        let process = Process::start(&world, Script::new());
        assert_eq!(process.upload(world.owner).await, Some(true));
        world.pass(MINUTE).await;
        let job = world.job().await;
        assert_end(&world, job.as_ref(), Some(true), "no faults").await;
        assert_eq!((world.mailer.mails().len(), job.unwrap().attempt), (1, 1));
    });
}

macro_rules! everywhere {
    ($($name:ident: $fault:expr;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn alone() {
                everywhere($fault, Others::Later);
            }

            #[test]
            fn among_others() {
                everywhere($fault, Others::AtOnce);
            }
        }
    )+};
}

everywhere! {
    refused: Fault::Before;
    lost_answer: Fault::After;
    lost_answer_after_a_minute: Fault::TimesOut(Duration::from_secs(70));
    lost_answer_after_ten_minutes: Fault::TimesOut(10 * MINUTE);
    crash_before: Fault::CrashBefore;
    crash_after: Fault::CrashAfter;
    frozen_before: Fault::FreezeBefore(Duration::from_secs(70));
    frozen_after: Fault::FreezeAfter(Duration::from_secs(70));
    frozen_before_for_ten_minutes: Fault::FreezeBefore(10 * MINUTE);
    frozen_after_for_ten_minutes: Fault::FreezeAfter(10 * MINUTE);
}
