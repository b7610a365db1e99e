//! The transcoder itself: from the first byte of a source to the last of an MP3.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use microserve_core::transcode::{
    Cores, Options, Progress, Sink, Source, SourceInfo, TranscodeError, Transcoded, Transcoder,
};

use crate::audio::Pcm;
use crate::decode::{self, Decoder};
use crate::demux::{self, Opened, Packet, Read, Track};
use crate::input::Input;
use crate::output::Output;
use crate::timeline::{Block, Piece, Timeline};

/// Turns the sound of videos into MP3s.
#[derive(Clone, Debug)]
pub struct NativeTranscoder {
    limits: Limits,
    cores: Cores,
}

impl Default for NativeTranscoder {
    fn default() -> Self {
        Self { limits: Limits::default(), cores: Cores::of_process() }
    }
}

/// What a source may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest sound that is converted. Default: 24 hours.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { longest: Duration::from_secs(24 * 60 * 60) }
    }
}

/// Seconds of sound that a byte of input may hold, on top of a minute for the whole file. Silence in the thriftiest
/// codecs stays below 0.025; a file beyond this was made to keep somebody busy.
const DENSEST: f64 = 0.1;

impl NativeTranscoder {
    /// A transcoder with limits of one's own.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The same, with cores of one's own instead of [`Cores::of_process`]. They make it faster; the MP3 is the same.
    #[must_use]
    pub fn with_cores(mut self, cores: Cores) -> Self {
        self.cores = cores;
        self
    }
}

impl Transcoder for NativeTranscoder {
    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        let opened = guarded(|| demux::open(Input::new(source)?))??;
        let chosen = choose(&opened.tracks).and_then(|n| {
            self.check_duration(&opened.tracks[n])?;
            decoder_of(&opened.tracks[n])?;
            Ok(n)
        });
        let problem = chosen.as_ref().err().map(TranscodeError::problem);
        Ok(SourceInfo { problem, ..describe(&opened, chosen.ok()) })
    }

    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let input = Input::new(source)?;
        let bytes = input.len();
        let mut opened = guarded(|| demux::open(input))??;
        let chosen = choose(&opened.tracks)?;
        let track = opened.tracks[chosen].clone();
        self.check_duration(&track)?;
        let head = opened.tags.to_id3(options.fallback_title.as_deref())?;
        opened.packets.select(chosen);
        let mut run = Run {
            decoder: decoder_of(&track)?,
            timeline: Timeline::new(&track),
            longest: self.longest(bytes),
            output: Output::new(sink, head, options, self.cores.clone()),
            track,
            pcm: Pcm::default(),
            silence: Pcm::default(),
            last_frames: 0,
            decoded: 0,
            lost: 0,
            bytes: 0,
            seconds: 0.0,
        };
        let duration = run.track.info.duration;
        run.all(&mut opened, bytes, &mut Reporter { progress, duration, at: 0.0, packets: 0 })?;

        let mut source = describe(&opened, Some(chosen));
        let info = &mut source.tracks[chosen];
        (info.sample_rate, info.channels) = (run.pcm.rate, u16::try_from(run.pcm.speakers.len()).unwrap_or(0));
        // It was summed up block by block: what is below a microsecond is rounding.
        info.duration = Some((run.seconds * 1e6).round() / 1e6);
        let lost_packets = run.lost;
        let made = run.output.finish()?;
        let (samples, bitrate) = (made.samples, made.bitrate);
        Ok(Transcoded { source, samples, sample_rate: made.rate, channels: made.channels, bitrate, lost_packets })
    }
}

impl NativeTranscoder {
    fn check_duration(&self, track: &Track) -> Result<(), TranscodeError> {
        let longest = self.limits.longest;
        match track.info.duration {
            Some(seconds) if seconds > longest.as_secs_f64() && !track.estimated => {
                Err(TranscodeError::TooLong { limit: longest.as_secs() })
            }
            _ => Ok(()),
        }
    }

    fn longest(&self, bytes: u64) -> Longest {
        Longest { allowed: self.limits.longest, plausible: 60.0 + bytes as f64 * DENSEST }
    }
}

