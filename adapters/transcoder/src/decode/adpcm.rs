//! ADPCM: samples as differences of four bits or so, in steps that grow and shrink with them.
//!
//! IMA's kind (IMA Digital Audio Focus and Technical Working Groups, "Recommended practices for enhancing digital audio
//! compatibility", 1992) as WAVE, QuickTime and Flash have it, and Microsoft's (RFC 2361, A.2).

use super::{Damaged, Decoder};
use crate::audio::{Pcm, Speaker, wave_order};
use crate::codec::{Adpcm, AdpcmKind};

/// How much the step's index grows with what was read, without its sign, for two to five bits; four are IMA's.
const INDEX_CHANGES: [&[i8]; 4] = [
    &[-1, 2],
    &[-1, -1, 2, 4],
    &[-1, -1, -1, -1, 2, 4, 6, 8],
    &[-1, -1, -1, -1, -1, -1, -1, -1, 1, 2, 4, 6, 8, 10, 13, 16],
];

const STEPS: [u16; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107,
    118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963,
    1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894,
    6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794,
    32767,
];

/// Microsoft's coefficients, in case the settings have none.
const COEFFICIENTS: [(i16, i16); 7] = [(256, 0), (512, -256), (0, 0), (192, 64), (240, 0), (460, -208), (392, -232)];
/// How Microsoft's steps change with what was read, in 1/256.
const ADAPTATION: [i32; 16] = [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230];

pub(super) struct AdpcmDecoder {
    settings: Adpcm,
    speakers: Vec<Speaker>,
    /// QuickTime's blocks go on from the one before.
    states: Vec<Ima>,
}

impl AdpcmDecoder {
    pub(super) fn new(settings: &Adpcm) -> Self {
        let channels = usize::from(settings.channels);
        Self { settings: settings.clone(), speakers: wave_order(channels), states: vec![Ima::default(); channels] }
    }
}

impl Decoder for AdpcmDecoder {
    fn decode(&mut self, packet: &[u8], pcm: &mut Pcm) -> Result<(), Damaged> {
        pcm.reset(self.settings.rate, &self.speakers);
        if let AdpcmKind::Swf = self.settings.kind {
            return swf(packet, &mut pcm.planes);
        }
        for block in packet.chunks(self.settings.block.max(1)) {
            // The last block may be shorter, down to nothing.
            if block.len() < self.settings.head() {
                break;
            }
            let whole = match &self.settings.kind {
                AdpcmKind::ImaWav => ima_wav(block, &mut pcm.planes),
                AdpcmKind::ImaQuickTime => quicktime(block, &mut self.states, &mut pcm.planes),
                AdpcmKind::Microsoft(own) => {
                    microsoft(block, if own.is_empty() { &COEFFICIENTS } else { own }, &mut pcm.planes)
                }
                AdpcmKind::Swf => None,
            };
            whole.ok_or(Damaged)?;
        }
        Ok(())
    }
}

fn to_f32(sample: i32) -> f32 {
    sample as f32 / 32_768.0
}

fn signed(low: u8, high: u8) -> i32 {
    i16::from_le_bytes([low, high]).into()
}

/// A channel of IMA's kind.
#[derive(Clone, Copy, Debug, Default)]
struct Ima {
    sample: i32,
    index: usize,
}

impl Ima {
    /// `None` if there is no such step.
    fn new(sample: i32, index: usize) -> Option<Self> {
        (index < STEPS.len()).then_some(Self { sample, index })
    }

    /// The next sample, from a code of so many bits.
    fn next(&mut self, code: u32, bits: u32) -> f32 {
        let (sign, top) = (code >> (bits - 1) & 1, bits - 1);
        let step = i32::from(STEPS[self.index]);
        // Each bit is worth half of the one above it, and half of the last one is always added; each is rounded for
        // itself, as IMA and Microsoft's own codec do it, while a player that multiplies is a little off.
        let mut difference = step >> top;
        for bit in 0..top {
            if code >> (top - 1 - bit) & 1 == 1 {
                difference += step >> bit;
            }
        }
        let moved = if sign == 1 { self.sample - difference } else { self.sample + difference };
        self.sample = moved.clamp(-32_768, 32_767);
        let changes = INDEX_CHANGES[(bits - 2) as usize];
        let change = isize::from(changes[code as usize & (changes.len() - 1)]);
        self.index = self.index.saturating_add_signed(change).min(STEPS.len() - 1);
        to_f32(self.sample)
    }

    /// The samples of bytes, the lower half of each first.
    fn bytes(&mut self, bytes: &[u8], plane: &mut Vec<f32>) {
        for byte in bytes {
            plane.push(self.next(u32::from(byte & 0xf), 4));
            plane.push(self.next(u32::from(byte >> 4), 4));
        }
    }
}

