//! When a track's sound is heard: which of its parts are played, and where there is silence because it starts late or
//! has gaps.
//!
//! Two things tell the time. Samples that were decoded one after the other are the clock that is listened to, because
//! it is exact; the times that containers give with packets are often rounded and jitter. A packet that comes clearly
//! later than the samples before it last is behind a gap, and the gap becomes silence.

use std::ops::Range;

use crate::demux::{Part, Track};
use crate::span::{Moment, Span};

/// What is heard next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many samples of silence.
    Silence(u64),
    /// These samples of the block.
    Sound(Range<usize>),
}

/// A decoded block, as far as time is concerned.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Block {
    /// Samples per channel, and per second.
    pub(crate) frames: usize,
    pub(crate) rate: u32,
    /// So many samples at its start and at its end are none of the track's.
    pub(crate) trims: (u64, u64),
    /// When its first sample is due, on the container's clock.
    pub(crate) time: Option<Moment>,
}

/// Sound that jumps by less than this, in 1/1000 s, only jitters.
const JITTER: i64 = 10;
/// Sound that is late by this, in 1/1000 s, is noticed beside a picture (ITU-R BT.1359: 45 ms).
const NOTICED: i64 = 40;
/// A gap of more seconds than this is believed only when the file is known to be that long.
const LONGEST_GAP: f64 = 60.0;

/// Where in a track its sound has got to, and what of it is played.
pub(crate) struct Timeline {
    parts: Vec<Part>,
    /// The part that is being played, or comes next.
    current: usize,
    /// The current part's pause has been heard.
    entered: bool,
    /// Samples of the track so far, played or not, gaps included.
    position: u64,
    /// The rate of all numbers of samples here.
    rate: u32,
    /// When the presentation begins and ends on the container's clock, as far as the file tells.
    begins: Option<Moment>,
    ends: Option<f64>,
    /// When the next sample is due, in samples on the container's clock; `None` before the first one.
    due: Option<i64>,
    /// Samples by which the sound is ahead of the container's clock.
    ahead: i64,
    /// What is heard of the block that is being placed.
    pieces: Vec<Piece>,
}

impl Timeline {
    pub(crate) fn new(track: &Track) -> Self {
        let ends = track.info.duration.filter(|_| !track.estimated);
        let ends = ends.zip(track.begins).map(|(seconds, begins)| begins.seconds() + seconds);
        Self {
            parts: track.played.clone(),
            current: 0,
            entered: false,
            position: 0,
            rate: 0,
            begins: track.begins,
            ends,
            due: None,
            ahead: 0,
            pieces: Vec::new(),
        }
    }

    /// Says what is heard now that a block has been decoded.
    pub(crate) fn place(&mut self, block: &Block) -> Vec<Piece> {
        let frames = block.frames as u64;
        let first = block.trims.0.min(frames);
        let own = frames.saturating_sub(block.trims.1).saturating_sub(first);
        self.convert_to(block.rate);
        let gap = self.gap(block, first, own);
        self.advance(gap, None);
        self.advance(own, usize::try_from(first).ok());
        std::mem::take(&mut self.pieces)
    }

    /// Nothing that is still to come is played.
    pub(crate) fn is_over(&self) -> bool {
        self.current >= self.parts.len()
    }

    fn convert_to(&mut self, rate: u32) {
        if self.rate == rate {
            return;
        }
        let signed = |n: i64| Moment::new(n, self.rate.into()).frames(rate);
        (self.ahead, self.due) = (signed(self.ahead), self.due.map(signed));
        self.position = Span::new(self.position, self.rate.into()).frames(rate);
        self.rate = rate;
    }

    /// The samples that are missing before a block.
    fn gap(&mut self, block: &Block, first: u64, own: u64) -> u64 {
        let length = i64::try_from(own).unwrap_or(i64::MAX);
        let Some(time) = block.time else {
            self.due = self.due.map(|due| due.saturating_add(length));
            return 0;
        };
        let at = time.frames(self.rate).saturating_add_unsigned(first);
        if own == 0 {
            return 0;
        }
        let Some(before) = self.due.replace(at.saturating_add(length)) else {
            self.start(at);
            return 0;
        };
        let jump = at.saturating_sub(before);
        if !self.is_believable(jump, time) {
            return 0;
        }
        self.ahead = self.ahead.saturating_sub(jump);
        let millis = |n: i64| n * i64::from(self.rate) / 1000;
        if jump < millis(JITTER) || self.ahead > -millis(NOTICED) {
            return 0;
        }
        u64::try_from(-std::mem::take(&mut self.ahead)).unwrap_or(0)
    }

    /// The first sample of all is due at this moment, though it may not be played: what is played first may be late.
    fn start(&mut self, at: i64) {
        let Some(begins) = self.begins else { return };
        let skipped = self.parts.first().map_or(0, |part| part.start.frames(self.rate));
        let late = at.saturating_add_unsigned(skipped).saturating_sub(begins.frames(self.rate));
        // It is known as exactly as containers tell the time.
        if late < i64::from(self.rate) / 1000 || !self.is_believable(late, begins) {
            return;
        }
        self.pieces.push(Piece::Silence(late.unsigned_abs()));
    }

    fn is_believable(&self, jump: i64, to: Moment) -> bool {
        let longest = (LONGEST_GAP * f64::from(self.rate)) as i64;
        jump.saturating_abs() <= longest || self.ends.is_some_and(|end| to.seconds() <= end)
    }

