//! Packets out of bytes: containers like AVI cut a track's bytes wherever they like.

use super::adts;
use super::waveformat::Packing;
use super::{LARGEST_PACKET, Packet};
use crate::sniff::{ac3, mpeg};

/// Blocks are given out so many bytes at a time, or one by one if they are larger.
const SHARE: usize = 16 * 1024;

/// Collects bytes until they make a packet.
pub(super) struct Splitter {
    packing: Packing,
    bytes: Vec<u8>,
    /// How many of them have been given out.
    done: usize,
    /// What the frames so far were.
    known: Option<Head>,
}

/// A frame's size, and what is the same in all frames of a stream.
#[derive(Clone, Copy)]
struct Head {
    size: usize,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Mpeg(mpeg::Frame),
    Adts(adts::Kind),
    Ac3(ac3::Frame),
}

impl Head {
    fn is_like(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (Kind::Mpeg(one), Kind::Mpeg(other)) => one.is_like(&other),
            (Kind::Adts(one), Kind::Adts(other)) => one == other,
            (Kind::Ac3(one), Kind::Ac3(other)) => one.is_like(&other),
            _ => false,
        }
    }
}

impl Splitter {
    pub(super) fn new(packing: Packing) -> Self {
        Self { packing, bytes: Vec::new(), done: 0, known: None }
    }

    /// Nothing is left of what was put in.
    pub(super) fn is_empty(&self) -> bool {
        self.done == self.bytes.len()
    }

    /// Forgets what is left: what comes next does not go on where it ended.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.done = 0;
    }

    /// Puts bytes in. More than any packet can have are left out.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.done);
        self.done = 0;
        let room = (2 * LARGEST_PACKET as usize).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes the next packet out, if there is one. `is_edge`: a packet of the container ends with the last byte.
    pub(super) fn take(&mut self, is_edge: bool, packet: &mut Packet) -> bool {
        let left = self.bytes.len() - self.done;
        let length = match self.packing {
            Packing::Blocks(block) => left.min(SHARE.max(block)) / block.max(1) * block,
            Packing::Packets if is_edge => left,
            Packing::Packets => 0,
            Packing::Mpeg | Packing::Adts | Packing::Ac3 => self.frame(is_edge),
        };
        let data = &self.bytes[self.done..self.done + length];
        self.done += length;
        packet.data.clear();
        packet.data.extend_from_slice(data);
        length > 0
    }

    /// Takes out what is left of blocks: the last one may be shorter.
    pub(super) fn take_rest(&mut self, packet: &mut Packet) -> bool {
        if !matches!(self.packing, Packing::Blocks(_)) || self.is_empty() {
            return false;
        }
        packet.data.clear();
        packet.data.extend_from_slice(&self.bytes[self.done..]);
        self.clear();
        true
    }

    /// The length of the frame that is next, which is looked for; 0 if it is not all there. The first one of its kind
    /// is believed when another follows it or when nothing does.
    fn frame(&mut self, is_edge: bool) -> usize {
        while let Some(head) = self.head_or_skip() {
            let rest = &self.bytes[self.done..];
            if rest.len() < head.size {
                // Waiting for a frame that chance made costs little: no frame is larger than some KiB.
                return 0;
            }
            let behind = &rest[head.size..];
            let believed = self.known.is_some_and(|known| known.is_like(&head))
                || self.head(behind).is_some_and(|next| next.is_like(&head))
                || (is_edge && behind.is_empty());
            if believed {
                self.known = Some(head);
                return head.size;
            }
            if behind.len() < self.header() {
                return 0;
            }
            self.done += 1;
        }
        0
    }

    /// Skips to the next header; `None` at the end of the bytes.
    fn head_or_skip(&mut self) -> Option<Head> {
        while self.bytes.len() - self.done >= self.header() {
            if let Some(head) = self.head(&self.bytes[self.done..]) {
                return Some(head);
            }
            self.done += 1;
        }
        None
    }

    /// Bytes of a header.
    fn header(&self) -> usize {
        match self.packing {
            Packing::Adts => adts::HEADER,
            Packing::Ac3 => ac3::HEADER,
            _ => 4,
        }
    }

    fn head(&self, bytes: &[u8]) -> Option<Head> {
        match self.packing {
            Packing::Adts => {
                let header = adts::Header::parse(*bytes.first_chunk()?)?;
                Some(Head { size: usize::try_from(header.size).ok()?, kind: Kind::Adts(header.kind) })
            }
            Packing::Ac3 => ac3::frame(bytes).map(|frame| Head { size: frame.size, kind: Kind::Ac3(frame) }),
            _ => mpeg::frame(bytes).map(|frame| Head { size: frame.size, kind: Kind::Mpeg(frame) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of 417 bytes that are told apart by what they are filled with.
    fn frames(count: u8) -> Vec<u8> {
        (0..count).flat_map(|n| [&[0xff, 0xfb, 0x90, 0x00][..], &[n; 413]].concat()).collect()
    }

    fn split(packing: Packing, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut splitter, mut packet, mut all) = (Splitter::new(packing), Packet::default(), Vec::new());
        for piece in pieces {
            splitter.push(piece);
            while splitter.take(true, &mut packet) {
                all.push(packet.data.clone());
            }
        }
        if splitter.take_rest(&mut packet) {
            all.push(packet.data);
        }
        all
    }

    #[test]
    fn frames_are_cut_out_however_the_bytes_come() {
        let stream = frames(5);
        for size in [1, 2, 100, 417, 418, 1000, 5000] {
            let pieces: Vec<&[u8]> = stream.chunks(size).collect();
            let cut = split(Packing::Mpeg, &pieces);
            assert!(cut.len() == 5 && cut.concat() == stream, "pieces of {size} give {}", cut.len());
        }
    }

    #[test]
    fn garbage_between_frames_is_left_out() {
        let stream = [&[0xff, 0xfb, 0x90][..], &frames(2), &[0x55; 600], &frames(3)].concat();
        let pieces: Vec<&[u8]> = stream.chunks(333).collect();
        assert_eq!(split(Packing::Mpeg, &pieces).len(), 5);
    }

    #[test]
    fn blocks_are_put_together_and_the_last_may_be_short() {
        let pieces = [&[1, 2, 3][..], &[4, 5, 6, 7], &[8]];
        assert_eq!(split(Packing::Blocks(4), &pieces), [vec![1, 2, 3, 4], vec![5, 6, 7, 8]]);
        assert_eq!(split(Packing::Blocks(3), &pieces), [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8]]);
    }
}
