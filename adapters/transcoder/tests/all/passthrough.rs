//! Sound that is MP3 already is copied when nothing asks for a change: it decodes to the same samples, bit by bit, and
//! begins and ends where it does when it is encoded. What can't be copied is encoded.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bytes::patch_mp4;
use common::{Mp3, convert, finest};
use id3::TagLike;
use microserve_core::transcode::{Channels, Options, Quality, TranscodeError, Transcoder};
use microserve_testkit::{judge, media};
use microserve_transcoder::NativeTranscoder;

/// Three seconds of a sweep, a chord and some noise: every moment of it sounds different.
fn sound(rate: u32, channels: u16) -> String {
    let one = |a: u32, b: u32| format!("0.2*sin(2*PI*({a}+{b}*t)*t)+0.1*sin(2*PI*{b}*7*t)+0.02*(random(0)-0.5)");
    let all = if channels == 1 { one(200, 150) } else { format!("{}|{}", one(200, 150), one(300, 90)) };
    format!("aevalsrc=exprs='{all}':sample_rate={rate}:duration=3")
}

fn source(name: &str, args: &str, rate: u32, channels: u16) -> PathBuf {
    let sound = sound(rate, channels);
    let args: Vec<_> = ["-f", "lavfi", "-i", &sound].into_iter().chain(args.split(' ')).collect();
    media::make(name, &args)
}

