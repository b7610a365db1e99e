//! What a program's streams are, by their types and descriptors (ISO/IEC 13818-1, 2.4.4.9 and 2.6; ETSI EN 300 468;
//! ATSC A/53 part 3; Blu-ray Disc Read-Only Format, part 3).

use super::tables::{Entry, Map, descriptors};
use crate::demux::es::Kind;

/// A stream, as the tables describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) sort: Sort,
    /// The short name of its codec, which its frames may know better.
    pub(super) name: &'static str,
    pub(super) language: Option<String>,
    /// It describes pictures for the blind, or is otherwise made for some.
    pub(super) special: bool,
    pub(super) encrypted: bool,
    /// Only packets with this id in their extension are wanted.
    pub(super) extension: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// How it is cut; `None` where the frames have to tell.
    Audio(Option<Kind>),
    /// Sound that nobody here decodes.
    Undecoded,
    Video,
    Other,
}

use Sort::{Audio, Other, Undecoded, Video};

const fn audio(kind: Kind) -> Sort {
    Audio(Some(kind))
}

/// `registration_descriptor`.
const REGISTRATION: u8 = 0x05;
/// `ISO_639_language_descriptor`.
const LANGUAGE: u8 = 0x0a;
/// `extension_descriptor` of DVB.
const EXTENSION: u8 = 0x7f;
/// The AC-3 within a stream of TrueHD.
const AC3_CORE: u8 = 0x76;

pub(super) fn describe(map: &Map, entry: &Entry) -> Description {
    let is_bluray = registration(&map.descriptors).is_some_and(|format| format == *b"HDMV");
    let by_type = by_type(entry.sort, is_bluray);
    let (mut sort, mut name) = by_type.unwrap_or((Other, "unknown"));
    if let Some(known) = registered(entry) {
        // What has a type of its own is that, whatever else it is registered as.
        if by_type.is_none_or(|(sort, _)| sort == Other || matches!(entry.sort, 0x80..)) {
            (sort, name) = known;
        }
    }
    if let Some(known) = described(entry).filter(|_| sort == Other) {
        (sort, name) = known;
    }
    // Private data may be sound that is not described.
    if entry.sort == 0x06 && sort == Other && name == "unknown" {
        sort = Audio(None);
    }
    Description {
        sort,
        name,
        language: language(&entry.descriptors),
        special: is_special(&entry.descriptors),
        // Types of streams whose frames are encrypted (Apple, "MPEG-2 Stream Encryption Format for HLS", 2.1).
        encrypted: matches!(entry.sort, 0xc1 | 0xc2 | 0xcf),
        extension: (name == "truehd" && is_bluray).then_some(AC3_CORE),
    }
}

/// By `stream_type`.
fn by_type(sort: u8, is_bluray: bool) -> Option<(Sort, &'static str)> {
    Some(match sort {
        0x01 | 0x02 => (Video, "mpeg2video"),
        0x03 | 0x04 => (audio(Kind::Mpeg), "mp2"),
        0x05 | 0x06 => return None,
        0x0f => (audio(Kind::Adts), "aac"),
        0x10 => (Video, "mpeg4"),
        0x11 => (audio(Kind::Latm), "aac"),
        0x1b | 0x20 | 0xdb => (Video, "h264"),
        0x1c => (Undecoded, "aac"),
        0x24 => (Video, "hevc"),
        0x2d | 0x2e => (Undecoded, "mpegh_3d_audio"),
        0x33 => (Video, "vvc"),
        0x42 => (Video, "cavs"),
        0x80 if is_bluray => (audio(Kind::BlurayPcm), "pcm_bluray"),
        0x80 => (Video, "mpeg2video"),
        0x81 => (audio(Kind::Ac3), "ac3"),
        0x82 if is_bluray => (audio(Kind::Dts), "dts"),
        0x83 if is_bluray => (audio(Kind::Ac3), "truehd"),
        0x84 | 0xa1 if is_bluray => (audio(Kind::Ac3), "eac3"),
        0x85 | 0x86 | 0xa2 if is_bluray => (audio(Kind::Dts), "dts"),
        0x90..=0x92 if is_bluray => (Other, "subtitle"),
        0x87 => (audio(Kind::Ac3), "eac3"),
        // What ffmpeg has for DTS without Blu-ray, whose types nobody else uses.
        0x82 | 0x8a => (audio(Kind::Dts), "dts"),
        0xc1 => (audio(Kind::Ac3), "ac3"),
        0xc2 => (audio(Kind::Ac3), "eac3"),
        0xcf => (audio(Kind::Adts), "aac"),
        0xd1 => (Video, "dirac"),
        0xea => (Video, "vc1"),
        _ => return None,
    })
}

