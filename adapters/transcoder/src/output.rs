//! Sound on its way into the MP3: mixed, resampled and levelled if need be, encoded; or only measured.

use std::ops::Range;

use microserve_core::transcode::{Channels, Cores, Options, Sink, TranscodeError};

use crate::audio::Pcm;
use crate::audio::loudness::{Leveller, Loudness, Meter};
use crate::audio::mix::Mixer;
use crate::audio::resample::{Resampler, mp3_rate};
use crate::lame::Mp3Writer;

/// Sound that begins with one channel may go on with two: a broadcast whose news come before its music. So many seconds
/// of it are kept before it is believed to be mono; what has two channels by then becomes stereo.
const UNDECIDED: f64 = 2.0;

/// Sound on its way to its end. Its rate and channels are those that were asked for, or else the rate of the first block
/// and the channels of the first seconds.
pub(crate) struct Output<'a> {
    options: &'a Options,
    stage: Stage<'a>,
    /// Blocks of one channel, and the seconds in them, that came before it was clear how many channels there are.
    held: Vec<Pcm>,
    held_seconds: f64,
    mixer: Option<Mixer>,
    resampler: Option<Resampler>,
    mixed: Vec<Vec<f32>>,
}

enum Stage<'a> {
    /// No sound yet: what the end will be made from.
    Waiting(Option<Goal<'a>>),
    Running {
        end: End<'a>,
        rate: u32,
        channels: Channels,
    },
}

/// Where the sound is to go.
pub(crate) enum Goal<'a> {
    /// Into an MP3 behind a head, with a gain as a factor, on some of these cores.
    Mp3 { sink: &'a mut dyn Sink, head: &'a [u8], gain: Option<f32>, cores: &'a Cores },
    /// Nowhere: only its loudness is wanted, as it is or with a gain as a factor.
    Meter { gain: Option<f32> },
}

/// Where the sound goes.
struct End<'a> {
    leveller: Option<Leveller>,
    last: Last<'a>,
}

enum Last<'a> {
    Mp3(Box<Mp3Writer<'a>>),
    Meter(Box<Meter>),
}

impl Last<'_> {
    fn push(&mut self, planes: &[&[f32]]) -> Result<(), TranscodeError> {
        match self {
            Self::Mp3(writer) => writer.push(planes),
            Self::Meter(meter) => meter.push(planes),
        }
    }
}

impl<'a> End<'a> {
    fn new(goal: Goal<'a>, rate: u32, channels: Channels, options: &Options) -> Result<Self, TranscodeError> {
        let channels_out = count(channels);
        let (gain, last) = match goal {
            Goal::Mp3 { sink, head, gain, cores } => {
                let quality = options.quality_of(channels);
                let writer = Mp3Writer::new(sink, head, rate, channels_out, quality, cores)?;
                (gain, Last::Mp3(Box::new(writer)))
            }
            Goal::Meter { gain } => (gain, Last::Meter(Box::new(Meter::new(rate, channels_out)?))),
        };
        Ok(Self { leveller: gain.map(|gain| Leveller::new(gain, rate, channels_out)), last })
    }

    fn push(&mut self, planes: &[&[f32]]) -> Result<(), TranscodeError> {
        match &mut self.leveller {
            Some(leveller) => leveller.push(planes, &mut |planes| self.last.push(planes)),
            None => self.last.push(planes),
        }
    }

