//! Videos to convert, made by ffmpeg when they are first asked for.
//!
//! What was made is kept next to cargo's own output, under a hash of how it was made. It gets its name when it is
//! whole, so any number of test processes may ask at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// An MP4 with a picture and a stereo tone in AAC at 44.1 kHz, of exactly so many seconds.
pub fn tone_mp4(seconds: u32) -> PathBuf {
    tone("tone.mp4", "44100", "aac", seconds)
}

/// A Matroska file with a picture and a stereo tone in Opus, of exactly so many seconds.
pub fn tone_mkv(seconds: u32) -> PathBuf {
    tone("tone.mkv", "48000", "libopus", seconds)
}

/// An MP4 of a second with a picture and no sound.
pub fn video_only_mp4() -> PathBuf {
    make("silent.mp4", &["-f", "lavfi", "-i", &picture(1), "-c:v", "libx264", "-preset", "ultrafast"])
}

/// An MP4 of at least so many MiB: a minute of stereo tone in AAC, and a picture that takes all the space.
pub fn big_mp4(mib: u64) -> PathBuf {
    film(mib, 60)
}

/// The same, of so many seconds.
pub fn film(mib: u64, seconds: u32) -> PathBuf {
    // Noise is what JPEG can do least about, and at this size a frame of it has more than a MiB. One frame, copied into
    // the film over and over, costs no encoding.
    let noise = "color=gray:size=1280x720:rate=1,noise=alls=100";
    let frame = make("noise.jpg", &["-f", "lavfi", "-i", noise, "-frames:v", "1", "-q:v", "1", "-qmin", "1"]);
    let frame_rate = format!("{}/{seconds}", mib + 1);
    let picture = ["-f", "image2", "-loop", "1", "-framerate", &frame_rate, "-i", path_str(&frame)];
    let sound = ["-f", "lavfi", "-i", &sine("44100", seconds), "-ac", "2", "-c:a", "aac"];
    let big = make("big.mp4", &[&picture[..], &sound, &["-c:v", "copy", "-t", &seconds.to_string()]].concat());
    let size = std::fs::metadata(&big).expect("the big video is there").len();
    assert!(size >= mib << 20, "{} has only {size} bytes, not {mib} MiB", big.display());
    big
}

fn tone(name: &str, sample_rate: &str, codec: &str, seconds: u32) -> PathBuf {
    let picture = ["-f", "lavfi", "-i", &picture(seconds), "-c:v", "libx264", "-preset", "ultrafast"];
    let sound = ["-f", "lavfi", "-i", &sine(sample_rate, seconds), "-ac", "2", "-c:a", codec, "-b:a", "128k"];
    // Inputs before outputs: ffmpeg takes what stands before an `-i` for the input's options.
    let ((picture, picture_codec), (sound, sound_codec)) = (picture.split_at(4), sound.split_at(4));
    make(name, &[picture, sound, picture_codec, sound_codec].concat())
}

fn picture(seconds: u32) -> String {
    format!("testsrc2=size=160x120:rate=25:duration={seconds}")
}

fn sine(sample_rate: &str, seconds: u32) -> String {
    format!("sine=frequency=440:sample_rate={sample_rate}:duration={seconds}")
}

/// Runs `ffmpeg ARGS… NAME` unless that was done before; returns where the file lies. Its file name is `name`.
pub fn make(name: &str, args: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    (name, args, &*FFMPEG_VERSION).hash(&mut hasher);
    let folder = cache("media").join(format!("{:016x}", hasher.finish()));
    let made = folder.join(name);
    if made.exists() {
        return made;
    }
    std::fs::create_dir_all(&folder).unwrap_or_else(|err| panic!("{} can't be made: {err}", folder.display()));
    let drafts = tempfile::tempdir_in(&folder).expect("a folder for drafts can be made");
    let draft = drafts.path().join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error"]).args(args).arg(&draft);
    let output = ffmpeg.output().unwrap_or_else(|err| panic!("ffmpeg can't be run: {err}"));
    assert!(output.status.success(), "{ffmpeg:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&draft, &made).unwrap_or_else(|err| panic!("{} can't be named: {err}", made.display()));
    made
}

/// Other versions make other bytes.
static FFMPEG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let output = Command::new("ffmpeg").arg("-version").output();
    let output = output.unwrap_or_else(|err| panic!("the tests need ffmpeg, which can't be run: {err}"));
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
});

