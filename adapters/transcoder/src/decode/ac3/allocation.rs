//! How many bits each mantissa has (A/52:2018, 7.2). Nobody says so: encoder and decoder work it out from the exponents
//! by the same model of what an ear hears, in integers, so that they agree.

use std::ops::Range;

use super::BINS;
use super::bits::Bits;
use crate::decode::Damaged;

/// Bands of the model.
const BANDS: usize = 50;

/// Where the bands begin (table 7.13).
const BAND_STARTS: [usize; BANDS + 1] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 34,
    37, 40, 43, 46, 49, 55, 61, 67, 73, 79, 85, 97, 109, 121, 133, 157, 181, 205, 229, 253,
];

/// What is added to the larger of two logarithms for the smaller, by half their difference (table 7.14, from which on
/// it is zero).
#[rustfmt::skip]
const LOG_ADD: [u8; 210] = [
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 52, 51, 50, 49, 48, 47, 47, 46, 45, 44, 44, 43, 42, 41, 41, 40,
    39, 38, 38, 37, 36, 36, 35, 35, 34, 33, 33, 32, 32, 31, 30, 30, 29, 29, 28, 28, 27, 27, 26, 26, 25, 25, 24, 24, 23,
    23, 22, 22, 21, 21, 21, 20, 20, 19, 19, 19, 18, 18, 18, 17, 17, 17, 16, 16, 16, 15, 15, 15, 14, 14, 14, 13, 13, 13,
    13, 12, 12, 12, 12, 11, 11, 11, 11, 10, 10, 10, 10, 10, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 6, 6, 6,
    6, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
];

/// The hearing threshold, in sixteenths, by band at 48, 44.1 and 32 kHz (table 7.15).
#[rustfmt::skip]
const THRESHOLDS: [[u8; BANDS]; 3] = [
    [
        77, 77, 68, 64, 62, 60, 59, 59, 58, 58, 58, 58, 58, 57, 57, 57, 56, 56, 55, 55, 54, 54, 53, 53, 52, 52, 51, 50,
        49, 48, 47, 47, 47, 47, 48, 49, 52, 57, 62, 66, 70, 73, 74, 70, 68, 68, 82, 128, 132, 132,
    ],
    [
        79, 79, 70, 65, 62, 61, 60, 59, 59, 58, 58, 58, 58, 58, 57, 57, 57, 56, 56, 56, 55, 55, 54, 54, 53, 53, 52, 52,
        50, 49, 48, 47, 47, 47, 47, 48, 50, 53, 57, 62, 66, 69, 74, 73, 70, 68, 72, 99, 132, 132,
    ],
    [
        88, 88, 75, 69, 66, 63, 62, 61, 60, 59, 59, 59, 58, 58, 58, 58, 58, 58, 58, 58, 57, 57, 57, 57, 56, 56, 56, 55,
        54, 53, 52, 51, 50, 49, 48, 47, 47, 47, 48, 49, 51, 53, 60, 65, 71, 74, 70, 68, 69, 78,
    ],
];

/// From how far a bin stands out to its `bap` (table 7.16).
#[rustfmt::skip]
const BAPS: [u8; 64] = [
    0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8, 8, 9, 9, 9, 9, 10,
    10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13, 14, 14, 14, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15,
    15, 15, 15, 15,
];

/// The same for the adaptive hybrid transform: `hebap` (table E3.1).
#[rustfmt::skip]
const HYBRID_BAPS: [u8; 64] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11, 12, 12, 12, 12, 13, 13, 13, 13, 14,
    14, 14, 14, 15, 15, 15, 15, 16, 16, 16, 16, 17, 17, 17, 17, 18, 18, 18, 18, 18, 18, 18, 18, 19, 19, 19, 19, 19,
    19, 19, 19, 19,
];

/// What all carriers of a block have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    pub(super) rate_code: usize,
    pub(super) rate_shift: u32,
    slow_decay: i32,
    fast_decay: i32,
    slow_gain: i32,
    knee: i32,
    floor: i32,
    /// `cplfleak` and `cplsleak`: what of the bands below the coupling channel masks it.
    pub(super) leaks: (i32, i32),
}

