//! One trace from the upload to the mail: in the job's row, and in every message about it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use microserve_core::account::AccountId;
use microserve_core::blob::{BlobMeta, BlobStore, Fid};
use microserve_core::conformance::transcoder::wav;
use microserve_core::convert::Convert;
use microserve_core::events::Event;
use microserve_core::job::{Job, JobId, JobStore, MailState, Policy, Status};
use microserve_core::memory::{FakeTranscoder, MemoryBlobs, MemoryJobs, MemoryMailer, MemoryQueue};
use microserve_core::notify::Notify;
use microserve_core::queue::{Message, Queue, QueueName, Settlement};
use microserve_core::quota::Quota;
use microserve_core::relay::Relay;
use microserve_core::trace::TraceContext;
use microserve_core::transcode::Options;
use microserve_core::upload::{Incoming, Upload};
use microserve_core::worker::Handler;
use microserve_core::{Clock, TokioClock};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

struct World {
    jobs: Arc<MemoryJobs>,
    blobs: Arc<MemoryBlobs>,
    queue: Arc<MemoryQueue>,
    clock: Arc<dyn Clock>,
    upload: Upload,
    convert: Convert,
    notify: Notify,
    relay: Relay,
    _work_dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::start());
        let (jobs, queue) = (Arc::new(MemoryJobs::default()), Arc::new(MemoryQueue::default()));
        let blobs = Arc::new(MemoryBlobs::new(Arc::clone(&clock)));
        let (policy, work_dir) = (Policy::default(), tempfile::tempdir().unwrap());
        let upload = Upload {
            jobs: jobs.clone(),
            videos: blobs.clone(),
            queue: queue.clone(),
            preflight: None,
            clock: Arc::clone(&clock),
            policy,
            max_bytes: 1_000_000,
            quota: Quota::default(),
        };
        let convert = Convert {
            jobs: jobs.clone(),
            videos: blobs.clone(),
            mp3s: blobs.clone(),
            queue: queue.clone(),
            transcoder: Arc::new(FakeTranscoder),
            clock: Arc::clone(&clock),
            policy,
            quota: Quota::default(),
            work_dir: work_dir.path().to_owned(),
        };
        let notify = Notify {
            jobs: jobs.clone(),
            videos: blobs.clone(),
            mp3s: blobs.clone(),
            mailer: Arc::new(MemoryMailer::default()),
            clock: Arc::clone(&clock),
            policy,
            from: "microserve@example.com".parse().unwrap(),
            public_url: "https://example.com".into(),
        };
        let relay = Relay {
            jobs: jobs.clone(),
            videos: blobs.clone(),
            mp3s: blobs.clone(),
            queue: queue.clone(),
            clock: Arc::clone(&clock),
            policy,
            every: Duration::from_secs(1),
            collect_every: Duration::from_secs(600),
            orphan_age: Duration::from_secs(3600),
        };
        Self { jobs, blobs, queue, clock, upload, convert, notify, relay, _work_dir: work_dir }
    }

    async fn uploaded(&self, trace: Option<TraceContext>) -> JobId {
        let incoming = Incoming {
            owner: AccountId::random(),
            email: "anna@example.com".parse().unwrap(),
            filename: "holiday.wav".to_owned(),
            content_type: "audio/wav".to_owned(),
            options: Options::default(),
            key: None,
            trace,
            body: stream::iter([Ok(wav(1, 4410).into())]).boxed(),
        };
        self.upload.upload(incoming).await.unwrap().id
    }

    /// A video and a message of a gateway that knows nothing of jobs.
    async fn foreign(&self, traceparent: Value) -> (JobId, Message) {
        let fid = Fid::random();
        let job = JobId::from_bytes(*fid.as_bytes());
        let meta = BlobMeta { job, content_type: "application/octet-stream".into(), filename: String::new() };
        self.blobs.put(&fid, meta, stream::iter([Ok(wav(1, 4410).into())]).boxed()).await.unwrap();
        let body = json!({"video_fid": fid.to_string(), "mp3_fid": null, "username": "anna@example.com",
            "traceparent": traceparent});
        (job, Message::new("", body.to_string()))
    }

    /// The next message of a queue, whose delivery is not given back.
    async fn taken(&self, queue: &QueueName) -> Message {
        let mut consumer = self.queue.consume(queue, 1).await.unwrap();
        let delivery = consumer.next().await.unwrap();
        delivery.receipt.settle(Settlement::Ack).await.unwrap();
        delivery.message
    }

    async fn handled(&self, handler: &dyn Handler, message: &Message) {
        assert_eq!(handler.handle(message, &CancellationToken::new()).await, Settlement::Ack);
    }

    async fn job(&self, id: JobId) -> Job {
        self.jobs.get(id).await.unwrap().unwrap()
    }
}

