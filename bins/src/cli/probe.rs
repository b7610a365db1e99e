//! `microserve probe`: what is in a file.

use std::path::PathBuf;

use clap::Args;
use microserve_core::transcode::{SourceInfo, TrackInfo, TranscodeError};

use super::convert::{clock, open, transcoder};
use super::{Failure, Outcome, print};
use crate::config::Transcoder;

/// Say what is in a file and whether it can be converted.
#[derive(Args)]
pub(super) struct Probe {
    /// The file to look at; `-` is standard input
    input: PathBuf,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    transcoder: Transcoder,
}

pub(super) fn run(args: &Probe) -> Outcome {
    let (mut source, name) = open(&args.input)?;
    let info = match transcoder(&args.transcoder)?.probe(&mut source) {
        Ok(info) => info,
        Err(err @ (TranscodeError::Source(_) | TranscodeError::Sink(_))) => {
            return Err(Failure::new(Failure::FILE, err));
        }
        Err(err) => {
            SourceInfo { container: "unknown".to_owned(), problem: Some(err.problem()), ..SourceInfo::default() }
        }
    };
    if args.json {
        print(&serde_json::to_string_pretty(&info)?)?;
    } else {
        show(&name, &info)?;
    }
    match info.problem {
        Some(problem) => {
            Err(Failure::new(Failure::NOT_CONVERTIBLE, format!("{name}: {} ({})", problem.detail, problem.code)))
        }
        None => Ok(()),
    }
}

fn show(name: &str, info: &SourceInfo) -> std::io::Result<()> {
    print(&format!("{name}: {}", info.container))?;
    if let Some(title) = &info.title {
        print(&format!("  title     {title}"))?;
    }
    if info.chapters > 0 {
        print(&format!("  chapters  {}", info.chapters))?;
    }
    for (n, track) in info.tracks.iter().enumerate() {
        let mark = if info.chosen == Some(n) { "  ← would be converted" } else { "" };
        print(&format!("  track {n}   {}{mark}", describe(track)))?;
    }
    print(if info.problem.is_none() { "  can be converted" } else { "  can't be converted" })
}

fn describe(track: &TrackInfo) -> String {
    let mut text = format!("{} {}", track.kind, track.codec);
    if track.channels > 0 {
        text.push_str(&format!(", {} channels", track.channels));
    }
    if track.sample_rate > 0 {
        text.push_str(&format!(", {} Hz", track.sample_rate));
    }
    if let Some(seconds) = track.duration {
        text.push_str(&format!(", {}", clock(seconds)));
    }
    if let Some(language) = &track.language {
        text.push_str(&format!(", {language}"));
    }
    text
}
