//! Files from the wild, if `MICROSERVE_MEDIA` names a folder of them: every one that has sound in a codec that is
//! decoded becomes an MP3 as long as the sound and like it, and every other ends in the error that it deserves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that can't go on has failed"
)]

mod common;

use common::{Mp3, convert, finest, likeness};
use microserve_testkit::judge;
use microserve_testkit::media::{self, Sample};

/// The folders whose containers are read.
const FOLDERS: &[&str] = &[
    "aac", "ac3", "aiff", "amr", "asf", "avi", "dtshd", "eac3", "flac", "flv", "matroska", "mp3", "mp4", "mpeg",
    "mpegts", "ogg", "wav",
];

/// Codecs that are not decoded, in ffprobe's words.
const UNSUPPORTED: &[&str] = &[
    "truehd",
    "wmalossless",
    "wmavoice",
    "metasound",
    "mp4als",
    "mpegh_3d_audio",
    "speex",
    "gsm_ms",
    "ac4",
    "qdm2",
    "None",
];

/// Files that end otherwise than by the rule, and why.
enum Exception {
    /// In this error.
    Error(&'static str),
    /// In an MP3 that ffmpeg's decoding of the source does not tell anything about.
    Unlike,
    /// In an MP3 with a cover that is as odd as the source's, of which ffmpeg complains in both.
    OddCover,
}
use Exception::{Error, OddCover, Unlike};

const EXCEPTIONS: &[(&str, Exception, &str)] = &[
    ("aiff/kde-test.aif", OddCover, "the cover of the FLAC file of that name"),
    ("matroska/media3-bbb_960x540_60fps_vp8.webm", Unlike, "its first packet decodes to nothing and lasts 3 ms"),
    ("matroska/nestegg-bug1592193.webm", Unlike, "its first packet decodes to nothing and lasts 3 ms"),
    ("mpegts/media3-sample_dts_express.ts", Error("unsupported_codec"), "DTS Express, which has no core"),
    (
        "wav/media3-sample_ima_adpcm.wav",
        Unlike,
        "so quiet that the rounding in IMA's steps, which ffmpeg does otherwise, is heard",
    ),
    ("mpegts/exiftool-M2TS.mts", Error("corrupt"), "seven packets: no frame is whole"),
    ("mpegts/exo-sample_ac3.ts", Unlike, "ffmpeg plays the last frame, which is cut off"),
    ("matroska/media3-sample_with_vorbis_audio.mkv", Unlike, "the sound starts after the picture"),
    ("mp4/media3-sample_twos_pcm.mp4", Unlike, "the sound starts after the picture"),
    ("asf/taglib-real_example.wma", Error("corrupt"), "only the headers are there"),
    ("mp4/filetype-fixture.3gp", Unlike, "ffprobe's duration is the edit list's, in whole milliseconds"),
    ("mp4/mp4parse-amr_nb_1f.3gp", Unlike, "ffprobe's duration is the edit list's, in whole milliseconds"),
    ("mp4/sannies-multiTrack.3gp", Unlike, "ffmpeg decodes one of the five frames in each sample"),
    ("dtshd/sannies-dts-sample.dtshd", Error("unsupported_codec"), "DTS Express, which has no core"),
    ("matroska/media3-sample_with_dts_express.mka", Error("unsupported_codec"), "DTS Express, which has no core"),
    ("asf/filetype-fixture.wmv.asf", Unlike, "ffmpeg leaves out the first frame of what its own encoder made"),
    ("mp4/mp4ff-audio_dec.mp4", Unlike, "ffmpeg does not read the settings of WMA in MP4"),
    ("aac/media3-sample.adts", Unlike, "ffmpeg leaves out the first frame"),
    ("aac/media3-sample_with_id3.adts", Unlike, "ffmpeg leaves out the first frame"),
    ("avi/exiftool-Pentax.avi", Error("corrupt"), "only the headers are there"),
    ("avi/exiftool-RIFF.avi", Error("corrupt"), "only the headers are there"),
    ("flv/media3-sample.flv", Unlike, "its sound starts later than the picture, and ffmpeg leaves out a frame"),
    ("flac/kde-test.flac", OddCover, "a JPEG without its end marker where it should be"),
    ("ogg/kde-test.flac.ogg", OddCover, "the same cover"),
    ("ogg/kde-test.opus", OddCover, "the same cover"),
    ("mp4/media3-sample.audio.mp4", Unlike, "ffprobe's duration is right but for the pre-skip"),
    ("mp4/moviepy-example3.mp4", Unlike, "ffprobe's duration is the edit list's, in whole milliseconds"),
    ("mp4/sannies-test-pod.m4a", Unlike, "ffprobe's duration is the edit list's, in 1/600 s"),
    ("ac3/exo-sample.ac3", Unlike, "ffmpeg makes something of a last frame that is cut off"),
    ("matroska/libwebm-chapters_truncated_chapter_string_2.mkv", Error("corrupt"), "only the headers are there"),
    ("matroska/mediabunny-ac3.mkv", Unlike, "ffmpeg does not skip the codec delay that the file tells"),
    ("matroska/mediabunny-eac3.mkv", Unlike, "ffmpeg does not skip the codec delay that the file tells"),
    ("matroska/media3-sample_with_overlapping_srt.mkv", Unlike, "its sound starts later than the picture"),
    ("mp4/media3-sample_with_vobsub.mp4", Unlike, "ffprobe's duration is the edit list's, in whole milliseconds"),
    ("mp4/shakaplayer-audio_und_2c_192k_ac3_init.mp4", Error("corrupt"), "only the headers are there"),
    ("mp4/taglib-eac3.m4a", Unlike, "ffprobe's duration is the edit list's, in whole milliseconds"),
    ("matroska/libwebm-fixed_lacing_bad_lace_size.mkv", Error("corrupt"), "made to be invalid: no frame is whole"),
    ("matroska/localsearch-mkv-basic.mkv", Unlike, "ffmpeg does not skip the codec delay that the file tells"),
    ("matroska/media3-sample_with_chapters.mkv", Unlike, "ffmpeg does not skip the codec delay that the file tells"),
    ("matroska/media3-bear-flac-32bit.mka", Unlike, "ffmpeg 5.1 does not decode FLAC of 32 bits"),
    ("mp3/lofty-full_test.mp1", Unlike, "ffmpeg leaves out the first frame"),
    ("mp3/musicmd-fl1.mp1", Unlike, "ffmpeg leaves out the first frame"),
    ("mp3/musicmd-fl12.mp2", Unlike, "ffmpeg leaves out the first frame"),
    ("mp3/mediabunny-malformed-join.mp3", Unlike, "damaged where it was joined"),
    ("mp4/exiftool-QuickTime.m4a", Error("corrupt"), "only the headers are there"),
    ("mp4/exiftool-QuickTime.mov", Error("corrupt"), "only the headers are there"),
    ("mp4/kde-test.m4a", Unlike, "ffmpeg does not skip what the edit list skips to the sample"),
    ("mp4/media3-sample_fpcm_64le.mp4", Unlike, "ffmpeg 5.1 does not know fpcm"),
    ("mp4/media3-sample_ipcm_24le.mp4", Unlike, "ffmpeg 5.1 takes it for 16 bits"),
    ("mp4/media3-sample_mp2_audio.mp4", Error("corrupt"), "a bitrate that MP2 does not allow for one channel"),
    ("mpegts/exo-video_not_seekable.ts", Error("corrupt"), "a bitrate that MP2 does not allow for one channel"),
    ("mpegts/gstbad-test.ts", Unlike, "ffmpeg leaves out the first frame"),
    ("mpegts/media3-sample_mpegh_lcbl_configchange_single.ts", Error("unsupported_codec"), "ffmpeg takes it for MP3"),
    ("mpegts/mediabunny-no-initial-keyframe.ts", Unlike, "the sound begins 2 ms later than the picture"),
    (
        "mpegts/shakaplayer-360p30_h264_48k_160_aac_ts-0000000025.ts",
        Unlike,
        "the sound begins 7 ms later than the picture",
    ),
    ("ogg/exiftool-Opus.opus", Error("corrupt"), "cut off within its pre-skip"),
    ("ogg/jave2-buggy.ogg", Unlike, "damaged"),
    ("ogg/mutagen-multipagecomment.ogg", Unlike, "ffmpeg loses the first block of 128 samples"),
    ("ogg/tika-testVORBIS_coverArt.ogg", Unlike, "cut off; ffmpeg plays on behind the last granule"),
    ("matroska/nestegg-bug2020502.webm", Unlike, "a third of a second: ffmpeg's own Opus decoder differs from libopus"),
    ("matroska/nestegg-detodos.webm", Unlike, "ffmpeg's own Opus decoder differs from libopus in SILK"),
    ("wav/musicmd-dvi_adpcm.wav", Unlike, "ffmpeg plays the last block on behind where the sound ends"),
    ("mp4/exo-sample_ac4_fragmented.mp4", Error("unsupported_codec"), "AC-4, which ffprobe has no name for"),
];

/// So many tests share the files, since they run side by side.
const PARTS: usize = 4;

macro_rules! parts {
    ($($name:ident: $part:literal),+) => {
        mod every_file_becomes_what_it_deserves {
            $(#[test] fn $name() { super::check_part($part); })+
        }
    };
}

parts!(first_part: 0, second_part: 1, third_part: 2, fourth_part: 3);

fn check_part(part: usize) {
    let mut wrong = Vec::new();
    let (mut right, mut refused) = (0, 0);
    let with_sound = |sample: &Sample| {
        let name = name(sample);
        FOLDERS.iter().any(|folder| name.starts_with(&format!("{folder}/"))) && !sample.tracks.is_empty()
    };
    for sample in media::samples().into_iter().filter(with_sound).skip(part).step_by(PARTS) {
        match check(&sample) {
            Ok(Verdict::Right) => right += 1,
            Ok(Verdict::Refused) => refused += 1,
            Err(why) => wrong.push(format!("{}: {why}", name(&sample))),
        }
    }
    println!("{right} right, {refused} refused as they should be");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What became of a file that became what it deserves.
enum Verdict {
    Right,
    Refused,
}

fn check(sample: &Sample) -> Result<Verdict, String> {
    let name = name(sample);
    let exception = EXCEPTIONS.iter().find(|(file, ..)| *file == name).map(|(_, exception, _)| exception);
    let unsupported = sample.tracks.iter().all(|track| UNSUPPORTED.contains(&track.codec.as_str()));
    match (convert(&sample.path, &finest()), exception) {
        (Err(err), Some(Error(code))) => is_code(err.code(), code).map(|()| Verdict::Refused),
        (Err(err), None) if unsupported => is_code(err.code(), "unsupported_codec").map(|()| Verdict::Refused),
        (Err(err), _) => Err(format!("{}: {err}", err.code())),
        (Ok(_), Some(Error(code))) => Err(format!("an MP3 in the place of {code}")),
        (Ok(mp3), exception) => compare(sample, &mp3, exception).map(|()| Verdict::Right),
    }
}

fn name(sample: &Sample) -> String {
    let parts: Vec<_> = sample.path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
    format!("{}/{}", parts[1], parts[0])
}

fn is_code(code: &str, wanted: &str) -> Result<(), String> {
    if code == wanted { Ok(()) } else { Err(format!("{code} in the place of {wanted}")) }
}

fn compare(sample: &Sample, mp3: &Mp3, exception: Option<&Exception>) -> Result<(), String> {
    let (made, rate, channels) = (&mp3.made, mp3.made.sample_rate, mp3.made.channels);
    let ours = match exception {
        Some(OddCover) => judge::pcm(&mp3.path, rate, channels),
        _ => judge::clean_pcm(&mp3.path)?,
    };
    if ours.len() as u64 != made.samples * u64::from(channels) {
        return Err("the MP3's tag tells another length than was made".to_owned());
    }
    if matches!(exception, Some(Unlike)) {
        return Ok(());
    }
    let theirs = judge::pcm(&sample.path, rate, channels);
    let samples = theirs.len() as u64 / u64::from(channels);
    // ffmpeg's resampler may round the other way.
    if samples.abs_diff(made.samples) > 1 {
        return Err(format!("{} samples, not {samples}", made.samples));
    }
    let is_silent = theirs.iter().all(|sample| sample.abs() < 1e-3);
    let like = likeness(&theirs, ours);
    if is_silent || like >= 9.0 { Ok(()) } else { Err(format!("{like:.1} dB")) }
}
