//! The promises of [`BlobStore`].

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};

use super::noise;
use crate::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use crate::job::JobId;

fn meta() -> BlobMeta {
    BlobMeta { job: JobId::random(), content_type: "video/mp4".into(), filename: "holiday.mp4".into() }
}

/// The bytes in pieces of odd sizes, an empty one among them.
fn pieces(bytes: &[u8]) -> ByteStream<'static> {
    let mut pieces = vec![Ok(Bytes::new())];
    pieces.extend(bytes.chunks(70_001).map(|piece| Ok(Bytes::copy_from_slice(piece))));
    stream::iter(pieces).boxed()
}

async fn put(store: &dyn BlobStore, bytes: &[u8]) -> BlobInfo {
    store.put(&Fid::random(), meta(), pieces(bytes)).await.expect("a blob can be written")
}

async fn read(store: &dyn BlobStore, fid: &Fid, range: Option<Range<u64>>) -> (Blob, Vec<u8>) {
    let mut blob = store.get(fid, range).await.expect("a stored blob can be read");
    let body = std::mem::replace(&mut blob.body, stream::empty().boxed());
    let bytes: Vec<Bytes> = body.try_collect().await.expect("its body can be read to the end");
    (blob, bytes.concat())
}

async fn assert_missing(store: &dyn BlobStore, fid: &Fid) {
    let head = store.head(fid).await;
    assert!(matches!(&head, Err(BlobError::NotFound(f)) if f == fid), "head must say NotFound, not {head:?}");
    let get = store.get(fid, None).await.map(|blob| blob.info);
    assert!(matches!(&get, Err(BlobError::NotFound(f)) if f == fid), "get must say NotFound, not {get:?}");
    assert!(!everything(store, 100).await.iter().any(|info| info.fid == *fid), "list must not show it");
}

