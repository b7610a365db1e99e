//! Uploads in parts: what the relay makes of those that nobody completes, and what a crash at any place leaves.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use microserve_core::TokioClock;
use microserve_core::account::AccountId;
use microserve_core::blob::{BlobMeta, BlobStore, Fid};
use microserve_core::job::{Job, JobStore, Parts, Policy, change};
use microserve_core::memory::{MemoryBlobs, MemoryJobs, MemoryQueue};
use microserve_core::quota::Quota;
use microserve_core::relay::Relay;
use microserve_core::transcode::Options;
use microserve_core::upload::{Beginning, Upload, UploadError};

const HOUR: Duration = Duration::from_secs(60 * 60);

struct World {
    upload: Upload,
    relay: Relay,
    jobs: Arc<MemoryJobs>,
    videos: Arc<MemoryBlobs>,
}

impl World {
    fn new() -> Self {
        let (jobs, videos) = (Arc::new(MemoryJobs::default()), Arc::new(MemoryBlobs::default()));
        let (queue, clock, policy) =
            (Arc::new(MemoryQueue::default()), Arc::new(TokioClock::start()), Policy::default());
        let upload = Upload {
            jobs: jobs.clone(),
            videos: videos.clone(),
            queue: queue.clone(),
            preflight: None,
            clock: clock.clone(),
            policy,
            max_bytes: 1 << 20,
            quota: Quota::default(),
        };
        let relay = Relay {
            jobs: jobs.clone(),
            videos: videos.clone(),
            mp3s: Arc::new(MemoryBlobs::default()),
            queue,
            clock,
            policy,
            every: Duration::from_secs(1),
            collect_every: HOUR,
            // The store in memory has a clock of its own.
            orphan_age: Duration::ZERO,
        };
        Self { upload, relay, jobs, videos }
    }

    /// An upload of ten bytes, with so many parts of a byte.
    async fn begun(&self, parts: usize) -> Job {
        let beginning = Beginning {
            owner: AccountId::random(),
            email: "anna@example.com".parse().unwrap(),
            filename: "a.mp4".to_owned(),
            options: Options::default(),
            parts: Parts { length: Some(10), ..Parts::default() },
            trace: None,
        };
        let mut job = self.upload.begin(beginning).await.unwrap();
        for _ in 0..parts {
            job = self.append(&job, b"x").await.unwrap();
        }
        job
    }

    async fn append(&self, job: &Job, bytes: &'static [u8]) -> Result<Job, UploadError> {
        self.upload.append(job, stream::iter([Ok(bytes.into())]).boxed()).await
    }

    async fn left(&self) -> (usize, usize) {
        let rows = self.jobs.due(jiff::Timestamp::MAX, 100).await.unwrap().len();
        (rows, self.videos.list(None, 100).await.unwrap().len())
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_not_gone_on_with_for_a_day_is_gone() {
    let world = World::new();
    let job = world.begun(3).await;
    tokio::time::advance(23 * HOUR).await;
    world.relay.tick().await.unwrap();
    world.relay.collect_orphans().await.unwrap();
    assert_eq!(world.left().await, (1, 3));
    // Each part starts the day anew.
    world.append(&job, b"y").await.unwrap();
    tokio::time::advance(23 * HOUR).await;
    world.relay.tick().await.unwrap();
    assert_eq!(world.left().await, (1, 4));
    tokio::time::advance(HOUR).await;
    world.relay.tick().await.unwrap();
    assert_eq!(world.left().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_cancelled_upload_go_at_once() {
    let world = World::new();
    let job = world.begun(3).await;
    let (now, policy) = (world.upload.clock.now(), Policy::default());
    change(&*world.jobs, job.id, |job| job.cancel(now, &policy)).await.unwrap();
    world.relay.tick().await.unwrap();
    assert_eq!(world.left().await, (1, 0), "the cancelled job is kept for its owner to see");
    assert!(matches!(world.append(&job, b"late").await, Err(UploadError::Elsewhere)));
    assert_eq!(world.left().await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_left_half_done_when_it_died_is_collected() {
    let world = World::new();
    let job = world.begun(3).await;
    // It had stored a part, or joined all of them, and not said so.
    let meta = BlobMeta { job: job.id, content_type: String::new(), filename: String::new() };
    world.videos.put(&Fid::random(), meta, stream::iter([Ok("part".into())]).boxed()).await.unwrap();
    assert_eq!(world.relay.collect_orphans().await.unwrap(), 1);
    assert_eq!(world.left().await, (1, 3));

    let done = world.append(&job, b"1234567").await.unwrap();
    assert_eq!((done.status().as_str(), done.video_size), ("queued", Some(10)));
    assert_eq!(world.left().await, (1, 1));
    assert_eq!(world.relay.collect_orphans().await.unwrap(), 0);
    let video = world.videos.get(&done.video, None).await.unwrap().body;
    let bytes: Vec<_> = video.map(|piece| piece.unwrap()).collect().await;
    assert_eq!(bytes.concat(), b"xxx1234567");
}

#[tokio::test(start_paused = true)]
async fn whoever_completes_what_has_gone_on_meanwhile_is_told_where_it_is() {
    let world = World::new();
    let stale = world.begun(0).await;
    let job = world.append(&stale, b"xxxx").await.unwrap();
    assert!(matches!(world.append(&stale, b"0123456789").await, Err(UploadError::Elsewhere)));
    assert_eq!(world.left().await, (1, 1), "only the part that counts is kept");
    assert_eq!(world.append(&job, b"456789").await.unwrap().status().as_str(), "queued");
}
