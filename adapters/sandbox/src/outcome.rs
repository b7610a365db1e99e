//! What a child is told to do and what it says came of it, as JSON; and the check that keeps what it says within bounds.
//!
//! A child may have been taken over by the file it works on. What it says is therefore cleaned like any other input:
//! whoever shows a title or a codec's name must not have to think of who made it up.

use microserve_core::transcode::{Limit, Options, SourceInfo, TrackInfo, TranscodeError, Transcoded};
use serde::{Deserialize, Serialize};

use crate::confine::Layers;
use crate::settings::Limits;

/// No more tracks than this are told of.
const TRACKS: usize = 1024;
/// No sentence or title is longer, in characters.
const SENTENCE: usize = 300;
/// No name of a codec, container or language is longer, in characters.
const NAME: usize = 64;
/// No duration is longer, in seconds: a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// What a child is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) task: Task,
    pub(crate) limits: Limits,
    pub(crate) layers: Layers,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Say how you are confined, and end.
    Nothing,
    Probe,
    Transcode(Box<Options>),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Nothing,
    Probed(SourceInfo),
    Made(Transcoded),
    Failed(Failure),
    Panicked,
    /// There is no such transcoder.
    NotMade(String),
}

/// A [`TranscodeError`] in words alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Failure {
    NoAudioTrack,
    NoSuchTrack(String),
    StartBehindEnd(f64),
    UnsupportedCodec(String),
    UnsupportedContainer(String),
    Encrypted,
    Corrupt(String),
    TooLong(u64),
    Cancelled,
    Source(String),
    Sink(String),
    Internal(String),
    LimitExceeded(Limit),
    Crashed(String),
}

impl From<TranscodeError> for Failure {
    fn from(err: TranscodeError) -> Self {
        match err {
            TranscodeError::NoAudioTrack => Self::NoAudioTrack,
            TranscodeError::NoSuchTrack { there } => Self::NoSuchTrack(there),
            TranscodeError::StartBehindEnd { duration } => Self::StartBehindEnd(duration),
            TranscodeError::UnsupportedCodec { name } => Self::UnsupportedCodec(name),
            TranscodeError::UnsupportedContainer { name } => Self::UnsupportedContainer(name),
            TranscodeError::Encrypted => Self::Encrypted,
            TranscodeError::Corrupt { detail } => Self::Corrupt(detail),
            TranscodeError::TooLong { limit } => Self::TooLong(limit),
            TranscodeError::Cancelled => Self::Cancelled,
            TranscodeError::Source(err) => Self::Source(err.to_string()),
            TranscodeError::Sink(err) => Self::Sink(err.to_string()),
            TranscodeError::LimitExceeded { limit } => Self::LimitExceeded(limit),
            TranscodeError::Crashed { detail } => Self::Crashed(detail),
            TranscodeError::Internal(err) => Self::Internal(err.to_string()),
            err => Self::Internal(err.to_string()),
        }
    }
}

impl From<Failure> for TranscodeError {
    fn from(failure: Failure) -> Self {
        let other = |words: String| std::io::Error::other(cut(&words, SENTENCE));
        match failure {
            Failure::NoAudioTrack => Self::NoAudioTrack,
            Failure::NoSuchTrack(there) => Self::NoSuchTrack { there: cut(&there, SENTENCE) },
            Failure::StartBehindEnd(duration) => Self::StartBehindEnd { duration: duration.clamp(0.0, LONGEST) },
            Failure::UnsupportedCodec(name) => Self::UnsupportedCodec { name: cut(&name, NAME) },
            Failure::UnsupportedContainer(name) => Self::UnsupportedContainer { name: cut(&name, NAME) },
            Failure::Encrypted => Self::Encrypted,
            Failure::Corrupt(detail) => Self::Corrupt { detail: cut(&detail, SENTENCE) },
            Failure::TooLong(limit) => Self::TooLong { limit },
            Failure::Cancelled => Self::Cancelled,
            Failure::Source(words) => Self::Source(other(words)),
            Failure::Sink(words) => Self::Sink(other(words)),
            Failure::Internal(words) => Self::Internal(cut(&words, SENTENCE).into()),
            Failure::LimitExceeded(limit) => Self::LimitExceeded { limit },
            Failure::Crashed(detail) => Self::Crashed { detail: cut(&detail, SENTENCE) },
        }
    }
}

/// The beginning of a text, without what could do harm where it is shown: control characters, and those that turn the
/// direction of writing (Unicode UAX 9, table 1).
pub(crate) fn cut(text: &str, chars: usize) -> String {
    let harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(harmless).take(chars).collect()
}

