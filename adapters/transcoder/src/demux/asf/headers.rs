//! The objects in front of the packets: what streams there are, and what the file says of itself (ASF specification, 3
//! and 4).

use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use super::packet::Sizes;
use super::tags;
use crate::codec::Codec;
use crate::demux::waveformat::{Packing, WaveFormat};
use crate::demux::{AUDIO, Track, corrupt};
use crate::input::Input;
use crate::span::{Moment, Span};
use crate::tags::Tags;

/// No more objects come before the packets.
const MOST_OBJECTS: usize = 10_000;
/// No object of the header is larger that is read.
const LARGEST_OBJECT: u64 = 8 * 1024 * 1024;
/// Bytes of an object's head: its kind and its size.
const HEAD: u64 = 24;

/// Kinds of objects and of streams: GUIDs, as they are written (10).
pub(super) mod id {
    pub(super) const DATA: u128 = 0x75b22636_668e_11cf_a6d9_00aa0062ce6c;
    pub(super) const FILE_PROPERTIES: u128 = 0x8cabdca1_a947_11cf_8ee4_00c00c205365;
    pub(super) const STREAM_PROPERTIES: u128 = 0xb7dc0791_a9b7_11cf_8ee6_00c00c205365;
    pub(super) const HEADER_EXTENSION: u128 = 0x5fbf03b5_a92e_11cf_8ee3_00c00c205365;
    pub(super) const EXTENDED_STREAM_PROPERTIES: u128 = 0x14e6a5cb_c672_4332_8399_a96952065b5a;
    pub(super) const LANGUAGE_LIST: u128 = 0x7c4346a9_efe0_4bfc_b229_393ede415c85;
    pub(super) const CONTENT_DESCRIPTION: u128 = 0x75b22633_668e_11cf_a6d9_00aa0062ce6c;
    pub(super) const EXTENDED_CONTENT_DESCRIPTION: u128 = 0xd2d0a440_e307_11d2_97f0_00a0c95ea850;
    pub(super) const METADATA_LIBRARY: u128 = 0x44231c94_9498_49d1_a141_1d134e457054;
    pub(super) const CONTENT_ENCRYPTION: u128 = 0x2211b3fb_bd23_11d2_b4b7_00a0c955fc6e;
    pub(super) const EXTENDED_CONTENT_ENCRYPTION: u128 = 0x298ae614_2622_4c17_b935_dae07ee9289c;
    pub(super) const ADVANCED_CONTENT_ENCRYPTION: u128 = 0x43058533_6981_49e6_9b74_ad12cb86d58c;
    pub(super) const AUDIO: u128 = 0xf8699e40_5b4d_11cf_a8fd_00805f5c442b;
    pub(super) const VIDEO: u128 = 0xbc19efc0_5b4d_11cf_a8fd_00805f5c442b;
    pub(super) const AUDIO_SPREAD: u128 = 0xbfc3cd50_618f_11cf_8bb2_00aa00b4e220;
}

/// What the header says.
#[derive(Default)]
pub(super) struct Headers {
    pub(super) streams: Vec<Stream>,
    pub(super) sizes: Sizes,
    pub(super) tags: Tags,
    /// Where the packets are.
    pub(super) packets: Range<u64>,
    /// In seconds.
    duration: Option<f64>,
    /// It was sent as it was made: nobody went back to tell its sizes.
    broadcast: bool,
    encrypted: bool,
    languages: Vec<String>,
    /// Which of the languages a stream has.
    language_of: Vec<(u8, u16)>,
}

/// A stream.
pub(super) struct Stream {
    pub(super) number: u8,
    pub(super) track: Track,
    pub(super) packing: Packing,
    pub(super) spread: Option<Spread>,
}

impl Stream {
    /// Whether it is sound or a moving picture.
    pub(super) fn is_timed(&self) -> bool {
        matches!(self.track.info.kind.as_str(), AUDIO | "video")
    }

    /// When the first sample is due that an object decodes to whose presentation time is told in milliseconds, preroll
    /// included, which is the same for all streams.
    ///
    /// Of WMA, the time is that of the first frame that begins in the object, without the encoder's delay. The frame
    /// before it ends there, too, and is decoded first; and the first object of all, which would be before the
    /// beginning, tells the beginning.
    pub(super) fn due(&self, millis: u32, is_first: bool) -> Moment {
        let (rate, early) = match &self.track.codec {
            Codec::Wma(wma) if wma.has_reservoir() => (wma.rate, (1 + i64::from(is_first)) << wma.frame_bits()),
            _ => (1, 0),
        };
        Moment::new(i64::from(millis) * i64::from(rate) - early * 1000, u64::from(rate) * 1000)
    }

