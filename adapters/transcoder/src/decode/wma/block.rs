//! A block: bits become the spectra of its channels.

use super::bits::{Bits, Book};
use super::setup::{Setup, Size};
use super::tables;
use crate::decode::Damaged;

/// Steps of an envelope are 10^(1/16); no encoder leaves this range.
const STEPS: std::ops::RangeInclusive<i32> = -60..=95;
/// Where envelopes of version 2 begin.
const FIRST_STEP: i32 = 36;
/// No block is louder, in dB.
const LOUDEST: u32 = 400;
/// Numbers of the noise, which come round and round.
const NOISE: usize = 8192;

/// The codebooks of a stream.
pub(super) struct Books {
    /// Of coefficients, and of those of the difference between two channels.
    coefs: [Coefs; 2],
    steps: Book,
    gains: Book,
}

/// A codebook of coefficients, and the run of zeros and the level of each symbol.
struct Coefs {
    book: Book,
    pairs: Vec<(u16, u16)>,
}

impl Coefs {
    fn new(entries: &'static [u16], runs: &[u16]) -> Self {
        let mut pairs = vec![(0, 0); 2];
        for (level, count) in (1..).zip(runs) {
            pairs.extend((0..*count).map(|run| (run, level)));
        }
        Self { book: Book::new(entries), pairs }
    }
}

impl Books {
    pub(super) fn new(which: usize) -> Self {
        let coefs = match which {
            0 => [Coefs::new(&tables::COEFS_0, &tables::RUNS_0), Coefs::new(&tables::COEFS_1, &tables::RUNS_1)],
            1 => [Coefs::new(&tables::COEFS_2, &tables::RUNS_2), Coefs::new(&tables::COEFS_3, &tables::RUNS_3)],
            _ => [Coefs::new(&tables::COEFS_4, &tables::RUNS_4), Coefs::new(&tables::COEFS_5, &tables::RUNS_5)],
        };
        Self { coefs, steps: Book::new(&tables::EXPONENTS), gains: Book::new(&tables::HIGH_GAINS) }
    }
}

/// What is known of a channel.
#[derive(Default)]
pub(super) struct Channel {
    pub(super) coded: bool,
    /// The envelope, with its maximum and the size of the block that it was sent for: shorter ones may use it too.
    envelope: Vec<f32>,
    maximum: f32,
    envelope_size: Option<usize>,
    /// For each of the bands that may be noise, how loud that is in dB; `None`: it is none.
    gains: Vec<Option<i32>>,
    levels: Vec<i32>,
    pub(super) spectrum: Vec<f32>,
}

impl Channel {
    fn envelope_at(&self, at: usize, size: usize) -> f32 {
        let at = at << size >> self.envelope_size.unwrap_or(0);
        self.envelope.get(at).copied().unwrap_or(0.0)
    }
}

/// Pseudo-random numbers that sound like the encoder expects.
pub(super) struct Noise {
    numbers: Vec<f32>,
    next: usize,
    /// How loud they are.
    factor: f32,
}

impl Noise {
    pub(super) fn new(setup: &Setup) -> Self {
        let factor = if setup.stepped { 0.02 } else { 0.04 };
        let scale = (1.0 / (1u64 << 31) as f64 * 3f64.sqrt() * f64::from(factor)) as f32;
        let mut seed = 1u32;
        let mut number = || {
            seed = seed.wrapping_mul(314_159).wrapping_add(1);
            seed as i32 as f32 * scale
        };
        Self { numbers: (0..NOISE).map(|_| number()).collect(), next: 0, factor }
    }

    fn next(&mut self) -> f32 {
        let number = self.numbers[self.next];
        self.next = (self.next + 1) % NOISE;
        number
    }
}

