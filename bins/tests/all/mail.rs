//! Mails that are sent: by a server of one's own, from the upload to the line with the file id.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use common::World;
use microserve_testkit::media;
use microserve_testkit::smtp::{Fault, Mode, Received, Sink, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_hears_of_the_mp3() {
    let sink = Sink::start(Mode::StartTls, Some(("mp3", "p@ss")));
    let url = format!("smtp://mp3:p%40ss@localhost:{}?tls=starttls&ca={}", sink.port(), sink.authority());
    let world = World::with(&["--mailer", &url, "--mail-from", "mp3@example.com"]).await;
    let job = world.client.upload(&media::tone_mp4(2)).await;
    let done = world.client.until_final(&job, Duration::from_secs(60)).await;
    let mails = until(&sink, 1).await;
    let fid = done["mp3_fid"].as_str().unwrap();
    let [mail] = &mails[..] else { panic!("one mail") };
    assert!(mail.message.contains(&format!("\r\nFile ID: {fid}\r\n")), "{}", mail.message);
    assert!(mail.message.contains("Subject: Your MP3 file is ready!"), "{}", mail.message);
    assert_eq!((mail.to[0].as_str(), mail.from.as_str()), ("anna@example.com", "mp3@example.com"));
    assert!(mail.encrypted && mail.user.as_deref() == Some("mp3"));
    let mailed = Instant::now();
    while world.client.job(&job).await["mail"] != "sent" {
        assert!(mailed.elapsed() < Duration::from_secs(10), "the row says so");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_mail_leaves_the_job_done() {
    let sink = Sink::start(Mode::Plain, None);
    sink.misbehave(Stage::Recipient, Fault::Reply("550 no such user"));
    let url = format!("smtp://127.0.0.1:{}", sink.port());
    let world = World::with(&["--mailer", &url]).await;
    let job = world.client.upload(&media::tone_mp4(2)).await;
    world.client.until_final(&job, Duration::from_secs(60)).await;
    let started = Instant::now();
    while world.client.job(&job).await["mail"] != "failed" {
        assert!(started.elapsed() < Duration::from_secs(10), "the row says so");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.client.job(&job).await["status"], "done");
    assert!(sink.mails().is_empty());
}

async fn until(sink: &Sink, mails: usize) -> Vec<Received> {
    let started = Instant::now();
    while sink.mails().len() < mails {
        assert!(started.elapsed() < Duration::from_secs(30), "no mail came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sink.mails()
}