/// What a child says of a source, within bounds. Both ends do this: the child, so that an answer fits into a frame; the
/// parent, because the child may not be itself.
pub(crate) fn bounded(mut info: SourceInfo) -> SourceInfo {
    info.container = cut(&info.container, NAME);
    info.title = info.title.map(|title| cut(&title, SENTENCE)).filter(|title| !title.is_empty());
    info.tracks.truncate(TRACKS);
    for TrackInfo { kind, codec, duration, language, .. } in &mut info.tracks {
        (*kind, *codec) = (cut(kind, NAME), cut(codec, NAME));
        *language = language.take().map(|language| cut(&language, NAME));
        *duration = duration.filter(|seconds| (0.0..=LONGEST).contains(seconds));
    }
    info.chosen = info.chosen.filter(|chosen| *chosen < info.tracks.len());
    if let Some(problem) = &mut info.problem {
        (problem.code, problem.detail) = (cut(&problem.code, NAME), cut(&problem.detail, SENTENCE));
    }
    info
}

/// What a child says of an MP3, if it can be true of any (ISO/IEC 11172-3 2.4.2.3 and its extensions).
pub(crate) fn plausible(mut made: Transcoded) -> Option<Transcoded> {
    let possible = Options::SAMPLE_RATES.contains(&made.sample_rate)
        && (1..=2).contains(&made.channels)
        && made.bitrate <= 1_000_000
        && made.duration() <= LONGEST;
    made.source = bounded(made.source);
    possible.then_some(made)
}

#[cfg(test)]
mod tests {
    use microserve_core::transcode::Problem;

    use super::*;

    /// One of each that a transcoder can give.
    fn errors() -> Vec<TranscodeError> {
        let broken = || std::io::Error::other("broken");
        let limits = [Limit::Memory, Limit::Cpu, Limit::Time, Limit::Silence, Limit::Output];
        let mut errors = vec![
            TranscodeError::NoAudioTrack,
            TranscodeError::NoSuchTrack { there: "1 (eng), 2".to_owned() },
            TranscodeError::StartBehindEnd { duration: 1.5 },
            TranscodeError::UnsupportedCodec { name: "wmapro".to_owned() },
            TranscodeError::UnsupportedContainer { name: "zip".to_owned() },
            TranscodeError::Encrypted,
            TranscodeError::Corrupt { detail: "no moov".to_owned() },
            TranscodeError::TooLong { limit: 86_400 },
            TranscodeError::Cancelled,
            TranscodeError::Source(broken()),
            TranscodeError::Sink(broken()),
            TranscodeError::Internal("broken".into()),
            TranscodeError::Crashed { detail: "signal 11".to_owned() },
        ];
        errors.extend(limits.map(|limit| TranscodeError::LimitExceeded { limit }));
        errors
    }

    #[test]
    fn every_error_crosses() {
        for (before, err) in errors().into_iter().zip(errors()) {
            let json = serde_json::to_vec(&Failure::from(err)).unwrap();
            let after = TranscodeError::from(serde_json::from_slice::<Failure>(&json).unwrap());
            assert_eq!(after.problem(), before.problem());
            let source = |err: &TranscodeError| std::error::Error::source(err).map(ToString::to_string);
            assert_eq!(source(&after), source(&before));
        }
    }

    #[test]
    fn what_a_child_says_is_kept_within_bounds() {
        let track = TrackInfo {
            kind: "a".repeat(1000),
            codec: "\u{1b}[2J\r\naac".to_owned(),
            duration: Some(f64::INFINITY),
            language: Some("\u{202e}gne".to_owned()),
            ..TrackInfo::default()
        };
        let info = bounded(SourceInfo {
            container: "x\0y".to_owned(),
            tracks: vec![track; 5000],
            chosen: Some(4999),
            title: Some("\n".to_owned()),
            chapters: 3,
            problem: Some(Problem { code: "a\tb".to_owned(), detail: "é".repeat(9999) }),
        });
        assert_eq!((info.container.as_str(), info.tracks.len(), info.chosen, info.title), ("xy", TRACKS, None, None));
        let first = &info.tracks[0];
        assert_eq!((first.kind.len(), first.codec.as_str(), first.duration), (NAME, "[2Jaac", None));
        assert_eq!(first.language.as_deref(), Some("gne"));
        let problem = info.problem.unwrap();
        assert_eq!((problem.code.as_str(), problem.detail.chars().count()), ("ab", SENTENCE));
    }

    #[test]
    fn an_mp3_that_cant_be_is_not_believed() {
        let good =
            Transcoded { samples: 1, sample_rate: 44_100, channels: 2, bitrate: 320_000, ..Transcoded::default() };
        assert!(plausible(good.clone()).is_some());
        for bad in [
            Transcoded { sample_rate: 0, ..good.clone() },
            Transcoded { sample_rate: 44_101, ..good.clone() },
            Transcoded { channels: 0, ..good.clone() },
            Transcoded { channels: 3, ..good.clone() },
            Transcoded { bitrate: u32::MAX, ..good.clone() },
            Transcoded { samples: u64::MAX, ..good.clone() },
        ] {
            assert!(plausible(bad.clone()).is_none(), "{bad:?}");
        }
    }
}