/// Reads the spectra of a block whose size is known; says whether the second channel is the difference of both.
pub(super) fn read(
    bits: &mut Bits<'_>,
    setup: &Setup,
    books: &Books,
    size: usize,
    channels: &mut [Channel],
    noise: &mut Noise,
) -> Result<bool, Damaged> {
    let block = &setup.sizes[size];
    let joint = channels.len() == 2 && bits.flag();
    for channel in &mut *channels {
        channel.coded = bits.flag();
    }
    if channels.iter().all(|channel| !channel.coded) {
        return Ok(joint);
    }
    let gain = total_gain(bits)?;
    if setup.noise {
        read_gains(bits, block, &books.gains, channels);
    }
    // The envelope of a block that is as long as the frame is always sent.
    if size == 0 || bits.flag() {
        for channel in channels.iter_mut().filter(|channel| channel.coded) {
            if setup.stepped {
                read_steps(bits, setup, block, &books.steps, channel)?;
            } else {
                read_line_spectral_pairs(bits, block, channel);
            }
            channel.envelope_size = Some(size);
        }
    }
    if channels.iter().any(|channel| channel.coded && channel.envelope_size.is_none()) {
        return Err(Damaged);
    }
    let level_bits = match gain {
        0..15 => 13,
        15..32 => 12,
        32..40 => 11,
        40..45 => 10,
        _ => 9,
    };
    for (n, channel) in channels.iter_mut().enumerate() {
        if channel.coded {
            let coefs = &books.coefs[usize::from(joint && n == 1)];
            read_levels(bits, setup, block, coefs, level_bits, channel)?;
        }
        if setup.version == 1 && setup.channels == 2 {
            bits.align();
        }
    }
    for channel in channels.iter_mut().filter(|channel| channel.coded) {
        dequantise(setup, size, gain, channel, noise);
    }
    if joint && channels[1].coded {
        undo_joint(block.len, channels);
    }
    Ok(joint)
}

/// In dB.
fn total_gain(bits: &mut Bits<'_>) -> Result<u32, Damaged> {
    let mut gain = 1;
    loop {
        let more = bits.read(7);
        gain += more;
        if gain > LOUDEST {
            return Err(Damaged);
        }
        if more != 127 {
            return Ok(gain);
        }
    }
}

/// Which high bands are noise, and how loud.
fn read_gains(bits: &mut Bits<'_>, block: &Size, book: &Book, channels: &mut [Channel]) {
    for channel in channels.iter_mut().filter(|channel| channel.coded) {
        channel.gains.clear();
        channel.gains.extend(block.high_bands.iter().map(|_| bits.flag().then_some(0)));
    }
    for channel in channels.iter_mut().filter(|channel| channel.coded) {
        let mut last = None;
        for gain in channel.gains.iter_mut().flatten() {
            *gain = match last {
                None => bits.read(7) as i32 - 19,
                Some(last) => last + i32::from(book.decode(bits)) - 18,
            };
            last = Some(*gain);
        }
    }
}

/// An envelope of steps from one band to the next.
fn read_steps(
    bits: &mut Bits<'_>,
    setup: &Setup,
    block: &Size,
    book: &Book,
    channel: &mut Channel,
) -> Result<(), Damaged> {
    let mut step = FIRST_STEP;
    channel.envelope.clear();
    channel.maximum = 0.0;
    for (n, width) in block.bands.iter().enumerate() {
        if n == 0 && setup.version == 1 {
            step = bits.read(5) as i32 + 10;
        } else {
            step += i32::from(book.decode(bits)) - 60;
        }
        if !STEPS.contains(&step) {
            return Err(Damaged);
        }
        let value = 10f64.powf(f64::from(step) / 16.0) as f32;
        channel.maximum = channel.maximum.max(value);
        let end = (channel.envelope.len() + width).min(block.len);
        channel.envelope.resize(end, value);
    }
    let last = channel.envelope.last().copied().unwrap_or(1.0);
    channel.envelope.resize(block.len, last);
    Ok(())
}

/// An envelope of line spectral pairs, which becomes a curve as in Vorbis' floor 0.
fn read_line_spectral_pairs(bits: &mut Bits<'_>, block: &Size, channel: &mut Channel) {
    let pairs: [f32; 10] = std::array::from_fn(|n| {
        let width = if n == 0 || n >= 8 { 3 } else { 4 };
        tables::LSP[n][bits.read(width) as usize]
    });
    channel.envelope.clear();
    channel.maximum = 0.0;
    for n in 0..block.len {
        let w = (2.0 * (std::f64::consts::PI * n as f64 / block.len as f64).cos()) as f32;
        let (mut p, mut q) = (0.5f32, 0.5f32);
        for pair in pairs.as_chunks::<2>().0 {
            q *= w - pair[0];
            p *= w - pair[1];
        }
        let power = p * p * (2.0 - w) + q * q * (2.0 + w);
        let value = power.max(f32::MIN_POSITIVE).powf(-0.25);
        channel.maximum = channel.maximum.max(value);
        channel.envelope.push(value);
    }
}