/// Panics of a demuxer or decoder end here: they are written for good files, and this one is not.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, TranscodeError> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| TranscodeError::Corrupt { detail: "its contents make no sense to the decoder".to_owned() })
}

fn decoder_of(track: &Track) -> Result<Box<dyn Decoder>, TranscodeError> {
    guarded(|| decode::open(&track.codec, &track.info.codec))?
}

/// The track to convert: the one that the file prefers among those that can be converted.
fn choose(tracks: &[Track]) -> Result<usize, TranscodeError> {
    let audio = || tracks.iter().enumerate().filter(|(_, track)| track.is_audio());
    let usable = || audio().filter(|(_, track)| track.codec.is_supported() && !track.encrypted);
    if let Some((n, _)) = usable().find(|(_, track)| track.preferred).or_else(|| usable().next()) {
        return Ok(n);
    }
    match audio().find(|(_, track)| track.preferred).or_else(|| audio().next()) {
        None => Err(TranscodeError::NoAudioTrack),
        Some((_, track)) if track.encrypted => Err(TranscodeError::Encrypted),
        Some((_, track)) => Err(TranscodeError::UnsupportedCodec { name: track.info.codec.clone() }),
    }
}

fn describe(opened: &Opened<'_>, chosen: Option<usize>) -> SourceInfo {
    SourceInfo {
        container: opened.container.name().to_owned(),
        tracks: opened.tracks.iter().map(|track| track.info.clone()).collect(),
        chosen,
        title: opened.tags.title.clone(),
        problem: None,
    }
}

/// How long the sound may get.
struct Longest {
    allowed: Duration,
    /// No honest file of this size has more seconds.
    plausible: f64,
}

impl Longest {
    fn check(&self, seconds: f64) -> Result<(), TranscodeError> {
        if seconds > self.allowed.as_secs_f64() {
            return Err(TranscodeError::TooLong { limit: self.allowed.as_secs() });
        }
        if seconds > self.plausible {
            return Err(TranscodeError::Corrupt { detail: "it holds more sound than its size allows".to_owned() });
        }
        Ok(())
    }
}

/// A conversion under way.
struct Run<'a> {
    track: Track,
    decoder: Box<dyn Decoder>,
    timeline: Timeline,
    longest: Longest,
    output: Output<'a>,
    /// The last block.
    pcm: Pcm,
    /// Silence of the same kind.
    silence: Pcm,
    /// Samples that the last packet decoded to.
    last_frames: usize,
    decoded: u64,
    lost: u64,
    /// Bytes of all packets.
    bytes: u64,
    /// Seconds of sound so far.
    seconds: f64,
}

/// Tells the caller how far a conversion is, several times a second of work.
struct Reporter<'a> {
    progress: &'a mut dyn FnMut(Progress) -> ControlFlow<()>,
    duration: Option<f64>,
    /// Seconds of sound when it last told.
    at: f64,
    /// Packets since.
    packets: u32,
}

impl Reporter<'_> {
    /// Seconds of sound, and packets, between two reports.
    const EVERY: (f64, u32) = (0.5, 64);

    /// A packet was dealt with, or something else that may be a good deal of work.
    fn count(&mut self, seconds: f64, small: bool) -> Result<(), TranscodeError> {
        self.packets += if small { 1 } else { Self::EVERY.1 };
        if self.packets < Self::EVERY.1 && seconds - self.at < Self::EVERY.0 {
            return Ok(());
        }
        (self.packets, self.at) = (0, seconds);
        match (self.progress)(Progress { position: seconds, duration: self.duration }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(TranscodeError::Cancelled),
        }
    }
}

/// So many more packets may be lost than decoded before it is clear that waiting for better ones is no use.
const MOST_LOST: u64 = 10_000;
/// All packets together may be so many times as large as the file, whose lists of samples may point anywhere.
const MOST_BYTES: u64 = 4;

