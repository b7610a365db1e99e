//! `microserve admin jobs` beside a running server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{World, exe};
use futures_util::{StreamExt, stream};
use microserve::core::blob::{BlobMeta, BlobStore};
use microserve::core::clock::{Clock, SystemClock};
use microserve::core::job::{Job, JobStore, Policy};
use microserve::core::transcode::{Options, Problem};
use microserve::filesystem::FileBlobs;
use microserve::sqlite::Sqlite;
use microserve_testkit::media;
use microserve_testkit::server::files_below;
use serde_json::Value;

fn run(world: &World, args: &[&str]) -> Output {
    let mut command = Command::new(exe());
    command.args(["admin", "jobs"]).args(args).arg("--data").arg(&world.data).stdin(Stdio::null()).output().unwrap()
}

fn ok(world: &World, args: &[&str]) -> String {
    let output = run(world, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn fails(world: &World, args: &[&str]) -> String {
    let output = run(world, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn listed(world: &World, args: &[&str]) -> Vec<String> {
    let list: Vec<Value> = serde_json::from_str(&ok(world, &[&["list", "--json"], args].concat())).unwrap();
    list.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

/// A job of Anna's whose attempts were used up, with its video in the store.
async fn failed_job(world: &World) -> Job {
    let (now, p) = (SystemClock.now(), Policy::default());
    let jobs = Sqlite::open(world.data.join("microserve.db")).await.unwrap().jobs();
    let upload = world.client.upload(&media::tone_mp4(2)).await;
    world.client.until_final(&upload, Duration::from_secs(120)).await;
    let owner = jobs.get(upload.parse().unwrap()).await.unwrap().unwrap().owner;
    let email = "anna@example.com".parse().unwrap();
    let job = Job::new(owner, email, "again.mp4".to_owned(), Options::default(), now, &p);
    let bytes = std::fs::read(media::tone_mp4(3)).unwrap();
    let size = bytes.len() as u64;
    let meta = BlobMeta { job: job.id, filename: "again.mp4".to_owned(), content_type: "video/mp4".to_owned() };
    let videos = FileBlobs::open(world.data.join("blobs/videos")).await.unwrap();
    videos.put(&job.video, meta, stream::iter([Ok(bytes.into())]).boxed()).await.unwrap();
    let job = job.accept(size, now, &p).unwrap().claim(now, &p).unwrap();
    let problem = Problem { code: "video_unavailable".to_owned(), detail: "the store was away".to_owned() };
    // Nobody is to be told of this end.
    let job = job.fail(1, problem, now, &p).unwrap().start_mail(now, &p).unwrap().mail_sent(now, &p).unwrap();
    jobs.insert(&job).await.unwrap();
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_job_runs_again_and_its_owner_hears_of_its_new_end() {
    let world = World::start().await;
    let job = failed_job(&world).await;
    let id = job.id.to_string();
    let shown = ok(&world, &["show", &id]);
    assert!(shown.contains("the store was away (video_unavailable)") && shown.contains("anna@example.com"), "{shown}");
    assert!(ok(&world, &["list"]).contains("failed: video_unavailable"));
    ok(&world, &["retry", &id]);
    let done = world.client.until_final(&id, Duration::from_secs(120)).await;
    assert_eq!((&done["status"], &done["attempts"]), (&"done".into(), &1.into()), "{done}");
    let started = std::time::Instant::now();
    let fid = done["mp3_fid"].as_str().unwrap();
    let told = || {
        files_below(&world.data.join("mail")).iter().any(|mail| std::fs::read_to_string(mail).unwrap().contains(fid))
    };
    while !told() {
        assert!(started.elapsed() < Duration::from_secs(60), "the mail has not gone out");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(fails(&world, &["retry", &id]).contains("a job that is done can't be retried"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_its_video_is_not_run_again() {
    let world = World::start().await;
    let job = failed_job(&world).await;
    let jobs = Sqlite::open(world.data.join("microserve.db")).await.unwrap().jobs();
    FileBlobs::open(world.data.join("blobs/videos")).await.unwrap().delete(&job.video).await.unwrap();
    let id = job.id.to_string();
    assert!(fails(&world, &["retry", &id]).contains("is lost; it has to be uploaded again"));
    let stored = jobs.get(job.id).await.unwrap().unwrap();
    assert_eq!(stored.status().as_str(), "failed", "and nothing has changed");
    jobs.update(stored.forget_video(SystemClock.now(), &Policy::default()).unwrap()).await.unwrap();
    assert!(fails(&world, &["retry", &id]).contains("its video is not there, and has to be uploaded again"));
    assert!(fails(&world, &["retry", "000000000000000000000000"]).contains("microserve admin jobs list"));
    assert_eq!(run(&world, &["retry", "x"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_by_status_and_owner() {
    let world = World::start().await;
    let bert = world.other("bert@example.com").await;
    let hers = world.client.upload(&media::tone_mp4(2)).await;
    world.client.until_final(&hers, Duration::from_secs(120)).await;
    let his = bert.upload(&media::tone_mp4(2)).await;
    bert.until_final(&his, Duration::from_secs(120)).await;
    assert_eq!(listed(&world, &[]), [his.clone(), hers.clone()], "everybody's, the newest first");
    assert_eq!(listed(&world, &["--limit", "1"]), std::slice::from_ref(&his));
    assert_eq!(listed(&world, &["--owner", "anna@example.com"]), std::slice::from_ref(&hers));
    assert_eq!(listed(&world, &["--status", "done", "--owner", "bert@example.com"]), [his]);
    assert_eq!(listed(&world, &["--status", "failed"]), [""; 0]);
    assert!(fails(&world, &["list", "--owner", "nobody@example.com"]).contains("microserve user list"));
    for wrong in ["lost", "deleted"] {
        assert_eq!(run(&world, &["list", "--status", wrong]).status.code(), Some(2), "{wrong}");
    }
    let table = ok(&world, &["list"]);
    assert!(table.starts_with("ID ") && table.lines().count() == 3 && table.contains("bert@example.com"), "{table}");
}
