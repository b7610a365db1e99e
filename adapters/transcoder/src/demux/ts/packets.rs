//! Packets of a transport stream (ISO/IEC 13818-1, 2.4.3.2): found by their sync bytes, read in large blocks.

use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use crate::input::Input;
use crate::sniff::ts;

/// How much is read at a time. Sound is spread all over the file, so nothing can be skipped.
const BLOCK: usize = 256 * 1024;
/// Bytes of a packet from its sync byte on. Some files have a time in front of it or parity behind it.
pub(super) const PACKET: usize = 188;

pub(super) struct Packets<'a> {
    input: Input<'a>,
    block: Vec<u8>,
    /// Where in the file the block is, and in the block the next packet.
    block_at: u64,
    at: usize,
    /// Bytes from one packet to the next. `None` when that has to be found out.
    distance: Option<usize>,
}

/// What is said in front of a packet's payload.
pub(super) struct Packet {
    pub(super) pid: u16,
    /// Something begins in it: a packet of sound or a section of a table.
    pub(super) starts: bool,
    /// The sender says that it is damaged.
    pub(super) damaged: bool,
    pub(super) scrambled: bool,
    pub(super) counter: u8,
    /// The counter, or the clock, begins anew.
    pub(super) discontinuity: bool,
    /// Where in [`Packets::block`] the payload is, if there is one.
    pub(super) payload: Option<Range<usize>>,
}

impl<'a> Packets<'a> {
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { input, block: Vec::new(), block_at: 0, at: 0, distance: None }
    }

    /// Goes to a position in the file.
    pub(super) fn seek(&mut self, to: u64) {
        self.block.clear();
        (self.block_at, self.at, self.distance) = (to, 0, None);
    }

    pub(super) fn position(&self) -> u64 {
        self.block_at.saturating_add(self.at as u64)
    }

    pub(super) fn len(&self) -> u64 {
        self.input.len()
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.block.get(range).unwrap_or_default()
    }

    /// The next packet of the block; `None` when [`Self::read`] is to be asked for more.
    pub(super) fn next(&mut self) -> Option<Packet> {
        loop {
            let Some(distance) = self.distance else {
                self.find()?;
                continue;
            };
            let start = self.at;
            let packet = self.block.get(start..start + PACKET)?;
            if packet[0] != ts::SYNC {
                self.distance = None;
                continue;
            }
            let packet = parse(packet, start);
            self.at = start + distance;
            return Some(packet);
        }
    }

    /// Looks for the next packet, and leaves behind what is none.
    fn find(&mut self) -> Option<()> {
        let rest = self.block.get(self.at..)?;
        let is_last = self.block_at.saturating_add(self.block.len() as u64) >= self.input.len();
        match ts::find(rest, is_last) {
            Some((start, distance)) => {
                self.at += start;
                self.distance = Some(distance);
                Some(())
            }
            None => {
                // What begins near the end can't be told from chance without what follows.
                self.at += if is_last { rest.len() } else { rest.len().saturating_sub(ts::SIGHT) };
                None
            }
        }
    }

    /// Reads the next block. `false`: there is none.
    pub(super) fn read(&mut self) -> Result<bool, TranscodeError> {
        let done = self.at.min(self.block.len());
        let skipped = self.at - done;
        self.block.drain(..done);
        // The last packet of a file may lack what is between it and the next one.
        self.block_at = self.block_at.saturating_add(self.at as u64);
        self.at = 0;
        if skipped > 0 {
            self.block.clear();
        }
        let kept = self.block.len();
        self.block.resize(kept + BLOCK, 0);
        let n = self.input.read_at(self.block_at.saturating_add(kept as u64), &mut self.block[kept..])?;
        self.block.truncate(kept + n);
        Ok(n > 0)
    }
}

/// Reads a packet of [`PACKET`] bytes that lies at this place in the block.
fn parse(packet: &[u8], at: usize) -> Packet {
    let (b1, b2, b3) = (packet[1], packet[2], packet[3]);
    let (mut start, mut discontinuity) = (4, false);
    if b3 & 0x20 != 0 {
        let length = usize::from(packet[4]);
        discontinuity = length > 0 && packet[5] & 0x80 != 0;
        start = 5 + length;
    }
    let has_payload = b3 & 0x10 != 0 && start < PACKET;
    Packet {
        pid: u16::from_be_bytes([b1 & 0x1f, b2]),
        starts: b1 & 0x40 != 0,
        damaged: b1 & 0x80 != 0,
        scrambled: b3 & 0xc0 != 0,
        counter: b3 & 0x0f,
        discontinuity,
        payload: has_payload.then_some(at + start..at + PACKET),
    }
}
