//! Links: an MP3 for whoever has the link, for a limited time, without logging in.
//!
//! A link names the file and the moment it ends, and carries an HMAC (RFC 2104) of both by a key that lies in the job's row
//! and nowhere else. So any gateway can check it; it opens this one file alone; and with the key, all links of the job are
//! gone.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::blob::Fid;
use crate::job::Job;

/// What a job's links are signed by: 128 random bits, a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkKey([u8; 16]);

impl LinkKey {
    /// A fresh one.
    ///
    /// # Panics
    /// When the operating system has no random numbers: nothing safe can be done then.
    #[must_use]
    #[expect(clippy::expect_used, reason = "no link may ever be guessable")]
    pub fn random() -> Self {
        let mut key = [0; 16];
        getrandom::fill(&mut key).expect("the operating system gives random numbers");
        Self(key)
    }
}

impl TryFrom<String> for LinkKey {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut key = [0; 16];
        hex::decode_to_slice(text, &mut key)?;
        Ok(Self(key))
    }
}

impl From<LinkKey> for String {
    fn from(key: LinkKey) -> Self {
        hex::encode(key.0)
    }
}

/// Never shows the key.
impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(…)")
    }
}

impl Job {
    /// The query of a link to its MP3 that is good until a moment, in whole seconds: `fid=…&expires=…&signature=…`. `None`
    /// if there is no MP3, or if its links were revoked.
    #[must_use]
    pub fn link(&self, expires: Timestamp) -> Option<String> {
        let (fid, seconds) = (self.mp3()?, expires.as_second());
        let signature = hex::encode(self.signature(fid, seconds)?);
        Some(format!("fid={fid}&expires={seconds}&signature={signature}"))
    }

    /// Whether a link with this end (seconds since 1970) and signature is one to this job's `fid`. Whether it is still good
    /// is another question.
    #[must_use]
    pub fn has_signed(&self, fid: &Fid, expires: i64, signature: &str) -> bool {
        let Some(ours) = self.signature(fid, expires) else { return false };
        let theirs = hex::decode(signature).unwrap_or_default();
        bool::from(theirs.ct_eq(&ours))
    }

    fn signature(&self, fid: &Fid, expires: i64) -> Option<[u8; 16]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.link_key.as_ref()?.0).ok()?;
        mac.update(format!("microserve link {} {fid} {expires}", self.id).as_bytes());
        // RFC 2104 §5: half of it is as good.
        mac.finalize().into_bytes().first_chunk().copied()
    }
}
