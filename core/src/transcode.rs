//! Transcoding: the sound of a video becomes an MP3.
//!
//! A [`Transcoder`] is synchronous, because it is CPU work: callers run it on a blocking thread or in another
//! process. It reads a [`Source`], writes a [`Sink`], and asks its progress callback now and then whether to go on.

use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::retry::{BoxError, Retryable};

mod cores;
mod options;

pub use cores::{Core, CoreBudget, Cores};
pub use options::{Asked, Channels, InvalidOption, Options, Preset, Quality, TrackChoice};

/// Where the bytes of a video come from. Seeking must be possible; it should be cheap to skip forward.
pub trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send + ?Sized> Source for T {}

/// Where the bytes of an MP3 go. Seeking back is needed once, to complete the first frame.
pub trait Sink: Write + Seek + Send {}
impl<T: Write + Seek + Send + ?Sized> Sink for T {}

/// How many of a file's first bytes [`Transcoder::glance`] gets.
pub const GLANCE_BYTES: usize = 64 * 1024;

/// Turns media into MP3s.
pub trait Transcoder: Send + Sync {
    /// Why a file can't be converted, if its first bytes alone are enough to be sure: [`GLANCE_BYTES`] of them, or the whole
    /// file. It takes no time to speak of, and is careful with bytes that mean harm. So whoever sends the wrong file
    /// hears of it before the rest has come. (Checks: `text_is_unsupported_container`, `a_good_file_passes_a_glance`.)
    fn glance(&self, head: &[u8]) -> Option<TranscodeError> {
        let _ = head;
        None
    }

    /// Looks at the headers of `source` and says what is in it, without decoding it all.
    ///
    /// # Errors
    /// As [`Transcoder::transcode`], for what shows in the headers. A file that is understood but can't be converted
    /// is no error: [`SourceInfo::problem`] names the reason. (Checks: `probe_agrees`, `text_is_unsupported_container`,
    /// `empty_source_is_an_error`.)
    fn probe(&self, source: &mut dyn Source) -> Result<SourceInfo, TranscodeError>;

    /// Reads the audio of `source` and writes it as an MP3 to `sink`, which must be empty.
    ///
    /// The MP3 has the length a player would give the source's audio, exact to the sample (LAME tag: delay and
    /// padding). The same input and options give the same bytes. Memory does not grow with the length of the input.
    /// (Checks: `wav_becomes_mp3`, `mono_mixes_down`, `constant_bitrate_is_kept`, `same_input_same_bytes`.)
    ///
    /// `progress` is called several times a second of work; [`ControlFlow::Break`] ends it with
    /// [`TranscodeError::Cancelled`]. (Check: `cancel_is_obeyed`.)
    ///
    /// # Errors
    /// One of [`TranscodeError`]; whatever is in the sink then is rubbish. Never noise with `Ok`. (Checks:
    /// `text_is_unsupported_container`, `empty_source_is_an_error`, `broken_source_is_a_source_error`,
    /// `broken_sink_is_a_sink_error`.)
    fn transcode(
        &self,
        source: &mut dyn Source,
        sink: &mut dyn Sink,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Transcoded, TranscodeError>;
}

/// How far a transcoder has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Seconds of audio done.
    pub position: f64,
    /// Seconds of audio in all, when the source tells.
    pub duration: Option<f64>,
}

impl Progress {
    /// The part that is done, in 0..=1; `None` when the source does not tell its duration.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        let duration = self.duration.filter(|d| *d > 0.0)?;
        Some((self.position / duration).clamp(0.0, 1.0))
    }

    /// The progress of a whole of which this is the part between two fractions.
    #[must_use]
    pub fn part(self, from: f64, to: f64) -> Self {
        let Some(duration) = self.duration else { return self };
        Self { position: from * duration + (to - from) * self.position.min(duration), duration: Some(duration) }
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct SourceInfo {
    /// The container's usual short name: `mp4`, `matroska`, `ogg`, `wav`, `flac`, `mp3`, `adts`, …
    pub container: String,
    /// Every track, in the file's order.
    pub tracks: Vec<TrackInfo>,
    /// Index into `tracks` of the one that would be converted.
    pub chosen: Option<usize>,
    /// The title that the file's tags give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How many chapters it has.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chapters: u32,
    /// Why it can't be converted: an error's code and sentence. `None`: it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl SourceInfo {
    /// The track that would be converted.
    #[must_use]
    pub fn audio(&self) -> Option<&TrackInfo> {
        self.tracks.get(self.chosen?)
    }
}

/// One track of a file.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct TrackInfo {
    /// `audio`, `video`, `subtitle` or `other`.
    pub kind: String,
    /// The codec's usual short name: `aac`, `opus`, `h264`, …
    pub codec: String,
    /// Number of channels (0: not an audio track, or not known before decoding).
    pub channels: u16,
    /// Sample rate in Hz (0: not an audio track, or not known before decoding).
    pub sample_rate: u32,
    /// Seconds, as far as the container tells.
    pub duration: Option<f64>,
    /// The language as the container writes it (ISO 639-2 or BCP 47).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// Why something can't be converted, in words that are kept: a stable code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable snake_case code, as in [`TranscodeError::code`].
    pub code: String,
    /// A sentence for people.
    pub detail: String,
}

