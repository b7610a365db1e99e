//! Movie fragments (ISO/IEC 14496-12, 8.8): samples listed bit by bit along the file.

use std::collections::VecDeque;

use microserve_core::transcode::TranscodeError;

use super::boxes::{BoxHead, box_at, children, find, u32_at, u64_at};
use super::{Found, MOST_BOXES};
use crate::demux::{LARGEST_PACKET, Packet, corrupt};
use crate::input::Input;

/// The lists of samples in a fragment are not longer together, in bytes.
const LARGEST_LISTS: u64 = 4 * 1024 * 1024;

/// Walks along the file from fragment to fragment.
#[derive(Default)]
pub(super) struct Fragments {
    /// Where the next box of the file begins; `None`: the file has no fragments.
    at: Option<u64>,
    /// The description and the size of a sample, by track, when a fragment names none.
    defaults: Vec<(u32, u32, u32)>,
    track: u32,
    runs: VecDeque<Run>,
}

/// Samples that lie one behind the other.
struct Run {
    description: u32,
    offset: u64,
    left: u32,
    /// The size of every sample, if they have no sizes of their own.
    size: u32,
    /// The list, the bytes of one entry, and where in it the size is.
    list: Vec<u8>,
    stride: usize,
    size_at: Option<usize>,
    entry: usize,
}

/// What a `tfhd` box says.
struct Header {
    track: u32,
    base: Option<u64>,
    description: Option<u32>,
    size: Option<u32>,
}

impl Fragments {
    pub(super) fn new(input: &mut Input<'_>, moov: &BoxHead) -> Result<Self, TranscodeError> {
        let mut defaults = Vec::new();
        let mvex = find(input, moov, b"mvex")?;
        if let Some(mvex) = mvex {
            for trex in children(input, &mvex)?.iter().filter(|b| &b.kind == b"trex") {
                let bytes = input.vec_at(trex.body, 24.min(trex.len()))?;
                if let (Some(track), Some(description), Some(size)) =
                    (u32_at(&bytes, 4), u32_at(&bytes, 8), u32_at(&bytes, 16))
                {
                    defaults.push((track, description, size));
                }
            }
        }
        Ok(Self { at: mvex.map(|_| 0), defaults, ..Self::default() })
    }

    pub(super) fn select(&mut self, track: u32) {
        self.track = track;
    }

