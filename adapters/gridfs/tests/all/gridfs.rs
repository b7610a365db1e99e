//! What the suite of the port doesn't ask: other drivers, damage, and what is left by those who don't end well.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::{Duration, Instant};

use common::{CHUNK, World, a_job, body, bytes, id, meta, putting, words};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use futures_util::{StreamExt, TryStreamExt};
use microserve_core::blob::{BlobError, BlobStore, Fid, Sha256};
use microserve_core::job::JobStore;
use microserve_gridfs::Mongo;
use microserve_testkit::servers::mongodb::Server;
use mongodb::IndexModel;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, doc};
use mongodb::options::{GridFsBucketOptions, GridFsUploadOptions};

#[tokio::test]
async fn other_drivers_read_what_is_written() {
    let world = World::start().await;
    let written = bytes(2 * CHUNK + 7);
    let info = world.put(&written).await;

    let bucket = world.database("videos").await.gridfs_bucket(None);
    let mut read = Vec::new();
    let mut stream = bucket.open_download_stream(Bson::ObjectId(id(&info.fid))).await.unwrap();
    stream.read_to_end(&mut read).await.unwrap();
    assert!(read == written);

    let file = world.collection("fs.files").await.find_one(doc! {}).await.unwrap().unwrap();
    assert_eq!(file.get("length"), Some(&Bson::Int64(written.len() as i64)));
    assert_eq!(file.get("chunkSize"), Some(&Bson::Int32(CHUNK as i32)));
    assert!(file.get_datetime("uploadDate").is_ok() && file.get_str("filename").unwrap() == "holiday.mp4");
    let metadata = doc! {
        "job_id": info.meta.job.to_string(), "filename": "holiday.mp4", "content_type": "video/mp4",
        "sha256": info.sha256.to_string(),
    };
    assert_eq!(file.get_document("metadata").unwrap(), &metadata);
    let chunks = world.collection("fs.chunks").await.find(doc! {}).sort(doc! { "n": 1 }).await.unwrap();
    let chunks: Vec<Document> = chunks.try_collect().await.unwrap();
    assert_eq!(
        chunks.iter().map(|chunk| chunk.get("n").unwrap()).collect::<Vec<_>>(),
        [0, 1, 2].map(Bson::Int32).each_ref()
    );
}

#[tokio::test]
async fn what_other_drivers_write_is_read_and_never_collected() {
    let world = World::start().await;
    let bucket = world.database("videos").await.gridfs_bucket(GridFsBucketOptions::default());
    let (fid, written) = (Fid::random(), bytes(10_500));
    let options = GridFsUploadOptions::builder().chunk_size_bytes(Some(1_000)).build();
    let mut stream =
        bucket.open_upload_stream("song").id(Bson::ObjectId(id(&fid))).with_options(options).await.unwrap();
    stream.write_all(&written).await.unwrap();
    stream.close().await.unwrap();

    let info = world.blobs.head(&fid).await.unwrap();
    assert_eq!((info.size, &*info.meta.filename, info.sha256), (10_500, "song", Sha256([0; 32])));
    assert!(world.read(&fid, None).await.unwrap() == written);
    for range in [0..1, 999..1_001, 10_499..20_000, 2_500..7_001] {
        let end = range.end.min(10_500);
        let part = world.read(&fid, Some(range.clone())).await.unwrap();
        assert!(part == written[range.start as usize..end as usize], "{range:?}");
    }
    assert_eq!(world.blobs.list(None, 10).await.unwrap(), []);
    world.blobs.delete(&fid).await.unwrap();
    world.until_clean().await;
}

#[tokio::test]
async fn files_of_the_tutorials_services_are_read() {
    let world = World::start().await;
    let (files, chunks) = (world.collection("fs.files").await, world.collection("fs.chunks").await);
    let written = bytes(CHUNK + 7);
    // As PyMongo's `fs.put(bytes)` has written them over the years: no metadata, no digest or an MD5, no name or none.
    let date = DateTime::from_millis(1_000);
    let old = doc! { "filename": null, "md5": "9e107d9d372bb6826bd81d3542a419d6", "length": written.len() as i32 };
    for known in [old, doc! { "length": written.len() as i64 }] {
        let fid = Fid::random();
        for (n, data) in written.chunks(CHUNK).enumerate() {
            let data = Binary { subtype: BinarySubtype::Generic, bytes: data.to_vec() };
            let chunk = doc! { "_id": ObjectId::new(), "files_id": id(&fid), "n": n as i32, "data": data };
            chunks.insert_one(chunk).await.unwrap();
        }
        let mut file = doc! { "_id": id(&fid), "chunkSize": CHUNK as i32, "uploadDate": date };
        file.extend(known);
        files.insert_one(file).await.unwrap();
        let info = world.blobs.head(&fid).await.unwrap();
        assert_eq!((info.size, &*info.meta.filename, info.sha256), (written.len() as u64, "", Sha256([0; 32])));
        assert_eq!(info.meta.content_type, "application/octet-stream");
        assert!(world.read(&fid, None).await.unwrap() == written);
        assert!(world.read(&fid, Some(1..9)).await.unwrap() == written[1..9]);
    }
}

