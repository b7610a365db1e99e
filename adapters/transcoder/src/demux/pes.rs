//! PES packets: what both kinds of MPEG streams put around pieces of sound and pictures (ISO/IEC 13818-1, 2.4.3.6, and
//! ISO/IEC 11172-1, 2.4.3.3), and their clock.

use std::ops::RangeInclusive;

use super::es::{self, Format, Kind};
use crate::span::Span;

/// No header is longer.
pub(super) const LONGEST_HEADER: usize = 9 + 255;
/// Ticks per second of all times.
pub(super) const HZ: u64 = 90_000;

/// Stream ids of MPEG sound,
pub(super) const AUDIO: RangeInclusive<u8> = 0xc0..=0xdf;
/// of pictures,
pub(super) const VIDEO: RangeInclusive<u8> = 0xe0..=0xef;
/// of sound that MPEG doesn't define (`private_stream_1`),
pub(super) const PRIVATE_1: u8 = 0xbd;
/// and of what has an id in its header's extension.
pub(super) const EXTENDED: u8 = 0xfd;

/// What the header of a packet says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: u8,
    /// Of a stream whose id is [`EXTENDED`].
    pub(super) extension: Option<u8>,
    /// Where its payload begins.
    pub(super) size: usize,
    /// Bytes of the whole packet; `None` when it ends where the next one begins.
    pub(super) length: Option<usize>,
    /// When the first frame that begins in it is due, in ticks of 33 bits.
    pub(super) time: Option<u64>,
    pub(super) scrambled: bool,
}

/// What some bytes are the beginning of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Header(Header),
    /// A header that goes on.
    More,
    Nothing,
}

/// Reads the header that the bytes begin with.
pub(super) fn header(bytes: &[u8]) -> Found {
    let prefix = bytes.len().min(3);
    if bytes[..prefix] != [0, 0, 1][..prefix] {
        return Found::Nothing;
    }
    let Some(&[_, _, _, stream, l0, l1]) = bytes.first_chunk() else { return Found::More };
    if stream < 0xbc {
        return Found::Nothing;
    }
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let length = if length == 0 { None } else { Some(6 + length) };
    let bare = Header { stream, size: 6, length, ..Header::default() };
    // Maps, padding and private data have no header beyond the length.
    if matches!(stream, 0xbc | 0xbe | 0xbf | 0xf0..=0xf2 | 0xf8 | 0xff) {
        return Found::Header(bare);
    }
    let rest = &bytes[6..];
    let read = match rest.first() {
        Some(first) if first & 0xc0 == 0x80 => mpeg2(rest, bare),
        Some(_) => mpeg1(rest, bare),
        None => Err(Found::More),
    };
    match read {
        Ok(header) if header.length.is_some_and(|length| length < header.size) => Found::Nothing,
        Ok(header) => Found::Header(header),
        Err(found) => found,
    }
}

/// Fields behind the length (ISO/IEC 13818-1, 2.4.3.6).
fn mpeg2(rest: &[u8], bare: Header) -> Result<Header, Found> {
    let &[flags, more, size] = rest.first_chunk().ok_or(Found::More)?;
    let fields = rest.get(3..3 + usize::from(size)).ok_or(Found::More)?;
    let time = if more & 0x80 == 0 { None } else { timestamp(fields) };
    let extension = if more & 1 == 0 { None } else { extension(more, fields) };
    Ok(Header { size: 9 + usize::from(size), time, extension, scrambled: flags & 0x30 != 0, ..bare })
}

/// The id in the header's extension.
fn extension(flags: u8, fields: &[u8]) -> Option<u8> {
    let sizes = [(0x80, 5), (0x40, 5), (0x20, 6), (0x10, 3), (0x08, 1), (0x04, 1), (0x02, 2)];
    let at: usize = sizes.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size).sum();
    let flags = *fields.get(at)?;
    let mut at = at + 1;
    if flags & 0x80 != 0 {
        at += 16;
    }
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*fields.get(at)?);
    }
    let sizes = [(0x20, 2), (0x10, 2)];
    at += sizes.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, size)| size).sum::<usize>();
    let id = *fields.get(at + 1).filter(|_| flags & 1 != 0)?;
    (id & 0x80 == 0).then_some(id)
}

