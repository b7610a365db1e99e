//! From transform coefficients to samples (A/52:2018, 7.9).
//!
//! Both transforms of the standard, of 512 samples and twice 256, are DCTs of type IV whose output is folded back by
//! the symmetries of the windowed block: `C[n]` stands for the sample that its mirror image also holds.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::BINS;

/// Samples of a block that wait for the next one: the other half of what overlaps is its mirror image.
pub(super) type Delay = [f32; BINS / 2];

pub(super) struct Transform {
    long: Dct4,
    short: Dct4,
    window: [f32; BINS],
    folded: [f32; BINS],
}

impl Transform {
    pub(super) fn new() -> Self {
        let (long, short) = (Dct4::new(BINS), Dct4::new(BINS / 2));
        Self { long, short, window: window(), folded: [0.0; BINS] }
    }

    /// Makes a block of samples, in units of `1/gain`, and appends it to `out`.
    pub(super) fn block(
        &mut self,
        coefficients: &[f32; BINS],
        short: bool,
        gain: f32,
        delay: &mut Delay,
        out: &mut Vec<f32>,
    ) {
        const HALF: usize = BINS / 2;
        // What the next block needs comes first, what this one needs second.
        if short {
            let (first, second) = self.folded.split_at_mut(HALF);
            self.short.run(|n| coefficients[2 * n + 1], first);
            self.short.run(|n| coefficients[2 * n], second);
        } else {
            self.long.run(|n| coefficients[n], &mut self.folded);
        }
        let start = out.len();
        out.resize(start + BINS, 0.0);
        let (front, back) = out[start..].split_at_mut(HALF);
        let (rising, falling) = self.window.split_at(HALF);
        let (next, now) = self.folded.split_at(HALF);
        // The standard's overlap and add doubles (7.9.4.1, step 6).
        let gain = 2.0 * gain;
        let mirrored = back.iter_mut().zip(falling).rev();
        for ((front, rising), (((back, falling), now), delay)) in
            front.iter_mut().zip(rising).zip(mirrored.zip(now).zip(&*delay))
        {
            *front = falling * delay - gain * rising * now;
            *back = rising * delay + gain * falling * now;
        }
        for (delay, next) in delay.iter_mut().zip(next.iter().rev()) {
            *delay = gain * next;
        }
    }
}

/// The first half of the window: a Kaiser-Bessel derived one with α = 5, which is what table 7.33 has in five digits.
fn window() -> [f32; BINS] {
    let bessel = |x: f64| {
        // I₀, as a power series that has converged long before its 60th term for what comes here.
        let terms = (1..60).scan(1.0, |term, n| {
            *term *= (x / 2.0 / f64::from(n)).powi(2);
            Some(*term)
        });
        1.0 + terms.sum::<f64>()
    };
    let kaiser = |n: usize| bessel(5.0 * PI * (1.0 - (2.0 * n as f64 / BINS as f64 - 1.0).powi(2)).max(0.0).sqrt());
    let whole: f64 = (0..=BINS).map(kaiser).sum();
    let mut sum = 0.0;
    std::array::from_fn(|n| {
        sum += kaiser(n);
        (sum / whole).sqrt() as f32
    })
}