impl Run<'_> {
    fn all(&mut self, opened: &mut Opened<'_>, bytes: u64, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        let mut packet = Packet::default();
        while !self.timeline.is_over() {
            let small = match guarded(|| opened.packets.next(&mut packet))?? {
                Read::Packet => {
                    self.bytes += packet.data.len() as u64;
                    if self.bytes > bytes.saturating_mul(MOST_BYTES).saturating_add(1 << 20) {
                        let detail = "its packets are the same bytes over and over".to_owned();
                        return Err(TranscodeError::Corrupt { detail });
                    }
                    self.packet(&packet, reporter)?;
                    true
                }
                Read::Nothing => false,
                Read::Decoder(track) => {
                    self.decode_as(*track)?;
                    false
                }
                Read::Changed(track) => {
                    self.timeline = Timeline::new(&track);
                    self.decode_as(*track)?;
                    false
                }
                Read::End => break,
            };
            reporter.count(self.seconds, small)?;
        }
        // A decoder that is fed with something else's bytes fails most of the time: what it makes then is noise.
        if self.decoded == 0 || self.lost > self.decoded {
            return Err(self.mostly_lost());
        }
        Ok(())
    }

    fn mostly_lost(&self) -> TranscodeError {
        let detail = format!("{} of {} packets could not be decoded", self.lost, self.lost + self.decoded);
        let detail = if self.lost == 0 { "its audio track is empty".to_owned() } else { detail };
        TranscodeError::Corrupt { detail }
    }

    fn packet(&mut self, packet: &Packet, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        match guarded(|| self.decoder.decode(&packet.data, &mut self.pcm))? {
            Ok(()) => {
                decode::check(&self.pcm, &self.track.info.codec)?;
                self.decoded += 1;
                self.last_frames = self.pcm.frames();
            }
            // A packet that is lost is as long as the one before, and silent.
            Err(decode::Damaged) => {
                self.lost += 1;
                self.pcm.silence(self.last_frames);
            }
        }
        if self.lost > self.decoded.saturating_add(MOST_LOST) {
            return Err(self.mostly_lost());
        }
        if self.pcm.rate == 0 {
            return Ok(());
        }
        if let Some(most) = packet.at_most {
            let most = usize::try_from(most.frames(self.pcm.rate)).unwrap_or(usize::MAX);
            self.pcm.retain(std::slice::from_ref(&(0..most)));
        }
        let (frames, rate) = (self.pcm.frames(), self.pcm.rate);
        let trims = (packet.trim_start.frames(rate), packet.trim_end.frames(rate));
        let pieces = self.timeline.place(&Block { frames, rate, trims, time: packet.time });
        for piece in pieces.to_vec() {
            match piece {
                Piece::Silence(frames) => self.silence(frames, reporter)?,
                Piece::Sound(range) => {
                    self.seconds += range.len() as f64 / f64::from(rate);
                    self.longest.check(self.seconds)?;
                    self.output.push(&self.pcm, range)?;
                }
            }
        }
        Ok(())
    }

    /// Silence, up to hours of it.
    fn silence(&mut self, frames: u64, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        let rate = self.pcm.rate;
        self.longest.check(self.seconds + frames as f64 / f64::from(rate))?;
        self.silence.reset(rate, &self.pcm.speakers);
        let (mut left, before) = (frames, self.seconds);
        while left > 0 {
            let some = left.min(rate.into());
            self.silence.silence(some as usize);
            self.output.push(&self.silence, 0..some as usize)?;
            left -= some;
            self.seconds = before + (frames - left) as f64 / f64::from(rate);
            reporter.count(self.seconds, true)?;
        }
        Ok(())
    }

    /// From here on packets are those of another track.
    fn decode_as(&mut self, track: Track) -> Result<(), TranscodeError> {
        if track.encrypted {
            return Err(TranscodeError::Encrypted);
        }
        if !track.codec.is_supported() {
            return Err(TranscodeError::UnsupportedCodec { name: track.info.codec });
        }
        self.decoder = decoder_of(&track)?;
        self.track = track;
        self.last_frames = 0;
        Ok(())
    }
}
