//! How loud sound is (EBU R 128, ITU-R BS.1770), and making it louder or quieter without clipping.

use std::collections::VecDeque;

use ebur128::{EbuR128, Mode};
use microserve_core::transcode::TranscodeError;

/// No true peak is above this after levelling, in dBTP (EBU R 128, "Maximum True Peak Level").
const CEILING: f32 = -1.0;
/// What is quieter than this, in LUFS, is silence: it is left alone.
const SILENCE: f64 = -70.0;
/// The gain is at most this, in dB: noise is not made into sound.
const MOST_GAIN: f64 = 40.0;

/// Measures the loudness of a whole.
pub(crate) struct Meter(EbuR128);

impl Meter {
    pub(crate) fn new(rate: u32, channels: usize) -> Result<Self, TranscodeError> {
        let mode = Mode::I | Mode::HISTOGRAM | Mode::SAMPLE_PEAK;
        Ok(Self(EbuR128::new(if channels == 1 { 1 } else { 2 }, rate, mode).map_err(internal)?))
    }

    pub(crate) fn push(&mut self, planes: &[&[f32]]) -> Result<(), TranscodeError> {
        self.0.add_frames_planar_f32(planes).map_err(internal)
    }

    pub(crate) fn finish(&self) -> Result<Loudness, TranscodeError> {
        let peaks = (0..self.0.channels()).map(|channel| self.0.sample_peak(channel));
        let peak = peaks.collect::<Result<Vec<_>, _>>().map_err(internal)?.into_iter().fold(0.0, f64::max);
        Ok(Loudness { lufs: self.0.loudness_global().map_err(internal)?, peak })
    }
}

/// How loud a whole is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loudness {
    lufs: f64,
    /// The largest sample.
    peak: f64,
}

impl Loudness {
    /// The gain as a factor that makes it as loud as wanted, in LUFS.
    pub(crate) fn gain_to(self, wanted: f64) -> f32 {
        if !self.lufs.is_finite() || self.lufs <= SILENCE {
            return 1.0;
        }
        10f64.powf((wanted - self.lufs).min(MOST_GAIN) / 20.0) as f32
    }

    /// Whether the [`Leveller`] would turn down peaks with this gain. The true peak may be above the largest sample.
    pub(crate) fn is_limited(self, gain: f32) -> bool {
        self.peak * f64::from(gain) > 10f64.powf(f64::from(CEILING - 3.0) / 20.0)
    }
}

fn internal(err: ebur128::Error) -> TranscodeError {
    TranscodeError::Internal(err.into())
}

/// Applies a gain, and turns down for a moment what would then be above [`CEILING`]: a limiter that looks ahead.
///
/// For each sample the gain is worked out that keeps the peak there below the ceiling. The least of them within the time
/// that is looked ahead, smoothed over the same time, is the gain that is applied: it has come down when the peak comes.
pub(crate) struct Leveller {
    gain: f32,
    ceiling: f32,
    ahead: usize,
    /// Samples that wait, one queue for each channel.
    waiting: Vec<VecDeque<f32>>,
    peaks: Vec<Peaks>,
    /// The gains of the samples that are looked ahead at: the least ones in order, with their positions.
    least: VecDeque<(u64, f32)>,
    /// The last least gains, and their sum.
    smooth: VecDeque<f32>,
    sum: f64,
    position: u64,
    out: Vec<Vec<f32>>,
    /// Samples at the start that are only there because of the delay.
    skip: usize,
}

impl Leveller {
    pub(crate) fn new(gain: f32, rate: u32, channels: usize) -> Self {
        let ahead = (rate as usize / 200).max(8); // 5 ms
        let delay = ahead + TAPS;
        Self {
            gain,
            ceiling: 10f32.powf(CEILING / 20.0),
            ahead,
            waiting: vec![std::iter::repeat_n(0.0, delay).collect(); channels],
            peaks: vec![Peaks::default(); channels],
            least: VecDeque::new(),
            smooth: std::iter::repeat_n(1.0, ahead).collect(),
            sum: ahead as f64,
            position: 0,
            out: vec![Vec::new(); channels],
            skip: delay,
        }
    }

    /// Takes a block; gives `emit` what is ready.
    pub(crate) fn push<E>(&mut self, planes: &[&[f32]], emit: &mut E) -> Result<(), TranscodeError>
    where
        E: FnMut(&[&[f32]]) -> Result<(), TranscodeError>,
    {
        let frames = planes.first().map_or(0, |plane| plane.len());
        self.out.iter_mut().for_each(Vec::clear);
        for n in 0..frames {
            let mut peak = 0f32;
            for ((plane, waiting), peaks) in planes.iter().zip(&mut self.waiting).zip(&mut self.peaks) {
                let sample = plane.get(n).copied().unwrap_or(0.0) * self.gain;
                waiting.push_back(sample);
                peak = peak.max(peaks.push(sample));
            }
            let gain = self.next_gain(if peak > self.ceiling { self.ceiling / peak } else { 1.0 });
            for (out, waiting) in self.out.iter_mut().zip(&mut self.waiting) {
                out.push(waiting.pop_front().unwrap_or(0.0) * gain);
            }
        }
        let skip = self.skip.min(frames);
        self.skip -= skip;
        let ready: Vec<&[f32]> = self.out.iter().map(|plane| &plane[skip..]).collect();
        if skip < frames { emit(&ready) } else { Ok(()) }
    }

    /// Gives `emit` the rest.
    pub(crate) fn finish<E>(&mut self, emit: &mut E) -> Result<(), TranscodeError>
    where
        E: FnMut(&[&[f32]]) -> Result<(), TranscodeError>,
    {
        let zeros = vec![0.0; self.ahead + TAPS];
        let planes = vec![&zeros[..]; self.waiting.len()];
        self.push(&planes, emit)
    }

