//! PCM: numbers become samples in ±1.

use super::{Damaged, Decoder};
use crate::audio::{Pcm, Speaker};
use crate::codec::pcm::{Number, Order, Sample};

pub(super) struct PcmDecoder {
    sample: Sample,
    rate: u32,
    speakers: Vec<Speaker>,
}

impl PcmDecoder {
    pub(super) fn new(sample: Sample, rate: u32, speakers: &[Speaker]) -> Self {
        Self { sample, rate, speakers: speakers.to_vec() }
    }
}

impl Decoder for PcmDecoder {
    /// A packet holds whole moments, all channels of one after those of the other; an incomplete one at its end is left
    /// out.
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        pcm.reset(self.rate, &self.speakers);
        match self.sample.number {
            Number::ALaw => spread(packet, pcm, |[byte]| a_law(byte)),
            Number::MuLaw => spread(packet, pcm, |[byte]| mu_law(byte)),
            Number::Float if self.sample.bytes == 4 => {
                let order = self.sample.order;
                spread(packet, pcm, |bytes: [u8; 4]| f32::from_bits((top(bytes, order) >> 32) as u32));
            }
            Number::Float => {
                let order = self.sample.order;
                spread(packet, pcm, |bytes: [u8; 8]| f64::from_bits(top(bytes, order)) as f32);
            }
            Number::Signed | Number::Unsigned => match self.sample.bytes {
                1 => self.integers::<1>(packet, pcm),
                2 => self.integers::<2>(packet, pcm),
                3 => self.integers::<3>(packet, pcm),
                4 => self.integers::<4>(packet, pcm),
                5 => self.integers::<5>(packet, pcm),
                6 => self.integers::<6>(packet, pcm),
                7 => self.integers::<7>(packet, pcm),
                _ => self.integers::<8>(packet, pcm),
            },
        }
        Ok(())
    }
}

impl PcmDecoder {
    fn integers<const N: usize>(&self, packet: &[u8], pcm: &mut Pcm) {
        let Sample { number, order, unused, .. } = self.sample;
        // Halfway is zero.
        let middle = if number == Number::Unsigned { 1 << 63 } else { 0 };
        let unused = u32::from(unused).min(63);
        spread(packet, pcm, |bytes: [u8; N]| (top(bytes, order) << unused ^ middle) as i64 as f32 * SCALE);
    }
}

/// Full scale of a number at the top of 64 bits is one.
const SCALE: f32 = 1.0 / (1u64 << 63) as f32;

/// A number of `N` bytes at the top of 64 bits.
fn top<const N: usize>(bytes: [u8; N], order: Order) -> u64 {
    let mut eight = [0; 8];
    match order {
        Order::Big => {
            eight[..N].copy_from_slice(&bytes);
            u64::from_be_bytes(eight)
        }
        Order::Little => {
            eight[8 - N..].copy_from_slice(&bytes);
            u64::from_le_bytes(eight)
        }
    }
}

/// Gives each channel its samples.
fn spread<const N: usize>(packet: &[u8], pcm: &mut Pcm, sample: impl Fn([u8; N]) -> f32) {
    let channels = pcm.planes.len();
    let (samples, _) = packet.as_chunks::<N>();
    for (n, plane) in pcm.planes.iter_mut().enumerate() {
        plane.extend(samples.chunks_exact(channels).map(|moment| sample(moment[n])));
    }
}

/// ITU-T G.711, table 1: even bits are inverted, then sign, exponent and mantissa.
fn a_law(byte: u8) -> f32 {
    let bits = byte ^ 0x55;
    let (exponent, mantissa) = (bits >> 4 & 7, i32::from(bits & 15));
    let size = match exponent {
        0 => mantissa << 4 | 8,
        _ => (mantissa << 4 | 0x108) << (exponent - 1),
    };
    let size = size as f32 / 32_768.0;
    if bits & 0x80 != 0 { size } else { -size }
}

/// ITU-T G.711, table 2: all bits are inverted, and sizes are 33 (in units of four) too large.
fn mu_law(byte: u8) -> f32 {
    let bits = !byte;
    let size = (((i32::from(bits & 15) << 3) + 0x84) << (bits >> 4 & 7)) - 0x84;
    let size = size as f32 / 32_768.0;
    if bits & 0x80 != 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::{Order, PcmDecoder, Sample};
    use crate::audio::{Pcm, wave_order};
    use crate::decode::Decoder;

    fn decoded(sample: Sample, bytes: &[u8]) -> Vec<f32> {
        let mut pcm = Pcm::default();
        PcmDecoder::new(sample, 8000, &wave_order(1)).decode(bytes, &mut pcm).unwrap();
        pcm.planes.remove(0)
    }

    #[test]
    fn half_of_full_scale_is_a_half_in_every_width_and_order() {
        for order in [Order::Big, Order::Little] {
            for bits in [8, 12, 16, 20, 24, 32, 40, 48, 64] {
                for signed in [true, false] {
                    let sample = Sample::integer(bits, signed, order).unwrap();
                    let mut bytes = vec![0; usize::from(sample.bytes)];
                    bytes[0] = if signed { 0x40 } else { 0xc0 };
                    if order == Order::Little {
                        bytes.reverse();
                    }
                    assert_eq!(decoded(sample, &bytes), [0.5], "{sample:?}");
                }
            }
        }
        let low = Sample { unused: 8, ..Sample::integer(32, true, Order::Little).unwrap() };
        assert_eq!(decoded(low, &[0, 0, 0xc0, 0xff]), [-0.5]);
    }

    #[test]
    fn floats_are_what_they_are() {
        let float = |bits, order| Sample::float(bits, order).unwrap();
        assert_eq!(decoded(float(32, Order::Big), &0.25f32.to_be_bytes()), [0.25]);
        assert_eq!(decoded(float(32, Order::Little), &0.25f32.to_le_bytes()), [0.25]);
        assert_eq!(decoded(float(64, Order::Big), &(-0.25f64).to_be_bytes()), [-0.25]);
        assert_eq!(decoded(float(64, Order::Little), &(-0.25f64).to_le_bytes()), [-0.25]);
    }

    #[test]
    fn the_ends_of_the_companding_laws_are_where_the_standard_has_them() {
        let in_16_bits = |sample, bytes: &[u8]| -> Vec<f32> {
            decoded(sample, bytes).iter().map(|sample| sample * 32_768.0).collect()
        };
        assert_eq!(in_16_bits(Sample::A_LAW, &[0xaa, 0x2a, 0xd5, 0x55]), [32_256.0, -32_256.0, 8.0, -8.0]);
        assert_eq!(in_16_bits(Sample::MU_LAW, &[0x80, 0x00, 0xff, 0x7f]), [32_124.0, -32_124.0, 0.0, 0.0]);
    }

    #[test]
    fn channels_are_kept_apart_and_an_incomplete_moment_is_left_out() {
        let mut pcm = Pcm::default();
        let sample = Sample::integer(8, true, Order::Big).unwrap();
        PcmDecoder::new(sample, 8000, &wave_order(2)).decode(&[64, 0xc0, 32, 0xe0, 1], &mut pcm).unwrap();
        assert_eq!(pcm.planes, [[0.5, 0.25], [-0.5, -0.25]]);
    }
}
