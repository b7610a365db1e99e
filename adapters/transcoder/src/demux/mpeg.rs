//! MPEG audio without a container: MP1, MP2 and MP3 (ISO/IEC 11172-3 and 13818-3).

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};

use super::{AUDIO, Opened, Packet, Packets, Read, Track, corrupt};
use crate::codec::{self, Codec};
use crate::input::Input;
use crate::sniff::{Container, id3v2_size, mpeg};
use crate::span::Span;
use crate::tags::Tags;

mod behind;

/// How far the next frame is looked for where there should be one.
const SEARCH: u64 = 1024 * 1024;
/// Samples that every decoder is late (LAME tag specification, "Encoder delays").
const DECODER_DELAY: u64 = 529;

/// So many ID3v2 tags may stand between frames.
const MOST_TAGS: u32 = 10_000;

struct Mpeg<'a> {
    input: Input<'a>,
    at: u64,
    /// What the frames so far were: others are taken only where two follow each other.
    kind: Option<mpeg::Frame>,
    tags: u32,
    link: Link,
    /// Bytes that are in no frame were passed over.
    skipped: bool,
}

/// Opens a stream whose first frame is at the start or later.
pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    behind::hide(&mut input)?;
    let mut mpeg = Mpeg { input, at: 0, kind: None, tags: 0, link: Link::default(), skipped: false };
    let Some(first) = mpeg.find()? else { return Err(corrupt("it has no whole frame of MPEG audio")) };
    let begins_at = mpeg.at;
    let head = mpeg.input.vec_at(begins_at, first.size as u64)?;
    let bytes = mpeg.input.len() - begins_at;
    let info = Info::parse(&head, &first).map(|info| info.believed(mpeg::smallest(&head), bytes));
    if let Some(info) = info {
        mpeg.at += first.size as u64; // it has no sound
        mpeg.link = Link::new(info, &first);
    }
    let estimate = bytes as f64 / first.size as f64 * f64::from(first.samples);
    let samples = mpeg.link.samples().map(|samples| samples as f64);
    let codec = match first.layer {
        1 => CODEC_ID_MP1,
        2 => CODEC_ID_MP2,
        _ => CODEC_ID_MP3,
    };
    let track = TrackInfo {
        kind: AUDIO.to_owned(),
        codec: codec::name(codec).to_owned(),
        channels: first.channels,
        sample_rate: first.rate,
        duration: Some(samples.unwrap_or(estimate) / f64::from(first.rate)),
        language: None,
    };
    let codec = Codec::plain(codec, first.rate, first.channels);
    let track = Track { estimated: samples.is_none(), ..Track::audio(track, codec) };
    Ok(Opened { container: Container::Mp3, tracks: vec![track], tags: Tags::default(), packets: Box::new(mpeg) })
}

impl Mpeg<'_> {
    fn frame(&mut self, at: u64) -> Result<Option<mpeg::Frame>, TranscodeError> {
        Ok(self.input.array_at::<4>(at)?.and_then(|bytes| mpeg::frame(&bytes)))
    }

    /// The frame at the position, or the next one that another of its kind follows; the position is moved to it, or to
    /// the end of what was looked through.
    fn find(&mut self) -> Result<Option<mpeg::Frame>, TranscodeError> {
        let known = self.kind;
        if let Some(frame) = self.frame(self.at)?.filter(|frame| known.is_some_and(|known| known.is_like(frame))) {
            return Ok(Some(frame));
        }
        let mut end = self.at.saturating_add(SEARCH);
        while self.at < end.min(self.input.len()) {
            // Files that were joined have tags in the middle, in whose pictures anything may be found.
            if let Some(size) = self.input.array_at::<10>(self.at)?.and_then(|bytes| id3v2_size(&bytes))
                && self.tags < MOST_TAGS
            {
                self.tags += 1;
                self.at = self.at.saturating_add(size);
                end = self.at.saturating_add(SEARCH);
                continue;
            }
            if let Some(frame) = self.frame(self.at)? {
                let next = self.at + frame.size as u64;
                let follows = self.frame(next)?.is_some_and(|next| next.is_like(&frame));
                if follows || next == self.input.len() {
                    self.kind = Some(frame);
                    return Ok(Some(frame));
                }
            }
            self.at += 1;
            self.skipped = true;
        }
        Ok(None)
    }
}

impl Packets for Mpeg<'_> {
    fn select(&mut self, _track: usize) {}

    fn is_damaged(&self) -> bool {
        self.skipped
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        loop {
            let Some(frame) = self.find()? else {
                return Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End });
            };
            packet.data = self.input.vec_at(self.at, frame.size as u64)?;
            if packet.data.len() != frame.size {
                return Ok(Read::End); // cut off in the middle of its last frame
            }
            self.at += frame.size as u64;
            let Some(info) = Info::parse(&packet.data, &frame) else {
                (packet.trim_start, packet.trim_end) = self.link.trims(&frame);
                return Ok(Read::Packet);
            };
            // Files were joined here.
            self.link = Link::new(info, &frame);
        }
    }
}

