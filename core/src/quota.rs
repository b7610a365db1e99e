//! Quotas: how much of everything one account may take up.
//!
//! What is taken up is asked of the job store at each upload, so that every gateway sees the same. Uploads that come at the
//! same time may each find the last free place: then all of them are refused, and none is kept over the quota. Only bytes
//! may go over by what was under way.

use std::time::Duration;

use serde::Serialize;

use crate::job::{Job, State, Status};

/// What is decoded is counted for this long.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The most that one account may take up. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quota {
    /// Bytes of videos and MP3s that are kept.
    pub bytes: Option<u64>,
    /// Jobs that have a video or an MP3, or are unfinished.
    pub files: Option<u64>,
    /// Jobs that are being uploaded, wait, or are converted.
    pub unfinished: Option<u64>,
    /// Jobs that are converted at the same time; more of them wait.
    pub converting: Option<u64>,
    /// Seconds of sound in the videos of a day.
    pub seconds_per_day: Option<f64>,
}

/// What an account takes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Bytes of videos and MP3s that are kept.
    pub bytes: u64,
    /// Jobs that have a video or an MP3, or are unfinished.
    pub files: u64,
    /// Jobs that are being uploaded.
    pub uploading: u64,
    /// Jobs that wait to be converted.
    pub queued: u64,
    /// Jobs that are converted.
    pub converting: u64,
    /// Seconds of sound in the videos that came since the moment that was asked for.
    pub seconds: f64,
}

impl Usage {
    /// Adds jobs of one status: how many, how many of them hold files, of how many bytes, and the seconds of those that
    /// are not older than was asked for.
    pub fn add(&mut self, status: Status, jobs: u64, with_files: u64, bytes: u64, seconds: f64) {
        match status {
            Status::Uploading => self.uploading += jobs,
            Status::Queued => self.queued += jobs,
            Status::Converting => self.converting += jobs,
            _ => {}
        }
        self.files += if status.is_final() { with_files } else { jobs };
        self.bytes = self.bytes.saturating_add(bytes);
        self.seconds += seconds;
    }

    /// Jobs that are being uploaded, wait, or are converted.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.uploading + self.queued + self.converting
    }
}

impl Quota {
    /// Whether an account that takes up `usage`, the upload in question included, stays within the quota.
    ///
    /// # Errors
    /// The first limit that it is over.
    pub fn check(&self, usage: &Usage) -> Result<(), Exceeded> {
        let is_over = |limit: Option<u64>, is: u64| limit.filter(|limit| is > *limit);
        if let Some(limit) = is_over(self.unfinished, usage.unfinished()) {
            return Err(Exceeded::Unfinished { limit });
        }
        if let Some(limit) = is_over(self.files, usage.files) {
            return Err(Exceeded::Files { limit });
        }
        if let Some(limit) = is_over(self.bytes, usage.bytes) {
            return Err(Exceeded::Bytes { limit });
        }
        if let Some(limit) = self.seconds_per_day.filter(|limit| usage.seconds >= *limit) {
            return Err(Exceeded::Hours { limit: limit / 3600.0 });
        }
        Ok(())
    }

    /// Whether anything is limited that an upload is refused for.
    #[must_use]
    pub fn limits_uploads(&self) -> bool {
        *self != Self { converting: self.converting, ..Self::default() }
    }
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Exceeded {
    /// Too many bytes are kept.
    #[error("your files may take up {limit} bytes: delete some")]
    Bytes {
        /// So many may be.
        limit: u64,
    },
    /// Too many files are kept.
    #[error("you may keep {limit} files: delete some")]
    Files {
        /// So many may be.
        limit: u64,
    },
    /// Too many jobs are unfinished.
    #[error("{limit} of your jobs may be unfinished at a time: wait for some, or cancel them")]
    Unfinished {
        /// So many may be.
        limit: u64,
    },
    /// Too much was converted within a day.
    #[error("{limit} hours of sound may be converted within a day")]
    Hours {
        /// So many may be.
        limit: f64,
    },
}

impl Job {
    /// Bytes in the blob stores that are there for this job. An upload that has told its length takes up all of it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        if self.state == State::Deleted {
            return 0;
        }
        let coming = self.unfinished().map_or(0, |parts| parts.length.unwrap_or(0).max(parts.received()));
        let video = self.video_size.filter(|_| !self.video_gone).unwrap_or(coming);
        let mp3 = self.output.as_ref().filter(|_| self.mp3().is_some()).map_or(0, |output| output.size);
        video.saturating_add(mp3)
    }

    /// Seconds of sound in its MP3, or else in its video, as far as that is known.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let made = self.output.as_ref().and_then(|output| output.duration);
        let found = self.source.as_ref().and_then(|source| source.audio()?.duration);
        made.or(found).filter(|seconds| seconds.is_finite()).unwrap_or(0.0).max(0.0)
    }
}