/// A folder of this name inside cargo's target folder, which a test's program lies in and which cargo marks with a tag.
pub(crate) fn cache(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("a program knows where it lies");
    let target = exe.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| std::env::temp_dir().join(format!("microserve-{name}")), |target| target.join(name))
}

fn path_str(path: &Path) -> &str {
    path.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", path.display()))
}

/// The folder of media from the wild that `MICROSERVE_MEDIA` names. Without it there is none, and the tests that need
/// one have nothing to do.
pub fn extra() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("MICROSERVE_MEDIA")?);
    assert!(folder.is_dir(), "MICROSERVE_MEDIA is {}, which is no folder", folder.display());
    Some(folder)
}

/// A file of [`extra`], and what its `INDEX.tsv` says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it lies.
    pub path: PathBuf,
    /// Its tracks of sound.
    pub tracks: Vec<Track>,
    /// Seconds, where ffprobe found out.
    pub duration: Option<f64>,
    /// Whether there is a picture, be it only a cover.
    pub has_video: bool,
}

/// A track of sound, in ffprobe's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// `aac`, `vorbis`, …
    pub codec: String,
    /// `LC`, `HE-AAC`, … where the codec has profiles.
    pub profile: Option<String>,
    /// In Hz.
    pub sample_rate: u32,
    /// How many.
    pub channels: u16,
}

/// What lies in [`extra`]: nothing without one.
pub fn samples() -> Vec<Sample> {
    let Some(folder) = extra() else { return Vec::new() };
    let index = folder.join("INDEX.tsv");
    let text = std::fs::read_to_string(&index).unwrap_or_else(|err| panic!("{} can't be read: {err}", index.display()));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| sample(&folder, line).unwrap_or_else(|| panic!("the index has an odd line: {line}"))).collect()
}

/// Reads a line: `file ⇥ codec/profile/rate/channels;… ⇥ seconds ⇥ video ⇥ origin`, with `-` and `None` for nothing.
fn sample(folder: &Path, line: &str) -> Option<Sample> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [file, tracks, duration, video, ..] = columns[..] else { return None };
    let tracks = tracks.split(';').filter(|track| !matches!(*track, "" | "-")).map(track).collect::<Option<_>>()?;
    let has_video = video.starts_with("video");
    Some(Sample { path: folder.join(file), tracks, duration: duration.parse().ok(), has_video })
}

fn track(text: &str) -> Option<Track> {
    let parts: Vec<&str> = text.split('/').collect();
    let [codec, profile, sample_rate, channels] = parts[..] else { return None };
    let profile = (profile != "None").then(|| profile.to_owned());
    Some(Track {
        codec: codec.to_owned(),
        profile,
        sample_rate: sample_rate.parse().ok()?,
        channels: channels.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge;

    #[test]
    fn media_are_as_long_as_they_were_ordered() {
        assert_eq!(judge::samples(&tone_mp4(2)), 2 * 44_100);
        assert_eq!(judge::samples(&tone_mkv(3)), 3 * 48_000);
        assert_eq!(tone_mp4(2).file_name().unwrap(), "tone.mp4");
    }

    #[test]
    fn a_big_video_is_as_big_as_it_was_ordered_and_has_sound() {
        let big = big_mp4(24);
        assert!(std::fs::metadata(&big).unwrap().len() < 30 << 20, "and not much bigger");
        assert_eq!(judge::duration(&big), 60.0);
    }

    #[test]
    fn what_was_made_is_not_made_again() {
        let made = video_only_mp4();
        let at = std::fs::metadata(&made).unwrap().modified().unwrap();
        assert_eq!(std::fs::metadata(video_only_mp4()).unwrap().modified().unwrap(), at);
    }

    #[test]
    #[should_panic(expected = "No such file")]
    fn what_ffmpeg_says_is_told() {
        make("nothing.mp4", &["-i", "/nowhere/nothing.avi"]);
    }

    #[test]
    fn lines_of_the_index_are_understood() {
        let sample =
            sample(Path::new("/m"), "a/b.mp4\taac/LC/48000/6;dts/DTS-HD MA/48000/8\tNone\tvideo:h264\tx:y").unwrap();
        assert_eq!((sample.path, sample.tracks.len()), (PathBuf::from("/m/a/b.mp4"), 2));
        assert_eq!((sample.duration, sample.has_video), (None, true));
        assert_eq!(track("vorbis/None/44100/2").unwrap().profile, None);
        samples();
    }
}
