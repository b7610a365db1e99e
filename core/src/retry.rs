//! When to try again, and how long to wait before it.

use std::time::Duration;

/// An error whose type no longer matters, only its words.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Says of an error whether the same call may succeed later. Adapters decide this once, where the facts are.
pub trait Retryable {
    /// Whether the same call may succeed later.
    fn is_retryable(&self) -> bool;

    /// How long the other side asked to wait, if it did.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// Exponential backoff: `first · factor^(n−1)`, at most `max`, with jitter of up to a quarter either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// How much longer each further wait is.
    pub factor: u32,
    /// No wait is longer.
    pub max: Duration,
}

impl Backoff {
    /// Between attempts at a job: 5 s, 20 s, 80 s, … at most 30 min.
    pub const JOB: Self = Self { first: Duration::from_secs(5), factor: 4, max: Duration::from_secs(30 * 60) };
    /// Between attempts at reaching a server again.
    pub const RECONNECT: Self = Self { first: Duration::from_millis(200), factor: 2, max: Duration::from_secs(10) };

    /// The wait before attempt `n + 1`, where `n ≥ 1` attempts have failed. `seed` spreads the waits of different
    /// jobs: the jitter is a function of it, so that the same job always waits the same.
    #[must_use]
    pub fn delay(&self, n: u32, seed: u64) -> Duration {
        let exponent = n.saturating_sub(1).min(32);
        let plain = self.first.saturating_mul(self.factor.saturating_pow(exponent)).min(self.max);
        // splitmix64's finaliser: a cheap, well mixed hash of seed and n.
        let mut x = seed ^ u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        let unit = (x >> 11) as f64 / (1u64 << 53) as f64; // 0..1
        plain.mul_f64(0.75 + unit / 2.0).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_stop_at_the_maximum() {
        let plain: Vec<u64> = (1..=8).map(|n| Backoff::JOB.delay(n, 7).as_secs()).collect();
        for (n, secs) in plain.iter().enumerate() {
            let middle = (5u64 * 4u64.pow(n as u32)).min(1800);
            assert!((middle * 3 / 4..=middle * 5 / 4).contains(secs), "attempt {n}: {secs} s");
        }
        assert!(Backoff::JOB.delay(u32::MAX, 1) <= Duration::from_secs(1800));
    }
}
