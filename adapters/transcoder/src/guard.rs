//! What keeps a conversion from harm: panics end in an error, its length is limited, and it can be cancelled.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use microserve_core::transcode::{Progress, TranscodeError};

/// Panics of a demuxer or decoder end here: they are written for good files, and this one is not.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, TranscodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| TranscodeError::Corrupt { detail: "its contents make no sense to the decoder".to_owned() })
}

/// So many seconds no honest file of this size has.
pub(crate) fn most_seconds(bytes: u64) -> f64 {
    60.0 + bytes as f64 * DENSEST
}

/// How long the sound may get.
pub(crate) struct Longest {
    allowed: Duration,
    /// No honest file of this size has more seconds.
    plausible: f64,
}

/// Seconds of sound that a byte of input may hold, on top of a minute for the whole file. Silence in the thriftiest
/// codecs stays below 0.025; a file beyond this was made to keep somebody busy.
const DENSEST: f64 = 0.1;

impl Longest {
    /// For a source of so many bytes.
    pub(crate) fn new(allowed: Duration, bytes: u64) -> Self {
        Self { allowed, plausible: most_seconds(bytes) }
    }

    pub(crate) fn check(&self, seconds: f64) -> Result<(), TranscodeError> {
        if seconds > self.allowed.as_secs_f64() {
            return Err(TranscodeError::TooLong { limit: self.allowed.as_secs() });
        }
        if seconds > self.plausible {
            return Err(TranscodeError::Corrupt { detail: "it holds more sound than its size allows".to_owned() });
        }
        Ok(())
    }
}

/// Tells the caller how far a conversion is, several times a second of work.
pub(crate) struct Reporter<'a> {
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    duration: Option<f64>,
    /// Seconds of sound when it last told.
    at: f64,
    /// Packets since.
    packets: u32,
}

impl<'a> Reporter<'a> {
    /// Seconds of sound, and packets, between two reports.
    const EVERY: (f64, u32) = (0.5, 64);

    pub(crate) fn new(progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>, duration: Option<f64>) -> Self {
        Self { progress, duration, at: 0.0, packets: 0 }
    }

    /// A packet was dealt with, or something else that may be a good deal of work.
    pub(crate) fn count(&mut self, seconds: f64, small: bool) -> Result<(), TranscodeError> {
        self.packets += if small { 1 } else { Self::EVERY.1 };
        if self.packets < Self::EVERY.1 && seconds - self.at < Self::EVERY.0 {
            return Ok(());
        }
        (self.packets, self.at) = (0, seconds);
        match (self.progress)(Progress { position: seconds, duration: self.duration }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TranscodeError::Cancelled),
        }
    }
}
