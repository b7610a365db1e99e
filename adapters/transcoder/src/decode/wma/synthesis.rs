//! From spectra to sound: the inverse MDCT of blocks of several lengths, with sine windows.

use std::f64::consts::PI;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

/// Makes sound of spectra of one length.
pub(super) struct Mdct {
    len: usize,
    fft: Arc<dyn Fft<f32>>,
    twiddles: Vec<Complex32>,
    /// The rising half of the window.
    window: Vec<f32>,
    buffer: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Mdct {
    /// `len`: coefficients, a power of two.
    pub(super) fn new(len: usize) -> Self {
        let fft = FftPlanner::new().plan_fft_forward(len / 2);
        let angle = |n: usize| -PI * (8 * n + 1) as f64 / (8 * len) as f64;
        let twiddles = (0..len / 2).map(|n| Complex32::new(angle(n).cos() as f32, angle(n).sin() as f32)).collect();
        let window = (0..len).map(|n| ((n as f64 + 0.5) * PI / (2 * len) as f64).sin() as f32).collect();
        let scratch = vec![Complex32::default(); fft.get_inplace_scratch_len()];
        Self { len, fft, twiddles, window, buffer: vec![Complex32::default(); len / 2], scratch }
    }

    /// The transform of a spectrum, which is twice as long, with the sign of the codec:
    /// −Σ X\[k\] cos(π/M (n + 1/2 + M/2)(k + 1/2)).
    pub(super) fn inverse(&mut self, spectrum: &[f32], sound: &mut [f32]) {
        let (len, half) = (self.len, self.len / 2);
        for (n, (slot, twiddle)) in self.buffer.iter_mut().zip(&self.twiddles).enumerate() {
            *slot = Complex32::new(spectrum[2 * n], spectrum[len - 1 - 2 * n]) * twiddle;
        }
        self.fft.process_with_scratch(&mut self.buffer, &mut self.scratch);
        // A DCT-IV comes out, from both its ends; the transform is the same unfolded.
        for (n, (value, twiddle)) in self.buffer.iter().zip(&self.twiddles).enumerate() {
            let value = value * twiddle;
            for (at, dct) in [(2 * n, value.re), (len - 1 - 2 * n, -value.im)] {
                if at < half {
                    sound[3 * half + at] = dct;
                    sound[3 * half - 1 - at] = dct;
                } else {
                    sound[at - half] = -dct;
                    sound[3 * half - 1 - at] = dct;
                }
            }
        }
    }
}

/// Lays a block's sound over that of the block before. `out` begins where the sound does; all numbers are those of
/// sizes.
pub(super) fn overlap(out: &mut [f32], sound: &[f32], mdcts: &[Mdct], (before, this, after): (usize, usize, usize)) {
    let len = mdcts[this].len;
    let (rise, fall) = (&mdcts[before.max(this)].window, &mdcts[after.max(this)].window);
    let (left, right) = out.split_at_mut(len);
    let flat = (len - rise.len()) / 2;
    for (n, rise) in rise.iter().enumerate() {
        left[flat + n] += sound[flat + n] * rise;
    }
    left[flat + rise.len()..].copy_from_slice(&sound[flat + rise.len()..len]);
    let flat = (len - fall.len()) / 2;
    right[..flat].copy_from_slice(&sound[len..len + flat]);
    for (n, fall) in fall.iter().rev().enumerate() {
        right[flat + n] = sound[len + flat + n] * fall;
    }
    right[flat + fall.len()..len].fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_transform_is_the_slow_one() {
        let len = 128;
        let spectrum: Vec<f32> = (0..len).map(|k| ((k * k) as f32 * 0.37).sin()).collect();
        let mut fast = vec![0.0; 2 * len];
        Mdct::new(len).inverse(&spectrum, &mut fast);
        for (n, fast) in fast.iter().enumerate() {
            let angle = |k: usize| PI / len as f64 * (n as f64 + 0.5 + len as f64 / 2.0) * (k as f64 + 0.5);
            let slow: f64 = spectrum.iter().enumerate().map(|(k, x)| f64::from(*x) * angle(k).cos()).sum();
            assert!((slow + f64::from(*fast)).abs() < 1e-4, "{n}: {slow} {fast}");
        }
    }

    #[test]
    fn windows_of_neighbours_add_up_whatever_their_lengths() {
        // Sizes of blocks, from 1024 samples on; the spectrum of each is what an encoder would have made.
        let mdcts: Vec<Mdct> = (0..4).map(|n| Mdct::new(1024 >> n)).collect();
        for neighbours in [(0, 0, 0), (2, 0, 1), (0, 3, 0), (1, 2, 3)] {
            let (before, this, after) = neighbours;
            let len = mdcts[this].len;
            let mut out = vec![0.0; 2 * len];
            overlap(&mut out, &vec![1.0; 2 * len], &mdcts, neighbours);
            // The squares of two windows that meet are one.
            let edge = mdcts[before.max(this)].len;
            let start = len / 2 - edge / 2;
            for n in 0..edge {
                let (up, down) = (out[start + n], out[start + edge - 1 - n]);
                assert!((up * up + down * down - 1.0).abs() < 1e-5, "{neighbours:?}: {n}");
            }
            let edge = mdcts[after.max(this)].len;
            let start = len + len / 2 - edge / 2;
            for n in 0..edge {
                let (up, down) = (out[start + n], out[start + edge - 1 - n]);
                assert!((up * up + down * down - 1.0).abs() < 1e-5, "{neighbours:?}: {n}");
            }
            assert!(out[start + edge..].iter().all(|sample| *sample == 0.0));
        }
    }
}