    /// When its first sound is due that is heard.
    pub(super) fn begins(&self, millis: u32) -> Moment {
        let heard = self.track.played.first().map_or(Span::ZERO, |part| part.start);
        let first = self.due(millis, true);
        let rate = if self.track.is_audio() { self.track.info.sample_rate.max(1000) } else { 1000 };
        Moment::new(first.frames(rate).saturating_add_unsigned(heard.frames(rate)), rate.into())
    }
}

/// How the bytes of sound are strewn, so that what is lost with a packet are many short pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    /// Virtual packets among which they are strewn, the bytes of each, and those that stay together.
    pub(super) span: u8,
    pub(super) packet: u16,
    pub(super) chunk: u16,
}

impl Spread {
    /// Reads the error correction data of a stream; `None` when nothing is strewn.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[span, p0, p1, c0, c1, ..] = bytes else { return None };
        let (packet, chunk) = (u16::from_le_bytes([p0, p1]), u16::from_le_bytes([c0, c1]));
        (span > 1 && chunk > 0 && packet > chunk && packet % chunk == 0).then_some(Self { span, packet, chunk })
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

/// A GUID, the first three parts of which are little-endian.
fn guid_at(bytes: &[u8], at: usize) -> Option<u128> {
    let [a0, a1, a2, a3, b0, b1, c0, c1, rest @ ..] = *bytes.get(at..)?.first_chunk::<16>()?;
    let [d0, d1, d2, d3, d4, d5, d6, d7] = rest;
    Some(u128::from_be_bytes([a3, a2, a1, a0, b1, b0, c1, c0, d0, d1, d2, d3, d4, d5, d6, d7]))
}

/// Text is UTF-16 and ends with a zero, or should.
pub(super) fn text(bytes: &[u8]) -> String {
    let units = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// Reads everything up to the packets.
pub(super) fn read(input: &mut Input<'_>) -> Result<Headers, TranscodeError> {
    let mut headers = Headers::default();
    // Behind the head of the header object, and three fields that say nothing: the header's size included, so that a
    // wrong one does no harm.
    let mut at = HEAD + 6;
    for _ in 0..MOST_OBJECTS {
        let Some(head) = input.array_at::<24>(at)? else { break };
        let (Some(kind), Some(size)) = (guid_at(&head, 0), u64_at(&head, 16)) else { break };
        if kind == id::DATA {
            headers.locate_packets(at, size, input.len());
            headers.describe();
            return Ok(headers);
        }
        if size < HEAD {
            break;
        }
        headers.object(kind, &input.vec_at(at + HEAD, (size - HEAD).min(LARGEST_OBJECT))?);
        at = at.saturating_add(size);
    }
    Err(corrupt("it has no packets behind its header"))
}

/// The objects in a row of them.
fn objects(bytes: &[u8]) -> impl Iterator<Item = (u128, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (kind, size) = (guid_at(rest, 0)?, usize::try_from(u64_at(rest, 16)?).ok()?);
        let body = rest.get(HEAD as usize..size.min(rest.len()))?;
        rest = rest.get(size..).unwrap_or_default();
        Some((kind, body))
    })
}

impl Headers {
    fn object(&mut self, kind: u128, body: &[u8]) {
        match kind {
            id::FILE_PROPERTIES => {
                self.file_properties(body);
            }
            id::STREAM_PROPERTIES => self.add(stream(body)),
            id::HEADER_EXTENSION => {
                for (kind, body) in objects(body.get(22..).unwrap_or_default()) {
                    self.extension(kind, body);
                }
            }
            id::CONTENT_DESCRIPTION => tags::content_description(body, &mut self.tags),
            id::EXTENDED_CONTENT_DESCRIPTION => tags::extended_content_description(body, &mut self.tags),
            id::CONTENT_ENCRYPTION | id::EXTENDED_CONTENT_ENCRYPTION => self.encrypted = true,
            _ => {}
        }
    }

    fn extension(&mut self, kind: u128, body: &[u8]) {
        match kind {
            id::EXTENDED_STREAM_PROPERTIES => {
                self.extended_stream_properties(body);
            }
            id::LANGUAGE_LIST => self.languages = languages(body),
            id::METADATA_LIBRARY => tags::metadata_library(body, &mut self.tags),
            id::ADVANCED_CONTENT_ENCRYPTION => self.encrypted = true,
            _ => {}
        }
    }

    /// 3.2: durations are in 100 ns, the preroll in milliseconds.
    fn file_properties(&mut self, body: &[u8]) -> Option<()> {
        let (duration, preroll) = (u64_at(body, 40)?, u64_at(body, 56)?);
        let flags = u32_at(body, 64)?;
        self.broadcast = flags & 1 != 0;
        self.sizes = Sizes { min: u32_at(body, 68)?, max: u32_at(body, 72)? };
        let seconds = duration as f64 / 1e7 - preroll as f64 / 1e3;
        self.duration = Some(seconds).filter(|seconds| *seconds > 0.0 && !self.broadcast);
        Some(())
    }

