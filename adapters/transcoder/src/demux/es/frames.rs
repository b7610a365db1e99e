//! Frames that say what they are and how long: found by their headers, wherever they begin.

use std::collections::VecDeque;

use super::headers::{self, Look};
use super::{Cut, Format, Head, Kind, Mark};
use crate::demux::Packet;

pub(super) struct Frames {
    kind: Kind,
    /// Bytes that have not been dealt with, from `at` on.
    bytes: Vec<u8>,
    at: usize,
    /// Bytes of the stream before `bytes`.
    before: u64,
    /// Where in the stream pieces with a time begin.
    marks: VecDeque<(u64, Mark)>,
    /// What the last frame was.
    format: Option<Format>,
    /// The last frame ended where the next one begins.
    in_step: bool,
    ended: bool,
    /// Frames, of which each begins where the one before ends.
    in_a_row: u32,
    /// What was whole when something was lost.
    ready: VecDeque<Cut>,
    latm: headers::Latm,
}

impl Frames {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
            at: 0,
            before: 0,
            marks: VecDeque::new(),
            format: None,
            in_step: false,
            ended: false,
            in_a_row: 0,
            ready: VecDeque::new(),
            latm: headers::Latm::default(),
        }
    }

    pub(super) fn begin(&mut self, mark: Option<Mark>) {
        let Some(mark) = mark else { return };
        let here = self.before.saturating_add(self.bytes.len() as u64);
        // Of pieces without bytes, the last one counts.
        if self.marks.back().is_some_and(|(at, _)| *at == here) {
            self.marks.pop_back();
        }
        self.marks.push_back((here, mark));
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What was dealt with goes away in large pieces.
        if self.at == self.bytes.len() || self.at >= 32 * 1024 {
            self.bytes.drain(..self.at);
            self.before = self.before.saturating_add(self.at as u64);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// A frame that has begun is lost. Times of pieces that have begun, too: they may have been those of what is lost.
    pub(super) fn lost(&mut self) {
        let ended = std::mem::replace(&mut self.ended, true);
        while let Some(cut) = self.find() {
            self.ready.push_back(cut);
        }
        self.ended = ended;
        self.at = self.bytes.len();
        self.in_step = false;
        self.marks.clear();
    }

    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    pub(super) fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    pub(super) fn next(&mut self) -> Option<Cut> {
        self.ready.pop_front().or_else(|| self.find())
    }

    fn find(&mut self) -> Option<Cut> {
        loop {
            self.at += headers::start(self.kind, &self.bytes[self.at..]);
            let rest = &self.bytes[self.at..];
            let head = match headers::look(self.kind, rest, self.ended) {
                Look::Frame(head) => head,
                Look::More => return None,
                Look::Skip(size) if self.in_step => {
                    if size > rest.len() {
                        return None;
                    }
                    self.at += size;
                    continue;
                }
                Look::Skip(_) | Look::Nothing => {
                    self.skip();
                    continue;
                }
            };
            match self.is_frame(&head) {
                Some(true) => return Some(self.cut(head)),
                Some(false) => self.skip(),
                None => return None,
            }
        }
    }

    fn skip(&mut self) {
        self.at += 1;
        (self.in_step, self.in_a_row) = (false, 0);
    }

    /// Whether what looks like a frame is one: it is like the one before, or another one follows. `None`: that can't be
    /// told yet.
    fn is_frame(&self, head: &Head) -> Option<bool> {
        let rest = &self.bytes[self.at..];
        let Some(behind) = rest.get(head.size..) else {
            // Cut off in the middle, or a size that is none.
            return if self.ended { Some(false) } else { None };
        };
        if self.in_step && self.format.as_ref().is_some_and(|format| format.is_like(&head.format)) {
            return Some(true);
        }
        match headers::look(self.kind, behind, self.ended) {
            Look::Frame(next) => Some(next.format.is_like(&head.format)),
            Look::Skip(_) => Some(true),
            Look::More if self.ended => Some(behind.is_empty()),
            Look::More => None,
            Look::Nothing => Some(false),
        }
    }

    fn cut(&mut self, mut head: Head) -> Cut {
        let here = self.before.saturating_add(self.at as u64);
        let data = self.bytes[self.at..self.at + head.size].to_vec();
        self.at += head.size;
        (self.in_step, self.in_a_row) = (true, self.in_a_row.saturating_add(1));
        self.format = Some(head.format.clone());
        if self.kind == Kind::Latm {
            self.latm.read(&data, &mut head);
        }
        let mut mark = None;
        while let Some((_, due)) = self.marks.pop_front_if(|(at, _)| *at <= here) {
            // A clock that began anew did so even if no frame began in that piece.
            let broken = due.broken || mark.is_some_and(|mark: Mark| mark.broken);
            mark = Some(Mark { broken, ..due });
        }
        Cut { head, packet: Packet { data, ..Packet::default() }, mark }
    }
}

#[cfg(test)]
mod tests {
    use super::{Frames, Kind, Mark};

    #[test]
    fn a_frame_that_is_damaged_is_dropped_and_keeps_no_time() {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        let mark = |time| Some(Mark { time, broken: false });
        let mut frames = Frames::new(Kind::Mpeg);
        let mut times = Vec::new();
        let mut take = |frames: &mut Frames| {
            while let Some(cut) = frames.next() {
                assert_eq!(cut.packet.data, frame);
                times.push(cut.mark.map(|mark| mark.time));
            }
        };
        frames.begin(mark(1));
        frames.push(&frame);
        frames.push(&frame);
        take(&mut frames);
        frames.begin(mark(2));
        frames.push(&frame[..200]);
        take(&mut frames);
        frames.lost();
        frames.push(&frame[250..]);
        frames.push(&frame);
        take(&mut frames);
        frames.begin(mark(3));
        frames.push(&frame);
        frames.finish();
        take(&mut frames);
        assert_eq!(times, [Some(1), None, None, Some(3)]);
    }
}
