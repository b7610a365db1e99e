//! Files that were put together from several, or by writers that left something out: all of their sound is in the MP3.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use crate::common;

use common::bytes::{map_pages, patch_mp4, sine, synchsafe};
use common::{convert, convert_bytes, finest};
use microserve_testkit::{judge, media};

/// Samples of half a second at 44.1 kHz.
const HALF: u64 = 22_050;

fn samples(file: &[u8]) -> u64 {
    convert_bytes(file).unwrap().samples
}

#[test]
fn joined_mp3s_are_cut_where_each_of_them_begins_and_ends() {
    let tagged = sine("s.mp3", "-c:a libmp3lame -id3v2_version 0");
    let bare = sine("n.mp3", "-c:a libmp3lame -id3v2_version 0 -write_xing 0");
    assert_eq!(samples(&tagged), HALF);
    assert_eq!(samples(&[&tagged[..], &tagged].concat()), 2 * HALF);
    // What says nothing of itself is played as it is.
    assert_eq!(samples(&[&tagged[..], &bare].concat()), HALF + samples(&bare));
}

#[test]
fn large_tags_before_and_between_mp3s_cost_no_sound() {
    let sound = sine("n.mp3", "-c:a libmp3lame -id3v2_version 0 -write_xing 0");
    let tag = [&b"ID3\x04\0\0"[..], &synchsafe(1_500_000), &[0; 1_500_000]].concat();
    let small = b"ID3\x04\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(samples(&[&small[..], &tag, &sound].concat()), samples(&sound));
    assert_eq!(samples(&[&sound[..], &tag, &sound].concat()), 2 * samples(&sound));
    // Neither does whatever else is between them.
    assert_eq!(samples(&[&sound[..], &[0x55; 1_500_000], &sound].concat()), 2 * samples(&sound));
}

#[test]
fn adts_that_changes_its_channels_goes_on() {
    let (mono, stereo) = (sine("s.aac", "-c:a aac"), sine("s.aac", "-c:a aac -ac 2"));
    assert_eq!(samples(&[&stereo[..], &mono].concat()), samples(&stereo) + samples(&mono));
    let slower = sine("s.aac", "-c:a aac -ar 22050");
    let both = samples(&[&stereo[..], &slower].concat());
    assert!(both.abs_diff(samples(&stereo) + 2 * samples(&slower)) <= 2, "{both}");
}

#[test]
fn chained_ogg_goes_on_without_an_end_of_stream() {
    let first = sine("s.ogg", "-c:a libvorbis -page_duration 20000");
    let last = map_pages(&first, |_, _| ()).len() - 1;
    let endless: Vec<u8> = map_pages(&first, |n, page| {
        if n == last {
            page[5] &= !4;
        }
    })
    .concat();
    let other: Vec<u8> = map_pages(&first, |_, page| page[14] ^= 0xff).concat();
    assert_eq!(samples(&[first.clone(), other.clone()].concat()), 2 * HALF);
    assert_eq!(samples(&[endless.clone(), other].concat()), samples(&endless) + HALF);
}

#[test]
fn a_recording_of_a_broadcast_begins_in_the_middle() {
    for (file, args) in [("s.ogg", "-c:a libvorbis"), ("s.opus", "-c:a libopus -page_duration 20000")] {
        let start = sine(file, args);
        let late: Vec<u8> = map_pages(&start, |_, page| {
            let granule = i64::from_le_bytes(page[6..14].try_into().unwrap());
            if granule > 0 {
                page[6..14].copy_from_slice(&(granule + 48_000 * 86_400 * 3).to_le_bytes());
            }
        })
        .concat();
        let (made, late) = (convert_bytes(&start).unwrap(), convert_bytes(&late).unwrap());
        assert!(late.samples.abs_diff(made.samples) < 2_000, "{file}: {} {}", late.samples, made.samples);
    }
}

/// An index of chunks that gives the second half of them another sample description.
fn split(stsc: &[u8], chunks: u32) -> Vec<u8> {
    let rows: Vec<[u32; 3]> = stsc[8..]
        .chunks(12)
        .map(|row| [0, 4, 8].map(|at| u32::from_be_bytes(row[at..at + 4].try_into().unwrap())))
        .collect();
    let half = chunks / 2 + 1;
    let per_chunk = rows.iter().rfind(|row| row[0] <= half).unwrap()[1];
    let before = rows.iter().filter(|row| row[0] < half).copied();
    let behind = rows.iter().filter(|row| row[0] > half).map(|row| [row[0], row[1], 2]);
    let rows: Vec<[u32; 3]> = before.chain([[half, per_chunk, 2]]).chain(behind).collect();
    let head = [[0; 4], (rows.len() as u32).to_be_bytes()].concat();
    [head, rows.concat().iter().flat_map(|n| n.to_be_bytes()).collect()].concat()
}

