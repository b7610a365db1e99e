//! The relay when there is more to do than it looks at in one go, and what it leaves of a deleted job.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use microserve_core::account::AccountId;
use microserve_core::blob::{Fid, Sha256};
use microserve_core::clock::{Clock, SystemClock, TokioClock};
use microserve_core::job::{Job, JobStore, Output, Policy, Status};
use microserve_core::memory::{MemoryBlobs, MemoryJobs};
use microserve_core::queue::{Consumer, Message, Queue, QueueError, QueueName};
use microserve_core::quota::Usage;
use microserve_core::relay::Relay;
use microserve_core::transcode::{Options, SourceInfo};

/// A broker that is down.
struct Down;

#[async_trait]
impl Queue for Down {
    async fn publish(&self, _queue: &QueueName, _message: Message) -> Result<(), QueueError> {
        Err(QueueError::Unavailable("down".into()))
    }

    async fn consume(&self, _queue: &QueueName, _prefetch: u16) -> Result<Box<dyn Consumer>, QueueError> {
        Err(QueueError::Unavailable("down".into()))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Err(QueueError::Unavailable("down".into()))
    }
}

/// A relay of these jobs, which have no files, and whose broker is down.
fn relay(jobs: &Arc<MemoryJobs>, clock: impl Clock + 'static) -> Relay {
    Relay {
        jobs: Arc::clone(jobs) as _,
        videos: Arc::new(MemoryBlobs::default()),
        mp3s: Arc::new(MemoryBlobs::default()),
        queue: Arc::new(Down),
        clock: Arc::new(clock),
        policy: Policy::default(),
        every: Duration::from_secs(1),
        collect_every: Duration::from_secs(600),
        orphan_age: Duration::from_secs(3600),
    }
}

#[tokio::test]
async fn many_jobs_that_cannot_be_announced_do_not_hold_up_a_lost_lease() {
    let (jobs, policy, clock) = (Arc::new(MemoryJobs::default()), Policy::default(), SystemClock);
    let now = clock.now();
    let long_ago = now - Duration::from_secs(3600);
    let new = |at| {
        Job::new(
            AccountId::random(),
            "anna@example.com".parse().unwrap(),
            "a.mp4".into(),
            Options::default(),
            at,
            &policy,
        )
    };
    for _ in 0..1200 {
        let queued = new(long_ago).accept(1, long_ago, &policy).unwrap();
        jobs.insert(&queued).await.unwrap();
    }
    // Its worker died a moment ago, so it is due after all of them.
    let started = now - policy.lease - Duration::from_millis(1);
    let lost = new(started).accept(1, started, &policy).unwrap().claim(started, &policy).unwrap();
    jobs.insert(&lost).await.unwrap();

    let relay = relay(&jobs, clock);
    for _ in 0..3 {
        relay.tick().await.unwrap();
    }
    let lost = jobs.get(lost.id).await.unwrap().unwrap();
    assert_eq!(lost.status(), Status::Queued, "the lease has run out, whatever the broker does");
    // Those that were put off come again soon.
    let due = jobs.due(now + 2 * policy.ring_again.first, 2000).await.unwrap();
    assert_eq!(due.len(), 1201);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_job_counts_for_a_day_and_tells_nothing() {
    let (jobs, policy, clock) = (Arc::new(MemoryJobs::default()), Policy::default(), TokioClock::start());
    let (owner, now, secret) = (AccountId::random(), clock.now(), "secret wedding.mp4");
    let new = || Job::new(owner, "anna@example.com".parse().unwrap(), secret.into(), Options::default(), now, &policy);
    let output =
        Output { fid: Fid::random(), size: 5, sha256: Sha256([0; 32]), duration: Some(90.0), bitrate: Some(128_000) };
    let source = SourceInfo { title: Some(secret.into()), ..SourceInfo::default() };
    let done = new().accept(1, now, &policy).unwrap().claim(now, &policy).unwrap();
    let done = done.complete(1, source, output, now, &policy).unwrap();
    let unheard = new().accept(1, now, &policy).unwrap().cancel(now, &policy).unwrap();
    for job in [&done, &unheard] {
        jobs.insert(&job.clone().delete(now, &policy).unwrap()).await.unwrap();
    }
    let relay = relay(&jobs, clock);
    relay.tick().await.unwrap();
    assert_eq!(jobs.get(unheard.id).await.unwrap(), None, "nothing of it was converted");
    let left = jobs.get(done.id).await.unwrap().unwrap();
    let row = serde_json::to_string(&left).unwrap();
    assert!(!row.contains("secret") && !row.contains("anna"), "{row}");
    assert_eq!(jobs.usage(owner, now).await.unwrap(), Usage { seconds: 90.0, ..Usage::default() });
    tokio::time::advance(Duration::from_secs(24 * 3600 - 1)).await;
    assert_eq!(relay.tick().await.unwrap(), 0, "it is not looked at again and again");
    tokio::time::advance(Duration::from_secs(1)).await;
    relay.tick().await.unwrap();
    assert_eq!(jobs.get(done.id).await.unwrap(), None);
}
