//! What an MP3 is to be like: options, their names, and what people may write for them.

use serde::{Deserialize, Serialize};

/// What the MP3 is to be like. The default is what people expect: the whole sound of the track that a player would play,
/// at its own rate and channels; as it is where it is MP3 already, else at a variable bitrate of level 2.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "snake_case")]
pub struct Options {
    /// Constant or variable bitrate. `None`: the sound as it is where the source's is MP3 already, if nothing else asks for
    /// a change ([`Options::changes_sound`]); else [`Quality::default`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Instead of `quality` when the MP3 has one channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality_of_mono: Option<Quality>,
    /// One or two channels. `None`: one if the source has one, else two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Channels>,
    /// The sample rate in Hz, one of [`Options::SAMPLE_RATES`]. `None`: the source's, or the next one that MP3 has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<u32>,
    /// Which of several tracks. `None`: the one that a player would choose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub track: Option<TrackChoice>,
    /// Where in the sound the MP3 begins, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Where in the sound it ends, in seconds from the sound's own beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// How loud the whole is to be, in LUFS (EBU R 128), within [`Options::LOUDNESS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loudness: Option<f64>,
    /// The title, artist, album and date for the ID3 tag, in the place of those that the source names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// As `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artist: Option<String>,
    /// As `title`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
    /// As `title`: a year, or a date as RFC 3339 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The title when neither the source nor `title` names one, usually the name of the uploaded file.
    pub fallback_title: Option<String>,
}

impl Options {
    /// The sample rates of MPEG-1, MPEG-2 and MPEG-2.5 Layer III, in Hz.
    pub const SAMPLE_RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
    /// What [`Options::loudness`] may be, in LUFS.
    pub const LOUDNESS: std::ops::RangeInclusive<f64> = -40.0..=-5.0;

    /// Whether sound that is MP3 already has to be encoded again, because these options ask for something that it may not
    /// be. Which part of it is wanted is no such question.
    #[must_use]
    pub fn changes_sound(&self) -> bool {
        self.quality.is_some()
            || self.quality_of_mono.is_some()
            || self.channels.is_some()
            || self.sample_rate.is_some()
            || self.loudness.is_some()
    }

    /// The quality of an MP3 with so many channels that is encoded.
    #[must_use]
    pub fn quality_of(&self, channels: Channels) -> Quality {
        let of_mono = self.quality_of_mono.filter(|_| channels == Channels::Mono);
        of_mono.or(self.quality).unwrap_or_default()
    }
}

/// How many bits the MP3 spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Constant bitrate in kbit/s, one of [`Quality::BITRATES`].
    Cbr(u16),
    /// LAME's variable bitrate, 0 (best) to 9 (smallest); 2 is about 190 kbit/s for stereo music.
    Vbr(u8),
}

impl Quality {
    /// The constant bitrates that can be asked for, in kbit/s (MPEG-1 Layer III, ISO/IEC 11172-3 2.4.2.3).
    pub const BITRATES: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];

    /// A constant bitrate in kbit/s; `None` unless it is one of [`Quality::BITRATES`].
    #[must_use]
    pub fn cbr(kbps: u16) -> Option<Self> {
        Self::BITRATES.contains(&kbps).then_some(Self::Cbr(kbps))
    }

    /// A variable bitrate's level; `None` above 9.
    #[must_use]
    pub fn vbr(level: u8) -> Option<Self> {
        (level <= 9).then_some(Self::Vbr(level))
    }
}

impl Default for Quality {
    fn default() -> Self {
        Self::Vbr(2)
    }
}

/// How many channels the MP3 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// One: everything is mixed down.
    Mono,
    /// Two: surround is mixed down, mono is on both.
    Stereo,
}

/// Which of several audio tracks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackChoice {
    /// The n-th audio track, counted from 1 in the file's order.
    Number(u16),
    /// The first one in this language, as the container writes it (ISO 639 or BCP 47): `en` finds `eng` and `en-GB` too.
    Language(String),
}

/// Options that go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Variable bitrate, level 2.
    Music,
    /// Speech: one channel at 64 kbit/s.
    Voice,
    /// Speech for publishing: −16 LUFS, 96 kbit/s for one channel and 128 for two.
    Podcast,
}