/// Fields behind the length (ISO/IEC 11172-1, 2.4.3.3).
fn mpeg1(rest: &[u8], bare: Header) -> Result<Header, Found> {
    const MOST_STUFFING: usize = 16;
    let stuffing = rest.iter().take_while(|byte| **byte == 0xff).count();
    if stuffing > MOST_STUFFING {
        return Err(Found::Nothing);
    }
    let mut at = stuffing;
    if rest.get(at).ok_or(Found::More)? & 0xc0 == 0x40 {
        at += 2; // the size of a buffer
    }
    let first = *rest.get(at).ok_or(Found::More)?;
    let size = match first >> 4 {
        2 => 5,
        3 => 10,
        _ if first == 0x0f => 1,
        _ => return Err(Found::Nothing),
    };
    let fields = rest.get(at..at + size).ok_or(Found::More)?;
    let time = if size == 1 { None } else { timestamp(fields) };
    Ok(Header { size: 6 + at + size, time, ..bare })
}

/// A time of 33 bits, with marker bits between.
fn timestamp(bytes: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e] = bytes.first_chunk()?;
    if a & c & e & 1 == 0 {
        return None;
    }
    let [a, b, c, d, e] = [a, b, c, d, e].map(u64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

/// The time nearest to another one: those of 33 bits come round every 26 hours.
pub(super) fn nearest(time: u64, to: i64) -> i64 {
    const ROUND: i64 = 1 << 33;
    let time = i64::try_from(time).unwrap_or(0) % ROUND;
    let off = (time.wrapping_sub(to)).rem_euclid(ROUND);
    to.saturating_add(if off >= ROUND / 2 { off - ROUND } else { off })
}

/// The clock of one stream, made one that goes on where the file's comes round, or begins anew because recordings were
/// joined.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// What is added to the file's times.
    shift: i64,
    /// About when the file begins.
    origin: i64,
    /// The last time, and the time since: whole ticks, and samples at a rate.
    last: Option<i64>,
    ticks: i64,
    samples: u64,
    rate: u32,
}

/// Times may be too early by so many ticks without being another recording's.
const EARLIEST: i64 = -(HZ as i64) / 5;
/// Nobody is silent for longer.
const LATEST: i64 = 60 * HZ as i64;

impl Clock {
    pub(super) fn new(origin: i64) -> Self {
        Self { origin, ..Self::default() }
    }

    /// A frame of this length was given.
    pub(super) fn advance(&mut self, samples: u32, rate: u32) {
        if rate != self.rate {
            self.ticks = self.ticks.saturating_add(self.since());
            (self.samples, self.rate) = (0, rate);
        }
        self.samples = self.samples.saturating_add(samples.into());
    }

    fn since(&self) -> i64 {
        if self.rate == 0 {
            return 0;
        }
        i64::try_from(u128::from(self.samples) * u128::from(HZ) / u128::from(self.rate)).unwrap_or(0)
    }

    /// The time of the next frame. `broken`: the file says that its clock begins anew here.
    pub(super) fn time(&mut self, stated: u64, broken: bool) -> i64 {
        let Some(last) = self.last else {
            let first = nearest(stated, self.origin);
            self.last = Some(first);
            return first;
        };
        let due = last.saturating_add(self.ticks).saturating_add(self.since());
        let mut time = nearest(stated, due.saturating_sub(self.shift)).saturating_add(self.shift);
        let off = time.saturating_sub(due);
        if !(EARLIEST..=LATEST).contains(&off) || (broken && off > -EARLIEST) {
            self.shift = self.shift.saturating_sub(off);
            time = due;
        }
        (self.last, self.ticks, self.samples) = (Some(time), 0, 0);
        time
    }
}

/// What the start of the file shows of a stream.
#[derive(Debug, Default)]
pub(super) struct Glimpse {
    /// Its first time.
    pub(super) time: Option<u64>,
    /// The first bytes of its frames.
    pub(super) bytes: Vec<u8>,
    /// How many of them are in the first packet.
    pub(super) first: Option<usize>,
    /// Packets that could be read, and that could not.
    pub(super) clear: u32,
    pub(super) scrambled: u32,
}

