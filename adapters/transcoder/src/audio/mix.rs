//! Mixing down to one or two channels, after ITU-R BS.775.

use super::{Pcm, Speaker};

const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// How much of a loudspeaker goes to the left and to the right (ITU-R BS.775-3, table 2; the LFE channel is left out).
fn weights(speaker: Speaker) -> (f32, f32) {
    match speaker {
        Speaker::FrontLeft | Speaker::FrontLeftOfCentre => (1.0, 0.0),
        Speaker::FrontRight | Speaker::FrontRightOfCentre => (0.0, 1.0),
        Speaker::FrontCentre => (HALF_POWER, HALF_POWER),
        Speaker::BackLeft | Speaker::SideLeft => (HALF_POWER, 0.0),
        Speaker::BackRight | Speaker::SideRight => (0.0, HALF_POWER),
        Speaker::BackCentre | Speaker::Other => (0.5, 0.5),
        Speaker::Lfe | Speaker::Mixdown => (0.0, 0.0),
    }
}

/// Turns blocks of one channel layout into one or two channels of samples within ±1.
#[derive(Debug)]
pub(crate) struct Mixer {
    speakers: Vec<Speaker>,
    /// For each channel that comes out, the weight of each that goes in.
    rows: Vec<Vec<f32>>,
}

impl Mixer {
    /// `channels_out` is 1 or 2.
    pub(crate) fn new(speakers: &[Speaker], channels_out: usize) -> Self {
        let rows = match (speakers.len(), channels_out) {
            (1, out) => vec![vec![1.0]; out],
            (2, 1) => vec![vec![0.5, 0.5]],
            (2, _) => vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            (_, out) => downmix(speakers, out),
        };
        Self { speakers: speakers.to_vec(), rows }
    }

    pub(crate) fn takes(&self, pcm: &Pcm) -> bool {
        self.speakers == pcm.speakers
    }

    /// Mixes the samples `range` of a block; `out` gets one plane per channel.
    pub(crate) fn mix(&self, pcm: &Pcm, range: std::ops::Range<usize>, out: &mut Vec<Vec<f32>>) {
        out.resize_with(self.rows.len(), Vec::new);
        for (row, out) in self.rows.iter().zip(out) {
            out.clear();
            out.resize(range.len(), 0.0);
            for (&weight, plane) in row.iter().zip(&pcm.planes) {
                let Some(plane) = plane.get(range.clone()).filter(|_| weight != 0.0) else { continue };
                for (sum, &sample) in out.iter_mut().zip(plane) {
                    *sum += weight * sample;
                }
            }
            for sample in out {
                *sample = sane(*sample);
            }
        }
    }
}

/// NaN is silence, and nothing is louder than full scale: encoders answer both with noise.
fn sane(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

/// The rows of a downmix, scaled so that even a full-scale signal in every channel does not clip.
fn downmix(speakers: &[Speaker], channels_out: usize) -> Vec<Vec<f32>> {
    let (left, right): (Vec<f32>, Vec<f32>) = speakers.iter().map(|s| weights(*s)).unzip();
    let mut rows = if channels_out == 1 {
        vec![left.iter().zip(&right).map(|(l, r)| (l + r) / 2.0).collect()]
    } else {
        vec![left, right]
    };
    let loudest = rows.iter().map(|row| row.iter().sum::<f32>()).fold(0.0, f32::max);
    if loudest > 0.0 {
        rows.iter_mut().flatten().for_each(|weight| *weight /= loudest);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{Pcm, wave_order};
    use super::Mixer;

    fn mixed(samples: &[f32], channels_out: usize) -> Vec<f32> {
        let mut pcm = Pcm::default();
        pcm.reset(48_000, &wave_order(samples.len()));
        pcm.push_interleaved(samples);
        let mut out = Vec::new();
        Mixer::new(&pcm.speakers, channels_out).mix(&pcm, 0..1, &mut out);
        out.into_iter().flatten().collect()
    }

    #[test]
    fn full_scale_surround_does_not_clip() {
        for channels in 1..=8 {
            for sample in mixed(&vec![1.0; channels], 2) {
                assert!(sample <= 1.0 && sample > 0.5, "{channels} channels give {sample}");
            }
        }
    }

    #[test]
    fn lfe_is_dropped_and_sides_stay_sides() {
        assert_eq!(mixed(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 2), [0.0, 0.0]);
        let left = mixed(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], 2);
        assert!(left[0] > 0.4 && left[1] == 0.0, "{left:?}");
    }

    #[test]
    fn nonsense_samples_are_tamed() {
        assert_eq!(mixed(&[f32::NAN, f32::INFINITY], 2), [0.0, 1.0]);
        assert_eq!(mixed(&[f32::NEG_INFINITY], 1), [-1.0]);
    }
}
