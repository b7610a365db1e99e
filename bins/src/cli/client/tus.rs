//! Resumable uploads: the client's side of tus 1.0.0 (<https://tus.io/protocols/resumable-upload>).
//!
//! The upload's id is remembered as soon as the server has given it, so that the same command goes on where it was,
//! after a cut in the same process, after a crash in another. The server alone says how far that is.

use std::fs::Metadata;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt;
use indicatif::ProgressBar;
use microserve_core::job::JobId;
use reqwest::header::{self, HeaderMap};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::api::{self, Api, IDLE};
use super::patience::{Patience, Told, Trouble};
use super::store::Store;
use crate::cli::Failure;

/// What is read at once.
const PIECE: usize = 64 * 1024;
/// How long the last answer may take: the server puts the parts together and looks at the file.
const LAST: Duration = Duration::from_secs(300);

/// A file on its way to a server.
pub(super) struct Sending<'a> {
    api: &'a Api,
    store: &'a Store,
    path: PathBuf,
    /// What the file was like at first: another one does not go on with it.
    size: u64,
    modified: Duration,
    metadata: String,
    bar: &'a ProgressBar,
}

/// How far an upload is.
struct Stand {
    offset: u64,
    /// The job that it has become.
    job: Option<JobId>,
}

impl<'a> Sending<'a> {
    /// A file, with what the MP3 is to be like.
    pub(super) fn new(
        api: &'a Api,
        store: &'a Store,
        path: &Path,
        asked: &[(&str, &str)],
        bar: &'a ProgressBar,
    ) -> Result<Self, Failure> {
        let failed = |err: io::Error| Failure::new(Failure::FILE, format!("can't open {}: {err}", path.display()));
        let path = path.canonicalize().map_err(failed)?;
        let file = std::fs::metadata(&path).map_err(failed)?;
        if !file.is_file() {
            return Err(Failure::new(Failure::FILE, format!("{} is not a file", path.display())));
        }
        if file.len() == 0 {
            return Err(Failure::new(Failure::NOT_CONVERTIBLE, format!("{} is empty", path.display())));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let pairs = std::iter::once(("filename", name.as_str())).chain(asked.iter().copied());
        let metadata: Vec<_> = pairs.map(|(key, value)| format!("{key} {}", STANDARD.encode(value))).collect();
        let (size, modified) = (file.len(), modified(&file));
        bar.set_length(size);
        Ok(Self { api, store, path, size, modified, metadata: metadata.join(","), bar })
    }

    /// Sends what the server has not got yet; the job that the upload has become.
    pub(super) async fn send(&self) -> Result<JobId, Failure> {
        let key = self.key();
        let mut known = self.store.upload(&key)?;
        for _ in 0..3 {
            let id = match known.take() {
                Some(id) => id,
                None => self.create(&key).await?,
            };
            let job = self.until_complete(&key, &id).await?;
            self.store.forget_upload(&key)?;
            if let Some(job) = job {
                return Ok(job);
            }
        }
        Err(Failure::new(1, "the server forgets the upload again and again"))
    }

    /// Sends until the upload is a job; none if the server does not know the upload, or not any more.
    async fn until_complete(&self, key: &str, id: &str) -> Result<Option<JobId>, Failure> {
        let (mut patience, mut kept, mut conflict) = (Patience::long(self.bar), 0, None::<Told>);
        loop {
            let asked = self.ask(id).await;
            let attempt = match asked {
                Ok(Stand { job: Some(job), .. }) => return Ok(Some(job)),
                Ok(Stand { offset, .. }) => {
                    if offset > kept {
                        kept = offset;
                        patience.renew();
                    }
                    self.go_on(id, offset).await
                }
                Err(trouble) => Err(trouble),
            };
            let trouble = match attempt {
                Ok(Stand { job: Some(job), .. }) => return Ok(Some(job)),
                Ok(_) => Trouble::Line("the server has not taken all of the file".to_owned()),
                Err(Trouble::Told(told)) if is_gone(told.status) => match conflict.take() {
                    Some(told) => Trouble::Told(told),
                    None => return Ok(None),
                },
                // Bytes of a connection that broke have come meanwhile, or somebody has cancelled it: asking tells.
                Err(Trouble::Told(told)) if told.status == StatusCode::CONFLICT => {
                    let line = Trouble::Line(told.words());
                    conflict = Some(told);
                    line
                }
                Err(trouble) => trouble,
            };
            if trouble.is_for_good() {
                self.store.forget_upload(key)?;
            }
            patience.after(trouble).await?;
        }
    }

    /// What the upload is remembered by.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        let (path, size) = (self.path.as_os_str().as_encoded_bytes(), self.size.to_be_bytes());
        let (address, modified) = (self.api.address().to_string(), self.modified.as_nanos().to_be_bytes());
        for part in [address.as_bytes(), path, &size, &modified, self.metadata.as_bytes()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.api.request(method, path).header("tus-resumable", "1.0.0")
    }

    /// `POST /files`: the id of a new upload, which is remembered.
    async fn create(&self, key: &str) -> Result<String, Failure> {
        let make = || {
            let create = self.request(Method::POST, "files").header("upload-length", self.size);
            create.header("upload-metadata", &self.metadata).header(header::CONTENT_LENGTH, 0)
        };
        let response = self.api.call(make).await?;
        let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
        // Whatever a proxy makes of the address: uploads lie below this server's.
        let id = location.and_then(|location| location.trim_end_matches('/').rsplit('/').next());
        let id = id.filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let strange = "the server takes no resumable uploads: is this a microserve gateway?";
        let id = id.ok_or_else(|| Failure::new(1, strange))?;
        self.store.remember_upload(key, id)?;
        Ok(id.to_owned())
    }

    /// `HEAD /files/{id}`: how far it is.
    async fn ask(&self, id: &str) -> Result<Stand, Trouble> {
        let request = self.request(Method::HEAD, &format!("files/{id}"));
        let stand = stand(&api::answer(request.send(), LAST).await?, self.size).map_err(Trouble::Ours)?;
        self.bar.set_position(stand.offset);
        self.bar.reset_eta();
        Ok(stand)
    }

    /// `PATCH /files/{id}`: sends everything from `offset` on.
    async fn go_on(&self, id: &str, offset: u64) -> Result<Stand, Trouble> {
        let mut file = self.unchanged().await.map_err(Trouble::Ours)?;
        file.seek(SeekFrom::Start(offset)).await.map_err(|err| Trouble::Ours(self.unreadable(&err)))?;
        let left = self.size - offset;
        let (passed, fault) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None::<io::Error>)));
        let (count, broken, bar) = (Arc::clone(&passed), Arc::clone(&fault), self.bar.clone());
        let pieces = ReaderStream::with_capacity(file.take(left), PIECE)
            .inspect_ok(move |piece| {
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
                bar.inc(piece.len() as u64);
            })
            .map_err(move |err| {
                let told = io::Error::from(err.kind());
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(err);
                told
            });
        let patch = self.request(Method::PATCH, &format!("files/{id}")).header("upload-offset", offset);
        let patch = patch.header(header::CONTENT_TYPE, "application/offset+octet-stream");
        let patch = patch.header(header::CONTENT_LENGTH, left).body(Body::wrap_stream(pieces));
        let answered = tokio::select! {
            // However long it takes, as long as something moves.
            answered = api::answer(patch.send(), Duration::MAX) => answered,
            () = stalled(&passed, left) => Err(api::silence()),
        };
        if let Some(err) = fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(Trouble::Ours(self.unreadable(&err)));
        }
        stand(&answered?, self.size).map_err(Trouble::Ours)
    }

    /// The file, if it is still the one that the upload began with: two halves of different files are none.
    async fn unchanged(&self) -> Result<File, Failure> {
        let file = File::open(&self.path).await.map_err(|err| self.unreadable(&err))?;
        let now = file.metadata().await.map_err(|err| self.unreadable(&err))?;
        if (now.len(), modified(&now)) != (self.size, self.modified) {
            let words = "has changed while it was uploaded: upload it again";
            return Err(Failure::new(Failure::FILE, format!("{} {words}", self.path.display())));
        }
        Ok(file)
    }

    fn unreadable(&self, err: &io::Error) -> Failure {
        Failure::new(Failure::FILE, format!("can't read {}: {err}", self.path.display()))
    }
}

fn modified(file: &Metadata) -> Duration {
    file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default()
}

fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// Ends when nothing has moved for too long.
async fn stalled(passed: &AtomicU64, all: u64) {
    loop {
        let before = passed.load(Ordering::Relaxed);
        tokio::time::sleep(if before >= all { LAST } else { IDLE }).await;
        if passed.load(Ordering::Relaxed) == before {
            return;
        }
    }
}

/// What an answer says of the upload.
fn stand(response: &Response, size: u64) -> Result<Stand, Failure> {
    let offset = text(response.headers(), "upload-offset").and_then(|offset| offset.parse().ok());
    let strange = || Failure::new(1, "the server does not say how far the upload is: is this a microserve gateway?");
    let offset = offset.filter(|offset| *offset <= size).ok_or_else(strange)?;
    Ok(Stand { offset, job: text(response.headers(), "microserve-job").and_then(|job| job.parse().ok()) })
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}