#[tokio::test]
async fn a_standalone_server_will_do() {
    let server = Server::standalone();
    let mongo = Mongo::open(&server.database().parse().unwrap()).await.unwrap();
    let (blobs, jobs) = (mongo.blobs("videos").await.unwrap(), mongo.jobs().await.unwrap());
    let info = blobs.put(&Fid::random(), meta(), body(&bytes(CHUNK + 1))).await.unwrap();
    let read: Vec<_> = blobs.get(&info.fid, None).await.unwrap().body.try_collect().await.unwrap();
    assert!(read.concat() == bytes(CHUNK + 1));
    blobs.delete(&info.fid).await.unwrap();
    let job = a_job();
    jobs.insert(&job).await.unwrap();
    let job = jobs.update(job).await.unwrap();
    jobs.remove(&job).await.unwrap();
    let pool = jobs.pool().unwrap();
    assert!(pool.open >= 1 && pool.idle <= pool.open && pool.open <= pool.most, "{pool:?}");
}

#[tokio::test]
async fn an_index_that_another_driver_made_becomes_unique() {
    let server = Server::start();
    let (url, keys) = (server.database(), doc! { "files_id": 1, "n": 1 });
    let client = mongodb::Client::with_uri_str(server.url()).await.unwrap();
    let chunks = client.database("test0_videos").collection::<Document>("fs.chunks");
    chunks.create_index(IndexModel::builder().keys(keys.clone()).build()).await.unwrap();
    let mongo = Mongo::open(&url.parse().unwrap()).await.unwrap();
    for _ in 0..2 {
        mongo.blobs("videos").await.unwrap();
    }
    let indexes: Vec<IndexModel> = chunks.list_indexes().await.unwrap().try_collect().await.unwrap();
    let index = indexes.into_iter().find(|index| index.keys == keys).unwrap();
    assert_eq!(index.options.unwrap().unique, Some(true));
}