impl Preset {
    /// Every preset with its name.
    pub const ALL: [(&str, Self); 3] = [("music", Self::Music), ("voice", Self::Voice), ("podcast", Self::Podcast)];

    /// What it stands for.
    #[must_use]
    pub fn options(self) -> Options {
        let none = Options::default();
        match self {
            Self::Music => Options { quality: Some(Quality::Vbr(2)), ..none },
            Self::Voice => Options { quality: Some(Quality::Cbr(64)), channels: Some(Channels::Mono), ..none },
            Self::Podcast => Options {
                quality: Some(Quality::Cbr(128)),
                quality_of_mono: Some(Quality::Cbr(96)),
                loudness: Some(-16.0),
                ..none
            },
        }
    }
}

/// An option that can't be had, and what could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOption {
    /// There is none of this name.
    #[error("`{0}` is not an option: there are {names}", names = NAMES.join(", "))]
    Unknown(String),
    /// It can't have this value, or not beside the others.
    #[error("{0}")]
    Value(String),
}

/// Options as people write them, by name: in a query, a form, or on the command line.
///
/// | name | value |
/// |---|---|
/// | `preset` | `music`, `voice` or `podcast`; the others add to it or replace parts of it |
/// | `bitrate` | constant bitrate: `192`, `192k` or `192000` |
/// | `vbr` | variable bitrate, `0` (best) to `9` (smallest); not together with `bitrate` |
/// | `channels` | `1` or `2`; `mono=true` says `1` |
/// | `sample_rate` | one of [`Options::SAMPLE_RATES`] |
/// | `track` | the n-th audio track, from `1`, or its language |
/// | `start`, `end` | seconds, or `1:02:03.5` |
/// | `normalize` | `true` (−16 LUFS), `false`, or a loudness in LUFS from `-40` to `-5` |
/// | `title`, `artist`, `album`, `date` | for the MP3's tag |
///
/// ```
/// use microserve_core::transcode::{Asked, Channels, Quality};
///
/// let mut asked = Asked::default();
/// asked.set("preset", "voice")?;
/// asked.set("bitrate", "96")?;
/// let options = asked.finish(Some("holiday"))?;
/// assert_eq!((options.quality, options.channels), (Some(Quality::Cbr(96)), Some(Channels::Mono)));
/// # Ok::<(), microserve_core::transcode::InvalidOption>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Asked {
    preset: Option<Preset>,
    normalize: Option<Option<f64>>,
    own: Options,
}

/// The names of all options.
const NAMES: [&str; 14] = [
    "preset",
    "bitrate",
    "vbr",
    "channels",
    "mono",
    "sample_rate",
    "track",
    "start",
    "end",
    "normalize",
    "title",
    "artist",
    "album",
    "date",
];
/// No text is longer, in characters.
const LONGEST_TEXT: usize = 255;
/// What `normalize=true` means, in LUFS.
const USUAL_LOUDNESS: f64 = -16.0;

impl Asked {
    /// Takes one more option.
    ///
    /// # Errors
    /// [`InvalidOption`] when there is none of this name, when it can't have this value, and when it is given twice.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), InvalidOption> {
        let (value, own) = (value.trim(), &mut self.own);
        match name {
            "preset" => once(&mut self.preset, name, preset(value)?),
            "bitrate" => once(&mut own.quality, name, bitrate(value)?),
            "vbr" => once(&mut own.quality, name, vbr(value)?),
            "channels" => once(&mut own.channels, name, channels(value)?),
            "mono" => once(&mut own.channels, name, if flag(name, value)? { Channels::Mono } else { Channels::Stereo }),
            "sample_rate" => once(&mut own.sample_rate, name, sample_rate(value)?),
            "track" => once(&mut own.track, name, track(value)?),
            "start" => once(&mut own.start, name, time(name, value)?),
            "end" => once(&mut own.end, name, time(name, value)?),
            "normalize" => once(&mut self.normalize, name, loudness(value)?),
            "title" => once(&mut own.title, name, text(value)),
            "artist" => once(&mut own.artist, name, text(value)),
            "album" => once(&mut own.album, name, text(value)),
            "date" => once(&mut own.date, name, text(value)),
            _ => {
                let name = name.chars().filter(|c| !c.is_control()).take(64).collect();
                Err(InvalidOption::Unknown(name))
            }
        }
    }

    /// The options of a file whose name, without its ending, is `fallback_title`.
    ///
    /// # Errors
    /// [`InvalidOption`] when they contradict each other.
    pub fn finish(self, fallback_title: Option<&str>) -> Result<Options, InvalidOption> {
        let (preset, own) = (self.preset.map(Preset::options).unwrap_or_default(), self.own);
        if let (Some(start), Some(end)) = (own.start, own.end)
            && start >= end
        {
            return Err(InvalidOption::Value("`end` must be behind `start`".to_owned()));
        }
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Options {
            // A bitrate of one's own is for one channel too.
            quality_of_mono: preset.quality_of_mono.filter(|_| own.quality.is_none()),
            quality: own.quality.or(preset.quality),
            channels: own.channels.or(preset.channels),
            loudness: self.normalize.unwrap_or(preset.loudness),
            fallback_title: filled(fallback_title.map(text)),
            title: filled(own.title),
            artist: filled(own.artist),
            album: filled(own.album),
            date: filled(own.date),
            ..own
        })
    }
}

