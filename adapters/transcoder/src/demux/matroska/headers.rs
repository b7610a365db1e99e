//! The elements before the clusters: what tracks there are, and what the file says of itself.

use std::io::Read;

use microserve_core::transcode::{TrackInfo, TranscodeError};
use symphonia::core::codecs::audio::well_known::*;

use super::ebml::{Element, element_at, elements, float, id, text, unsigned};
use crate::codec::pcm::{Order, Sample};
use crate::codec::{self, Codec, OpusHead};
use crate::codecs::{CodecParameters, CodecTag};
use crate::demux::waveformat::WaveFormat;
use crate::demux::{AUDIO, LARGEST_PACKET, Part, Track};
use crate::input::Input;
use crate::span::Span;
use crate::tags::{Key, Tags};

/// No more tracks, and fields of attachments, are looked at.
const MOST_TRACKS: usize = 1000;
const MOST_ATTACHMENT_FIELDS: usize = 10_000;

/// A track as the file describes it.
pub(super) struct TrackEntry {
    /// What its blocks call it.
    pub(super) number: u64,
    pub(super) track: Track,
    /// Bytes that every frame begins with and that were left out of the file ("header stripping").
    pub(super) stripped: Vec<u8>,
    /// Its frames are compressed with zlib.
    pub(super) deflated: bool,
    /// Nanoseconds of its decoder's sound before what its first block's time means.
    pub(super) delay: i64,
    /// What the times of its blocks, which count from their cluster's, are to be multiplied by.
    pub(super) scale: f64,
}

/// Where the seek head says that an element is, counted from the start of the segment.
pub(super) fn seek(seek_head: &[u8], wanted: u32) -> Option<u64> {
    elements(seek_head).filter(|(kind, _)| *kind == id::SEEK).find_map(|(_, seek)| {
        let field = |wanted| elements(seek).find(|(kind, _)| *kind == wanted).map(|(_, body)| unsigned(body));
        (field(id::SEEK_ID) == Some(u64::from(wanted))).then(|| field(id::SEEK_POSITION))?
    })
}

/// The duration in seconds, and the nanoseconds of a tick; the title goes into `tags`.
pub(super) fn info(info: &[u8], tags: &mut Tags) -> (Option<f64>, u64) {
    let (mut scale, mut duration) = (super::MILLISECOND, None);
    for (kind, body) in elements(info) {
        match kind {
            id::TIMESTAMP_SCALE => scale = unsigned(body),
            id::DURATION => duration = Some(float(body)),
            id::TITLE => tags.set(Key::Title, &text(body)),
            _ => {}
        }
    }
    let seconds = duration.map(|ticks| ticks * scale as f64 / 1e9);
    (seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0), scale)
}

pub(super) fn tags(all: &[u8], tags: &mut Tags) {
    for (_, tag) in elements(all).filter(|(kind, _)| *kind == id::TAG) {
        let targets = elements(tag).find(|(kind, _)| *kind == id::TARGETS).map_or(&[][..], |(_, body)| body);
        let level = elements(targets).find(|(kind, _)| *kind == id::TARGET_TYPE_VALUE).map_or(50, |(_, n)| unsigned(n));
        for (_, simple) in elements(tag).filter(|(kind, _)| *kind == id::SIMPLE_TAG) {
            let field = |wanted| elements(simple).find(|(kind, _)| *kind == wanted).map(|(_, body)| text(body));
            let (Some(name), Some(value)) = (field(id::TAG_NAME), field(id::TAG_STRING)) else { continue };
            // Levels (RFC 9559, 5.1.8.1.1.1): 30 is a song, 50 an album or a film; a lone file's title is at either.
            match (name.to_ascii_uppercase().as_str(), level) {
                ("TITLE", 0..=50) => tags.set(Key::Title, &value),
                ("ARTIST", _) => tags.set(Key::Artist, &value),
                ("ALBUM", _) => tags.set(Key::Album, &value),
                ("DATE_RELEASED" | "DATE_RECORDED" | "DATE", _) => tags.set(Key::Date, &value),
                _ => {}
            }
        }
    }
}

/// The first attached picture, if it is not too large.
pub(super) fn cover(input: &mut Input<'_>, attachments: &Element, tags: &mut Tags) -> Result<(), TranscodeError> {
    let (mut at, Some(end)) = (attachments.body, attachments.end()) else { return Ok(()) };
    for _ in 0..MOST_ATTACHMENT_FIELDS {
        let Some(element) = element_at(input, at)?.filter(|_| at < end) else { break };
        // Files are gone into: their other fields are small, and skipped like files that are no pictures.
        if element.id == id::ATTACHED_FILE {
            at = element.body;
            continue;
        }
        if element.id == id::FILE_DATA {
            let size = element.size.unwrap_or(0);
            let head = input.vec_at(element.body, size.min(4))?;
            if crate::tags::may_be_cover(&head, size) {
                tags.set_cover(&input.vec_at(element.body, size)?);
            }
        }
        let Some(next) = element.end() else { break };
        at = next;
    }
    Ok(())
}

