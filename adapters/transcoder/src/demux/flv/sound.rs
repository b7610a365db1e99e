//! Bodies of audio tags: which codec, and where its settings and packets are (E.4.2; Enhanced RTMP v2,
//! "ExAudioTagHeader").

use microserve_core::transcode::TrackInfo;
use symphonia::core::codecs::audio::well_known::*;

use crate::codec::pcm::{Number, Order, Sample};
use crate::codec::{Adpcm, AdpcmKind, Codec, OpusHead};
use crate::codecs::{CodecParameters, CodecTag};
use crate::demux::waveformat::Packing;
use crate::demux::{AUDIO, Part, Track, adts};
use crate::span::Span;

/// A packet of a track, or the settings of its decoder.
pub(super) struct Piece<'b> {
    pub(super) track: u8,
    pub(super) format: Format,
    pub(super) is_settings: bool,
    pub(super) data: &'b [u8],
}

/// What a tag says of the codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// The byte that says format, rate, width and channels.
    Byte(u8),
    /// The name that Enhanced RTMP has for it.
    FourCc([u8; 4]),
}

/// The sound in a tag: one piece, but for Enhanced RTMP's tags of several tracks.
pub(super) fn pieces(body: &[u8]) -> Vec<Piece<'_>> {
    let Some((&first, rest)) = body.split_first() else { return Vec::new() };
    let format = Format::Byte(first);
    let piece = |is_settings, data| vec![Piece { track: 0, format, is_settings, data }];
    match (first >> 4, rest) {
        (9, rest) => extended(first & 0xf, rest).unwrap_or_default(),
        (10, [kind, data @ ..]) => piece(*kind == 0, data),
        (10, []) => Vec::new(),
        (_, data) => piece(false, data),
    }
}

/// The kinds of packets that matter here.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const MULTITRACK: u8 = 5;
const MOD_EX: u8 = 7;
/// So many extensions may stand in front.
const MOST_EXTENSIONS: usize = 16;

fn extended(mut kind: u8, mut rest: &[u8]) -> Option<Vec<Piece<'_>>> {
    for _ in 0..MOST_EXTENSIONS {
        if kind != MOD_EX {
            break;
        }
        let (size, behind) = match rest {
            [0xff, a, b, behind @ ..] => (usize::from(u16::from_be_bytes([*a, *b])) + 1, behind),
            [size, behind @ ..] => (usize::from(*size) + 1, behind),
            [] => return None,
        };
        let (next, behind) = behind.get(size..)?.split_first()?;
        (kind, rest) = (next & 0xf, behind);
    }
    if kind == MULTITRACK {
        return multitrack(rest);
    }
    let (name, data) = rest.split_first_chunk()?;
    Some(Vec::from_iter(piece(0, kind, *name, data)))
}

/// `AvMultitrackType`: one track, several of one codec, or several codecs.
fn multitrack(rest: &[u8]) -> Option<Vec<Piece<'_>>> {
    let (&kinds, mut rest) = rest.split_first()?;
    let (layout, kind) = (kinds >> 4, kinds & 0xf);
    let mut name = *b"\0\0\0\0";
    if layout < 2 {
        (name, rest) = rest.split_first_chunk().map(|(name, rest)| (*name, rest))?;
    }
    let mut found = Vec::new();
    while !rest.is_empty() && found.len() < super::MOST_TRACKS {
        if layout >= 2 {
            (name, rest) = rest.split_first_chunk().map(|(name, rest)| (*name, rest))?;
        }
        let (&track, mut data) = rest.split_first()?;
        rest = &[];
        if layout != 0 {
            let ([a, b, c], behind) = data.split_first_chunk()?;
            (data, rest) = behind.split_at_checked(u32::from_be_bytes([0, *a, *b, *c]) as usize)?;
        }
        found.extend(piece(track, kind, name, data));
    }
    Some(found)
}

