//! What the headers of frames say.

use rusty_aac::latm::LatmReader;

use super::{Format, Head, Kind};
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
        Kind::Dts => DTS_HEADER,
        _ => LATM_HEADER,
    };
    if bytes.len() < needed {
        return Look::More;
    }
    match kind {
        Kind::Ac3 => unit_of_ac3(bytes, ended),
        Kind::Dts if bytes.starts_with(&DTS_EXTENSION) => dts_extension(bytes),
        _ => head(kind, bytes).map_or(Look::Nothing, Look::Frame),
    }
}

/// How many bytes there are before one that a frame may begin with.
pub(super) fn start(kind: Kind, bytes: &[u8]) -> usize {
    let first = match kind {
        Kind::Ac3 => 0x0b,
        Kind::Dts => {
            let is_first = |byte: &u8| *byte == DTS_CORE[0] || *byte == DTS_EXTENSION[0];
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

/// Syncwords of the core and of extension substreams (ETSI TS 102 114, 5.2 and 7.3), and the bytes that tell all.
const DTS_CORE: [u8; 4] = [0x7f, 0xfe, 0x80, 0x01];
const DTS_EXTENSION: [u8; 4] = [0x64, 0x58, 0x20, 0x25];
const DTS_HEADER: usize = 12;

fn dts(bytes: &[u8]) -> Option<Head> {
    const RATES: [u32; 16] =
        [0, 8_000, 16_000, 32_000, 0, 0, 11_025, 22_050, 44_100, 0, 0, 12_000, 24_000, 48_000, 0, 0];
    const CHANNELS: [u16; 16] = [1, 2, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 6, 7, 8, 8];
    let fields = u64::from_be_bytes(*bytes.strip_prefix(&DTS_CORE)?.first_chunk()?);
    let field = |at: u32, length: u32| fields << at >> (64 - length);
    let (blocks, size) = (field(7, 7) as u32 + 1, field(14, 14) as usize + 1);
    let (mode, rate) = (usize::try_from(field(28, 6)).ok()?, RATES[usize::try_from(field(34, 4)).ok()?]);
    let lfe = u16::from(matches!(field(53, 2), 1 | 2));
    // Modes from 16 on are the user's own.
    let channels = CHANNELS.get(mode).map_or(0, |channels| channels + lfe);
    if rate == 0 || blocks < 6 || size < 96 {
        return None;
    }
    let format = Format::new(Kind::Dts, "dts", rate, channels);
    Some(Head { format, samples: 32 * blocks, size })
}

/// What makes the core lossless, or gives it more channels.
fn dts_extension(bytes: &[u8]) -> Look {
    /// Three times what a Blu-ray has room for.
    const LARGEST: u64 = 128 * 1024;
    let Some(fields) = bytes.get(4..).and_then(|rest| rest.first_chunk()) else { return Look::More };
    let fields = u64::from_be_bytes(*fields);
    let field = |at: u32, length: u32| fields << at >> (64 - length);
    let size = 1 + if field(10, 1) == 1 { field(23, 20) } else { field(19, 16) };
    match usize::try_from(size) {
        Ok(bytes) if (DTS_HEADER..=LARGEST as usize).contains(&bytes) => Look::Skip(bytes),
        _ => Look::Nothing,
    }
}
