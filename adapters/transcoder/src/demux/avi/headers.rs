//! What stands before the sound: the streams, and what the file says of itself.

use microserve_core::transcode::TranscodeError;

use super::chunks::{Chunk, chunk_at, find, list_kind};
use crate::codec::Codec;
use crate::demux::waveformat::{Packing, WaveFormat};
use crate::demux::{LARGEST_PACKET, Track, corrupt, wave};
use crate::input::Input;
use crate::span::Moment;
use crate::tags::Tags;

/// No more chunks come before the sound, and no more streams: their numbers have two digits.
const MOST_CHUNKS: usize = 10_000;
const MOST_STREAMS: usize = 100;
/// So many chunks behind the sound are looked at for what the file says of itself.
const MOST_BEHIND: usize = 16;
/// So many MiB are looked through for sound that is not where it should be.
const MOST_STRETCHES: usize = 16;
/// No description of a stream is larger: those of Vorbis have codebooks.
const LARGEST_FORMAT: u64 = 256 * 1024;
/// Nothing starts later, in seconds.
const LATEST_START: f64 = 3600.0;

/// A stream as its header (`strh`) and its format (`strf`) describe it.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) track: Track,
    pub(super) packing: Packing,
    /// Every chunk takes a tick, whatever its size, and a tick is as long as what is in a chunk.
    pub(super) is_timed: bool,
    kind: [u8; 4],
    disabled: bool,
    /// A tick is so many seconds.
    scale: u32,
    rate: u32,
    /// In ticks.
    start: u32,
    length: u32,
    /// Bytes of a tick; 0: a tick is a chunk.
    sample_size: u32,
}

/// Reads everything up to the sound; gives the streams, and where the sound's chunks begin.
pub(super) fn read(input: &mut Input<'_>) -> Result<(Vec<Stream>, Tags, u64), TranscodeError> {
    let (mut streams, mut tags, mut at) = (Vec::new(), Tags::default(), 12);
    let mut sound = None;
    for _ in 0..MOST_CHUNKS {
        let Some(chunk) = chunk_at(input, at)? else { break };
        let next = chunk.end + (chunk.end - chunk.body) % 2;
        at = match &chunk.id {
            b"LIST" => match list_kind(input, &chunk)? {
                Some(kind) if matches!(&kind, b"hdrl" | b"strl") => chunk.body + 4,
                Some(kind) if &kind == b"movi" => {
                    sound = Some(chunk);
                    break;
                }
                Some(kind) if &kind == b"INFO" => {
                    info(input, &chunk, &mut tags)?;
                    next
                }
                _ => next,
            },
            b"strh" if streams.len() < MOST_STREAMS => {
                streams.extend(Stream::parse(&input.vec_at(chunk.body, 56.min(chunk.end - chunk.body))?));
                next
            }
            b"strf" => {
                if let Some(stream) = streams.last_mut() {
                    stream.describe(&input.vec_at(chunk.body, LARGEST_FORMAT.min(chunk.end - chunk.body))?);
                }
                next
            }
            _ => next,
        };
    }
    let at = match sound {
        Some(list) => {
            // Without sound, nothing behind here matters, which may not have come yet.
            if streams.iter().any(|stream| stream.track.is_audio()) {
                behind(input, &list, &mut tags)?;
            }
            list.body + 4
        }
        // Damaged headers, of which the streams are known all the same.
        None => {
            let (mut at, mut found) = (12, false);
            for _ in 0..MOST_STRETCHES {
                found = find(input, &mut at, streams.len())?;
                if found || at >= input.len() {
                    break;
                }
            }
            if !found {
                return Err(corrupt("it ends before its sound"));
            }
            at
        }
    };
    finish(&mut streams);
    Ok((streams, tags, at))
}

fn info(input: &mut Input<'_>, list: &Chunk, tags: &mut Tags) -> Result<(), TranscodeError> {
    let size = list.end - list.body;
    if size <= LARGEST_PACKET
        && let Some(items) = input.vec_at(list.body, size)?.strip_prefix(b"INFO")
    {
        wave::info(items, tags);
    }
    Ok(())
}

/// What the file says of itself may stand behind the sound.
fn behind(input: &mut Input<'_>, sound: &Chunk, tags: &mut Tags) -> Result<(), TranscodeError> {
    let mut at = sound.end + (sound.end - sound.body) % 2;
    for _ in 0..MOST_BEHIND {
        let Some(chunk) = chunk_at(input, at)? else { break };
        if &chunk.id == b"LIST" {
            info(input, &chunk, tags)?;
        }
        at = chunk.end + (chunk.end - chunk.body) % 2;
    }
    Ok(())
}

