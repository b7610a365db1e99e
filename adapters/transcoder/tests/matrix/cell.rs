//! A cell of the matrix: a file that ffmpeg makes, and what becomes of it.

use std::path::{Path, PathBuf};

use microserve_core::transcode::TranscodeError;
use microserve_testkit::{judge, media};

use crate::common::{Mp3, convert, finest, likeness};

/// Tenths of a second of sound in every file: not a whole number of anybody's frames.
const TENTHS: u64 = 17;
const SECONDS: &str = "1.7";

#[derive(Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) file: &'static str,
    /// ffmpeg's name for the encoder,
    pub(crate) encoder: &'static str,
    /// and what else it is told.
    pub(crate) options: &'static [&'static str],
    pub(crate) rate: u32,
    pub(crate) channels: u16,
    pub(crate) codec: &'static str,
    pub(crate) becomes: Becomes,
}

/// What becomes of it.
#[derive(Clone, Copy)]
pub(crate) enum Becomes {
    Mp3 {
        /// At least so much like the source, in dB.
        snr: f64,
        /// Samples of the encoder that nothing in the file says are none of the sound, which no player can know; or,
        /// below zero, samples that it says are none.
        untold: i64,
        /// ffmpeg is known to play the file otherwise than it made it: what it made it of counts.
        made_of_counts: bool,
    },
    /// An error that names the codec.
    Refused,
}

/// A file that becomes an MP3, as long as its sound.
pub(crate) const fn cell(file: &'static str, codec: &'static str, rate: u32, channels: u16, snr: f64) -> Cell {
    let becomes = Becomes::Mp3 { snr, untold: 0, made_of_counts: false };
    Cell { file, encoder: codec, options: &[], rate, channels, codec, becomes }
}

/// A file whose codec is not decoded.
pub(crate) const fn refused(file: &'static str, codec: &'static str, rate: u32, channels: u16) -> Cell {
    Cell { becomes: Becomes::Refused, ..cell(file, codec, rate, channels, 0.0) }
}

