//! The transcoder itself: from the first byte of a source to the last of an MP3.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use microserve_core::transcode::{
    Cores, Options, Progress, Sink, Source, SourceInfo, TrackChoice, TranscodeError, Transcoded, Transcoder,
};

use crate::audio::{Pcm, Speaker};
use crate::choice::choose;
use crate::chosen::{Chosen, describe, found, part_of, wanted};
use crate::codecs::Codecs;
use crate::decode::{self, Decoder};
use crate::demux::{self, Opened, Packet, Read, Track};
use crate::guard::{Longest, Reporter, guarded};
use crate::input::Input;
use crate::output::{Goal, Made, Output};
use crate::passthrough;
use crate::sniff::{Container, id3v2_size, sniff};
use crate::timeline::{Block, Piece, Timeline};

/// Turns the sound of videos into MP3s.
#[derive(Clone, Debug)]
pub struct NativeTranscoder {
    limits: Limits,
    cores: Cores,
    codecs: Codecs,
}

impl Default for NativeTranscoder {
    fn default() -> Self {
        Self { limits: Limits::default(), cores: Cores::of_process(), codecs: Codecs::default() }
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

    /// The same, with decoders beside the built-in ones.
    #[must_use]
    pub fn with_codecs(mut self, codecs: Codecs) -> Self {
        self.codecs = codecs;
        self
    }
}

/// Why a file can't be converted, if its first bytes alone tell: it is in no container that is read here. What
/// [`NativeTranscoder`] makes of it, for whoever has that in another process.
#[must_use]
pub fn glance(head: &[u8]) -> Option<TranscodeError> {
    // There may be any number of tags, of any size, and anything behind them.
    if id3v2_size(head).is_some() {
        return None;
    }
    match sniff(head) {
        Container::Unsupported(name) => Some(TranscodeError::UnsupportedContainer { name: name.to_owned() }),
        _ => None,
    }
}

impl Transcoder for NativeTranscoder {
    fn glance(&self, head: &[u8]) -> Option<TranscodeError> {
        glance(head)
    }

    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError> {
        let opened = guarded(|| demux::open(Input::new(source)?))??;
        let chosen = self.choose_track(&opened.tracks, None).and_then(|n| {
            self.check_duration(&opened.tracks[n])?;
            self.decoder_of(&opened.tracks[n])?;
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
        if let Some(loudness) = options.loudness {
            let (gain, done) = self.gain_to(loudness, source, options, progress)?;
            let chosen = self.choose(source, options)?;
            return self.encode(chosen, sink, options, Some(gain), &mut |now| progress(now.part(done, 1.0)));
        }
        let chosen = self.choose(source, options)?;
        if passthrough::is_possible(&chosen.track, options) {
            let longest = self.longest(chosen.bytes);
            let mut looking = |now: Progress| progress(now.part(0.0, LOOKING));
            let plan = passthrough::plan(chosen, options, longest, &mut looking)?;
            let chosen = self.choose(source, options)?;
            let rest = &mut |now: Progress| progress(now.part(LOOKING, 1.0));
            return match plan {
                Some(plan) => passthrough::copy(&plan, chosen, sink, options, rest),
                None => self.encode(chosen, sink, options, None, rest),
            };
        }
        self.encode(chosen, sink, options, None, progress)
    }
}

/// The part of the work that measuring the loudness once is, and the most of it that goes into that.
const MEASURING: f64 = 0.1;
const MOST_MEASURING: f64 = 0.4;
/// What a limiter takes away is made up for by at most this factor, 9 dB: beyond, more gain only flattens the sound.
const MOST_MORE: f32 = 2.8;
/// A gain that is off by no more than this, 0.1 dB, is right.
const EXACT: f32 = 0.012;
/// The part of the work that looking whether the sound can be copied is.
const LOOKING: f64 = 0.1;

impl NativeTranscoder {
    /// Reads the headers, and chooses a track.
    fn choose<'s>(&self, source: &'s mut dyn Source, options: &Options) -> Result<Chosen<'s>, TranscodeError> {
        let input = Input::new(source)?;
        let bytes = input.len();
        let mut opened = guarded(|| demux::open(input))??;
        let n = self.choose_track(&opened.tracks, options.track.as_ref())?;
        let track = opened.tracks[n].clone();
        self.check_duration(&track)?;
        opened.packets.select(n);
        Ok(Chosen { opened, n, track, bytes })
    }