/// What one run of an encoder made: a file, or one of several that were joined.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Frames so far.
    frame: u64,
    /// Frames in all, if that is known.
    frames: Option<u64>,
    per_frame: u64,
    /// Where in its samples its sound begins and ends.
    start: u64,
    end: Option<u64>,
}

impl Link {
    fn new(info: Info, head: &mpeg::Frame) -> Self {
        let per_frame = u64::from(head.samples);
        let (start, end) = match (info.trims, info.frames) {
            (Some((delay, padding)), Some(frames)) => {
                (delay + DECODER_DELAY, Some((frames * per_frame + DECODER_DELAY).saturating_sub(padding)))
            }
            (Some((delay, _)), None) => (delay + DECODER_DELAY, None),
            (None, _) => (0, None),
        };
        Self { frame: 0, frames: info.frames, per_frame, start, end }
    }

    /// Its length in samples, if that is known.
    fn samples(&self) -> Option<u64> {
        let whole = self.frames.map(|frames| frames * self.per_frame);
        self.end.map(|end| end.saturating_sub(self.start)).or(whole)
    }

    /// What is cut off the next frame, at its start and its end. What follows the last frame belongs to a file that was
    /// joined, and says nothing of itself.
    fn trims(&mut self, head: &mpeg::Frame) -> (Span, Span) {
        let (frame, per_frame) = (self.frame, u64::from(head.samples));
        self.frame += 1;
        if self.frames.is_some_and(|frames| frame >= frames) {
            return (Span::ZERO, Span::ZERO);
        }
        let (from, to) = (frame * per_frame, (frame + 1) * per_frame);
        let start = self.start.saturating_sub(from).min(per_frame);
        let end = self.end.map_or(0, |end| to.saturating_sub(end)).min(per_frame);
        (Span::new(start, head.rate.into()), Span::new(end, head.rate.into()))
    }
}

/// What the frame without sound says that encoders put first: the tags Xing, Info (with LAME's part) and VBRI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Info {
    frames: Option<u64>,
    /// Samples of the encoder's delay, and of padding at the end.
    trims: Option<(u64, u64)>,
}

impl Info {
    fn parse(frame: &[u8], head: &mpeg::Frame) -> Option<Self> {
        if head.layer != 3 {
            return None;
        }
        let u32_at = |at: usize| Some(u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        if frame.get(36..40) == Some(b"VBRI") {
            return Some(Self { frames: u32_at(50).map(u64::from), trims: None });
        }
        let side_info = head.side_info();
        let tag = frame.get(4 + side_info..8 + side_info)?;
        if tag != b"Xing" && tag != b"Info" {
            return None;
        }
        let flags = u32_at(8 + side_info)?;
        let mut at = 12 + side_info;
        let mut skip = |flag: u32, length: usize| {
            let here = at;
            (flags & flag != 0).then(|| {
                at += length;
                here
            })
        };
        let frames = skip(1, 4);
        let _ = (skip(2, 4), skip(4, 100), skip(8, 4));
        let frames = frames.and_then(u32_at).map(u64::from).filter(|frames| *frames > 0);
        // Encoders that leave this part out leave zeros.
        let trims = match frame.get(at..at + 24) {
            Some(lame) if lame[..4] != [0; 4] => {
                let both = u32::from_be_bytes([0, lame[21], lame[22], lame[23]]);
                Some((u64::from(both >> 12), u64::from(both & 0xfff))).filter(|trims| *trims != (0, 0))
            }
            _ => None,
        };
        Some(Self { frames, trims })
    }

    /// Without a number of frames for which there is no room, even if all are as small as can be.
    fn believed(self, smallest: Option<mpeg::Frame>, bytes: u64) -> Self {
        let least = smallest.map_or(1, |frame| frame.size.max(1) as u64);
        Self { frames: self.frames.filter(|frames| *frames <= bytes / least), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::{Info, mpeg};

    #[test]
    fn lames_tag_tells_what_is_sound() {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        let head = mpeg::frame(&frame).unwrap();
        assert_eq!(Info::parse(&frame, &head), None);
        frame[36..40].copy_from_slice(b"Info");
        frame[43] = 0x0f;
        frame[47] = 100;
        frame[156..160].copy_from_slice(b"LAME");
        frame[177..180].copy_from_slice(&[0x24, 0x02, 0x34]);
        assert_eq!(Info::parse(&frame, &head), Some(Info { frames: Some(100), trims: Some((576, 564)) }));
    }
}