impl Parameters {
    /// What holds where E-AC-3 says nothing else (E.2.3.2.6).
    pub(super) fn new(rate_code: usize, rate_shift: u32) -> Self {
        let none = Self {
            rate_code,
            rate_shift,
            slow_decay: 0,
            fast_decay: 0,
            slow_gain: 0,
            knee: 0,
            floor: 0,
            leaks: (0, 0),
        };
        none.with_codes([2, 1, 1, 2, 7])
    }

    /// Reads the fields behind `baie` (tables 7.6 to 7.10).
    pub(super) fn read(self, bits: &mut Bits<'_>) -> Result<Self, Damaged> {
        Ok(self.with_codes([bits.index(2)?, bits.index(2)?, bits.index(2)?, bits.index(2)?, bits.index(3)?]))
    }

    fn with_codes(self, [slow_decay, fast_decay, slow_gain, knee, floor]: [usize; 5]) -> Self {
        Self {
            slow_decay: [0x0f, 0x11, 0x13, 0x15][slow_decay] >> self.rate_shift,
            fast_decay: [0x3f, 0x53, 0x67, 0x7b][fast_decay] >> self.rate_shift,
            slow_gain: [0x540, 0x4d8, 0x478, 0x410][slow_gain],
            knee: [0x000, 0x700, 0x900, 0xb00][knee],
            floor: [0x2f0, 0x2b0, 0x270, 0x230, 0x1f0, 0x170, 0x0f0, -0x800][floor],
            ..self
        }
    }
}

/// `fgaincod` (table 7.11).
pub(super) fn fast_gain(code: u32) -> i32 {
    0x80 * (code.cast_signed() + 1)
}

/// Corrections of the masking curve (7.2.2.6): how many bands are left as they are, for how many the next holds, and
/// what it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delta {
    segments: [(u8, u8, i32); 8],
    count: usize,
}

impl Delta {
    pub(super) fn read(bits: &mut Bits<'_>) -> Result<Self, Damaged> {
        let mut delta = Self { count: bits.index(3)? + 1, ..Self::default() };
        for segment in &mut delta.segments[..delta.count] {
            let (offset, length, code) = (bits.take(5)? as u8, bits.take(4)? as u8, bits.take(3)?.cast_signed());
            *segment = (offset, length, if code >= 4 { code - 3 } else { code - 4 } << 7);
        }
        Ok(delta)
    }

    /// Applies them from the first band of the carrier on: 5 bits reach no band of the coupling channel otherwise.
    fn apply(&self, first: usize, mask: &mut [i32; BANDS]) {
        let mut band = first;
        for (offset, length, value) in &self.segments[..self.count] {
            band += usize::from(*offset);
            for mask in mask.iter_mut().skip(band).take(usize::from(*length)) {
                *mask += value;
            }
            band += usize::from(*length);
        }
    }
}

/// What differs from carrier to carrier.
pub(super) struct Wanted<'a> {
    pub(super) bins: Range<usize>,
    pub(super) exponents: &'a [u8; BINS],
    pub(super) snr_offset: i32,
    pub(super) fast_gain: i32,
    pub(super) delta: &'a Delta,
    pub(super) is_lfe: bool,
    pub(super) is_coupling: bool,
    pub(super) hybrid: bool,
}

/// The offset at which nothing has any bits.
const NO_BITS: i32 = -960;

