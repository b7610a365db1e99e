//! What can be asked for, judged by ffmpeg: which track, which part of it, how loud, how many channels, what tags.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::path::PathBuf;
use std::process::Command;

use common::convert;
use id3::TagLike;
use microserve_core::transcode::{Channels, Options, Preset, Quality, TrackChoice};
use microserve_testkit::{judge, media};

fn asked(options: Options) -> Options {
    Options { quality: Some(options.quality.unwrap_or(Quality::Cbr(320))), ..options }
}

/// A sweep: every moment of it sounds different.
fn sweep(seconds: u32) -> PathBuf {
    let sound = format!(
        "aevalsrc=exprs='0.3*sin(2*PI*(200+150*t)*t)|0.3*sin(2*PI*(300+100*t)*t)':sample_rate=44100:duration={seconds}"
    );
    media::make("sweep.wav", &["-f", "lavfi", "-i", &sound])
}

#[test]
fn a_part_is_cut_out_to_the_sample() {
    let whole = sweep(4);
    for (start, end, samples) in [
        (Some(1.5), Some(2.75), 55_125),
        (None, Some(0.5), 22_050),
        (Some(3.0), None, 44_100),
        (Some(3.5), Some(100.0), 22_050),
        (Some(1.0), Some(1.0 + 1.0 / 44_100.0), 1),
    ] {
        let mp3 = convert(&whole, &asked(Options { start, end, ..Options::default() })).unwrap();
        assert_eq!((mp3.made.samples, judge::samples(&mp3.path)), (samples, samples), "{start:?} to {end:?}");
        judge::assert_clean(&mp3.path);
        let all = judge::pcm(&whole, 44_100, 2);
        let from = (start.unwrap_or(0.0) * 44_100.0).round() as usize * 2;
        let snr = judge::snr(&all[from..from + samples as usize * 2], &judge::pcm(&mp3.path, 44_100, 2));
        assert!(snr > 25.0 || samples == 1, "{start:?} to {end:?}: {snr:.1} dB");
    }
    let err = convert(&whole, &asked(Options { start: Some(4.5), ..Options::default() })).err().unwrap();
    assert_eq!(err.code(), "start_behind_end");
}

#[test]
fn silence_is_part_of_the_time_that_is_cut() {
    let args = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", "-itsoffset", "1", "-f", "lavfi", "-i"];
    let late = media::make("late.mkv", &[&args[..], &["sine=frequency=500:duration=1", "-c:a", "flac"]].concat());
    let mp3 = convert(&late, &asked(Options { start: Some(0.25), end: Some(1.5), ..Options::default() })).unwrap();
    assert_eq!(mp3.made.samples, 55_125);
    let pcm = judge::pcm(&mp3.path, 44_100, 1);
    let loud = pcm.iter().position(|sample| sample.abs() > 0.02).unwrap();
    assert!(loud.abs_diff(33_075) < 44, "it begins at {loud}");
}

#[test]
fn channels_and_rate_are_those_asked_for() {
    let (stereo, mono) =
        (sweep(4), media::make("mono.wav", &["-f", "lavfi", "-i", "sine=duration=1:sample_rate=44100"]));
    for (file, channels, rate, wanted) in [
        (&stereo, Some(Channels::Mono), None, (1, 44_100)),
        (&mono, Some(Channels::Stereo), None, (2, 44_100)),
        (&mono, None, Some(48_000), (1, 48_000)),
        (&stereo, None, Some(22_050), (2, 22_050)),
        (&stereo, Some(Channels::Mono), Some(8_000), (1, 8_000)),
    ] {
        let mp3 = convert(file, &asked(Options { channels, sample_rate: rate, ..Options::default() })).unwrap();
        assert_eq!((mp3.made.channels, mp3.made.sample_rate), wanted);
        judge::assert_clean(&mp3.path);
        assert_eq!(judge::samples(&mp3.path), mp3.made.samples);
    }
}

