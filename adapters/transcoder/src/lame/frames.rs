//! Encoded frames, and how those of two encoders become one stream.
//!
//! A frame of layer III is a header, side information, and room for main data (ISO/IEC 11172-3, 2.4.1). Its own main
//! data may begin in the room of earlier frames, `main_data_begin` bytes before its header, counted without headers
//! and side information (2.4.2.7): the bit reservoir. So streams can't be cut between frames just so. Two streams of
//! the same sound can be joined before a frame whose main data reaches back no further in the second stream than in
//! the first: what the first stream keeps free there, the second one's bytes fit into.

use crate::sniff::mpeg;

/// Bytes of a header, in front of the side information.
const HEADER: usize = 4;

/// Frames, one after the other, as an encoder gives them out: of the last one there may only be a part.
#[derive(Clone)]
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
    /// Where each frame begins that was found so far, and where the last one of them ends.
    starts: Vec<usize>,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), starts: vec![0] }
    }

    /// Looks for frames in bytes that have been added. `false` if they are anything else.
    pub(super) fn find(&mut self) -> bool {
        while let Some(start) = self.starts.last()
            && let Some(bytes) = self.bytes.get(*start..)
            && bytes.len() >= HEADER
        {
            let Some(frame) = mpeg::frame(bytes) else { return false };
            if frame.layer != 3 || frame.size < HEADER + frame.side_info() {
                return false;
            }
            self.starts.push(start + frame.size);
        }
        true
    }

    /// How many frames there are, and nothing but them: `None` if the last one is only a part.
    pub(super) fn count(&self) -> Option<usize> {
        (self.starts.last() == Some(&self.bytes.len())).then(|| self.starts.len() - 1)
    }

    /// The bytes of frame `n`; none if it is not there as a whole.
    pub(super) fn get(&self, n: usize) -> &[u8] {
        match self.starts.get(n..).unwrap_or_default() {
            [start, end, ..] => self.bytes.get(*start..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// How many bytes before its header the main data of frame `n` begins: 9 bits, and 8 below 32 kHz. `None` if that
    /// frame is not there yet.
    pub(super) fn main_data_begin(&self, n: usize) -> Option<usize> {
        let bytes = self.bytes.get(*self.starts.get(n)?..)?;
        let (frame, side_info) = (mpeg::frame(bytes)?, bytes.get(HEADER..HEADER + 2)?);
        let (high, low) = (usize::from(side_info[0]), usize::from(side_info[1]));
        Some(if frame.samples == 1152 { high << 1 | low >> 7 } else { high })
    }

    /// Where the last `count` bytes of room before frame `n` lie, from the last to the first. `None` if there are not
    /// so many.
    fn room_before(&self, n: usize, count: usize) -> Option<Vec<usize>> {
        let mut room = Vec::with_capacity(count);
        for frame in self.starts.get(..=n)?.windows(2).rev() {
            let side_info = mpeg::frame(self.bytes.get(frame[0]..)?)?.side_info();
            room.extend((frame[0] + HEADER + side_info..frame[1]).rev().take(count - room.len()));
        }
        (room.len() == count).then_some(room)
    }

    /// Makes it right that frame `n - 1` is followed by those of `next` from frame `m` on. `false`, and nothing is
    /// changed, if that can't be.
    pub(super) fn join(&mut self, n: usize, next: &Self, m: usize) -> bool {
        let (Some(free), Some(wanted)) = (self.main_data_begin(n), next.main_data_begin(m)) else { return false };
        if wanted > free {
            return false;
        }
        let (Some(to), Some(from)) = (self.room_before(n, wanted), next.room_before(m, wanted)) else { return false };
        for (to, from) in to.into_iter().zip(from) {
            self.bytes[to] = next.bytes[from];
        }
        true
    }
}