fn told(message: &Message) -> Option<TraceContext> {
    Event::from_body(&message.body).unwrap().trace()
}

#[tokio::test(start_paused = true)]
async fn every_message_about_a_job_names_the_request_that_brought_it() {
    let (world, request) = (World::new(), TraceContext::begin());
    let id = world.uploaded(Some(request)).await;
    let first = world.taken(&QueueName::VIDEO).await;
    assert_eq!(told(&first), Some(request));
    // As if that one had been lost: the relay rings again.
    tokio::time::advance(Duration::from_secs(60)).await;
    world.relay.tick().await.unwrap();
    let again = world.taken(&QueueName::VIDEO).await;
    assert_eq!(told(&again), Some(request));
    world.handled(&world.convert, &again).await;
    let mail = world.taken(&QueueName::MP3).await;
    assert_eq!(told(&mail), Some(request));
    world.handled(&world.notify, &mail).await;
    let job = world.job(id).await;
    assert!(matches!(job.mail, MailState::Sent { .. }), "{job:?}");
    assert_eq!(job.trace, Some(request));
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_trace_gets_one_from_its_first_conversion_and_keeps_it() {
    let world = World::new();
    let id = world.uploaded(None).await;
    let first = world.taken(&QueueName::VIDEO).await;
    assert_eq!(told(&first), None);
    world.handled(&world.convert, &first).await;
    let converted = world.job(id).await.trace;
    assert!(converted.is_some());
    let mail = world.taken(&QueueName::MP3).await;
    assert_eq!(told(&mail), converted);
    world.handled(&world.notify, &mail).await;
    assert_eq!(world.job(id).await.trace, converted);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_job_is_in_the_trace_of_the_message_that_told_of_it() {
    let (world, theirs) = (World::new(), TraceContext::begin());
    let (id, message) = world.foreign(json!(theirs.to_string())).await;
    world.handled(&world.convert, &message).await;
    assert_eq!(world.job(id).await.trace, Some(theirs));
    // What is no trace does no harm.
    for nonsense in [json!("00-nonsense"), json!({"x": [1]}), json!(17)] {
        let (id, message) = world.foreign(nonsense).await;
        world.handled(&world.convert, &message).await;
        let job = world.job(id).await;
        assert_eq!((job.status(), job.trace.is_some()), (Status::Done, true));
    }
}

#[tokio::test]
async fn a_row_of_before_there_were_traces_can_be_read() {
    let world = World::new();
    let (now, policy) = (world.clock.now(), Policy::default());
    let email = "anna@example.com".parse().unwrap();
    let job = Job::new(AccountId::random(), email, "a.mp4".into(), Options::default(), now, &policy);
    let traced = job.clone().caused_by(TraceContext::begin());
    let mut row = serde_json::to_value(&traced).unwrap();
    assert_eq!(row["trace"], traced.trace.unwrap().to_string());
    assert_eq!(serde_json::from_value::<Job>(row.clone()).unwrap(), traced);
    row.as_object_mut().unwrap().remove("trace");
    assert_eq!(serde_json::from_value::<Job>(row).unwrap(), job);
}