    /// Reads the next packet, unless its description is another than the one that is being decoded.
    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        decoded: Option<u32>,
        packet: &mut Packet,
    ) -> Result<Found, TranscodeError> {
        loop {
            let Some(run) = self.runs.front_mut() else {
                if self.next_fragment(input)? {
                    continue;
                }
                return Ok(Found::End);
            };
            if decoded.is_some_and(|decoded| decoded != run.description) {
                return Ok(Found::Description(run.description));
            }
            let Some((at, size)) = run.next() else {
                self.runs.pop_front();
                continue;
            };
            if size > LARGEST_PACKET {
                return Err(corrupt("a sample is larger than any sample can be"));
            }
            packet.data = input.vec_at(at, size)?;
            if packet.data.len() as u64 == size {
                return Ok(Found::Packet);
            }
            self.runs.pop_front(); // its bytes are behind the end of the file
        }
    }

    /// Goes to the next fragment; says whether there is one.
    fn next_fragment(&mut self, input: &mut Input<'_>) -> Result<bool, TranscodeError> {
        for _ in 0..MOST_BOXES {
            let Some(at) = self.at else { break };
            let Some(head) = box_at(input, at, input.len())? else {
                self.at = None;
                break;
            };
            self.at = Some(head.end);
            if &head.kind == b"moof" {
                self.read_fragment(input, &head)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_fragment(&mut self, input: &mut Input<'_>, moof: &BoxHead) -> Result<(), TranscodeError> {
        let mut room = LARGEST_LISTS;
        for traf in children(input, moof)?.iter().filter(|b| &b.kind == b"traf") {
            let boxes = children(input, traf)?;
            let Some(tfhd) = boxes.iter().find(|b| &b.kind == b"tfhd") else { continue };
            let bytes = input.vec_at(tfhd.body, 64.min(tfhd.len()))?;
            let Some(header) = Header::parse(&bytes).filter(|header| header.track == self.track) else { continue };
            let default = self.defaults.iter().find(|(track, ..)| *track == self.track);
            let size = header.size.or(default.map(|(.., size)| *size)).unwrap_or(0);
            let description = header.description.or(default.map(|(_, description, _)| *description)).unwrap_or(1);
            let base = header.base.unwrap_or(moof.start);
            let mut offset = base;
            for trun in boxes.iter().filter(|b| &b.kind == b"trun") {
                let list = input.vec_at(trun.body, room.min(trun.len()))?;
                room -= list.len() as u64;
                if let Some(run) = Run::parse(list, base, offset, size) {
                    let run = Run { description, ..run };
                    offset = run.end();
                    self.runs.push_back(run);
                }
            }
        }
        Ok(())
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (flags, track) = (u32_at(bytes, 0)?, u32_at(bytes, 4)?);
        let mut at = 8;
        let mut skip = |flag: u32, len: usize| {
            let here = at;
            (flags & flag != 0).then(|| {
                at += len;
                here
            })
        };
        let base = skip(0x1, 8);
        let description = skip(0x2, 4);
        let _duration = skip(0x8, 4);
        let size = skip(0x10, 4);
        let number = |at: Option<usize>| u32_at(bytes, at?);
        let (base, description, size) = (base.and_then(|at| u64_at(bytes, at)), number(description), number(size));
        Some(Self { track, base, description, size })
    }
}

impl Run {
    /// Reads a `trun` box. `base` is what its offset counts from, `follows` where it begins when it has none.
    fn parse(list: Vec<u8>, base: u64, follows: u64, size: u32) -> Option<Self> {
        let (flags, count) = (u32_at(&list, 0)?, u32_at(&list, 4)?);
        let mut at = 8;
        let mut offset = follows;
        if flags & 0x1 != 0 {
            // The offset is signed.
            offset = base.checked_add_signed(i64::from(u32_at(&list, at)? as i32))?;
            at += 4;
        }
        if flags & 0x4 != 0 {
            at += 4;
        }
        let fields = [0x100, 0x200, 0x400, 0x800].map(|field| flags & field != 0);
        let stride = 4 * fields.iter().filter(|present| **present).count();
        let size_at = fields[1].then_some(4 * usize::from(fields[0]));
        // Samples without sizes would go on for ever without a byte.
        let left = if size_at.is_none() && size == 0 { 0 } else { count };
        let left = match stride {
            0 => left,
            stride => left.min(u32::try_from(list.len().saturating_sub(at) / stride).unwrap_or(u32::MAX)),
        };
        Some(Self { description: 1, offset, left, size, list, stride, size_at, entry: at })
    }

    fn size_of(&self, entry: usize) -> u64 {
        let own = self.size_at.and_then(|size_at| u32_at(&self.list, entry + size_at));
        own.unwrap_or(self.size).into()
    }

    /// Where the samples end.
    fn end(&self) -> u64 {
        if self.size_at.is_none() {
            return self.offset.saturating_add(u64::from(self.left) * u64::from(self.size));
        }
        let sizes = (0..self.left as usize).map(|n| self.size_of(self.entry + n * self.stride));
        sizes.fold(self.offset, u64::saturating_add)
    }

    fn next(&mut self) -> Option<(u64, u64)> {
        loop {
            self.left = self.left.checked_sub(1)?;
            let (at, size) = (self.offset, self.size_of(self.entry));
            self.entry += self.stride;
            self.offset = at.saturating_add(size);
            if size > 0 {
                return Some((at, size));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Run;

    #[test]
    fn a_run_without_sizes_is_empty() {
        let list = [0u32, u32::MAX].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert!(Run::parse(list, 0, 0, 0).unwrap().next().is_none());
    }

    #[test]
    fn sizes_add_up_to_offsets() {
        let list = [0x201u32, 2, 100, 7, 8].iter().flat_map(|n| n.to_be_bytes()).collect();
        let mut run = Run::parse(list, 1000, 0, 0).unwrap();
        assert_eq!(run.end(), 1115);
        assert_eq!((run.next(), run.next(), run.next()), (Some((1100, 7)), Some((1107, 8)), None));
    }
}
