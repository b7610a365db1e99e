//! Writing: a body becomes chunks.

use std::io;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use futures_util::stream::Fuse;
use microserve_core::blob::{BlobError, ByteStream, Sha256};
use sha2::Digest;
use tokio::time::{Instant, interval_at};

use crate::draft::{Draft, TOUCH};
use crate::error::Failure;
use crate::file::CHUNK;

/// So many chunks of a body are on their way to the servers while the next is collected.
const IN_FLIGHT: usize = 4;

/// What was written.
pub(crate) struct Written {
    pub(crate) size: u64,
    pub(crate) sha256: Sha256,
}

/// Writes a body's chunks into a draft.
pub(crate) async fn write(draft: &mut Draft, body: ByteStream<'_>) -> Result<Written, BlobError> {
    let mut cutter = Cutter { body: body.fuse(), piece: Bytes::new(), chunk: Vec::new() };
    let (mut digest, mut size) = (sha2::Sha256::new(), 0);
    let mut touch = interval_at(Instant::now() + TOUCH, TOUCH);
    let mut n = 0;
    loop {
        let chunk = tokio::select! {
            chunk = cutter.next() => chunk.map_err(BlobError::Body)?,
            // A body may pause for long.
            _ = touch.tick() => {
                draft.touch().await?;
                continue;
            }
        };
        let Some(chunk) = chunk else { break };
        digest.update(&chunk);
        size += chunk.len() as u64;
        draft.write(n, chunk, IN_FLIGHT).await?;
        n = n.checked_add(1).ok_or_else(|| Failure::misuse("a blob has less than 2^31 chunks"))?;
    }
    Ok(Written { size, sha256: Sha256(digest.finalize().into()) })
}

/// Cuts a body into chunks.
struct Cutter<'a> {
    body: Fuse<ByteStream<'a>>,
    /// What was received and not yet put into a chunk.
    piece: Bytes,
    chunk: Vec<u8>,
}

impl Cutter<'_> {
    /// The next chunk, the last of which may be short; none at the end. What was collected stays when this is dropped.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let room = CHUNK as usize - self.chunk.len();
            if self.piece.has_remaining() && self.chunk.is_empty() {
                self.chunk.reserve_exact(CHUNK as usize);
            }
            let part = self.piece.split_to(room.min(self.piece.len()));
            self.chunk.extend_from_slice(&part);
            if self.chunk.len() == CHUNK as usize {
                return Ok(Some(std::mem::take(&mut self.chunk)));
            }
            match self.body.next().await {
                Some(piece) => self.piece = piece?,
                None if self.chunk.is_empty() => return Ok(None),
                None => return Ok(Some(std::mem::take(&mut self.chunk))),
            }
        }
    }
}
