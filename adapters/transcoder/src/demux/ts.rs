//! MPEG transport streams (ISO/IEC 13818-1): broadcasts, cameras (MTS), Blu-rays (M2TS), HLS segments.
//!
//! The start of the file tells the programs and shows a little of every stream (`probe`). Then all packets are read,
//! and those of one stream put together again.

use microserve_core::transcode::TranscodeError;

use super::es::Stream;
use super::pes::{self, Found};
use super::{Opened, Packet, Read, corrupt};
use crate::input::Input;
use crate::sniff::Container;
use crate::tags::Tags;

mod packets;
mod probe;
mod streams;
mod tables;

use packets::Packets;
use probe::{Candidate, Probe};
use streams::{Description, Sort};
use tables::Sections;

/// Bytes at the end in which the last time is looked for.
const TAIL: u64 = 1024 * 1024;

struct Ts<'a> {
    packets: Packets<'a>,
    candidates: Vec<Candidate>,
    chosen: Option<Chosen>,
    ended: bool,
}

/// The stream that is read.
struct Chosen {
    pid: u16,
    description: Description,
    stream: Stream,
    assembly: Assembly,
    /// Where its program's map and clock are.
    map_pid: Option<u16>,
    program: u16,
    clock: Option<u16>,
    association: Sections,
    map: Sections,
}

/// Where in its packets a stream has got to.
#[derive(Default)]
struct Assembly {
    /// The last packet's counter and payload.
    last: Option<(u8, Vec<u8>)>,
    /// The header of a packet that has begun; `None` behind it, or when it is none of ours.
    header: Option<Vec<u8>>,
    /// What follows is sound.
    open: bool,
}

pub(super) fn open(input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let mut packets = Packets::new(input);
    let mut probe = Probe::default();
    probe.run(&mut packets)?;
    let mut candidates = probe.finish();
    if candidates.is_empty() {
        return Err(corrupt("no stream begins in it"));
    }
    let start = packets.len().saturating_sub(TAIL);
    packets.seek(start);
    let mut ends = probe::Ends::default();
    ends.run(&mut packets)?;
    for candidate in &mut candidates {
        candidate.end(&ends);
    }
    packets.seek(0);
    let tracks = candidates.iter().map(|candidate| candidate.track.clone()).collect();
    let ts = Ts { packets, candidates, chosen: None, ended: false };
    Ok(Opened { container: Container::MpegTs, tracks, tags: Tags::default(), packets: Box::new(ts) })
}

impl super::Packets for Ts<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = self.candidates.get(track).and_then(Candidate::choose);
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(chosen) = &mut self.chosen else { return Ok(Read::End) };
        loop {
            if let Some(read) = chosen.stream.next(packet) {
                return Ok(read);
            }
            if self.ended {
                return Ok(Read::End);
            }
            match self.packets.next() {
                Some(next) => chosen.take(&self.packets, &next),
                None => {
                    if self.packets.read()? {
                        return Ok(Read::Nothing);
                    }
                    self.ended = true;
                    chosen.stream.finish();
                }
            }
        }
    }
}

impl Chosen {
    /// Takes a packet of any stream.
    fn take(&mut self, packets: &Packets<'_>, packet: &packets::Packet) {
        if packet.damaged {
            return;
        }
        if Some(packet.pid) == self.clock && packet.discontinuity {
            self.stream.break_clock();
        }
        let Some(range) = packet.payload.clone().filter(|_| !packet.scrambled) else { return };
        let payload = packets.bytes(range);
        if packet.pid == self.pid {
            self.assembly.take(packet, payload, self.description.extension, &mut self.stream);
        } else if packet.pid == 0 && self.map_pid.is_some() {
            for section in self.association.push(payload, packet.starts, packet.counter) {
                self.follow(&section);
            }
        } else if Some(packet.pid) == self.map_pid {
            let sections = self.map.push(payload, packet.starts, packet.counter);
            let mut maps = sections.iter().filter_map(|section| tables::map(section));
            if let Some(map) = maps.rfind(|map| map.program == self.program) {
                self.look_up(&map);
            }
        }
    }

    /// Takes the programs, which may be others from here on: recordings are joined.
    fn follow(&mut self, section: &[u8]) {
        let programs = tables::programs(section);
        let ours = programs.iter().find(|(number, _)| *number == self.program);
        // A table of several sections has it in another one.
        let is_whole = section.get(6..8) == Some(&[0, 0]);
        if let Some((number, pid)) = ours.or(programs.first().filter(|_| is_whole))
            && self.map_pid != Some(*pid)
        {
            (self.program, self.map_pid, self.map) = (*number, Some(*pid), Sections::default());
        }
    }

    /// Takes the program's map, which may have changed: other programmes of a channel may have their sound elsewhere.
    fn look_up(&mut self, map: &tables::Map) {
        self.clock = Some(map.clock);
        let described = map.entries.iter().map(|entry| (entry.pid, streams::describe(map, entry)));
        let sounds = described.filter(|(_, description)| matches!(description.sort, Sort::Audio(Some(_))));
        let likeness = |pid: u16, other: &Description| {
            let (sort, language) = (other.sort == self.description.sort, other.language == self.description.language);
            (pid == self.pid, sort, language, !other.special)
        };
        // Of those that are alike, the first.
        let sounds: Vec<_> = sounds.collect();
        let Some((pid, description)) = sounds.iter().rev().max_by_key(|(pid, other)| likeness(*pid, other)) else {
            return;
        };
        let Sort::Audio(Some(kind)) = description.sort else { return };
        if *pid == self.pid && description.sort == self.description.sort {
            return;
        }
        (self.pid, self.description, self.assembly) = (*pid, description.clone(), Assembly::default());
        self.stream.replace(kind);
    }
}

impl Assembly {
    /// Takes a packet of the stream.
    fn take(&mut self, packet: &packets::Packet, payload: &[u8], extension: Option<u8>, stream: &mut Stream) {
        if let Some((counter, last)) = &self.last {
            if packet.counter == *counter && payload == last.as_slice() {
                return; // packets may be sent twice (2.4.3.3)
            }
            // A counter that stands still was never set.
            let is_next = packet.counter == (counter + 1) & 0xf || packet.counter == *counter;
            if !is_next || packet.discontinuity {
                stream.lost();
                self.header = None;
            }
        }
        let last = self.last.get_or_insert_default();
        last.0 = packet.counter;
        last.1.clear();
        last.1.extend_from_slice(payload);
        if packet.starts {
            self.header = Some(Vec::new());
            self.open = false;
        }
        let Some(header) = &mut self.header else {
            if self.open {
                stream.push(payload);
            }
            return;
        };
        header.extend_from_slice(payload);
        match pes::header(header) {
            Found::Header(found) => {
                let bytes = self.header.take().unwrap_or_default();
                self.open = !found.scrambled && extension.is_none_or(|wanted| found.extension == Some(wanted));
                if self.open {
                    stream.begin(found.time);
                    stream.push(bytes.get(found.size..).unwrap_or_default());
                }
            }
            Found::More if header.len() < pes::LONGEST_HEADER => {}
            Found::More | Found::Nothing => self.header = None,
        }
    }
}
