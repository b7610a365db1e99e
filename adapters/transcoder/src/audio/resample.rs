//! Sample rates that MP3 does not have become ones that it has.

use microserve_core::transcode::TranscodeError;
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Async, Fft, FixedAsync, FixedSync, Resampler as _, SincInterpolationParameters, WindowFunction};

/// The sample rates of MPEG-1, MPEG-2 and MPEG-2.5 Layer III, in Hz.
const MP3_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// The rate of the MP3 for a source's rate: the same when MP3 has it, else the next one above, and from above 48 kHz
/// 44.1 kHz for its multiples and 48 kHz for the rest.
pub(crate) fn mp3_rate(rate: u32) -> u32 {
    if rate > 48_000 && rate.is_multiple_of(44_100) {
        return 44_100;
    }
    MP3_RATES.into_iter().find(|mp3| *mp3 >= rate).unwrap_or(48_000)
}

/// Samples per block of the transform: long enough for a steep filter.
const BLOCK: usize = 2048;
/// Rates without a common divisor need blocks of a second and more. Above this the other way is taken, which needs
/// little memory whatever the rates are, and several times as long.
const LONGEST_BLOCK: usize = 32 * 1024;
/// Length of its filter, in samples of the lower rate, and samples per block.
const SINC: usize = 256;
const SINC_BLOCK: usize = 1024;

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Resamples a stream of planar blocks: what comes out is exactly as long as what went in, and starts with it.
pub(crate) struct Resampler {
    inner: Box<dyn rubato::Resampler<f32>>,
    rates: (u32, u32),
    pending: Vec<Vec<f32>>,
    out: Vec<Vec<f32>>,
    taken: u64,
    given: u64,
    /// Samples of the filter's delay that are still to be dropped.
    delay: usize,
}

impl Resampler {
    pub(crate) fn new(from: u32, to: u32, channels: usize) -> Result<Self, TranscodeError> {
        let divisor = gcd(from, to) as usize;
        let (from_step, to_step) = (from as usize / divisor, to as usize / divisor);
        // An even number of the shortest blocks that are whole on both sides: half of one, which is what the filter is
        // late, is whole then too.
        let blocks = BLOCK.div_ceil(from_step).next_multiple_of(2);
        if from_step.max(to_step).saturating_mul(blocks) > LONGEST_BLOCK {
            return Self::sinc(from, to, channels);
        }
        let fft = Fft::new(from as usize, to as usize, from_step * blocks, channels, FixedSync::Both);
        let fft = fft.map_err(internal)?;
        let delay = fft.output_delay();
        Ok(Self::with(Box::new(fft), (from, to), channels, 0, delay))
    }

    fn sinc(from: u32, to: u32, channels: usize) -> Result<Self, TranscodeError> {
        let ratio = f64::from(to) / f64::from(from);
        let length = (SINC as f64 / ratio.min(1.0)).ceil() as usize;
        let length = length.next_multiple_of(8);
        let parameters = SincInterpolationParameters::new(length, WindowFunction::BlackmanHarris2);
        let sinc = Async::new_sinc(ratio, 1.0, &parameters, SINC_BLOCK, channels, FixedAsync::Input);
        // It is late by half of its filter less one of the steps between two samples, but gives a sample too early. That is
        // no whole number of samples that come out; with some samples of silence in front it nearly is.
        let filter = length as f64 / 2.0 - 1.0 / parameters.oversampling_factor as f64;
        let late = |silence: usize| (filter + silence as f64) * ratio - 1.0;
        let off = |silence: usize| (late(silence) - late(silence).round()).abs();
        let silence = (0..SINC_BLOCK).min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or(0);
        let delay = late(silence).round().max(0.0) as usize;
        Ok(Self::with(Box::new(sinc.map_err(internal)?), (from, to), channels, silence, delay))
    }

    /// `silence` goes in front, and `delay` samples of what comes out are dropped.
    fn with(
        inner: Box<dyn rubato::Resampler<f32>>,
        rates: (u32, u32),
        channels: usize,
        silence: usize,
        delay: usize,
    ) -> Self {
        let out = vec![vec![0.0; inner.output_frames_max()]; channels];
        Self { inner, rates, pending: vec![vec![0.0; silence]; channels], out, taken: 0, given: 0, delay }
    }

    pub(crate) fn rate_in(&self) -> u32 {
        self.rates.0
    }

    /// Takes a block; gives `emit` what is ready.
    pub(crate) fn push<E>(&mut self, block: &[Vec<f32>], emit: &mut E) -> Result<(), TranscodeError>
    where
        E: FnMut(&[&[f32]]) -> Result<(), TranscodeError>,
    {
        self.taken += block.first().map_or(0, Vec::len) as u64;
        for (pending, plane) in self.pending.iter_mut().zip(block) {
            pending.extend_from_slice(plane);
        }
        self.drain(u64::MAX, emit)
    }

    /// Gives `emit` the rest: the length is `round(taken * to / from)` in all.
    pub(crate) fn finish<E>(&mut self, emit: &mut E) -> Result<(), TranscodeError>
    where
        E: FnMut(&[&[f32]]) -> Result<(), TranscodeError>,
    {
        let (from, to) = (u128::from(self.rates.0), u128::from(self.rates.1));
        let total = (u128::from(self.taken) * to + from / 2) / from;
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        while self.given < total {
            let chunk = self.inner.input_frames_next();
            for pending in &mut self.pending {
                let missing = chunk.saturating_sub(pending.len());
                pending.extend(std::iter::repeat_n(0.0, missing));
            }
            self.drain(total, emit)?;
        }
        Ok(())
    }

