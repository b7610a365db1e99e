//! Services that know nothing of jobs on either side of ours: a gateway that stores a video and sends three keys, a
//! converter that stores an MP3 and adds its fid.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use microserve_core::account::AccountId;
use microserve_core::blob::{BlobMeta, BlobStore, Fid};
use microserve_core::conformance::faulty::{Fault, Faulty, Script};
use microserve_core::conformance::transcoder::wav;
use microserve_core::convert::Convert;
use microserve_core::job::{Job, JobError, JobId, JobStore, ListQuery, MailState, Policy, State};
use microserve_core::memory::{FakeTranscoder, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};
use microserve_core::notify::Notify;
use microserve_core::queue::{Message, Settlement};
use microserve_core::quota::{Quota, Usage};
use microserve_core::relay::Relay;
use microserve_core::transcode::Options;
use microserve_core::worker::Handler;
use microserve_core::{Clock, TokioClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const ANNA: &str = "Anna@example.com";

struct World {
    jobs: Arc<MemoryJobs>,
    videos: Arc<MemoryBlobs>,
    mp3s: Arc<MemoryBlobs>,
    mailer: Arc<MemoryMailer>,
    clock: Arc<dyn Clock>,
    convert: Convert,
    notify: Notify,
    relay: Relay,
    _work_dir: tempfile::TempDir,
}

impl World {
    fn new(script: &Script) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
        let jobs = Arc::new(MemoryJobs::default());
        let videos = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
        let mp3s = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
        let (queue, mailer) = (Arc::new(MemoryQueue::default()), Arc::new(MemoryMailer::default()));
        let (policy, work_dir) = (Policy::default(), tempfile::tempdir().unwrap());
        let faulty_jobs = Arc::new(Faulty::new(Arc::clone(&jobs) as Arc<dyn JobStore>, script));
        let faulty_videos = Arc::new(Faulty::new(Arc::clone(&videos) as Arc<dyn BlobStore>, script));
        let faulty_mp3s = Arc::new(Faulty::new(Arc::clone(&mp3s) as Arc<dyn BlobStore>, script));
        let convert = Convert {
            jobs: faulty_jobs.clone(),
            videos: faulty_videos.clone(),
            mp3s: faulty_mp3s.clone(),
            queue: queue.clone(),
            transcoder: Arc::new(FakeTranscoder),
            clock: Arc::clone(&clock),
            policy,
            quota: Quota::default(),
            work_dir: work_dir.path().to_owned(),
        };
        let notify = Notify {
            jobs: faulty_jobs,
            videos: faulty_videos,
            mp3s: faulty_mp3s,
            mailer: mailer.clone(),
            clock: Arc::clone(&clock),
            policy,
            from: "microserve@example.com".parse().unwrap(),
            public_url: "https://example.com".into(),
        };
        let relay = Relay {
            jobs: jobs.clone(),
            videos: videos.clone(),
            mp3s: mp3s.clone(),
            queue,
            clock: Arc::clone(&clock),
            policy,
            every: Duration::from_secs(1),
            collect_every: Duration::from_secs(60),
            orphan_age: Duration::from_secs(60),
        };
        Self { jobs, videos, mp3s, mailer, clock, convert, notify, relay, _work_dir: work_dir }
    }

    /// What a service that knows nothing of jobs stores: a blob that names none.
    async fn foreign(&self, store: &MemoryBlobs, bytes: Vec<u8>) -> Fid {
        let fid = Fid::random();
        let job = JobId::from_bytes(*fid.as_bytes());
        let meta = BlobMeta { job, content_type: "application/octet-stream".into(), filename: String::new() };
        store.put(&fid, meta, stream::iter([Ok(bytes.into())]).boxed()).await.unwrap();
        fid
    }

    /// A job of ours that waits for a converter.
    async fn queued(&self) -> Job {
        let (now, policy) = (self.clock.now(), Policy::default());
        let email = ANNA.parse().unwrap();
        let job = Job::new(AccountId::random(), email, "holiday.wav".into(), Options::default(), now, &policy);
        let meta = BlobMeta { job: job.id, content_type: "audio/wav".into(), filename: "holiday.wav".into() };
        let video = stream::iter([Ok(wav(1, 4410).into())]).boxed();
        let size = self.videos.put(&job.video, meta, video).await.unwrap().size;
        self.jobs.insert(&job).await.unwrap();
        self.jobs.update(job.accept(size, now, &policy).unwrap()).await.unwrap()
    }

    /// Delivers a message until it is settled for good, with the relay beside it.
    async fn deliver(&self, handler: &dyn Handler, body: &Value) -> Settlement {
        let message = Message::new("", serde_json::to_vec(body).unwrap());
        for _ in 0..20 {
            match handler.handle(&message, &CancellationToken::new()).await {
                Settlement::Retry { after } => {
                    tokio::time::advance(after + Duration::from_millis(1)).await;
                    self.relay.tick().await.unwrap();
                }
                settlement => return settlement,
            }
        }
        panic!("the message is delivered for ever: {body}");
    }

    async fn job(&self, id: JobId) -> Job {
        self.jobs.get(id).await.unwrap().expect("there is a job")
    }

    /// The fids of the MP3s that are ours.
    async fn our_mp3s(&self, theirs: &[Fid]) -> Vec<Fid> {
        let all = self.mp3s.list(None, 100).await.unwrap();
        all.into_iter().map(|info| info.fid).filter(|fid| !theirs.contains(fid)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_video_of_another_gateway_becomes_an_mp3_and_a_mail() {
    let world = World::new(&Script::new());
    let video = world.foreign(&world.videos, wav(1, 4410)).await;
    let message = json!({"video_fid": video.to_string(), "mp3_fid": null, "username": ANNA});
    // At least once means twice.
    for _ in 0..2 {
        assert_eq!(world.deliver(&world.convert, &message).await, Settlement::Ack);
    }
    let id = JobId::from_bytes(*video.as_bytes());
    let job = world.job(id).await;
    assert_eq!((&job.state, job.attempt, &*job.filename), (&State::Done, 1, "video"));
    assert_eq!(job.owner, AccountId::adopted(&"anna@EXAMPLE.com".parse().unwrap()));
    assert_eq!(world.our_mp3s(&[]).await, [*job.mp3().unwrap()]);

    let told = json!({"video_fid": video.to_string(), "mp3_fid": job.mp3().unwrap().to_string(), "username": ANNA, "job_id": id.to_string()});
    assert_eq!(world.deliver(&world.notify, &told).await, Settlement::Ack);
    let mails = world.mailer.mails();
    assert!(mails.len() == 1 && mails[0].text.contains(&format!("File ID: {}", job.mp3().unwrap())), "{mails:?}");
}

#[tokio::test(start_paused = true)]
async fn an_mp3_of_another_converter_becomes_the_jobs() {
    let world = World::new(&Script::new());
    let job = world.queued().await;
    let theirs = world.foreign(&world.mp3s, b"ID3 theirs".to_vec()).await;
    let message = json!({
        "video_fid": job.video.to_string(), "mp3_fid": theirs.to_string(), "username": ANNA,
        "job_id": job.id.to_string(), "v": 1,
    });
    for _ in 0..2 {
        assert_eq!(world.deliver(&world.notify, &message).await, Settlement::Ack);
    }
    let done = world.job(job.id).await;
    let output = done.output.as_ref().unwrap();
    assert_eq!((&done.state, output.size, output.bitrate), (&State::Done, 10, None));
    assert!(matches!(done.mail, MailState::Sent { .. }), "{:?}", done.mail);
    assert_eq!(world.our_mp3s(&[theirs]).await, [output.fid]);
    let mails = world.mailer.mails();
    assert!(mails.len() == 1 && mails[0].text.contains(&output.fid.to_string()), "{mails:?}");
    // A bell that rings late finds nothing to convert.
    let late = json!({"video_fid": job.video.to_string(), "username": ANNA, "job_id": job.id.to_string()});
    assert_eq!(world.deliver(&world.convert, &late).await, Settlement::Ack);
    assert_eq!(world.job(job.id).await.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_lost_its_job_on_the_way_is_about_it_all_the_same() {
    let world = World::new(&Script::new());
    let job = world.queued().await;
    let theirs = world.foreign(&world.mp3s, b"ID3 theirs".to_vec()).await;
    let message =
        json!({"video_fid": job.video.to_string(), "mp3_fid": theirs.to_string(), "username": "else@example.com"});
    assert_eq!(world.deliver(&world.notify, &message).await, Settlement::Ack);
    let done = world.job(job.id).await;
    assert_eq!((&done.state, done.owner), (&State::Done, job.owner));
    assert_eq!(world.mailer.mails()[0].to, job.email, "the mail goes to the owner, whatever the message says");
}

#[tokio::test(start_paused = true)]
async fn gateway_and_converter_may_both_be_others() {
    let world = World::new(&Script::new());
    let video = world.foreign(&world.videos, wav(1, 4410)).await;
    let theirs = world.foreign(&world.mp3s, b"ID3 theirs".to_vec()).await;
    let message = json!({"video_fid": video.to_string(), "mp3_fid": theirs.to_string(), "username": ANNA});
    assert_eq!(world.deliver(&world.notify, &message).await, Settlement::Ack);
    assert_eq!(world.job(JobId::from_bytes(*video.as_bytes())).await.state, State::Done);
    assert_eq!(world.mailer.mails().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn messages_about_nothing_are_dead_letters() {
    let world = World::new(&Script::new());
    let video = world.foreign(&world.videos, wav(1, 4410)).await.to_string();
    let (nowhere, job) = (Fid::random().to_string(), world.queued().await);
    let (ours, id) = (job.video.to_string(), job.id.to_string());
    for (message, reason) in [
        (json!({"video_fid": nowhere, "username": ANNA}), "no such video"),
        (json!({"video_fid": "12", "username": ANNA}), "video_fid"),
        (json!({"video_fid": video, "username": "root"}), "username"),
        (json!({"video_fid": ours, "job_id": "x", "username": ANNA}), "job_id"),
        (json!({"video_fid": ours, "job_id": id, "mp3_fid": "x", "username": ANNA}), "mp3_fid"),
        (json!({"video_fid": ours, "job_id": id, "mp3_fid": nowhere, "username": ANNA}), "no such MP3"),
    ] {
        let settlement = world.deliver(&world.notify, &message).await;
        let Settlement::DeadLetter { reason: said } = settlement else { panic!("{message}: {settlement:?}") };
        assert!(said.contains(reason), "{message}: {said}");
    }
    let job = world.job(job.id).await;
    assert!(matches!(job.state, State::Queued { .. }) && job.attempt == 0, "it waits for a better MP3: {job:?}");
}

/// A store in which others act just before and just after us.
struct Crowded {
    inner: Arc<MemoryJobs>,
    /// The same job is inserted by another delivery, between our look and our insert.
    duplicate: bool,
    /// Our commit's answer is lost, and the job has been mailed before we look again.
    hurried: AtomicBool,
}

#[async_trait]
impl JobStore for Crowded {
    async fn insert(&self, job: &Job) -> Result<(), JobError> {
        if self.duplicate {
            self.inner.insert(job).await?;
        }
        self.inner.insert(job).await
    }

    async fn update(&self, job: Job) -> Result<Job, JobError> {
        let updated = self.inner.update(job).await?;
        if updated.state != State::Done || !self.hurried.swap(false, Ordering::Relaxed) {
            return Ok(updated);
        }
        let (now, policy) = (TokioClock::start().now(), Policy::default());
        let sending = self.inner.update(updated.start_mail(now, &policy).unwrap()).await?;
        self.inner.update(sending.mail_sent(now, &policy).unwrap()).await?;
        Err(JobError::Unavailable("the answer is lost".into()))
    }

    async fn get(&self, id: JobId) -> Result<Option<Job>, JobError> {
        self.inner.get(id).await
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Job>, JobError> {
        self.inner.get_many(ids).await
    }

    async fn remove(&self, job: &Job) -> Result<(), JobError> {
        self.inner.remove(job).await
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

#[tokio::test(start_paused = true)]
async fn two_deliveries_at_once_make_one_job() {
    let world = World::new(&Script::new());
    let video = world.foreign(&world.videos, wav(1, 4410)).await;
    let jobs = Arc::new(Crowded { inner: world.jobs.clone(), duplicate: true, hurried: AtomicBool::new(false) });
    let convert = Convert { jobs, ..world.convert.clone() };
    let message = json!({"video_fid": video.to_string(), "mp3_fid": null, "username": ANNA});
    assert_eq!(world.deliver(&convert, &message).await, Settlement::Ack);
    assert_eq!(world.job(JobId::from_bytes(*video.as_bytes())).await.state, State::Done);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_keeps_its_mp3() {
    let world = World::new(&Script::new());
    let job = world.queued().await;
    let theirs = world.foreign(&world.mp3s, b"ID3 theirs".to_vec()).await;
    let jobs = Arc::new(Crowded { inner: world.jobs.clone(), duplicate: false, hurried: AtomicBool::new(true) });
    let notify = Notify { jobs, ..world.notify.clone() };
    let message = json!({
        "video_fid": job.video.to_string(), "mp3_fid": theirs.to_string(), "username": ANNA, "job_id": job.id.to_string(),
    });
    assert_eq!(world.deliver(&notify, &message).await, Settlement::Ack);
    let done = world.job(job.id).await;
    assert_eq!(world.our_mp3s(&[theirs]).await, [*done.mp3().unwrap()], "the MP3 that was committed is there");
}

/// Each operation fails once, before it is done or after it: in the end there is one MP3 and a mail.
#[test]
fn whatever_fails_on_the_way_the_job_ends_with_one_mp3() {
    for fault in [Fault::Before, Fault::After] {
        for theirs in [false, true] {
            for n in 1..40 {
                let script = Script::new().at(n, fault);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
                runtime.unwrap().block_on(one_fault(&script, theirs, &format!("{fault:?} at {n}, theirs: {theirs}")));
                if script.log().len() < n {
                    assert!(n > 8, "there are more operations than {n}");
                    break;
                }
            }
        }
    }
}

async fn one_fault(script: &Script, theirs: bool, what: &str) {
    let world = World::new(script);
    let video = world.foreign(&world.videos, wav(1, 4410)).await;
    let id = JobId::from_bytes(*video.as_bytes());
    let mut message = json!({"video_fid": video.to_string(), "mp3_fid": null, "username": ANNA});
    let mut foreign = Vec::new();
    if theirs {
        foreign.push(world.foreign(&world.mp3s, b"ID3 theirs".to_vec()).await);
        message["mp3_fid"] = foreign[0].to_string().into();
    } else {
        assert_eq!(world.deliver(&world.convert, &message).await, Settlement::Ack, "{what}");
    }
    // The doorbell is lost with whatever was settled too early, and rings again.
    for _ in 0..3 {
        assert_eq!(world.deliver(&world.notify, &message).await, Settlement::Ack, "{what}");
        tokio::time::advance(Duration::from_secs(600)).await;
        world.relay.tick().await.unwrap();
        if !theirs {
            assert_eq!(world.deliver(&world.convert, &message).await, Settlement::Ack, "{what}");
        }
    }
    let job = world.job(id).await;
    assert_eq!(job.state, State::Done, "{what}");
    assert!(!world.mailer.mails().is_empty(), "{what}: nobody was told");
    // What was begun and given up is collected; what is theirs is not ours to judge here.
    world.relay.collect_orphans().await.unwrap();
    assert_eq!(world.our_mp3s(&foreign).await, [*job.mp3().unwrap()], "{what}");
}
