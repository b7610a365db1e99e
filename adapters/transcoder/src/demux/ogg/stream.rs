//! What a stream is: its codec by its first packet, the headers that follow, and how long its packets last.

use lewton::audio::get_decoded_sample_count;
use lewton::header::{IdentHeader, SetupHeader};
use microserve_core::transcode::TrackInfo;

use crate::codec::{Codec, OpusHead};
use crate::demux::{AUDIO, LARGEST_PACKET, Part, Track, comments};
use crate::span::Span;
use crate::tags::Tags;

/// The header packets of a stream.
pub(super) struct Headers {
    kind: Kind,
    packets: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vorbis,
    Opus,
    /// FLAC with so many headers behind the first; 0: unknown (RFC 9639, 10.1).
    Flac(u16),
    /// FLAC from before there was a mapping: what its files begin with is the first packet, and each header one more.
    OldFlac,
    /// Sound that nobody here decodes.
    Other(&'static str),
    Silent(&'static str, &'static str),
}

impl Headers {
    pub(super) fn new(first: &[u8]) -> Self {
        let kind = match first {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => Kind::Vorbis,
            [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => Kind::Opus,
            [0x7f, b'F', b'L', b'A', b'C', 1, _, h, l, b'f', b'L', b'a', b'C', ..] => {
                Kind::Flac(u16::from_be_bytes([*h, *l]))
            }
            b"fLaC" => Kind::OldFlac,
            [b'f', b'L', b'a', b'C', ..] => Kind::Other("flac of an old mapping"),
            [b'S', b'p', b'e', b'e', b'x', ..] => Kind::Other("speex"),
            [b'C', b'E', b'L', b'T', ..] => Kind::Other("celt"),
            [b'P', b'C', b'M', b' ', ..] => Kind::Other("pcm"),
            [0x80, b't', b'h', b'e', b'o', ..] => Kind::Silent("video", "theora"),
            [b'B', b'B', b'C', b'D', ..] => Kind::Silent("video", "dirac"),
            [b'O', b'V', b'P', b'8', b'0', ..] => Kind::Silent("video", "vp8"),
            [1, b'v', b'i', b'd', b'e', b'o', ..] => Kind::Silent("video", "ogm"),
            [0x80, b'k', b'a', b't', b'e', ..] => Kind::Silent("subtitle", "kate"),
            [b'f', b'i', b's', b'h', ..] => Kind::Silent("other", "skeleton"),
            _ => Kind::Silent("other", "unknown"),
        };
        Self { kind, packets: vec![first.to_vec()] }
    }

    pub(super) fn is_audio(&self) -> bool {
        !matches!(self.kind, Kind::Silent(..))
    }

    pub(super) fn are_complete(&self) -> bool {
        let wanted = match self.kind {
            Kind::Vorbis => 3,
            Kind::Opus => 2,
            // Headers of an unknown number end with the one that says that it is the last.
            Kind::Flac(0) | Kind::OldFlac => {
                return self.packets.len() > 1 && self.packets.last().is_some_and(|p| p.first() >= Some(&0x80));
            }
            Kind::Flac(more) => usize::from(more) + 1,
            Kind::Other(_) | Kind::Silent(..) => 1,
        };
        self.packets.len() >= wanted
    }

    /// Keeps a header, or its first byte alone if nobody wants it: FLAC may have thousands, with pictures in them.
    pub(super) fn take(&mut self, packet: &[u8]) {
        let is_wanted = match self.kind {
            Kind::Flac(_) => packet.first().is_some_and(|kind| comments::is_kept(*kind)),
            Kind::OldFlac => packet.first().is_some_and(|kind| kind & 0x7f == 0 || comments::is_kept(*kind)),
            _ => true,
        };
        let kept: usize = self.packets.iter().map(Vec::len).sum();
        let fits = (kept + packet.len()) as u64 <= LARGEST_PACKET;
        let end = if is_wanted && fits { packet.len() } else { packet.len().min(1) };
        self.packets.push(packet[..end].to_vec());
    }

    fn packet(&self, n: usize) -> &[u8] {
        self.packets.get(n).map_or(&[], Vec::as_slice)
    }

    pub(super) fn clock(&self) -> Clock {
        match self.kind {
            Kind::Opus => Clock::Opus,
            Kind::Vorbis => Clock::vorbis(self.packet(0), self.packet(2)).unwrap_or(Clock::None),
            Kind::Flac(_) | Kind::OldFlac => Clock::Flac,
            _ => Clock::None,
        }
    }

    /// The track, and its tags.
    pub(super) fn finish(self) -> (Track, Tags) {
        let mut tags = Tags::default();
        let (name, codec, rate, channels) = match self.kind {
            Kind::Vorbis => {
                comments::read(self.packet(1).get(7..).unwrap_or_default(), &mut tags);
                let ident = self.packet(0);
                let rate = ident.get(12..16).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
                let channels = ident.get(11).copied().map_or(0, u16::from);
                let codec = Codec::Vorbis { ident: ident.to_vec(), setup: self.packet(2).to_vec() };
                ("vorbis", codec, rate, channels)
            }
            Kind::Opus => {
                comments::read(self.packet(1).get(8..).unwrap_or_default(), &mut tags);
                let head = OpusHead::parse(self.packet(0));
                let channels = head.as_ref().map_or(0, |head| head.channels.into());
                ("opus", head.map_or(Codec::Unsupported, Codec::Opus), 48_000, channels)
            }
            Kind::Flac(_) | Kind::OldFlac => {
                for block in &self.packets[1..] {
                    comments::flac_block(block, &mut tags);
                }
                let is_old = self.kind == Kind::OldFlac;
                let blocks = if is_old { self.packet(1) } else { self.packet(0).get(9..).unwrap_or_default() };
                // STREAMINFO (RFC 9639, 8.2): twenty bits of rate and three of channels, after the sizes.
                let (rate, channels) = match blocks.get(18..21) {
                    Some([a, b, c]) => (u32::from_be_bytes([0, *a, *b, *c]) >> 4, u16::from(c >> 1 & 7) + 1),
                    _ => (0, 0),
                };
                ("flac", Codec::flac(blocks), rate, channels)
            }
            Kind::Other(name) => (name, Codec::Unsupported, 0, 0),
            Kind::Silent(kind, name) => return (Track::other(kind, name), tags),
        };
        let skip = if let Codec::Opus(head) = &codec { Span::new(head.pre_skip.into(), 48_000) } else { Span::ZERO };
        let (kind, codec_name) = (AUDIO.to_owned(), name.to_owned());
        let info = TrackInfo { kind, codec: codec_name, channels, sample_rate: rate, duration: None, language: None };
        (Track { played: vec![Part::from(skip)], ..Track::audio(info, codec) }, tags)
    }
}

/// Tells how many samples the packets of a stream decode to.
pub(super) enum Clock {
    /// Nobody knows.
    None,
    Flac,
    Opus,
    Vorbis {
        headers: Box<(IdentHeader, SetupHeader)>,
        /// The first packet only gets the decoder going.
        is_first: bool,
    },
}

impl Clock {
    fn vorbis(ident: &[u8], setup: &[u8]) -> Option<Self> {
        Some(Self::Vorbis { headers: Box::new(crate::decode::vorbis::headers(ident, setup)?), is_first: true })
    }