/// What came out of [`Transcoder::transcode`].
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Transcoded {
    /// What the source was found to be, with rate, channels and duration as decoded.
    pub source: SourceInfo,
    /// Length of the MP3 in samples per channel, without encoder delay and padding.
    pub samples: u64,
    /// Sample rate of the MP3 in Hz.
    pub sample_rate: u32,
    /// Channels of the MP3: 1 or 2.
    pub channels: u16,
    /// Mean bitrate in bit/s.
    pub bitrate: u32,
    /// Packets that could not be decoded and were replaced by silence.
    pub lost_packets: u64,
}

impl Transcoded {
    /// Length of the MP3 in seconds.
    #[must_use]
    pub fn duration(&self) -> f64 {
        if self.sample_rate == 0 { 0.0 } else { self.samples as f64 / f64::from(self.sample_rate) }
    }
}

/// Why there is no MP3.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscodeError {
    /// The file is understood and has no sound in it.
    #[error("the file has no audio track")]
    NoAudioTrack,
    /// The file has audio tracks, but not the one that was asked for.
    #[error("there is no such audio track: there are {there}")]
    NoSuchTrack {
        /// The numbers of those that there are, and their languages.
        there: String,
    },
    /// The sound ends before the start that was asked for.
    #[error("the sound ends after {duration:.3} seconds, before the start that was asked for")]
    StartBehindEnd {
        /// The length of the sound in seconds.
        duration: f64,
    },
    /// The audio is in a codec nobody here can decode.
    #[error("the audio codec {name} is not supported")]
    UnsupportedCodec {
        /// The codec's usual short name.
        name: String,
    },
    /// Not a media file, or of a kind that is not read.
    #[error("{name} is not a container that can be read")]
    UnsupportedContainer {
        /// What the bytes look like: `avi`, `text`, `zip`, `unknown`, …
        name: String,
    },
    /// The audio is encrypted.
    #[error("the audio is encrypted")]
    Encrypted,
    /// The file is damaged beyond use.
    #[error("the file is damaged: {detail}")]
    Corrupt {
        /// What is wrong with it.
        detail: String,
    },
    /// Longer than the transcoder's limit.
    #[error("the audio is longer than the limit of {limit} seconds")]
    TooLong {
        /// The limit in seconds.
        limit: u64,
    },
    /// The progress callback said to stop.
    #[error("the conversion was cancelled")]
    Cancelled,
    /// Reading the source failed: not the file's fault, so try again.
    #[error("could not read the source")]
    Source(#[source] std::io::Error),
    /// Writing the sink failed, so try again.
    #[error("could not write the mp3")]
    Sink(#[source] std::io::Error),
    /// The transcoder itself failed.
    #[error("the transcoder failed")]
    Internal(#[source] BoxError),
    /// It used more than it may, and was ended from outside.
    #[error("{limit}")]
    LimitExceeded {
        /// Of what.
        limit: Limit,
    },
    /// It ended in disorder: a process of its own died, or did what it may not.
    #[error("the transcoder crashed: {detail}")]
    Crashed {
        /// How, in words for whoever runs it.
        detail: String,
    },
}

/// What a transcoder may use only so much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Limit {
    /// Memory.
    #[error("the conversion needs more memory than it may have")]
    Memory,
    /// Processor time.
    #[error("the conversion needs more processor time than it may have")]
    Cpu,
    /// Time, whatever it is spent on.
    #[error("the conversion takes longer than it may")]
    Time,
    /// Time without any progress.
    #[error("the conversion made no progress for too long")]
    Silence,
    /// Bytes of the MP3.
    #[error("the mp3 gets larger than it may")]
    Output,
}

impl TranscodeError {
    /// The stable code of this error, as jobs and the command line show it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAudioTrack => "no_audio_track",
            Self::NoSuchTrack { .. } => "no_such_track",
            Self::StartBehindEnd { .. } => "start_behind_end",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::UnsupportedContainer { .. } => "unsupported_container",
            Self::Encrypted => "encrypted",
            Self::Corrupt { .. } => "corrupt",
            Self::TooLong { .. } => "too_long",
            Self::Cancelled => "cancelled",
            Self::Source(_) => "source_unavailable",
            Self::Sink(_) => "sink_unavailable",
            Self::Internal(_) => "internal",
            Self::LimitExceeded { limit: Limit::Memory } => "memory_exceeded",
            Self::LimitExceeded { limit: Limit::Cpu } => "cpu_exceeded",
            Self::LimitExceeded { limit: Limit::Time } => "time_exceeded",
            Self::LimitExceeded { limit: Limit::Silence } => "stalled",
            Self::LimitExceeded { limit: Limit::Output } => "output_exceeded",
            Self::Crashed { .. } => "crashed",
        }
    }

    /// The error in words that are kept in a job.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem { code: self.code().to_owned(), detail: self.to_string() }
    }

    /// Whether the transcoder crashed or hung. Once may be chance or a busy machine; twice it is the file.
    #[must_use]
    pub fn is_crash(&self) -> bool {
        matches!(self, Self::Crashed { .. } | Self::LimitExceeded { limit: Limit::Time | Limit::Silence })
    }
}

impl Retryable for TranscodeError {
    /// Memory, processor time and output depend on nothing but the file: the next attempt would need as much.
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Source(_) | Self::Sink(_) | Self::Internal(_)) || self.is_crash()
    }
}
