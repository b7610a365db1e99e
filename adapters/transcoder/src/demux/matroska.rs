//! Matroska and WebM (RFC 9559), on EBML (RFC 8794).
//!
//! Only the chosen track's blocks are read: other tracks' are skipped by their headers, so that a video costs little
//! more than its sound.

use std::collections::VecDeque;
use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use super::{LARGEST_PACKET, Opened, Packet, Packets, Read, corrupt};
use crate::codec::Codec;
use crate::input::Input;
use crate::sniff::Container;
use crate::span::{Moment, Span};
use crate::tags::Tags;

mod chapters;
mod ebml;
mod headers;
mod lacing;

use ebml::{Element, PASSED_OVER, element_at, id, signed, unsigned, vint};
use headers::{TrackEntry, inflate};

/// No element of the headers is larger that is read as a whole.
const LARGEST_HEADER: u64 = 8 * 1024 * 1024;
/// No more elements come before the first cluster.
const MOST_HEADERS: usize = 10_000;
/// No more elements come between two blocks of a track: a file with more was made to keep somebody busy.
const MOST_BETWEEN: usize = 1_000_000;

/// Elements at the start of the first cluster among which every track's first block is looked for.
const FIRST_BLOCKS: usize = 256;
/// Nanoseconds of a tick, unless the file says otherwise.
const MILLISECOND: u64 = 1_000_000;

/// Damaged places in a file behind which it is read on.
const MOST_DAMAGE: u32 = 10_000;
/// How far the next cluster is looked for before the caller may think again.
const SEARCH: u64 = 4 * 1024 * 1024;
/// An element that nobody knows is damage if it is larger.
const LARGEST_UNKNOWN: u64 = 64 * 1024;

struct Matroska<'a> {
    input: Input<'a>,
    tracks: Vec<TrackEntry>,
    chosen: usize,
    /// Where the next element begins.
    at: u64,
    /// The last block that was read, and which parts of it are frames that have not been given out.
    block: Vec<u8>,
    frames: VecDeque<Range<usize>>,
    /// What is to be cut off the sound of the block's last frame.
    padding: i64,
    /// When the cluster begins, in ticks, and the block's first frame, until that has been given out.
    cluster: i64,
    time: Option<Moment>,
    /// Nanoseconds of a tick.
    tick: u64,
    /// How often the next cluster had to be looked for.
    damage: u32,
    /// It is being looked for.
    lost: bool,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let segment = segment(&mut input)?;
    let (mut tags, mut tracks, mut title) = (Tags::default(), Vec::new(), Tags::default());
    let (mut duration, mut tick, mut behind) = (None, MILLISECOND, [None; 2]);
    let mut at = segment;
    for _ in 0..MOST_HEADERS {
        let Some(element) = element_at(&mut input, at)? else { break };
        if element.id == id::CLUSTER {
            break;
        }
        let Some(end) = element.end() else { break };
        match element.id {
            id::SEEK_HEAD => {
                let head = whole(&mut input, &element)?;
                behind = [id::TAGS, id::CHAPTERS]
                    .map(|kind| headers::seek(&head, kind).map(|at| (kind, segment.saturating_add(at))));
            }
            id::INFO => (duration, tick) = headers::info(&whole(&mut input, &element)?, &mut title),
            id::TRACKS => tracks = headers::tracks(&whole(&mut input, &element)?),
            id::TAGS => headers::tags(&whole(&mut input, &element)?, &mut tags),
            id::CHAPTERS => chapters::read(&whole(&mut input, &element)?, &mut tags.chapters),
            id::ATTACHMENTS => headers::cover(&mut input, &element, &mut tags)?,
            _ => {}
        }
        at = end;
    }
    // Without sound, nothing behind here matters, which may not have come yet.
    let has_sound = tracks.iter().any(|entry: &TrackEntry| entry.track.is_audio());
    // Tags and chapters may stand behind everything else.
    for (kind, at) in behind.into_iter().flatten().filter(|(_, behind)| has_sound && *behind >= at) {
        match element_at(&mut input, at)?.filter(|element| element.id == kind) {
            Some(element) if kind == id::TAGS => headers::tags(&whole(&mut input, &element)?, &mut tags),
            Some(element) => chapters::read(&whole(&mut input, &element)?, &mut tags.chapters),
            None => {}
        }
    }
    tags.merge(title);
    if tracks.is_empty() {
        return Err(corrupt("its list of tracks is missing"));
    }
    let (block, frames) = (Vec::new(), VecDeque::new());
    let (chosen, padding, cluster, time, damage, lost) = (0, 0, 0, None, 0, false);
    let mut packets =
        Box::new(Matroska { input, tracks, chosen, at, block, frames, padding, cluster, time, tick, damage, lost });
    let begins = if has_sound { packets.begins()? } else { None };
    tags.chapters.begin_later(begins.map_or(0, |begins| begins.frames(1000)));
    for entry in packets.tracks.iter_mut().filter(|entry| entry.track.is_audio()) {
        (entry.track.info.duration, entry.track.begins) = (duration, begins);
    }
    let tracks = packets.tracks.iter().map(|entry| entry.track.clone()).collect();
    Ok(Opened { container: Container::Matroska, tracks, tags, packets })
}