pub(super) fn tracks(all: &[u8]) -> Vec<TrackEntry> {
    let entries = elements(all).filter(|(kind, _)| *kind == id::TRACK_ENTRY).take(MOST_TRACKS);
    entries.map(|(_, entry)| track(entry)).collect()
}

/// What all frames of a codec begin with is a few bytes; it is put before each of them.
const LONGEST_STRIPPED: usize = 64;
const LONGEST_NAME: usize = 32;
/// Nanoseconds of a second.
const NANOS: u32 = 1_000_000_000;

/// What a track entry says, as it stands there.
#[derive(Default)]
struct Fields<'b> {
    number: u64,
    kind: u64,
    preferred: bool,
    codec: String,
    private: &'b [u8],
    delay: Option<u64>,
    language: Option<String>,
    rate: f64,
    channels: u16,
    bits: u64,
    stripped: Vec<u8>,
    encrypted: bool,
    /// Frames, and the private data, are compressed with zlib…
    deflated: (bool, bool),
    /// …or with something else.
    compressed: bool,
    scale: f64,
}

fn track(entry: &[u8]) -> TrackEntry {
    let mut fields = Fields { preferred: true, rate: 8000.0, channels: 1, scale: 1.0, ..Fields::default() };
    for (kind, body) in elements(entry) {
        match kind {
            id::TRACK_NUMBER => fields.number = unsigned(body),
            id::TRACK_TYPE => fields.kind = unsigned(body),
            id::FLAG_DEFAULT => fields.preferred = unsigned(body) != 0,
            id::CODEC_ID => fields.codec = name(body),
            id::CODEC_PRIVATE => fields.private = body,
            id::TRACK_TIMESTAMP_SCALE => fields.scale = float(body),
            id::CODEC_DELAY => fields.delay = Some(unsigned(body)),
            id::LANGUAGE_BCP47 => fields.language = Some(name(body)),
            id::LANGUAGE => fields.language = fields.language.take().or(Some(name(body)).filter(|l| l != "und")),
            id::AUDIO => audio(body, &mut fields),
            id::CONTENT_ENCODINGS => encodings(body, &mut fields),
            _ => {}
        }
    }
    let (number, deflated, scale) = (fields.number, fields.deflated.0, fields.scale);
    let stripped = std::mem::take(&mut fields.stripped);
    let private = if fields.deflated.1 { inflate(fields.private) } else { None };
    if let Some(private) = &private {
        fields.private = private;
    }
    let track = match fields.kind {
        2 => fields.audio(),
        1 => Track::other("video", video_name(&fields.codec)),
        17 => Track::other("subtitle", fields.codec),
        _ => Track::other("other", fields.codec),
    };
    let skipped = track.played.first().map_or(0, |part| part.start.frames(NANOS));
    let delay = i64::try_from(skipped).unwrap_or(0);
    let scale = if (0.01..100.0).contains(&scale) { scale } else { 1.0 };
    TrackEntry { number, track, stripped, deflated, delay, scale }
}

/// What was compressed with zlib (RFC 1950), unless it makes no sense or is more than sound can be.
pub(super) fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = LARGEST_PACKET + 1;
    flate2::read::ZlibDecoder::new(bytes).take(limit).read_to_end(&mut plain).ok()?;
    ((plain.len() as u64) < limit).then_some(plain)
}

/// The name of a codec or a language. They end up in errors and descriptions, so they are kept short and printable.
fn name(body: &[u8]) -> String {
    text(body).chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

fn audio<'b>(body: &'b [u8], fields: &mut Fields<'b>) {
    for (kind, body) in elements(body) {
        match kind {
            id::SAMPLING_FREQUENCY => fields.rate = float(body),
            id::CHANNELS => fields.channels = u16::try_from(unsigned(body)).unwrap_or(0),
            id::BIT_DEPTH => fields.bits = unsigned(body),
            _ => {}
        }
    }
}

fn encodings<'b>(body: &'b [u8], fields: &mut Fields<'b>) {
    for (_, encoding) in elements(body).filter(|(kind, _)| *kind == id::CONTENT_ENCODING) {
        // A bit each for frames and for the private data; frames alone if nothing is said.
        let scope = elements(encoding).find(|(kind, _)| *kind == id::CONTENT_ENCODING_SCOPE);
        let scope = scope.map_or(1, |(_, body)| unsigned(body));
        for (kind, body) in elements(encoding) {
            match kind {
                id::CONTENT_ENCRYPTION => fields.encrypted = true,
                id::CONTENT_COMPRESSION => {
                    let field = |wanted| elements(body).find(|(kind, _)| *kind == wanted).map(|(_, body)| body);
                    let stripped = || field(id::CONTENT_COMP_SETTINGS).unwrap_or_default();
                    // 0 is zlib, 3 header stripping; the others are bzip2 and LZO, which nobody uses.
                    match field(id::CONTENT_COMP_ALGO).map_or(0, unsigned) {
                        0 => fields.deflated = (scope & 1 != 0, scope & 2 != 0),
                        3 if stripped().len() <= LONGEST_STRIPPED => fields.stripped = stripped().to_vec(),
                        _ => fields.compressed = true,
                    }
                }
                _ => {}
            }
        }
    }
}

