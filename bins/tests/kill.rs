//! kill -9 of the whole server at random moments while uploads run: nothing accepted is lost, nothing is doubled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Client, exe};
use futures_util::stream;
use microserve::core::blob::{BlobInfo, BlobStore};
use microserve::filesystem::FileBlobs;
use microserve_testkit::port::free_port;
use microserve_testkit::server::{Server, add_user, files_below};
use microserve_testkit::{judge, media};
use reqwest::multipart::{Form, Part};
use reqwest::{Body, StatusCode};
use serde_json::Value;
use tokio::sync::Mutex;

const KILLS: usize = 25;
const UPLOADERS: usize = 20;
const SECONDS: u32 = 2;
/// Each uploader rests for so long, so that the converter comes to an end.
const BETWEEN_UPLOADS: Duration = Duration::from_millis(1200);

/// xorshift64*: the same moments for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

/// Uploads again and again, slowly enough to be hit, and remembers what was acknowledged.
async fn keep_uploading(client: Client, video: Bytes, over: Arc<AtomicBool>, acknowledged: Arc<Mutex<Vec<String>>>) {
    let mut done = 0;
    while done == 0 || !over.load(Ordering::Relaxed) {
        let pieces: Vec<_> = video.chunks(video.len().div_ceil(8)).map(Bytes::copy_from_slice).collect();
        let slow = stream::unfold(pieces.into_iter(), |mut pieces| async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            Some((Ok::<_, std::io::Error>(pieces.next()?), pieces))
        });
        let part = Part::stream_with_length(Body::wrap_stream(slow), video.len() as u64).file_name("tone.mp4");
        match client.post_form(Form::new().part("file", part)).await {
            Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                // The answer itself may be cut: then the client has no acknowledgement.
                if let Ok(body) = answer.json::<Value>().await {
                    acknowledged.lock().await.push(body["job_id"].as_str().unwrap().to_owned());
                    done += 1;
                }
                tokio::time::sleep(BETWEEN_UPLOADS).await;
            }
            Ok(answer) => {
                let status = answer.status();
                assert!(status == 503 || status == 429, "a killed server answers nothing, a living one 202: {status}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_accepted_is_lost_when_the_server_is_killed() {
    let seed = std::env::var("MICROSERVE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5eed_u64);
    println!("seed {seed} (MICROSERVE_SEED), {KILLS} kills, {UPLOADERS} uploaders");
    let mut random = Random(seed | 1);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let password = add_user(exe(), &data, "anna@example.com");
    let port = free_port();
    let mut server = Server::start_on(exe(), &data, port, &["--log", "warn"]);
    let client = Client::login(&server.url, "anna@example.com", &password).await;

    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let video = Bytes::from(std::fs::read(media::tone_mp4(SECONDS)).unwrap());
    let uploaders: Vec<_> = (0..UPLOADERS)
        .map(|_| tokio::spawn(keep_uploading(client.clone(), video.clone(), over.clone(), acknowledged.clone())))
        .collect();
    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(30 + random.below(1000))).await;
        server.kill();
        server = Server::start_on(exe(), &data, port, &["--log", "warn"]);
    }
    over.store(true, Ordering::Relaxed);
    for uploader in uploaders {
        uploader.await.unwrap();
    }

    let acknowledged = acknowledged.lock().await.clone();
    assert!(acknowledged.len() >= UPLOADERS, "the uploads went on between the kills");
    for id in &acknowledged {
        client.until_final(id, Duration::from_secs(180)).await;
    }
    let jobs = client.jobs().await;
    let accepted: Vec<_> = jobs.iter().filter(|job| job["status"] != "uploading").collect();
    for job in &accepted {
        client.until_final(job["job_id"].as_str().unwrap(), Duration::from_secs(180)).await;
    }

    // Every accepted job, acknowledged or not, has its MP3, which decodes and is as long as its video; no two share one.
    let mut fids = BTreeMap::new();
    for job in &accepted {
        let id = job["job_id"].as_str().unwrap();
        let job = client.job(id).await;
        assert_eq!(job["status"], "done", "lost: {job}");
        let fid = job["mp3_fid"].as_str().unwrap().to_owned();
        let mp3 = folder.path().join("one.mp3");
        client.download(&fid, &mp3).await;
        judge::assert_clean(&mp3);
        assert!((judge::duration(&mp3) - f64::from(SECONDS)).abs() < 0.001, "the MP3 of {id} has the wrong length");
        fids.insert(id.to_owned(), fid);
    }
    let distinct: BTreeSet<_> = fids.values().collect();
    assert_eq!(distinct.len(), accepted.len(), "two jobs share an MP3");
    let lost: Vec<_> = acknowledged.iter().filter(|id| !fids.contains_key(*id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let ids: BTreeSet<_> = acknowledged.iter().collect();
    assert_eq!(ids.len(), acknowledged.len(), "acknowledged twice");

    // A mail for every final job: one file each, since the same job's mail has the same name. One that was in hand when
    // the server was killed goes out once its lease of some minutes is over: that is tested with a clock of its own.
    let finals = accepted.len();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let (mut sent, mut in_hand) = (0, 0);
    while sent + in_hand < finals {
        assert!(std::time::Instant::now() < deadline, "{sent} mails are sent and {in_hand} in hand, of {finals}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let jobs = client.jobs().await;
        let count = |state: &str| jobs.iter().filter(|job| job["mail"] == state).count();
        (sent, in_hand) = (count("sent"), count("sending"));
    }
    assert!(in_hand <= KILLS, "{in_hand} mails were in hand");
    let mut mails = files_below(&data.join("mail"));
    mails.retain(|path| path.extension().is_some_and(|ending| ending == "eml"));
    // A job of two MP3s would have told its owner of one, and shown another.
    let tells_of_another = |path: &PathBuf| {
        let mail = std::fs::read_to_string(path).unwrap();
        let fid = mail.lines().find_map(|line| line.trim_end().strip_prefix("File ID: ")).unwrap().to_owned();
        fids[path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap()] != fid
    };
    let duplicated = mails.iter().filter(|path| tells_of_another(path)).count();
    let mails = mails.len();
    assert!((sent..=finals).contains(&mails), "{mails} mails lie there, of {sent} that were sent");
    assert_eq!(duplicated, 0, "mails tell of other MP3s than their jobs have");
    assert!(server.stop().success(), "and the server still stops in order");

    // What lies in the store belongs to accepted jobs: one committed MP3 each, and perhaps some that killed workers did
    // not come to commit and the collector has not come to yet.
    let store = FileBlobs::open(data.join("blobs/mp3s")).await.unwrap();
    let blobs = store.list(None, 10_000).await.unwrap();
    let of = |blob: &BlobInfo| fids.get(&blob.meta.job.to_string());
    let unexpected = blobs.iter().filter(|blob| of(blob).is_none()).count();
    let committed = blobs.iter().filter(|blob| of(blob).is_some_and(|fid| *fid == blob.fid.to_string())).count();
    assert_eq!((unexpected, committed), (0, finals));
    println!(
        "acknowledged {}, recovered {}, lost {}, duplicated {duplicated}, unexpected {unexpected}, mails {mails}, mails still in hand {in_hand}, to be collected {}",
        acknowledged.len(),
        finals - acknowledged.len(),
        lost.len(),
        blobs.len() - committed,
    );
}
