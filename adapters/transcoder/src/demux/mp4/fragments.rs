//! Movie fragments (ISO/IEC 14496-12, 8.8): samples listed bit by bit along the file.

use std::collections::VecDeque;

use microserve_core::transcode::TranscodeError;

use super::boxes::{BoxHead, box_at, children, find, u32_at, u64_at};
use super::samples::PCM_FRAMES;
use super::{Found, MOST_BOXES};
use crate::demux::{LARGEST_PACKET, Packet, corrupt};
use crate::input::Input;
use crate::span::Moment;

/// The lists of samples in a fragment are not longer together, in bytes.
const LARGEST_LISTS: u64 = 4 * 1024 * 1024;
/// Fragments among which every track's first one is looked for: some writers give each track fragments of its own.
const FIRST_FRAGMENTS: u32 = 8;

/// Walks along the file from fragment to fragment.
#[derive(Default)]
pub(super) struct Fragments {
    /// Where the next box of the file begins; `None`: the file has no fragments.
    at: Option<u64>,
    defaults: Vec<Defaults>,
    track: u32,
    /// Ticks per second of the track.
    scale: u32,
    /// Bytes of a moment of PCM, which is read many samples at a time.
    pcm_frame: Option<u64>,
    /// When the next run begins if its fragment does not say.
    time: u64,
    runs: VecDeque<Run>,
}

/// What a track's samples are when a fragment does not say (`trex`, 8.8.3).
#[derive(Clone, Copy, Default)]
struct Defaults {
    track: u32,
    description: u32,
    duration: u32,
    size: u32,
}

/// Samples that lie one behind the other.
struct Run {
    description: u32,
    offset: u64,
    left: u32,
    /// When the next sample is due, in ticks.
    time: u64,
    /// The duration and the size of every sample, if they have none of their own.
    duration: u32,
    size: u32,
    /// The list, the bytes of one entry, and where in it the duration and the size are.
    list: Vec<u8>,
    stride: usize,
    duration_at: Option<usize>,
    size_at: Option<usize>,
    entry: usize,
}

/// Where samples lie, and when the first of them is due.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    at: u64,
    size: u64,
    time: u64,
}

/// What a `tfhd` box says.
struct Header {
    track: u32,
    base: Option<u64>,
    description: Option<u32>,
    duration: Option<u32>,
    size: Option<u32>,
}

impl Fragments {
    pub(super) fn new(input: &mut Input<'_>, moov: &BoxHead) -> Result<Self, TranscodeError> {
        let mut defaults = Vec::new();
        let mvex = find(input, moov, b"mvex")?;
        if let Some(mvex) = mvex {
            for trex in children(input, &mvex)?.iter().filter(|b| &b.kind == b"trex") {
                let bytes = input.vec_at(trex.body, 24.min(trex.len()))?;
                if let [Some(track), Some(description), Some(duration), Some(size)] =
                    [4, 8, 12, 16].map(|at| u32_at(&bytes, at))
                {
                    defaults.push(Defaults { track, description, duration, size });
                }
            }
        }
        Ok(Self { at: mvex.map(|_| 0), defaults, ..Self::default() })
    }

    /// Says whose samples are wanted, and what they are.
    pub(super) fn select(&mut self, track: u32, scale: u32, pcm_frame: Option<u64>) {
        (self.track, self.scale, self.pcm_frame) = (track, scale, pcm_frame);
    }

    /// When each track's first fragment begins, in its ticks, as far as the first fragments tell.
    pub(super) fn beginnings(&self, input: &mut Input<'_>) -> Result<Vec<(u32, u64)>, TranscodeError> {
        let (Some(mut at), mut found, mut seen) = (self.at, Vec::new(), 0) else { return Ok(Vec::new()) };
        for _ in 0..MOST_BOXES {
            let Some(head) = box_at(input, at, input.len())?.filter(|_| seen < FIRST_FRAGMENTS) else { break };
            at = head.end;
            if &head.kind != b"moof" {
                continue;
            }
            seen += 1;
            for traf in children(input, &head)?.iter().filter(|b| &b.kind == b"traf") {
                let boxes = children(input, traf)?;
                let track = match boxes.iter().find(|b| &b.kind == b"tfhd") {
                    Some(tfhd) => u32_at(&input.vec_at(tfhd.body, 8.min(tfhd.len()))?, 4).unwrap_or(0),
                    None => continue,
                };
                if let Some(time) = decode_time(input, &boxes)?.filter(|_| found.iter().all(|(id, _)| *id != track)) {
                    found.push((track, time));
                }
            }
        }
        Ok(found)
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
            let Some(Taken { at, size, time }) = run.next(self.pcm_frame) else {
                self.time = run.time;
                self.runs.pop_front();
                continue;
            };
            if size > LARGEST_PACKET {
                return Err(corrupt("a sample is larger than any sample can be"));
            }
            packet.data = input.vec_at(at, size)?;
            packet.time = Some(Moment::new(i64::try_from(time).unwrap_or(i64::MAX), self.scale.into()));
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
            let default = self.defaults.iter().find(|default| default.track == self.track);
            let default = default.copied().unwrap_or(Defaults { description: 1, ..Defaults::default() });
            let description = header.description.unwrap_or(default.description);
            let (size, duration) = (header.size.unwrap_or(default.size), header.duration.unwrap_or(default.duration));
            let mut time = decode_time(input, &boxes)?.unwrap_or(self.time);
            let base = header.base.unwrap_or(moof.start);
            let mut offset = base;
            for trun in boxes.iter().filter(|b| &b.kind == b"trun") {
                let list = input.vec_at(trun.body, room.min(trun.len()))?;
                room -= list.len() as u64;
                if let Some(run) = Run::parse(list, base, offset, size) {
                    let run = Run { description, duration, time, ..run };
                    (offset, time) = run.end();
                    self.runs.push_back(run);
                }
            }
            self.time = time;
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
        let (duration, size) = (skip(0x8, 4), skip(0x10, 4));
        let base = base.and_then(|at| u64_at(bytes, at));
        let [description, duration, size] = [description, duration, size].map(|at| u32_at(bytes, at?));
        Some(Self { track, base, description, duration, size })
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
        let duration_at = fields[0].then_some(0);
        let size_at = fields[1].then_some(4 * usize::from(fields[0]));
        // Samples without sizes would go on for ever without a byte.
        let left = if size_at.is_none() && size == 0 { 0 } else { count };
        let left = match stride {
            0 => left,
            stride => left.min(u32::try_from(list.len().saturating_sub(at) / stride).unwrap_or(u32::MAX)),
        };
        let (description, time, duration) = (1, 0, 0);
        Some(Self { description, offset, left, time, duration, size, list, stride, duration_at, size_at, entry: at })
    }