/// For each channel a sample and a step, then eight samples of each channel in turn.
fn ima_wav(block: &[u8], planes: &mut [Vec<f32>]) -> Option<()> {
    let (heads, data) = block.split_at_checked(4 * planes.len())?;
    let head = |[low, high, index, _]: &[u8; 4]| Ima::new(signed(*low, *high), usize::from(*index));
    let mut states: Vec<Ima> = heads.as_chunks().0.iter().map(head).collect::<Option<_>>()?;
    for (plane, state) in planes.iter_mut().zip(&states) {
        plane.push(to_f32(state.sample));
    }
    for group in data.chunks_exact(4 * planes.len()) {
        for ((plane, state), bytes) in planes.iter_mut().zip(&mut states).zip(group.chunks_exact(4)) {
            state.bytes(bytes, plane);
        }
    }
    Some(())
}

/// 64 samples of each channel (QuickTime File Format, "IMA 4:1").
fn quicktime(block: &[u8], states: &mut [Ima], planes: &mut [Vec<f32>]) -> Option<()> {
    if block.len() < 34 * planes.len() {
        return None;
    }
    for ((plane, state), bytes) in planes.iter_mut().zip(states).zip(block.chunks_exact(34)) {
        let [h0, h1, data @ ..] = bytes else { return None };
        let head = i16::from_be_bytes([*h0, *h1]);
        let stated = Ima::new(i32::from(head & !0x7f), usize::from(head as u16 & 0x7f))?;
        // The head has nine bits of the sample: where it only repeats what came out last, that is more exact.
        if state.index != stated.index || (state.sample - stated.sample).abs() > 0x7f {
            *state = stated;
        }
        state.bytes(data, plane);
    }
    Some(())
}

/// A channel of Microsoft's kind.
struct Microsoft {
    coefficients: (i16, i16),
    step: i32,
    /// The last sample and the one before.
    last: (i32, i32),
}

impl Microsoft {
    fn next(&mut self, code: u8) -> f32 {
        let (code, (last, before)) = (usize::from(code & 0xf), self.last);
        let signed = if code < 8 { code as i64 } else { code as i64 - 16 };
        let (c1, c2) = (i64::from(self.coefficients.0), i64::from(self.coefficients.1));
        let foreseen = (i64::from(last) * c1 + i64::from(before) * c2) / 256;
        let sample = (foreseen + signed * i64::from(self.step)).clamp(-32_768, 32_767) as i32;
        self.last = (sample, last);
        // No step is larger than the range of samples needs, which keeps hostile ones from growing without end.
        self.step = (ADAPTATION[code] * self.step / 256).clamp(16, 1 << 20);
        to_f32(sample)
    }
}

fn microsoft(block: &[u8], coefficients: &[(i16, i16)], planes: &mut [Vec<f32>]) -> Option<()> {
    let channels = planes.len();
    // Of more than two channels, each has a block of its own.
    if channels > 2 {
        let own = block.len() / channels;
        let mut blocks = block.chunks_exact(own.max(1)).zip(planes.chunks_mut(1));
        return blocks.try_for_each(|(block, plane)| microsoft(block, coefficients, plane));
    }
    let (head, data) = block.split_at_checked(7 * channels)?;
    let word = |n: usize, channel: usize| {
        let at = channels + 2 * (n * channels + channel);
        signed(head[at], head[at + 1])
    };
    let state = |channel: usize| {
        let coefficients = *coefficients.get(usize::from(head[channel]))?;
        Some(Microsoft { coefficients, step: word(0, channel), last: (word(1, channel), word(2, channel)) })
    };
    let mut states: Vec<Microsoft> = (0..channels).map(state).collect::<Option<_>>()?;
    for (plane, state) in planes.iter_mut().zip(&states) {
        plane.extend([to_f32(state.last.1), to_f32(state.last.0)]);
    }
    let codes = data.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    for (n, code) in codes.enumerate() {
        let channel = n % channels;
        let sample = states[channel].next(code);
        planes[channel].push(sample);
    }
    Some(())
}

/// Bits, the highest of a byte first.
struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    /// Up to 16 bits.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

/// Flash's: blocks of up to 4096 samples that begin at any bit (SWF file format specification, "ADPCM sound data").
fn swf(packet: &[u8], planes: &mut [Vec<f32>]) -> Result<(), Damaged> {
    let mut bits = Bits { bytes: packet, at: 0 };
    let width = bits.read(2).ok_or(Damaged)? + 2;
    while let Some(mut states) = swf_heads(&mut bits, planes.len()) {
        for (plane, state) in planes.iter_mut().zip(&states) {
            plane.push(to_f32(state.sample));
        }
        for _ in 1..4096 {
            let codes: Option<Vec<u32>> = (0..planes.len()).map(|_| bits.read(width)).collect();
            let Some(codes) = codes else { return Ok(()) };
            for ((plane, state), code) in planes.iter_mut().zip(&mut states).zip(codes) {
                plane.push(state.next(code, width));
            }
        }
    }
    Ok(())
}

/// What a block begins with: a sample and a step for each channel.
fn swf_heads(bits: &mut Bits<'_>, channels: usize) -> Option<Vec<Ima>> {
    let head = |_| {
        let sample = bits.read(16)?;
        Ima::new(i32::from(sample as u16 as i16), bits.read(6)? as usize)
    };
    (0..channels).map(head).collect()
}
