//! Packs and packets, one behind the other; where there is something else, the next one is looked for.

use microserve_core::transcode::TranscodeError;

use super::sectors::Stream;
use crate::demux::pes::{self, Found, HZ, Header};
use crate::input::Input;

/// What tells streams apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) stream: u8,
    /// Of `private_stream_1` as DVDs have it.
    pub(super) substream: Option<u8>,
}

/// A packet.
pub(super) struct Packet {
    pub(super) id: Id,
    pub(super) header: Header,
    /// Where its payload begins, and where it ends.
    start: u64,
    end: u64,
}

/// What comes next.
pub(super) enum Step {
    Packet(Packet),
    /// Something without sound or pictures.
    Other,
    /// The clock jumps: streams were joined here.
    Jump,
    /// Something is missing, or was added.
    Lost,
    /// A stretch without any packet.
    Searched,
    End,
}

pub(super) struct Packets<'a> {
    stream: Stream<'a>,
    at: u64,
    /// The clock of the last pack, in ticks of [`HZ`].
    clock: Option<u64>,
    /// The last packet ended where the next one begins.
    in_step: bool,
}

const PACK: u8 = 0xba;
const END: u8 = 0xb9;
const SYSTEM: u8 = 0xbb;
/// How far is looked at a time.
const SEARCH: u64 = 64 * 1024;
/// Packs follow each other in less than 0.7 s (ISO/IEC 13818-1, 2.7.1).
const FARTHEST: u64 = HZ;

impl<'a> Packets<'a> {
    pub(super) fn new(input: Input<'a>) -> Result<Self, TranscodeError> {
        Ok(Self { stream: Stream::new(input)?, at: 0, clock: None, in_step: false })
    }

    pub(super) fn seek(&mut self, to: u64) {
        (self.at, self.clock, self.in_step) = (to, None, false);
    }

    pub(super) fn position(&self) -> u64 {
        self.at
    }

    pub(super) fn len(&self) -> u64 {
        self.stream.len()
    }

    pub(super) fn payload(&mut self, packet: &Packet) -> Result<Vec<u8>, TranscodeError> {
        self.stream.vec_at(packet.start, packet.end.saturating_sub(packet.start))
    }

    pub(super) fn next(&mut self) -> Result<Step, TranscodeError> {
        if self.at >= self.len() {
            return Ok(Step::End);
        }
        let at = self.at;
        let step = match self.stream.array_at(at)? {
            Some([0, 0, 1, PACK]) => self.pack()?,
            Some([0, 0, 1, SYSTEM]) => {
                let length = self.stream.array_at(at + 4)?.map_or(0, u16::from_be_bytes);
                self.at = at + 6 + u64::from(length);
                Some(Step::Other)
            }
            Some([0, 0, 1, END]) => {
                self.at = at + 4;
                Some(Step::Other)
            }
            Some([0, 0, 1, _]) => self.packet()?,
            _ => None,
        };
        match step {
            Some(step) => {
                self.in_step = true;
                Ok(step)
            }
            None => self.search(),
        }
    }

    /// The header of a pack, whose clock may jump.
    fn pack(&mut self) -> Result<Option<Step>, TranscodeError> {
        let Some(bytes) = self.stream.array_at::<14>(self.at)? else { return Ok(None) };
        let b = |n: usize| u64::from(bytes[4 + n]);
        let (clock, size) = match bytes[4] >> 4 {
            4..=7 => {
                let clock = (b(0) >> 3 & 7) << 30
                    | (b(0) & 3) << 28
                    | b(1) << 20
                    | (b(2) >> 3) << 15
                    | (b(2) & 3) << 13
                    | b(3) << 5
                    | b(4) >> 3;
                (clock, 14 + u64::from(bytes[13] & 7))
            }
            2 => ((b(0) >> 1 & 7) << 30 | b(1) << 22 | (b(2) >> 1) << 15 | b(3) << 7 | b(4) >> 1, 12),
            _ => return Ok(None),
        };
        self.at += size;
        let before = self.clock.replace(clock);
        let jumps = before.is_some_and(|before| {
            let off = pes::nearest(clock, i64::try_from(before).unwrap_or(0)) - i64::try_from(before).unwrap_or(0);
            off.unsigned_abs() > FARTHEST
        });
        Ok(Some(if jumps { Step::Jump } else { Step::Other }))
    }

    fn packet(&mut self) -> Result<Option<Step>, TranscodeError> {
        let mut bytes = [0; pes::LONGEST_HEADER + 1];
        let n = self.stream.read_at(self.at, &mut bytes)?;
        let bytes = &bytes[..n];
        let Found::Header(header) = pes::header(bytes) else { return Ok(None) };
        // Only pictures may be as long as it takes, and that only in transport streams.
        let Some(length) = header.length else { return Ok(None) };
        let end = self.at.saturating_add(length as u64);
        let (stream, payload) = (header.stream, bytes.get(header.size..).unwrap_or_default());
        let (substream, skipped) = match stream {
            pes::PRIVATE_1 => substream(payload),
            pes::EXTENDED => (header.extension, 0),
            _ => (None, 0),
        };
        let start = self.at.saturating_add((header.size + skipped) as u64);
        self.at = end;
        Ok(Some(Step::Packet(Packet { id: Id { stream, substream }, header, start: start.min(end), end })))
    }

    /// Looks for a start code that a pack or a packet begins with.
    fn search(&mut self) -> Result<Step, TranscodeError> {
        let bytes = self.stream.vec_at(self.at, SEARCH)?;
        let is_start = |four: &[u8]| matches!(four, [0, 0, 1, PACK | SYSTEM | 0xbd | 0xc0..=0xef]);
        let found = bytes.windows(4).skip(1).position(is_start).map(|place| place + 1);
        let passed = found.unwrap_or(bytes.len().saturating_sub(3).max(1));
        self.at = self.at.saturating_add(passed as u64);
        // Zeros fill up sectors.
        let is_filling = bytes.iter().take(passed).all(|byte| *byte == 0);
        let was_in_step = self.in_step;
        self.in_step &= is_filling;
        match found {
            _ if was_in_step && !is_filling => Ok(Step::Lost),
            Some(_) => Ok(Step::Other),
            None => Ok(Step::Searched),
        }
    }
}

/// The substream's number, and the bytes in front of its frames (DVD Specifications for Read-Only Disc, part 3, 5.2):
/// how many frames begin in the packet, and where the first one does.
fn substream(payload: &[u8]) -> (Option<u8>, usize) {
    match payload {
        // AC-3 as it is, without a number.
        [0x0b, 0x77, ..] => (None, 0),
        [number @ (0x80..=0x8f | 0xa0..=0xaf | 0xc0..=0xcf), ..] => (Some(*number), 4),
        [number, ..] => (Some(*number), 1),
        [] => (None, 0),
    }
}