/// What can be said of a stream only beside the others.
fn finish(streams: &mut [Stream]) {
    let seen = streams.iter().filter(|stream| matches!(&stream.kind, b"auds" | b"vids" | b"iavs"));
    let begins = seen.map(|stream| stream.moment(0)).min_by(|a, b| a.seconds().total_cmp(&b.seconds()));
    for stream in streams {
        let seconds = f64::from(stream.length) * f64::from(stream.scale) / f64::from(stream.rate.max(1));
        let track = &mut stream.track;
        // Files that were cut, or are still being written, say something else.
        track.estimated = true;
        track.info.duration = Some(seconds).filter(|seconds| track.is_audio() && *seconds > 0.0);
        // The first packet of Vorbis has a time and no sound.
        track.begins = begins.filter(|_| !matches!(track.codec, Codec::Vorbis { .. }));
        track.preferred = !stream.disabled;
    }
}

impl Stream {
    fn parse(header: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(*header.get(at..)?.first_chunk()?));
        let kind: [u8; 4] = *header.first_chunk()?;
        let track = match &kind {
            // Its format follows.
            b"auds" => Track { played: Vec::new(), ..Track::other("audio", "unknown") },
            b"iavs" => Track::other("audio", "dv"),
            b"vids" => Track::other("video", "unknown"),
            b"txts" => Track::other("subtitle", "unknown"),
            _ => Track::other("other", "unknown"),
        };
        Some(Self {
            track,
            packing: Packing::Packets,
            is_timed: false,
            kind,
            disabled: number(8)? & 1 != 0,
            scale: number(20)?,
            rate: number(24)?,
            start: number(28)?,
            length: number(32).unwrap_or(0),
            sample_size: number(44).unwrap_or(0),
        })
    }

    /// Reads the format of a stream of sound or pictures.
    fn describe(&mut self, format: &[u8]) {
        match &self.kind {
            b"auds" => {
                let Some(format) = WaveFormat::parse(format) else { return };
                (self.track, self.packing) = format.track();
                self.is_timed = self.sample_size == 0 && self.ticks_are_packets(&format);
            }
            b"vids" => {
                // `BITMAPINFOHEADER` has it behind the size, the measures, planes and bits.
                let name = format.get(16..20).unwrap_or_default().iter().map(|byte| char::from(*byte));
                let name: String = name.filter(char::is_ascii_alphanumeric).collect();
                self.track.info.codec = name.to_ascii_lowercase();
            }
            _ => {}
        }
    }

    /// Whether a tick is as long as a frame, where it is known how long that is. Writers that were not sure left
    /// anything.
    fn ticks_are_packets(&self, format: &WaveFormat<'_>) -> bool {
        let samples = u64::from(self.scale) * u64::from(format.rate);
        let is = |frame: u64| samples == frame * u64::from(self.rate);
        match self.track.codec {
            Codec::Aac(_) | Codec::Adts => is(1024) || is(960) || is(2048) || is(1920),
            Codec::Ac3 => is(1536),
            _ if self.packing == Packing::Mpeg => is(if format.rate < 32_000 { 576 } else { 1152 }) || is(1152),
            _ => self.rate > 0,
        }
    }

    pub(super) fn has_blocks(&self) -> bool {
        matches!(self.packing, Packing::Blocks(_))
    }

    /// When the first sample is due that a tick's packet decodes to, be it heard or not.
    pub(super) fn due(&self, ticks: u64) -> Moment {
        let skipped = i64::try_from(self.track.codec.skipped().frames(self.rate)).unwrap_or(i64::MAX);
        Moment::new(self.start_of(ticks).saturating_sub(skipped), self.rate.into())
    }

    /// When a tick begins.
    fn moment(&self, ticks: u64) -> Moment {
        Moment::new(self.start_of(ticks), self.rate.into())
    }

    /// The same on the clock of its rate.
    fn start_of(&self, ticks: u64) -> i64 {
        let scale = u64::from(self.scale);
        let start = u64::from(self.start);
        let is_late = self.rate > 0 && (start * scale) as f64 / f64::from(self.rate) > LATEST_START;
        let ticks = ticks.saturating_add(if is_late { 0 } else { start });
        i64::try_from(ticks.saturating_mul(scale)).unwrap_or(i64::MAX)
    }
}