/// Works out `bap`, or `hebap` of the adaptive hybrid transform, for the bins of a carrier (7.2.2).
pub(super) fn allocate(parameters: &Parameters, wanted: &Wanted<'_>, baps: &mut [u8; BINS]) {
    let Range { start, end } = wanted.bins;
    if start >= end || end > BAND_STARTS[BANDS] {
        return;
    }
    if wanted.snr_offset == NO_BITS {
        baps[start..end].fill(0);
        return;
    }
    let power = |bin: usize| 3072 - (i32::from(wanted.exponents[bin]) << 7);
    let bands = band_of(start)..band_of(end - 1) + 1;
    let bins_of = |band: usize| BAND_STARTS[band].max(start)..BAND_STARTS[band + 1].min(end);
    let mut powers = [0; BANDS];
    for band in bands.clone() {
        powers[band] = bins_of(band).map(power).reduce(log_add).unwrap_or(0);
    }
    let mut mask = excitation(parameters, wanted, &powers, bands.clone());
    for band in bands.clone() {
        let below_knee = (parameters.knee - powers[band]).max(0) >> 2;
        let threshold = THRESHOLDS[parameters.rate_code.min(2)][band >> parameters.rate_shift];
        mask[band] = (mask[band] + below_knee).max(i32::from(threshold) << 4);
    }
    wanted.delta.apply(bands.start, &mut mask);
    let table = if wanted.hybrid { &HYBRID_BAPS } else { &BAPS };
    for band in bands {
        let mask = (mask[band] - wanted.snr_offset - parameters.floor).max(0) & 0x1fe0;
        for bin in bins_of(band) {
            let height = (power(bin) - mask - parameters.floor) >> 5;
            baps[bin] = table[height.clamp(0, 63) as usize];
        }
    }
}

fn band_of(bin: usize) -> usize {
    BAND_STARTS.partition_point(|start| *start <= bin) - 1
}

fn log_add(a: i32, b: i32) -> i32 {
    let difference = (a.abs_diff(b) >> 1) as usize;
    a.max(b) + i32::from(LOG_ADD.get(difference).copied().unwrap_or(0))
}

/// How loud each band sounds (7.2.2.4): a loud one hides those above it, less the farther they are.
fn excitation(
    parameters: &Parameters,
    wanted: &Wanted<'_>,
    powers: &[i32; BANDS],
    bands: Range<usize>,
) -> [i32; BANDS] {
    let mut out = [0; BANDS];
    let (mut fast, mut slow) = (0, 0);
    let mut next = bands.start;
    if wanted.is_coupling {
        (fast, slow) = ((parameters.leaks.0 << 8) + 768, (parameters.leaks.1 << 8) + 768);
    } else {
        // The lowest bands are heard apart from each other.
        let mut low = 0;
        let follows = |band: usize| !(wanted.is_lfe && band == 6);
        let mut compensate = |band: usize| {
            if follows(band) {
                low = compensation(low, powers[band], powers[band + 1], band);
            }
            low
        };
        for band in 0..2 {
            out[band] = powers[band] - wanted.fast_gain - compensate(band);
        }
        next = 7;
        for band in 2..7 {
            let low = compensate(band);
            (fast, slow) = (powers[band] - wanted.fast_gain, powers[band] - parameters.slow_gain);
            out[band] = fast - low;
            if follows(band) && powers[band] <= powers[band + 1] {
                next = band + 1;
                break;
            }
        }
        for band in next..bands.end.min(22) {
            let low = compensate(band);
            fast = (fast - parameters.fast_decay).max(powers[band] - wanted.fast_gain);
            slow = (slow - parameters.slow_decay).max(powers[band] - parameters.slow_gain);
            out[band] = slow.max(fast - low);
        }
        next = next.max(22);
    }
    for band in next..bands.end {
        fast = (fast - parameters.fast_decay).max(powers[band] - wanted.fast_gain);
        slow = (slow - parameters.slow_decay).max(powers[band] - parameters.slow_gain);
        out[band] = fast.max(slow);
    }
    out
}

/// Low-frequency compensation: a band that the next one towers above hides less.
fn compensation(before: i32, power: i32, next: i32, band: usize) -> i32 {
    match band {
        0..20 if power + 256 == next => {
            if band < 7 {
                384
            } else {
                320
            }
        }
        0..20 if power > next => (before - 64).max(0),
        0..20 => before,
        _ => (before - 128).max(0),
    }
}
