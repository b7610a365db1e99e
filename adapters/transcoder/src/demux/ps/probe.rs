//! What the start and the end of a file tell: the streams, and when they begin and end.

use std::collections::BTreeMap;

use microserve_core::transcode::TranscodeError;

use super::Stream;
use super::packets::{Id, Packet, Packets, Step};
use crate::demux::Track;
use crate::demux::es::{Format, Kind};
use crate::demux::pes::{self, Glimpse, HZ};
use crate::span::Moment;

/// How much is looked through for the first frames of all streams.
const START: u64 = 4 * 1024 * 1024;
/// Half of the time that 33 bits hold: what seems longer went back.
const LONGEST: i64 = 1 << 32;
/// What tells the types of streams (ISO/IEC 13818-1, 2.5.4).
const MAP: u8 = 0xbc;

#[derive(Default)]
pub(super) struct Probe {
    seen: BTreeMap<Id, Seen>,
    types: BTreeMap<u8, u8>,
}

#[derive(Default)]
struct Seen {
    glimpse: Glimpse,
    format: Option<Format>,
    next_try: usize,
}

/// A track, and which stream it is.
pub(super) struct Candidate {
    pub(super) track: Track,
    id: Id,
    format: Option<Format>,
    begins: Option<i64>,
}

/// What a stream may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Audio(Option<Kind>),
    Video,
    Other,
}