fn invalid<T>(detail: impl Into<String>) -> Result<T, InvalidOption> {
    Err(InvalidOption::Value(detail.into()))
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), InvalidOption> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => invalid(format!("`{name}` is given twice, or together with one that says the same")),
    }
}

fn preset(value: &str) -> Result<Preset, InvalidOption> {
    match Preset::ALL.iter().find(|(name, _)| *name == value) {
        Some((_, preset)) => Ok(*preset),
        None => invalid(format!("`preset` is one of {}", Preset::ALL.map(|(name, _)| name).join(", "))),
    }
}

fn bitrate(value: &str) -> Result<Quality, InvalidOption> {
    let number = |text: &str| text.parse::<u32>().ok();
    let kbps = match value.strip_suffix(['k', 'K']) {
        Some(kilo) => number(kilo),
        // In bit/s, as ffmpeg has it, when it can't be kbit/s.
        None => number(value).map(|n| if n >= 1000 && n % 1000 == 0 { n / 1000 } else { n }),
    };
    let quality = kbps.and_then(|kbps| Quality::cbr(u16::try_from(kbps).ok()?));
    let known = || Quality::BITRATES.map(|kbps| kbps.to_string()).join(", ");
    quality.ok_or_else(|| InvalidOption::Value(format!("`bitrate` is one of {} (kbit/s)", known())))
}

fn vbr(value: &str) -> Result<Quality, InvalidOption> {
    let quality = value.parse().ok().and_then(Quality::vbr);
    quality.ok_or_else(|| InvalidOption::Value("`vbr` is a number from 0 (best) to 9 (smallest)".to_owned()))
}

fn flag(name: &str, value: &str) -> Result<bool, InvalidOption> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => invalid(format!("`{name}` is true or false")),
    }
}

fn channels(value: &str) -> Result<Channels, InvalidOption> {
    match value {
        "1" => Ok(Channels::Mono),
        "2" => Ok(Channels::Stereo),
        _ => invalid("`channels` is 1 or 2"),
    }
}

fn sample_rate(value: &str) -> Result<u32, InvalidOption> {
    match value.parse().ok().filter(|rate| Options::SAMPLE_RATES.contains(rate)) {
        Some(rate) => Ok(rate),
        None => {
            let known = Options::SAMPLE_RATES.map(|rate| rate.to_string()).join(", ");
            invalid(format!("`sample_rate` is one of {known} (Hz)"))
        }
    }
}

fn track(value: &str) -> Result<TrackChoice, InvalidOption> {
    if let Some(number) = value.parse().ok().filter(|number| *number > 0) {
        return Ok(TrackChoice::Number(number));
    }
    let is_language = value.len() >= 2
        && value.len() <= 35
        && value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if is_language {
        return Ok(TrackChoice::Language(value.to_owned()));
    }
    invalid("`track` is a number from 1, or a language such as `en` or `eng`")
}

/// Seconds, or hours, minutes and seconds with colons between.
fn time(name: &str, value: &str) -> Result<f64, InvalidOption> {
    let parts: Vec<&str> = value.split(':').collect();
    let is_number = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '.');
    let seconds = parts.iter().try_fold(0.0, |sum, part| {
        let number = part.parse::<f64>().ok().filter(|_| is_number(part))?;
        Some(sum * 60.0 + number)
    });
    match seconds.filter(|seconds| parts.len() <= 3 && *seconds <= 1e6) {
        Some(seconds) => Ok(seconds),
        None => invalid(format!("`{name}` is a time in seconds, or like 1:02:03.5")),
    }
}

