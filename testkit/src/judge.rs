//! What others say of our MP3s: ffmpeg decodes them, mp3val looks at their frames. No code of ours is asked.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};

/// Fails unless ffmpeg decodes the MP3 without a word and mp3val finds nothing wrong in it.
pub fn assert_clean(mp3: &Path) {
    if let Err(complaint) = clean_pcm(mp3) {
        panic!("{complaint}");
    }
}

/// The sound of an MP3 as interleaved PCM in -1..=1, at its own rate, without the encoder's delay and padding.
///
/// # Errors
/// What ffmpeg says while it decodes it, or mp3val finds wrong in it.
pub fn clean_pcm(mp3: &Path) -> Result<Vec<f32>, String> {
    let mut ffmpeg = Command::new("ffmpeg");
    // Told what it is: a file of two frames may be anything otherwise.
    ffmpeg.args(["-nostdin", "-v", "warning", "-xerror", "-f", "mp3", "-i"]).arg(mp3);
    ffmpeg.args(["-map", "0:a:0", "-f", "f32le", "-"]);
    if has_cover(mp3) {
        ffmpeg.args(["-map", "0:v", "-f", "null", "-"]);
    }
    let ffmpeg = run(&mut ffmpeg);
    let said = String::from_utf8_lossy(&ffmpeg.stderr);
    if !ffmpeg.status.success() || !said.is_empty() {
        return Err(format!("ffmpeg says of {}:\n{said}", mp3.display()));
    }
    let mp3val = run(Command::new("mp3val").arg(mp3));
    let said = String::from_utf8_lossy(&mp3val.stdout);
    // A sound of a tenth of a second is no damage.
    let findings = said.lines().filter(|line| !line.contains("Too few MPEG frames"));
    let complains = findings.into_iter().any(|line| line.starts_with("WARNING") || line.starts_with("ERROR"));
    if !mp3val.status.success() || complains {
        return Err(format!("mp3val says of {}:\n{said}", mp3.display()));
    }
    Ok(floats(&ffmpeg.stdout))
}

/// Whether a frame of the tag in front is a picture (ID3v2.4.0 native frames, 4.14).
fn has_cover(mp3: &Path) -> bool {
    const WITHIN: u64 = 64 * 1024;
    let mut head = Vec::new();
    let read = File::open(mp3).and_then(|file| file.take(WITHIN).read_to_end(&mut head));
    read.is_ok() && head.windows(4).any(|name| name == b"APIC")
}

/// How many frames an MP3 has, as far as their headers tell: layer III, of one sample rate and one behind the other from
/// an ID3v2 tag on to the last byte. That costs nothing, and so may be asked of thousands.
///
/// # Panics
/// When there is anything else in it, or nothing.
pub fn frames(mp3: &[u8]) -> usize {
    let mut at = match mp3 {
        [b'I', b'D', b'3', _, _, _, a, b, c, d, ..] => {
            10 + [a, b, c, d].iter().fold(0, |n, byte| n << 7 | usize::from(**byte))
        }
        _ => 0,
    };
    let (mut count, mut rates) = (0, None);
    while at < mp3.len() {
        let head: [u8; 4] = mp3[at..].first_chunk().copied().unwrap_or_else(|| panic!("crumbs at byte {at}"));
        let head = u32::from_be_bytes(head);
        let (version, bitrate, rate) = (head >> 19 & 3, (head >> 12 & 0xf) as usize, (head >> 10 & 3) as usize);
        // Eleven bits of sync, and layer III (ISO/IEC 11172-3, 2.4.1.3).
        assert!(head >> 21 == 0x7ff && head >> 17 & 3 == 1 && version != 1 && rate != 3, "no frame at byte {at}");
        assert_eq!(*rates.get_or_insert((version, rate)), (version, rate), "another rate at byte {at}");
        let kbits = match version {
            3 => [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0],
            _ => [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0],
        };
        let hz = [44_100, 48_000, 32_000][rate] >> [2, 0, 1, 0][version as usize];
        let size = if version == 3 { 144_000 } else { 72_000 } * kbits[bitrate] / hz + (head >> 9 & 1) as usize;
        assert!(size > 4 && at + size <= mp3.len(), "a frame of {size} bytes at byte {at}");
        (at, count) = (at + size, count + 1);
    }
    assert!(count > 1, "{count} frames are no sound");
    count
}

/// How long the sound is in seconds, decoded, without the encoder's delay and padding.
pub fn duration(path: &Path) -> f64 {
    samples(path) as f64 / f64::from(Track::of(path).sample_rate)
}

/// How many samples the sound has in each channel, decoded at its own rate, without the encoder's delay and padding.
pub fn samples(path: &Path) -> u64 {
    // One channel of one byte each, so that bytes are samples.
    decode(path, &["-ac", "1", "-f", "u8"]).len() as u64
}

/// The sound as interleaved PCM in -1..=1, at this rate in Hz and with so many channels.
pub fn pcm(path: &Path, rate: u32, channels: u16) -> Vec<f32> {
    let bytes = decode(path, &["-ar", &rate.to_string(), "-ac", &channels.to_string(), "-f", "f32le"]);
    floats(&bytes)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}

