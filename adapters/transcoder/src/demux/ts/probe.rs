//! What the start and the end of a file tell: programs, streams, and when they begin and end.

use std::collections::BTreeMap;

use microserve_core::transcode::{TrackInfo, TranscodeError};

use super::packets::{Packet, Packets};
use super::streams::{self, Description, Sort};
use super::tables::{self, Map, Sections};
use super::{Assembly, Chosen};
use crate::codec::Codec;
use crate::demux::es::{Format, Stream};
use crate::demux::pes::{self, Found, Glimpse, HZ};
use crate::demux::{AUDIO, Track};
use crate::span::Moment;

/// How much is looked through for the first frames of all streams.
const START: u64 = 8 * 1024 * 1024;
/// Programs and streams that are looked at.
const MOST_PROGRAMS: usize = 256;
const MOST_STREAMS: usize = 512;
/// Half of the time that 33 bits hold: what seems longer went back.
const LONGEST: i64 = 1 << 32;

/// A stream that was seen or is in a map.
#[derive(Default)]
struct Seen {
    glimpse: Glimpse,
    header: Option<Vec<u8>>,
    /// The id in its packets.
    stream: Option<u8>,
    /// The id in their extension that is wanted.
    extension: Option<u8>,
    open: bool,
    format: Option<Format>,
    /// With so many bytes it is worth to look for one again.
    next_try: usize,
}

#[derive(Default)]
pub(super) struct Probe {
    /// The program association table, and the maps that it points to, in its order.
    association: Sections,
    programs: Vec<Program>,
    seen: BTreeMap<u16, Seen>,
}

struct Program {
    number: u16,
    pid: u16,
    sections: Sections,
    map: Option<Map>,
    described: Vec<(u16, Description)>,
}

/// A track, and where it is.
pub(super) struct Candidate {
    pub(super) track: Track,
    pid: u16,
    description: Description,
    format: Option<Format>,
    program: Option<(u16, u16, u16)>,
    begins: Option<i64>,
}