/// The frames of a file's sound, one after the other and nothing else.
fn frames(file: &Path) -> Vec<u8> {
    let args = ["-v", "error", "-i", file.to_str().unwrap(), "-map", "0:a:0", "-c", "copy"];
    let bare = ["-f", "mp3", "-write_xing", "0", "-id3v2_version", "0", "-"];
    let made = Command::new("ffmpeg").args(args).args(bare).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

/// Writes bytes to a file that goes with its folder.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// All that bare frames decode to, of which players hear a part.
fn decoded(frames: &[u8], mp3: &Mp3) -> Vec<f32> {
    let mut frames = frames.to_vec();
    // A tag that was copied into the container is silence there, and would cut the sound here.
    if let Some(at) = frames[..200].windows(4).position(|word| matches!(word, b"Info" | b"Xing")) {
        frames[at..at + 4].fill(0);
    }
    let (_folder, path) = file("bare.mp3", &frames);
    judge::pcm(&path, mp3.made.sample_rate, mp3.made.channels)
}

/// Whether an MP3's sound was copied: of one that was encoded the tag says what encoded it.
fn is_copy(mp3: &Mp3) -> bool {
    let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
    !tag.get("TSSE").unwrap().content().text().unwrap().contains("LAME")
}

/// Converts a file with these options, which must copy it. Gives the copy and what it decodes to.
fn copy(source: &Path, options: &Options) -> (Mp3, Vec<f32>) {
    let name = source.display();
    let mp3 = convert(source, options).unwrap_or_else(|err| panic!("{name}: {err}"));
    assert!(is_copy(&mp3), "{name} was encoded");
    judge::assert_clean(&mp3.path);
    let pcm = judge::pcm(&mp3.path, mp3.made.sample_rate, mp3.made.channels);
    assert_eq!(mp3.made.samples * u64::from(mp3.made.channels), pcm.len() as u64, "{name}");
    (mp3, pcm)
}

/// The same, and both begin and end where they do when the file is encoded.
fn copied(source: &Path, options: &Options) -> (Mp3, Vec<f32>) {
    let name = source.display();
    let (mp3, pcm) = copy(source, options);
    let encoded = convert(source, &Options { quality: finest().quality, ..options.clone() }).unwrap();
    assert_eq!(mp3.made.samples, encoded.made.samples, "{name}");
    assert_eq!(mp3.made.source, encoded.made.source, "{name}");
    let format = (mp3.made.sample_rate, mp3.made.channels);
    assert_eq!(format, (encoded.made.sample_rate, encoded.made.channels), "{name}");
    let like = judge::snr(&pcm, &judge::pcm(&encoded.path, format.0, format.1));
    assert!(like > 15.0 || pcm.iter().all(|sample| *sample == 0.0), "{name}: {like:.1} dB from what is encoded");
    (mp3, pcm)
}

/// Where in a sound this part of it begins, in samples of all channels.
fn find(part: &[f32], whole: &[f32]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}

#[test]
fn mp3_is_copied_out_of_every_container() {
    let cbr = "-c:a libmp3lame -b:a 192k";
    for (name, args, rate, channels) in [
        ("c.mp4", cbr, 44_100, 2),
        ("c.m4a", "-c:a libmp3lame -q:a 4 -f mp4", 48_000, 2),
        ("c-frag.mp4", "-c:a libmp3lame -movflags frag_keyframe+empty_moov", 44_100, 2),
        ("c.mov", cbr, 48_000, 1),
        ("c.mkv", "-c:a libmp3lame -q:a 2", 44_100, 2),
        ("c.avi", cbr, 44_100, 2),
        ("c.avi", "-c:a libmp3lame -q:a 5", 48_000, 1),
        ("c.flv", "-c:a libmp3lame -b:a 64k", 22_050, 1),
        ("c.flv", cbr, 44_100, 2),
        ("c.ts", cbr, 48_000, 2),
        ("c.m2ts", "-c:a libmp3lame -b:a 96k", 44_100, 1),
        ("c.vob", "-c:a libmp3lame -b:a 128k -f vob", 48_000, 2),
        ("c.asf", cbr, 44_100, 2),
        ("c.wav", cbr, 44_100, 2),
        ("c.caf", cbr, 44_100, 2),
        ("c.mp3", "-c:a libmp3lame -b:a 320k", 48_000, 2),
        ("c.mp3", "-c:a libmp3lame -q:a 9", 44_100, 1),
        ("c.mp3", "-c:a libmp3lame -b:a 32k -reservoir 1", 32_000, 1),
        ("c.mp3", "-c:a libmp3lame -b:a 48k", 24_000, 2),
        ("c.mp3", "-c:a libmp3lame -b:a 16k", 16_000, 1),
        ("c.mp3", "-c:a libmp3lame -b:a 24k", 11_025, 2),
        ("c.mp3", "-c:a libmp3lame -b:a 8k", 8_000, 1),
        ("c-bare.mp3", "-c:a libmp3lame -b:a 128k -write_xing 0 -id3v2_version 0", 44_100, 2),
    ] {
        let source = source(name, args, rate, channels);
        let (mp3, pcm) = copied(&source, &Options::default());
        let whole = decoded(&frames(&source), &mp3);
        let at = find(&pcm, &whole).unwrap_or_else(|| panic!("{name} {args}: it decodes to something else"));
        assert!(at / usize::from(channels) < 4096, "{name} {args}: it begins at {at}");
        // The frames, the tags, and a silent frame at the most.
        let size = std::fs::metadata(&mp3.path).unwrap().len();
        assert!(size.abs_diff(frames(&source).len() as u64) < 4096, "{name} {args}: {size} bytes");
    }
}

#[test]
fn any_part_is_copied_to_the_sample() {
    for (name, args, rate, channels) in [
        ("p.mp4", "-c:a libmp3lame -q:a 3", 48_000, 2),
        ("p.mp3", "-c:a libmp3lame -b:a 32k", 44_100, 1),
        ("p.mp3", "-c:a libmp3lame -b:a 24k", 24_000, 2),
    ] {
        let source = source(name, args, rate, channels);
        let (_, whole) = copied(&source, &Options::default());
        for (start, end) in [
            (Some(0.001), None),
            (Some(0.02), Some(0.08)),
            (Some(0.5), Some(1.75)),
            (Some(1.2345), None),
            (Some(2.9), Some(10.0)),
        ] {
            let (_, part) = copy(&source, &Options { start, end, ..Options::default() });
            let at = |seconds: f64| (seconds * f64::from(rate)).round() as usize * usize::from(channels);
            let wanted = at(start.unwrap_or(0.0))..end.map_or(whole.len(), |end| at(end).min(whole.len()));
            assert!(part == whole[wanted], "{name} {args} from {start:?} to {end:?}");
        }
    }
}

/// Where frames begin, in bytes that are nothing else.
fn starts(frames: &[u8]) -> Vec<usize> {
    let size = frames.len();
    let mut starts = vec![0];
    while let Some(at) = starts.last().map(|at| at + frame_size(&frames[*at..])).filter(|at| *at < size) {
        starts.push(at);
    }
    starts
}

/// Bytes of a frame of MPEG-1.
fn frame_size(frame: &[u8]) -> usize {
    let kbps = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320][usize::from(frame[2] >> 4)];
    let rate = [44_100, 48_000, 32_000][usize::from(frame[2] >> 2 & 3)];
    144_000 * kbps / rate + usize::from(frame[2] >> 1 & 1)
}

