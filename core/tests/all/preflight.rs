//! Uploads are looked at before they are accepted, and only so many at a time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream;
use microserve_core::account::AccountId;
use microserve_core::clock::TokioClock;
use microserve_core::job::{Job, Policy};
use microserve_core::memory::{MemoryBlobs, MemoryJobs, MemoryQueue};
use microserve_core::quota::Quota;
use microserve_core::transcode::{Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder};
use microserve_core::upload::{Incoming, Preflight, Upload, UploadError};
use tokio::sync::Notify;

/// Looks at a file as it is told to, and finds that it is none that can be read.
struct Looks<F>(F);

impl<F: Fn() + Send + Sync> Transcoder for Looks<F> {
    fn probe(&self, _source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        (self.0)();
        Err(TranscodeError::UnsupportedContainer { name: "text".to_owned() })
    }

    fn transcode(
        &self,
        _source: &mut dyn Source,
        _sink: &mut dyn Sink,
        _options: &Options,
        _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        panic!("nobody converts here")
    }
}

fn taking(look: impl Fn() + Send + Sync + 'static, at_a_time: usize) -> Upload {
    Upload {
        jobs: Arc::new(MemoryJobs::default()),
        videos: Arc::new(MemoryBlobs::default()),
        queue: Arc::new(MemoryQueue::default()),
        preflight: Some(Preflight::new(Arc::new(Looks(look)), at_a_time)),
        clock: Arc::new(TokioClock::start()),
        policy: Policy::default(),
        max_bytes: 100,
        quota: Quota::default(),
    }
}

async fn one(upload: &Upload) -> Result<Job, UploadError> {
    let incoming = Incoming {
        owner: AccountId::random(),
        email: "anna@example.com".parse().unwrap(),
        filename: "holiday.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        options: Options::default(),
        key: None,
        trace: None,
        body: Box::pin(stream::iter([Ok("just some words".into())])),
    };
    upload.upload(incoming).await
}

#[tokio::test]
async fn no_more_uploads_are_looked_at_than_there_are_places() {
    // Each look waits for another one: two at a time are there, or the test does not end.
    let (pair, now, most) = (Barrier::new(2), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let look = move || {
        seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        pair.wait();
        now.fetch_sub(1, Ordering::SeqCst);
    };
    let upload = taking(look, 2);
    let outcomes = join_all((0..8).map(|_| one(&upload))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(UploadError::Unusable(_)))), "{outcomes:?}");
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_waits_for_a_place_too_long_is_accepted_unseen() {
    let (begun, (go_on, told)) = (Arc::new(Notify::new()), mpsc::channel::<()>());
    let (begins, told) = (Arc::clone(&begun), Mutex::new(told));
    let look = move || {
        begins.notify_one();
        told.lock().unwrap().recv().unwrap();
    };
    let upload = taking(look, 1);
    let behind = async {
        begun.notified().await;
        tokio::select! {
            outcome = one(&upload) => outcome,
            () = async { loop { tokio::time::advance(Duration::from_secs(1)).await } } => panic!("time ended"),
        }
    };
    let (first, second) = tokio::join!(one(&upload), async {
        let outcome = behind.await;
        go_on.send(()).unwrap();
        outcome
    });
    assert!(matches!(first, Err(UploadError::Unusable(_))), "{first:?}");
    assert!(second.is_ok(), "{second:?}");
}