    fn duration_of(&self, entry: usize) -> u64 {
        let own = self.duration_at.and_then(|duration_at| u32_at(&self.list, entry + duration_at));
        own.unwrap_or(self.duration).into()
    }

    fn size_of(&self, entry: usize) -> u64 {
        let own = self.size_at.and_then(|size_at| u32_at(&self.list, entry + size_at));
        own.unwrap_or(self.size).into()
    }

    /// Where and when the samples end.
    fn end(&self) -> (u64, u64) {
        if self.stride == 0 {
            let all = |each: u32| u64::from(self.left) * u64::from(each);
            return (self.offset.saturating_add(all(self.size)), self.time.saturating_add(all(self.duration)));
        }
        let entries = (0..self.left as usize).map(|n| self.entry + n * self.stride);
        entries.fold((self.offset, self.time), |(offset, time), entry| {
            (offset.saturating_add(self.size_of(entry)), time.saturating_add(self.duration_of(entry)))
        })
    }

    fn one(&mut self) -> Option<Taken> {
        self.left = self.left.checked_sub(1)?;
        let taken = Taken { at: self.offset, size: self.size_of(self.entry), time: self.time };
        self.time = self.time.saturating_add(self.duration_of(self.entry));
        self.entry += self.stride;
        self.offset = self.offset.saturating_add(taken.size);
        Some(taken)
    }

    /// The next sample that has bytes; of samples of so many bytes each, as many as make a packet.
    fn next(&mut self, pcm_frame: Option<u64>) -> Option<Taken> {
        loop {
            let taken = self.one()?;
            if taken.size == 0 {
                continue;
            }
            if pcm_frame != Some(taken.size) {
                return Some(taken);
            }
            let mut size = taken.size;
            while size < PCM_FRAMES * taken.size && self.left > 0 && self.size_of(self.entry) == taken.size {
                size += self.one()?.size;
            }
            return Some(Taken { size, ..taken });
        }
    }
}

/// When a fragment of a track begins, in its ticks (`tfdt`, 8.8.12).
fn decode_time(input: &mut Input<'_>, boxes: &[BoxHead]) -> Result<Option<u64>, TranscodeError> {
    let Some(tfdt) = boxes.iter().find(|b| &b.kind == b"tfdt") else { return Ok(None) };
    let bytes = input.vec_at(tfdt.body, 12.min(tfdt.len()))?;
    Ok(if bytes.first() == Some(&1) { u64_at(&bytes, 4) } else { u32_at(&bytes, 4).map(u64::from) })
}

#[cfg(test)]
mod tests {
    use super::{Run, Taken};

    #[test]
    fn a_run_without_sizes_is_empty() {
        let list = [0u32, u32::MAX].iter().flat_map(|n| n.to_be_bytes()).collect();
        assert!(Run::parse(list, 0, 0, 0).unwrap().next(None).is_none());
    }

    #[test]
    fn sizes_add_up_to_offsets() {
        let list = [0x201u32, 2, 100, 7, 8].iter().flat_map(|n| n.to_be_bytes()).collect();
        let mut run = Run { time: 50, duration: 10, ..Run::parse(list, 1000, 0, 0).unwrap() };
        assert_eq!(run.end(), (1115, 70));
        assert_eq!(run.next(None), Some(Taken { at: 1100, size: 7, time: 50 }));
        assert_eq!(run.next(None), Some(Taken { at: 1107, size: 8, time: 60 }));
        assert_eq!(run.next(None), None);
    }

    #[test]
    fn samples_of_pcm_are_taken_together() {
        let list = [0x101u32, 10_000, 100].iter().flat_map(|n| n.to_be_bytes());
        let list = list.chain((0..10_000).flat_map(|_| 1u32.to_be_bytes())).collect();
        let mut run = Run::parse(list, 0, 0, 4).unwrap();
        assert_eq!(run.next(Some(4)), Some(Taken { at: 100, size: 16_384, time: 0 }));
        assert_eq!(run.next(Some(4)), Some(Taken { at: 16_484, size: 16_384, time: 4096 }));
        assert_eq!(run.next(Some(4)), Some(Taken { at: 32_868, size: 7_232, time: 8192 }));
        assert_eq!(run.next(Some(4)), None);
    }
}
