//! What a conversion begins with: the source, opened, the track that is converted, and which part of its sound.

use std::ops::Range;

use microserve_core::transcode::{Options, SourceInfo, TranscodeError};

use crate::demux::{Opened, Track};
use crate::head::Head;

/// A source whose headers have been read, and the track of it that is converted.
pub(crate) struct Chosen<'s> {
    pub(crate) opened: Opened<'s>,
    pub(crate) n: usize,
    pub(crate) track: Track,
    /// The size of the source.
    pub(crate) bytes: u64,
}

impl Chosen<'_> {
    /// The ID3 tag of the MP3. `encoder`: what makes its sound, if that is not copied.
    pub(crate) fn head(&self, options: &Options, encoder: Option<&str>) -> Result<Head, TranscodeError> {
        // Chapters don't go beyond what is known to be the end.
        let (start, end) = part_of(options);
        let known = self.track.info.duration.filter(|_| !self.track.estimated).unwrap_or(f64::INFINITY);
        let part = (start, end.min(known));
        self.opened.tags.asked(options).to_id3(options.fallback_title.as_deref(), encoder, part).map(Head::new)
    }

    /// Seconds to the end of what is wanted, as far as the source tells.
    pub(crate) fn duration(&self, options: &Options) -> Option<f64> {
        self.track.info.duration.map(|seconds| seconds.min(part_of(options).1))
    }

    /// What the source was found to be, once so many seconds of it were heard.
    pub(crate) fn found(&self, rate: u32, channels: u16, seconds: f64, options: &Options) -> SourceInfo {
        found(describe(&self.opened, Some(self.n)), rate, channels, seconds, options.end.is_none())
    }
}

/// Where in the sound what is wanted begins and ends, in seconds.
pub(crate) fn part_of(options: &Options) -> (f64, f64) {
    (options.start.unwrap_or(0.0), options.end.unwrap_or(f64::INFINITY))
}

/// What is wanted of so many samples that come next, behind so many seconds.
pub(crate) fn wanted(part: (f64, f64), seconds: f64, frames: usize, rate: u32) -> Range<usize> {
    let until = |at: f64| ((at - seconds) * f64::from(rate)).round().clamp(0.0, frames as f64) as usize;
    let end = until(part.1);
    until(part.0).min(end)..end
}

/// What a source is by its headers.
pub(crate) fn describe(opened: &Opened<'_>, chosen: Option<usize>) -> SourceInfo {
    SourceInfo {
        container: opened.container.name().to_owned(),
        tracks: opened.tracks.iter().map(|track| track.info.clone()).collect(),
        chosen,
        title: opened.tags.title.clone(),
        chapters: u32::try_from(opened.tags.chapters.len()).unwrap_or(u32::MAX),
        problem: None,
    }
}

/// The same with the rate, the channels and, if that `is_all`, the seconds that the track turned out to have.
pub(crate) fn found(mut source: SourceInfo, rate: u32, channels: u16, seconds: f64, is_all: bool) -> SourceInfo {
    if let Some(info) = source.chosen.and_then(|chosen| source.tracks.get_mut(chosen)) {
        (info.sample_rate, info.channels) = (rate, channels);
        // It was summed up block by block: what is below a microsecond is rounding.
        info.duration = if is_all { Some((seconds * 1e6).round() / 1e6) } else { info.duration };
    }
    source
}