#[test]
fn a_track_is_chosen_by_number_and_by_language() {
    let tone = |hertz: u32| format!("sine=frequency={hertz}:duration=1:sample_rate=44100");
    let (one, two, three) = (tone(400), tone(900), tone(1700));
    let tracks = media::make(
        "tracks.mkv",
        &[
            "-f",
            "lavfi",
            "-i",
            &one,
            "-f",
            "lavfi",
            "-i",
            &two,
            "-f",
            "lavfi",
            "-i",
            &three,
            "-map",
            "0",
            "-map",
            "1",
            "-map",
            "2",
            "-c:a",
            "flac",
            "-metadata:s:a:0",
            "language=eng",
            "-metadata:s:a:1",
            "language=ger",
            "-disposition:a:2",
            "0",
        ],
    );
    for (track, hertz) in [
        (None, 400.0),
        (Some(TrackChoice::Number(1)), 400.0),
        (Some(TrackChoice::Number(3)), 1700.0),
        (Some(TrackChoice::Language("de".into())), 900.0),
        (Some(TrackChoice::Language("eng".into())), 400.0),
    ] {
        let mp3 = convert(&tracks, &asked(Options { track: track.clone(), ..Options::default() })).unwrap();
        let pcm = judge::pcm(&mp3.path, 44_100, 1);
        let crossings = pcm.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count() as f64;
        assert!((crossings - hertz).abs() < 5.0, "{track:?}: {crossings} Hz");
    }
    for track in [TrackChoice::Number(4), TrackChoice::Language("fr".into())] {
        let err = convert(&tracks, &asked(Options { track: Some(track), ..Options::default() })).err().unwrap();
        assert_eq!(err.to_string(), "there is no such audio track: there are 1 (eng), 2 (ger), 3");
    }
}

/// Loudness in LUFS and true peak in dBTP, by ffmpeg.
fn loudness(file: &std::path::Path) -> (f64, f64) {
    let args =
        ["-nostdin", "-hide_banner", "-i", file.to_str().unwrap(), "-af", "ebur128=peak=true", "-f", "null", "-"];
    let output = Command::new("ffmpeg").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = text.rsplit_once("Summary:").unwrap().1;
    let number = |name: &str| {
        let line = summary.lines().find(|line| line.trim().starts_with(name)).unwrap();
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap()
    };
    (number("I:"), number("Peak:"))
}

#[test]
fn quiet_and_loud_become_equally_loud() {
    let quiet = "sin(2*PI*300*t)*(0.02+0.02*sin(2*PI*2*t))";
    let peaky = "0.15*sin(2*PI*500*t)+0.7*exp(-600*mod(t,0.5))*sin(2*PI*1500*t)";
    let spiky = "0.03*sin(2*PI*500*t)+0.9*exp(-300*mod(t,0.5))*sin(2*PI*1500*t)";
    for (name, sound, channels) in [("quiet.wav", quiet, 1), ("peaky.wav", peaky, 2), ("spiky.wav", spiky, 2)] {
        let exprs = vec![sound; channels].join("|");
        let sound = format!("aevalsrc=exprs='{exprs}':sample_rate=44100:duration=8");
        let source = media::make(name, &["-f", "lavfi", "-i", &sound]);
        for wanted in [-16.0, -23.0] {
            let mp3 = convert(&source, &asked(Options { loudness: Some(wanted), ..Options::default() })).unwrap();
            judge::assert_clean(&mp3.path);
            assert_eq!(judge::samples(&mp3.path), 8 * 44_100);
            let (lufs, peak) = loudness(&mp3.path);
            assert!((lufs - wanted).abs() < 0.5, "{name}: {lufs} LUFS instead of {wanted}");
            assert!(peak < -0.3, "{name}: {peak} dBTP");
        }
    }
}

#[test]
fn silence_is_not_made_loud() {
    let silence = media::make("silence.wav", &["-f", "lavfi", "-i", "anullsrc=r=44100:cl=mono", "-t", "1"]);
    let mp3 = convert(&silence, &asked(Options { loudness: Some(-16.0), ..Options::default() })).unwrap();
    assert!(judge::pcm(&mp3.path, 44_100, 1).iter().all(|sample| *sample == 0.0));
}

#[test]
fn presets_are_what_they_say() {
    let (stereo, mono) =
        (sweep(4), media::make("mono.wav", &["-f", "lavfi", "-i", "sine=duration=1:sample_rate=44100"]));
    for (preset, file, channels, kbps) in
        [(Preset::Voice, &stereo, 1, 64.0), (Preset::Podcast, &stereo, 2, 128.0), (Preset::Podcast, &mono, 1, 96.0)]
    {
        let mp3 = convert(file, &preset.options()).unwrap();
        let off = (f64::from(mp3.made.bitrate) / 1000.0 / kbps - 1.0).abs();
        assert!(mp3.made.channels == channels && off < 0.03, "{preset:?}: {} bit/s", mp3.made.bitrate);
    }
}

#[test]
fn tags_that_are_asked_for_replace_the_sources() {
    let source = media::make(
        "tagged.flac",
        &["-f", "lavfi", "-i", "sine=duration=1", "-metadata", "title=Theirs", "-metadata", "artist=Anna"],
    );
    let title = Some("Ours".to_owned());
    let mp3 = convert(&source, &asked(Options { title, date: Some("2026".into()), ..Options::default() })).unwrap();
    let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
    assert_eq!((tag.title(), tag.artist()), (Some("Ours"), Some("Anna")));
    assert_eq!(tag.date_recorded().map(|date| date.year), Some(2026));
}
