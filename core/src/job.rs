//! Jobs: what is to become of an uploaded video. The job's row is the truth; everything else only points at it.
//!
//! ```text
//! uploading ─► queued ─► converting ─► done ─► expired          any unfinished ─► cancelled
//!     │           ▲  └────────┘ retry later                     any final ─► deleted ─► (gone)
//!     └► (gone)   └ failed ◄── permanent error, or attempts used up
//!                    failed and cancelled ones can be told to run again: ─► queued
//! ```
//!
//! Every step is a pure function from a job and the time to the next job, or to an error that says why not. A store
//! only compares the version and swaps. [`Job::due_at`] says when the relay has to look at the job again if nothing
//! happens until then: that one field is the outbox (a bell to ring), the lease, the mail's schedule and the retention.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::account::{AccountId, Email};
use crate::blob::{Fid, Sha256};
use crate::id::id;
use crate::link::LinkKey;
use crate::retry::Backoff;
use crate::trace::TraceContext;
use crate::transcode::{Options, Problem, SourceInfo};

mod mail;
mod parts;
mod steps;
mod store;

pub use mail::MailState;
pub use parts::{Part, Parts};
pub use store::{ChangeError, JobError, JobStore, JobStoreExt, ListQuery, MOST_AT_ONCE, change, delete_all};

id!(
    /// Names a job.
    JobId
);

/// What a job's life is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// An upload that is silent for longer is abandoned.
    pub upload_ttl: Duration,
    /// The same for an upload that may come in several requests.
    pub resume_ttl: Duration,
    /// A worker that is silent for longer has lost its job.
    pub lease: Duration,
    /// A bell that nobody answered is rung again after this long, then after four times as long, and so on.
    pub ring_again: Backoff,
    /// Between attempts.
    pub backoff: Backoff,
    /// So many attempts at most.
    pub attempts: u32,
    /// No new attempt when the job was accepted longer ago.
    pub give_up_after: Duration,
    /// A mail that takes longer has an unknown outcome.
    pub mail_lease: Duration,
    /// How long a link is good that opens an MP3 without logging in.
    pub link_ttl: Duration,
    /// How long videos are kept after their job's end. `None`: for ever.
    pub keep_videos: Option<Duration>,
    /// How long MP3s are kept after their job's end. `None`: for ever.
    pub keep_mp3s: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            upload_ttl: 15 * MINUTE,
            resume_ttl: 24 * 60 * MINUTE,
            lease: Duration::from_secs(30),
            ring_again: Backoff { first: Duration::from_secs(30), factor: 4, max: 30 * MINUTE },
            backoff: Backoff::JOB,
            attempts: 8,
            give_up_after: 24 * 60 * MINUTE,
            mail_lease: 5 * MINUTE,
            link_ttl: 7 * 24 * 60 * MINUTE,
            keep_videos: Some(24 * 60 * MINUTE),
            keep_mp3s: None,
        }
    }
}

/// One uploaded video's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Counts stored changes; a store swaps only if it still holds this one.
    pub version: u64,
    /// Whose it is.
    pub owner: AccountId,
    /// Where the mail goes.
    pub email: Email,
    /// The uploaded file's name, for people only.
    pub filename: String,
    /// What the MP3 is to be like.
    pub options: Options,
    /// The digest of the request that has made it, if its sender named that request
    /// ([`IdempotencyKey`](crate::idempotency::IdempotencyKey)).
    #[serde(default)]
    pub request: Option<Sha256>,
    /// What has caused it, which is what caused its conversions and its mail: the request that brought its video.
    #[serde(default)]
    pub trace: Option<TraceContext>,
    /// How its video comes in, if that takes several requests.
    #[serde(default)]
    pub parts: Option<Parts>,
    /// The video's blob.
    pub video: Fid,
    /// The video's size in bytes, once it is stored.
    pub video_size: Option<u64>,
    /// The video's blob has been deleted.
    pub video_gone: bool,
    /// Where it stands.
    pub state: State,
    /// Claims so far: a worker of an older epoch has lost the job.
    pub epoch: u32,
    /// Attempts at converting, counted before the work.
    pub attempt: u32,
    /// How far the running attempt is, in 0..=1.
    pub progress: f64,
    /// How often the bell of the present state was rung by the relay.
    pub rings: u32,
    /// When the relay has to look at this job if nothing happens until then.
    pub due_at: Option<Timestamp>,
    /// What the video was found to be.
    pub source: Option<SourceInfo>,
    /// The MP3.
    pub output: Option<Output>,
    /// What links to the MP3 are signed by. `None`: they were revoked.
    #[serde(default)]
    pub link_key: Option<LinkKey>,
    /// Why the last attempt failed, while there will be another.
    pub last_problem: Option<Problem>,
    /// The mail to the owner.
    pub mail: MailState,
    /// When the upload began.
    pub created_at: Timestamp,
    /// When the upload was complete, or the job was last told to run again: from here on it is never lost.
    pub accepted_at: Option<Timestamp>,
    /// When the last attempt began.
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// The video is on its way in.
    Uploading {
        /// When its uploader was last heard of.
        seen_at: Timestamp,
    },
    /// Waits for a worker.
    Queued {
        /// Not before this moment.
        not_before: Timestamp,
    },
    /// A worker has it.
    Converting {
        /// The worker has lost it if not heard of by then.
        lease_until: Timestamp,
        /// What the worker does.
        phase: Phase,
    },
    /// The MP3 is there.
    Done,
    /// There will be no MP3.
    Failed {
        /// Why.
        problem: Problem,
    },
    /// The owner didn't want it any more.
    Cancelled,
    /// The MP3 was there and has been deleted, as the retention wants it.
    Expired,
    /// The owner deleted it: no longer shown, and its files are being removed.
    Deleted,
}

/// What a worker does with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking at the video.
    Probing,
    /// Decoding and encoding.
    Transcoding,
    /// Writing the MP3 to the blob store.
    Storing,
}

/// A [`State`] without its details, as clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words are those of `State`")]
pub enum Status {
    Uploading,
    Queued,
    Converting,
    Done,
    Failed,
    Cancelled,
    Expired,
    Deleted,
}

impl Status {
    /// Every status, in the order of a job's life.
    pub const ALL: [Self; 8] = [
        Self::Uploading,
        Self::Queued,
        Self::Converting,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Expired,
        Self::Deleted,
    ];

    /// The word clients see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Queued => "queued",
            Self::Converting => "converting",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
        }
    }

    /// Whether nothing more happens to the conversion.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Uploading | Self::Queued | Self::Converting)
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|s| s.as_str() == text).ok_or(UnknownStatus)
    }
}

/// The word is no status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a status: one of uploading, queued, converting, done, failed, cancelled, expired")]
pub struct UnknownStatus;

/// The MP3 that a job has led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Its blob.
    pub fid: Fid,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Seconds; not known of an MP3 that somebody else has made.
    pub duration: Option<f64>,
    /// Mean bitrate in bit/s; not known of an MP3 that somebody else has made.
    pub bitrate: Option<u32>,
}

/// The step is not possible from where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} can't be {step}", .status.as_str())]
pub struct NotPossible {
    /// Where the job stands.
    pub status: Status,
    /// What was asked.
    pub step: &'static str,
}

type Step = Result<Job, NotPossible>;
