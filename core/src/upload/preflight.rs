//! A look at a stored video before it is accepted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Upload, UploadError};
use crate::blob::BlobInfo;
use crate::retry::Retryable;
use crate::source::BlobSource;
use crate::transcode::Transcoder;

/// Looks at videos before they are accepted, no more than so many at a time: each may take all the memory that a
/// transcoder may have. Clones count together.
#[derive(Clone)]
pub struct Preflight {
    transcoder: Arc<dyn Transcoder>,
    places: Arc<Semaphore>,
}

/// So long an upload waits for a place. Files that keep the others from being looked at keep nobody from uploading.
const PATIENCE: Duration = Duration::from_secs(30);

impl Preflight {
    /// Looks at so many videos at the same time, at least one. Others wait, half a minute at most.
    #[must_use]
    pub fn new(transcoder: Arc<dyn Transcoder>, at_a_time: usize) -> Self {
        Self { transcoder, places: Arc::new(Semaphore::new(at_a_time.max(1))) }
    }

    /// A place. It is free again when this is dropped. `None`: there was none in time.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(PATIENCE, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }
}

impl Upload {
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