/// Runs of zeros, each with a level behind it.
fn read_levels(
    bits: &mut Bits<'_>,
    setup: &Setup,
    block: &Size,
    coefs: &Coefs,
    level_bits: u32,
    channel: &mut Channel,
) -> Result<(), Damaged> {
    let noise = block.high_bands.iter().zip(&channel.gains).filter(|(_, gain)| gain.is_some());
    let without = if setup.noise { noise.map(|(width, _)| width).sum() } else { 0 };
    let count = block.end.saturating_sub(setup.lowest).saturating_sub(without);
    channel.levels.clear();
    channel.levels.resize(block.len, 0);
    let mut at = 0;
    while at < count {
        let (run, level) = match coefs.book.decode(bits) {
            0 => {
                let level = bits.read(level_bits);
                (bits.read(setup.frame_bits) as usize, level as i32)
            }
            1 => break,
            symbol => {
                let (run, level) = coefs.pairs.get(usize::from(symbol)).copied().ok_or(Damaged)?;
                (run.into(), level.into())
            }
        };
        let is_positive = bits.flag();
        at += run;
        if at >= count {
            return Err(Damaged);
        }
        channel.levels[at] = if is_positive { level } else { -level };
        at += 1;
    }
    Ok(())
}

fn dequantise(setup: &Setup, size: usize, gain: u32, channel: &mut Channel, noise: &mut Noise) {
    let block = &setup.sizes[size];
    let quarter = block.len as f32 / 2.0;
    let norm = if setup.version == 1 { quarter.sqrt() } else { 1.0 } / quarter / f32::from(i16::MAX as u16 + 1);
    let factor = 10f32.powf(gain as f32 * 0.05) / channel.maximum * norm;
    let mut spectrum = std::mem::take(&mut channel.spectrum);
    spectrum.clear();
    if !setup.noise {
        spectrum.resize(setup.lowest, 0.0);
        for (at, level) in (setup.lowest..block.end).zip(&channel.levels) {
            spectrum.push(*level as f32 * channel.envelope_at(at, size) * factor);
        }
        spectrum.resize(block.len, 0.0);
        channel.spectrum = spectrum;
        return;
    }
    spectrum.extend((0..setup.lowest).map(|at| noise.next() * channel.envelope_at(at, size) * factor));
    let mut levels = channel.levels.iter();
    let mut coded = |at: usize, noise: &mut Noise| {
        (levels.next().copied().unwrap_or(0) as f32 + noise.next()) * channel.envelope_at(at, size) * factor
    };
    let high = block.high.clamp(setup.lowest, block.end);
    spectrum.extend((setup.lowest..high).map(|at| coded(at, noise)));
    let powers = powers(block, size, channel, high);
    let last_power = powers.iter().zip(&channel.gains).rfind(|(_, gain)| gain.is_some()).map_or(1.0, |(p, _)| *p);
    for ((width, power), gain) in block.high_bands.iter().zip(&powers).zip(&channel.gains) {
        let band = spectrum.len()..spectrum.len() + width;
        let Some(gain) = gain else {
            spectrum.extend(band.map(|at| coded(at, noise)));
            continue;
        };
        let loudness = (power / last_power).sqrt() * 10f32.powf(*gain as f32 * 0.05);
        let factor = loudness / (channel.maximum * noise.factor) * norm;
        spectrum.extend(band.map(|at| noise.next() * channel.envelope_at(at, size) * factor));
    }
    // Above what is coded, there is noise as at its end.
    let above = factor * channel.envelope_at(spectrum.len().saturating_sub(1), size);
    while spectrum.len() < block.len {
        spectrum.push(noise.next() * above);
    }
    channel.spectrum = spectrum;
}

/// The mean power of the envelope in each of the bands that may be noise.
fn powers(block: &Size, size: usize, channel: &Channel, high: usize) -> Vec<f32> {
    let mut at = high;
    let mut powers = Vec::with_capacity(block.high_bands.len());
    for width in &block.high_bands {
        let sum: f32 = (at..at + width).map(|at| channel.envelope_at(at, size).powi(2)).sum();
        powers.push(sum / *width as f32);
        at += width;
    }
    powers
}

/// Half the sum and half the difference become left and right.
fn undo_joint(len: usize, channels: &mut [Channel]) {
    let [mid, side] = channels else { return };
    if !mid.coded {
        mid.coded = true;
        mid.spectrum.clear();
        mid.spectrum.resize(len, 0.0);
    }
    for (mid, side) in mid.spectrum.iter_mut().zip(&mut side.spectrum) {
        (*mid, *side) = (*mid + *side, *mid - *side);
    }
}
