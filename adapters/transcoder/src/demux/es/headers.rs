//! What the headers of frames say.

use rusty_aac::latm::LatmReader;

use super::{Format, Head, Kind};
use crate::codec::dts;
use crate::demux::adts;
use crate::sniff::{ac3, mpeg};

/// What some bytes begin with.
pub(super) enum Look {
    Frame(Head),
    /// Something of this size that belongs to the frame before, and is not wanted.
    Skip(usize),
    /// More bytes are needed to tell.
    More,
    Nothing,
}

/// Looks at the first bytes. `ended`: there are no more.
pub(super) fn look(kind: Kind, bytes: &[u8], ended: bool) -> Look {
    let needed = match kind {
        Kind::Mpeg => 4,
        Kind::Adts => adts::HEADER,
        Kind::Ac3 => ac3::HEADER,
        Kind::Dts => dts::HEADER,
        _ => LATM_HEADER,
    };
    if bytes.len() < needed {
        return Look::More;
    }
    match kind {
        Kind::Ac3 => unit_of_ac3(bytes, ended),
        Kind::Dts if bytes.starts_with(&dts::EXTENSION) => dts_extension(bytes),
        _ => head(kind, bytes).map_or(Look::Nothing, Look::Frame),
    }
}

/// How many bytes there are before one that a frame may begin with.
pub(super) fn start(kind: Kind, bytes: &[u8]) -> usize {
    let first = match kind {
        Kind::Ac3 => 0x0b,
        Kind::Dts => {
            let is_first = |byte: &u8| *byte == dts::CORE[0] || *byte == dts::EXTENSION[0];
            return bytes.iter().position(is_first).unwrap_or(bytes.len());
        }
        Kind::Latm => 0x56,
        _ => 0xff,
    };
    bytes.iter().position(|byte| *byte == first).unwrap_or(bytes.len())
}

fn head(kind: Kind, bytes: &[u8]) -> Option<Head> {
    match kind {
        Kind::Mpeg => mpeg(bytes),
        Kind::Adts => adts(bytes),
        Kind::Dts => dts(bytes),
        Kind::Latm => latm(bytes),
        _ => None,
    }
}

fn mpeg(bytes: &[u8]) -> Option<Head> {
    let frame = mpeg::frame(bytes)?;
    let name = ["mp1", "mp2", "mp3"][usize::from(frame.layer.clamp(1, 3)) - 1];
    let format = Format::new(Kind::Mpeg, name, frame.rate, frame.channels);
    Some(Head { format, samples: frame.samples, size: frame.size })
}

fn adts(bytes: &[u8]) -> Option<Head> {
    let header = adts::Header::parse(*bytes.first_chunk()?)?;
    let key = u32::from_be_bytes([0, header.kind.0, header.kind.1, header.kind.2]);
    let format = Format { key, ..Format::new(Kind::Adts, "aac", header.rate, header.channels) };
    Some(Head { format, samples: header.frames, size: usize::try_from(header.size).ok()? })
}

/// An access unit: a frame of the first program, and those of its further channels and of other programs behind it.
fn unit_of_ac3(bytes: &[u8], ended: bool) -> Look {
    /// Eight programs, of which each may have eight frames more.
    const MOST_FRAMES: usize = 64;
    let Some(first) = ac3::frame(bytes).filter(ac3::Frame::begins_unit) else { return Look::Nothing };
    let mut size = first.size;
    for _ in 1..MOST_FRAMES {
        let rest = bytes.get(size..).unwrap_or_default();
        if rest.len() < ac3::HEADER {
            if !ended {
                return Look::More;
            }
            break;
        }
        match ac3::frame(rest) {
            Some(frame) if !frame.begins_unit() => size += frame.size,
            _ => break,
        }
    }
    let name = if first.enhanced { "eac3" } else { "ac3" };
    let format = Format::new(Kind::Ac3, name, first.rate, first.channels);
    Look::Frame(Head { format, samples: first.samples, size })
}

/// `audioSyncStream()` (ISO/IEC 14496-3, 1.7.2): a length behind a word of 11 bits.
const LATM_HEADER: usize = 3;

fn latm(bytes: &[u8]) -> Option<Head> {
    let &[0x56, b1, b2] = bytes.first_chunk()? else { return None };
    let size = LATM_HEADER + (usize::from(b1 & 0x1f) << 8 | usize::from(b2));
    let format = Format::new(Kind::Latm, "aac", 0, 0);
    (b1 & 0xe0 == 0xe0 && size > LATM_HEADER).then_some(Head { format, samples: 0, size })
}

/// What the frames of LATM say of their sound: the settings are in one of them, and hold for those behind it.
#[derive(Default)]
pub(super) struct Latm {
    reader: LatmReader,
    known: Option<(u32, u16, u32)>,
}

impl Latm {
    pub(super) fn read(&mut self, frame: &[u8], head: &mut Head) {
        let has_settings = frame.get(LATM_HEADER).is_some_and(|byte| byte & 0x80 == 0);
        if has_settings && let Ok(read) = self.reader.parse(frame) {
            let settings = read.stream;
            let channels = if settings.ps { 2 } else { u16::try_from(settings.channels()).unwrap_or(0) };
            let core = settings.sample_rate.max(1);
            let ratio = (settings.ext_sample_rate / core).clamp(1, 2);
            let samples = u32::try_from(settings.frame_length).unwrap_or(0) * ratio;
            self.known = Some((core * ratio, channels, samples));
        }
        if let Some((rate, channels, samples)) = self.known {
            (head.format.rate, head.format.channels, head.samples) = (rate, channels, samples);
        }
    }
}

fn dts(bytes: &[u8]) -> Option<Head> {
    let frame = dts::Frame::parse(bytes)?;
    let format = Format::new(Kind::Dts, "dts", frame.rate, frame.channels);
    Some(Head { format, samples: frame.samples, size: frame.size })
}

/// What makes the core lossless, or gives it more channels.
fn dts_extension(bytes: &[u8]) -> Look {
    /// Three times what a Blu-ray has room for.
    const LARGEST: usize = 128 * 1024;
    match dts::extension(bytes) {
        Some(size) if (dts::HEADER..=LARGEST).contains(&size) => Look::Skip(size),
        _ => Look::Nothing,
    }
}

/// Whether the bytes are extensions of DTS one behind the other, without a frame of the core between them: that is DTS
/// Express, or another kind that has no core.
pub(super) fn is_dts_without_core(bytes: &[u8]) -> bool {
    const IN_A_ROW: usize = 3;
    let mut at = bytes.windows(4).position(|four| four == dts::EXTENSION).unwrap_or(bytes.len());
    for n in 0.. {
        match look(Kind::Dts, bytes.get(at..).unwrap_or_default(), true) {
            Look::Skip(size) => at = at.saturating_add(size),
            // The last one may be cut off.
            Look::More => return n >= IN_A_ROW,
            Look::Frame(_) | Look::Nothing => return false,
        }
    }
    false
}
