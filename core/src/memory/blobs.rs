use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256 as Hasher};

use super::lock;
use crate::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid, Sha256};
use crate::clock::{Clock, SystemClock};

/// Bodies are given out in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Blobs in a map.
#[derive(Clone)]
pub struct MemoryBlobs {
    blobs: Arc<Mutex<BTreeMap<Fid, (BlobInfo, Bytes)>>>,
    clock: Arc<dyn Clock>,
}

impl MemoryBlobs {
    /// An empty store whose blobs are dated by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { blobs: Arc::default(), clock }
    }
}

impl Default for MemoryBlobs {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

#[async_trait]
impl BlobStore for MemoryBlobs {
    async fn put(&self, fid: &Fid, meta: BlobMeta, mut body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        // The body is collected apart from the map, so a put that fails or is dropped leaves nothing to clean away.
        let (mut bytes, mut hasher) = (BytesMut::new(), Hasher::new());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(BlobError::Body)?;
            hasher.update(&piece);
            bytes.extend_from_slice(&piece);
        }
        let info = BlobInfo {
            fid: *fid,
            size: bytes.len() as u64,
            sha256: Sha256(hasher.finalize().into()),
            created_at: self.clock.now(),
            meta,
        };
        // One lock for the question and the insertion: of two racing puts one wins.
        let mut blobs = lock(&self.blobs);
        if blobs.contains_key(fid) {
            return Err(BlobError::AlreadyExists(*fid));
        }
        blobs.insert(*fid, (info.clone(), bytes.freeze()));
        Ok(info)
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        let blobs = lock(&self.blobs);
        let (info, _) = blobs.get(fid).ok_or(BlobError::NotFound(*fid))?;
        Ok(info.clone())
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        // Cloning `Bytes` shares them: a reader keeps what it reads alive, even if the blob is deleted.
        let (info, bytes) = lock(&self.blobs).get(fid).cloned().ok_or(BlobError::NotFound(*fid))?;
        let range = match range {
            None => 0..info.size,
            Some(range) if range.start >= info.size || range.is_empty() => {
                return Err(BlobError::RangeNotSatisfiable { start: range.start, size: info.size });
            }
            Some(range) => range.start..range.end.min(info.size),
        };
        let mut rest = bytes.slice(range.start as usize..range.end as usize);
        let pieces = std::iter::from_fn(move || {
            let piece = rest.split_to(rest.len().min(PIECE));
            (!piece.is_empty()).then_some(Ok(piece))
        });
        Ok(Blob { info, range, body: stream::iter(pieces).boxed() })
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        lock(&self.blobs).remove(fid);
        Ok(())
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = lock(&self.blobs);
        Ok(blobs.range((from, Bound::Unbounded)).take(limit).map(|(_, (info, _))| info.clone()).collect())
    }

    async fn ping(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
