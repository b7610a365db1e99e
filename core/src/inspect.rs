//! What an adapter finds out about the server, file or folder behind it, for people who look after an installation.
//!
//! An inspection changes nothing that matters, and is no port: an adapter has a function `inspect` that takes its URL and
//! gives facts, in the order in which they were found out. What a fact means, and what is to be done about it, is for
//! others to say.

use jiff::SignedDuration;

use crate::retry::BoxError;

/// Something that was found out.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fact {
    /// It is there, and what it calls itself: a product and its version, as far as it tells.
    Answers(String),
    /// How the line to it is protected.
    Line(Line),
    /// User and password are right.
    LoggedIn,
    /// By so much its clock is ahead of ours; negative: behind.
    Clock(SignedDuration),
    /// Something in it is as it should be: `the table user`.
    Ready(String),
    /// Something in it is not there yet, or of an older version; it is made at the next start.
    Unmade(String),
    /// It is a database without replicas.
    Standalone,
    /// This user lacks a right: on what, and which.
    NoRight {
        /// The table, collection or queue.
        on: String,
        /// The right in its own words: `INSERT`.
        right: String,
    },
    /// An index that has to be unique is not.
    NotUnique {
        /// The collection.
        of: String,
    },
    /// A queue is there with other arguments than ours.
    OtherQueue {
        /// Its name.
        name: String,
        /// Whether messages wait in it for their next attempt, and leave it only if its arguments are right.
        delays: bool,
        /// How it differs, in the broker's words.
        difference: String,
    },
    /// So many dead letters lie on a queue.
    DeadLetters {
        /// The queue that they lie on: `video.dead`.
        queue: String,
        /// How many.
        count: u64,
    },
    /// A part of a transcoder's sandbox is not there: which, and why.
    Unconfined(String),
    /// A file was written to the folder and reached the disk.
    Writable {
        /// The folder.
        folder: String,
        /// How many bytes are left there.
        free: u64,
    },
    /// Here the inspection ended.
    Obstacle {
        /// What was tried.
        step: Step,
        /// Why it failed.
        source: BoxError,
    },
}

/// How a line is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// It doesn't leave this machine.
    Local,
    /// TLS, with the name in the certificate verified.
    Verified,
    /// TLS with a certificate that could be anybody's.
    Unverified,
    /// Whoever is on the way can read and change what goes over it.
    Open,
}

/// What an inspection tries, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To make sense of the URL.
    Read,
    /// To reach the server, or to find the file or folder.
    Reach,
    /// To encrypt the line.
    Encrypt,
    /// To log in.
    LogIn,
    /// To use it.
    Use,
}

impl Fact {
    /// The fact that a step failed.
    pub fn obstacle(step: Step, source: impl Into<BoxError>) -> Self {
        Self::Obstacle { step, source: source.into() }
    }
}
