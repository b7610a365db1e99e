//! The part of a job's life in which its video comes in several requests.
//!
//! What has come is in the row: each part is a blob of its own, and counts once the row names it. So any gateway can go
//! on where another one stopped, and of two that go on at the same place one wins.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Job, Policy, State, Step};
use crate::blob::Fid;

/// A video that comes in several requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// How many bytes it will have, once its sender has said so.
    pub length: Option<u64>,
    /// Its media type, as its sender says.
    pub content_type: String,
    /// What else its sender said of it, word for word.
    pub metadata: String,
    /// What has come, in order; none any more once the video is whole.
    pub stored: Vec<Part>,
}

/// A blob with a part of a video.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its blob.
    pub fid: Fid,
    /// Its size in bytes.
    pub size: u64,
}

impl Parts {
    /// How many bytes have come.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.stored.iter().map(|part| part.size).sum()
    }
}

impl Job {
    /// The same job, whose video comes in several requests.
    #[must_use]
    pub fn in_parts(mut self, parts: Parts, now: Timestamp, p: &Policy) -> Self {
        self.parts = Some(parts);
        self.rescheduled(now, p)
    }

    /// The parts of a video that is not whole yet.
    #[must_use]
    pub fn unfinished(&self) -> Option<&Parts> {
        self.parts.as_ref().filter(|_| matches!(self.state, State::Uploading { .. }))
    }

    /// Another part has come: the one that begins at byte `at`.
    ///
    /// # Errors
    /// [`NotPossible`](super::NotPossible) unless uploading in parts, with so many bytes received.
    pub fn append(mut self, at: u64, part: Part, now: Timestamp, p: &Policy) -> Step {
        let cannot = self.cannot("continued there");
        self.parts_at(at).ok_or(cannot)?.stored.push(part);
        self.keep_uploading(now, p)
    }

    /// The last `count` parts lie in one blob now.
    ///
    /// # Errors
    /// [`NotPossible`](super::NotPossible) unless uploading in parts, with so many bytes received in so many parts.
    pub fn merge(mut self, at: u64, count: usize, into: Part, now: Timestamp, p: &Policy) -> Step {
        let cannot = self.cannot("merged");
        let stored = &mut self.parts_at(at).ok_or(cannot)?.stored;
        let first = stored.len().checked_sub(count).ok_or(cannot)?;
        stored.truncate(first);
        stored.push(into);
        self.keep_uploading(now, p)
    }

    /// Its sender says how long the video will be.
    ///
    /// # Errors
    /// [`NotPossible`](super::NotPossible) unless uploading in parts, of less than that, and nothing else was said before.
    pub fn set_length(mut self, length: u64, now: Timestamp, p: &Policy) -> Step {
        let cannot = self.cannot("given another length");
        let Some(parts) = self.unfinished_mut() else { return Err(cannot) };
        if parts.received() > length || parts.length.is_some_and(|known| known != length) {
            return Err(cannot);
        }
        parts.length = Some(length);
        self.keep_uploading(now, p)
    }

    /// All parts have come, and are the blob `video` now: the job is accepted, and its bell is to be rung. `at` is what the
    /// row knew of until then.
    ///
    /// # Errors
    /// [`NotPossible`](super::NotPossible) unless uploading in parts, with so many bytes received.
    pub fn accept_parts(mut self, at: u64, video: Part, now: Timestamp, p: &Policy) -> Step {
        let cannot = self.cannot("accepted");
        self.parts_at(at).ok_or(cannot)?.stored.clear();
        self.video = video.fid;
        self.accept(video.size, now, p)
    }

    /// The blobs of a video that will never be whole are deleted.
    ///
    /// # Errors
    /// [`NotPossible`](super::NotPossible) unless it is final.
    pub fn forget_parts(mut self, now: Timestamp, p: &Policy) -> Step {
        if !self.status().is_final() {
            return Err(self.cannot("stripped of its parts"));
        }
        if let Some(parts) = &mut self.parts {
            parts.stored.clear();
        }
        Ok(self.rescheduled(now, p))
    }

    /// The blobs of parts that are still there.
    pub fn stored_parts(&self) -> impl Iterator<Item = &Fid> {
        self.parts.iter().flat_map(|parts| &parts.stored).map(|part| &part.fid)
    }

    fn unfinished_mut(&mut self) -> Option<&mut Parts> {
        self.parts.as_mut().filter(|_| matches!(self.state, State::Uploading { .. }))
    }

    fn parts_at(&mut self, at: u64) -> Option<&mut Parts> {
        self.unfinished_mut().filter(|parts| parts.received() == at)
    }
}
