//! What follows from a stream's settings: the sizes of its blocks, the bands of their spectra, and whether the high ones
//! are noise.

use crate::codec::Wma;

/// The shortest block has 2^7 samples.
const SHORTEST: u32 = 7;
pub(super) struct Setup {
    pub(super) version: u8,
    pub(super) channels: usize,
    pub(super) rate: u32,
    /// Samples per channel of a frame, and their binary logarithm.
    pub(super) frame: usize,
    pub(super) frame_bits: u32,
    /// Envelopes are coded as steps, not as line spectral pairs.
    pub(super) stepped: bool,
    /// Frames go on in the next packet.
    pub(super) reservoir: bool,
    /// Blocks may be shorter than the frame.
    pub(super) variable: bool,
    /// High bands may be noise.
    pub(super) noise: bool,
    /// What the field has bits that says how many bits the last frame goes on for.
    pub(super) carry_bits: u32,
    /// Which pair of codebooks the coefficients have.
    pub(super) books: usize,
    /// The lowest coefficient that is coded.
    pub(super) lowest: usize,
    /// A frame is divided into 1, 2, 4, … blocks; this is for each size, the longest first.
    pub(super) sizes: Vec<Size>,
}

/// What is the same for all blocks of a size.
pub(super) struct Size {
    pub(super) len: usize,
    /// Widths of the envelope's bands.
    pub(super) bands: Vec<usize>,
    /// Behind the highest coefficient that is coded.
    pub(super) end: usize,
    /// Where the bands begin that may be noise, and their widths.
    pub(super) high: usize,
    pub(super) high_bands: Vec<usize>,
}

impl Setup {
    /// `None` when the settings make no sense.
    pub(super) fn new(wma: &Wma) -> Option<Self> {
        let (rate, channels, version) = (wma.rate, usize::from(wma.channels), wma.version);
        let bitrate = wma.bytes_per_second.checked_mul(8)?;
        if !(4000..=50_000).contains(&rate) || !(1..=2).contains(&channels) || bitrate == 0 {
            return None;
        }
        let frame_bits = wma.frame_bits();
        let frame = 1usize << frame_bits;
        let per_sample = bitrate as f32 / (wma.rate * u32::from(wma.channels)) as f32;
        let bytes_per_frame = (f64::from(per_sample * frame as f32) / 8.0 + 0.5) as u32;
        // Of two channels, one is expected to be the thriftier.
        let as_mono = if channels == 2 { (f64::from(per_sample) * 1.6) as f32 } else { per_sample };
        let (noise, highest) = high_frequencies(version, rate, per_sample, as_mono);
        let books = match f64::from(as_mono) {
            _ if rate < 32_000 => 2,
            ..0.72 => 0,
            ..1.16 => 1,
            _ => 2,
        };
        let variable = wma.flags & 4 != 0;
        let halvings = if variable {
            let more = if bitrate / u32::from(wma.channels) >= 32_000 { 2 } else { 0 };
            (u32::from(wma.flags >> 3 & 3) + 1 + more).min(frame_bits - SHORTEST)
        } else {
            0
        };
        let mut setup = Self {
            version,
            channels,
            rate,
            frame,
            frame_bits,
            stepped: wma.flags & 1 != 0,
            reservoir: wma.has_reservoir(),
            variable,
            noise,
            carry_bits: bytes_per_frame.max(1).ilog2() + 5,
            books,
            lowest: if version == 1 { 3 } else { 0 },
            sizes: Vec::new(),
        };
        setup.sizes = (0..=halvings).map(|halvings| setup.size(halvings, highest)).collect();
        Some(setup)
    }

    fn size(&self, halvings: u32, highest: f32) -> Size {
        let len = self.frame >> halvings;
        let bands = match self.version {
            1 => critical_bands(len, self.rate, 1),
            _ => match tabled(self.frame_bits - halvings - SHORTEST, self.rate) {
                Some(bands) => bands.iter().map(|width| usize::from(*width)).collect(),
                None => critical_bands(len, self.rate, 4),
            },
        };
        let end = (self.frame - self.frame * 9 / 100) >> halvings;
        let high = (f64::from(2.0 * len as f32 * highest / self.rate as f32) + 0.5) as usize;
        let (mut at, mut high_bands) = (0, Vec::new());
        for width in &bands {
            let (from, to) = (at.max(high), (at + width).min(end));
            if to > from {
                high_bands.push(to - from);
            }
            at += width;
        }
        Size { len, bands, end, high, high_bands }
    }
}

