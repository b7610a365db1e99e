//! FLV (Adobe Flash Video File Format Specification, version 10.1, annex E), also with the codecs of Enhanced RTMP v2.
//!
//! A file is a row of tags, each with a header that tells its size and time. Pictures are skipped by it.

use microserve_core::transcode::TranscodeError;

use super::splitter::Splitter;
use super::waveformat::Packing;
use super::{LARGEST_PACKET, Opened, Packet, Packets, Read, Track};
use crate::input::Input;
use crate::sniff::Container;
use crate::span::Moment;
use crate::tags::Tags;

mod amf;
mod sound;
mod tag;

use sound::{Format, Piece, pieces};
use tag::{Kind, Tag};

/// So many tags at the start may pass before every track has shown itself,
const FIRST_TAGS: usize = 2000;
/// and so many once one of sound is known.
const FIRST_TAGS_BEHIND_SOUND: usize = 64;
/// Tags that are walked over before the caller is asked whether to go on.
const MOST_STEPS: usize = 10_000;
const MOST_TRACKS: usize = 16;
/// No description of the file is larger that is read.
const LARGEST_METADATA: u64 = 1024 * 1024;

/// A track of sound, as its last tag described it.
struct Stream {
    id: u8,
    format: Format,
    settings: Vec<u8>,
    track: Track,
    packing: Packing,
}

struct Flv<'a> {
    input: Input<'a>,
    at: u64,
    clock: tag::Clock,
    streams: Vec<Stream>,
    chosen: usize,
    splitter: Splitter,
    /// When what is in the splitter is due.
    time: Option<Moment>,
}

pub(super) fn open(mut input: Input<'_>) -> Result<Opened<'_>, TranscodeError> {
    // The header says how long it is.
    let at = input.array_at(5)?.map_or(0, u32::from_be_bytes).max(9);
    let at = u64::from(at).saturating_add(4).min(input.len());
    let (clock, streams, splitter) = (tag::Clock::default(), Vec::new(), Splitter::new(Packing::Packets));
    let mut flv = Flv { input, at, clock, streams, chosen: 0, splitter, time: None };
    let start = flv.look()?;
    let mut tracks: Vec<Track> = flv.streams.iter().map(|stream| stream.track.clone()).collect();
    if start.has_video {
        tracks.push(Track::other("video", "unknown"));
    }
    for stream in &mut flv.streams {
        stream.track.info.duration = start.duration;
        stream.track.begins = start.begins;
    }
    for track in tracks.iter_mut().filter(|track| track.is_audio()) {
        (track.info.duration, track.begins) = (start.duration, start.begins);
    }
    Ok(Opened { container: Container::Flv, tracks, tags: start.tags, packets: Box::new(flv) })
}

/// What the first tags tell.
#[derive(Default)]
struct Start {
    begins: Option<Moment>,
    has_video: bool,
    duration: Option<f64>,
    tags: Tags,
}

impl Start {
    fn begin(&mut self, time: i64) {
        let moment = moment(time);
        self.begins = Some(self.begins.filter(|begins| begins.seconds() <= moment.seconds()).unwrap_or(moment));
    }
}

fn moment(millis: i64) -> Moment {
    Moment::new(millis, 1000)
}

impl Flv<'_> {
    /// Looks at the first tags, and goes back to the first of all.
    fn look(&mut self) -> Result<Start, TranscodeError> {
        let (mut start, first, mut left) = (Start::default(), self.at, FIRST_TAGS);
        let mut has_sound = false;
        while left > 0 {
            left -= 1;
            let Some(tag) = self.tag()? else {
                if self.at >= self.input.len() {
                    break;
                }
                // Nothing in a whole stretch, of which only a few are looked through here.
                left = left.saturating_sub(FIRST_TAGS / 16);
                continue;
            };
            let time = self.clock.tick(tag.time);
            self.at = tag.end;
            match tag.kind {
                Kind::Audio => {
                    let is_first = !has_sound;
                    has_sound |= self.look_at_sound(&tag)?;
                    if has_sound && is_first {
                        start.begin(time);
                        left = left.min(FIRST_TAGS_BEHIND_SOUND);
                    }
                }
                Kind::Video if !start.has_video => {
                    if let Some(shift) = tag::picture(&self.input.vec_at(tag.body, 8.min(tag.size))?) {
                        start.has_video = true;
                        start.begin(time.saturating_add(shift));
                    }
                }
                Kind::Script => {
                    let body = self.input.vec_at(tag.body, LARGEST_METADATA.min(tag.size))?;
                    start.duration = amf::metadata(&body, &mut start.tags).or(start.duration);
                }
                Kind::Video => {}
            }
            if has_sound && start.has_video && left < FIRST_TAGS_BEHIND_SOUND / 2 {
                break;
            }
        }
        (self.at, self.clock) = (first, tag::Clock::default());
        Ok(start)
    }

    /// Takes down what tracks an audio tag has; says whether it has sound, and not only settings.
    fn look_at_sound(&mut self, tag: &Tag) -> Result<bool, TranscodeError> {
        let body = self.body(tag)?;
        let mut has_sound = false;
        for piece in pieces(&body) {
            has_sound |= !piece.is_settings && !piece.data.is_empty();
            if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == piece.track) {
                // What changes later is met again.
                if stream.settings.is_empty() {
                    stream.take(&piece);
                }
            } else if self.streams.len() < MOST_TRACKS {
                let mut stream = Stream::new(&piece);
                stream.track.encrypted = tag.encrypted;
                self.streams.push(stream);
            }
        }
        Ok(has_sound)
    }

    /// The body of an audio tag.
    fn body(&mut self, tag: &Tag) -> Result<Vec<u8>, TranscodeError> {
        self.input.vec_at(tag.body, LARGEST_PACKET.min(tag.size))
    }

    /// The tag at the position, or the next one; `None` with the position moved on if none was found in a stretch.
    fn tag(&mut self) -> Result<Option<Tag>, TranscodeError> {
        if let Some(tag) = tag::at(&mut self.input, self.at)? {
            return Ok(Some(tag));
        }
        tag::find(&mut self.input, &mut self.at)
    }
}