impl Probe {
    /// Reads packets until sound and pictures have shown themselves for a while, or for long enough.
    pub(super) fn run(&mut self, packets: &mut Packets<'_>) -> Result<(), TranscodeError> {
        /// Streams that belong together begin within so many bytes.
        const BEGINNING: u64 = 1024 * 1024;
        while packets.position() < START {
            match packets.next()? {
                Step::Packet(packet) => self.take(packets, &packet)?,
                Step::End => break,
                // Times behind it can't be compared with those before.
                Step::Jump if self.seen.values().any(|seen| seen.format.is_some()) => break,
                Step::Other | Step::Jump | Step::Lost | Step::Searched => {}
            }
            if packets.position() > BEGINNING && self.is_complete() {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, packets: &mut Packets<'_>, packet: &Packet) -> Result<(), TranscodeError> {
        if packet.id.stream == MAP {
            let map = packets.payload(packet)?;
            self.learn(&map);
            return Ok(());
        }
        let sort = self.sort(packet.id);
        if sort == Sort::Other {
            return Ok(());
        }
        let seen = self.seen.entry(packet.id).or_default();
        if packet.header.scrambled {
            seen.glimpse.scrambled += 1;
            return Ok(());
        }
        seen.glimpse.clear += 1;
        seen.glimpse.begin(packet.header.time);
        let Sort::Audio(kind) = sort else { return Ok(()) };
        if seen.format.is_some() {
            return Ok(());
        }
        seen.glimpse.push(&packets.payload(packet)?);
        if seen.glimpse.bytes.len() >= seen.next_try {
            seen.format = seen.glimpse.format(kind, false);
            seen.next_try = seen.glimpse.bytes.len() * 3 / 2 + 1;
        }
        Ok(())
    }

    /// Takes a map: types of streams by their ids.
    fn learn(&mut self, map: &[u8]) {
        let entries = || {
            let length = usize::from(u16::from_be_bytes(*map.get(2..)?.first_chunk()?));
            let rest = map.get(4 + length..)?;
            let (length, rest) = rest.split_first_chunk()?;
            rest.get(..rest.len().min(u16::from_be_bytes(*length).into()))
        };
        let mut rest = entries().unwrap_or_default();
        while let Some((&[sort, id, l0, l1], behind)) = rest.split_first_chunk() {
            self.types.insert(id, sort);
            rest = behind.get(usize::from(u16::from_be_bytes([l0, l1]))..).unwrap_or_default();
        }
    }

    fn sort(&self, id: Id) -> Sort {
        let typed = self.types.get(&id.stream).copied();
        match (id.stream, id.substream) {
            (stream, _) if pes::AUDIO.contains(&stream) => Sort::Audio(Some(match typed {
                Some(0x0f) => Kind::Adts,
                Some(0x11) => Kind::Latm,
                Some(0x81 | 0x87) => Kind::Ac3,
                Some(0x8a) => Kind::Dts,
                _ => Kind::Mpeg,
            })),
            (stream, _) if pes::VIDEO.contains(&stream) => Sort::Video,
            (pes::PRIVATE_1, None | Some(0x80..=0x87 | 0xc0..=0xc7)) => Sort::Audio(Some(Kind::Ac3)),
            (pes::PRIVATE_1, Some(0x88..=0x8f)) => Sort::Audio(Some(Kind::Dts)),
            (pes::PRIVATE_1, Some(0xa0..=0xaf)) => Sort::Audio(Some(Kind::DvdPcm)),
            // Pictures of VC-1.
            (pes::EXTENDED, Some(0x55..=0x5f)) => Sort::Video,
            _ => Sort::Other,
        }
    }

    /// Whether what was seen is known.
    fn is_complete(&self) -> bool {
        self.seen.iter().all(|(id, seen)| match self.sort(*id) {
            Sort::Audio(_) => seen.format.is_some() || seen.glimpse.is_full() || seen.glimpse.scrambled > 16,
            Sort::Video | Sort::Other => true,
        }) && self.seen.values().any(|seen| seen.format.is_some())
    }

    pub(super) fn finish(self) -> Vec<Candidate> {
        let begins = pes::earliest(self.seen.values().map(|seen| (&seen.glimpse, seen.format.as_ref())));
        self.seen.iter().map(|(id, seen)| self.candidate(*id, seen, begins)).collect()
    }

    fn candidate(&self, id: Id, seen: &Seen, begins: Option<i64>) -> Candidate {
        let Sort::Audio(kind) = self.sort(id) else {
            let name = if self.types.get(&id.stream) == Some(&0x1b) { "h264" } else { "mpeg2video" };
            return Candidate { track: Track::other("video", name), id, format: None, begins };
        };
        let found = seen.format.clone().or_else(|| seen.glimpse.format(kind, true));
        let is_heard = found.is_some();
        let name = match kind {
            Some(Kind::Ac3) => "ac3",
            Some(Kind::Dts) => "dts",
            Some(Kind::DvdPcm) => "pcm_dvd",
            Some(Kind::Adts | Kind::Latm) => "aac",
            _ => "mp2",
        };
        let format = found.or(kind.map(|kind| Format::unseen(kind, name)));
        let mut track = format.as_ref().map_or_else(|| Track::other("other", "unknown"), Format::track);
        track.encrypted = seen.glimpse.scrambled > seen.glimpse.clear;
        track.preferred = is_heard;
        track.begins = begins.map(|ticks| Moment::new(ticks, HZ));
        Candidate { track, id, format, begins }
    }
}

impl Candidate {
    /// Learns when it ends.
    pub(super) fn end(&mut self, ends: &BTreeMap<Id, u64>) {
        let Some((begins, ends)) = self.begins.zip(ends.get(&self.id)) else { return };
        let ticks = pes::nearest(*ends, begins.saturating_add(LONGEST - 1)).saturating_sub(begins);
        if self.track.is_audio() && (1..LONGEST).contains(&ticks) {
            self.track.info.duration = Some(ticks as f64 / HZ as f64);
        }
    }

    pub(super) fn choose(&self) -> Option<(Id, Stream)> {
        Some((self.id, Stream::new(self.format.clone()?, self.begins)))
    }
}

/// The last time of every stream from here on.
pub(super) fn ends(packets: &mut Packets<'_>) -> Result<BTreeMap<Id, u64>, TranscodeError> {
    let mut times = BTreeMap::new();
    loop {
        match packets.next()? {
            Step::Packet(packet) => {
                if let Some(time) = packet.header.time {
                    times.insert(packet.id, time);
                }
            }
            Step::End => return Ok(times),
            Step::Other | Step::Jump | Step::Lost | Step::Searched => {}
        }
    }
}