    /// 4.1: which language a stream has; and some streams are described nowhere else.
    fn extended_stream_properties(&mut self, body: &[u8]) -> Option<()> {
        let (number, language) = (u16_at(body, 48)?, u16_at(body, 50)?);
        self.language_of.push((u8::try_from(number).ok()?, language));
        let (names, systems) = (u16_at(body, 60)?, u16_at(body, 62)?);
        let mut at = 64;
        for _ in 0..names {
            at += 4 + usize::from(u16_at(body, at + 2)?);
        }
        for _ in 0..systems {
            at += 22 + usize::try_from(u32_at(body, at + 18)?).ok()?.min(body.len());
        }
        let inner = objects(body.get(at..)?).find(|(kind, _)| *kind == id::STREAM_PROPERTIES);
        self.add(inner.and_then(|(_, body)| stream(body)));
        Some(())
    }

    /// Streams have numbers from 1 to 127, each its own.
    fn add(&mut self, stream: Option<Stream>) {
        if let Some(stream) = stream.filter(|new| self.streams.iter().all(|stream| stream.number != new.number)) {
            self.streams.push(stream);
        }
    }

    /// 5.1: behind the file's number, that of the packets and two bytes. While a file is being made, the size is zero.
    fn locate_packets(&mut self, at: u64, size: u64, len: u64) {
        let start = at + HEAD + 26;
        let end = at.saturating_add(size);
        let is_known = !self.broadcast && end > start && end <= len;
        self.packets = start.min(len)..if is_known { end } else { len };
    }

    /// Puts together what is known of the streams.
    fn describe(&mut self) {
        for stream in &mut self.streams {
            let language = self.language_of.iter().find(|(number, _)| *number == stream.number);
            let language = language.and_then(|(_, index)| self.languages.get(usize::from(*index)));
            let track = &mut stream.track;
            track.info.language = language.filter(|language| !language.is_empty()).cloned();
            track.encrypted |= self.encrypted;
            if track.is_audio() {
                track.info.duration = self.duration;
            }
        }
    }
}

/// 4.6
fn languages(body: &[u8]) -> Vec<String> {
    const LONGEST: usize = 32;
    let (count, mut at, mut all) = (u16_at(body, 0).unwrap_or(0), 2, Vec::new());
    for _ in 0..count {
        let Some(length) = body.get(at) else { break };
        let end = at + 1 + usize::from(*length);
        let name = text(body.get(at + 1..end).unwrap_or_default());
        all.push(name.chars().filter(|c| !c.is_control()).take(LONGEST).collect());
        at = end;
    }
    all
}

/// 3.3
fn stream(body: &[u8]) -> Option<Stream> {
    let (kind, correction) = (guid_at(body, 0)?, guid_at(body, 16)?);
    let (settings, corrections) = (usize::try_from(u32_at(body, 40)?).ok()?, usize::try_from(u32_at(body, 44)?).ok()?);
    let flags = u16_at(body, 48)?;
    let rest = body.get(54..)?;
    let (settings, rest) = rest.split_at(settings.min(rest.len()));
    let corrections = &rest[..corrections.min(rest.len())];
    let spread = Spread::parse(corrections).filter(|_| correction == id::AUDIO_SPREAD);
    let (mut track, packing) = match kind {
        id::AUDIO => WaveFormat::parse(settings)?.track(),
        id::VIDEO => (Track::other("video", video_name(settings)), Packing::Packets),
        _ => (Track::other("other", "unknown"), Packing::Packets),
    };
    track.encrypted = flags & 0x8000 != 0;
    Some(Stream { number: (flags & 0x7f) as u8, track, packing, spread })
}

/// The name of a video codec, for probing: 9.2, behind eleven bytes a `BITMAPINFOHEADER`.
fn video_name(settings: &[u8]) -> String {
    let four: [u8; 4] = settings.get(27..31).and_then(|four| four.try_into().ok()).unwrap_or_default();
    let known = match &four.map(|byte| byte.to_ascii_uppercase()) {
        b"WMV1" => "wmv1",
        b"WMV2" => "wmv2",
        b"WMV3" => "wmv3",
        b"WVC1" | b"WMVA" => "vc1",
        b"MP43" | b"DIV3" => "msmpeg4v3",
        b"MP42" => "msmpeg4v2",
        b"H264" | b"AVC1" => "h264",
        b"MP4V" | b"M4S2" | b"MP4S" | b"XVID" | b"DIVX" | b"FMP4" => "mpeg4",
        _ => "unknown",
    };
    known.to_owned()
}
