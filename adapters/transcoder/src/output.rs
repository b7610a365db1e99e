//! Sound on its way into the MP3: mixed, resampled if need be, encoded.

use std::ops::Range;

use microserve_core::transcode::{Cores, Options, Quality, Sink, TranscodeError};

use crate::audio::Pcm;
use crate::audio::mix::Mixer;
use crate::audio::resample::{Resampler, mp3_rate};
use crate::lame::Mp3Writer;

/// An MP3 that grows. Its rate and channels are those of the first block.
pub(crate) struct Output<'a> {
    quality: Quality,
    mono: bool,
    cores: Cores,
    stage: Stage<'a>,
    mixer: Option<Mixer>,
    resampler: Option<Resampler>,
    mixed: Vec<Vec<f32>>,
}

enum Stage<'a> {
    /// No sound yet: what the writer will be made from.
    Waiting(Option<(&'a mut dyn Sink, Vec<u8>)>),
    Writing {
        writer: Mp3Writer<'a>,
        rate: u32,
        channels: usize,
    },
}

/// The finished MP3.
pub(crate) struct Made {
    pub(crate) samples: u64,
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    /// Mean bitrate in bit/s.
    pub(crate) bitrate: u32,
}

impl<'a> Output<'a> {
    /// `head` goes before the first frame.
    pub(crate) fn new(sink: &'a mut dyn Sink, head: Vec<u8>, options: &Options, cores: Cores) -> Self {
        let (quality, mono, stage) = (options.quality, options.mono, Stage::Waiting(Some((sink, head))));
        Self { quality, mono, cores, stage, mixer: None, resampler: None, mixed: Vec::new() }
    }

    /// Appends these samples of a block.
    pub(crate) fn push(&mut self, pcm: &Pcm, range: Range<usize>) -> Result<(), TranscodeError> {
        if range.is_empty() {
            return Ok(());
        }
        if let Stage::Waiting(parts) = &mut self.stage {
            let Some((sink, head)) = parts.take() else { return Err(failed_before()) };
            let channels = if self.mono || pcm.speakers.len() == 1 { 1 } else { 2 };
            let rate = mp3_rate(pcm.rate);
            let writer = Mp3Writer::new(sink, &head, rate, channels, self.quality, &self.cores)?;
            self.stage = Stage::Writing { writer, rate, channels };
        }
        let Stage::Writing { writer, rate, channels } = &mut self.stage else { return Err(failed_before()) };
        if self.resampler.as_ref().map_or(*rate, Resampler::rate_in) != pcm.rate {
            if let Some(mut old) = self.resampler.take() {
                old.finish(&mut |planes: &[&[f32]]| writer.push(planes))?;
            }
            if pcm.rate != *rate {
                self.resampler = Some(Resampler::new(pcm.rate, *rate, *channels)?);
            }
        }
        let mixer = match self.mixer.take() {
            Some(mixer) if mixer.takes(pcm) => self.mixer.insert(mixer),
            _ => self.mixer.insert(Mixer::new(&pcm.speakers, *channels)),
        };
        mixer.mix(pcm, range, &mut self.mixed);
        match &mut self.resampler {
            Some(resampler) => resampler.push(&self.mixed, &mut |planes: &[&[f32]]| writer.push(planes)),
            None => {
                let planes: Vec<&[f32]> = self.mixed.iter().map(Vec::as_slice).collect();
                writer.push(&planes)
            }
        }
    }

    /// Completes the MP3.
    pub(crate) fn finish(mut self) -> Result<Made, TranscodeError> {
        let silent = || TranscodeError::Corrupt { detail: "its audio track is empty".to_owned() };
        let Stage::Writing { mut writer, rate, channels } = self.stage else { return Err(silent()) };
        if let Some(resampler) = &mut self.resampler {
            resampler.finish(&mut |planes: &[&[f32]]| writer.push(planes))?;
        }
        let written = writer.finish()?;
        if written.samples == 0 {
            return Err(silent());
        }
        let channels = if channels == 1 { 1 } else { 2 };
        Ok(Made { samples: written.samples, rate, channels, bitrate: written.bitrate })
    }
}

fn failed_before() -> TranscodeError {
    TranscodeError::Internal("the MP3 could not be begun".into())
}
