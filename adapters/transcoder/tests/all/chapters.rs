//! The chapters of a source are those of the MP3, judged by ffprobe.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::fmt::Write as _;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::bytes::patch_mp4;
use common::convert;
use microserve_core::transcode::{Options, Quality, Transcoder};
use microserve_testkit::{judge, media};
use microserve_transcoder::NativeTranscoder;

/// Start and end in milliseconds, and title.
type Chapter = (u64, u64, String);

fn three() -> Vec<Chapter> {
    [(0, 1000, "One"), (1000, 2500, "Zwölf 🎬"), (2500, 4000, "Three")].map(|(a, b, title)| (a, b, title.into())).into()
}

/// Four seconds of a tone with these chapters, as ffmpeg writes them.
fn source(name: &str, args: &str, chapters: &[Chapter]) -> PathBuf {
    let mut text = ";FFMETADATA1\n".to_owned();
    for (start, end, title) in chapters {
        write!(text, "[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={end}\ntitle={title}\n").unwrap();
    }
    // Of a name of its own, since what is made is remembered by that.
    let metadata = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chapters-{}.txt", chapters.len()));
    let draft = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(draft.path(), text).unwrap();
    draft.persist(&metadata).unwrap();
    let tone = ["-f", "lavfi", "-i", "sine=frequency=440:duration=4:sample_rate=44100"];
    let chapters = ["-i", metadata.to_str().unwrap(), "-map", "0", "-map_chapters", "1"];
    media::make(name, &[&tone[..], &chapters, &args.split(' ').collect::<Vec<_>>()].concat())
}

/// What ffprobe finds.
fn chapters(file: &Path) -> Vec<Chapter> {
    let args =
        ["-v", "error", "-show_entries", "chapter=start_time,end_time:chapter_tags=title", "-of", "default=nw=1"];
    let output = Command::new("ffprobe").args(args).arg(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut chapters: Vec<Chapter> = Vec::new();
    for line in said.lines() {
        let (key, value) = line.split_once('=').unwrap();
        let millis = || (value.parse::<f64>().unwrap() * 1000.0).round() as u64;
        match key {
            "start_time" => chapters.push((millis(), 0, String::new())),
            "end_time" => chapters.last_mut().unwrap().1 = millis(),
            _ => chapters.last_mut().unwrap().2 = value.to_owned(),
        }
    }
    chapters
}

/// That the chapters are these, but for the end of the last one, which depends on what the container knows of it.
fn check(name: &str, found: &[Chapter], wanted: &[Chapter]) {
    let starts =
        |chapters: &[Chapter]| -> Vec<_> { chapters.iter().map(|(at, _, title)| (*at, title.clone())).collect() };
    assert_eq!(starts(found), starts(wanted), "{name}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.1.abs_diff(wanted.1) <= 60, "{name}: {found:?}");
    }
}

fn encoded(options: Options) -> Options {
    Options { quality: Some(Quality::Cbr(64)), ..options }
}

#[test]
fn chapters_of_every_container_that_has_them_are_kept() {
    for (name, args) in [
        ("c.mp4", "-c:a aac"),
        ("c.m4a", "-c:a aac"),
        ("c.mov", "-c:a pcm_s16le"),
        ("c-frag.mp4", "-c:a aac -movflags frag_keyframe+empty_moov"),
        ("c.mkv", "-c:a aac"),
        ("c.webm", "-c:a libopus"),
        ("c.mp3", "-c:a libmp3lame"),
        ("c3.mp3", "-c:a libmp3lame -id3v2_version 3"),
        ("c.aiff", "-c:a pcm_s16be -write_id3v2 1"),
    ] {
        let source = source(name, args, &three());
        for options in [Options::default(), encoded(Options::default())] {
            let mp3 = convert(&source, &options).unwrap();
            judge::assert_clean(&mp3.path);
            check(name, &chapters(&mp3.path), &three());
            assert_eq!(mp3.made.source.chapters, 3, "{name}");
        }
        let probed = NativeTranscoder::default().probe(&mut std::fs::File::open(&source).unwrap()).unwrap();
        assert_eq!(probed.chapters, 3, "{name}");
    }
}

#[test]
fn comments_of_ogg_and_flac_are_chapters() {
    // What ffmpeg writes of chapters itself is not there.
    let mut args: Vec<String> = ["-f", "lavfi", "-i", "sine=duration=4"].map(Into::into).into();
    for (n, (start, _, title)) in three().iter().enumerate() {
        for comment in
            [format!("CHAPTER{n:03}=00:00:{}.{:03}", start / 1000, start % 1000), format!("CHAPTER{n:03}NAME={title}")]
        {
            args.extend(["-metadata:s:a".to_owned(), comment.clone(), "-metadata".to_owned(), comment]);
        }
    }
    for (name, codec) in [("k.ogg", "libvorbis"), ("k.opus", "libopus"), ("k.flac", "flac")] {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["-c:a", codec]).collect();
        let mp3 = convert(&media::make(name, &args), &Options::default()).unwrap();
        judge::assert_clean(&mp3.path);
        check(name, &chapters(&mp3.path), &three());
    }
}