/// The number of a block's track, the block's time in ticks of its cluster, and what follows (RFC 9559, 10.1).
fn block_head(head: &[u8]) -> Option<(u64, i16, &[u8])> {
    let (number, length) = vint(head)?;
    let [t0, t1, rest @ ..] = head.get(length..)? else { return None };
    Some((number, i16::from_be_bytes([*t0, *t1]), rest))
}

fn moment(nanos: i64) -> Moment {
    Moment::new(nanos, 1_000_000_000)
}

/// Where the body of the segment begins.
fn segment(input: &mut Input<'_>) -> Result<u64, TranscodeError> {
    let mut at = 0;
    while let Some(element) = element_at(input, at)? {
        if element.id == id::SEGMENT {
            return Ok(element.body);
        }
        let Some(end) = element.end() else { break };
        at = end;
    }
    Err(corrupt("it has no segment"))
}

fn whole(input: &mut Input<'_>, element: &Element) -> Result<Vec<u8>, TranscodeError> {
    input.vec_at(element.body, element.size.unwrap_or(0).min(LARGEST_HEADER))
}

impl Packets for Matroska<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = track;
    }

    fn is_damaged(&self) -> bool {
        self.damage > 0
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        for _ in 0..MOST_BETWEEN {
            if let Some(frame) = self.frames.pop_front() {
                self.give(frame, packet);
                return Ok(Read::Packet);
            }
            if self.lost {
                self.find_cluster()?;
                return Ok(Read::Nothing);
            }
            if self.at >= self.input.len() {
                self.damage += u32::from(self.at > self.input.len()); // cut off within an element
                return Ok(Read::End);
            }
            let Some(element) = element_at(&mut self.input, self.at)? else {
                if self.lose() {
                    continue;
                }
                return Ok(Read::End);
            };
            match (element.id, element.end()) {
                // Gone into, not skipped: their sizes may be unknown, and their ends don't matter.
                (id::SEGMENT | id::CLUSTER, _) => self.at = element.body,
                (id::TIMESTAMP, Some(end)) => {
                    self.at = end;
                    self.cluster = self.timestamp(&element)?;
                }
                (id::SIMPLE_BLOCK, Some(end)) => {
                    self.at = end;
                    self.read_block(element.body, end)?;
                }
                (id::BLOCK_GROUP, Some(end)) => {
                    self.at = end;
                    self.read_group(element.body, end)?;
                }
                (known, Some(end)) if end <= self.input.len() && PASSED_OVER.contains(&known) => self.at = end,
                // Attachments and what later versions may bring.
                (_, Some(end)) if end <= self.input.len() && self.is_credible(&element) => self.at = end,
                // What can't be there, or a size that can't be: the file is damaged here, or cut off.
                _ if self.lose() => {}
                _ => return Ok(Read::End),
            }
        }
        Ok(Read::End)
    }
}