/// Whether high bands may be noise, and from which frequency on.
fn high_frequencies(version: u8, rate: u32, per_sample: f32, as_mono: f32) -> (bool, f32) {
    let class = match rate {
        _ if version == 1 => rate,
        44_100.. => 44_100,
        22_050.. => 22_050,
        16_000.. => 16_000,
        11_025.. => 11_025,
        8_000.. => 8_000,
        _ => rate,
    };
    let (bits, mono) = (f64::from(per_sample), f64::from(as_mono));
    let part = match class {
        44_100 if mono >= 0.61 => None,
        44_100 => Some(0.4),
        22_050 if mono >= 1.16 => None,
        22_050 if mono >= 0.72 => Some(0.7),
        22_050 => Some(0.6),
        16_000 if bits > 0.5 => Some(0.5),
        16_000 => Some(0.3),
        11_025 => Some(0.7),
        8_000 if bits <= 0.625 => Some(0.5),
        8_000 if bits > 0.75 => None,
        8_000 => Some(0.65),
        _ if bits >= 0.8 => Some(0.75),
        _ if bits >= 0.6 => Some(0.6),
        _ => Some(0.5),
    };
    let nyquist = f64::from(rate) * 0.5;
    (part.is_some(), part.map_or(nyquist, |part: f64| nyquist * part) as f32)
}

/// Upper ends of the critical bands of hearing, in Hz.
const CRITICAL: [usize; 25] = [
    100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300, 6400,
    7700, 9500, 12_000, 15_500, 24_500,
];

/// Critical bands in coefficients, rounded to multiples of a step.
fn critical_bands(len: usize, rate: u32, step: usize) -> Vec<usize> {
    let rate = rate as usize;
    let (mut bands, mut last) = (Vec::new(), 0);
    for frequency in CRITICAL {
        let end = ((2 * len * frequency + step * rate / 2) / (step * rate) * step).min(len);
        // Version 1 codes an exponent for empty bands too.
        if end > last || step == 1 {
            bands.push(end - last);
        }
        last = end;
        if end == len {
            break;
        }
    }
    bands
}

/// The bands of version 2 that are no critical ones: those of blocks of 128, 256 and 512 samples at high rates.
fn tabled(size: u32, rate: u32) -> Option<&'static [u8]> {
    Some(match (rate, size) {
        (44_100.., 0) => &[4, 4, 4, 4, 4, 8, 8, 8, 12, 16, 20, 36],
        (44_100.., 1) => &[4, 8, 4, 8, 8, 4, 8, 8, 12, 12, 12, 24, 28, 40, 76],
        (44_100.., 2) => &[4, 8, 8, 4, 12, 12, 8, 8, 24, 16, 20, 24, 32, 40, 60, 80, 152],
        (32_000.., 0) => &[4, 4, 8, 4, 4, 12, 16, 24, 20, 28, 4],
        (32_000.., 1) => &[4, 8, 4, 4, 8, 8, 16, 20, 12, 20, 20, 28, 40, 56, 8],
        (32_000.., 2) => &[8, 4, 8, 8, 12, 16, 20, 24, 40, 32, 32, 44, 56, 80, 112, 16],
        (22_050.., 0) => &[4, 8, 4, 8, 8, 12, 20, 24, 24, 16],
        (22_050.., 1) => &[4, 8, 8, 4, 12, 12, 16, 24, 16, 20, 24, 32, 40, 36],
        (22_050.., 2) => &[4, 4, 4, 8, 4, 4, 8, 8, 8, 8, 8, 12, 12, 16, 16, 24, 24, 32, 44, 48, 60, 84, 72],
        _ => return None,
    })
}