fn main_data_begin(frame: &[u8]) -> usize {
    usize::from(frame[4]) << 1 | usize::from(frame[5] >> 7)
}

#[test]
fn frames_without_their_main_data_are_silent() {
    let whole = source("r.mp3", "-c:a libmp3lame -b:a 64k -write_xing 0 -id3v2_version 0", 44_100, 2);
    let whole = frames(&whole);
    let starts = starts(&whole);
    // The first frame goes far back, and so do some behind it.
    let first = (20..60).find(|n| main_data_begin(&whole[starts[*n]..]) > 300).unwrap();
    let cut = &whole[starts[first]..];
    let (_folder, path) = file("cut.mp3", cut);
    let (mp3, pcm) = copied(&path, &Options::default());
    let all = decoded(&whole, &mp3);
    // What is lost is over after some frames.
    let behind = |frame: usize| frame * 1152 * 2;
    assert!(pcm[behind(5)..] == all[behind(first + 5)..], "it decodes to something else");
    assert!(pcm[..behind(1)].iter().all(|sample| *sample == 0.0), "noise comes first");
    assert_eq!(pcm.len(), all.len() - behind(first));
}

#[test]
fn tags_behind_the_sound_are_left_out() {
    let plain = source("t.mp3", "-c:a libmp3lame -id3v2_version 0", 44_100, 2);
    let (wanted, pcm) = copied(&plain, &Options::default());
    // What LAME puts in front, and what decoders do (LAME tag specification, "encoder delays").
    assert_eq!(find(&pcm, &decoded(&frames(&plain), &wanted)), Some((576 + 529) * 2));
    let id3v1 = [&b"TAG"[..], b"Secret", &[b' '; 119]].concat();
    let ape = [&[0x55; 100][..], b"APETAGEX\xd0\x07\0\0\x84\0\0\0\x01\0\0\0\0\0\0\0", &[0; 8]].concat();
    for tags in [id3v1.clone(), [ape, id3v1].concat()] {
        let (_folder, path) = file("t.mp3", &[std::fs::read(&plain).unwrap(), tags].concat());
        let (mp3, _) = copied(&path, &Options::default());
        assert!(std::fs::read(&mp3.path).unwrap() == std::fs::read(&wanted.path).unwrap());
    }
}

#[test]
fn sound_that_comes_late_is_copied_behind_silence() {
    let tone = source("late.mp3", "-c:a libmp3lame -b:a 128k", 48_000, 2);
    for (name, by) in [("late.mkv", "0.3"), ("late.mkv", "0.777"), ("late.flv", "0.25")] {
        let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2"];
        let late = ["-itsoffset", by, "-i", tone.to_str().unwrap(), "-map", "0", "-map", "1", "-c:a", "copy"];
        let rate = if name == "late.flv" { &["-ar", "44100", "-c:a", "libmp3lame"][..] } else { &[] };
        let source = media::make(name, &[&picture[..], &late, rate].concat());
        let (_, pcm) = copied(&source, &Options::default());
        let silent = pcm.iter().position(|sample| *sample != 0.0).unwrap();
        let rate = if name == "late.flv" { 44_100.0 } else { 48_000.0 };
        let at = silent as f64 / 2.0 / rate;
        assert!((at - by.parse::<f64>().unwrap()).abs() < 0.05, "{name}: silence for {at:.3} s");
    }
}

