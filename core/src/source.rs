//! A stored blob as something to read from and seek in: transcoders work on it where it lies, without a copy.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::runtime::Handle;

use crate::blob::{BlobError, BlobInfo, BlobStore, ByteStream, Fid};

/// Seeking forward by less than this reads on instead of asking the store for another range.
const SKIP: u64 = 256 * 1024;

/// Reads a blob synchronously, over ranges of its store. For blocking threads only: in async code it would stall the
/// runtime, and panic.
pub struct BlobSource {
    store: Arc<dyn BlobStore>,
    runtime: Handle,
    info: BlobInfo,
    position: u64,
    /// The stream being read, where its next byte stands in the blob, and what was received but not yet read.
    open: Option<(ByteStream<'static>, u64, Bytes)>,
}

impl BlobSource {
    /// Opens a blob; nothing is read yet.
    ///
    /// # Errors
    /// As [`BlobStore::head`].
    pub async fn open(store: Arc<dyn BlobStore>, fid: &Fid) -> Result<Self, BlobError> {
        let info = store.head(fid).await?;
        Ok(Self { store, runtime: Handle::current(), info, position: 0, open: None })
    }

    /// What the store knows of the blob.
    #[must_use]
    pub fn info(&self) -> &BlobInfo {
        &self.info
    }

    /// Makes `open` stand at `position` with at least one byte in hand; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        if self.position >= self.info.size {
            return Ok(false);
        }
        loop {
            let Some((body, at, rest)) = &mut self.open else {
                let range = Some(self.position..self.info.size);
                let get = self.store.get(&self.info.fid, range);
                let blob = self.runtime.block_on(get).map_err(io::Error::other)?;
                self.open = Some((blob.body, self.position, Bytes::new()));
                continue;
            };
            if *at > self.position || self.position - *at > SKIP {
                self.open = None;
                continue;
            }
            let skip = (self.position - *at).min(rest.len() as u64);
            let _skipped = rest.split_to(skip as usize);
            *at += skip;
            if *at == self.position && !rest.is_empty() {
                return Ok(true);
            }
            match self.runtime.block_on(body.next()) {
                Some(Ok(bytes)) => *rest = bytes,
                Some(Err(err)) => {
                    self.open = None;
                    return Err(err);
                }
                None => {
                    self.open = None;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

impl Read for BlobSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || !self.fill()? {
            return Ok(0);
        }
        let Some((_, at, rest)) = &mut self.open else { return Ok(0) };
        let n = buf.len().min(rest.len());
        buf[..n].copy_from_slice(&rest.split_to(n));
        *at += n as u64;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for BlobSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(n) => Some(n),
            SeekFrom::End(n) => self.info.size.checked_add_signed(n),
            SeekFrom::Current(n) => self.position.checked_add_signed(n),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
