//! What a file is, by its first bytes and never by its name.
//!
//! Guessing wrong is worse than refusing: a decoder fed with another container's bytes makes noise. So elementary
//! streams (MP3, ADTS, AC-3) count only when several frames in a row fit together.

pub(crate) mod ac3;
mod foreign;
pub(crate) mod mpeg;
pub(crate) mod ts;

use crate::codec::dts;

/// How many of a file's first bytes [`sniff`] wants to see. Fewer are fine if the file has no more.
pub const SNIFF_BYTES: usize = 64 * 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// ISO base media: MP4, M4A, MOV, 3GP, with or without `ftyp`.
    Mp4,
    /// Matroska or WebM.
    Matroska,
    /// Ogg.
    Ogg,
    /// RIFF WAVE, also in its larger kinds (RF64, BW64) and with the other byte order (RIFX).
    Wav,
    /// Sony Wave64.
    W64,
    /// AIFF and AIFF-C.
    Aiff,
    /// AU, also called SND.
    Au,
    /// Apple's Core Audio Format.
    Caf,
    /// AVI.
    Avi,
    /// Flash Video.
    Flv,
    /// FLAC in its own container.
    Flac,
    /// MPEG audio frames: layer I, II or III.
    Mp3,
    /// AAC in ADTS frames.
    Adts,
    /// AC-3 or E-AC-3 syncframes.
    Ac3,
    /// MPEG transport stream: TS, MTS, M2TS.
    MpegTs,
    /// MPEG program stream: MPG, VOB, the DAT of Video CDs.
    MpegPs,
    /// AMR or AMR-WB frames.
    Amr,
    /// ASF: WMV and WMA.
    Asf,
    /// DTS frames, also in `.dtshd` files.
    Dts,
    /// Something that is not read, by its usual short name; `unknown` when nothing is recognised.
    Unsupported(&'static str),
}

impl Container {
    /// The usual short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Matroska => "matroska",
            Self::Ogg => "ogg",
            Self::Wav => "wav",
            Self::W64 => "w64",
            Self::Aiff => "aiff",
            Self::Au => "au",
            Self::Caf => "caf",
            Self::Avi => "avi",
            Self::Flv => "flv",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Adts => "adts",
            Self::Ac3 => "ac3",
            Self::MpegTs => "mpegts",
            Self::MpegPs => "mpegps",
            Self::Amr => "amr",
            Self::Asf => "asf",
            Self::Dts => "dts",
            Self::Unsupported(name) => name,
        }
    }
}

/// The size of an ID3v2 tag in bytes, with its header and footer; `None` if `head` does not begin with one
/// (ID3v2.4.0 structure, 3.1).
#[must_use]
pub fn id3v2_size(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', 2..=4, _, flags, a, b, c, d, ..] = *head else { return None };
    if [a, b, c, d].iter().any(|byte| *byte > 0x7f) {
        return None;
    }
    let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    Some(10 + size + footer)
}

/// Says what a file is, from its first [`SNIFF_BYTES`].
///
/// An ID3v2 tag is skipped. When it is longer than `head`, the answer is [`Container::Mp3`], which is what has such
/// tags; call it again with the bytes behind the tag ([`id3v2_size`]) to be sure.
///
/// ```
/// use microserve_transcoder::{Container, sniff};
///
/// assert_eq!(sniff(b"RIFF\x24\0\0\0WAVEfmt "), Container::Wav);
/// assert_eq!(sniff(b"<!DOCTYPE html>"), Container::Unsupported("html"));
/// ```
#[must_use]
pub fn sniff(head: &[u8]) -> Container {
    if head.is_empty() {
        return Container::Unsupported("empty");
    }
    if let Some(size) = id3v2_size(head) {
        return match usize::try_from(size).ok().and_then(|size| head.get(size..)) {
            Some(rest) if !rest.is_empty() => behind_id3(rest),
            _ => Container::Mp3,
        };
    }
    let container = magic(head).or_else(|| elementary(head)).or_else(|| foreign::text(head));
    container.unwrap_or(Container::Unsupported("unknown"))
}

/// A tag may be followed by another one, by padding, or by what only claims to be audio.
fn behind_id3(rest: &[u8]) -> Container {
    if let Some(size) = id3v2_size(rest) {
        let rest = usize::try_from(size).ok().and_then(|size| rest.get(size..)).unwrap_or_default();
        return if rest.is_empty() { Container::Mp3 } else { behind_padding(rest) };
    }
    behind_padding(rest)
}

fn behind_padding(rest: &[u8]) -> Container {
    let start = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
    let rest = &rest[start..];
    // With a tag in front, one frame is enough: what has an ID3 tag is audio.
    magic(rest).or_else(|| elementary(rest)).unwrap_or(match mpeg::frame(rest) {
        Some(_) => Container::Mp3,
        None if rest.is_empty() => Container::Mp3,
        None => Container::Unsupported("unknown"),
    })
}