/// Converts a file that must be encoded.
fn encoded(source: &Path, options: &Options) -> Mp3 {
    let mp3 = convert(source, options).unwrap_or_else(|err| panic!("{}: {err}", source.display()));
    assert!(!is_copy(&mp3), "{} was copied with {options:?}", source.display());
    judge::assert_clean(&mp3.path);
    mp3
}

#[test]
fn what_asks_for_a_change_is_encoded() {
    let source = source("o.mp3", "-c:a libmp3lame -b:a 128k", 44_100, 2);
    let none = Options::default();
    for options in [
        Options { quality: Some(Quality::Cbr(128)), ..none.clone() },
        Options { quality_of_mono: Some(Quality::Cbr(64)), ..none.clone() },
        Options { channels: Some(Channels::Stereo), ..none.clone() },
        Options { sample_rate: Some(44_100), ..none.clone() },
        Options { loudness: Some(-16.0), ..none.clone() },
    ] {
        encoded(&source, &options);
    }
    let (mp3, _) = copied(&source, &Options { title: Some("Song".to_owned()), ..none });
    assert_eq!(id3::Tag::read_from_path(&mp3.path).unwrap().title(), Some("Song"));
}

#[test]
fn gaps_several_parts_and_less_than_a_frame_are_encoded() {
    let tone = source("g.mp3", "-c:a libmp3lame -b:a 128k", 48_000, 2);
    let shift = "setts=ts=if(gt(TS*TB\\,1)\\,TS+0.5/TB\\,TS)";
    let whole = media::make("whole.mkv", &["-i", tone.to_str().unwrap(), "-c", "copy"]);
    copied(&whole, &Options::default());
    let gap = media::make("gap.mkv", &["-i", whole.to_str().unwrap(), "-c", "copy", "-bsf:a", shift]);
    let mp3 = encoded(&gap, &Options::default());
    let late = mp3.made.samples.abs_diff(judge::samples(&tone) + 24_000);
    assert!(late < 3000, "{late}");
    // An edit list with a hole: the first second and the third.
    let mp4 = std::fs::read(source("g.mp4", "-c:a libmp3lame", 44_100, 2)).unwrap();
    let two = |_: &[u8]| {
        let entry =
            |duration: u32, time: u32| [duration.to_be_bytes(), time.to_be_bytes(), 0x1_0000u32.to_be_bytes()].concat();
        [&[0, 0, 0, 0, 0, 0, 0, 2][..], &entry(1000, 1105), &entry(1000, 1105 + 88_200)].concat()
    };
    let (_folder, path) = file("g.mp4", &patch_mp4(&mp4, &[b"moov", b"trak", b"edts", b"elst"], &two));
    assert_eq!(encoded(&path, &Options::default()).made.samples, 88_200);
    let moment = Options { start: Some(2.98), ..Options::default() };
    assert_eq!(encoded(&tone, &moment).made.samples, 960);
}

#[test]
fn streams_of_several_kinds_and_joined_ones_are_encoded() {
    let bare = |name: &str, args: &str, rate, channels| {
        std::fs::read(source(name, &format!("-c:a libmp3lame {args} -write_xing 0 -id3v2_version 0"), rate, channels))
            .unwrap()
    };
    let one = bare("k.mp3", "-b:a 128k", 44_100, 2);
    let cut = &one[starts(&one)[41]..];
    for other in [bare("k.mp3", "-b:a 128k", 48_000, 2), bare("k.mp3", "-b:a 128k", 44_100, 1), cut.to_vec()] {
        let (_folder, path) = file("k.mp3", &[&one[..], &other].concat());
        encoded(&path, &Options::default());
    }
}

#[test]
fn damage_is_encoded() {
    let whole = std::fs::read(source("d.mp3", "-c:a libmp3lame -b:a 128k -id3v2_version 0", 44_100, 2)).unwrap();
    let at = starts(&whole)[50];
    for damaged in [
        [&whole[..at], &[0; 500], &whole[at..]].concat(), // something between frames
        [&whole[..at + 200], &whole[at + 210..]].concat(), // bytes are missing
        [&whole[..at + 4], &[0xff; 32], &whole[at + 36..]].concat(), // side information
    ] {
        let (_folder, path) = file("d.mp3", &damaged);
        let mp3 = convert(&path, &Options::default()).unwrap();
        assert!(!is_copy(&mp3));
    }
}