fn piece(track: u8, kind: u8, name: [u8; 4], data: &[u8]) -> Option<Piece<'_>> {
    let is_settings = kind == SEQUENCE_START;
    (is_settings || kind == CODED_FRAMES).then_some(Piece { track, format: Format::FourCc(name), is_settings, data })
}

impl Format {
    /// Whether one decoder takes both. What the byte says of MP3 and AAC beside the format means nothing (E.4.2.1).
    pub(super) fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Byte(a), Self::Byte(b)) if matches!(a >> 4, 2 | 10 | 14) => a >> 4 == b >> 4,
            (a, b) => a == b,
        }
    }

    /// The track that it makes with its settings, or, without any, with its first packet.
    pub(super) fn track(self, settings: &[u8], packet: &[u8]) -> (Track, Packing) {
        let (name, codec, packing) = match self {
            Self::Byte(byte) => old(byte, settings, packet),
            Self::FourCc(name) => new(name, settings, packet),
        };
        let (mut rate, mut channels) = match self {
            Self::Byte(byte) => (rate(byte), channels(byte)),
            Self::FourCc(_) => (0, 0),
        };
        (rate, channels) = codec.aac_format().unwrap_or((rate, channels));
        let mut played = Part::default();
        if let Codec::Opus(head) = &codec {
            (rate, channels) = (48_000, head.channels.into());
            played = Part::from(Span::new(head.pre_skip.into(), 48_000));
        }
        let info = TrackInfo { kind: AUDIO.into(), codec: name, channels, sample_rate: rate, ..TrackInfo::default() };
        (Track { played: vec![played], ..Track::audio(info, codec) }, packing)
    }
}

fn rate(byte: u8) -> u32 {
    match byte >> 4 {
        4 | 11 => 16_000,
        5 | 7 | 8 | 14 => 8_000,
        _ => [5_512, 11_025, 22_050, 44_100][usize::from(byte >> 2 & 3)],
    }
}

fn channels(byte: u8) -> u16 {
    if matches!(byte >> 4, 4 | 5 | 11) { 1 } else { u16::from(byte & 1) + 1 }
}

fn old(byte: u8, settings: &[u8], packet: &[u8]) -> (String, Codec, Packing) {
    let (rate, channels) = (rate(byte), channels(byte));
    let samples = |sample: Sample| {
        let block = usize::from(sample.bytes) * usize::from(channels);
        (sample.name(), Codec::pcm(sample, rate, channels), Packing::Blocks(block))
    };
    let integer = |bytes, number| samples(Sample { number, bytes, order: Order::Little, unused: 0 });
    let foreign = || Codec::Foreign(CodecParameters::foreign(CodecTag::Flv(byte >> 4), settings));
    let none = |name: &str| (name.to_owned(), foreign(), Packing::Packets);
    match byte >> 4 {
        // The order of the bytes is that of the machine that wrote them; all of those were little-endian.
        0 | 3 if byte & 2 == 0 => integer(1, Number::Unsigned),
        0 | 3 => integer(2, Number::Signed),
        1 => {
            let adpcm = Adpcm { kind: AdpcmKind::Swf, rate, channels, block: 0 };
            ("adpcm_swf".to_owned(), Codec::Adpcm(adpcm), Packing::Packets)
        }
        2 | 14 => mp3(rate, channels),
        4..=6 => none("nellymoser"),
        7 => samples(Sample::A_LAW),
        8 => samples(Sample::MU_LAW),
        10 => aac(settings, packet),
        11 => none("speex"),
        other => none(&format!("flv sound format {other}")),
    }
}