async fn everything(store: &dyn BlobStore, page: usize) -> Vec<BlobInfo> {
    let mut all: Vec<BlobInfo> = Vec::new();
    loop {
        let more = store.list(all.last().map(|info| info.fid), page).await.expect("blobs can be listed");
        assert!(more.len() <= page, "a page has at most {page} blobs, not {}", more.len());
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

async fn put_then_get(store: Arc<dyn BlobStore>) {
    let (fid, meta, bytes) = (Fid::random(), meta(), noise(200_000, 1));
    let written = store.put(&fid, meta.clone(), pieces(&bytes)).await.expect("a blob can be written");
    assert_eq!((written.fid, written.size, &written.meta), (fid, 200_000, &meta));
    assert_eq!(written.sha256.0[..], Sha256::digest(&bytes)[..], "the digest is that of the bytes");
    assert_eq!(store.head(&fid).await.unwrap(), written, "head says what put said");
    let (blob, read) = read(&*store, &fid, None).await;
    assert_eq!((blob.info, blob.range), (written, 0..200_000), "get says what put said");
    assert!(read == bytes, "the bytes come back as they were");
}

async fn metadata_is_kept(store: Arc<dyn BlobStore>) {
    for filename in ["", "a/b\\c", "Ünïcödé 🎬.mp4", "quote\" and 'quote'", "line\r\nbreak", "%2e%2e", "..", "NUL"]
    {
        let meta = BlobMeta { filename: filename.into(), content_type: "x/y; z=\"ä\"".into(), ..meta() };
        let fid = Fid::random();
        store.put(&fid, meta.clone(), pieces(b"x")).await.expect("any name will do");
        assert_eq!(store.head(&fid).await.unwrap().meta, meta, "what the writer said is kept as it was");
    }
}

async fn empty_blob(store: Arc<dyn BlobStore>) {
    let info = put(&*store, b"").await;
    let (blob, bytes) = read(&*store, &info.fid, None).await;
    assert_eq!((info.size, blob.range, bytes.len()), (0, 0..0, 0), "a blob may be empty");
}

async fn failed_body_leaves_nothing(store: Arc<dyn BlobStore>) {
    let fid = Fid::random();
    let broken = || Err(io::Error::other("the client went away"));
    let body = stream::iter([Ok(Bytes::from(noise(300_000, 2))), broken()]).boxed();
    let outcome = store.put(&fid, meta(), body).await;
    let Err(BlobError::Body(err)) = outcome else { panic!("put must say Body, not {outcome:?}") };
    assert!(err.to_string().contains("the client went away"), "and give the stream's own error, not {err}");
    assert_missing(&*store, &fid).await;
    store.put(&fid, meta(), pieces(b"again")).await.expect("the fid is free after a failed put");
}

async fn dropped_put_leaves_nothing(store: Arc<dyn BlobStore>) {
    let fid = Fid::random();
    let first = stream::iter([Ok(Bytes::from(noise(300_000, 3)))]);
    let put = store.put(&fid, meta(), first.chain(stream::pending()).boxed());
    let dropped = tokio::time::timeout(Duration::from_millis(300), put).await;
    assert!(dropped.is_err(), "put must wait for the whole body");
    assert_missing(&*store, &fid).await;
    store.put(&fid, meta(), pieces(b"again")).await.expect("the fid is free after a dropped put");
}

async fn unfinished_put_is_invisible(store: Arc<dyn BlobStore>) {
    let fid = Fid::random();
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let body = stream::unfold(receive, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    let writer = Arc::clone(&store);
    let putting = tokio::spawn(async move { writer.put(&fid, meta(), body.boxed()).await });
    for _ in 0..8 {
        send.send(Ok(Bytes::from(noise(100_000, 4)))).await.expect("put takes the pieces");
    }
    assert_missing(&*store, &fid).await;
    drop(send);
    putting.await.unwrap().expect("the body ended well");
    assert_eq!(store.head(&fid).await.unwrap().size, 800_000, "it is visible when put returns");
}

async fn second_put_is_refused(store: Arc<dyn BlobStore>) {
    let first = put(&*store, b"first").await;
    let second = store.put(&first.fid, meta(), pieces(b"second, and longer")).await;
    assert!(
        matches!(&second, Err(BlobError::AlreadyExists(f)) if *f == first.fid),
        "put must say AlreadyExists, not {second:?}"
    );
    let (blob, bytes) = read(&*store, &first.fid, None).await;
    assert_eq!((blob.info, &bytes[..]), (first, &b"first"[..]), "a blob never changes");
}

async fn racing_puts_have_one_winner(store: Arc<dyn BlobStore>) {
    let fid = Fid::random();
    let racers = (0..8u64).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put(&fid, meta(), pieces(&noise(150_000, n))).await })
    });
    let outcomes: Vec<_> =
        stream::iter(racers.collect::<Vec<_>>()).then(|racer| async { racer.await.unwrap() }).collect().await;
    let mut winners = Vec::new();
    for (n, outcome) in (0..8u64).zip(outcomes) {
        match outcome {
            Ok(_) => winners.push(n),
            Err(BlobError::AlreadyExists(_)) => {}
            Err(err) => panic!("a loser must hear AlreadyExists, not {err:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "exactly one put wins");
    assert!(read(&*store, &fid, None).await.1 == noise(150_000, winners[0]), "and the blob is the winner's");
}

async fn big_blob_round_trips(store: Arc<dyn BlobStore>) {
    // More than one document of any database holds: 16 MiB is MongoDB's limit, and a common packet size elsewhere.
    let bytes = noise(17 * 1024 * 1024 + 3, 5);
    let info = put(&*store, &bytes).await;
    assert_eq!(info.sha256.0[..], Sha256::digest(&bytes)[..], "the digest is that of the bytes");
    assert!(read(&*store, &info.fid, None).await.1 == bytes, "the bytes come back as they were");
}

async fn missing_blob_is_not_found(store: Arc<dyn BlobStore>) {
    let fid = Fid::random();
    assert_missing(&*store, &fid).await;
    let ranged = store.get(&fid, Some(0..1)).await.map(|blob| blob.info);
    assert!(matches!(ranged, Err(BlobError::NotFound(_))), "get of a range must say NotFound, not {ranged:?}");
}

async fn ranges_are_exact(store: Arc<dyn BlobStore>) {
    let bytes = noise(600_000, 6);
    let info = put(&*store, &bytes).await;
    // Around the piece sizes that stores like to use: 64 KiB, 255 KiB (GridFS), 256 KiB.
    for range in [
        0..1,
        599_999..600_000,
        0..600_000,
        65_535..65_537,
        261_119..261_121,
        261_120..522_240,
        262_143..262_145,
        1..599_999,
    ] {
        let (blob, part) = read(&*store, &info.fid, Some(range.clone())).await;
        assert_eq!(
            (&blob.range, blob.info.size),
            (&range, 600_000),
            "get says which range it gives, and the whole size"
        );
        assert!(part == bytes[range.start as usize..range.end as usize], "the body is exactly the bytes {range:?}");
    }
}

async fn range_end_is_clamped(store: Arc<dyn BlobStore>) {
    let info = put(&*store, b"0123456789").await;
    for end in [10, 11, u64::MAX] {
        let (blob, part) = read(&*store, &info.fid, Some(7..end)).await;
        assert_eq!((blob.range, &part[..]), (7..10, &b"789"[..]), "a range's end is clamped to the size");
    }
}

async fn assert_refused(store: &dyn BlobStore, fid: &Fid, range: Range<u64>, size: u64) {
    let start = range.start;
    let outcome = store.get(fid, Some(range.clone())).await.map(|blob| blob.range);
    assert!(
        matches!(outcome, Err(BlobError::RangeNotSatisfiable { start: a, size: b }) if (a, b) == (start, size)),
        "{range:?} of {size} bytes must be RangeNotSatisfiable with its start and the size, not {outcome:?}"
    );
}

async fn range_start_past_the_end_is_refused(store: Arc<dyn BlobStore>) {
    let (ten, none) = (put(&*store, b"0123456789").await, put(&*store, b"").await);
    assert_refused(&*store, &ten.fid, 10..11, 10).await;
    assert_refused(&*store, &ten.fid, u64::MAX - 1..u64::MAX, 10).await;
    assert_refused(&*store, &none.fid, 0..1, 0).await;
}

async fn empty_range_is_refused(store: Arc<dyn BlobStore>) {
    let info = put(&*store, b"0123456789").await;
    assert_refused(&*store, &info.fid, 3..3, 10).await;
    assert_refused(&*store, &info.fid, Range { start: 5, end: 2 }, 10).await;
}

async fn blob_deleted_while_read_never_ends_short(store: Arc<dyn BlobStore>) {
    let bytes = noise(4 * 1024 * 1024, 7);
    let info = put(&*store, &bytes).await;
    let mut body = store.get(&info.fid, None).await.unwrap_or_else(|err| panic!("{err:?}")).body;
    let mut seen = body.next().await.expect("there are bytes").expect("and they can be read").to_vec();
    store.delete(&info.fid).await.expect("a blob that is being read can be deleted");
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else { return };
        seen.extend_from_slice(&piece);
    }
    assert!(seen == bytes, "a body that ends well must be whole; this one ended after {} bytes", seen.len());
}

async fn delete_is_idempotent(store: Arc<dyn BlobStore>) {
    let info = put(&*store, b"x").await;
    for _ in 0..2 {
        store.delete(&info.fid).await.expect("deleting succeeds, also when there is nothing to delete");
    }
    store.delete(&Fid::random()).await.expect("deleting what never was succeeds");
}

async fn deleted_fid_can_not_be_read(store: Arc<dyn BlobStore>) {
    let (gone, other) = (put(&*store, b"x").await, put(&*store, b"y").await);
    store.delete(&gone.fid).await.expect("a blob can be deleted");
    assert_missing(&*store, &gone.fid).await;
    assert_eq!(store.head(&other.fid).await.unwrap(), other, "others are left alone");
}

async fn list_pages_through_everything(store: Arc<dyn BlobStore>) {
    let mut ours = Vec::new();
    for n in 0..7 {
        ours.push(put(&*store, &noise(n, 8)).await);
    }
    ours.sort_by_key(|info| info.fid);
    for page in [1, 3, 100] {
        let all = everything(&*store, page).await;
        assert!(all.is_sorted_by(|a, b| a.fid < b.fid), "blobs are listed in the order of their fids");
        let listed: Vec<_> = all.into_iter().filter(|info| ours.contains(info)).collect();
        assert_eq!(listed, ours, "pages of {page} show every blob once, as put described it");
    }
}

async fn ping_succeeds(store: Arc<dyn BlobStore>) {
    store.ping().await.expect("the store can be used");
}

suite! { $ blob_store_conformance: blob_store of BlobStore {
    put_then_get,
    metadata_is_kept,
    empty_blob,
    failed_body_leaves_nothing,
    dropped_put_leaves_nothing,
    unfinished_put_is_invisible,
    second_put_is_refused,
    racing_puts_have_one_winner,
    big_blob_round_trips,
    missing_blob_is_not_found,
    ranges_are_exact,
    range_end_is_clamped,
    range_start_past_the_end_is_refused,
    empty_range_is_refused,
    blob_deleted_while_read_never_ends_short,
    delete_is_idempotent,
    deleted_fid_can_not_be_read,
    list_pages_through_everything,
    ping_succeeds,
} }
