//! The MP3 begins where a player begins, and what is missing of the sound is silence: each file has a click at a known
//! time, and it is at that time in the MP3.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::path::{Path, PathBuf};

use common::bytes::map_pages;
use common::{convert, finest};
use microserve_testkit::{judge, media};

/// A picture of two seconds.
const PICTURE: [&str; 4] = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2"];
/// Where in the sound the click is, in seconds.
const CLICK: f64 = 0.25;

/// A second of silence with one loud sample.
fn click(rate: u32) -> PathBuf {
    let at = (CLICK * f64::from(rate)).round();
    let sound = format!("aevalsrc=exprs='0.9*eq(n,{at})':sample_rate={rate}:duration=1");
    media::make("click.wav", &["-f", "lavfi", "-i", &sound, "-c:a", "pcm_s16le"])
}

/// A file whose sound starts so much later than its picture.
fn late(name: &str, args: &str, rate: u32, late: &str) -> PathBuf {
    let click = click(rate);
    let mut all = PICTURE.to_vec();
    all.extend(["-itsoffset", late, "-i", click.to_str().unwrap(), "-map", "0", "-map", "1"]);
    all.extend(args.split(' '));
    media::make(name, &all)
}

/// When the MP3 is loudest, in seconds.
fn loudest(mp3: &common::Mp3) -> f64 {
    let pcm = judge::pcm(&mp3.path, mp3.made.sample_rate, 1);
    let (at, _) = pcm.iter().enumerate().max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs())).unwrap();
    at as f64 / f64::from(mp3.made.sample_rate)
}

fn check_click(file: &Path, expected: f64, within: f64) {
    let mp3 = convert(file, &finest()).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
    judge::assert_clean(&mp3.path);
    let at = loudest(&mp3);
    assert!((at - expected).abs() <= within, "{}: the click is at {at:.4} s, not at {expected} s", file.display());
}

#[test]
fn sound_that_starts_late_is_late_in_the_mp3() {
    for (name, args) in [
        ("late.mp4", "-c:v mpeg4 -c:a aac -b:a 192k"),
        ("late.mov", "-c:v mpeg4 -c:a pcm_s16le"),
        ("late-frag.mp4", "-c:v mpeg4 -c:a aac -b:a 192k -movflags frag_keyframe+empty_moov"),
        ("late.mkv", "-c:v mpeg4 -c:a aac -b:a 192k"),
        ("late-flac.mkv", "-c:v mpeg4 -c:a flac"),
        ("late.webm", "-c:v libvpx -deadline realtime -c:a libopus -b:a 192k"),
        ("late-vorbis.webm", "-c:v libvpx -deadline realtime -c:a libvorbis -q:a 8"),
        ("late-vorbis.wmv", "-c:v mpeg4 -c:a libvorbis -q:a 8"),
    ] {
        for late_by in ["0.3", "0.777"] {
            let file = late(name, args, 48_000, late_by);
            // ffmpeg forgets to add the codec delay when it does not have to move the whole file.
            let within = if name == "late.webm" { 0.007 } else { 0.001 };
            check_click(&file, CLICK + late_by.parse::<f64>().unwrap(), within);
        }
    }
}

/// ffmpeg writes no Ogg like that, so that the pages of the sound are told to be later. (A single page, which is also the
/// last, could not tell.)
#[test]
fn sound_that_starts_late_in_ogg_is_late_in_the_mp3() {
    for (name, args, first) in [
        ("late.ogv", "-c:v libtheora -c:a libvorbis -q:a 8 -page_duration 100000", &b"\x01vorbis"[..]),
        ("late-opus.ogv", "-c:v libtheora -c:a libopus -b:a 192k -page_duration 100000", b"OpusHead"),
        ("late-flac.ogv", "-c:v libtheora -c:a flac -page_duration 100000", b"\x7fFLAC"),
    ] {
        let ogg = std::fs::read(late(name, args, 48_000, "0")).unwrap();
        // The first page of the sound, behind its header of 28 bytes.
        let sound = ogg.windows(first.len()).position(|bytes| bytes == first).unwrap() - 28;
        let serial = ogg[sound + 14..sound + 18].to_vec();
        for (late_by, samples) in [(0.3, 14_400), (0.777, 37_296)] {
            let shifted = map_pages(&ogg, |_, page| {
                let granule = i64::from_le_bytes(page[6..14].try_into().unwrap());
                if page[14..18] == serial && granule > 0 {
                    page[6..14].copy_from_slice(&(granule + samples).to_le_bytes());
                }
            });
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(name);
            std::fs::write(&file, shifted.concat()).unwrap();
            check_click(&file, CLICK + late_by, 0.001);
        }
    }
}

#[test]
fn sound_that_starts_with_the_picture_is_not_late() {
    for (name, args) in [
        ("early.mp4", "-c:v mpeg4 -bf 2 -c:a aac -b:a 192k"),
        ("early.mkv", "-c:v mpeg4 -bf 2 -c:a aac -b:a 192k"),
        ("early.webm", "-c:v libvpx -deadline realtime -c:a libopus -b:a 192k"),
        ("early.wmv", "-c:v mpeg4 -c:a libvorbis -q:a 8"),
        ("early.avi", "-c:v mpeg4 -c:a libvorbis -q:a 8"),
        ("early.ogv", "-c:v libtheora -c:a libvorbis -q:a 8"),
        ("early-opus.ogv", "-c:v libtheora -c:a libopus -b:a 192k"),
    ] {
        let file = late(name, args, 48_000, "0");
        let mp3 = convert(&file, &finest()).unwrap();
        let priming = if name == "early.mkv" { 1024.0 / 48_000.0 } else { 0.0 };
        let at = loudest(&mp3);
        assert!((at - CLICK - priming).abs() <= 0.001, "{name}: the click is at {at:.4} s");
    }
}

#[test]
fn a_gap_in_the_middle_is_silence() {
    let click = click(48_000);
    for (name, args) in [
        ("gap.mkv", "-c:a flac"),
        ("gap.webm", "-c:a libopus -b:a 192k"),
        ("gap.mp4", "-c:a alac -movflags frag_keyframe+empty_moov -frag_duration 100000"),
        ("gap-stts.mp4", "-c:a alac"),
    ] {
        let whole = media::make(
            &format!("whole-{name}"),
            &[&["-i", click.to_str().unwrap()][..], &args.split(' ').collect::<Vec<_>>()].concat(),
        );
        // The packets behind 0.1 s, among them that with the click, come half a second later than they should.
        let shift = "setts=ts=if(gt(TS*TB\\,0.1)\\,TS+0.5/TB\\,TS)";
        let mut args: Vec<_> = vec!["-i", whole.to_str().unwrap(), "-c", "copy", "-bsf:a", shift];
        if name == "gap.mp4" {
            args.extend(["-movflags", "frag_keyframe+empty_moov", "-frag_duration", "100000"]);
        }
        let gap = media::make(name, &args);
        check_click(&gap, CLICK + 0.5, 0.0015);
    }
}