/// By the names of Enhanced RTMP.
fn new(name: [u8; 4], settings: &[u8], packet: &[u8]) -> (String, Codec, Packing) {
    let (name, codec) = match &name {
        b"mp4a" => return aac(settings, packet),
        b".mp3" => return mp3(44_100, 2),
        b"Opus" => ("opus", OpusHead::parse(settings).map_or(Codec::Unsupported, Codec::Opus)),
        b"fLaC" => ("flac", Codec::flac(settings)),
        b"ac-3" => ("ac3", Codec::Ac3),
        b"ec-3" => ("eac3", Codec::Ac3),
        other => {
            let told = CodecParameters::foreign(CodecTag::FourCc(*other), settings);
            let name: String = other.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_graphic).collect();
            return (name, Codec::Foreign(told), Packing::Packets);
        }
    };
    (name.to_owned(), codec, Packing::Packets)
}

fn mp3(rate: u32, channels: u16) -> (String, Codec, Packing) {
    ("mp3".to_owned(), Codec::plain(CODEC_ID_MP3, rate, channels), Packing::Mpeg)
}

/// Without settings, packets may be ADTS frames, which some servers leave as they are, or the usual.
fn aac(settings: &[u8], packet: &[u8]) -> (String, Codec, Packing) {
    let is_adts = || packet.first_chunk().is_some_and(|head| adts::Header::parse(*head).is_some());
    let (codec, packing) = match settings {
        [] if is_adts() => (Codec::Adts, Packing::Adts),
        [] => (Codec::Aac(rusty_aac::audio_specific_config_bytes(44_100, 2)), Packing::Packets),
        settings => (Codec::Aac(settings.to_vec()), Packing::Packets),
    };
    ("aac".to_owned(), codec, packing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &[u8]) -> Vec<(u8, Format, bool, &[u8])> {
        pieces(body).into_iter().map(|piece| (piece.track, piece.format, piece.is_settings, piece.data)).collect()
    }

    #[test]
    fn settings_and_packets_are_told_apart() {
        let format = Format::Byte(0xaf);
        assert_eq!(found(&[0xaf, 0, 0x12, 0x10]), [(0, format, true, &[0x12, 0x10][..])]);
        assert_eq!(found(&[0xaf, 1, 7]), [(0, format, false, &[7][..])]);
        assert_eq!(found(&[0x2f, 0, 7]), [(0, Format::Byte(0x2f), false, &[0, 7][..])]);
        assert_eq!((found(&[]), found(&[0xaf])), (vec![], vec![]));
    }

    #[test]
    fn enhanced_rtmp_has_names_extensions_and_tracks() {
        let opus = Format::FourCc(*b"Opus");
        assert_eq!(found(b"\x90Opussettings"), [(0, opus, true, &b"settings"[..])]);
        assert_eq!(found(b"\x91Opusdata"), [(0, opus, false, &b"data"[..])]);
        // Nanoseconds in front.
        assert_eq!(found(b"\x97\x02\0\0\x01\x01Opusdata"), [(0, opus, false, &b"data"[..])]);
        assert_eq!(found(b"\x95\x01Opus\x03data"), [(3, opus, false, &b"data"[..])]);
        let many = b"\x95\x11Opus\0\0\0\x01a\x01\0\0\x02bc";
        assert_eq!(found(many), [(0, opus, false, &b"a"[..]), (1, opus, false, &b"bc"[..])]);
        let mixed = b"\x95\x20Opus\0\0\0\x01amp4a\x01\0\0\x02bc";
        let aac = Format::FourCc(*b"mp4a");
        assert_eq!(found(mixed), [(0, opus, true, &b"a"[..]), (1, aac, true, &b"bc"[..])]);
        for cut in 0..many.len() {
            found(&many[..cut]);
        }
    }

    #[test]
    fn what_the_byte_says_of_aac_and_mp3_means_nothing() {
        assert!(Format::Byte(0xaf).is_like(Format::Byte(0xa0)) && Format::Byte(0x2f).is_like(Format::Byte(0x22)));
        assert!(!Format::Byte(0x3f).is_like(Format::Byte(0x3e)) && !Format::Byte(0x2f).is_like(Format::Byte(0xaf)));
    }
}
