//! A segment: the part of the frames that one encoder makes.
//!
//! All segments lie on the frames that a single encoder would make. The encoder of one is fed with some frames of sound
//! before its first, so that it hears what a single one would have heard, and goes on beyond its last until there is a
//! frame that the next segment can be joined before.

use microserve_core::transcode::{Quality, TranscodeError};

use super::frames::Frames;
use super::instance::{Block, Format, Lame};
use super::line::Task;

/// How the sound is cut into segments, in frames. It says what bytes come out, so it depends on nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Frames of a segment. A multiple of 49, in which the bits that 44.1 kHz leaves over come to whole bytes, and
    /// twice as many as `joints`, or more.
    pub(super) frames: u64,
    /// Frames that its encoder makes before them.
    pub(super) lead: u64,
    /// Frames among which there has to be one to join the next segment before.
    pub(super) joints: u64,
}

/// Where two segments meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joint {
    /// The first frame that is not of the first one.
    pub(super) before: usize,
    /// The same frame, as the next one counts.
    pub(super) next: usize,
}

impl Plan {
    /// Twenty-eight seconds at 44.1 kHz. The frames that are encoded twice cost 3 % of the time at usual qualities, and
    /// what waits for one more thread has 10 MB in stereo.
    ///
    /// What an encoder has to have heard before nobody can tell it from a single one was measured. With a variable
    /// bitrate that is little more than what it listens to at once. With a constant one it also is how full the bit
    /// reservoir is, and the fewer bits there are, the longer it takes to get there.
    pub(super) fn new(quality: Quality) -> Self {
        let lead = match quality {
            Quality::Vbr(_) => 14,
            Quality::Cbr(128..) => 28,
            Quality::Cbr(_) => 49,
        };
        Self { frames: 1078, lead, joints: 49 }
    }

    /// Blocks from one frame of sound to the end of what LAME has to hear before that frame comes out of it: it looks
    /// less than a block ahead, and keeps a frame or two until their main data are complete.
    const DELAY: u64 = 3;

    /// Frames that the encoder of segment `n` makes before its own first.
    pub(super) fn lead(&self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.lead }
    }

    /// The first block that the encoder of segment `n` gets.
    pub(super) fn start(&self, n: u64) -> u64 {
        n * self.frames - self.lead(n)
    }

    /// The first block that the encoder of segment `n` does not get, unless there is trouble with joining.
    pub(super) fn end(&self, n: u64) -> u64 {
        (n + 1) * self.frames + Self::DELAY
    }

    /// The first block that it does not get even then. If there are fewer, there is no other segment behind this one.
    pub(super) fn limit(&self, n: u64) -> u64 {
        self.end(n) + self.joints
    }

    /// Joins segment `n`, as far as it is there, to the next one, of which the first frames are there.
    pub(super) fn join(&self, n: u64, segment: &mut Segment, next: &Frames) -> Option<Joint> {
        let (first, lead) = ((self.lead(n) + self.frames) as usize, self.lead as usize);
        let mut joints = (0..self.joints as usize).map(|at| Joint { before: first + at, next: lead + at });
        joints.find(|joint| segment.frames.join(joint.before, next, joint.next))
    }
}

/// A segment that is being encoded.
pub(super) struct Segment {
    lame: Option<Lame>,
    frames: Frames,
    fed: u64,
    /// Blocks after which the bit reservoir is emptied, if at all.
    empty_at: Option<u64>,
    /// Frames that are enough to join it to the segment before.
    head: usize,
}

impl Segment {
    /// An encoder of segment `task.n`.
    pub(super) fn new(format: Format, plan: Plan, task: Task) -> Result<Self, TranscodeError> {
        // One block more than frames: then the next frame is the first of its own.
        let empty_at = task.empty.then_some(plan.lead(task.n) + 1);
        let head = (plan.lead(task.n) + plan.joints) as usize;
        Ok(Self { lame: Some(Lame::new(format)?), frames: Frames::new(), fed: 0, empty_at, head })
    }

    /// Takes the next block.
    pub(super) fn feed(&mut self, block: &Block) -> Result<(), TranscodeError> {
        let Some(lame) = &mut self.lame else { return Err(odd("LAME got sound behind the end")) };
        lame.encode(block, &mut self.frames.bytes)?;
        self.fed += 1;
        if self.empty_at == Some(self.fed) {
            lame.empty_reservoir(&mut self.frames.bytes)?;
        }
        if self.frames.find() { Ok(()) } else { Err(odd("LAME gave something else than frames")) }
    }

    /// Whether there are as many frames as it takes to join it to the segment before.
    pub(super) fn has_head(&self) -> bool {
        self.fed >= self.head as u64 + Plan::DELAY && self.frames.main_data_begin(self.head).is_some()
    }

    /// Its frames so far.
    pub(super) fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Completes the frames, at the end of the sound.
    pub(super) fn finish(&mut self) -> Result<(), TranscodeError> {
        let Some(lame) = self.lame.take() else { return Err(odd("LAME was finished twice")) };
        lame.finish(&mut self.frames.bytes)?;
        if self.frames.find() { Ok(()) } else { Err(odd("LAME gave something else than frames")) }
    }

    /// Blocks that it was fed with.
    pub(super) fn fed(&self) -> u64 {
        self.fed
    }

    /// Whether its frames were completed.
    pub(super) fn is_finished(&self) -> bool {
        self.lame.is_none()
    }

    /// How many frames there are. `None` if one is not complete.
    pub(super) fn count(&self) -> Option<usize> {
        self.frames.count()
    }

    /// The bytes of frame `n`; none if it is not there.
    pub(super) fn frame(&self, n: usize) -> &[u8] {
        self.frames.get(n)
    }
}

fn odd(what: &'static str) -> TranscodeError {
    TranscodeError::Internal(what.into())
}