/// The signal-to-noise ratio in dB, where the noise is what `judged` has that `reference` has not. Of unlike lengths,
/// the shorter counts. Infinite when they are equal.
pub fn snr(reference: &[f32], judged: &[f32]) -> f64 {
    assert!(!reference.is_empty() && !judged.is_empty(), "there is no signal to judge");
    let energy = |sample: f64| sample * sample;
    let pairs = || reference.iter().zip(judged).map(|(r, j)| (f64::from(*r), f64::from(*j)));
    let signal: f64 = pairs().map(|(reference, _)| energy(reference)).sum();
    let noise: f64 = pairs().map(|(reference, judged)| energy(reference - judged)).sum();
    10.0 * (signal / noise).log10()
}

/// What ffmpeg makes of a file's first track of sound.
fn decode(path: &Path, format: &[&str]) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(["-map", "0:a:0"]);
    // Up to version 6, ffmpeg plays an MP4's last packet to its end, even where the edit list ends within it
    // (ISO/IEC 14496-12, 8.6.6). It knows better: the track's duration is the edited one.
    if let Some(end) = Track::of(path).edited_samples() {
        ffmpeg.args(["-af", &format!("atrim=end_sample={end}")]);
    }
    let output = run(ffmpeg.args(format).arg("-"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg can't decode {}:\n{said}", path.display());
    output.stdout
}

/// What ffprobe knows of a file's first track of sound.
struct Track {
    /// In Hz.
    sample_rate: u32,
    /// In units of `time_base`; without it where ffprobe doesn't know.
    duration: Option<u64>,
    time_base: String,
    /// The names that ffprobe has for the container.
    container: String,
}

impl Track {
    fn of(path: &Path) -> Self {
        let wanted = "format=format_name:stream=sample_rate,time_base,duration_ts";
        let mut ffprobe = Command::new("ffprobe");
        ffprobe.args(["-v", "error", "-select_streams", "a:0", "-show_entries", wanted, "-of", "default=nw=1"]);
        let output = run(ffprobe.arg(path));
        let said = String::from_utf8_lossy(&output.stdout);
        let field = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let Some(sample_rate) = field("sample_rate").and_then(|rate| rate.parse().ok()) else {
            panic!("ffprobe finds no sound in {}:\n{}", path.display(), String::from_utf8_lossy(&output.stderr));
        };
        Self {
            sample_rate,
            duration: field("duration_ts").and_then(|duration| duration.parse().ok()),
            time_base: field("time_base").unwrap_or_default().to_owned(),
            container: field("format_name").unwrap_or_default().to_owned(),
        }
    }

    /// How many samples an MP4's edit list leaves, where that is known to the sample.
    fn edited_samples(&self) -> Option<u64> {
        let is_exact = self.time_base == format!("1/{}", self.sample_rate);
        if self.container.contains("mp4") && is_exact { self.duration } else { None }
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|err| panic!("{} can't be run: {err}", command.get_program().display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media;

    fn mp3() -> std::path::PathBuf {
        media::make("tone.mp3", &["-f", "lavfi", "-i", "sine=sample_rate=44100:duration=1", "-c:a", "libmp3lame"])
    }

    #[test]
    fn a_clean_mp3_is_clean_and_exactly_as_long_as_its_sound() {
        assert_clean(&mp3());
        assert!(frames(&std::fs::read(mp3()).unwrap()) >= 39);
        assert_eq!(clean_pcm(&mp3()).unwrap(), pcm(&mp3(), 44_100, 1));
        assert_eq!((samples(&mp3()), duration(&mp3())), (44_100, 1.0));
    }

    #[test]
    fn damage_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(mp3()).unwrap();
        let (middle, damaged) = (whole.len() / 2, folder.path().join("damaged.mp3"));
        let torn = [&whole[..middle], &[0; 300], &whole[middle..]].concat();
        assert!([&torn[..], &whole[..middle], &[]].iter().all(|mp3| std::panic::catch_unwind(|| frames(mp3)).is_err()));
        std::fs::write(&damaged, torn).unwrap();
        assert!(std::panic::catch_unwind(|| assert_clean(&damaged)).is_err());
        std::fs::write(&damaged, "no MP3 at all").unwrap();
        assert!(std::panic::catch_unwind(|| assert_clean(&damaged)).is_err());
        assert!(std::panic::catch_unwind(|| samples(&damaged)).is_err());
    }

    #[test]
    fn samples_are_counted_at_any_rate_and_pcm_is_what_was_encoded() {
        let wav = media::make("tone.wav", &["-f", "lavfi", "-i", "sine=sample_rate=44100:duration=1"]);
        let (reference, judged) = (pcm(&wav, 44_100, 1), pcm(&mp3(), 44_100, 1));
        assert_eq!((reference.len(), judged.len()), (44_100, 44_100));
        assert!(snr(&reference, &judged) > 25.0, "{} dB", snr(&reference, &judged));
        assert_eq!(pcm(&wav, 48_000, 2).len(), 2 * 48_000);
    }

    #[test]
    fn noise_of_a_tenth_is_20_db_down() {
        let reference = [0.5, -0.5, 0.25, 1.0];
        let judged = reference.map(|sample: f32| sample * 1.1);
        assert!((snr(&reference, &judged) - 20.0).abs() < 0.01);
        assert_eq!(snr(&reference, &reference[..2]), f64::INFINITY);
    }
}
