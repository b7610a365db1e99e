//! Lengths of time and moments as containers write them: ticks of a clock.

/// A length of time in ticks of a clock. Turned into samples only when the rate is known, which for HE-AAC is after
/// decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) ticks: u64,
    per_second: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Span {
    pub(crate) const ZERO: Self = Self { ticks: 0, per_second: 1 };

    /// `per_second` of zero gives a span of zero.
    pub(crate) fn new(ticks: u64, per_second: u64) -> Self {
        if ticks == 0 || per_second == 0 { Self::ZERO } else { Self { ticks, per_second } }
    }

    pub(crate) fn nanos(nanos: u64) -> Self {
        Self::new(nanos, 1_000_000_000)
    }

    /// What is left of it without another one of the same clock, or nothing.
    pub(crate) fn less(self, other: Self) -> Self {
        Self { ticks: self.ticks.saturating_sub(other.ticks), ..self }
    }

    /// The number of samples at a rate, rounded to the nearest.
    pub(crate) fn frames(self, rate: u32) -> u64 {
        let per_second = u128::from(self.per_second);
        let frames = (u128::from(self.ticks) * u128::from(rate) + per_second / 2) / per_second;
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    pub(crate) fn seconds(self) -> f64 {
        self.ticks as f64 / self.per_second as f64
    }
}

/// A moment on a clock, in ticks: containers' clocks may begin anywhere, and priming lies before their zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    ticks: i64,
    per_second: u64,
}

impl Default for Moment {
    fn default() -> Self {
        Self { ticks: 0, per_second: 1 }
    }
}

impl Moment {
    /// `per_second` of zero gives the clock's zero.
    pub(crate) fn new(ticks: i64, per_second: u64) -> Self {
        if per_second == 0 { Self::default() } else { Self { ticks, per_second } }
    }

    /// The moment in samples at a rate, rounded to the nearest.
    pub(crate) fn frames(self, rate: u32) -> i64 {
        let per_second = i128::from(self.per_second);
        let frames = (i128::from(self.ticks) * i128::from(rate) * 2 + per_second).div_euclid(per_second * 2);
        i64::try_from(frames).unwrap_or(if frames < 0 { i64::MIN } else { i64::MAX })
    }

    pub(crate) fn seconds(self) -> f64 {
        self.ticks as f64 / self.per_second as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, Span};

    #[test]
    fn moments_before_zero_are_rounded_alike() {
        assert_eq!(Moment::new(-6_500_000, 1_000_000_000).frames(48_000), -312);
        assert_eq!(Moment::new(i64::MIN, 1).frames(192_000), i64::MIN);
        assert_eq!(Moment::new(5, 0), Moment::default());
    }

    #[test]
    fn frames_are_rounded() {
        assert_eq!(Span::nanos(6_500_000).frames(48_000), 312);
        assert_eq!(Span::new(1024, 22_050).frames(44_100), 2048);
        assert_eq!(Span::new(5, 0), Span::ZERO);
        assert_eq!(Span::new(u64::MAX, 1).frames(192_000), u64::MAX);
    }
}
