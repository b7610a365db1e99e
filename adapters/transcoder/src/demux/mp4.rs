//! ISO base media (ISO/IEC 14496-12) and QuickTime: MP4, M4A, MOV, 3GP, fragmented or not.
//!
//! Only the chosen track's bytes are read, wherever they lie; tables are looked up in the file and not loaded, so that
//! memory does not grow with the length of the video.

use std::io::Read as _;

use microserve_core::transcode::TranscodeError;

use super::{Opened, Packet, Packets, Read, corrupt};
use crate::input::Input;
use crate::sniff::Container;
use crate::span::Moment;

mod boxes;
mod chapters;
mod edits;
mod entry;
mod fragments;
mod metadata;
mod samples;
mod track;

use boxes::{BoxHead, box_at, children, find};
pub(super) use entry::{by_descriptor, name};
use fragments::Fragments;
use track::TrackBox;

/// No more tracks are looked at.
const MOST_TRACKS: usize = 64;
/// No more boxes in a row are passed over.
const MOST_BOXES: u32 = 1_000_000;

/// No headers are larger that are compressed.
const LARGEST_INFLATED: u64 = 8 * 1024 * 1024;

struct Mp4<'a> {
    input: Input<'a>,
    tracks: Vec<TrackBox>,
    chosen: usize,
    fragments: Fragments,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    let mut moov = find_moov(&mut input)?;
    if let Some(cmov) = find(&mut input, &moov, b"cmov")? {
        moov = inflate(&mut input, &cmov)?;
    }
    let movie_scale = match find(&mut input, &moov, b"mvhd")? {
        Some(mvhd) => track::scale_and_duration(&mut input, &mvhd)?.0,
        None => 0,
    };
    let (mut tags, gapless) = metadata::read(&mut input, &moov)?;
    let mut tracks = Vec::new();
    for trak in children(&mut input, &moov)?.iter().filter(|b| &b.kind == b"trak").take(MOST_TRACKS) {
        tracks.push(TrackBox::read(&mut input, trak, movie_scale, gapless)?);
    }
    let usable = |track: &TrackBox| track.track.is_audio() && track.track.codec.is_supported();
    if !tracks.iter().any(usable) && is_cut_off(&mut input, &moov)? {
        return Err(corrupt("it is cut off within its headers"));
    }
    tags.chapters = chapters::read(&mut input, &moov, &tracks)?;
    // Players begin with whatever comes first.
    let shown = |track: &&TrackBox| matches!(track.track.info.kind.as_str(), "audio" | "video");
    if let Some(pause) = tracks.iter().filter(shown).map(|track| track.pause).min_by_key(|pause| pause.ticks) {
        tracks.iter_mut().filter(|track| track.track.is_audio()).for_each(|track| track.start_earlier(pause));
        tags.chapters.begin_later(i64::try_from(pause.frames(1000)).unwrap_or(i64::MAX));
    }
    let fragments = Fragments::new(&mut input, &moov)?;
    // Without samples in the headers, the fragments tell when each track begins.
    let starts = fragments.beginnings(&mut input)?;
    let start = |track: &TrackBox| {
        let (_, ticks) = starts.iter().find(|(id, _)| *id == track.id)?;
        let skipped = track.skipped.frames(track.scale);
        let ticks = i64::try_from(ticks.saturating_add(skipped)).unwrap_or(i64::MAX);
        Some(Moment::new(ticks, track.scale.into()))
    };
    let begins = tracks.iter().filter(shown).filter_map(start).min_by(|a, b| a.seconds().total_cmp(&b.seconds()));
    tracks.iter_mut().for_each(|track| track.track.begins = begins);
    tags.chapters.begin_later(begins.map_or(0, |begins| begins.frames(1000)));
    let shown = tracks.iter().map(|track| track.track.clone()).collect();
    let packets = Box::new(Mp4 { input, tracks, chosen: 0, fragments });
    Ok(Opened { container: Container::Mp4, tracks: shown, tags, packets })
}

/// The headers in a box of compressed ones, which QuickTime made until about 2005 (QuickTime File Format, "Compressed
/// movie resources"): the algorithm, and behind the size of the headers these.
fn inflate(input: &mut Input<'_>, cmov: &BoxHead) -> Result<BoxHead, TranscodeError> {
    let senseless = || corrupt("its compressed headers make no sense");
    let dcom = find(input, cmov, b"dcom")?.ok_or_else(senseless)?;
    if input.array_at(dcom.body)? != Some(*b"zlib") {
        return Err(TranscodeError::UnsupportedContainer { name: "mp4 with compressed headers".to_owned() });
    }
    let cmvd = find(input, cmov, b"cmvd")?.ok_or_else(senseless)?;
    let packed = input.vec_at(cmvd.body.saturating_add(4), cmvd.len().saturating_sub(4).min(LARGEST_INFLATED))?;
    let mut plain = Vec::new();
    let mut inflater = flate2::read::ZlibDecoder::new(&packed[..]).take(LARGEST_INFLATED);
    inflater.read_to_end(&mut plain).map_err(|_| senseless())?;
    let place = input.append(plain);
    let moov = box_at(input, place.start, place.end)?;
    moov.filter(|moov| &moov.kind == b"moov").ok_or_else(senseless)
}

/// Whether a box says that it is larger than what there is of it.
fn is_cut_off(input: &mut Input<'_>, head: &BoxHead) -> Result<bool, TranscodeError> {
    let size = u64::from(input.array_at(head.start)?.map_or(0, u32::from_be_bytes));
    Ok(head.start.saturating_add(size) > input.len())
}

/// The box with the headers, which may come last.
fn find_moov(input: &mut Input<'_>) -> Result<BoxHead, TranscodeError> {
    let (mut at, len) = (0, input.len());
    for _ in 0..MOST_BOXES {
        let Some(head) = box_at(input, at, len)? else { break };
        if &head.kind == b"moov" {
            return Ok(head);
        }
        at = head.end;
    }
    Err(corrupt("its headers (the moov box) are missing, which happens when a file is cut off"))
}

impl Packets for Mp4<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = track;
        if let Some(track) = self.tracks.get(track) {
            self.fragments.select(track.id, track.scale, track.pcm_frame);
        }
    }

    fn is_damaged(&self) -> bool {
        self.tracks.get(self.chosen).is_some_and(|track| track.samples.are_missing())
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        let Some(track) = self.tracks.get_mut(self.chosen) else { return Ok(Read::End) };
        let decoded = track.decoded();
        let found = match track.samples.next(&mut self.input, decoded, packet)? {
            Found::End => self.fragments.next(&mut self.input, decoded, packet)?,
            found => found,
        };
        Ok(match found {
            Found::Packet => Read::Packet,
            Found::Description(n) => match track.change(&mut self.input, n)? {
                Some(track) => Read::Decoder(Box::new(track)),
                None => Read::Nothing,
            },
            Found::End => Read::End,
        })
    }
}

/// What was found in a list of samples.
enum Found {
    Packet,
    /// The next one has this description, whose decoder it needs.
    Description(u32),
    End,
}