/// A discrete cosine transform of type IV, by a complex Fourier transform of half its size.
struct Dct4 {
    size: usize,
    fft: Arc<dyn Fft<f32>>,
    twiddles: Vec<Complex32>,
    buffer: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Dct4 {
    fn new(size: usize) -> Self {
        let fft = FftPlanner::new().plan_fft_forward(size / 2);
        let twiddle = |n: usize| {
            let angle = -PI * (8.0 * n as f64 + 1.0) / (8.0 * size as f64);
            Complex32::new(angle.cos() as f32, angle.sin() as f32)
        };
        let scratch = vec![Complex32::default(); fft.get_inplace_scratch_len()];
        let buffer = vec![Complex32::default(); size / 2];
        Self { size, fft, twiddles: (0..size / 2).map(twiddle).collect(), buffer, scratch }
    }

    /// `out[k]` becomes the sum of `input(n) · cos(π/size · (n + ½)(k + ½))`.
    fn run(&mut self, input: impl Fn(usize) -> f32, out: &mut [f32]) {
        let last = self.size - 1;
        for (n, (value, twiddle)) in self.buffer.iter_mut().zip(&self.twiddles).enumerate() {
            *value = Complex32::new(input(2 * n), input(last - 2 * n)) * twiddle;
        }
        self.fft.process_with_scratch(&mut self.buffer, &mut self.scratch);
        for (k, (value, twiddle)) in self.buffer.iter().zip(&self.twiddles).enumerate() {
            let value = value * twiddle;
            out[2 * k] = value.re;
            out[last - 2 * k] = -value.im;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_transform_is_the_slow_one() {
        for size in [BINS, BINS / 2] {
            let input: Vec<f32> = (0..size).map(|n| ((n * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5).collect();
            let mut fast = vec![0.0; size];
            Dct4::new(size).run(|n| input[n], &mut fast);
            for (k, fast) in fast.iter().enumerate() {
                let angle = |n: usize| PI / size as f64 * (n as f64 + 0.5) * (k as f64 + 0.5);
                let slow: f64 = input.iter().enumerate().map(|(n, x)| f64::from(*x) * angle(n).cos()).sum();
                assert!((slow - f64::from(*fast)).abs() < 1e-4, "{size}, {k}: {slow} and {fast}");
            }
        }
    }

    #[test]
    fn the_window_is_the_standards() {
        // Table 7.33.
        let window = window();
        for (n, wanted) in [(0, 0.00014), (1, 0.00024), (9, 0.00187), (128, 0.7115), (200, 0.99557), (255, 1.0)] {
            assert!((window[n] - wanted).abs() < 0.000_03, "{n}: {}", window[n]);
        }
    }

    /// The coefficients of a block of 512 samples, as the standard's encoder makes them (8.2.3.2).
    fn analysed(samples: &[f32], short: bool) -> [f32; BINS] {
        let window = window();
        let windowed = |n: usize| f64::from(samples[n]) * f64::from(window[n.min(511 - n)]);
        let sum = |from: usize, size: usize, k: usize, phase: f64| {
            let angle = |n: usize| {
                let (n, k) = (2.0 * n as f64 + 1.0, 2.0 * k as f64 + 1.0);
                2.0 * PI / (4.0 * size as f64) * n * k + PI / 4.0 * k * (1.0 + phase)
            };
            let sum: f64 = (0..size).map(|n| windowed(from + n) * angle(n).cos()).sum();
            (-2.0 / size as f64 * sum) as f32
        };
        std::array::from_fn(|k| match (short, k % 2) {
            (false, _) => sum(0, 512, k, 0.0),
            (true, 0) => sum(0, 256, k / 2, -1.0),
            (true, _) => sum(256, 256, k / 2, 1.0),
        })
    }

    #[test]
    fn blocks_of_any_kind_overlap_to_what_was_encoded() {
        let samples: Vec<f32> = (0..8 * BINS).map(|n| ((n * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5).collect();
        let (mut transform, mut delay, mut out) = (Transform::new(), [0.0; BINS / 2], Vec::new());
        for (block, short) in [false, true, true, false, false, true, false].into_iter().enumerate() {
            let coefficients = analysed(&samples[BINS * block..][..2 * BINS], short);
            transform.block(&coefficients, short, 1.0, &mut delay, &mut out);
        }
        // The first block has nothing to overlap with.
        for (n, (sample, out)) in samples.iter().zip(&out).enumerate().skip(BINS) {
            assert!((sample - out).abs() < 1e-4, "{n}: {sample} and {out}");
        }
    }
}