/// Containers that say what they are.
fn magic(head: &[u8]) -> Option<Container> {
    let tag = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
    if let Some(container) = iso(head).or_else(|| riff(head)) {
        return Some(container);
    }
    if tag(0, b"\x1a\x45\xdf\xa3") {
        return Some(Container::Matroska);
    }
    if tag(0, b"OggS") {
        return Some(Container::Ogg);
    }
    if tag(0, b"FLV\x01") {
        return Some(Container::Flv);
    }
    if tag(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11") {
        return Some(Container::Asf);
    }
    if tag(0, b"DTSHDHDR") || dts::Frame::parse(head).is_some() {
        return Some(Container::Dts);
    }
    // Files of several channels begin otherwise.
    if tag(0, b"#!AMR\n") || tag(0, b"#!AMR-WB\n") {
        return Some(Container::Amr);
    }
    if tag(0, b"fLaC") {
        return Some(Container::Flac);
    }
    if tag(0, b"FORM") && (tag(8, b"AIFF") || tag(8, b"AIFC")) {
        return Some(Container::Aiff);
    }
    if tag(0, b".snd") {
        return Some(Container::Au);
    }
    if tag(0, b"caff") {
        return Some(Container::Caf);
    }
    if tag(0, b"riff\x2e\x91\xcf\x11") {
        return Some(Container::W64);
    }
    if is_pack(head) {
        return Some(Container::MpegPs);
    }
    // Before those of few bytes: the times in front of a camera's packets may be anything.
    if ts::starts_stream(head) {
        return Some(Container::MpegTs);
    }
    foreign::signed(head)
        .or_else(|| ts::follows(head).then_some(Container::MpegTs))
        .or_else(|| has_packs(head).then_some(Container::MpegPs))
}

/// ISO base media: the first box is one of those that may come first, and its size makes sense (ISO/IEC 14496-12, 4.2).
fn iso(head: &[u8]) -> Option<Container> {
    let size = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
    let kind: [u8; 4] = head.get(4..8)?.try_into().ok()?;
    if size != 0 && size != 1 && size < 8 {
        return None;
    }
    match &kind {
        b"ftyp" => match head.get(8..12) {
            Some(b"avif" | b"avis") => Some(Container::Unsupported("avif")),
            Some(b"heic" | b"heix" | b"mif1" | b"msf1" | b"hevc") => Some(Container::Unsupported("heif")),
            Some(b"crx ") => Some(Container::Unsupported("cr3")),
            Some(b"jp2 " | b"jpx ") => Some(Container::Unsupported("jpeg2000")),
            _ => Some(Container::Mp4),
        },
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"moof" | b"styp" | b"sidx" | b"pnot" | b"uuid" | b"emsg" => {
            Some(Container::Mp4)
        }
        b"jP  " => Some(Container::Unsupported("jpeg2000")),
        _ => None,
    }
}

fn riff(head: &[u8]) -> Option<Container> {
    if !matches!(head.get(..4)?, b"RIFF" | b"RF64" | b"BW64" | b"RIFX") {
        return None;
    }
    Some(match head.get(8..12)? {
        b"WAVE" => Container::Wav,
        b"AVI " => Container::Avi,
        b"WEBP" => Container::Unsupported("webp"),
        b"CDXA" => Container::MpegPs,
        b"RMID" => Container::Unsupported("midi"),
        _ => Container::Unsupported("riff"),
    })
}

/// Packs, of which MPEG program streams are made (ISO/IEC 13818-1, 2.5.3.3, and ISO/IEC 11172-1, 2.4.3.2).
fn is_pack(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x00\x00\x01\xba") && bytes.get(4).is_some_and(|byte| matches!(byte >> 4, 2 | 4..=7))
}

/// Whether there are packs in what begins with something else: a part of a stream, or the sectors of a Video CD.
fn has_packs(head: &[u8]) -> bool {
    const FEWEST: usize = 3;
    head.windows(5).filter(|bytes| is_pack(bytes)).nth(FEWEST - 1).is_some()
}

/// Streams of frames without a container: several in a row must agree.
fn elementary(head: &[u8]) -> Option<Container> {
    if ac3::starts_stream(head) || ac3::starts_swapped_stream(head) {
        return Some(Container::Ac3);
    }
    if mpeg::starts_stream(head) {
        return Some(Container::Mp3);
    }
    adts_run(head).then_some(Container::Adts)
}

/// Whether ADTS frames (ISO/IEC 14496-3, 1.A.2.2) of one kind follow each other from the first byte on.
fn adts_run(head: &[u8]) -> bool {
    let mut at = 0;
    let mut first = None;
    let mut frames = 0;
    while frames < 4 {
        // Streams cut for HTTP have tags with the time between their frames.
        if let Some(size) = head.get(at..).and_then(id3v2_size) {
            at = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        }
        let Some(&[0xff, b1, b2, b3, b4, b5, _]) = head.get(at..at.saturating_add(7)) else {
            break;
        };
        if b1 & 0xf6 != 0xf0 || (b2 >> 2 & 0xf) > 12 {
            return false;
        }
        let size = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
        let kind = (b1, b2, b3 & 0xf0);
        if size < 8 || *first.get_or_insert(kind) != kind {
            return false;
        }
        frames += 1;
        at += size;
    }
    // Fewer are enough when the file ends with them.
    frames >= 4 || (frames >= 2 && at >= head.len())
}
