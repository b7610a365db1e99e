//! Bodies pass through bounded memory, however many and however big they are.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::time::Instant;

use bytes::Bytes;
use common::{World, meta};
use futures_util::{StreamExt, stream};
use microserve_core::blob::{BlobStore, Fid};

const MIB: usize = 1 << 20;

/// The most memory that this process has had resident, in bytes (`VmHWM` in proc(5)).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Uploads and downloads so many blobs at once; by how many MiB the peak grew.
async fn growth(blobs: usize, size: usize) -> usize {
    let world = World::start().await;
    world.put(&[1; 10]).await;
    let before = peak();
    let piece = Bytes::from(vec![7; 64 * 1024]);
    let passing = (0..blobs).map(|_| {
        let (store, piece) = (world.blobs.clone(), piece.clone());
        tokio::spawn(async move {
            let body = stream::iter((0..size / piece.len()).map(move |_| Ok(piece.clone())));
            let fid = Fid::random();
            store.put(&fid, meta(), body.boxed()).await.unwrap();
            let read = store.get(&fid, None).await.unwrap().body;
            let read = read.fold(0, |sum, piece| async move { sum + piece.unwrap().len() }).await;
            assert_eq!(read, size);
            store.delete(&fid).await.unwrap();
        })
    });
    let started = Instant::now();
    for passed in passing.collect::<Vec<_>>() {
        passed.await.unwrap();
    }
    let (took, before, after) = (started.elapsed().as_secs_f64(), before / MIB, peak() / MIB);
    println!("{blobs} blobs of {} MiB in {took:.1} s: peak {before} MiB before, {after} MiB after", size / MIB);
    after - before
}

/// MiB that twenty blobs at once may take.
const MOST: usize = 64;

#[tokio::test(flavor = "multi_thread")]
async fn many_blobs_at_once_take_little_memory() {
    let grown = growth(20, 16 * MIB).await;
    assert!(grown < MOST, "{grown} MiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes four gigabytes; it shows that bigger blobs take no more"]
async fn big_blobs_take_no_more_memory_than_small_ones() {
    let grown = growth(20, 200 * MIB).await;
    assert!(grown < MOST, "{grown} MiB");
}
