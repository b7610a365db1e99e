//! A store on a server of its own, and what is looked up behind its back.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that can't go on has failed")]

use std::error::Error;
use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use microserve_core::account::AccountId;
use microserve_core::blob::{BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use microserve_core::clock::{Clock, SystemClock};
use microserve_core::job::{Job, JobId, Policy};
use microserve_core::transcode::Options;
use microserve_gridfs::{GridFsBlobs, Mongo};
use microserve_testkit::servers::mongodb::Server;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use tokio::sync::mpsc;

/// Bytes in a chunk.
pub const CHUNK: usize = 255 * 1024;

pub struct World {
    pub server: Server,
    pub url: String,
    pub mongo: Mongo,
    pub blobs: GridFsBlobs,
}

impl World {
    pub async fn start() -> Self {
        let server = Server::start();
        let url = server.database();
        let mongo = Mongo::open(&url.parse().unwrap()).await.unwrap();
        let blobs = mongo.blobs("videos").await.unwrap();
        Self { server, url, mongo, blobs }
    }

    /// A database as somebody else sees it.
    pub async fn database(&self, name: &str) -> Database {
        let prefix = self.url.split("prefix=").nth(1).unwrap();
        Client::with_uri_str(self.server.url()).await.unwrap().database(&format!("{prefix}{name}"))
    }

    pub async fn collection(&self, name: &str) -> Collection<Document> {
        self.database("videos").await.collection(name)
    }

    pub async fn count(&self, name: &str) -> u64 {
        self.collection(name).await.count_documents(doc! {}).await.unwrap()
    }

    /// Waits until nothing is left of what was begun and not finished.
    pub async fn until_clean(&self) {
        let started = Instant::now();
        while self.count("fs.chunks").await + self.count("fs.drafts").await > 0 {
            assert!(started.elapsed() < Duration::from_secs(60), "chunks or drafts are left over");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn put(&self, bytes: &[u8]) -> BlobInfo {
        self.blobs.put(&Fid::random(), meta(), body(bytes)).await.unwrap()
    }

    /// The bytes of a blob, or of a range of them, if they can be read to their end.
    pub async fn read(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Vec<u8>, Box<dyn Error>> {
        let pieces: Vec<Bytes> = self.blobs.get(fid, range).await?.body.try_collect().await?;
        Ok(pieces.concat())
    }
}

pub fn id(fid: &Fid) -> ObjectId {
    ObjectId::from_bytes(*fid.as_bytes())
}

pub fn meta() -> BlobMeta {
    BlobMeta { job: JobId::random(), content_type: "video/mp4".into(), filename: "holiday.mp4".into() }
}

pub fn a_job() -> Job {
    let email = "anna@example.com".parse().unwrap();
    let (options, now) = (Options::default(), SystemClock.now());
    Job::new(AccountId::random(), email, "holiday.mp4".into(), options, now, &Policy::default())
}

pub fn body(bytes: &[u8]) -> ByteStream<'static> {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces).boxed()
}

/// Bytes that differ from each other.
pub fn bytes(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A put whose body is sent piece by piece, and ends when the sender is dropped.
pub fn putting(
    blobs: &GridFsBlobs,
) -> (Fid, mpsc::Sender<io::Result<Bytes>>, tokio::task::JoinHandle<Result<BlobInfo, BlobError>>) {
    let (send, receive) = mpsc::channel(1);
    let body = stream::unfold(receive, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    let (blobs, fid) = (blobs.clone(), Fid::random());
    (fid, send, tokio::spawn(async move { blobs.put(&fid, meta(), body.boxed()).await }))
}

/// An error with everything that is behind it.
pub fn words(err: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(err), |err| (*err).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
