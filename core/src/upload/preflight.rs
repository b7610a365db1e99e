//! A look at a video before it is accepted: at its first bytes while they come, at its headers too if they stand at its
//! beginning ([`peek`](super::peek)), and at its headers in any case once it is stored.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::peek::Verdict;
use super::{Upload, UploadError};
use crate::blob::{BlobInfo, ByteStream};
use crate::retry::Retryable;
use crate::source::BlobSource;
use crate::transcode::{GLANCE_BYTES, Transcoder};

/// Looks at videos before they are accepted, no more than so many at a time: each may take all the memory that a
/// transcoder may have. Clones count together.
#[derive(Clone)]
pub struct Preflight {
    pub(super) transcoder: Arc<dyn Transcoder>,
    places: Arc<Semaphore>,
    /// Of videos that are being looked at while they come: each takes [`PEEK_BYTES`](super::peek::PEEK_BYTES).
    pub(super) beginnings: Arc<Semaphore>,
}

/// So many beginnings are kept at the same time.
const BEGINNINGS: usize = 8;

/// So long an upload waits for a place. Files that keep the others from being looked at keep nobody from uploading.
const PATIENCE: Duration = Duration::from_secs(30);

impl Preflight {
    /// Looks at so many videos at the same time, at least one. Others wait, half a minute at most.
    #[must_use]
    pub fn new(transcoder: Arc<dyn Transcoder>, at_a_time: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_a_time.max(1)));
        Self { transcoder, places, beginnings: Arc::new(Semaphore::new(BEGINNINGS)) }
    }

    /// Why a video can't be converted, as far as its first bytes tell.
    fn glance(&self, head: &[u8]) -> Result<(), UploadError> {
        self.transcoder.glance(head).map_or(Ok(()), |err| Err(UploadError::Unusable(err.problem())))
    }

    /// A place. It is free again when this is dropped. `None`: there was none in time.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    /// A place, if there is one right now.
    pub(super) fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }
}

impl Upload {
    /// The same bytes, unless the first of them show that they are no video of which there can be an MP3. If only later
    /// ones do, they end in an error, and there is a verdict. `length` is that of the whole file; without one, the file ends
    /// with these bytes.
    pub(super) async fn glanced<'a>(
        &self,
        mut body: ByteStream<'a>,
        length: Option<u64>,
        verdict: &Verdict,
    ) -> Result<ByteStream<'a>, UploadError> {
        let Some(preflight) = &self.preflight else { return Ok(body) };
        let (mut pieces, mut head, mut end) = (Vec::new(), Vec::new(), None);
        while head.len() < GLANCE_BYTES && end.is_none() {
            match body.next().await {
                Some(Ok(piece)) => {
                    head.extend_from_slice(&piece[..piece.len().min(GLANCE_BYTES - head.len())]);
                    pieces.push(Ok(piece));
                }
                Some(Err(err)) => end = Some(Err(err)),
                None => end = Some(Ok(())),
            }
        }
        let is_whole = matches!(end, Some(Ok(()))) && length.is_none_or(|length| length == head.len() as u64);
        if head.len() == GLANCE_BYTES || is_whole && !head.is_empty() {
            preflight.glance(&head)?;
        }
        match end {
            Some(Ok(())) => {}
            Some(Err(err)) => pieces.push(Err(err)),
            None => return Ok(preflight.peeked(stream::iter(pieces).chain(body).boxed(), length, verdict)),
        }
        Ok(stream::iter(pieces).boxed())
    }

    /// Whether the video can be converted, as far as that can be told now.
    pub(super) async fn inspect(&self, info: &BlobInfo) -> Result<(), UploadError> {
        let Some(preflight) = &self.preflight else { return Ok(()) };
        // The converter looks at it, too: the sender hears of it later then.
        let Some(place) = preflight.place().await else { return Ok(()) };
        let mut source = BlobSource::open(Arc::clone(&self.videos), &info.fid).await?;
        let transcoder = Arc::clone(&preflight.transcoder);
        let probe = tokio::task::spawn_blocking(move || {
            // It goes along: a task that is given up makes no room for another before the work is over.
            let _place = place;
            transcoder.probe(&mut source)
        });
        let problem = match probe.await {
            Ok(Ok(info)) => info.problem,
            Ok(Err(err)) if !err.is_retryable() => Some(err.problem()),
            // Not the file's fault: let the converter have a try at it.
            Ok(Err(_)) | Err(_) => None,
        };
        problem.map_or(Ok(()), |problem| Err(UploadError::Unusable(problem)))
    }
}