#[tokio::test]
async fn damage_is_an_error_and_never_a_short_body() {
    let world = World::start().await;
    let chunks = world.collection("fs.chunks").await;
    let data = |bytes: Vec<u8>| doc! { "$set": { "data": Binary { subtype: BinarySubtype::Generic, bytes } } };
    for (n, spoiled, said) in [
        (0, data(vec![1; CHUNK - 1]), "bytes instead of"),
        (1, data(vec![1; CHUNK + 1]), "bytes instead of"),
        (2, data(vec![1; 7]), "digest differs"),
        (1, doc! { "$set": { "data": "text" } }, "no data"),
        (0, doc! { "$set": { "n": 17 } }, "is missing"),
        (2, doc! { "$set": { "n": 17 } }, "is missing"),
    ] {
        let info = world.put(&bytes(2 * CHUNK + 7)).await;
        chunks.update_one(doc! { "files_id": id(&info.fid), "n": n }, spoiled).await.unwrap();
        let mut body = world.blobs.get(&info.fid, None).await.unwrap().body;
        let mut read = 0;
        let err = loop {
            match body.next().await {
                Some(Ok(piece)) => read += piece.len(),
                Some(Err(err)) => break err,
                None => panic!("chunk {n}: the body ended well after {read} bytes"),
            }
        };
        let err = err.into_inner().unwrap();
        assert!(words(&*err).contains(said) && read == n as usize * CHUNK, "chunk {n}, {read}: {}", words(&*err));
        assert!(matches!(err.downcast_ref(), Some(BlobError::Internal(_))));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_that_fail_or_are_dropped_leave_no_chunk() {
    let world = World::start().await;
    for ending in ["failed", "dropped", "dropped at its end"] {
        let (fid, send, put) = putting(&world.blobs);
        send.send(Ok(bytes(5 * CHUNK + 1).into())).await.unwrap();
        match ending {
            "failed" => {
                send.send(Err(std::io::Error::other("the client went away"))).await.unwrap();
                assert!(matches!(put.await.unwrap(), Err(BlobError::Body(_))));
            }
            "dropped" => {
                send.send(Ok(bytes(CHUNK).into())).await.unwrap();
                put.abort();
            }
            _ => {
                drop(send);
                // Any moment will do: nothing is left whenever it is dropped.
                let chunks = world.collection("fs.chunks").await;
                while chunks.count_documents(doc! {}).await.unwrap() < 6 {}
                put.abort();
                if let Ok(Ok(info)) = put.await {
                    world.blobs.delete(&info.fid).await.unwrap();
                }
            }
        }
        world.until_clean().await;
        assert!(matches!(world.blobs.head(&fid).await, Err(BlobError::NotFound(_))), "{ending}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_dropped_is_done_or_not_begun() {
    let world = World::start().await;
    for delay in 0..12 {
        let info = world.put(&bytes(20 * CHUNK)).await;
        let deleted = tokio::time::timeout(Duration::from_millis(delay), world.blobs.delete(&info.fid)).await;
        let started = Instant::now();
        while world.count("fs.drafts").await > 0 {
            assert!(started.elapsed() < Duration::from_secs(30), "dropped after {delay} ms: a note is left");
        }
        if world.blobs.head(&info.fid).await.is_ok() {
            assert!(deleted.is_err() && world.read(&info.fid, None).await.is_ok(), "dropped after {delay} ms");
            world.blobs.delete(&info.fid).await.unwrap();
        }
        world.until_clean().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_dead_left_is_swept_away_and_what_lives_is_not() {
    let world = World::start().await;
    let (blob, living) = (world.put(&bytes(10)).await, putting(&world.blobs));
    living.1.send(Ok(bytes(3 * CHUNK).into())).await.unwrap();
    living.1.send(Ok(bytes(1).into())).await.unwrap();
    // Somebody died half-way, somebody else between the file and the note's end, both an hour ago.
    let (dead, hour_ago) = (ObjectId::new(), DateTime::from_millis(DateTime::now().timestamp_millis() - 3_600_000));
    for id in [dead, id(&blob.fid)] {
        let note = doc! { "_id": id, "token": ObjectId::new(), "seen_at": hour_ago };
        world.collection("fs.drafts").await.insert_one(note).await.unwrap();
    }
    let chunks = world.collection("fs.chunks").await;
    chunks.insert_one(doc! { "files_id": dead, "n": 0 }).await.unwrap();

    world.blobs.list(None, 1).await.unwrap();
    assert_eq!(chunks.count_documents(doc! { "files_id": dead }).await.unwrap(), 0);
    assert_eq!(world.count("fs.drafts").await, 1, "the living one's");
    drop(living.1);
    assert_eq!(living.2.await.unwrap().unwrap().size, 3 * CHUNK as u64 + 1);
    assert_eq!(world.read(&blob.fid, None).await.unwrap(), bytes(10));
    assert!(world.read(&living.0, None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_taken_for_dead_fails_and_leaves_nothing() {
    let world = World::start().await;
    let (fid, send, put) = putting(&world.blobs);
    for _ in 0..3 {
        send.send(Ok(bytes(3 * CHUNK).into())).await.unwrap();
    }
    assert_eq!(world.blobs.sweep(Duration::ZERO).await.unwrap(), 1);
    send.send(Ok(bytes(3 * CHUNK).into())).await.unwrap();
    drop(send);
    let err = put.await.unwrap().unwrap_err();
    assert!(matches!(err, BlobError::Unavailable(_)) && words(&err).contains("taken for dead"), "{}", words(&err));
    assert!(matches!(world.blobs.head(&fid).await, Err(BlobError::NotFound(_))));
    world.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stand_still_hold_nobody_up() {
    let world = World::start().await;
    let info = world.put(&bytes(10 * CHUNK)).await;
    let mut still = Vec::new();
    for _ in 0..100 {
        let mut body = world.blobs.get(&info.fid, None).await.unwrap().body;
        body.next().await.unwrap().unwrap();
        still.push(body);
    }
    world.blobs.put(&Fid::random(), meta(), body(&bytes(3 * CHUNK))).await.unwrap();
    for body in still {
        let rest: Vec<_> = body.try_collect().await.unwrap();
        assert_eq!(rest.iter().map(bytes::Bytes::len).sum::<usize>(), 9 * CHUNK);
    }
}
