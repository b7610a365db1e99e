//! People who upload again and again, whatever happens, and remember what they were promised.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use microserve_testkit::media;
use reqwest::StatusCode;
use reqwest::multipart::{Form, Part};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::common::Client;

/// How long the videos are.
pub const SECONDS: u32 = 2;
/// An upload that takes longer hangs: every wait behind it is bounded.
const PATIENCE: Duration = Duration::from_secs(45);

/// What may become of an upload besides 202 and 503.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// It lives: it always answers.
    Stays,
    /// It is killed: connections break.
    Dies,
}

pub struct Load {
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    uploaders: Vec<JoinHandle<()>>,
}

#[derive(Default)]
pub struct Counts {
    pub acknowledged: Mutex<Vec<String>>,
    /// Jobs that are looked after elsewhere.
    pub aside: Mutex<Vec<String>>,
    pub put_off: AtomicUsize,
    pub broken: AtomicUsize,
}

impl Load {
    /// Starts so many people, who rest between uploads.
    pub fn start(client: &Client, people: usize, rest: Duration, gateway: Gateway) -> Self {
        let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let video = Bytes::from(std::fs::read(media::tone_mp4(SECONDS)).unwrap());
        let uploaders = (0..people)
            .map(|_| {
                let (client, video, over, counts) = (client.clone(), video.clone(), over.clone(), counts.clone());
                tokio::spawn(async move {
                    while !over.load(Ordering::Relaxed) {
                        upload(&client, video.clone(), &counts, gateway).await;
                        tokio::time::sleep(rest).await;
                    }
                })
            })
            .collect();
        Self { over, counts, uploaders }
    }

    pub fn acknowledged(&self) -> usize {
        self.counts.acknowledged.lock().unwrap().len()
    }

    /// Waits until so many more uploads were acknowledged.
    pub async fn more(&self, number: usize) {
        let (started, before) = (Instant::now(), self.acknowledged());
        while self.acknowledged() < before + number {
            assert!(started.elapsed() < PATIENCE, "uploads are not taken any more: {before} and no {number} more");
            assert!(!self.uploaders.iter().any(JoinHandle::is_finished), "an uploader has given up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Lets everybody finish.
    pub async fn stop(self) -> Arc<Counts> {
        self.over.store(true, Ordering::Relaxed);
        for uploader in self.uploaders {
            uploader.await.unwrap();
        }
        self.counts
    }
}

async fn upload(client: &Client, video: Bytes, counts: &Counts, gateway: Gateway) {
    let part = Part::stream(video).file_name("tone.mp4");
    let posted = client.post_form(Form::new().part("file", part));
    let answer = tokio::time::timeout(PATIENCE, posted).await.expect("an upload ends in time");
    let accepted = match answer {
        Ok(answer) if answer.status() == StatusCode::ACCEPTED => answer.json::<Value>().await,
        Ok(answer) => {
            let (status, later) = (answer.status(), answer.headers().contains_key("retry-after"));
            assert!(status == StatusCode::SERVICE_UNAVAILABLE && later, "{status}: {:?}", answer.text().await);
            counts.put_off.fetch_add(1, Ordering::Relaxed);
            return;
        }
        Err(err) => Err(err),
    };
    match accepted {
        Ok(body) => counts.acknowledged.lock().unwrap().push(body["job_id"].as_str().unwrap().to_owned()),
        Err(err) => {
            assert!(gateway == Gateway::Dies, "the gateway lives, and an upload breaks: {err:?}");
            counts.broken.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
