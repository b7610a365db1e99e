//! What one account may have converted at the same time.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use microserve_core::account::AccountId;
use microserve_core::clock::{Clock, TokioClock};
use microserve_core::convert::Convert;
use microserve_core::job::{Job, JobStore, Policy, Status, change};
use microserve_core::memory::{FakeTranscoder, MemoryBlobs, MemoryJobs, MemoryQueue};
use microserve_core::queue::{Message, Settlement};
use microserve_core::quota::Quota;
use microserve_core::transcode::Options;
use microserve_core::worker::Handler;
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test(start_paused = true)]
async fn who_has_enough_converted_waits_and_keeps_nobody_else_waiting() {
    let (jobs, policy, clock) = (Arc::new(MemoryJobs::default()), Policy::default(), TokioClock::start());
    let now = clock.now();
    let convert = Convert {
        jobs: jobs.clone(),
        videos: Arc::new(MemoryBlobs::default()),
        mp3s: Arc::new(MemoryBlobs::default()),
        queue: Arc::new(MemoryQueue::default()),
        transcoder: Arc::new(FakeTranscoder),
        clock: Arc::new(clock),
        policy,
        quota: Quota { converting: Some(1), ..Quota::default() },
        work_dir: std::env::temp_dir(),
    };
    let queued = |owner| {
        let email = "anna@example.com".parse().unwrap();
        Job::new(owner, email, "a.wav".into(), Options::default(), now, &policy).accept(1, now, &policy).unwrap()
    };
    let (anna, bea) = (AccountId::random(), AccountId::random());
    let (runs, waits, other) = (queued(anna).claim(now, &policy).unwrap(), queued(anna), queued(bea));
    for job in [&runs, &waits, &other] {
        jobs.insert(job).await.unwrap();
    }
    let deliver = async |job: &Job| {
        let event = json!({
            "video_fid": job.video.to_string(), "mp3_fid": null, "username": "anna@example.com", "job_id": job.id.to_string(),
        });
        convert.handle(&Message::new("", serde_json::to_vec(&event).unwrap()), &CancellationToken::new()).await
    };
    let again = deliver(&waits).await;
    assert!(matches!(again, Settlement::Retry { after } if after <= Duration::from_secs(5)), "{again:?}");
    let stored = jobs.get(waits.id).await.unwrap().unwrap();
    assert_eq!((stored.status(), stored.attempt), (Status::Queued, 0), "waiting is no attempt");
    // There is no video, which is found out only by those whose turn it is.
    assert_eq!(deliver(&other).await, Settlement::Ack);
    assert_eq!(jobs.get(other.id).await.unwrap().unwrap().status(), Status::Failed);
    change(&*jobs, runs.id, |job| job.cancel(now, &policy)).await.unwrap();
    assert_eq!(deliver(&waits).await, Settlement::Ack);
    assert_eq!(jobs.get(waits.id).await.unwrap().unwrap().attempt, 1);
}
