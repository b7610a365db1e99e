//! Blobs as files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::Fuse;
use futures_util::{StreamExt, stream};
use microserve_core::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid};
use microserve_core::{Clock, SystemClock};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::blob_file::{self, BlobWriter, Published};
use crate::draft::{self, Draft};
use crate::folder::{self, blocking};

/// Bodies are written in pieces of about this size: one is on its way to the disk while the next is collected.
const WRITE: usize = 256 * 1024;
/// Bodies are read in pieces of this size, one at a time: what a slow reader costs.
const READ: u64 = 128 * 1024;

/// Blobs in a folder.
///
/// ```text
/// 00/ … ff/      the blobs, by the first byte of their fid, each in a file named after it
/// drafts/        blobs that are being written
/// ```
///
/// A body is written to a draft, which gets its name only when it is whole and on the disk; a name is never given
/// twice. Several processes may share the folder.
#[derive(Clone)]
pub struct FileBlobs {
    folder: Arc<Path>,
    clock: Arc<dyn Clock>,
}

impl FileBlobs {
    /// Opens the folder, makes it if it isn't there, and sweeps away what writers left that died.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`], [`BlobError::Internal`].
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self, BlobError> {
        let store = Self { folder: folder.as_ref().into(), clock: Arc::new(SystemClock) };
        let folder = Arc::clone(&store.folder);
        blocking(move || prepare(&folder)).await.map_err(classify)?;
        store.sweep().await?;
        Ok(store)
    }

    /// Dates blobs by `clock`.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Removes the drafts of writers that died; those of the living are left alone. Returns how many there were.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Internal`].
    pub async fn sweep(&self) -> Result<usize, BlobError> {
        let drafts = self.drafts();
        let swept = blocking(move || draft::sweep(&drafts)).await.map_err(classify)?;
        if swept > 0 {
            info!(swept, "swept away {swept} blobs that were never finished");
        }
        Ok(swept)
    }

    fn drafts(&self) -> PathBuf {
        self.folder.join("drafts")
    }

    fn path(&self, fid: &Fid) -> PathBuf {
        let name = fid.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// Opens a blob's file.
    async fn open_blob(&self, fid: &Fid) -> Result<(File, BlobInfo), BlobError> {
        let (path, fid) = (self.path(fid), *fid);
        let opened = blocking(move || match blob_file::open(&path, &fid) {
            // A blob that isn't there is one thing, a disk that isn't there another.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), |folder| std::fs::metadata(folder).map(|_| ()))?;
                Ok(None)
            }
            outcome => outcome.map(Some),
        });
        opened.await.map_err(classify)?.ok_or(BlobError::NotFound(fid))
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        let writer = write(self.drafts(), body).await?;
        let (path, about) = (self.path(fid), (*fid, meta, self.clock.now()));
        // When this future is dropped, `answer` is too: the blob is not published, or taken away again.
        let (reply, answer) = oneshot::channel::<io::Result<Published>>();
        drop(tokio::task::spawn_blocking(move || {
            let published = writer.publish(&path, about, || !reply.is_closed());
            drop(reply.send(published));
        }));
        match answer.await.unwrap_or_else(|err| Err(io::Error::other(err))) {
            Ok(published) => Ok(published.keep()),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Err(BlobError::AlreadyExists(*fid)),
            Err(err) => Err(classify(err)),
        }
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        Ok(self.open_blob(fid).await?.1)
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        let (file, info) = self.open_blob(fid).await?;
        let range = match range {
            None => 0..info.size,
            Some(range) if range.start >= info.size || range.is_empty() => {
                return Err(BlobError::RangeNotSatisfiable { start: range.start, size: info.size });
            }
            Some(range) => range.start..range.end.min(info.size),
        };
        let body = pieces(file, range.clone());
        Ok(Blob { info, range, body })
    }

    /// The name's removal is not made durable: if a power cut brings it back, the collector of orphans finds it.
    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        let path = self.path(fid);
        match blocking(move || std::fs::remove_file(path)).await {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(classify(err)),
            _ => Ok(()),
        }
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        let folder = Arc::clone(&self.folder);
        blocking(move || list(&folder, after, limit)).await.map_err(classify)
    }

    async fn ping(&self) -> Result<(), BlobError> {
        let drafts = self.drafts();
        let probe = blocking(move || {
            let mut draft = Draft::create(&drafts)?;
            io::Write::write_all(draft.file(), b"ping")?;
            draft.discard();
            Ok(())
        });
        probe.await.map_err(classify)
    }
}

