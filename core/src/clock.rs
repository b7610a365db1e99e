//! Time comes in through a [`Clock`], so that tests own it.

use std::time::Duration;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now, in whole milliseconds: what every store can keep.
    fn now(&self) -> Timestamp;
}

/// The computer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
    fn now(&self) -> Timestamp {
        whole_millis(Timestamp::now())
    }
}

/// A clock for tests: starts at a fixed moment and moves with tokio's time, which a paused runtime advances at will.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    started: tokio::time::Instant,
}

impl TokioClock {
    /// Starts the clock at 2026-01-01T00:00:00Z.
    #[must_use]
    pub fn start() -> Self {
        Self { started: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        let start = Timestamp::constant(1_767_225_600, 0);
        later(start, self.started.elapsed())
    }
}

/// `from` plus `by`, in whole milliseconds; stops at the end of time.
#[must_use]
pub fn later(from: Timestamp, by: Duration) -> Timestamp {
    whole_millis(from.checked_add(by).unwrap_or(Timestamp::MAX))
}

/// How long it is from `earlier` to `now`; nothing if it lies ahead.
#[must_use]
pub fn since(now: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or(Duration::ZERO)
}

fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