impl Fields<'_> {
    fn audio(self) -> Track {
        let mut rate = if (1.0..1e9).contains(&self.rate) { self.rate.round() as u32 } else { 0 };
        let mut channels = self.channels;
        let (name, codec) = if self.compressed {
            (format!("{} compressed by the container", self.codec), Codec::Unsupported)
        } else {
            self.codec(rate)
        };
        if let Codec::Opus(head) = &codec {
            (rate, channels) = (48_000, head.channels.into());
        }
        (rate, channels) = codec.aac_format().unwrap_or((rate, channels));
        let skip = self.delay.map_or(codec.skipped(), Span::nanos);
        let language = self.language;
        let info = TrackInfo { kind: AUDIO.into(), codec: name, channels, sample_rate: rate, duration: None, language };
        let played = vec![Part::from(skip)];
        Track { encrypted: self.encrypted, preferred: self.preferred, played, ..Track::audio(info, codec) }
    }

    /// The codec (Matroska codec mappings, "Audio Codec Mappings").
    fn codec(&self, rate: u32) -> (String, Codec) {
        let plain = |codec| (codec::name(codec), Codec::plain(codec, rate, self.channels));
        let (name, codec) = match self.codec.as_str() {
            "A_AAC" if self.private.is_empty() => ("aac", self.aac_without_settings(rate)),
            "A_AAC" => ("aac", Codec::Aac(self.private.to_vec())),
            old if old.starts_with("A_AAC/") => ("aac", self.aac_without_settings(rate)),
            "A_OPUS" => ("opus", OpusHead::parse(self.private).map_or(Codec::Unsupported, Codec::Opus)),
            "A_VORBIS" => ("vorbis", Codec::vorbis(self.private)),
            "A_FLAC" => ("flac", Codec::flac(self.private)),
            "A_ALAC" => ("alac", Codec::with_settings(CODEC_ID_ALAC, self.private)),
            "A_MPEG/L3" => plain(CODEC_ID_MP3),
            "A_MPEG/L2" => plain(CODEC_ID_MP2),
            "A_MPEG/L1" => plain(CODEC_ID_MP1),
            "A_PCM/INT/LIT" | "A_PCM/INT/BIG" | "A_PCM/FLOAT/IEEE" => match self.pcm() {
                Some(sample) => return (sample.name(), Codec::pcm(sample, rate, self.channels)),
                None => return (format!("pcm of {} bits", self.bits), Codec::Unsupported),
            },
            "A_AC3" => ("ac3", Codec::Ac3),
            "A_EAC3" => ("eac3", Codec::Ac3),
            "A_TRUEHD" => ("truehd", self.foreign()),
            "A_MS/ACM" => return self.acm(),
            old if old.starts_with("A_AC3/") => ("ac3", Codec::Ac3),
            "A_DTS/EXPRESS" => ("dts_express", self.foreign()),
            hd if hd.starts_with("A_DTS") => ("dts", Codec::Dts),
            other => return (other.trim_start_matches("A_").to_ascii_lowercase(), self.foreign()),
        };
        (name.to_owned(), codec)
    }

    /// A codec that is not decoded here.
    fn foreign(&self) -> Codec {
        let bits = u16::try_from(self.bits).unwrap_or(0);
        let tag = CodecTag::Matroska(self.codec.clone());
        Codec::Foreign(CodecParameters { bits, ..CodecParameters::foreign(tag, self.private) })
    }

    /// What WAVE and AVI have is in the private data ("A_MS/ACM").
    fn acm(&self) -> (String, Codec) {
        let format = WaveFormat::parse(self.private).map(|format| format.codec());
        format.map_or_else(|| ("ms_acm".to_owned(), Codec::Unsupported), |(name, codec, _)| (name, codec))
    }

    fn aac_without_settings(&self, rate: u32) -> Codec {
        Codec::Aac(rusty_aac::audio_specific_config_bytes(rate, self.channels))
    }

    fn pcm(&self) -> Option<Sample> {
        let bits = u32::try_from(self.bits).ok()?;
        match self.codec.as_str() {
            // Eight bits are unsigned, more are signed.
            "A_PCM/INT/LIT" => Sample::integer(bits, bits > 8, Order::Little),
            "A_PCM/INT/BIG" => Sample::integer(bits, bits > 8, Order::Big),
            _ => Sample::float(bits, Order::Little),
        }
    }
}

fn video_name(codec: &str) -> String {
    let known = match codec {
        "V_MPEG4/ISO/AVC" => "h264",
        "V_MPEGH/ISO/HEVC" => "hevc",
        "V_MPEG4/ISO/ASP" | "V_MPEG4/ISO/SP" => "mpeg4",
        other => return other.trim_start_matches("V_").to_ascii_lowercase(),
    };
    known.to_owned()
}
