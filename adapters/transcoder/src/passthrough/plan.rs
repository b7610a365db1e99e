//! Whether an MP3 can be copied out of a source, and how: found by going through its packets once.

use std::ops::Range;

use microserve_core::transcode::TranscodeError;

use super::frame::Frame;
use crate::chosen::wanted;
use crate::demux::{Packet, Track};
use crate::guard::Longest;
use crate::sniff::mpeg;
use crate::timeline::{Block, Piece, Timeline};

/// Samples that every decoder is late (LAME tag specification, "Encoder delays").
const DECODER_DELAY: u64 = 529;
/// More seconds of silence in front are left to the encoder, for which they are fewer bytes.
const LONGEST_SILENCE: u64 = 60;

/// What is copied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// What all frames have in common.
    pub(super) kind: mpeg::Frame,
    /// So many silent frames come first,
    pub(super) silent: u64,
    /// then these of the source's.
    pub(super) frames: Range<u64>,
    /// Samples that the tag has decoders leave out, beside those that they are late,
    pub(super) delay: u64,
    /// and those that are heard.
    pub(super) samples: u64,
    /// Seconds of sound, whether they are wanted or not.
    pub(super) seconds: f64,
}

impl Plan {
    pub(super) fn is_of_kind(&self, frame: &Frame) -> bool {
        self.kind.is_like(&frame.head) && self.kind.channels == frame.head.channels
    }

    pub(super) fn seconds_per_frame(&self) -> f64 {
        f64::from(self.kind.samples) / f64::from(self.kind.rate)
    }

    /// How many bytes before a frame its main data can begin: what 9 bits say, and below 32 kHz 8.
    pub(super) fn most_before(&self) -> usize {
        if self.kind.samples == 1152 { 511 } else { 255 }
    }
}

/// What is known of the frames so far.
pub(super) struct Scan {
    timeline: Timeline,
    longest: Longest,
    /// Where in the sound what is wanted begins and ends, in seconds.
    part: (f64, f64),
    kind: Option<mpeg::Frame>,
    frames: u64,
    main_data: MainData,
    /// Samples of silence that are heard first,
    silence: u64,
    /// and which are heard of those that the frames are decoded to.
    heard: Range<u64>,
    /// Seconds of sound so far, whether they are wanted or not.
    pub(super) seconds: f64,
}

impl Scan {
    pub(super) fn new(track: &Track, part: (f64, f64), longest: Longest) -> Self {
        Self {
            timeline: Timeline::new(track),
            longest,
            part,
            kind: None,
            frames: 0,
            main_data: MainData::default(),
            silence: 0,
            heard: 0..0,
            seconds: 0.0,
        }
    }

    /// Nothing that is still to come is wanted.
    pub(super) fn is_over(&self) -> bool {
        self.timeline.is_over() || self.seconds >= self.part.1
    }

    /// Takes note of the next packet; says whether it can be copied, as far as can be told so far.
    pub(super) fn add(&mut self, packet: &Packet) -> Result<bool, TranscodeError> {
        let Some(frame) = Frame::parse(&packet.data) else { return Ok(false) };
        let (kind, rate) = (*self.kind.get_or_insert(frame.head), frame.head.rate);
        let samples = u64::from(frame.head.samples);
        let is_alike = kind.is_like(&frame.head) && kind.channels == frame.head.channels;
        if !is_alike || !self.main_data.follows(&frame, frame.room(&packet.data).len()) {
            return Ok(false);
        }
        let first = self.frames * samples;
        self.frames += 1;
        let frames = packet.at_most.map_or(samples, |most| samples.min(most.frames(rate))) as usize;
        let trims = (packet.trim_start.frames(rate), packet.trim_end.frames(rate));
        for piece in self.timeline.place(&Block { frames, rate, trims, time: packet.time }) {
            let fits = match piece {
                Piece::Silence(samples) => self.silence(samples, rate),
                Piece::Sound(range) => self.sound(first, &range, rate),
            };
            self.longest.check(self.seconds)?;
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Samples of silence come next, which must not be amid sound.
    fn silence(&mut self, samples: u64, rate: u32) -> bool {
        let wanted = wanted(self.part, self.seconds, usize::try_from(samples).unwrap_or(usize::MAX), rate);
        self.seconds += samples as f64 / f64::from(rate);
        self.silence += wanted.len() as u64;
        let is_behind_sound = !self.heard.is_empty() && !wanted.is_empty();
        !is_behind_sound && self.silence <= LONGEST_SILENCE * u64::from(rate)
    }

    /// These samples of a frame come next, whose first one is `first`. They must go on where the last ones ended.
    fn sound(&mut self, first: u64, range: &Range<usize>, rate: u32) -> bool {
        let wanted = wanted(self.part, self.seconds, range.len(), rate);
        self.seconds += range.len() as f64 / f64::from(rate);
        if wanted.is_empty() {
            return true;
        }
        let start = first + (range.start + wanted.start) as u64;
        if self.heard.is_empty() {
            self.heard = start..start;
        }
        let goes_on = self.heard.end == start;
        self.heard.end = start + wanted.len() as u64;
        goes_on
    }

    /// How it is copied. `None`: not at all.
    pub(super) fn plan(&self) -> Option<Plan> {
        let kind = self.kind.filter(|_| !self.heard.is_empty())?;
        let per_frame = u64::from(kind.samples);
        let samples = self.silence + (self.heard.end - self.heard.start);
        // A frame's sound depends on the transforms before it and on what is in the synthesis window, which is less
        // than 576 samples, and those on the transforms before them.
        let before = if per_frame == 1152 { 1 } else { 2 };
        let from = (self.heard.start / per_frame).saturating_sub(before);
        let until = self.heard.end.div_ceil(per_frame);
        // If decoders are to leave out both the start and the end of a frame behind the first, ffmpeg forgets the start.
        if self.heard.start / per_frame + 1 == until {
            return None;
        }
        let skipped = self.heard.start - from * per_frame;
        let (silent, left_out) = match self.silence {
            // What is to be left out lies between silence and sound.
            1.. if self.heard.start > 0 => return None,
            0 if from == 0 && skipped >= DECODER_DELAY => (0, skipped),
            0 => (1, per_frame + skipped),
            silence => {
                let silent = (silence + DECODER_DELAY).div_ceil(per_frame);
                (silent, silent * per_frame - silence)
            }
        };
        Some(Plan {
            kind,
            silent,
            frames: from..until,
            delay: left_out - DECODER_DELAY,
            samples,
            seconds: self.seconds,
        })
    }
}

/// Where in the stream the main data of frames lie: each one's behind that of the one before. Where that does not hold,
/// frames are missing, or were put together that did not belong together.
#[derive(Default)]
struct MainData {
    /// How many of the last of them are nobody's yet; `None` before the first frame, whose main data may begin in frames
    /// that were cut off.
    free: Option<usize>,
}

impl MainData {
    /// Takes note of the next frame, with its room for main data; says whether it may follow.
    fn follows(&mut self, frame: &Frame, room: usize) -> bool {
        let is_free = self.free.is_none_or(|free| frame.main_data_begin <= free);
        // A tag's room is used by nobody.
        let free = if frame.is_tag { 0 } else { (frame.main_data_begin + room).saturating_sub(frame.main_data) };
        self.free = Some(free);
        is_free
    }
}
