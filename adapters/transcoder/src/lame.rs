//! The MP3 encoder: LAME, on as many threads as there are free processors, with the same bytes however many those are.
//!
//! The sound is cut into segments, each of which an encoder of its own makes frames of (`segment`). Threads take them
//! from where the sound comes in (`line`, `crew`), and what comes out is joined inside the bit reservoir (`frames`):
//! nothing is lost or added where two segments meet. The first frame tells how long it all is (`tag`).

use std::io::{BufWriter, Write};
use std::sync::Arc;

use microserve_core::transcode::{Cores, Quality, Sink, TranscodeError};

mod crew;
mod frames;
mod instance;
mod line;
mod segment;
mod tag;
#[cfg(test)]
mod tests;

use crew::Crew;
use frames::Frames;
use instance::{Block, Format};
use line::{Duty, Line, Ready};
use segment::{Joint, Plan, Segment};

use crate::mp3::Tag;

/// So often at most this thread encodes a little before it asks for more sound. Then the conversion can be cancelled.
const STEPS: usize = 4;

/// Writes an MP3: frames as they come, and at the end the tag frame over the placeholder that comes first.
pub(crate) struct Mp3Writer<'a> {
    sink: BufWriter<&'a mut dyn Sink>,
    /// Where the frames begin: behind the ID3 tag.
    start: u64,
    format: Format,
    plan: Plan,
    tag: Tag,
    /// The next block, as far as it is there: room for a frame of each channel.
    block: Vec<f32>,
    filled: usize,
    line: Arc<Line>,
    crew: Crew,
    /// The first frame of the oldest segment that is to be written.
    from: usize,
    samples: u64,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) samples: u64,
    pub(crate) bitrate: u32,
}

impl<'a> Mp3Writer<'a> {
    /// Writes `head` (an ID3 tag) and prepares for audio of a rate that MP3 has and one or two channels.
    pub(crate) fn new(
        sink: &'a mut dyn Sink,
        head: &[u8],
        rate: u32,
        channels: usize,
        quality: Quality,
        cores: &Cores,
    ) -> Result<Self, TranscodeError> {
        let format = Format { rate, channels, quality };
        Self::with_plan(sink, head, format, Plan::new(quality), cores)
    }

    fn with_plan(
        sink: &'a mut dyn Sink,
        head: &[u8],
        format: Format,
        plan: Plan,
        cores: &Cores,
    ) -> Result<Self, TranscodeError> {
        let tag = tag::blank(format)?;
        let mut sink = BufWriter::with_capacity(64 * 1024, sink);
        sink.write_all(head).and_then(|()| sink.write_all(tag.frame())).map_err(TranscodeError::Sink)?;
        let line = Arc::new(Line::new(plan));
        let crew = Crew::new(line.clone(), format, plan, cores);
        let block = vec![0.0; format.frame() * format.channels];
        let start = head.len() as u64;
        Ok(Self { sink, start, format, plan, tag, block, filled: 0, line, crew, from: 0, samples: 0 })
    }

    /// Takes a block of planar samples, one plane per channel. Waits while there is more than can be encoded.
    pub(crate) fn push(&mut self, planes: &[&[f32]]) -> Result<(), TranscodeError> {
        let (frame, channels) = (self.format.frame(), self.format.channels);
        let count = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
        if planes.len() < channels {
            return Err(TranscodeError::Internal("there are fewer channels than there should be".into()));
        }
        let mut at = 0;
        while at < count {
            let end = count.min(at + frame - self.filled);
            for (room, plane) in self.block.chunks_exact_mut(frame).zip(planes) {
                room[self.filled..][..end - at].copy_from_slice(&plane[at..end]);
            }
            self.filled += end - at;
            self.samples += (end - at) as u64;
            at = end;
            if self.filled == frame {
                self.filled = 0;
                self.line.bring(Block::from(&self.block[..]));
                self.work()?;
            }
        }
        Ok(())
    }

    /// Sees to it that everybody has something to do.
    fn work(&mut self) -> Result<(), TranscodeError> {
        let mut steps = 0;
        while steps < STEPS {
            let changes = self.line.changes();
            self.write()?;
            self.crew.hire();
            match self.line.duty(self.crew.others(), self.crew.has_spare()) {
                Duty::Bring => return Ok(()),
                Duty::Encode(task) => {
                    self.crew.encode(task)?;
                    steps += 1;
                }
                Duty::Wait => self.line.wait(changes),
            }
        }
        Ok(())
    }

    /// Writes what is finished. `true` if that was the last of it.
    fn write(&mut self) -> Result<bool, TranscodeError> {
        while let Some(ready) = self.line.take()? {
            match ready {
                Ready::Pair(n, mut segment, next) => match self.join(n, &mut segment, &next)? {
                    Some(joint) => {
                        self.write_frames(&segment, joint.before)?;
                        self.from = joint.next;
                        self.line.joined();
                    }
                    None if self.line.not_joined(n, segment) => {}
                    None => return Err(incomplete()),
                },
                Ready::Last(n, mut segment) => {
                    self.complete(n, &mut segment)?;
                    let count = segment.count().ok_or_else(incomplete)?;
                    self.write_frames(&segment, count)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Joins segment `n` to the next one. If there is no place to do that, it goes on for a little.
    fn join(&mut self, n: u64, segment: &mut Segment, next: &Frames) -> Result<Option<Joint>, TranscodeError> {
        loop {
            let joint = self.plan.join(n, segment, next);
            let block = self.plan.start(n) + segment.fed();
            if joint.is_some() || block >= self.plan.limit(n) {
                return Ok(joint);
            }
            segment.feed(&self.line.block(block).ok_or_else(incomplete)?)?;
        }
    }

    /// Completes segment `n`, which had its blocks before it was known that it is the last one.
    fn complete(&mut self, n: u64, segment: &mut Segment) -> Result<(), TranscodeError> {
        if segment.is_finished() {
            return Ok(());
        }
        while let Some(block) = self.line.block(self.plan.start(n) + segment.fed()) {
            segment.feed(&block)?;
        }
        segment.finish()
    }

    fn write_frames(&mut self, segment: &Segment, until: usize) -> Result<(), TranscodeError> {
        for n in self.from..until {
            let frame = segment.frame(n);
            if frame.is_empty() {
                return Err(incomplete());
            }
            self.tag.add(frame);
            self.sink.write_all(frame).map_err(TranscodeError::Sink)?;
        }
        Ok(())
    }

    /// Writes what is left, and the tag frame that makes the length exact.
    pub(crate) fn finish(mut self) -> Result<Written, TranscodeError> {
        let (frame, filled) = (self.format.frame(), self.filled);
        let rest = self.block.chunks_exact(frame).flat_map(|plane| &plane[..filled]).copied();
        self.line.end(rest.collect());
        loop {
            let changes = self.line.changes();
            if self.write()? {
                break;
            }
            self.crew.hire();
            match self.line.duty(self.crew.others(), self.crew.has_spare()) {
                Duty::Encode(task) => self.crew.encode(task)?,
                Duty::Bring | Duty::Wait => self.line.wait(changes),
            }
        }
        self.tag.complete(tag::DELAY, self.samples);
        self.tag.write_over(&mut self.sink, self.start)?;
        Ok(Written { samples: self.samples, bitrate: self.tag.bitrate(self.format.rate) })
    }
}

fn incomplete() -> TranscodeError {
    TranscodeError::Internal("a segment is incomplete".into())
}
