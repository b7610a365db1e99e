//! What the MP3 is to be like, as options of a command line: of `convert`, and of `upload`.

use clap::Args;
use microserve_core::transcode::{Asked, InvalidOption, Options};

/// What the MP3 is to be like.
#[derive(Args)]
#[command(next_help_heading = "The MP3")]
pub(super) struct Wanted {
    /// Options that go together, to which others add: music (variable bitrate, level 2), voice (one channel, 64 kbit/s)
    /// or podcast (-16 LUFS, 128 kbit/s, 96 for one channel)
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Constant bitrate in kbit/s: 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256 or 320
    #[arg(long, value_name = "RATE", conflicts_with = "vbr")]
    bitrate: Option<String>,

    /// Variable bitrate, 0 (best) to 9 (smallest) [default: sound that is MP3 already stays as it is; else 2, about 190
    /// kbit/s for stereo music]
    #[arg(long, value_name = "LEVEL")]
    vbr: Option<String>,

    /// Mix all channels down to one
    #[arg(long, conflicts_with = "channels")]
    mono: bool,

    /// Channels: 1 or 2 [default: 1 if the sound has one, else 2]
    #[arg(long, value_name = "N")]
    channels: Option<String>,

    /// Sample rate in Hz: 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 or 48000 [default: the sound's]
    #[arg(long, value_name = "HZ")]
    sample_rate: Option<String>,

    /// The audio track: its number among the file's audio tracks, from 1, or its language [default: what a player plays]
    #[arg(long, value_name = "TRACK")]
    track: Option<String>,

    /// Begin here: seconds, or 1:02:03.5
    #[arg(long, value_name = "TIME")]
    start: Option<String>,

    /// End here
    #[arg(long, value_name = "TIME")]
    end: Option<String>,

    /// Make it as loud as others (EBU R 128), by default -16 LUFS
    #[arg(long, value_name = "LUFS", num_args = 0..=1, default_missing_value = "true", allow_negative_numbers = true)]
    normalize: Option<String>,

    /// The title for the tag [default: the video's own, or the file's name]
    #[arg(long)]
    title: Option<String>,

    /// The artist for the tag
    #[arg(long)]
    artist: Option<String>,

    /// The album for the tag
    #[arg(long)]
    album: Option<String>,

    /// The date for the tag: a year, or 2026-11-28
    #[arg(long)]
    date: Option<String>,
}

impl Wanted {
    /// What was asked for, by the names that the HTTP API has for it too.
    pub(super) fn asked(&self) -> Vec<(&'static str, &str)> {
        let asked = [
            ("preset", self.preset.as_deref()),
            ("bitrate", self.bitrate.as_deref()),
            ("vbr", self.vbr.as_deref()),
            ("mono", self.mono.then_some("true")),
            ("channels", self.channels.as_deref()),
            ("sample_rate", self.sample_rate.as_deref()),
            ("track", self.track.as_deref()),
            ("start", self.start.as_deref()),
            ("end", self.end.as_deref()),
            ("normalize", self.normalize.as_deref()),
            ("title", self.title.as_deref()),
            ("artist", self.artist.as_deref()),
            ("album", self.album.as_deref()),
            ("date", self.date.as_deref()),
        ];
        asked.into_iter().filter_map(|(option, value)| Some((option, value?))).collect()
    }

    pub(super) fn options(&self) -> Result<Options, InvalidOption> {
        let mut asked = Asked::default();
        for (option, value) in self.asked() {
            asked.set(option, value)?;
        }
        asked.finish(None)
    }
}