#[test]
fn nero_s_and_quicktime_s_chapters_are_read_without_each_other() {
    let both = std::fs::read(source("c.mp4", "-c:a aac", &three())).unwrap();
    // The name of a box made another hides what is in it.
    let hide = |path: &[&[u8; 4]], kind: &[u8; 4]| {
        patch_mp4(&both, path, &|body| match body.windows(4).position(|word| word == kind) {
            Some(at) => [&body[..at], b"free", &body[at + 4..]].concat(),
            None => body.to_vec(),
        })
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in
        [("nero.mp4", hide(&[b"moov", b"trak"], b"tref")), ("quicktime.mp4", hide(&[b"moov", b"udta"], b"chpl"))]
    {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check(name, &chapters(&convert(&path, &Options::default()).unwrap().path), &three());
    }
}

#[test]
fn chapters_are_moved_and_cut_with_the_sound() {
    for name in ["c.mkv", "c.mp3"] {
        let args = if name == "c.mkv" { "-c:a aac" } else { "-c:a libmp3lame" };
        let source = source(name, args, &three());
        let part = Options { start: Some(1.25), end: Some(3.0), ..Options::default() };
        let wanted = [(0, 1250, three()[1].2.clone()), (1250, 1750, three()[2].2.clone())];
        for options in [part.clone(), encoded(part)] {
            assert_eq!(chapters(&convert(&source, &options).unwrap().path), wanted, "{name}");
        }
    }
}

#[test]
fn so_many_chapters_are_kept_that_players_take() {
    let many: Vec<Chapter> = (0..1500).map(|n| (n * 2, n * 2 + 2, format!("Chapter {n}"))).collect();
    let source = source("many.mkv", "-c:a aac", &many);
    let mp3 = convert(&source, &Options::default()).unwrap();
    judge::assert_clean(&mp3.path);
    let found = chapters(&mp3.path);
    assert_eq!((found.len(), &found[999]), (1000, &many[999]));
}

#[test]
fn chapters_of_a_tag_that_are_coded_or_cut_off_do_no_harm() {
    let whole = std::fs::read(source("c.mp3", "-c:a libmp3lame", &three())).unwrap();
    let probe =
        |bytes: &[u8]| NativeTranscoder::default().probe(&mut Cursor::new(bytes)).map_or(0, |info| info.chapters);
    assert_eq!(probe(&whole), 3);
    let chap = whole.windows(4).position(|word| word == b"CHAP").unwrap();
    let title = whole[chap..].windows(4).position(|word| word == b"TIT2").unwrap() + chap;
    for format in [1, 2, 4, 8, 0x40] {
        let mut coded = whole.clone();
        coded[chap + 9] = format;
        assert_eq!(probe(&coded), 2, "{format:#x}");
        let mut coded = whole.clone();
        coded[title + 9] = format;
        assert_eq!(probe(&coded), 3, "{format:#x}");
    }
    for at in chap..title + 40 {
        let mut broken = whole.clone();
        broken[at] ^= 0xff;
        probe(&broken);
    }
}