fn loudness(value: &str) -> Result<Option<f64>, InvalidOption> {
    if let Ok(flag) = flag("normalize", value) {
        return Ok(flag.then_some(USUAL_LOUDNESS));
    }
    match value.parse().ok().filter(|lufs| Options::LOUDNESS.contains(lufs)) {
        Some(lufs) => Ok(Some(lufs)),
        None => invalid("`normalize` is true, false, or a loudness from -40 to -5 (LUFS)"),
    }
}

/// One line of text.
fn text(value: &str) -> String {
    let text: String = value.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &[(&str, &str)]) -> Result<Options, InvalidOption> {
        let mut asked = Asked::default();
        options.iter().try_for_each(|(name, value)| asked.set(name, value))?;
        asked.finish(Some("a.b"))
    }

    #[test]
    fn options_are_understood() {
        for bitrate in ["192", "192k", "192K", "192000", " 192 "] {
            assert_eq!(asked(&[("bitrate", bitrate)]).unwrap().quality, Some(Quality::Cbr(192)), "{bitrate}");
        }
        let options = asked(&[("vbr", "0"), ("channels", "1"), ("title", "Für\nElise")]).unwrap();
        assert_eq!((options.quality, options.channels), (Some(Quality::Vbr(0)), Some(Channels::Mono)));
        assert_eq!(options.title.as_deref(), Some("FürElise"));
        for (text, seconds) in [("90", 90.0), ("1:30", 90.0), ("1:02:03.5", 3723.5), ("0.25", 0.25)] {
            assert_eq!(asked(&[("start", text)]).unwrap().start, Some(seconds));
        }
        for (text, lufs) in [("true", Some(-16.0)), ("-23", Some(-23.0)), ("no", None)] {
            assert_eq!(asked(&[("normalize", text)]).unwrap().loudness, lufs);
        }
        assert_eq!(asked(&[("track", "2")]).unwrap().track, Some(TrackChoice::Number(2)));
        assert_eq!(asked(&[("track", "deu")]).unwrap().track, Some(TrackChoice::Language("deu".into())));
    }

    #[test]
    fn nothing_asked_is_the_default() {
        assert_eq!(asked(&[]).unwrap(), Options { fallback_title: Some("a.b".to_owned()), ..Options::default() });
    }

    #[test]
    fn a_preset_is_added_to_in_any_order() {
        let podcast = asked(&[("normalize", "-19"), ("preset", "podcast")]).unwrap();
        assert_eq!((podcast.loudness, podcast.quality), (Some(-19.0), Some(Quality::Cbr(128))));
        assert_eq!(podcast.quality_of(Channels::Mono), Quality::Cbr(96));
        assert_eq!(podcast.quality_of(Channels::Stereo), Quality::Cbr(128));
        let own = asked(&[("preset", "podcast"), ("vbr", "4")]).unwrap();
        assert_eq!(own.quality_of(Channels::Mono), Quality::Vbr(4));
        assert_eq!(asked(&[("preset", "podcast"), ("normalize", "no")]).unwrap().loudness, None);
    }

    #[test]
    fn what_can_not_be_had_is_refused() {
        for bad in [
            ("bitrate", "193"),
            ("bitrate", "-1"),
            ("bitrate", "99999999999"),
            ("bitrate", ""),
            ("vbr", "10"),
            ("mono", "perhaps"),
            ("channels", "6"),
            ("sample_rate", "44000"),
            ("track", "0"),
            ("track", "../x"),
            ("start", "-1"),
            ("start", "1:2:3:4"),
            ("start", "NaN"),
            ("end", "1e400"),
            ("normalize", "5"),
            ("preset", "loud"),
            ("bitrat", "192"),
        ] {
            assert!(asked(&[bad]).is_err(), "{bad:?}");
        }
        for contradiction in
            [[("bitrate", "192"), ("vbr", "2")], [("mono", "1"), ("channels", "2")], [("start", "5"), ("end", "5")]]
        {
            assert!(asked(&contradiction).is_err(), "{contradiction:?}");
        }
    }
}