impl Packets for Flv<'_> {
    fn select(&mut self, track: usize) {
        self.chosen = track;
        self.splitter = Splitter::new(self.streams.get(track).map_or(Packing::Packets, |stream| stream.packing));
    }

    fn next(&mut self, packet: &mut Packet) -> Result<Read, TranscodeError> {
        packet.clear();
        for _ in 0..MOST_STEPS {
            if self.splitter.take(true, packet) {
                packet.time = self.time.take();
                return Ok(Read::Packet);
            }
            let Some(tag) = self.tag()? else {
                return Ok(if self.at < self.input.len() { Read::Nothing } else { Read::End });
            };
            if let Kind::Audio = tag.kind
                && let Some(track) = self.sound(&tag)?
            {
                return Ok(Read::Decoder(Box::new(track))); // the tag is read again
            }
            self.clock.tick(tag.time);
            self.at = tag.end;
        }
        Ok(Read::Nothing)
    }
}

impl Flv<'_> {
    /// Takes the sound of a tag; gives the track that it is if it needs another decoder.
    fn sound(&mut self, tag: &Tag) -> Result<Option<Track>, TranscodeError> {
        let body = self.body(tag)?;
        let Some(stream) = self.streams.get_mut(self.chosen) else { return Ok(None) };
        let id = stream.id;
        for piece in pieces(&body).into_iter().filter(|piece| piece.track == id) {
            if stream.take(&piece) {
                self.splitter = Splitter::new(stream.packing);
                return Ok(Some(stream.track.clone()));
            }
            if piece.is_settings || piece.data.is_empty() {
                continue;
            }
            if self.splitter.is_empty() {
                self.time = Some(moment(self.clock.after(tag.time)));
            }
            self.splitter.push(piece.data);
        }
        Ok(None)
    }
}

impl Stream {
    fn new(piece: &Piece<'_>) -> Self {
        let settings = if piece.is_settings { piece.data.to_vec() } else { Vec::new() };
        let (track, packing) = piece.format.track(&settings, piece.data);
        Self { id: piece.track, format: piece.format, settings, track, packing }
    }

    /// Takes over what a piece of sound says of its codec; says whether that is news.
    fn take(&mut self, piece: &Piece<'_>) -> bool {
        let is_same = piece.format.is_like(self.format);
        if is_same && (!piece.is_settings || piece.data == self.settings) {
            return false;
        }
        let old = std::mem::replace(self, Self::new(piece));
        self.track.info.duration = old.track.info.duration;
        (self.track.begins, self.track.encrypted) = (old.track.begins, old.track.encrypted);
        true
    }
}