#[test]
fn all_sample_descriptions_of_an_mp4_are_played() {
    for args in ["-c:a aac -t 0.5", "-c:a pcm_s16be"] {
        let file = sine("s.mov", args);
        let stco = file.windows(4).position(|four| four == b"stco").unwrap();
        let chunks = u32::from_be_bytes(file[stco + 8..stco + 12].try_into().unwrap());
        let path = |kind| [b"moov", b"trak", b"mdia", b"minf", b"stbl", kind];
        let again = |stsd: &[u8]| [&stsd[..4], &2u32.to_be_bytes(), &stsd[8..], &stsd[8..]].concat();
        let two = patch_mp4(&file, &path(b"stsd"), &again);
        let two = patch_mp4(&two, &path(b"stsc"), &|stsc| split(stsc, chunks));
        assert_eq!(samples(&two), HALF, "{args}");
        // Even if the second is the only one in use.
        let second = patch_mp4(&two, &path(b"stsc"), &|stsc| {
            let mut stsc = stsc.to_vec();
            stsc[8..].chunks_mut(12).for_each(|row| row[11] = 2);
            stsc
        });
        assert_eq!(samples(&second), HALF, "{args}");
    }
}

#[test]
fn every_edit_of_a_list_is_played() {
    let file = sine("s.m4a", "-c:a aac");
    let edits = |edits: &[(u32, i32)]| {
        let rows = edits.iter().flat_map(|(duration, time)| [*duration, *time as u32, 0x10000]);
        let numbers = [0, edits.len() as u32].into_iter().chain(rows);
        let elst: Vec<u8> = numbers.flat_map(u32::to_be_bytes).collect();
        samples(&patch_mp4(&file, &[b"moov", b"trak", b"edts", b"elst"], &|_| elst.clone()))
    };
    assert_eq!(edits(&[(100, 1024), (100, 1024 + 13_230)]), 8_820);
    assert_eq!(edits(&[(100, 1024), (100, 1024 + 4_410)]), 8_820);
    assert_eq!(edits(&[(0, 1024)]), HALF);
}

#[test]
fn a_wave_file_whose_writer_never_came_back_is_read_to_its_end() {
    let file = sine("s.wav", "-c:a pcm_s16le");
    let data = file.windows(4).position(|four| four == b"data").unwrap();
    for size in [0, u32::MAX] {
        let mut piped = file.clone();
        piped[4..8].copy_from_slice(&size.to_le_bytes());
        piped[data + 4..data + 8].copy_from_slice(&size.to_le_bytes());
        assert_eq!(samples(&piped), HALF);
    }
}

/// Silence first, which packs tightly: an estimate from it is far too long.
#[test]
fn an_estimate_is_no_reason_to_refuse() {
    use std::io::Cursor;
    use std::ops::ControlFlow;
    use std::time::Duration;

    use microserve_core::transcode::{Options, Transcoder};
    use microserve_transcoder::{Limits, NativeTranscoder};

    let noise = |file, args: &str| {
        let sound = "anullsrc=r=44100:cl=mono:d=5[a];anoisesrc=r=44100:d=5[b];[a][b]concat=v=0:a=1";
        let args: Vec<&str> = ["-filter_complex", sound].into_iter().chain(args.split(' ')).collect();
        std::fs::read(microserve_testkit::media::make(file, &args)).unwrap()
    };
    for file in [noise("e.aac", "-c:a aac -b:a 192k"), noise("e.mp3", "-c:a libmp3lame -q:a 2 -write_xing 0")] {
        let go_on = &mut |_| ControlFlow::Continue(());
        let transcoder = NativeTranscoder::with_limits(Limits { longest: Duration::from_secs(11) });
        let mut sink = Cursor::new(Vec::new());
        let made = transcoder.transcode(&mut Cursor::new(file), &mut sink, &Options::default(), go_on).unwrap();
        assert!((9.9..10.2).contains(&made.duration()));
    }
}

#[test]
fn chained_ogg_is_converted_to_its_end() {
    let one = media::make(
        "chain1.ogg",
        &["-f", "lavfi", "-i", "sine=frequency=440:duration=1:sample_rate=44100", "-c:a", "libvorbis"],
    );
    let two = media::make(
        "chain2.ogg",
        &["-f", "lavfi", "-i", "sine=frequency=880:duration=1.5:sample_rate=48000", "-c:a", "libvorbis"],
    );
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both.ogg");
    std::fs::write(&both, [std::fs::read(one).unwrap(), std::fs::read(two).unwrap()].concat()).unwrap();
    let mp3 = convert(&both, &finest()).unwrap();
    assert_eq!(mp3.made.samples, 44_100 + 66_150);
    judge::assert_clean(&mp3.path);
}

#[test]
fn a_trimmed_clip_is_as_long_as_its_edit_list_says() {
    let whole = media::make("whole.mp4", &["-f", "lavfi", "-i", "sine=duration=10:sample_rate=44100", "-c:a", "aac"]);
    let clip = media::make("clip.mp4", &["-ss", "3.3", "-i", whole.to_str().unwrap(), "-t", "2", "-c", "copy"]);
    let mp3 = convert(&clip, &finest()).unwrap();
    let seconds = mp3.made.duration();
    assert!((seconds - 2.0).abs() < 0.03, "{seconds}");
}