    fn finish(mut self) -> Result<Last<'a>, TranscodeError> {
        if let Some(leveller) = &mut self.leveller {
            leveller.finish(&mut |planes: &[&[f32]]| self.last.push(planes))?;
        }
        Ok(self.last)
    }
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
    pub(crate) fn new(goal: Goal<'a>, options: &'a Options) -> Self {
        let stage = Stage::Waiting(Some(goal));
        Self { options, stage, held: Vec::new(), held_seconds: 0.0, mixer: None, resampler: None, mixed: Vec::new() }
    }

    /// Appends these samples of a block.
    pub(crate) fn push(&mut self, pcm: &Pcm, range: Range<usize>) -> Result<(), TranscodeError> {
        if range.is_empty() {
            return Ok(());
        }
        if let Stage::Waiting(_) = self.stage {
            let is_mono = pcm.speakers.len() == 1;
            if is_mono && self.options.channels.is_none() && self.held_seconds < UNDECIDED {
                self.held_seconds += range.len() as f64 / f64::from(pcm.rate.max(1));
                let mut block = pcm.clone();
                block.retain(std::slice::from_ref(&range));
                self.held.push(block);
                return Ok(());
            }
            self.begin(if is_mono { Channels::Mono } else { Channels::Stereo }, pcm.rate)?;
        }
        self.write(pcm, range)
    }

    /// Begins, and writes what was held back.
    fn begin(&mut self, of_source: Channels, rate: u32) -> Result<(), TranscodeError> {
        let held = std::mem::take(&mut self.held);
        let Stage::Waiting(goal) = &mut self.stage else { return Ok(()) };
        let Some(goal) = goal.take() else { return Err(failed_before()) };
        let channels = self.options.channels.unwrap_or(of_source);
        let rate = mp3_rate(held.first().map_or(rate, |block| block.rate));
        let rate = self.options.sample_rate.unwrap_or(rate);
        self.stage = Stage::Running { end: End::new(goal, rate, channels, self.options)?, rate, channels };
        held.iter().try_for_each(|block| self.write(block, 0..block.frames()))
    }

    fn write(&mut self, pcm: &Pcm, range: Range<usize>) -> Result<(), TranscodeError> {
        let Stage::Running { end, rate, channels } = &mut self.stage else { return Err(failed_before()) };
        if self.resampler.as_ref().map_or(*rate, Resampler::rate_in) != pcm.rate {
            if let Some(mut old) = self.resampler.take() {
                old.finish(&mut |planes: &[&[f32]]| end.push(planes))?;
            }
            if pcm.rate != *rate {
                self.resampler = Some(Resampler::new(pcm.rate, *rate, count(*channels))?);
            }
        }
        let mixer = match self.mixer.take() {
            Some(mixer) if mixer.takes(pcm) => self.mixer.insert(mixer),
            _ => self.mixer.insert(Mixer::new(&pcm.speakers, count(*channels))),
        };
        mixer.mix(pcm, range, &mut self.mixed);
        match &mut self.resampler {
            Some(resampler) => resampler.push(&self.mixed, &mut |planes: &[&[f32]]| end.push(planes)),
            None => {
                let planes: Vec<&[f32]> = self.mixed.iter().map(Vec::as_slice).collect();
                end.push(&planes)
            }
        }
    }

    /// Gives the last samples to the end.
    fn finish(mut self) -> Result<(Last<'a>, u32, Channels), TranscodeError> {
        if let Some(rate) = self.held.first().map(|block| block.rate) {
            self.begin(Channels::Mono, rate)?;
        }
        let Stage::Running { mut end, rate, channels } = self.stage else { return Err(silent()) };
        if let Some(mut resampler) = self.resampler {
            resampler.finish(&mut |planes: &[&[f32]]| end.push(planes))?;
        }
        Ok((end.finish()?, rate, channels))
    }

    /// Completes the MP3.
    pub(crate) fn made(self) -> Result<Made, TranscodeError> {
        let (Last::Mp3(writer), rate, channels) = self.finish()? else { return Err(failed_before()) };
        let written = writer.finish()?;
        if written.samples == 0 {
            return Err(silent());
        }
        let channels = if channels == Channels::Mono { 1 } else { 2 };
        Ok(Made { samples: written.samples, rate, channels, bitrate: written.bitrate })
    }

    /// How loud it is.
    pub(crate) fn loudness(self) -> Result<Loudness, TranscodeError> {
        let (Last::Meter(meter), ..) = self.finish()? else { return Err(failed_before()) };
        meter.finish()
    }
}

fn count(channels: Channels) -> usize {
    if channels == Channels::Mono { 1 } else { 2 }
}

fn silent() -> TranscodeError {
    TranscodeError::Corrupt { detail: "its audio track is empty".to_owned() }
}

fn failed_before() -> TranscodeError {
    TranscodeError::Internal("the MP3 could not be begun".into())
}
