//! Failures: every code that a job can fail of. `ERRORS.md` is written from this list.

use crate::notify::advice;

/// One way for a conversion to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The stable code, as in [`Problem::code`](crate::transcode::Problem).
    pub code: &'static str,
    /// What it means: a sentence.
    pub meaning: &'static str,
    /// Whether it is tried again before the job fails.
    pub again: Again,
}

/// How often an attempt that failed is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Again {
    /// Never: the next would end the same way.
    No,
    /// Once: twice is no chance, and fails as `poison`.
    Once,
    /// As often as the [`Policy`](crate::job::Policy) allows.
    Yes,
}

macro_rules! failures {
    ($($code:literal, $again:ident, $meaning:literal;)+) => {
        /// Every failure.
        pub const ALL: &'static [Self] = &[$(Self { code: $code, meaning: $meaning, again: Again::$again }),+];
    };
}

impl Failure {
    failures! {
        "no_audio_track", No, "The file has no sound in it.";
        "no_such_track", No, "The file has no such audio track; the detail names those that it has.";
        "start_behind_end", No, "The sound ends before the start that was asked for.";
        "unsupported_codec", No, "The sound is in a codec that can't be decoded; the detail names it.";
        "unsupported_container", No, "The file is in no container that can be read.";
        "encrypted", No, "The sound is encrypted.";
        "corrupt", No, "The file is damaged beyond use.";
        "too_long", No, "The sound is longer than the limit in the detail.";
        "memory_exceeded", No, "The conversion needs more memory than it may have.";
        "cpu_exceeded", No, "The conversion needs more processor time than it may have.";
        "output_exceeded", No, "The MP3 would be larger than it may be.";
        "time_exceeded", Once, "The conversion takes longer than it may.";
        "stalled", Once, "The conversion made no progress for too long.";
        "crashed", Once, "The transcoder crashed.";
        "poison", No, "The transcoder crashed or hung twice on this video, or took its workers down.";
        "video_missing", No, "The uploaded video is no longer there.";
        "video_unavailable", Yes, "The uploaded video could not be opened.";
        "source_unavailable", Yes, "The uploaded video could not be read to its end.";
        "sink_unavailable", Yes, "There was no room for the MP3 while it was made.";
        "mp3_unavailable", Yes, "The MP3 could not be stored.";
        "internal", Yes, "The transcoder failed.";
    }

    /// What the owner can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        advice(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::Retryable;
    use crate::transcode::{Limit, TranscodeError};

    fn find(code: &str) -> Failure {
        *Failure::ALL.iter().find(|known| known.code == code).unwrap_or_else(|| panic!("{code} is not listed"))
    }

    /// Every error of a transcoder; a new one does not compile until it is here.
    fn every_error() -> Vec<TranscodeError> {
        let text = String::new;
        let io = || std::io::Error::other("");
        let mut errors = vec![
            TranscodeError::NoAudioTrack,
            TranscodeError::NoSuchTrack { there: text() },
            TranscodeError::StartBehindEnd { duration: 0.0 },
            TranscodeError::UnsupportedCodec { name: text() },
            TranscodeError::UnsupportedContainer { name: text() },
            TranscodeError::Encrypted,
            TranscodeError::Corrupt { detail: text() },
            TranscodeError::TooLong { limit: 0 },
            TranscodeError::Source(io()),
            TranscodeError::Sink(io()),
            TranscodeError::Internal("".into()),
            TranscodeError::Crashed { detail: text() },
        ];
        let limits = [Limit::Memory, Limit::Cpu, Limit::Time, Limit::Silence, Limit::Output];
        errors.extend(limits.map(|limit| TranscodeError::LimitExceeded { limit }));
        for error in &errors {
            use TranscodeError as E;
            match error {
                E::NoAudioTrack | E::NoSuchTrack { .. } | E::StartBehindEnd { .. } | E::UnsupportedCodec { .. } => {}
                E::UnsupportedContainer { .. } | E::Encrypted | E::Corrupt { .. } | E::TooLong { .. } => {}
                E::Source(_) | E::Sink(_) | E::Internal(_) | E::Crashed { .. } => {}
                E::LimitExceeded {
                    limit: Limit::Memory | Limit::Cpu | Limit::Time | Limit::Silence | Limit::Output,
                } => {}
                // The job is given back or lost, and doesn't fail.
                E::Cancelled => {}
            }
        }
        errors
    }

    #[test]
    fn every_error_of_a_transcoder_is_listed_with_what_becomes_of_it() {
        for error in every_error() {
            let again = match (error.is_crash(), error.is_retryable()) {
                (true, _) => Again::Once,
                (false, true) => Again::Yes,
                (false, false) => Again::No,
            };
            assert_eq!(find(error.code()).again, again, "{error:?}");
        }
    }

    #[test]
    fn what_the_converter_fails_jobs_with_is_listed() {
        let source = [include_str!("convert.rs"), include_str!("job/steps.rs")].concat();
        let codes = ["problem(\"", "code: \""].into_iter().flat_map(|call| source.split(call).skip(1));
        let codes: Vec<&str> = codes.filter_map(|rest| rest.split('"').next()).collect();
        assert!(codes.contains(&"video_missing") && codes.contains(&"poison"), "{codes:?}");
        for code in codes {
            find(code);
        }
    }

    #[test]
    fn nothing_is_listed_twice_or_without_use() {
        let source = include_str!("convert.rs");
        for (n, failure) in Failure::ALL.iter().enumerate() {
            assert!(Failure::ALL[..n].iter().all(|other| other.code != failure.code), "{failure:?}");
            let is_used = every_error().iter().any(|error| error.code() == failure.code);
            assert!(is_used || source.contains(&format!("problem(\"{}\"", failure.code)), "{failure:?}");
        }
    }
}