impl Matroska<'_> {
    fn is_credible(&self, element: &Element) -> bool {
        element.id == id::ATTACHMENTS || element.size.is_some_and(|size| size <= LARGEST_UNKNOWN)
    }

    /// From here on nothing makes sense until the next cluster; says whether it is worth looking for.
    fn lose(&mut self) -> bool {
        (self.damage, self.lost) = (self.damage + 1, true);
        self.damage <= MOST_DAMAGE
    }

    /// When the first picture or sound is due: looked for at the start of the first cluster, where every track that
    /// begins with the file has its first block.
    fn begins(&mut self) -> Result<Option<Moment>, TranscodeError> {
        let (mut at, mut cluster, mut earliest, mut seen, mut primed) = (self.at, 0, None, Vec::new(), Vec::new());
        for _ in 0..FIRST_BLOCKS {
            let Some(element) = element_at(&mut self.input, at)? else { break };
            at = match (element.id, element.end()) {
                (id::CLUSTER | id::BLOCK_GROUP, _) => element.body,
                (_, Some(end)) => end,
                _ => break,
            };
            match element.id {
                id::TIMESTAMP => cluster = self.timestamp(&element)?,
                id::SIMPLE_BLOCK | id::BLOCK => {
                    let head = self.input.vec_at(element.body, 12)?;
                    let Some((number, time, _)) = block_head(&head) else { break };
                    let Some(entry) = self.tracks.iter().find(|entry| entry.number == number) else { continue };
                    if !matches!(entry.track.info.kind.as_str(), "audio" | "video") || seen.contains(&number) {
                        continue;
                    }
                    // The first packet of Vorbis only gets the decoder going.
                    if matches!(entry.track.codec, Codec::Vorbis { .. }) && !primed.contains(&number) {
                        primed.push(number);
                        continue;
                    }
                    seen.push(number);
                    let moment = self.nanos(cluster, time, entry.scale);
                    earliest = Some(earliest.map_or(moment, |earliest: i64| earliest.min(moment)));
                }
                _ => {}
            }
        }
        Ok(earliest.map(moment))
    }

    /// A block's time in nanoseconds.
    fn nanos(&self, cluster: i64, time: i16, scale: f64) -> i64 {
        let tick = i64::try_from(self.tick).unwrap_or(i64::MAX);
        let own = (f64::from(time) * scale).round() as i64;
        cluster.saturating_add(own).saturating_mul(tick)
    }

    /// What a cluster's timestamp says, in ticks.
    fn timestamp(&mut self, element: &Element) -> Result<i64, TranscodeError> {
        let body = self.input.vec_at(element.body, element.size.unwrap_or(0).min(8))?;
        Ok(i64::try_from(unsigned(&body)).unwrap_or(i64::MAX))
    }

    fn give(&mut self, frame: Range<usize>, packet: &mut Packet) {
        packet.clear();
        packet.time = self.time.take();
        let frame = &self.block[frame];
        match self.tracks.get(self.chosen) {
            // What can't be inflated is lost, like anything that can't be decoded.
            Some(track) if track.deflated => packet.data = inflate(frame).unwrap_or_default(),
            Some(track) => packet.data.extend([&track.stripped[..], frame].concat()),
            None => {}
        }
        if self.frames.is_empty() {
            let nanos = Span::nanos(self.padding.unsigned_abs());
            if self.padding > 0 {
                packet.trim_end = nanos;
            } else {
                packet.trim_start = nanos;
            }
            self.padding = 0;
        }
    }

    fn read_group(&mut self, start: u64, end: u64) -> Result<(), TranscodeError> {
        let (mut at, mut block, mut padding) = (start, None, 0);
        while at < end
            && let Some(element) = element_at(&mut self.input, at)?
            && let Some(next) = element.end().filter(|next| *next <= end)
        {
            match element.id {
                id::BLOCK => block = Some((element.body, next)),
                id::DISCARD_PADDING => {
                    padding = signed(&self.input.vec_at(element.body, (next - element.body).min(8))?);
                }
                _ => {}
            }
            at = next;
        }
        if let Some((start, end)) = block {
            self.read_block(start, end)?;
            self.padding = padding;
        }
        Ok(())
    }

    /// Reads a block if it is the chosen track's.
    fn read_block(&mut self, start: u64, end: u64) -> Result<(), TranscodeError> {
        let head = self.input.vec_at(start, 12.min(end - start))?;
        let Some((number, time, rest)) = block_head(&head) else { return Ok(()) };
        let Some(entry) = self.tracks.get(self.chosen).filter(|entry| entry.number == number) else { return Ok(()) };
        let [flags, ..] = *rest else { return Ok(()) };
        // What the decoder makes first is before the block's time by the delay (RFC 9559, 5.1.4.1.25).
        self.time = Some(moment(self.nanos(self.cluster, time, entry.scale).saturating_sub(entry.delay)));
        let body = start + (head.len() - rest.len()) as u64 + 1;
        let size = end - body;
        if size > LARGEST_PACKET {
            return Err(corrupt("a block is larger than any block of audio can be"));
        }
        self.block = self.input.vec_at(body, size)?;
        self.padding = 0;
        if self.block.len() as u64 == size {
            self.frames = lacing::frames(&self.block, flags >> 1 & 3);
        }
        Ok(())
    }

    /// Looks for the next cluster behind damage, up to a distance, or goes to the end of the file.
    fn find_cluster(&mut self) -> Result<(), TranscodeError> {
        const STEP: u64 = 16 * 1024;
        let mut at = self.at.saturating_add(1);
        let end = at.saturating_add(SEARCH).min(self.input.len());
        while at < end {
            let bytes = self.input.vec_at(at, STEP)?;
            if let Some(found) = bytes.windows(4).position(|four| four == id::CLUSTER.to_be_bytes()) {
                (self.at, self.lost) = (at + found as u64, false);
                return Ok(());
            }
            if (bytes.len() as u64) < STEP {
                (self.at, self.lost) = (self.input.len(), false);
                return Ok(());
            }
            at += STEP - 3;
        }
        self.at = at.saturating_sub(1);
        self.lost = at < self.input.len();
        Ok(())
    }
}
