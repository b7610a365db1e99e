//! The mail beside the job: pending, sending, sent, unknown, failed.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Job, NotPossible, Policy, Step};
use crate::clock::later;

/// What became of the mail that tells the owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum MailState {
    /// There is nothing to tell (yet).
    None,
    /// To be sent.
    Pending {
        /// Not before this moment.
        not_before: Timestamp,
        /// How many times it was tried.
        attempts: u32,
        /// It may have gone out already: this is the one repetition.
        repeated: bool,
    },
    /// Somebody is sending it.
    Sending {
        /// The outcome is unknown if nothing is heard by then.
        lease_until: Timestamp,
        /// How many times it was tried, this time included.
        attempts: u32,
        /// It may have gone out already: this is the one repetition.
        repeated: bool,
    },
    /// A mail server has taken it.
    Sent {
        /// When.
        at: Timestamp,
    },
    /// It may have gone out, and so may its repetition.
    Unknown,
    /// No server takes it.
    Failed {
        /// What the server said.
        reason: String,
    },
}

/// Waits between attempts at a mail; after the last there is no other.
const SCHEDULE: [Duration; 5] = [
    Duration::from_secs(60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(8 * 60 * 60),
];

impl MailState {
    /// To be sent at once.
    pub(super) fn due(now: Timestamp) -> Self {
        Self::Pending { not_before: now, attempts: 0, repeated: false }
    }

    /// Whether it is to be sent.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::Pending { .. })
    }

    /// The word clients see; `None` while there is nothing to tell.
    #[must_use]
    pub fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Pending { .. } => Some("pending"),
            Self::Sending { .. } => Some("sending"),
            Self::Sent { .. } => Some("sent"),
            Self::Unknown => Some("unknown"),
            Self::Failed { .. } => Some("failed"),
        }
    }
}

impl Job {
    /// Somebody takes the mail in hand.
    ///
    /// # Errors
    /// [`NotPossible`] unless there is one to send and its time has come.
    pub fn start_mail(mut self, now: Timestamp, p: &Policy) -> Step {
        let MailState::Pending { not_before, attempts, repeated } = self.mail else {
            return Err(self.cannot("announced by mail"));
        };
        if not_before > now || self.bell().is_none() {
            return Err(self.cannot("announced by mail"));
        }
        self.mail = MailState::Sending { lease_until: later(now, p.mail_lease), attempts: attempts + 1, repeated };
        Ok(self.settled(now, p))
    }

    /// The server has taken it.
    ///
    /// # Errors
    /// [`NotPossible`] unless it was being sent.
    pub fn mail_sent(mut self, now: Timestamp, p: &Policy) -> Step {
        self.mail_in_hand()?;
        self.mail = MailState::Sent { at: now };
        Ok(self.settled(now, p))
    }

    /// The server never takes it.
    ///
    /// # Errors
    /// [`NotPossible`] unless it was being sent.
    pub fn mail_refused(mut self, reason: String, now: Timestamp, p: &Policy) -> Step {
        self.mail_in_hand()?;
        self.mail = MailState::Failed { reason };
        Ok(self.settled(now, p))
    }

    /// The server may take it later: `after` if it said so, else as scheduled.
    ///
    /// # Errors
    /// [`NotPossible`] unless it was being sent.
    pub fn mail_deferred(mut self, after: Option<Duration>, reason: String, now: Timestamp, p: &Policy) -> Step {
        let (attempts, repeated) = self.mail_in_hand()?;
        let scheduled = SCHEDULE.get(attempts.saturating_sub(1) as usize);
        self.mail = match scheduled {
            Some(wait) => MailState::Pending { not_before: later(now, after.unwrap_or(*wait)), attempts, repeated },
            None => MailState::Failed { reason },
        };
        Ok(self.settled(now, p))
    }

    /// Nobody knows whether it went out: the connection broke behind the final dot, or the sender vanished. It is
    /// repeated once, with the same Message-ID and bytes, so that the receiving server can tell.
    ///
    /// # Errors
    /// [`NotPossible`] unless it was being sent.
    pub fn mail_unknown(mut self, now: Timestamp, p: &Policy) -> Step {
        let (attempts, repeated) = self.mail_in_hand()?;
        self.mail = if repeated {
            MailState::Unknown
        } else {
            MailState::Pending { not_before: later(now, SCHEDULE[0]), attempts, repeated: true }
        };
        Ok(self.settled(now, p))
    }

    /// Whoever had the mail in hand was silent for too long.
    ///
    /// # Errors
    /// [`NotPossible`] unless that is so.
    pub fn lose_mail(self, now: Timestamp, p: &Policy) -> Step {
        match self.mail {
            MailState::Sending { lease_until, .. } if lease_until <= now => self.mail_unknown(now, p),
            _ => Err(self.cannot("taken from its mailer")),
        }
    }

    fn mail_in_hand(&self) -> Result<(u32, bool), NotPossible> {
        match self.mail {
            MailState::Sending { attempts, repeated, .. } => Ok((attempts, repeated)),
            _ => Err(self.cannot("announced by mail")),
        }
    }

    fn settled(mut self, now: Timestamp, p: &Policy) -> Job {
        self.rings = 0;
        self.rescheduled(now, p)
    }
}
