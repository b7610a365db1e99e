//! A blob store of one's own, and a server that uses it: every blob in one file that only ever grows.
//!
//! ```sh
//! cargo run -p microserve-examples --example custom_blob_store -- --blobs onefile:///tmp/blobs
//! ```
//!
//! It keeps every promise of [`BlobStore`]: the one line at the end of this file says so, and is all that a backend
//! needs for its test. What it does not do: give room back, or serve two processes at once.
//!
//! # The file
//!
//! A record is a line of JSON that says what happened. Behind `put` come the blob's bytes and a line feed. That line
//! feed is the commit: it is written after everything before it is on the disk. Opening the file reads all records and
//! cuts off what a crash left unfinished.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use futures_util::{StreamExt, stream};
use microserve::config::Serve;
use microserve::core::blob::{Blob, BlobError, BlobInfo, BlobMeta, BlobStore, ByteStream, Fid, Sha256};
use microserve::core::{BoxError, Clock, Shutdown, SystemClock};
use microserve::registry::{Blobs, Registry};
use microserve::server::Server;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

/// Bodies are read in pieces of this size.
const PIECE: u64 = 64 * 1024;

/// Blobs in one file.
#[derive(Clone)]
struct OneFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// What there is, and where its bytes begin. Locked for moments only.
    index: Mutex<Index>,
    /// The end of the file. Locked while a record is written, so never by a thread that other tasks wait for.
    tail: Mutex<Tail>,
}

struct Tail {
    file: File,
    end: u64,
}

/// What happened.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Put(BlobInfo),
    Delete(Fid),
}

impl OneFile {
    /// Opens the file, or makes an empty one.
    fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        file.try_lock()?;
        let (index, end) = replay(&file)?;
        file.set_len(end)?;
        // The file's name has to survive a power cut as well.
        #[cfg(unix)]
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        Ok(Self(Arc::new(Inner { path, index: Mutex::new(index), tail: Mutex::new(Tail { file, end }) })))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.0.index)
    }

    fn find(&self, fid: &Fid) -> Result<(BlobInfo, u64), BlobError> {
        self.index().get(fid).cloned().ok_or(BlobError::NotFound(*fid))
    }

    /// Does work that waits for the disk on a thread that may wait.
    async fn blocking<F>(&self, work: F) -> Result<(), BlobError>
    where
        F: FnOnce(&Self) -> Result<(), BlobError> + Send + 'static,
    {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|panicked| Err(BlobError::Internal(panicked.into())))
    }

    fn put_record(&self, info: BlobInfo, body: &mut File, abandoned: &CancellationToken) -> Result<(), BlobError> {
        let mut tail = lock(&self.0.tail);
        if self.index().contains_key(&info.fid) {
            return Err(BlobError::AlreadyExists(info.fid));
        }
        let record = Record::Put(info.clone());
        let header = tail.write(&record).map_err(classify)?;
        io::copy(body, &mut tail.file).and_then(|_| tail.file.sync_all()).map_err(classify)?;
        // Whoever dropped the future of this put counts on nothing being there.
        if abandoned.is_cancelled() {
            return Ok(());
        }
        tail.file.write_all(b"\n").and_then(|()| tail.file.sync_all()).map_err(classify)?;
        let start = tail.end + header;
        tail.end = start + info.size + 1;
        self.index().insert(info.fid, (info, start));
        Ok(())
    }

    fn delete_record(&self, fid: Fid) -> Result<(), BlobError> {
        let mut tail = lock(&self.0.tail);
        if !self.index().contains_key(&fid) {
            return Ok(());
        }
        let header = tail.write(&Record::Delete(fid)).map_err(classify)?;
        tail.file.sync_all().map_err(classify)?;
        tail.end += header;
        self.index().remove(&fid);
        Ok(())
    }
}

impl Tail {
    /// Writes a record's line at the end, over what an unfinished record may have left there; returns its length.
    fn write(&mut self, record: &Record) -> io::Result<u64> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&line)?;
        Ok(line.len() as u64)
    }
}

/// What there is: each blob, and where its bytes begin in the file.
type Index = BTreeMap<Fid, (BlobInfo, u64)>;

/// Reads all records; returns what there is, and where the last finished record ends.
fn replay(file: &File) -> io::Result<(Index, u64)> {
    let (mut file, mut index, mut end) = (BufReader::new(file), BTreeMap::new(), 0);
    loop {
        let mut line = Vec::new();
        let start = end + file.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') {
            return Ok((index, end));
        }
        match serde_json::from_slice(&line) {
            Ok(Record::Put(info)) => {
                let (body_end, mut mark) = (start + info.size, [0]);
                file.seek(SeekFrom::Start(body_end))?;
                if file.read(&mut mark)? != 1 || mark != *b"\n" {
                    return Ok((index, end));
                }
                end = body_end + 1;
                index.insert(info.fid, (info, start));
            }
            Ok(Record::Delete(fid)) => {
                end = start;
                index.remove(&fid);
            }
            Err(_) => return Ok((index, end)),
        }
    }
}

#[async_trait]
impl BlobStore for OneFile {
    async fn put(&self, fid: &Fid, meta: BlobMeta, mut body: ByteStream<'_>) -> Result<BlobInfo, BlobError> {
        // The body is collected apart: many may be on their way, and some never end.
        let mut spool = tokio::fs::File::from_std(tempfile::tempfile().map_err(classify)?);
        let (mut size, mut hasher) = (0, sha2::Sha256::new());
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(BlobError::Body)?;
            size += piece.len() as u64;
            hasher.update(&piece);
            spool.write_all(&piece).await.map_err(classify)?;
        }
        spool.rewind().await.map_err(classify)?;
        let mut spool = spool.into_std().await;

