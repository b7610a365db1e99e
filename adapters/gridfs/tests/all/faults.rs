//! Servers that die, hang, step down, refuse, or do what was asked and don't say so.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use common::{CHUNK, World, a_job, body, bytes, meta, putting, words};
use microserve_core::blob::{BlobError, BlobStore, Fid};
use microserve_core::job::{JobError, JobStore, JobStoreExt};
use microserve_gridfs::{Mongo, OpenError};
use mongodb::bson::{Document, doc};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_download_outlive_a_server_that_is_killed_and_comes_back() {
    let mut world = World::start().await;
    let (written, whole) = (world.put(&bytes(20 * CHUNK)).await, bytes(20 * CHUNK));
    let (fid, send, put) = putting(&world.blobs);
    send.send(Ok(whole[..3 * CHUNK].to_vec().into())).await.unwrap();
    let mut download = world.blobs.get(&written.fid, None).await.unwrap().body;
    while world.count("fs.chunks").await < 21 {}
    let first = futures_util::StreamExt::next(&mut download).await.unwrap().unwrap();

    world.server.kill();
    send.send(Ok(whole[3 * CHUNK..].to_vec().into())).await.unwrap();
    drop(send);
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.server.restart();

    let info = put.await.unwrap().unwrap_or_else(|err| panic!("{}", words(&err)));
    assert_eq!((info.size, info.sha256), (written.size, written.sha256));
    assert!(world.read(&fid, None).await.unwrap() == whole);
    let rest: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(download).await.unwrap();
    assert!([vec![first], rest].concat().concat() == whole);
    assert_eq!((world.count("fs.chunks").await, world.count("fs.drafts").await), (40, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_is_unavailable_and_nothing_is_left() {
    let mut world = World::start().await;
    let (fid, send, put) = putting(&world.blobs);
    send.send(Ok(bytes(3 * CHUNK).into())).await.unwrap();
    send.send(Ok(bytes(3 * CHUNK).into())).await.unwrap();
    world.server.kill();
    let started = Instant::now();
    let Err(err) = Mongo::open(&world.url.parse().unwrap()).await else { panic!("there is no server") };
    assert!(matches!(err, OpenError::Unavailable(_)) && words(&err).contains("refused"), "{}", words(&err));
    let err = world.blobs.head(&fid).await.unwrap_err();
    assert!(matches!(err, BlobError::Unavailable(_)) && words(&err).contains("refused"), "{}", words(&err));
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    drop(send);
    let err = put.await.unwrap().unwrap_err();
    assert!(matches!(err, BlobError::Unavailable(_)), "{}", words(&err));
    assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());

    world.server.restart();
    while world.blobs.ping().await.is_err() {}
    assert!(matches!(world.blobs.head(&fid).await, Err(BlobError::NotFound(_))));
    // As after half an hour.
    world.blobs.sweep(Duration::ZERO).await.unwrap();
    world.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_unavailable_and_comes_back() {
    let world = World::start().await;
    let (info, jobs) = (world.put(&bytes(10)).await, world.mongo.jobs().await.unwrap());
    let job = a_job();
    jobs.insert(&job).await.unwrap();
    world.server.freeze();
    let started = Instant::now();
    let asked =
        tokio::join!(world.blobs.head(&info.fid), world.blobs.ping(), jobs.get(job.id), jobs.update(job.clone()));
    assert!(matches!(asked, (Err(BlobError::Unavailable(_)), Err(BlobError::Unavailable(_)), ..)), "{asked:?}");
    assert!(matches!(asked, (.., Err(JobError::Unavailable(_)), Err(JobError::Unavailable(_)))), "{asked:?}");
    let put = world.blobs.put(&Fid::random(), meta(), body(&bytes(10))).await;
    assert!(matches!(put, Err(BlobError::Unavailable(_))), "{put:?}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    world.server.thaw();
    let started = Instant::now();
    while world.blobs.ping().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "it is there again");
    }
    assert_eq!(world.read(&info.fid, None).await.unwrap(), bytes(10));
    assert!(jobs.get(job.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_outlives_an_election() {
    let world = World::start().await;
    let (fid, send, put) = putting(&world.blobs);
    let whole = bytes(12 * CHUNK);
    for (n, piece) in whole.chunks(CHUNK).enumerate() {
        if n == 5 {
            world.server.step_down();
        }
        send.send(Ok(piece.to_vec().into())).await.unwrap();
    }
    drop(send);
    put.await.unwrap().unwrap_or_else(|err| panic!("{}", words(&err)));
    assert!(world.read(&fid, None).await.unwrap() == whole);
}

/// Writes that are refused, cut, or done and then not confirmed: the last by an error that the driver tries again after,
/// and one that it leaves to us.
fn spoiled_writes() -> [(&'static str, Document); 5] {
    let unconfirmed = |code| doc! { "writeConcernError": { "code": code, "errmsg": "not on enough servers" } };
    [
        ("no longer primary", doc! { "errorCode": 10107, "errorLabels": ["RetryableWriteError"] }),
        ("stopping", doc! { "errorCode": 11600 }),
        ("cut", doc! { "closeConnection": true }),
        ("done, stopping", unconfirmed(91)),
        ("done, slow", unconfirmed(64)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spoiled_write_loses_nothing_and_writes_nothing_twice() {
    let world = World::start().await;
    let whole = bytes(3 * CHUNK + 1);
    let database = world.database("videos").await;
    for collection in ["fs.chunks", "fs.files"] {
        for (fault, mut how) in spoiled_writes() {
            how.insert("failCommands", ["insert"].to_vec());
            how.insert("namespace", format!("{}.{collection}", database.name()));
            world.server.fail(3, how);
            let info = world.blobs.put(&Fid::random(), meta(), body(&whole)).await;
            let info = info.unwrap_or_else(|err| panic!("{collection}, {fault}: {}", words(&err)));
            assert!(world.server.heal() > 0, "{collection}, {fault}: nothing was spoiled");
            assert!(world.read(&info.fid, None).await.unwrap() == whole, "{collection}, {fault}");
            let counts =
                (world.count("fs.files").await, world.count("fs.chunks").await, world.count("fs.drafts").await);
            assert_eq!(counts, (1, 4, 0), "{collection}, {fault}");
            world.blobs.delete(&info.fid).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_job_is_saved_once_whatever_happens_to_the_answer() {
    let world = World::start().await;
    let jobs = world.mongo.jobs().await.unwrap();
    for (fault, mut how) in spoiled_writes() {
        let mut job = a_job();
        jobs.insert(&job).await.unwrap();
        how.insert("failCommands", ["update"].to_vec());
        world.server.fail(2, how);
        job.rings = 7;
        let saved = jobs.save(job.clone()).await.unwrap_or_else(|err| panic!("{fault}: {}", words(&err)));
        assert!(world.server.heal() > 0, "{fault}: nothing was spoiled");
        assert_eq!((saved.version, saved.rings), (1, 7), "{fault}");
        assert_eq!(jobs.get(job.id).await.unwrap(), Some(saved), "{fault}");
    }
}

#[tokio::test]
async fn a_missing_right_is_no_reason_to_try_again() {
    let world = World::start().await;
    world.server.fail(1, doc! { "failCommands": ["find"], "errorCode": 13 });
    let err = world.blobs.head(&Fid::random()).await.unwrap_err();
    assert!(matches!(err, BlobError::Internal(_)), "{}", words(&err));
    world.server.fail(1, doc! { "failCommands": ["insert"], "errorCode": 14031 });
    let err = world.blobs.put(&Fid::random(), meta(), body(b"x")).await.unwrap_err();
    assert!(matches!(err, BlobError::Full(_)), "{}", words(&err));
}
