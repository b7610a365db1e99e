//! Requests that are carried out once, however often they are sent: a client that got no answer sends its upload again
//! under the same key, and is told of the job that there is already.
//!
//! The key makes the job's id. So the store that refuses a second job of the same id is all it takes, on any number of
//! gateways, and a key lasts exactly as long as its job does, but no longer than [`KEPT`].

use std::time::Duration;

use jiff::Timestamp;
use sha2::Digest as _;

use crate::account::AccountId;
use crate::blob::Sha256;
use crate::clock::since;
use crate::job::JobId;

/// How long a key stands for the request that it was first sent with.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A client's name for a request, and what it asks for.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    key: String,
    request: Sha256,
}

impl IdempotencyKey {
    /// A key as the client sends it, and a digest of all that makes its request another one.
    #[must_use]
    pub fn new(key: impl Into<String>, request: Sha256) -> Self {
        Self { key: key.into(), request }
    }

    /// The digest of the request.
    #[must_use]
    pub fn request(&self) -> Sha256 {
        self.request
    }

    /// The id of a job that the owner's key makes now, and of one that it may have made the day before. Nobody can guess
    /// keys of others that lead to an id of theirs, or find one that leads to a given id.
    pub(crate) fn ids(&self, owner: AccountId, now: Timestamp) -> [JobId; 2] {
        let day = now.as_second().div_euclid(KEPT.as_secs().cast_signed());
        [day, day - 1].map(|day| {
            let digest = sha2::Sha256::new()
                .chain_update(b"microserve upload")
                .chain_update(owner.as_bytes())
                .chain_update(day.to_be_bytes())
                .chain_update(&self.key)
                .finalize();
            let mut id = [0; 12];
            id.copy_from_slice(&digest[..12]);
            JobId::from_bytes(id)
        })
    }

    /// Whether a key that was first sent at that time is forgotten.
    pub(crate) fn is_forgotten(first: Timestamp, now: Timestamp) -> bool {
        since(now, first) >= KEPT
    }
}
