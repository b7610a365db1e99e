//! What becomes of a job whose transcoder crashes, hangs, or wants more than it may have.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use microserve_core::account::AccountId;
use microserve_core::clock::{Clock, TokioClock};
use microserve_core::convert::Convert;
use microserve_core::events::Event;
use microserve_core::job::{Job, JobStore, Policy, State};
use microserve_core::memory::{MemoryBlobs, MemoryJobs, MemoryQueue};
use microserve_core::quota::Quota;
use microserve_core::transcode::{
    Limit, Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder,
};
use microserve_core::upload::{Incoming, Upload};
use microserve_core::worker::Handler;
use tokio_util::sync::CancellationToken;

/// Fails each time in the same way.
struct Fails(fn() -> TranscodeError);

impl Transcoder for Fails {
    fn probe(&self, _source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        Err((self.0)())
    }

    fn transcode(
        &self,
        _source: &mut dyn Source,
        _sink: &mut dyn Sink,
        _options: &Options,
        _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        Err((self.0)())
    }
}

/// The codes that a job's attempts end with, until it has failed.
async fn codes(fails: fn() -> TranscodeError) -> Vec<String> {
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
        max_bytes: 100,
        quota: Quota::default(),
    };
    let incoming = Incoming {
        owner: AccountId::random(),
        email: "anna@example.com".parse().unwrap(),
        filename: "holiday.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        options: Options::default(),
        key: None,
        trace: None,
        body: Box::pin(stream::iter([Ok("a video".into())])),
    };
    let job = upload.upload(incoming).await.unwrap();
    let (videos, mp3s, transcoder) = (blobs.clone(), blobs, Arc::new(Fails(fails)));
    let work_dir_path = work_dir.path().to_owned();
    let convert = Convert {
        jobs: jobs.clone(),
        videos,
        mp3s,
        queue,
        transcoder,
        clock,
        policy,
        quota: Quota::default(),
        work_dir: work_dir_path,
    };
    let mut codes = Vec::new();
    loop {
        convert.handle(&Event::of(&job).to_message().unwrap(), &CancellationToken::new()).await;
        let Job { state, last_problem, .. } = jobs.get(job.id).await.unwrap().unwrap();
        match state {
            State::Queued { .. } => codes.push(last_problem.unwrap().code),
            State::Failed { problem, .. } => {
                codes.push(problem.code);
                return codes;
            }
            state => panic!("{state:?}"),
        }
        // Longer than any wait between two attempts.
        tokio::time::advance(Duration::from_secs(60 * 60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_tried_once_more() {
    let crashed = || TranscodeError::Crashed { detail: "it was ended by signal 11".to_owned() };
    assert_eq!(codes(crashed).await, ["crashed", "poison"]);
    assert_eq!(codes(|| panic!("a decoder gave up")).await, ["crashed", "poison"]);
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_tried_once_more() {
    for (hang, code) in [
        ((|| TranscodeError::LimitExceeded { limit: Limit::Silence }) as fn() -> TranscodeError, "stalled"),
        (|| TranscodeError::LimitExceeded { limit: Limit::Time }, "time_exceeded"),
    ] {
        assert_eq!(codes(hang).await, [code, "poison"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_file_alone_is_to_blame_for_is_not_tried_again() {
    for (exceeds, code) in [
        ((|| TranscodeError::LimitExceeded { limit: Limit::Memory }) as fn() -> TranscodeError, "memory_exceeded"),
        (|| TranscodeError::LimitExceeded { limit: Limit::Cpu }, "cpu_exceeded"),
        (|| TranscodeError::LimitExceeded { limit: Limit::Output }, "output_exceeded"),
    ] {
        assert_eq!(codes(exceeds).await, [code]);
    }
}