impl Cell {
    /// The encoder, where its name is not the codec's, and what it is told.
    pub(crate) const fn by(self, encoder: &'static str, options: &'static [&'static str]) -> Self {
        Self { encoder, options, ..self }
    }

    /// What else ffmpeg is told.
    pub(crate) const fn with(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    /// At another rate.
    pub(crate) const fn at(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    pub(crate) const fn judged_by_what_it_was_made_of(self) -> Self {
        match self.becomes {
            Becomes::Refused => self,
            Becomes::Mp3 { snr, untold, .. } => {
                Self { becomes: Becomes::Mp3 { snr, untold, made_of_counts: true }, ..self }
            }
        }
    }

    /// Longer than its sound by so many samples.
    pub(crate) const fn longer_by(self, untold: i64) -> Self {
        match self.becomes {
            Becomes::Refused => self,
            Becomes::Mp3 { snr, made_of_counts, .. } => {
                Self { becomes: Becomes::Mp3 { snr, untold, made_of_counts }, ..self }
            }
        }
    }

    /// Nothing in the file says where within whole frames of so many samples the sound ends, nor that the encoder put
    /// `priming` in front.
    pub(crate) const fn in_frames_of(self, frame: u64, priming: u64) -> Self {
        let sound = self.samples();
        self.longer_by(((sound + priming).next_multiple_of(frame) - sound) as i64)
    }

    /// The same where the file tells what is in front.
    pub(crate) const fn ending_in_frames_of(self, frame: u64, priming: u64) -> Self {
        let sound = self.samples();
        self.longer_by(((sound + priming).next_multiple_of(frame) - priming - sound) as i64)
    }

    const fn samples(&self) -> u64 {
        (self.rate as u64 * TENTHS + 5) / 10
    }

    fn name(&self) -> String {
        let Self { file, encoder, rate, channels, .. } = self;
        format!("{file} by {encoder} {} at {rate} Hz, {channels} channels", self.options.join(" "))
    }

    /// Makes it: sound like music, with a little picture where the container takes one.
    fn make(&self) -> PathBuf {
        let sound = music(self.rate, self.channels);
        let video: &[&str] = match self.file.rsplit('.').next() {
            Some("mp4" | "mov" | "mkv" | "avi" | "wmv") => &["mpeg4"],
            Some("webm") => &["libvpx", "-deadline", "realtime"],
            Some("ogv") => &["libtheora"],
            Some("flv") => &["flv1"],
            Some("ts" | "m2ts" | "mpg" | "vob") => &["mpeg2video"],
            _ => &[],
        };
        let mut args = vec!["-f", "lavfi", "-i", &sound];
        if !video.is_empty() {
            args.extend(["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-map", "0", "-map", "1", "-c:v"]);
            args.extend(video);
        }
        args.extend(["-t", SECONDS, "-metadata", "title=A title", "-c:a", self.encoder]);
        args.extend(self.options);
        media::make(self.file, &args)
    }

    /// Converts it, and judges what becomes of it.
    fn check(&self) -> Result<(), String> {
        let source = self.make();
        match (convert(&source, &finest()), self.becomes) {
            (Ok(mp3), Becomes::Mp3 { snr, untold, made_of_counts }) => {
                self.compare_format(&mp3)?;
                let reference = if made_of_counts { self.made_of() } else { source };
                let like = self.compare_sound(&mp3, untold, &reference)?;
                if like >= snr { Ok(()) } else { Err(format!("{like:.1} dB")) }
            }
            (Ok(_), Becomes::Refused) => Err("it is decoded".to_owned()),
            (Err(TranscodeError::UnsupportedCodec { name }), Becomes::Refused) if name == self.codec => Ok(()),
            (Err(err), _) => Err(err.to_string()),
        }
    }

    fn compare_format(&self, mp3: &Mp3) -> Result<(), String> {
        let made = &mp3.made;
        let audio = made.source.audio().ok_or("it has no sound")?;
        let found = (audio.codec.as_str(), audio.sample_rate, audio.channels, made.channels, made.lost_packets);
        let wanted = (self.codec, self.rate, self.channels, self.channels.min(2), 0);
        if found == wanted { Ok(()) } else { Err(format!("{found:?} in the place of {wanted:?}")) }
    }

    /// How much it is like the reference, in dB, if it is as long as it should be.
    fn compare_sound(&self, mp3: &Mp3, untold: i64, reference: &Path) -> Result<f64, String> {
        let made = &mp3.made;
        let sound = judge::clean_pcm(&mp3.path)?;
        let (heard, wanted) =
            (sound.len() as u64 / u64::from(made.channels), self.samples().saturating_add_signed(untold));
        if heard != made.samples || heard != wanted {
            return Err(format!("{heard} samples, {} by its tag, in the place of {wanted}", made.samples));
        }
        Ok(likeness(&judge::pcm(reference, made.sample_rate, made.channels), sound))
    }

    /// The sound before it was encoded.
    fn made_of(&self) -> PathBuf {
        cell("a.wav", "pcm_f32le", self.rate, self.channels, 0.0).make()
    }
}

/// An expression of ffmpeg's for sound like music.
fn music(rate: u32, channels: u16) -> String {
    let tones = |n| format!("0.2*sin(2*PI*{}*t)*(1+0.5*sin(2*PI*3*t))+0.1*sin(2*PI*{}*t)", 220 + 110 * n, 660 + 90 * n);
    let layout = ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"][usize::from(channels) - 1];
    let tones: Vec<String> = (0..channels).map(tones).collect();
    format!("aevalsrc=exprs='{}':sample_rate={rate}:channel_layout={layout}", tones.join("|"))
}

/// A test for each list of cells, and `CELLS`, which has the lists by their names.
macro_rules! cells {
    ($($name:ident: [$($cell:expr),+ $(,)?];)+) => {
        pub(crate) const CELLS: crate::cell::Lists = &[$((stringify!($name), &[$($cell),+])),+];

        mod becomes {
            $(#[test] fn $name() { crate::cell::check(super::CELLS, stringify!($name)); })+
        }
    };
}

/// Lists of cells, and their names.
pub(crate) type Lists = &'static [(&'static str, &'static [Cell])];

/// Checks the cells of a list.
pub(crate) fn check(lists: Lists, name: &str) {
    let (_, cells) = lists.iter().find(|(list, _)| *list == name).expect("it is one of them");
    let wrong = cells.iter().filter_map(|cell| Some(format!("{}: {}", cell.name(), cell.check().err()?)));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