    /// Goes on by so many samples: those of a block from a place on, or silence.
    fn advance(&mut self, samples: u64, from_sample: Option<usize>) {
        let (from, to) = (self.position, self.position.saturating_add(samples));
        while let Some(part) = self.parts.get(self.current).filter(|_| samples > 0) {
            let start = part.start.frames(self.rate);
            let end = part.length.map_or(u64::MAX, |length| start.saturating_add(length.frames(self.rate)));
            if start >= to {
                break;
            }
            let pause = part.pause.frames(self.rate);
            if !std::mem::replace(&mut self.entered, true) && pause > 0 {
                self.pieces.push(Piece::Silence(pause));
            }
            let (start, stop) = (start.clamp(from, to) - from, end.clamp(from, to) - from);
            if stop > start {
                self.pieces.push(match from_sample {
                    Some(first) => Piece::Sound(first + start as usize..first + stop as usize),
                    None => Piece::Silence(stop - start),
                });
            }
            if end > to {
                break;
            }
            (self.current, self.entered) = (self.current + 1, false);
        }
        self.position = to;
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, Moment, Part, Piece, Span, Timeline, Track};
    use crate::codec::Codec;
    use microserve_core::transcode::TrackInfo;

    const RATE: u32 = 8000;

    fn timeline(parts: Vec<Part>, duration: Option<f64>) -> Timeline {
        let info = TrackInfo { kind: "audio".into(), duration, ..TrackInfo::default() };
        let begins = Some(Moment::default());
        Timeline::new(&Track { played: parts, begins, ..Track::audio(info, Codec::Unsupported) })
    }

    fn all() -> Timeline {
        timeline(vec![Part::default()], None)
    }

    fn block(frames: usize, millis: i64) -> Block {
        Block { frames, rate: RATE, trims: (0, 0), time: Some(Moment::new(millis, 1000)) }
    }

    #[test]
    fn parts_are_cut_out_across_blocks() {
        let part = |start, length, pause| Part {
            start: Span::new(start, 8000),
            length: Some(Span::new(length, 8000)),
            pause: Span::new(pause, 8000),
        };
        let mut timeline = timeline(vec![part(2, 3, 7), part(9, 4, 5)], None);
        let mut heard = Vec::new();
        for _ in 0..4 {
            assert!(!timeline.is_over());
            heard.extend(timeline.place(&Block { frames: 4, rate: RATE, ..Block::default() }));
        }
        assert!(timeline.is_over());
        let sound = Piece::Sound;
        assert_eq!(heard, [Piece::Silence(7), sound(2..4), sound(0..1), Piece::Silence(5), sound(1..4), sound(0..1)]);
    }

    #[test]
    fn a_late_start_is_silence() {
        assert_eq!(all().place(&block(80, 500)), [Piece::Silence(4000), Piece::Sound(0..80)]);
        // What is skipped of the first block is not waited for.
        let skipped = Block { trims: (52, 0), time: Some(Moment::new(4000 - 52, 8000)), ..block(80, 0) };
        assert_eq!(all().place(&skipped), [Piece::Silence(4000), Piece::Sound(52..80)]);
        assert_eq!(
            all().place(&Block { trims: (52, 0), time: Some(Moment::new(-52, 8000)), ..block(80, 0) }),
            [Piece::Sound(52..80)]
        );
    }

    #[test]
    fn gaps_are_silence_and_jitter_is_not() {
        let mut timeline = all();
        for (time, silence) in [(0, 0), (10, 0), (23, 0), (29, 0), (40, 0), (150, 800), (160, 0)] {
            let heard = timeline.place(&block(80, time));
            let pause = if silence > 0 { vec![Piece::Silence(silence)] } else { Vec::new() };
            assert_eq!(heard, [pause, vec![Piece::Sound(0..80)]].concat(), "at {time} ms");
        }
    }

    #[test]
    fn small_losses_are_made_up_for_when_they_add_up() {
        let mut timeline = all();
        let mut silent = 0;
        // Every second packet of 10 ms is missing.
        for n in 0..100 {
            for piece in timeline.place(&block(80, n * 20)) {
                silent += if let Piece::Silence(n) = piece { n } else { 0 };
            }
        }
        assert_eq!(silent, 80 * 96);
    }

    #[test]
    fn a_clock_that_runs_slower_makes_no_holes() {
        let mut timeline = all();
        for n in 0..10_000 {
            assert_eq!(timeline.place(&block(80, n * 11)), [Piece::Sound(0..80)]);
        }
    }

    #[test]
    fn impossible_gaps_are_none() {
        let far = block(80, 3_600_000);
        assert_eq!(all().place(&far), [Piece::Sound(0..80)]);
        let mut long = timeline(vec![Part::default()], Some(4000.0));
        assert_eq!(long.place(&far), [Piece::Silence(28_800_000), Piece::Sound(0..80)]);
        let mut back = all();
        back.place(&block(80, 1000));
        assert_eq!(back.place(&block(80, 0)), [Piece::Sound(0..80)]);
    }

    #[test]
    fn times_at_the_edge_of_numbers_are_survived() {
        let mut timeline = all();
        for time in [i64::MAX, i64::MIN, 0, i64::MIN + 1, i64::MAX - 1] {
            let far = Block { time: Some(Moment::new(time, 1)), ..block(80, 0) };
            assert_eq!(timeline.place(&far).last(), Some(&Piece::Sound(0..80)));
            timeline.place(&Block { rate: 48_000, ..far });
        }
    }
}
