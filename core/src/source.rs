//! A stored blob as something to read from and seek in: transcoders work on it where it lies, without a copy.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::blob::{BlobError, BlobInfo, BlobStore, ByteStream, Fid};

/// Seeking forward by less than this reads on instead of asking the store for another range.
const SKIP: u64 = 256 * 1024;

/// Whoever has read so many bytes on end will go on: from then on the store is read ahead, while what was read is worked
/// on. Those who skip over pictures from sound to sound do not get so far, and nothing is fetched for nothing.
const SEQUENTIAL: u64 = 1024 * 1024;
/// So many pieces of the store are ready at most. GridFS has pieces of 255 KiB.
const AHEAD: usize = 4;

/// Reads a blob synchronously, over ranges of its store, and ahead of its reader. For blocking threads only: in async code
/// it would stall the runtime, and panic.
pub struct BlobSource {
    store: Arc<dyn BlobStore>,
    runtime: Handle,
    info: BlobInfo,
    position: u64,
    open: Option<Open>,
}

/// A range being read.
struct Open {
    pieces: Pieces,
    /// Where the next byte stands in the blob,
    at: u64,
    /// and what was received from there on, but not yet read.
    rest: Bytes,
    /// Where the range began.
    start: u64,
}

/// What the store sends.
enum Pieces {
    /// Taken when it is needed.
    AsNeeded(ByteStream<'static>),
    /// Taken by a task, which ends with this.
    Ahead { pieces: mpsc::Receiver<io::Result<Bytes>>, _task: JoinSet<()> },
}

impl Pieces {
    /// Reads ahead from now on.
    fn read_ahead(&mut self, runtime: &Handle) {
        let Self::AsNeeded(stream) = self else { return };
        let mut stream = std::mem::replace(stream, stream::empty().boxed());
        let (sender, pieces) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn_on(
            async move {
                while let Some(piece) = stream.next().await {
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            },
            runtime,
        );
        *self = Self::Ahead { pieces, _task: task };
    }

    fn next(&mut self, runtime: &Handle) -> Option<io::Result<Bytes>> {
        match self {
            Self::AsNeeded(stream) => runtime.block_on(stream.next()),
            Self::Ahead { pieces, .. } => pieces.blocking_recv(),
        }
    }
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
            let Some(open) = &mut self.open else {
                let range = Some(self.position..self.info.size);
                let get = self.store.get(&self.info.fid, range);
                let blob = self.runtime.block_on(get).map_err(io::Error::other)?;
                let pieces = Pieces::AsNeeded(blob.body);
                self.open = Some(Open { pieces, at: self.position, rest: Bytes::new(), start: self.position });
                continue;
            };
            if open.at > self.position || self.position - open.at > SKIP {
                self.open = None;
                continue;
            }
            let skip = (self.position - open.at).min(open.rest.len() as u64);
            let _skipped = open.rest.split_to(skip as usize);
            open.at += skip;
            if open.at == self.position && !open.rest.is_empty() {
                return Ok(true);
            }
            let next = open.pieces.next(&self.runtime);
            match next {
                Some(Ok(bytes)) => open.rest = bytes,
                Some(Err(err)) => {
                    self.open = None;
                    return Err(err);
                }
                None => {
                    self.open = None;
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if open.at - open.start >= SEQUENTIAL {
                open.pieces.read_ahead(&self.runtime);
            }
        }
    }
}

impl Read for BlobSource {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || !self.fill()? {
            return Ok(0);
        }
        let Some(open) = &mut self.open else { return Ok(0) };
        let n = buf.len().min(open.rest.len());
        buf[..n].copy_from_slice(&open.rest.split_to(n));
        open.at += n as u64;
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

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::blob::{Blob, BlobMeta};
    use crate::job::JobId;
    use crate::memory::MemoryBlobs;

    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 64;

    /// A store that counts the pieces which have been taken from it.
    struct Counting(MemoryBlobs, Arc<AtomicUsize>);

    #[async_trait]
    impl BlobStore for Counting {
        async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
            self.0.put(fid, meta, body).await
        }

        async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
            self.0.head(fid).await
        }

        async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
            let (blob, taken) = (self.0.get(fid, range).await?, Arc::clone(&self.1));
            let count = move |piece: &io::Result<Bytes>| {
                taken.fetch_add(1, Ordering::SeqCst);
                assert_eq!(piece.as_ref().unwrap().len(), PIECE);
            };
            Ok(Blob { body: blob.body.inspect(count).boxed(), ..blob })
        }

        async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
            self.0.delete(fid).await
        }

        async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
            self.0.list(after, limit).await
        }

        async fn ping(&self) -> Result<(), BlobError> {
            self.0.ping().await
        }
    }

    /// Runs `work` in a blocking thread with a blob, of which byte n is n modulo 251, and the count of pieces taken.
    async fn with_blob(work: impl FnOnce(BlobSource, Arc<AtomicUsize>) + Send + 'static) {
        let taken = Arc::new(AtomicUsize::new(0));
        let store = Counting(MemoryBlobs::default(), Arc::clone(&taken));
        let bytes: Bytes = (0..PIECE * PIECES).map(|n| (n % 251) as u8).collect();
        let fid = Fid::random();
        let meta = BlobMeta { job: JobId::random(), content_type: "video/mp4".into(), filename: "a.mp4".into() };
        store.put(&fid, meta, stream::iter([Ok(bytes)]).boxed()).await.unwrap();
        let source = BlobSource::open(Arc::new(store), &fid).await.unwrap();
        tokio::task::spawn_blocking(move || work(source, taken)).await.unwrap();
    }

    fn read(source: &mut BlobSource, pieces: usize) {
        let from = source.position as usize;
        let mut bytes = vec![0; pieces * PIECE];
        source.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().enumerate().all(|(n, byte)| *byte == ((from + n) % 251) as u8));
    }

    /// The count once it has not changed for a while.
    fn settled(taken: &AtomicUsize) -> usize {
        let mut before = usize::MAX;
        loop {
            let now = taken.load(Ordering::SeqCst);
            if now == before {
                return now;
            }
            before = now;
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_reads_on_finds_it_ready() {
        with_blob(|mut source, taken| {
            read(&mut source, 15);
            assert_eq!(settled(&taken), 15, "it is not clear yet that it will be read on");
            read(&mut source, 5);
            // Those in the channel, and the one that waits to get in.
            assert_eq!(settled(&taken), 20 + AHEAD + 1);
            read(&mut source, PIECES - 20);
            assert_eq!(source.read(&mut [0; 1]).unwrap(), 0);
            assert_eq!(settled(&taken), PIECES);
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_skips_fetches_nothing_else() {
        with_blob(|mut source, taken| {
            for n in (0..PIECES).step_by(8) {
                source.seek(SeekFrom::Start((n * PIECE) as u64)).unwrap();
                read(&mut source, 1);
            }
            assert_eq!(settled(&taken), PIECES / 8);
            // Neither does a reader that has read ahead, once it has gone elsewhere.
            source.seek(SeekFrom::Start(0)).unwrap();
            read(&mut source, 20);
            let before = settled(&taken);
            source.seek(SeekFrom::Start((40 * PIECE) as u64)).unwrap();
            read(&mut source, 1);
            assert_eq!(settled(&taken), before + 1);
        })
        .await;
    }
}
