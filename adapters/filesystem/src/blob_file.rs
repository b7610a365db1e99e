//! A blob as a file: its bytes, and behind them what is known of them.
//!
//! ```text
//! the blob's bytes │ BlobInfo as JSON │ length of the JSON (u32, little-endian) │ "msblob1\n"
//! ```
//!
//! One file for both, because one link can then publish both: there is no moment at which a blob has bytes and no
//! digest, or the other way round, and nothing has to be put in step again after a crash. They stand at the end
//! because size and digest are known last; the blob's bytes keep their offsets, so a range is one seek.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use microserve_core::blob::{BlobInfo, BlobMeta, Fid, Sha256};
use sha2::{Digest, Sha256 as Hasher};

use crate::draft::{Draft, Name};
use crate::folder;

const MAGIC: &[u8; 8] = b"msblob1\n";
const FOOTER: u64 = 4 + MAGIC.len() as u64;
/// What one read from the end of the file usually gets whole.
const USUAL_TAIL: u64 = 4096;

/// A blob on its way to the disk.
pub(crate) struct BlobWriter {
    draft: Draft,
    hasher: Hasher,
    size: u64,
}

impl BlobWriter {
    pub(crate) fn create(drafts: &Path) -> io::Result<Self> {
        Ok(Self { draft: Draft::create(drafts)?, hasher: Hasher::new(), size: 0 })
    }

    pub(crate) fn write(mut self, piece: &[u8]) -> io::Result<Self> {
        self.draft.file().write_all(piece)?;
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        Ok(self)
    }

    /// Makes the blob visible under `path`, whole and durable: its bytes first, then its name, then the name's
    /// durability. `is_wanted` is asked as late as possible. An error of kind [`io::ErrorKind::AlreadyExists`] says
    /// that there is one, and nothing else does.
    pub(crate) fn publish(
        mut self,
        path: &Path,
        about: (Fid, BlobMeta, jiff::Timestamp),
        is_wanted: impl FnOnce() -> bool,
    ) -> io::Result<Published> {
        let (fid, meta, created_at) = about;
        let info = BlobInfo { fid, size: self.size, sha256: Sha256(self.hasher.finalize().into()), created_at, meta };
        self.draft.file().write_all(&tail(&info)?)?;
        self.draft.sync()?;
        if !is_wanted() {
            return Err(io::Error::other("nobody waits for the blob any more"));
        }
        self.draft.link(path)?;
        // From here on the blob is there, and belongs to a value: whatever goes wrong behind this line, a writer that
        // was dropped meanwhile for instance, takes it away again.
        let published = Published { name: Name::of(path.to_owned()), info };
        folder::sync(path.parent().unwrap_or(path))?;
        self.draft.discard();
        Ok(published)
    }
}

/// A blob that is there, but whose writer doesn't know yet. Dropping it removes the blob.
pub(crate) struct Published {
    name: Name,
    info: BlobInfo,
}

impl Published {
    /// The writer knows: the blob stays.
    pub(crate) fn keep(self) -> BlobInfo {
        self.name.keep();
        self.info
    }
}

fn tail(info: &BlobInfo) -> io::Result<Vec<u8>> {
    let mut tail = serde_json::to_vec(info)?;
    let length = u32::try_from(tail.len()).map_err(io::Error::other)?;
    tail.extend_from_slice(&length.to_le_bytes());
    tail.extend_from_slice(MAGIC);
    Ok(tail)
}

/// Opens a blob's file and reads what is known of the blob.
pub(crate) fn open(path: &Path, fid: &Fid) -> io::Result<(File, BlobInfo)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail_length = length.min(USUAL_TAIL);
    let mut end = vec![0; tail_length as usize];
    file.read_exact_at(&mut end, length - tail_length)?;

    let footer = end.len().checked_sub(FOOTER as usize).ok_or_else(|| damaged("is too short"))?;
    let (front, magic) = end[footer..].split_at(4);
    if magic != MAGIC {
        return Err(damaged("does not end as a blob does"));
    }
    let json_length = u64::from(u32::from_le_bytes(front.try_into().map_err(io::Error::other)?));
    let size = length.checked_sub(FOOTER + json_length).ok_or_else(|| damaged("is shorter than it says"))?;
    let info: BlobInfo = if json_length <= footer as u64 {
        serde_json::from_slice(&end[footer - json_length as usize..footer])?
    } else {
        let mut json = vec![0; json_length as usize];
        file.read_exact_at(&mut json, size)?;
        serde_json::from_slice(&json)?
    };
    if info.fid != *fid || info.size != size {
        return Err(damaged("is that of another blob, or has lost bytes"));
    }
    Ok((file, info))
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the blob's file {how}"))
}

/// Goes to where the blob's byte `start` is.
pub(crate) fn seek(file: &mut File, start: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(start)).map(|_| ())
}

/// Reads the next `length` bytes: all of them, or it is an error.
pub(crate) fn read(file: &File, length: u64) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(length as usize);
    file.take(length).read_to_end(&mut piece)?;
    if piece.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob's file got shorter while it was read"));
    }
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use microserve_core::job::JobId;
    use microserve_core::{Clock, SystemClock};

    use super::*;

    fn write(folder: &Path, filename: String) -> (std::path::PathBuf, Fid) {
        let (fid, path) = (Fid::random(), folder.join("blob"));
        let meta = BlobMeta { job: JobId::random(), content_type: "x/y".into(), filename };
        let writer = BlobWriter::create(folder).unwrap().write(b"0123456789").unwrap();
        writer.publish(&path, (fid, meta, SystemClock.now()), || true).unwrap().keep();
        (path, fid)
    }

    #[test]
    fn damage_never_looks_like_a_blob() {
        let folder = tempfile::tempdir().unwrap();
        let (path, fid) = write(folder.path(), "a.mp4".into());
        let whole = std::fs::read(&path).unwrap();
        open(&path, &fid).unwrap();
        assert!(open(&path, &Fid::random()).is_err(), "that of another blob");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(open(&path, &fid).is_err(), "cut to {length} bytes");
            std::fs::write(&path, &whole[whole.len() - length..]).unwrap();
            assert!(open(&path, &fid).is_err(), "the last {length} bytes only");
        }
    }

    #[test]
    fn metadata_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        for length in [3000, 3800, 4000, 4096, 100_000] {
            let (path, fid) = write(folder.path(), "x".repeat(length));
            assert_eq!(open(&path, &fid).unwrap().1.meta.filename.len(), length);
            std::fs::remove_file(path).unwrap();
        }
    }
}