/// A silent frame of 128 kbit/s at 44.1 kHz with a checksum that is right (ISO/IEC 11172-3, 2.4.3.1).
fn with_checksum(main_data_begin: u8) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfa, 0x90, 0x64, 0, 0, main_data_begin];
    frame.resize(417, 0);
    let mut crc = 0xffff_u16;
    for bit in (16..32).chain(48..48 + 32 * 8) {
        let carry = (crc >> 15) as u8 ^ frame[bit / 8] >> (7 - bit % 8) & 1;
        crc = crc << 1 ^ if carry == 1 { 0x8005 } else { 0 };
    }
    frame[4..6].copy_from_slice(&crc.to_be_bytes());
    frame
}

#[test]
fn checksums_are_looked_at_and_made_anew() {
    // The first frame's main data are missing, so it is made silent, and needs another checksum.
    let right = [with_checksum(9), (0..50).flat_map(|_| with_checksum(0)).collect()].concat();
    let (_folder, path) = file("s.mp3", &right);
    let mp3 = convert(&path, &Options::default()).unwrap();
    assert!(is_copy(&mp3));
    judge::assert_clean(&mp3.path);
    assert_eq!(judge::samples(&mp3.path), 51 * 1152);
    let mut wrong = right;
    wrong[417 * 20 + 5] ^= 1;
    let (_folder, path) = file("s.mp3", &wrong);
    assert!(!is_copy(&convert(&path, &Options::default()).unwrap()));
}

#[test]
fn copying_can_be_cancelled_and_gives_the_same_bytes() {
    let source = std::fs::read(source("b.mp3", "-c:a libmp3lame -q:a 2", 44_100, 2)).unwrap();
    let run = |stop_at: usize| {
        let (mut calls, mut mp3, mut fractions) = (0, Cursor::new(Vec::new()), Vec::new());
        let made = NativeTranscoder::default().transcode(
            &mut Cursor::new(&source),
            &mut mp3,
            &Options::default(),
            &mut |now| {
                calls += 1;
                fractions.extend(now.fraction());
                if calls == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        (made, mp3.into_inner(), fractions)
    };
    let (_, mp3, fractions) = run(usize::MAX);
    assert!(mp3 == run(usize::MAX).1);
    assert!(fractions.is_sorted() && fractions.last().is_some_and(|last| *last > 0.8), "{fractions:?}");
    for stop_at in [1, fractions.len()] {
        assert!(matches!(run(stop_at).0, Err(TranscodeError::Cancelled)));
    }
}

#[test]
fn files_from_the_wild_are_copied_to_the_bit() {
    let Some(folder) = media::extra() else { return };
    for name in [
        "avi/exo-sample.avi",
        "avi/kde-test.avi",
        "flv/tika-testFLV.flv",
        "matroska/taglib-no-tags.mka",
        "mp3/moviepy-crunching.mp3",
        "mp3/localsearch-mp3-id3v2.3-vbr-1.mp3",
        "mp3/mediafile-image_unknown_type.mp3",
        "mp3/musicmd-testcase-1star.mp3",
        "mp3/taglibsharp-sample_v2_4_unsynch.mp3",
        "mp4/moviepy-example3.mp4",
        "mpegts/mediabunny-mp3.ts",
        "mpegts/shakaplayer-seg-3-v1-a1.ts",
    ] {
        let source = folder.join(name);
        let (mp3, pcm) = copied(&source, &Options::default());
        let whole = decoded(&frames(&source), &mp3);
        // Frames whose main data were cut off are silent in the copy.
        let rest = &pcm[pcm.len().min(8 * 1152 * usize::from(mp3.made.channels))..];
        assert!(find(rest, &whole).is_some(), "{name} decodes to something else");
    }
}