    pub(super) fn length(&mut self, packet: &[u8]) -> i64 {
        match self {
            Self::None => 0,
            Self::Flac => flac_length(packet),
            Self::Opus => opus_length(packet),
            Self::Vorbis { headers, is_first } => {
                if std::mem::take(is_first) {
                    return 0;
                }
                get_decoded_sample_count(&headers.0, &headers.1, packet)
                    .ok()
                    .and_then(|n| i64::try_from(n).ok())
                    .unwrap_or(0)
            }
        }
    }
}

/// Samples at 48 kHz in a packet of Opus (RFC 6716, 3.1 and 3.2).
pub(in crate::demux) fn opus_length(packet: &[u8]) -> i64 {
    let Some(toc) = packet.first() else { return 0 };
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| i64::from(count & 0x3f)),
    };
    frame * frames
}

/// Samples in a frame of FLAC (RFC 9639, 9.1.1): a code, or a number behind the frame's own, which is written like a
/// character of UTF-8.
fn flac_length(frame: &[u8]) -> i64 {
    let &[0xff, 0xf8 | 0xf9, codes, _, number, ..] = frame else { return 0 };
    let behind = 4 + (number.leading_ones() as usize).max(1);
    let at = |n: usize| frame.get(behind + n).copied().map_or(0, i64::from);
    match codes >> 4 {
        0 => 0,
        1 => 192,
        code @ 2..=5 => 576 << (code - 2),
        6 => at(0) + 1,
        7 => (at(0) << 8 | at(1)) + 1,
        code => 256 << (code - 8),
    }
}

/// When the picture of a stream begins, in seconds, if that can be told from the first page that a frame ends in, with
/// so many packets: Theora's granule position has the number of the last keyframe and of frames since (Theora I, A.2.3).
pub(super) fn picture_begins(first: &[u8], granule: u64, packets: u64) -> Option<f64> {
    let header = first.strip_prefix(b"\x80theora")?;
    let number = |at: usize| header.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (rate, scale) = (number(15)?, number(19)?);
    // Two bytes hold the last bits of the quality, five of the shift, and others.
    let shift = u16::from_be_bytes(header.get(33..35)?.try_into().ok()?) >> 5 & 31;
    let frames = (granule >> shift) + (granule & ((1 << shift) - 1));
    (rate > 0).then(|| frames.saturating_sub(packets) as f64 * f64::from(scale) / f64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::{Headers, flac_length, opus_length};

    #[test]
    fn flac_frames_say_how_long_they_are() {
        assert_eq!(flac_length(&[0xff, 0xf8, 0xc9, 0x18, 0x00, 0xc2]), 4096);
        assert_eq!(flac_length(&[0xff, 0xf8, 0x69, 0x18, 0x05, 0x41]), 66);
        assert_eq!(flac_length(&[0xff, 0xf8, 0x79, 0x18, 0xc4, 0x80, 0x03, 0xe7]), 1000);
        assert_eq!(flac_length(&[0xff, 0xf8, 0x79, 0x18, 0xff]), 1);
        assert_eq!(flac_length(b"no frame"), 0);
    }

    #[test]
    fn opus_packets_say_how_long_they_are() {
        assert_eq!(opus_length(&[0b1111_1000]), 960); // CELT, 20 ms, one frame
        assert_eq!(opus_length(&[0b0001_1001]), 5760); // SILK, 60 ms, two frames
        assert_eq!(opus_length(&[0b1000_0011, 0x86]), 720); // CELT, 2.5 ms, six frames
        assert_eq!(opus_length(&[]), 0);
    }

    #[test]
    fn unknown_streams_are_no_audio() {
        assert!(!Headers::new(b"").is_audio() && !Headers::new(b"\x80theora").is_audio());
        assert!(Headers::new(b"Speex   ").is_audio() && Headers::new(b"Speex   ").are_complete());
    }
}