fn registration(bytes: &[u8]) -> Option<[u8; 4]> {
    descriptors(bytes).find(|(tag, _)| *tag == REGISTRATION).and_then(|(_, body)| body.first_chunk().copied())
}

/// By the stream's registration (SMPTE registration authority).
fn registered(entry: &Entry) -> Option<(Sort, &'static str)> {
    Some(match &registration(&entry.descriptors)? {
        b"AC-3" => (audio(Kind::Ac3), "ac3"),
        b"EAC3" => (audio(Kind::Ac3), "eac3"),
        b"AC-4" => (Undecoded, "ac4"),
        b"BSSD" => (audio(Kind::Aes3), "s302m"),
        b"DTS1" | b"DTS2" | b"DTS3" => (audio(Kind::Dts), "dts"),
        b"mlpa" => (audio(Kind::Ac3), "truehd"),
        b"Opus" => (audio(Kind::Opus(opus_channels(entry))), "opus"),
        b"HEVC" => (Video, "hevc"),
        b"AVC " | b"H264" => (Video, "h264"),
        b"VC-1" => (Video, "vc1"),
        b"AV01" => (Video, "av1"),
        b"drac" => (Video, "dirac"),
        b"KLVA" => (Other, "klv"),
        b"ID3 " => (Other, "timed_id3"),
        _ => return None,
    })
}

/// The code for the channels of Opus.
fn opus_channels(entry: &Entry) -> u8 {
    let extension =
        descriptors(&entry.descriptors).find(|(tag, body)| *tag == EXTENSION && body.first() == Some(&0x80));
    extension.and_then(|(_, body)| body.get(1).copied()).unwrap_or(2)
}

/// By the descriptors of DVB (ETSI EN 300 468, 6.1 and 6.3).
fn described(entry: &Entry) -> Option<(Sort, &'static str)> {
    descriptors(&entry.descriptors).find_map(|(tag, body)| {
        Some(match tag {
            0x6a => (audio(Kind::Ac3), "ac3"),
            0x7a => (audio(Kind::Ac3), "eac3"),
            0x7b => (audio(Kind::Dts), "dts"),
            0x7c => (Audio(None), "aac"),
            0x56 => (Other, "teletext"),
            0x59 => (Other, "dvb_subtitle"),
            EXTENSION => match body.first()? {
                0x0e => (audio(Kind::Dts), "dts"),
                0x15 => (Undecoded, "ac4"),
                0x80 => (audio(Kind::Opus(opus_channels(entry))), "opus"),
                _ => return None,
            },
            _ => return None,
        })
    })
}

fn language(bytes: &[u8]) -> Option<String> {
    let (_, body) = descriptors(bytes).find(|(tag, _)| *tag == LANGUAGE)?;
    let code = body.get(..3).filter(|code| code.iter().all(u8::is_ascii_alphabetic) && *code != b"und")?;
    Some(String::from_utf8_lossy(code).to_lowercase())
}

/// `audio_type` 2 and 3: for the hard of hearing, and for the visually impaired (ISO/IEC 13818-1, table 2-60); or
/// `mix_type` 0 and `editorial_classification` of DVB's `supplementary_audio_descriptor` (EN 300 468, 6.4.11).
fn is_special(bytes: &[u8]) -> bool {
    descriptors(bytes).any(|(tag, body)| match tag {
        LANGUAGE => body.chunks_exact(4).any(|entry| matches!(entry[3], 2 | 3)),
        EXTENSION => matches!(body, [0x06, flags, ..] if flags >> 2 & 0x1f != 0),
        _ => false,
    })
}