    fn next_gain(&mut self, gain: f32) -> f32 {
        while self.least.back().is_some_and(|(_, other)| *other >= gain) {
            self.least.pop_back();
        }
        self.least.push_back((self.position, gain));
        // All of what is smoothed knows the peaks around the sample that is due now.
        let oldest = self.position.saturating_sub((self.ahead + 2 * TAPS) as u64);
        while self.least.front().is_some_and(|(at, _)| *at < oldest) {
            self.least.pop_front();
        }
        self.position += 1;
        let least = self.least.front().map_or(1.0, |(_, gain)| *gain);
        self.smooth.push_back(least);
        self.sum += f64::from(least) - f64::from(self.smooth.pop_front().unwrap_or(1.0));
        (self.sum / self.ahead as f64).min(1.0) as f32
    }
}

/// Taps of the interpolator for each of the points between two samples: its peaks are late by half of them.
const TAPS: usize = 12;

/// The peak of the curve through the samples: of four points for each sample, by a windowed sinc.
#[derive(Clone)]
struct Peaks {
    last: [f32; TAPS],
    at: usize,
}

impl Default for Peaks {
    fn default() -> Self {
        Self { last: [0.0; TAPS], at: 0 }
    }
}

impl Peaks {
    /// Takes a sample; gives the greatest magnitude around a sample some time before.
    fn push(&mut self, sample: f32) -> f32 {
        self.last[self.at] = sample;
        self.at = (self.at + 1) % TAPS;
        // Curves through quiet samples are far below the ceiling: no sum of weights is above 2.
        if self.last.iter().all(|sample| sample.abs() < 0.4) {
            return self.last[(self.at + TAPS / 2) % TAPS].abs();
        }
        let point = |weights: &[f32; TAPS]| {
            let (newer, older) = self.last.split_at(self.at);
            older.iter().chain(newer).zip(weights).map(|(sample, weight)| sample * weight).sum::<f32>().abs()
        };
        let between = BETWEEN.iter().map(point).fold(0.0, f32::max);
        between.max(self.last[(self.at + TAPS / 2) % TAPS].abs())
    }
}

/// The weights for the points at a quarter, a half and three quarters between two samples.
static BETWEEN: std::sync::LazyLock<[[f32; TAPS]; 3]> = std::sync::LazyLock::new(|| {
    [0.25, 0.5, 0.75].map(|point| {
        std::array::from_fn(|n| {
            let x = n as f64 - (TAPS / 2 - 1) as f64 - point;
            let sinc = (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x);
            let window = (std::f64::consts::PI * x / TAPS as f64).cos().powi(2);
            (sinc * window) as f32
        })
    })
});

#[cfg(test)]
mod tests {
    use super::{Leveller, Meter};

    const RATE: u32 = 48_000;

    fn levelled(input: &[f32], gain: f32) -> Vec<f32> {
        let mut out = Vec::new();
        let mut leveller = Leveller::new(gain, RATE, 1);
        let mut emit = |planes: &[&[f32]]| {
            out.extend_from_slice(planes[0]);
            Ok(())
        };
        for block in input.chunks(777) {
            leveller.push(&[block], &mut emit).unwrap();
        }
        leveller.finish(&mut emit).unwrap();
        out
    }

    fn true_peak(samples: &[f32]) -> f64 {
        let mut meter = ebur128::EbuR128::new(1, RATE, ebur128::Mode::TRUE_PEAK).unwrap();
        meter.add_frames_f32(samples).unwrap();
        20.0 * meter.true_peak(0).unwrap().log10()
    }

    fn tone(hertz: f64, seconds: f64, amplitude: f64) -> Vec<f32> {
        let sample =
            |n: usize| (amplitude * (n as f64 * hertz * std::f64::consts::TAU / f64::from(RATE) + 0.7).sin()) as f32;
        (0..(seconds * f64::from(RATE)) as usize).map(sample).collect()
    }

    #[test]
    fn what_stays_below_the_ceiling_is_only_multiplied() {
        let input = tone(440.0, 0.5, 0.3);
        let out = levelled(&input, 2.0);
        assert_eq!(out.len(), input.len());
        assert!(input.iter().zip(&out).all(|(a, b)| (a * 2.0 - b).abs() < 1e-6));
    }

    #[test]
    fn nothing_gets_above_the_ceiling() {
        // A quarter of the sampling rate: true peaks are 3 dB above the samples.
        let mut input = tone(12_000.0, 0.2, 0.9);
        input.extend(tone(100.0, 0.2, 0.05));
        input.extend(tone(3_000.0, 0.001, 1.0));
        input.extend(tone(100.0, 0.2, 0.05));
        for gain in [1.0, 4.0, 30.0] {
            let out = levelled(&input, gain);
            assert_eq!(out.len(), input.len());
            let peak = true_peak(&out);
            assert!(peak <= -0.9, "a gain of {gain} gives {peak:.2} dBTP");
        }
    }

    #[test]
    fn a_tone_of_known_loudness_is_measured() {
        // EBU Tech 3341, case 1: 1 kHz at -23 dBFS in both channels is -23 LUFS.
        let plane = tone(1_000.0, 20.0, 10f64.powf(-23.0 / 20.0));
        let mut meter = Meter::new(RATE, 2).unwrap();
        for block in plane.chunks(4096) {
            meter.push(&[block, block]).unwrap();
        }
        let gain = 20.0 * meter.finish().unwrap().gain_to(-16.0).log10();
        assert!((gain - 7.0).abs() < 0.1, "{gain} dB");
        assert_eq!(Meter::new(RATE, 1).unwrap().finish().unwrap().gain_to(-16.0), 1.0);
    }
}
