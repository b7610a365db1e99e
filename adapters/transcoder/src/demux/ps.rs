//! MPEG program streams (ISO/IEC 13818-1, 2.5) and those of MPEG-1 (ISO/IEC 11172-1, 2.4): MPG, the VOB of DVDs, the
//! DAT of Video CDs.
//!
//! Packets say how long they are, so those of pictures are stepped over. The start of the file shows which streams
//! there are.

use microserve_core::transcode::TranscodeError;

use super::es::Stream;
use super::{Opened, Packet, Read, corrupt};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

mod packets;
mod probe;
mod sectors;

use packets::{Id, Packets, Step};
use probe::{Candidate, Probe};

/// Bytes at the end in which the last time is looked for.
const TAIL: u64 = 512 * 1024;
/// So many packets of others between two of ours let the caller think again.
const PATIENCE: u32 = 4096;

struct Ps<'a> {
    packets: Packets<'a>,
    candidates: Vec<Candidate>,
    chosen: Option<(Id, Stream)>,
    ended: bool,
}

pub(super) fn open(input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let mut packets = Packets::new(input)?;
    let mut probe = Probe::default();
    probe.run(&mut packets)?;
    let mut candidates = probe.finish();
    if candidates.is_empty() {
        return Err(corrupt("no stream begins in it"));
    }
    let start = packets.len().saturating_sub(TAIL);
    packets.seek(start);
    let ends = probe::ends(&mut packets)?;
    for candidate in &mut candidates {
        candidate.end(&ends);
    }
    packets.seek(0);
    let tracks = candidates.iter().map(|candidate| candidate.track.clone()).collect();
    let ps = Ps { packets, candidates, chosen: None, ended: false };
    Ok(Opened { container: Container::MpegPs, tracks, tags: Tags::default(), packets: Box::new(ps) })
}

impl super::Packets for Ps<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = self.candidates.get(track).and_then(Candidate::choose);
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some((id, stream)) = &mut self.chosen else { return Ok(Read::End) };
        for _ in 0..PATIENCE {
            if let Some(read) = stream.next(packet) {
                return Ok(read);
            }
            if self.ended {
                return Ok(Read::End);
            }
            match self.packets.next()? {
                Step::Packet(found) if found.id == *id && !found.header.scrambled => {
                    stream.begin(found.header.time);
                    let payload = self.packets.payload(&found)?;
                    stream.push(&payload);
                }
                Step::Packet(_) | Step::Other => {}
                Step::Jump => stream.break_clock(),
                Step::Lost => stream.lost(),
                Step::Searched => return Ok(Read::Nothing),
                Step::End => {
                    self.ended = true;
                    stream.finish();
                }
            }
        }
        Ok(Read::Nothing)
    }
}
