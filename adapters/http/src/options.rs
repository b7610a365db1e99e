//! Options: what the MP3 is to be like, from the query or from parts of the form.
//!
//! | name | value |
//! |---|---|
//! | `bitrate` | constant bitrate: `192`, `192k` or `192000` |
//! | `vbr` | variable bitrate, `0` (best) to `9` (smallest); not together with `bitrate` |
//! | `mono` | `true` or `false` (also `1`, `0`, `yes`, `no`) |
//! | `channels` | `1` is `mono=true`, `2` is `mono=false` |
//! | `title` | what the MP3's tag says if the video names no title |

use microserve_core::transcode::{Options, Quality};

use crate::filename;
use crate::problem::{Code, Problem};

/// A longer value is none of ours (bytes).
pub(crate) const MAX_VALUE: usize = 1024;
const MAX_TITLE: usize = 255;

/// Options as far as they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    quality: Option<Quality>,
    mono: Option<bool>,
    title: Option<String>,
}

impl Asked {
    /// Takes one more option.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let value = value.trim();
        match name {
            "bitrate" => once(&mut self.quality, name, bitrate(value)?),
            "vbr" => once(&mut self.quality, name, vbr(value)?),
            "mono" => once(&mut self.mono, name, flag(value)?),
            "channels" => once(&mut self.mono, name, channels(value)?),
            "title" => once(&mut self.title, name, filename::text(value, MAX_TITLE)),
            _ => {
                let name = filename::text(name, 64);
                Err(invalid(format!(
                    "`{name}` is not an option: there are bitrate, vbr, mono, channels and title; \
                     a file is sent as in `curl -F file=@video.mkv`"
                )))
            }
        }
    }

    /// The options of a video of this name.
    pub(crate) fn for_file(self, filename: &str) -> Options {
        let stem = filename.rsplit_once('.').map_or(filename, |(stem, _)| stem);
        let title = self.title.filter(|title| !title.is_empty()).unwrap_or_else(|| stem.to_owned());
        Options {
            quality: self.quality.unwrap_or_default(),
            mono: self.mono.unwrap_or_default(),
            fallback_title: Some(title).filter(|title| !title.is_empty()),
        }
    }
}

fn invalid(detail: String) -> Problem {
    Problem::new(Code::InvalidOption, detail)
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), Problem> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("`{name}` is given twice, or together with one that says the same"))),
    }
}

fn bitrate(value: &str) -> Result<Quality, Problem> {
    let number = |text: &str| text.parse::<u32>().ok();
    let kbps = match value.strip_suffix(['k', 'K']) {
        Some(kilo) => number(kilo),
        // In bit/s, as ffmpeg has it, when it can't be kbit/s.
        None => number(value).map(|n| if n >= 1000 && n % 1000 == 0 { n / 1000 } else { n }),
    };
    let quality = kbps.and_then(|kbps| Quality::cbr(u16::try_from(kbps).ok()?));
    quality.ok_or_else(|| {
        let known = Quality::BITRATES.map(|kbps| kbps.to_string()).join(", ");
        invalid(format!("`bitrate` is one of {known} (kbit/s)"))
    })
}

fn vbr(value: &str) -> Result<Quality, Problem> {
    let quality = value.parse().ok().and_then(Quality::vbr);
    quality.ok_or_else(|| invalid("`vbr` is a number from 0 (best) to 9 (smallest)".to_owned()))
}

fn flag(value: &str) -> Result<bool, Problem> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(invalid("`mono` is true or false".to_owned())),
    }
}

fn channels(value: &str) -> Result<bool, Problem> {
    match value {
        "1" => Ok(true),
        "2" => Ok(false),
        _ => Err(invalid("`channels` is 1 or 2".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(options: &[(&str, &str)]) -> Result<Options, Problem> {
        let mut asked = Asked::default();
        options.iter().try_for_each(|(name, value)| asked.set(name, value))?;
        Ok(asked.for_file("a.b.mp4"))
    }

    #[test]
    fn options_are_understood() {
        for bitrate in ["192", "192k", "192K", "192000", " 192 "] {
            assert_eq!(asked(&[("bitrate", bitrate)]).unwrap().quality, Quality::Cbr(192), "{bitrate}");
        }
        let options = asked(&[("vbr", "0"), ("channels", "1"), ("title", "Für\nElise")]).unwrap();
        assert_eq!((options.quality, options.mono), (Quality::Vbr(0), true));
        assert_eq!(options.fallback_title.as_deref(), Some("FürElise"));
        let default = asked(&[]).unwrap();
        assert_eq!(default, Options { fallback_title: Some("a.b".to_owned()), ..Options::default() });
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
            ("bitrat", "192"),
            ("file", "./video.mkv"),
        ] {
            assert_eq!(asked(&[bad]).unwrap_err().code(), Code::InvalidOption, "{bad:?}");
        }
        for contradiction in [[("bitrate", "192"), ("vbr", "2")], [("mono", "1"), ("channels", "2")]] {
            assert_eq!(asked(&contradiction).unwrap_err().code(), Code::InvalidOption, "{contradiction:?}");
        }
    }
}
