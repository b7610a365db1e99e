//! Blobs in GridFS.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use microserve_core::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use microserve_core::{Clock, SystemClock};
use mongodb::bson::{Document, doc};
use tracing::error;

use crate::bucket::Bucket;
use crate::draft::{self, DEAD_AFTER, Draft};
use crate::error::{Failure, PATIENCE, within};
use crate::file::{CHUNK, File, object_id};
use crate::mongo::Mongo;
use crate::{read, write};

/// Blobs in the GridFS of a database, in the bucket `fs`: what any driver reads. What others have put there is read
/// too, unless its id is no ObjectId; it is not listed, so that no collector of orphans ever removes it, its
/// [`BlobInfo::sha256`] is all zeros, and its job one that never was.
///
/// A blob's chunks are written first and its file last: that one document makes it visible. Several processes may share
/// the database.
#[derive(Clone)]
pub struct GridFsBlobs {
    bucket: Bucket,
    clock: Arc<dyn Clock>,
}

impl GridFsBlobs {
    pub(crate) async fn open(mongo: &Mongo, database: &str) -> Result<Self, Failure> {
        Ok(Self { bucket: Bucket::open(mongo, database).await?, clock: Arc::new(SystemClock) })
    }

    /// Dates blobs by `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Removes what writers left who were silent for so long, and so have died. Returns how many they were. Going
    /// through all blobs by [`BlobStore::list`] begins with this, for half an hour of silence.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Internal`].
    pub async fn sweep(&self, silent: Duration) -> Result<usize, BlobError> {
        Ok(draft::sweep(&self.bucket, silent).await?)
    }

    async fn file(&self, fid: &Fid) -> Result<File, BlobError> {
        self.bucket.file(fid).await?.ok_or(BlobError::NotFound(*fid))
    }
}

#[async_trait]
impl BlobStore for GridFsBlobs {
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        let mut draft = Draft::of_new(&self.bucket, fid).await?;
        let written = write::write(&mut draft, body).await?;
        let file = File {
            fid: *fid,
            size: written.size,
            chunk: u64::from(CHUNK),
            created_at: self.clock.now(),
            sha256: Some(written.sha256),
            meta,
        };
        let info = file.info();
        draft.publish(file).await?;
        Ok(info)
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        Ok(self.file(fid).await?.info())
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        let file = self.file(fid).await?;
        let range = match range {
            None => 0..file.size,
            Some(range) if range.start >= file.size || range.is_empty() => {
                return Err(BlobError::RangeNotSatisfiable { start: range.start, size: file.size });
            }
            Some(range) => range.start..range.end.min(file.size),
        };
        let info = file.info();
        let body = read::read(self.bucket.clone(), file, range.clone());
        Ok(Blob { info, range, body })
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        // What has no file is nothing, or somebody's draft.
        if self.bucket.file(fid).await?.is_some() {
            Draft::begin(&self.bucket, fid).await?.remove().await?;
        }
        Ok(())
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        let mut ids = doc! { "$type": "objectId" };
        match after {
            Some(after) => drop(ids.insert("$gt", object_id(&after))),
            None => drop(self.sweep(DEAD_AFTER).await?),
        }
        // MongoDB takes zero for no limit.
        let Some(limit) = i64::try_from(limit).ok().filter(|limit| *limit > 0) else { return Ok(Vec::new()) };
        let ours = doc! { "_id": ids, "metadata.job_id": { "$type": "string" } };
        let page =
            async { self.bucket.files.find(ours).sort(doc! { "_id": 1 }).limit(limit).await?.try_collect().await };
        let page: Vec<Document> = within(2 * PATIENCE, page).await?;
        Ok(page.iter().filter_map(readable).collect())
    }

    async fn ping(&self) -> Result<(), BlobError> {
        // Also when there are none.
        within(PATIENCE, self.bucket.files.find_one(doc! {}).projection(doc! { "_id": 1 })).await?;
        Ok(())
    }
}

/// One that can't be read must not hide the others from the collector of orphans.
fn readable(document: &Document) -> Option<BlobInfo> {
    let file = File::parse(document);
    file.inspect_err(|failure| error!(?failure, "left out a blob that can't be read")).ok().map(|file| file.info())
}