/// Makes every folder of the store. A later put then has only its own name to make durable.
fn prepare(folder: &Path) -> io::Result<()> {
    folder::make(folder)?;
    for shard in 0..=u8::MAX {
        make_inside(&folder.join(format!("{shard:02x}")))?;
    }
    make_inside(&folder.join("drafts"))?;
    // Also when all were there: whoever made them may have died before this.
    folder::sync(folder)
}

/// Makes a folder whose name is made durable with others'.
fn make_inside(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        outcome => outcome,
    }
}

/// Writes a body to a draft. No thread is kept for it: a slow body costs memory for two pieces, not a thread.
async fn write(drafts: PathBuf, body: ByteStream<'_>) -> Result<BlobWriter, BlobError> {
    let mut body = body.fuse();
    let mut writing = tokio::task::spawn_blocking(move || BlobWriter::create(&drafts));
    loop {
        // If this future is dropped, the writer falls out of its task when it is done, and takes its draft with it.
        let (piece, writer) = tokio::join!(gather(&mut body), writing);
        let writer = writer.unwrap_or_else(|err| Err(io::Error::other(err))).map_err(classify)?;
        let Some(piece) = piece.map_err(BlobError::Body)? else { return Ok(writer) };
        writing = tokio::task::spawn_blocking(move || writer.write(&piece));
    }
}

/// Collects a piece worth writing; none at the end.
async fn gather(body: &mut Fuse<ByteStream<'_>>) -> io::Result<Option<Bytes>> {
    let mut gathered = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if gathered.is_empty() && piece.len() >= WRITE {
            return Ok(Some(piece));
        }
        if gathered.is_empty() {
            gathered.reserve(WRITE + piece.len());
        }
        gathered.extend_from_slice(&piece);
        if gathered.len() >= WRITE {
            break;
        }
    }
    Ok((!gathered.is_empty()).then(|| gathered.freeze()))
}

/// The bytes of a range. The open file stays readable when its blob is deleted.
fn pieces(file: File, range: Range<u64>) -> ByteStream<'static> {
    let begin = range.start;
    stream::try_unfold((file, range), move |(mut file, range)| async move {
        let length = (range.end - range.start).min(READ);
        if length == 0 {
            return Ok(None);
        }
        let read = blocking(move || {
            if range.start == begin {
                blob_file::seek(&mut file, begin)?;
            }
            Ok((blob_file::read(&file, length)?, file))
        });
        let (piece, file) = read.await?;
        Ok(Some((piece, (file, range.start + length..range.end))))
    })
    .boxed()
}

fn list(folder: &Path, after: Option<Fid>, limit: usize) -> io::Result<Vec<BlobInfo>> {
    let mut page = Vec::new();
    let first = after.map_or(0, |fid| fid.as_bytes()[0]);
    for shard in first..=u8::MAX {
        let shard = folder.join(format!("{shard:02x}"));
        let names: io::Result<Vec<_>> = std::fs::read_dir(&shard)?.map(|entry| Ok(entry?.file_name())).collect();
        let names = names?;
        // Whatever else lies there is none of our business.
        let mut fids: Vec<Fid> = names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
        fids.retain(|fid| after.is_none_or(|after| *fid > after));
        fids.sort_unstable();
        for fid in fids {
            if page.len() == limit {
                return Ok(page);
            }
            match blob_file::open(&shard.join(fid.to_string()), &fid) {
                Ok((_, info)) => page.push(info),
                // Deleted since the folder was read.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                // A damaged file must not hide the others from the collector of orphans.
                Err(err) if err.kind() == io::ErrorKind::InvalidData || err.kind() == io::ErrorKind::UnexpectedEof => {
                    error!(blob.fid = %fid, error = &err as &dyn std::error::Error, "left out a blob that can't be read");
                }
                Err(err) => return Err(err),
            }
        }
    }
    Ok(page)
}

/// What the operating system's troubles mean to whoever asked: the one place that decides it.
///
/// Nearly all of them are for an administrator to mend (a disk that is full, broken, not mounted or read-only), and
/// then the same call succeeds: only what is wrong with the files themselves, or with this program, is for good.
fn classify(err: io::Error) -> BlobError {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(err.into()),
        io::ErrorKind::InvalidData
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::Unsupported
        | io::ErrorKind::FileTooLarge => BlobError::Internal(err.into()),
        _ => BlobError::Unavailable(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        // Linux' numbers: ENOSPC, EDQUOT, EIO, EROFS, ENAMETOOLONG.
        for (number, expected) in [(28, "full"), (122, "full"), (5, "unavailable"), (30, "unavailable")] {
            let words = classify(io::Error::from_raw_os_error(number)).to_string();
            assert!(words.contains(expected), "{number}: {words}");
        }
        assert!(matches!(classify(io::ErrorKind::InvalidData.into()), BlobError::Internal(_)));
    }
}