    /// The gain as a factor that makes the sound so loud, in LUFS, and the part of the work that finding it was. What the
    /// limiter then takes away of the peaks is measured and made up for, some few times.
    fn gain_to(
        &self,
        loudness: f64,
        source: &mut dyn Source,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(f32, f64), TranscodeError> {
        let mut measure = |gain, from: f64| {
            let chosen = self.choose(source, options)?;
            let progress = &mut |now: Progress| progress(now.part(from, from + MEASURING));
            self.run(chosen, options, Goal::Meter { gain }, progress)?.output.loudness()
        };
        let plain = measure(None, 0.0)?;
        let (plain_gain, mut done) = (plain.gain_to(loudness), MEASURING);
        let (mut gain, most) = (plain_gain, plain_gain * MOST_MORE);
        while plain.is_limited(gain) && done < MOST_MEASURING && gain < most {
            let more = measure(Some(gain), done)?.gain_to(loudness);
            done += MEASURING;
            gain = (gain * more).min(most);
            if (1.0 - more).abs() < EXACT {
                break;
            }
        }
        Ok((gain, done))
    }

    /// Makes the MP3, with a gain as a factor.
    fn encode(
        &self,
        chosen: Chosen<'_>,
        sink: &mut dyn Sink,
        options: &Options,
        gain: Option<f32>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError> {
        let head = chosen.head(options, Some("LAME"))?;
        let goal = Goal::Mp3 { sink: &mut *sink, head: head.bytes(), gain, cores: &self.cores };
        let made = self.run(chosen, options, goal, progress)?.transcoded()?;
        head.close(sink, made.samples, made.sample_rate)?;
        Ok(made)
    }

    /// Decodes what the options ask for, on its way to a goal.
    fn run<'a>(
        &'a self,
        mut chosen: Chosen<'_>,
        options: &'a Options,
        goal: Goal<'a>,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Run<'a>, TranscodeError> {
        let duration = chosen.duration(options);
        let Chosen { opened, n, track, bytes } = &mut chosen;
        let part = part_of(options);
        let mut run = Run {
            codecs: &self.codecs,
            decoder: self.decoder_of(track)?,
            timeline: Timeline::new(track),
            longest: self.longest(*bytes),
            output: Output::new(goal, options),
            source: describe(opened, Some(*n)),
            track: track.clone(),
            part,
            pcm: Pcm::default(),
            silence: Pcm::default(),
            format: (0, Vec::new()),
            last_frames: 0,
            decoded: 0,
            lost: 0,
            bytes: 0,
            seconds: 0.0,
            heard: 0.0,
        };
        run.all(opened, *bytes, &mut Reporter::new(progress, duration))?;
        if run.seconds <= part.0 && part.0 > 0.0 {
            return Err(TranscodeError::StartBehindEnd { duration: run.seconds });
        }
        Ok(run)
    }

    fn choose_track(&self, tracks: &[Track], asked: Option<&TrackChoice>) -> Result<usize, TranscodeError> {
        guarded(|| choose(tracks, asked, |track| self.codecs.can_decode(track)))?
    }

    fn decoder_of(&self, track: &Track) -> Result<Box<dyn Decoder>, TranscodeError> {
        guarded(|| self.codecs.open(track))?
    }

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
        Longest::new(self.limits.longest, bytes)
    }
}

/// A conversion under way.
struct Run<'a> {
    source: SourceInfo,
    track: Track,
    codecs: &'a Codecs,
    decoder: Box<dyn Decoder>,
    timeline: Timeline,
    longest: Longest,
    output: Output<'a>,
    /// Where in the sound what is wanted begins and ends, in seconds.
    part: (f64, f64),
    /// The last block.
    pcm: Pcm,
    /// Silence of the same kind.
    silence: Pcm,
    /// The rate and the loudspeakers of what was decoded last.
    format: (u32, Vec<Speaker>),
    /// Samples that the last packet decoded to.
    last_frames: usize,
    decoded: u64,
    lost: u64,
    /// Bytes of all packets.
    bytes: u64,
    /// Seconds of sound so far,
    seconds: f64,
    /// and without the silence in the place of what is missing.
    heard: f64,
}

/// So many more packets may be lost than decoded before it is clear that waiting for better ones is no use.
const MOST_LOST: u64 = 10_000;
/// All packets together may be so many times as large as the file, whose lists of samples may point anywhere.
const MOST_BYTES: u64 = 4;
/// Less than so many seconds, and than this share of what the file says it has, is not worth an MP3 if it is damaged.
const LEAST_SECONDS: f64 = 1.0;
const LEAST_SHARE: f64 = 0.1;

impl Run<'_> {
    fn all(&mut self, opened: &mut Opened<'_>, bytes: u64, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        let mut packet = Packet::default();
        while !self.timeline.is_over() && self.seconds < self.part.1 {
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
                Read::End => {
                    self.finish(reporter)?;
                    break;
                }
            };
            reporter.count(self.seconds, small)?;
        }
        // A decoder that is fed with something else's bytes fails most of the time: what it makes then is noise.
        if self.decoded == 0 || self.lost > self.decoded {
            return Err(self.mostly_lost());
        }
        self.check_share(opened.packets.is_damaged())
    }

    /// Of a damaged file that says how long it is, a moment of sound is no result that anybody wants, and nobody would
    /// look for what is missing behind "done". More than that is what could be saved of a file that was cut off.
    fn check_share(&self, is_damaged: bool) -> Result<(), TranscodeError> {
        let is_whole = self.part.1.is_infinite();
        let wanted = self.track.info.duration.filter(|_| is_whole && (is_damaged || self.lost > 0));
        let Some(duration) = wanted else { return Ok(()) };
        if self.heard >= LEAST_SECONDS || self.heard >= duration * LEAST_SHARE {
            return Ok(());
        }
        let detail = format!("only {:.2} s of its {duration:.0} s of sound could be decoded", self.heard);
        Err(TranscodeError::Corrupt { detail })
    }

    fn mostly_lost(&self) -> TranscodeError {
        if let Some(name) = self.decoder.turned_out().filter(|_| self.decoded == 0) {
            return TranscodeError::UnsupportedCodec { name: name.to_owned() };
        }
        let detail = format!("{} of {} packets could not be decoded", self.lost, self.lost + self.decoded);
        let detail = if self.lost == 0 { "its audio track is empty".to_owned() } else { detail };
        TranscodeError::Corrupt { detail }
    }

    fn packet(&mut self, packet: &Packet, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        let decoded = guarded(|| self.decoder.decode(&packet.data, &mut self.pcm))?;
        let decoded = match decoded.map(|()| decode::check(&self.pcm, &self.track.info.codec)) {
            Ok(Err(err)) if self.decoded == 0 => return Err(err),
            // Nonsense amid sound is damage. Whatever was left in the block is nothing to go on with.
            Ok(Err(_)) | Err(_) => {
                self.pcm.reset(self.format.0, &self.format.1);
                Err(decode::Damaged)
            }
            Ok(Ok(())) => Ok(()),
        };
        let is_sound = match decoded {
            Ok(()) => {
                // What decodes to nothing proves nothing: some decoders begin like that.
                self.decoded += u64::from(self.pcm.frames() > 0);
                self.last_frames = self.pcm.frames();
                if self.format.0 != self.pcm.rate || self.format.1 != self.pcm.speakers {
                    self.format = (self.pcm.rate, self.pcm.speakers.clone());
                }
                true
            }
            // A packet that is lost is as long as the one before, and silent.
            Err(decode::Damaged) => {
                self.lost += 1;
                self.pcm.silence(self.last_frames);
                false
            }
        };
        if self.lost > self.decoded.saturating_add(MOST_LOST) {
            return Err(self.mostly_lost());
        }
        self.hear(packet, is_sound, reporter)
    }

    /// What the decoder has kept to itself so far.
    fn finish(&mut self, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        guarded(|| self.decoder.finish(&mut self.pcm))?;
        if decode::check(&self.pcm, &self.track.info.codec).is_err() {
            self.pcm.reset(self.format.0, &self.format.1);
        }
        self.hear(&Packet::default(), true, reporter)
    }

    /// Encodes what a packet was decoded to, as far as it is heard. `is_sound`: it is no silence in the place of sound.
    fn hear(&mut self, packet: &Packet, is_sound: bool, reporter: &mut Reporter<'_>) -> Result<(), TranscodeError> {
        if self.pcm.rate == 0 {
            return Ok(());
        }
        if let Some(most) = packet.at_most {
            let most = usize::try_from(most.frames(self.pcm.rate)).unwrap_or(usize::MAX);
            self.pcm.retain(std::slice::from_ref(&(0..most)));
        }
        let (frames, rate) = (self.pcm.frames(), self.pcm.rate);
        let trims = (packet.trim_start.frames(rate), packet.trim_end.frames(rate));
        for piece in self.timeline.place(&Block { frames, rate, trims, time: packet.time }) {
            match piece {
                Piece::Silence(frames) => self.silence(frames, reporter)?,
                Piece::Sound(range) => {
                    let wanted = self.wanted(range.len(), rate);
                    let seconds = range.len() as f64 / f64::from(rate);
                    self.seconds += seconds;
                    self.heard += if is_sound { seconds } else { 0.0 };
                    self.longest.check(self.seconds)?;
                    self.output.push(&self.pcm, range.start + wanted.start..range.start + wanted.end)?;
                }
            }
        }
        Ok(())
    }

    /// What is wanted of so many samples that come next.
    fn wanted(&self, frames: usize, rate: u32) -> Range<usize> {
        wanted(self.part, self.seconds, frames, rate)
    }

    /// The MP3, complete.
    fn transcoded(self) -> Result<Transcoded, TranscodeError> {
        let channels = u16::try_from(self.pcm.speakers.len()).unwrap_or(0);
        let source = found(self.source, self.pcm.rate, channels, self.seconds, self.part.1.is_infinite());
        let Made { samples, rate: sample_rate, channels, bitrate } = self.output.made()?;
        Ok(Transcoded { source, samples, sample_rate, channels, bitrate, lost_packets: self.lost })
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
            let wanted = self.wanted(some as usize, rate);
            self.output.push(&self.silence, wanted)?;
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
        self.decoder = guarded(|| self.codecs.open(&track))??;
        self.track = track;
        self.last_frames = 0;
        Ok(())
    }
}
