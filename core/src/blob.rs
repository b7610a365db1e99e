//! Blobs: uploaded videos and finished MP3s.
//!
//! A blob is written once, as a whole, under a fresh [`Fid`]. Readers see all of it or none of it, and it never changes.

use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::id;
use crate::job::JobId;
use crate::retry::{BoxError, Retryable};

id!(
    /// File id: the key of a blob, and what the mail brings.
    Fid
);

/// Bytes on their way, in pieces of any size.
pub type ByteStream<'a> = BoxStream<'a, io::Result<Bytes>>;

/// Keeps blobs.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Writes a blob: all of `body` or nothing, durable when this returns. Memory use does not depend on the blob's
    /// size. Dropping the future half-way leaves nothing visible. (Checks: `put_then_get`, `metadata_is_kept`, `empty_blob`,
    /// `failed_body_leaves_nothing`, `dropped_put_leaves_nothing`, `unfinished_put_is_invisible`,
    /// `second_put_is_refused`, `racing_puts_have_one_winner`, `big_blob_round_trips`.)
    ///
    /// # Errors
    /// [`BlobError::AlreadyExists`], and nothing is changed; [`BlobError::Body`] with the error of the stream;
    /// [`BlobError::Full`], [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn put(&self, fid: &Fid, meta: BlobMeta, body: ByteStream<'_>) -> Result<BlobInfo, BlobError>;

    /// What is known of a blob. (Checks: `put_then_get`, `missing_blob_is_not_found`.)
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn head(&self, fid: &Fid) -> Result<BlobInfo, BlobError>;

    /// Reads a blob or a range of its bytes. The range's end is clamped to the size. A blob that vanishes while it is
    /// read ends in an error, never in a clean short body. (Checks: `ranges_are_exact`, `range_end_is_clamped`,
    /// `range_start_past_the_end_is_refused`, `empty_range_is_refused`, `missing_blob_is_not_found`,
    /// `blob_deleted_while_read_never_ends_short`.)
    ///
    /// # Errors
    /// [`BlobError::NotFound`]; [`BlobError::RangeNotSatisfiable`] for a range that starts at or behind the end, or is
    /// empty; [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn get(&self, fid: &Fid, range: Option<Range<u64>>) -> Result<Blob, BlobError>;

    /// Removes a blob. Removing one that isn't there succeeds. (Checks: `delete_is_idempotent`,
    /// `deleted_fid_can_not_be_read`.)
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn delete(&self, fid: &Fid) -> Result<(), BlobError>;

    /// A page of the blobs in the order of their fids, starting behind `after`: how the collector of orphans goes
    /// through all of them. (Check: `list_pages_through_everything`.)
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn list(&self, after: Option<Fid>, limit: usize) -> Result<Vec<BlobInfo>, BlobError>;

    /// Whether the store can be used right now. (Check: `ping_succeeds`.)
    ///
    /// # Errors
    /// [`BlobError::Unavailable`], [`BlobError::Internal`].
    async fn ping(&self) -> Result<(), BlobError>;
}

/// What a blob's writer says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobMeta {
    /// The job that the blob belongs to.
    pub job: JobId,
    /// The media type (RFC 9110 §8.3.1), `audio/mpeg` for instance.
    pub content_type: String,
    /// The name that people know it by.
    pub filename: String,
}

/// What the store knows of a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// Its key.
    pub fid: Fid,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes, taken while they were written.
    pub sha256: Sha256,
    /// When it was written.
    pub created_at: Timestamp,
    /// What its writer said of it.
    pub meta: BlobMeta,
}

/// A blob that is being read.
pub struct Blob {
    /// What the store knows of it.
    pub info: BlobInfo,
    /// The bytes that `body` gives: the asked range, its end clamped, or all.
    pub range: Range<u64>,
    /// Exactly the bytes of `range`, or an error.
    pub body: ByteStream<'static>,
}

/// A SHA-256 digest (FIPS 180-4), printed as 64 hex characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Sha256 {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest)?;
        Ok(Self(digest))
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a blob can't be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There is no such blob.
    #[error("blob {0} does not exist")]
    NotFound(Fid),
    /// There is one already under this fid; a blob is written once.
    #[error("blob {0} exists already")]
    AlreadyExists(Fid),
    /// The range starts at or behind the end of the blob, or holds nothing.
    #[error("range starts at byte {start}, but the blob has {size} bytes")]
    RangeNotSatisfiable {
        /// Where the range starts.
        start: u64,
        /// How long the blob is.
        size: u64,
    },
    /// The bytes to be written ended in an error.
    #[error("the body to be stored failed")]
    Body(#[source] io::Error),
    /// There is no room left.
    #[error("the blob store is full")]
    Full(#[source] BoxError),
    /// The store can't be reached or is busy: try again.
    #[error("the blob store is unavailable")]
    Unavailable(#[source] BoxError),
    /// The store is broken or misused: trying again won't help.
    #[error("the blob store failed")]
    Internal(#[source] BoxError),
}

impl Retryable for BlobError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_))
    }
}
