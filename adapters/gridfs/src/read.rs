//! Reading: chunks become a body.
//!
//! Each chunk is asked for by its number, when it is wanted: there is no cursor that a slow reader could keep open until
//! the server gives it up, and a reader that stands still holds no connection.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use microserve_core::blob::{BlobError, ByteStream};
use sha2::Digest;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use crate::bucket::Bucket;
use crate::error::Failure;
use crate::file::File;

/// The bytes of a range. One chunk is in the reader's hands, and the next is fetched meanwhile if there is room for it.
pub(crate) fn read(bucket: Bucket, file: File, range: Range<u64>) -> ByteStream<'static> {
    let chunks = if range.is_empty() { 0..0 } else { range.start / file.chunk..(range.end - 1) / file.chunk + 1 };
    let whole = range == (0..file.size);
    let digest = (whole && file.sha256.is_some()).then(sha2::Sha256::new);
    let reader = Reader { bucket, file, range, chunks, digest, fetching: JoinSet::new() };
    stream::try_unfold(reader, |mut reader| async {
        let piece = reader.next().await.map_err(|failure| io::Error::other(BlobError::from(failure)))?;
        Ok(piece.map(|piece| (piece, reader)))
    })
    .boxed()
}

struct Reader {
    bucket: Bucket,
    file: File,
    range: Range<u64>,
    /// The numbers of the chunks that are still to be given.
    chunks: Range<u64>,
    /// Of what was given, when all of it is.
    digest: Option<sha2::Sha256>,
    /// The next chunk, if it was asked for already. Given up when this is dropped.
    fetching: JoinSet<(Result<Bytes, Failure>, Option<OwnedSemaphorePermit>)>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(n) = self.chunks.next() else { return Ok(None) };
        if self.fetching.is_empty() {
            self.fetch(n, None);
        }
        let ended = || Failure::misuse("a task that reads has ended");
        let (chunk, room) = self.fetching.join_next().await.and_then(Result::ok).ok_or_else(ended)?;
        let chunk = chunk?;
        drop(room);
        if !self.chunks.is_empty()
            && let Ok(room) = self.bucket.read_ahead.clone().try_acquire_owned()
        {
            self.fetch(self.chunks.start, Some(room));
        }
        self.verify(&chunk)?;
        let begin = n * self.file.chunk;
        let from = self.range.start.saturating_sub(begin) as usize;
        let to = (self.range.end - begin).min(chunk.len() as u64) as usize;
        Ok(Some(chunk.slice(from..to)))
    }

    fn fetch(&mut self, n: u64, room: Option<OwnedSemaphorePermit>) {
        let (bucket, fid, length) = (self.bucket.clone(), self.file.fid, self.file.length_of(n));
        self.fetching.spawn(async move { (bucket.chunk(fid, n, length).await, room) });
    }

    /// Holds the last chunk back if the whole is not what was written.
    fn verify(&mut self, chunk: &Bytes) -> Result<(), Failure> {
        let Some(digest) = &mut self.digest else { return Ok(()) };
        digest.update(chunk);
        if !self.chunks.is_empty() {
            return Ok(());
        }
        let found: [u8; 32] = std::mem::take(digest).finalize().into();
        if self.file.sha256.is_some_and(|sha256| sha256.0 != found) {
            return Err(Failure::damage(format!("blob {} is not what was written: its digest differs", self.file.fid)));
        }
        Ok(())
    }
}