impl Probe {
    /// Reads packets until everything is known, or for long enough.
    pub(super) fn run(&mut self, packets: &mut Packets<'_>) -> Result<(), TranscodeError> {
        while packets.position() < START {
            match packets.next() {
                Some(packet) => {
                    self.take(packets, &packet);
                    if packet.starts && self.is_complete() {
                        break;
                    }
                }
                None if packets.read()? => {}
                None => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, packets: &Packets<'_>, packet: &Packet) {
        let Some(payload) = packet.payload.clone().filter(|_| !packet.damaged) else { return };
        let bytes = packets.bytes(payload);
        if packet.pid == 0 {
            for section in self.association.push(bytes, packet.starts, packet.counter) {
                self.learn(&section);
            }
            return;
        }
        if let Some(program) = self.programs.iter_mut().find(|program| program.pid == packet.pid) {
            let sections = program.sections.push(bytes, packet.starts, packet.counter);
            let maps = sections.iter().filter_map(|section| tables::map(section)).collect::<Vec<_>>();
            maps.into_iter().for_each(|map| self.take_map(packet.pid, map));
            return;
        }
        let is_known = self.seen.contains_key(&packet.pid);
        let is_welcome = packet.starts && self.seen.len() < MOST_STREAMS;
        if !is_known && !is_welcome {
            return;
        }
        let seen = self.seen.entry(packet.pid).or_default();
        if packet.scrambled {
            seen.glimpse.scrambled += 1;
            return;
        }
        seen.glimpse.clear += 1;
        seen.take(packet.starts, bytes);
    }

    fn learn(&mut self, section: &[u8]) {
        for (number, pid) in tables::programs(section) {
            let is_known = self.programs.iter().any(|program| program.number == number);
            if !is_known && self.programs.len() < MOST_PROGRAMS {
                let sections = Sections::default();
                self.programs.push(Program { number, pid, sections, map: None, described: Vec::new() });
            }
        }
    }

    /// Takes a program's map: the first one counts.
    fn take_map(&mut self, pid: u16, map: Map) {
        let ours = |program: &&mut Program| program.pid == pid && program.number == map.program;
        let Some(program) = self.programs.iter_mut().find(ours).filter(|program| program.map.is_none()) else { return };
        let described = map.entries.iter().map(|entry| (entry.pid, streams::describe(&map, entry)));
        program.described = described.collect();
        for (pid, description) in &program.described {
            if description.extension.is_some() {
                // What was seen of it may have been the wrong part.
                self.seen.insert(*pid, Seen { extension: description.extension, ..Seen::default() });
            }
        }
        program.map = Some(map);
    }

    /// Whether all streams of all programs have shown what they are.
    fn is_complete(&mut self) -> bool {
        if self.programs.is_empty() || self.programs.iter().any(|program| program.map.is_none()) {
            return false;
        }
        let seen = &mut self.seen;
        self.programs.iter().flat_map(|program| &program.described).all(|(pid, description)| {
            let Some(seen) = seen.get_mut(pid) else {
                return !matches!(description.sort, Sort::Audio(_) | Sort::Video);
            };
            match description.sort {
                Sort::Audio(kind) => {
                    if seen.format.is_none() && seen.glimpse.bytes.len() >= seen.next_try {
                        seen.format = seen.glimpse.format(kind, false);
                        seen.next_try = seen.glimpse.bytes.len() * 3 / 2 + 1;
                    }
                    let is_hidden = seen.glimpse.scrambled > 16 || description.encrypted;
                    (seen.format.is_some() && seen.glimpse.time.is_some()) || is_hidden || seen.glimpse.is_full()
                }
                Sort::Video => seen.glimpse.time.is_some() || seen.glimpse.scrambled > 16,
                Sort::Undecoded | Sort::Other => true,
            }
        })
    }

    /// The tracks: those of the maps, or without any, what shows itself to be sound.
    pub(super) fn finish(mut self) -> Vec<Candidate> {
        let programs = std::mem::take(&mut self.programs);
        for (pid, description) in programs.iter().flat_map(|program| &program.described) {
            let (Sort::Audio(kind), Some(seen)) = (description.sort, self.seen.get_mut(pid)) else { continue };
            seen.format = seen.format.take().or_else(|| seen.glimpse.format(kind, true));
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        let is_heard = |pid: &u16| self.seen.get(pid).is_some_and(|seen| seen.glimpse.clear > 0);
        let with_sound = |program: &Program| {
            program.described.iter().any(|(pid, d)| matches!(d.sort, Sort::Audio(_)) && is_heard(pid))
        };
        let first = programs.iter().position(with_sound);
        for (n, program) in programs.iter().enumerate() {
            let Some(map) = &program.map else { continue };
            let place = (program.number, program.pid, map.clock);
            let begins =
                self.begins(program.described.iter().filter(|(_, d)| d.sort != Sort::Other).map(|(pid, _)| *pid));
            for (pid, description) in &program.described {
                let is_new = candidates.iter().all(|candidate| candidate.pid != *pid);
                if is_new && candidates.len() < MOST_STREAMS {
                    let candidate = self.candidate(*pid, description.clone(), first.is_none_or(|first| first == n));
                    candidates.push(Candidate { program: Some(place), ..candidate.begin(begins) });
                }
            }
        }
        if !candidates.is_empty() {
            return candidates;
        }
        self.seen.values_mut().for_each(|seen| seen.format = seen.glimpse.format(None, true));
        let begins = self.begins(self.seen.keys().copied());
        let pids: Vec<u16> = self.seen.iter().filter(|(_, seen)| seen.stream.is_some()).map(|(pid, _)| *pid).collect();
        let unknown = pids.into_iter().map(|pid| {
            let stream = self.seen.get(&pid).and_then(|seen| seen.stream).unwrap_or_default();
            let sort = if pes::VIDEO.contains(&stream) { Sort::Video } else { Sort::Audio(None) };
            let (language, name) = (None, "unknown");
            let description = Description { sort, name, language, special: false, encrypted: false, extension: None };
            self.candidate(pid, description, true).begin(begins)
        });
        unknown.collect()
    }

    /// The earliest time of some streams.
    fn begins(&self, pids: impl Iterator<Item = u16>) -> Option<i64> {
        pes::earliest(pids.filter_map(|pid| self.seen.get(&pid)).map(|seen| (&seen.glimpse, seen.format.as_ref())))
    }

    fn candidate(&mut self, pid: u16, description: Description, is_first: bool) -> Candidate {
        let seen = self.seen.remove(&pid).unwrap_or_default();
        let kind = match description.sort {
            Sort::Audio(kind) => kind,
            Sort::Undecoded => None,
            Sort::Video => return Candidate::silent("video", pid, description),
            Sort::Other => return Candidate::silent("other", pid, description),
        };
        let is_decoded = description.sort != Sort::Undecoded;
        let found = seen.format.filter(|_| is_decoded);
        if found.is_none() && is_decoded && description.name == "unknown" {
            return Candidate::silent("other", pid, description);
        }
        let is_heard = found.is_some();
        let format = found.or_else(|| {
            // Not all TrueHD has AC-3 within.
            let kind = kind.filter(|_| description.name != "truehd")?;
            Some(Format::unseen(kind, description.name))
        });
        let mut track = format.as_ref().map_or_else(|| undecoded(&description), Format::track);
        track.info.language.clone_from(&description.language);
        let glimpse = &seen.glimpse;
        track.encrypted = description.encrypted || glimpse.scrambled > glimpse.clear;
        track.preferred = is_first && is_heard && !description.special;
        if track.encrypted && !track.codec.is_supported() {
            track.info.codec = description.name.to_owned();
        }
        Candidate { track, pid, description, format, program: None, begins: None }
    }
}

fn undecoded(description: &Description) -> Track {
    let (kind, codec) = (AUDIO.to_owned(), description.name.to_owned());
    Track { estimated: true, ..Track::audio(TrackInfo { kind, codec, ..TrackInfo::default() }, Codec::Unsupported) }
}

impl Seen {
    fn take(&mut self, starts: bool, payload: &[u8]) {
        if starts {
            self.header = Some(Vec::new());
            self.open = false;
        }
        let Some(header) = &mut self.header else {
            if self.open {
                self.glimpse.push(payload);
            }
            return;
        };
        header.extend_from_slice(payload);
        match pes::header(header) {
            Found::Header(found) => {
                let bytes = self.header.take().unwrap_or_default();
                self.stream = Some(found.stream);
                if self.extension.is_some_and(|wanted| found.extension != Some(wanted)) {
                    return;
                }
                if found.scrambled {
                    self.glimpse.scrambled += 1;
                    return;
                }
                self.glimpse.begin(found.time);
                // Nobody looks at pictures.
                self.open = !pes::VIDEO.contains(&found.stream);
                if self.open {
                    self.glimpse.push(bytes.get(found.size..).unwrap_or_default());
                }
            }
            Found::More if header.len() < pes::LONGEST_HEADER => {}
            Found::More | Found::Nothing => self.header = None,
        }
    }
}

impl Candidate {
    fn silent(kind: &str, pid: u16, description: Description) -> Self {
        let track = Track::other(kind, description.name);
        Self { track, pid, description, format: None, program: None, begins: None }
    }

    fn begin(mut self, begins: Option<i64>) -> Self {
        self.begins = begins;
        self.track.begins = begins.map(|ticks| Moment::new(ticks, HZ));
        self
    }

    /// Learns when it ends.
    pub(super) fn end(&mut self, ends: &Ends) {
        let Some((begins, ends)) = self.begins.zip(ends.times.get(&self.pid)) else { return };
        let ticks = pes::nearest(*ends, begins.saturating_add(LONGEST - 1)).saturating_sub(begins);
        if self.track.is_audio() && (1..LONGEST).contains(&ticks) {
            self.track.info.duration = Some(ticks as f64 / HZ as f64);
        }
    }

    pub(super) fn choose(&self) -> Option<Chosen> {
        let (program, map_pid, clock) = match self.program {
            Some((program, map, clock)) => (program, Some(map), Some(clock)),
            None => (0, None, None),
        };
        Some(Chosen {
            pid: self.pid,
            description: self.description.clone(),
            stream: Stream::new(self.format.clone()?, self.begins),
            assembly: Assembly::default(),
            map_pid,
            program,
            clock,
            association: Sections::default(),
            map: Sections::default(),
        })
    }
}

/// The last time of every stream near the end of the file.
#[derive(Default)]
pub(super) struct Ends {
    times: BTreeMap<u16, u64>,
}

impl Ends {
    pub(super) fn run(&mut self, packets: &mut Packets<'_>) -> Result<(), TranscodeError> {
        loop {
            match packets.next() {
                Some(packet) if packet.starts && !packet.damaged && !packet.scrambled => {
                    let bytes = packet.payload.map_or(&[][..], |range| packets.bytes(range));
                    if let Found::Header(pes::Header { time: Some(time), .. }) = pes::header(bytes) {
                        self.times.insert(packet.pid, time);
                    }
                }
                Some(_) => {}
                None if packets.read()? => {}
                None => return Ok(()),
            }
        }
    }
}