    fn drain<E>(&mut self, total: u64, emit: &mut E) -> Result<(), TranscodeError>
    where
        E: FnMut(&[&[f32]]) -> Result<(), TranscodeError>,
    {
        let channels = self.pending.len();
        while self.given < total {
            let chunk = self.inner.input_frames_next();
            let available = self.pending.first().map_or(0, Vec::len);
            if available < chunk {
                break;
            }
            let capacity = self.out.first().map_or(0, Vec::len);
            let (used, made) = {
                let input = SequentialSliceOfVecs::new(&self.pending, channels, available).map_err(internal)?;
                let mut output = SequentialSliceOfVecs::new_mut(&mut self.out, channels, capacity).map_err(internal)?;
                self.inner.process_into_buffer(&input, &mut output, None).map_err(internal)?
            };
            for pending in &mut self.pending {
                pending.drain(..used.min(pending.len()));
            }
            let skip = self.delay.min(made);
            self.delay -= skip;
            let wanted = usize::try_from(total - self.given).unwrap_or(usize::MAX).min(made - skip);
            let planes: Vec<&[f32]> = self.out.iter().map(|plane| &plane[skip..skip + wanted]).collect();
            self.given += wanted as u64;
            if wanted > 0 {
                emit(&planes)?;
            }
        }
        Ok(())
    }
}

fn internal(err: impl std::error::Error + Send + Sync + 'static) -> TranscodeError {
    TranscodeError::Internal(err.into())
}

#[cfg(test)]
mod tests {
    use super::{Resampler, mp3_rate};

    #[test]
    fn rates_go_to_the_next_that_mp3_has() {
        for (rate, mp3) in [(44_100, 44_100), (96_000, 48_000), (88_200, 44_100), (176_400, 44_100), (192_000, 48_000)]
        {
            assert_eq!(mp3_rate(rate), mp3);
        }
        for (rate, mp3) in [(7_875, 8_000), (11_024, 11_025), (37_800, 44_100), (64_000, 48_000), (8_000, 8_000)] {
            assert_eq!(mp3_rate(rate), mp3);
        }
    }

    fn resample(input: &[f32], from: u32, to: u32) -> Vec<f32> {
        let mut resampler = Resampler::new(from, to, 1).unwrap();
        let mut out = Vec::new();
        let mut emit = |planes: &[&[f32]]| {
            out.extend_from_slice(planes[0]);
            Ok(())
        };
        for block in input.chunks(777) {
            resampler.push(&[block.to_vec()], &mut emit).unwrap();
        }
        resampler.finish(&mut emit).unwrap();
        out
    }

    /// How loud what is left of a tone is, beside the tone, in dB. A tone that the lower rate can't have leaves nothing but
    /// what should not be there.
    fn rest(frequency: f64, from: u32, to: u32) -> f64 {
        let phase = |n: usize, rate: u32| n as f64 * frequency * std::f64::consts::TAU / f64::from(rate);
        let input: Vec<f32> = (0..from as usize).map(|n| phase(n, from).sin() as f32).collect();
        let out = resample(&input, from, to);
        let fits = frequency < f64::from(from.min(to)) / 2.0;
        let middle = to as usize / 4..to as usize * 3 / 4;
        // How far into the tone it begins, and how loud it is, is not the question here.
        let sum = |wave: &dyn Fn(usize) -> f64| middle.clone().map(|n| f64::from(out[n]) * wave(n)).sum::<f64>();
        let per_sample = if fits { 2.0 / middle.len() as f64 } else { 0.0 };
        let sine = sum(&|n| phase(n, to).sin()) * per_sample;
        let cosine = sum(&|n| phase(n, to).cos()) * per_sample;
        let wanted = |n| sine * phase(n, to).sin() + cosine * phase(n, to).cos();
        let power: f64 = middle.clone().map(|n| (f64::from(out[n]) - wanted(n)).powi(2)).sum();
        10.0 * (power * 2.0 / middle.len() as f64).log10()
    }

    #[test]
    fn nothing_is_heard_that_was_not_there() {
        for (frequency, from, to) in [
            (1_000.0, 44_101, 48_000),
            (15_000.0, 44_101, 48_000),
            (30_000.0, 96_001, 48_000),
            (15_000.0, 96_001, 48_000),
            (80_000.0, 191_999, 48_000),
            (15_000.0, 47_999, 48_000),
            (26_000.0, 96_000, 48_000),
            (15_000.0, 37_800, 44_100),
        ] {
            let rest = rest(frequency, from, to);
            assert!(rest < -90.0, "{frequency} Hz from {from} to {to} Hz leaves {rest:.1} dB");
        }
    }

    #[test]
    fn a_tone_stays_where_it_is() {
        let simple = [(96_000, 48_000), (37_800, 44_100), (7_875, 8_000), (11_024, 11_025)];
        let prime = [(44_101, 48_000), (44_099, 44_100), (191_999, 48_000), (47_999, 48_000), (8_009, 11_025)];
        for (from, to) in simple.into_iter().chain(prime) {
            let tone =
                |rate: u32| move |n: u64| (n as f64 * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin() as f32;
            let input: Vec<f32> = (0..u64::from(from)).map(tone(from)).collect();
            let out = resample(&input, from, to);
            assert_eq!(out.len() as u32, to, "{from} to {to}");
            let middle = to as usize / 4..to as usize * 3 / 4;
            let worst = middle.map(|n| (out[n] - tone(to)(n as u64)).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{from} to {to} is off by {worst}");
        }
    }

    #[test]
    fn short_input_has_its_length() {
        assert_eq!(resample(&[0.5], 96_000, 48_000).len(), 1);
        assert_eq!(resample(&[0.5; 3], 37_800, 44_100).len(), 4);
        assert_eq!(resample(&[], 37_800, 44_100).len(), 0);
    }
}