        let sha256 = Sha256(hasher.finalize().into());
        let info = BlobInfo { fid: *fid, size, sha256, created_at: SystemClock.now(), meta };
        let (record, abandoned) = (info.clone(), CancellationToken::new());
        let _dropped_with_this_future = abandoned.clone().drop_guard();
        self.blocking(move |store| store.put_record(record, &mut spool, &abandoned)).await?;
        Ok(info)
    }

    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError> {
        self.find(fid).map(|(info, _)| info)
    }

    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError> {
        let (info, start) = self.find(fid)?;
        let range = match range {
            None => 0..info.size,
            Some(range) if range.start >= info.size || range.is_empty() => {
                return Err(BlobError::RangeNotSatisfiable { start: range.start, size: info.size });
            }
            Some(range) => range.start..range.end.min(info.size),
        };
        let mut file = tokio::fs::File::open(&self.0.path).await.map_err(classify)?;
        file.seek(SeekFrom::Start(start + range.start)).await.map_err(classify)?;
        // A deleted blob's bytes stay in the file, so one that is being read is read to its end.
        let body = stream::try_unfold((file, range.end - range.start), |(mut file, left)| async move {
            let mut piece = vec![0; left.min(PIECE) as usize];
            file.read_exact(&mut piece).await?;
            let left = left - piece.len() as u64;
            io::Result::Ok((!piece.is_empty()).then(|| (Bytes::from(piece), (file, left))))
        });
        Ok(Blob { info, range, body: body.boxed() })
    }

    async fn delete(&self, fid: &Fid) -> Result<(), BlobError> {
        let fid = *fid;
        self.blocking(move |store| store.delete_record(fid)).await
    }

    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let index = self.index();
        Ok(index.range((from, Bound::Unbounded)).take(limit).map(|(_, (info, _))| info.clone()).collect())
    }

    async fn ping(&self) -> Result<(), BlobError> {
        tokio::fs::metadata(&self.0.path).await.map(|_| ()).map_err(classify)
    }
}

/// The one place that says what an error of the file means for callers.
fn classify(err: io::Error) -> BlobError {
    match err.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(err.into()),
        _ => BlobError::Unavailable(err.into()),
    }
}

/// A panic elsewhere leaves what is inside as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `onefile:///folder`: a file for the videos and one for the MP3s.
fn open_both(folder: &Path) -> Result<Blobs, BoxError> {
    std::fs::create_dir_all(folder)?;
    let videos = Arc::new(OneFile::open(folder.join("videos.blobs"))?);
    let mp3s = Arc::new(OneFile::open(folder.join("mp3s.blobs"))?);
    Ok(Blobs { videos, mp3s })
}

/// The options of `microserve serve`.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: Serve,
}

fn main() -> ExitCode {
    // Videos are read in children of this program: they turn off here, before there is anything else.
    if let Some(done) = microserve::child() {
        return done;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _nobody_listens = writeln!(io::stderr(), "{err}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Cli::parse().serve;
    let mut registry = Registry::embedded();
    registry.blobs.add("onefile", |url| async move {
        let url = url.expose_url().ok_or("not a URL")?;
        open_both(Path::new(url.path()))
    });
    let shutdown = Shutdown::new();
    let server = Server::start(&config, &registry, &shutdown).await?;
    writeln!(io::stderr(), "listening on http://{}; Ctrl-C stops", server.address)?;
    tokio::signal::ctrl_c().await?;
    server.stop(&shutdown, config.process.grace).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use microserve_core::conformance::Fixture;

    use super::*;

    fn fixture() -> Fixture<OneFile> {
        let folder = tempfile::tempdir().unwrap();
        Fixture::new(OneFile::open(folder.path().join("blobs")).unwrap()).keep(folder)
    }

    microserve_core::blob_store_conformance!(|| async { fixture() });

    fn meta() -> BlobMeta {
        let job = microserve::core::job::JobId::random();
        BlobMeta { job, content_type: "video/mp4".into(), filename: "holiday.mp4".into() }
    }

    #[tokio::test]
    async fn what_was_finished_survives_a_crash_and_what_was_not_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blobs");
        let body = || stream::iter([Ok(Bytes::from_static(b"line\nfeed"))]).boxed();
        let (kept, gone) = (Fid::random(), Fid::random());
        let store = OneFile::open(&path).unwrap();
        let info = store.put(&kept, meta(), body()).await.unwrap();
        store.put(&gone, meta(), body()).await.unwrap();
        store.delete(&gone).await.unwrap();
        drop(store);
        let finished = std::fs::read(&path).unwrap();

        let store = OneFile::open(&path).unwrap();
        store.put(&Fid::random(), meta(), body()).await.unwrap();
        drop(store);
        let more = std::fs::read(&path).unwrap();
        for crash in finished.len()..more.len() {
            std::fs::write(&path, &more[..crash]).unwrap();
            let store = OneFile::open(&path).unwrap();
            assert_eq!(store.list(None, 10).await.unwrap(), std::slice::from_ref(&info), "cut at byte {crash}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), finished.len() as u64);
        }
    }

    #[test]
    fn two_processes_can_not_share_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blobs");
        let _first = OneFile::open(&path).unwrap();
        assert!(OneFile::open(&path).is_err());
    }
}
