//! Frames with what no encoder at hand makes: the adaptive hybrid transform, spectral extension, phase flags and delta
//! bit allocation. They sound like nothing, but the same here as in ffmpeg.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]
#![allow(clippy::unusual_byte_groupings, reason = "a group is a field")]

use super::bits::Bits;
use super::header;
use super::substream::Substream;
use super::tests::compare;
use crate::sniff::ac3;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % n
    }
}

/// What a frame has.
#[derive(Clone, Copy, Debug)]
struct Made {
    stereo: bool,
    hybrid: bool,
    coupled: bool,
    extended: bool,
    deltas: bool,
}

struct Writer {
    bits: Vec<bool>,
    random: Random,
}

impl Writer {
    fn put(&mut self, value: u32, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn any(&mut self, count: u32) {
        let value = self.random.below(1 << count);
        self.put(value, count);
    }

    /// Exponents that wander.
    fn exponents(&mut self, first: u32, groups: usize) {
        let mut exponent = first.cast_signed();
        for _ in 0..groups {
            let mut code = 0;
            for _ in 0..3 {
                let difference =
                    (self.random.below(5).cast_signed() - 2).clamp(4 - exponent, 14 - exponent).clamp(-2, 2);
                exponent += difference;
                code = 5 * code + (difference + 2).cast_unsigned();
            }
            self.put(code, 7);
        }
    }

    /// Bits that are a valid code of every quantiser.
    fn mantissas(&mut self, until: usize) {
        while self.bits.len() < until {
            let bit = self.random.below(2) == 1;
            let would_be: Vec<bool> = self.bits.iter().rev().take(4).rev().copied().chain([bit]).collect();
            let invalid = would_be.ends_with(&[true; 3]) || would_be == [true, true, false, true, true];
            self.bits.push(bit && !invalid);
        }
    }
}

/// Spectral extension from bin 109 on, coupling from bin 61 on.
const EXTENDED_FROM: usize = 109;
const COUPLED_FROM: usize = 61;

fn write(made: Made, size: usize, random: Random) -> Writer {
    let mut w = Writer { bits: Vec::new(), random };
    let channels = if made.stereo { 2 } else { 1 };
    w.put(0x0b77, 16);
    w.put(0, 5);
    w.put(size as u32 / 2 - 1, 11);
    w.put(if made.hybrid { 0b0011 } else { 0b0000 }, 4);
    w.put(channels, 3);
    w.put(0b0_10000_11111_0, 12);
    w.put(0, 2); // mixmdate, infomdate
    w.put(0, if made.hybrid { 1 } else { 2 }); // convsync, addbsie
    // audfrm
    if made.hybrid {
        w.put(0b01, 2);
    }
    w.put(0b00_0_0_1_0_0, 7);
    w.put(made.deltas.into(), 1);
    w.put(0, 1);
    w.put(made.extended.into(), 1);
    if made.stereo {
        w.put(made.coupled.into(), 1);
        w.put(0, if made.hybrid { 5 } else { 0 });
    }
    let carriers = channels + u32::from(made.coupled);
    if made.hybrid {
        w.put(0, 5 * carriers + 5 * channels);
        w.put((1 << carriers) - 1, carriers);
    } else {
        (0..carriers).for_each(|_| w.put(1, 2));
        w.put(0, 1); // convexpstre
    }
    w.put(if made.hybrid { 24 } else { 30 }, 6);
    w.any(4);
    if made.extended {
        for _ in 0..channels {
            w.put(1, 1);
            w.any(5);
        }
    }
    w.put(0, made.hybrid.into()); // blkstrtinfoe
    block(&mut w, made, channels as usize);
    w
}

fn block(w: &mut Writer, made: Made, channels: usize) {
    w.put(0, channels as u32 + 1); // dithflag, dynrnge
    w.put(made.extended.into(), 1);
    if made.extended {
        w.put(0b11, if made.stereo { 2 } else { 0 });
        w.put(0b01_101_111_0, 9);
        for _ in 0..channels {
            w.put(31, 5);
            w.any(2);
            // Sub-bands 7 to 16, of which 8, 10, 12, 14 and 16 are joined with those before.
            (0..5).for_each(|_| w.any(6));
        }
    }
    if made.coupled {
        w.put(0b0_1_0010, 6);
        w.put(if made.extended { 0 } else { 0b0101_0 }, if made.extended { 1 } else { 5 });
        let bands = if made.extended { 4 } else { 6 };
        for _ in 0..channels {
            w.any(2);
            (0..bands).for_each(|_| w.any(8));
        }
        w.any(bands);
    }
    if made.stereo {
        w.any(if made.coupled { 3 } else { 4 });
    }
    let end = if made.coupled {
        COUPLED_FROM
    } else if made.extended {
        EXTENDED_FROM
    } else {
        (0..channels).for_each(|_| w.put(20, 6));
        133
    };
    if made.coupled {
        w.put(4, 4);
        let bins = if made.extended { EXTENDED_FROM - COUPLED_FROM } else { 133 - COUPLED_FROM };
        w.exponents(8, bins / 3);
    }
    for _ in 0..channels {
        w.put(8, 4);
        w.exponents(8, (end - 1) / 3);
        w.put(0, 2);
    }
    w.put(0, 1); // convsnroffste
    if made.coupled {
        w.any(6);
    }
    if made.deltas {
        w.put(1, 1);
        let carriers = channels + usize::from(made.coupled);
        (0..carriers).for_each(|_| w.put(1, 2));
        for _ in 0..carriers {
            w.put(0b001, 3);
            for offset in [3, 2] {
                w.put(offset, 5);
                w.put(2, 4);
                w.any(3);
            }
        }
    }
}

/// A whole frame: behind the mantissas of six blocks at once, the other five say nothing new.
fn frame(made: Made, seed: u64) -> Vec<u8> {
    let size = if made.hybrid { 3000 } else { 800 };
    let mut w = write(made, size, Random(seed));
    let start = w.bits.len();
    w.mantissas(8 * size - 16);
    let mut bytes = packed(&w.bits);
    if made.hybrid {
        let head = ac3::frame(&bytes).unwrap();
        let mut bits = Bits::new(&bytes);
        let frame = header::read(&mut bits, &head).unwrap();
        let end = Substream::new(&frame).end_of_first_block(&frame, &mut bits).unwrap();
        assert!(end > start);
        w.bits[end..].fill(false);
        bytes = packed(&w.bits);
    }
    let sum = ac3::checksum(&bytes[2..]);
    bytes.extend(sum.to_be_bytes());
    assert_eq!(bytes.len(), size);
    bytes
}

fn packed(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
}

fn check(made: Made) {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..=8u64 {
        let path = folder.path().join(format!("{seed}.eac3"));
        let stream: Vec<u8> =
            (0..6).flat_map(|n| frame(made, (seed * 100 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        std::fs::write(&path, stream).unwrap();
        for (speaker, snr, _) in compare(&path) {
            assert!(snr > 60.0, "{made:?}, {seed}, {speaker:?}: {snr:.1} dB");
        }
    }
}

const NOTHING: Made = Made { stereo: false, hybrid: false, coupled: false, extended: false, deltas: false };

#[test]
fn plain_frames_sound_as_in_ffmpeg() {
    check(NOTHING);
    check(Made { stereo: true, ..NOTHING });
}

#[test]
fn delta_bit_allocation_sounds_as_in_ffmpeg() {
    check(Made { deltas: true, ..NOTHING });
    check(Made { stereo: true, coupled: true, deltas: true, ..NOTHING });
}

#[test]
fn coupling_with_phase_flags_sounds_as_in_ffmpeg() {
    check(Made { stereo: true, coupled: true, ..NOTHING });
}

#[test]
fn spectral_extension_sounds_as_in_ffmpeg() {
    check(Made { extended: true, ..NOTHING });
    check(Made { stereo: true, extended: true, ..NOTHING });
    check(Made { stereo: true, coupled: true, extended: true, ..NOTHING });
}

#[test]
fn the_adaptive_hybrid_transform_sounds_as_in_ffmpeg() {
    check(Made { hybrid: true, ..NOTHING });
    check(Made { hybrid: true, extended: true, ..NOTHING });
    check(Made { hybrid: true, stereo: true, coupled: true, ..NOTHING });
}
