//! Sound that lies in a file as it is: PCM, and ADPCM in blocks of one size. All audio files that hold such sound are
//! read here; their own modules only find out where it lies and what it is.

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::{AUDIO, LARGEST_PACKET, Opened, Packet, Packets, Part, Read, Track, corrupt};
use crate::audio::{Speaker, wave_order};
use crate::codec::pcm::Sample;
use crate::codec::{Adpcm, AdpcmKind, Codec};
use crate::input::Input;
use crate::sniff::Container;
use crate::span::Span;
use crate::tags::Tags;

/// What lies in the file.
pub(super) struct Sound {
    pub(super) codec: Codec,
    /// Its short name.
    pub(super) name: String,
    /// In Hz.
    pub(super) rate: u32,
    pub(super) channels: u16,
    /// Bytes of a block, and the samples of each channel that it decodes to, or zero where that is not known.
    pub(super) block: (u64, u64),
}

impl Sound {
    /// PCM. Without an order of its own it has the usual one.
    pub(super) fn pcm(sample: Sample, rate: u32, channels: u16, order: Option<Vec<Speaker>>) -> Self {
        let speakers = order.unwrap_or_else(|| wave_order(channels.into()));
        let (codec, name) = (Codec::Pcm(sample, rate, speakers), sample.name());
        Self { codec, name, rate, channels, block: (u64::from(sample.bytes) * u64::from(channels), 1) }
    }

    /// QuickTime's ADPCM.
    pub(super) fn ima4(rate: u32, channels: u16) -> Self {
        let adpcm = Adpcm { kind: AdpcmKind::ImaQuickTime, rate, channels, block: 34 * usize::from(channels) };
        let block = (adpcm.block as u64, adpcm.samples_per_block() as u64);
        let codec = if adpcm.makes_sense() { Codec::Adpcm(adpcm) } else { Codec::Unsupported };
        Self { codec, name: "adpcm_ima_qt".to_owned(), rate, channels, block }
    }

    /// Something that nobody here decodes.
    pub(super) fn unsupported(name: impl Into<String>, rate: u32, channels: u16) -> Self {
        Self { codec: Codec::Unsupported, name: name.into(), rate, channels, block: (1, 0) }
    }
}

/// Samples that a packet should have about, or bytes where those of a block are not known.
const PACKET: u64 = 4096;

struct Blocks<'a> {
    input: Input<'a>,
    at: u64,
    end: u64,
    /// Bytes of a packet: whole blocks.
    packet: u64,
}

/// Opens sound that lies at a position, in so many bytes; `samples` is how many the file says are to be heard of them.
pub(super) fn open(
    container: Container,
    input: Input<'_>,
    sound: Sound,
    (at, length): (u64, u64),
    samples: Option<u64>,
    tags: Tags,
) -> Result<Opened<'_>, TranscodeError> {
    let (block, in_block) = sound.block;
    let no_clock = sound.rate == 0 && sound.codec.is_supported();
    if block == 0 || block > LARGEST_PACKET || sound.channels == 0 || no_clock {
        return Err(corrupt("the format of its sound makes no sense"));
    }
    let length = length.min(input.len().saturating_sub(at));
    let there = (length / block).saturating_mul(in_block);
    let samples = samples.filter(|samples| *samples < there);
    let duration = (in_block > 0).then(|| samples.unwrap_or(there) as f64 / f64::from(sound.rate.max(1)));
    let info = TrackInfo {
        kind: AUDIO.to_owned(),
        codec: sound.name,
        channels: sound.channels,
        sample_rate: sound.rate,
        duration,
        language: None,
    };
    let length_heard = samples.map(|samples| Span::new(samples, sound.rate.into()));
    let part = Part { length: length_heard, ..Part::from(sound.codec.skipped()) };
    let track = Track { played: vec![part], ..Track::audio(info, sound.codec) };
    let share = if in_block > 0 { in_block } else { block };
    let blocks = (PACKET / share).clamp(1, (LARGEST_PACKET / block).max(1));
    let packets = Box::new(Blocks { input, at, end: at.saturating_add(length), packet: blocks * block });
    Ok(Opened { container, tracks: vec![track], tags, packets })
}

impl Packets for Blocks<'_> {
    fn select(&mut self, _track: usize) {}

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        packet.data = self.input.vec_at(self.at, self.packet.min(self.end - self.at))?;
        self.at += packet.data.len() as u64;
        Ok(if packet.data.is_empty() { Read::End } else { Read::Packet })
    }
}