impl Glimpse {
    /// So many bytes have a frame of every codec in them.
    const ENOUGH: usize = 64 * 1024;

    pub(super) fn begin(&mut self, time: Option<u64>) {
        self.time = self.time.or(time);
        if !self.bytes.is_empty() {
            self.first.get_or_insert(self.bytes.len());
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = Self::ENOUGH.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= Self::ENOUGH
    }

    /// What is in it: what it is said to be, or else whatever frames there are.
    pub(super) fn format(&self, stated: Option<Kind>, ended: bool) -> Option<Format> {
        let first = self.first.or(ended.then_some(self.bytes.len()));
        let one = |kind| es::format(kind, &self.bytes, first, ended);
        if let Some(format) = stated.and_then(one) {
            return Some(format);
        }
        let is_settled = ended || self.is_full();
        if !is_settled || stated.is_some_and(|kind| !kind.has_frames()) {
            return None;
        }
        es::recognise(&self.bytes, ended)
    }
}

/// When the first sound or picture of some streams is due.
pub(super) fn earliest<'g>(streams: impl Iterator<Item = (&'g Glimpse, Option<&'g Format>)>) -> Option<i64> {
    let times = streams.filter_map(|(glimpse, format)| {
        let skipped = format.map_or(Span::ZERO, |format| Span::new(format.skipped, format.rate.into()));
        Some((glimpse.time?, i64::try_from(skipped.frames(HZ as u32)).unwrap_or(0)))
    });
    let mut origin = None;
    let times = times.map(|(time, skipped)| {
        let time = nearest(time, *origin.get_or_insert(i64::try_from(time).unwrap_or(0)));
        time.saturating_add(skipped)
    });
    times.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_syntaxes_tell_the_time() {
        // 0x1_2345_6789 in the 33 bits.
        let time = [0x21 | 0x08, 0x8d, 0x15, 0xcf, 0x13];
        let mpeg2 = [&[0, 0, 1, 0xc0, 0, 20, 0x80, 0x80, 5][..], &time, &[7; 12]].concat();
        let wanted = Header { stream: 0xc0, size: 14, length: Some(26), time: timestamp(&time), ..Header::default() };
        assert_eq!(header(&mpeg2), Found::Header(wanted));
        assert_eq!(wanted.time, Some(0x1_2345_6789));
        let mpeg1 = [&[0, 0, 1, 0xc0, 0, 20, 0xff, 0xff, 0x40, 0x20][..], &time, &[7; 12]].concat();
        assert_eq!(header(&mpeg1), Found::Header(Header { size: 15, ..wanted }));
        for cut in 0..14 {
            assert_eq!(header(&mpeg2[..cut]), Found::More);
        }
    }

    #[test]
    fn an_extension_names_the_stream() {
        let bytes = [0, 0, 1, 0xfd, 0, 0, 0x80, 0x81, 8, 0x21, 0, 1, 0, 1, 0x01, 0x81, 0x76, 9];
        let Found::Header(header) = header(&bytes) else { panic!("none") };
        assert_eq!((header.extension, header.size, header.time), (Some(0x76), 17, Some(0)));
    }

    #[test]
    fn the_clock_goes_on_where_it_comes_round() {
        let start = (1 << 33) - 900;
        let mut clock = Clock::new(start as i64);
        assert_eq!(clock.time(start, false), start as i64);
        clock.advance(960, 48_000);
        assert_eq!(clock.time(900, false), start as i64 + 1800);
        // A gap of a second is one, and the start of another recording is none.
        clock.advance(960, 48_000);
        assert_eq!(clock.time(900 + 1800 + 90_000, false), start as i64 + 3600 + 90_000);
        for (stated, broken) in [(0, false), (90_000 * 4000, false), (90_000 * 4010, true)] {
            let before = clock.time(stated, broken);
            clock.advance(480, 48_000);
            assert_eq!(clock.time(stated + 900, false), before + 900);
        }
    }
}
