//! Files that are cut off, scrambled or made to do harm: an MP3 of what is there or an error, never a panic, a hang or
//! an error that says "try again".
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use common::convert_bytes;
use microserve_core::Retryable;
use microserve_core::transcode::{Options, Quality, TranscodeError, Transcoder};
use microserve_testkit::bytes::{Random, find, map_pages, sine};
use microserve_testkit::hostile::samples;
use microserve_testkit::media;
use microserve_transcoder::{Container, NativeTranscoder, sniff};

fn assert_final(name: &str, outcome: &Result<microserve_core::transcode::Transcoded, TranscodeError>) {
    if let Err(err) = outcome {
        assert!(!err.is_retryable(), "{name}: {err:?} is the file's fault, so trying again won't help");
    }
}

#[test]
fn cut_off_anywhere_gives_what_is_there_or_an_error() {
    for (name, bytes) in samples() {
        let mut longest = 0.0f64;
        for n in 0..40 {
            let cut = bytes.len() * n / 40;
            let outcome = convert_bytes(&bytes[..cut]);
            assert_final(&format!("{name} cut at {cut}"), &outcome);
            if let Ok(made) = outcome {
                longest = longest.max(made.duration());
            }
        }
        assert!(longest <= 0.6, "{name}: {longest} s from half a second");
        // What needs no index at the end can be used up to the cut.
        if !matches!(name, "s.mp4" | "s.m4a" | "s.mov" | "i.mov" | "a.caf" | "e.mp4" | "q.mov") {
            assert!(longest > 0.3, "{name}: only {longest} s of what was there");
        }
    }
}

#[test]
fn scrambled_files_make_no_panic() {
    let mut random = Random::new(0x5eed);
    for (name, bytes) in samples() {
        for round in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..=random.below(12) {
                // Half of the damage hits the headers.
                let span = if random.below(2) == 0 { bytes.len().min(600) } else { bytes.len() };
                let at = random.below(span);
                match random.below(4) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
                    2 => bytes[at] ^= 1 << random.below(8),
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            assert_final(&format!("{name}, round {round}"), &convert_bytes(&bytes));
        }
    }
}

#[test]
fn what_is_not_media_is_named() {
    for (bytes, name) in [
        (&b""[..], "empty"),
        (b"just some words\n", "text"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\nhttp://127.0.0.1/x.ts\n", "m3u8"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg"),
        (b"PK\x03\x04rest of a zip", "zip"),
        (b"\x7fELF\x02\x01\x01", "elf"),
    ] {
        match convert_bytes(bytes) {
            Err(TranscodeError::UnsupportedContainer { name: found }) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn other_containers_are_refused_and_not_decoded_as_noise() {
    let sound = ["-f", "lavfi", "-i", "sine=duration=2"];
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2"];
    for (file, args, name) in [
        ("n.nut", "-c:a mp2", "nut"),
        ("n.mxf", "-c:v mpeg2video -c:a pcm_s16le -ar 48000", "mxf"),
        ("n.wv", "-c:a wavpack", "wavpack"),
        ("n.tta", "-c:a tta", "tta"),
    ] {
        let inputs = if matches!(file, "n.wv" | "n.tta") { sound.to_vec() } else { [sound, picture].concat() };
        let args: Vec<&str> = inputs.into_iter().chain(args.split(' ')).collect();
        let bytes = std::fs::read(media::make(file, &args)).unwrap();
        assert_eq!(sniff(&bytes[..bytes.len().min(65_536)]), Container::Unsupported(name));
        assert!(matches!(convert_bytes(&bytes), Err(TranscodeError::UnsupportedContainer { .. })), "{file}");
    }
}

#[test]
fn codecs_that_are_not_decoded_are_named() {
    // Debian's ffmpeg encodes few that are not decoded here.
    for (file, args, name) in [
        ("u.ogg", "-c:a libspeex -ar 16000", "speex"),
        ("u.mkv", "-c:a truehd -strict -2 -ar 48000 -ac 2", "truehd"),
        ("u.mka", "-c:a wavpack", "wavpack4"),
    ] {
        let args: Vec<&str> = ["-f", "lavfi", "-i", "sine=duration=1"].into_iter().chain(args.split(' ')).collect();
        let bytes = std::fs::read(media::make(file, &args)).unwrap();
        match convert_bytes(&bytes) {
            Err(TranscodeError::UnsupportedCodec { name: found }) => assert_eq!(found, name),
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_decodable_track_is_taken_before_one_that_is_not() {
    let sound = ["-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000", "-map", "0", "-map", "0", "-ac", "2"];
    let two = [&sound[..], &["-c:a:0", "truehd", "-strict", "-2", "-c:a:1", "aac"]].concat();
    let made = convert_bytes(&std::fs::read(media::make("two.mkv", &two)).unwrap()).unwrap();
    assert_eq!((made.source.chosen, made.source.audio().unwrap().codec.as_str()), (Some(1), "aac"));
}

#[test]
fn a_video_without_sound_has_no_audio_track() {
    let bytes = std::fs::read(media::video_only_mp4()).unwrap();
    assert!(matches!(convert_bytes(&bytes), Err(TranscodeError::NoAudioTrack)));
}

#[test]
fn encrypted_sound_is_named() {
    let key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"];
    let kid = ["-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"];
    let args = [&["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"][..], &key, &kid].concat();
    let bytes = std::fs::read(media::make("encrypted.mp4", &args)).unwrap();
    assert!(matches!(convert_bytes(&bytes), Err(TranscodeError::Encrypted)));
}

/// A WAV that says it has one sample a second, and so most of a day of sound in a few bytes.
#[test]
fn a_bomb_is_refused() {
    let mut wav = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend([1u32, 1].iter().flat_map(|n| n.to_le_bytes()));
    wav.extend(b"\x01\0\x08\0data\xff\xff\xff\x7f");
    wav.resize(80_000, 0x80);
    assert!(matches!(convert_bytes(&wav), Err(TranscodeError::Corrupt { .. })));
}

/// Headers of pages that claim the most, one behind the other: believing each would mean a checksum over 64 KiB for
/// every 27 bytes of the file.
#[test]
fn pages_within_pages_are_not_all_looked_at() {
    let good =
        std::fs::read(media::make("s.opus", &["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus"])).unwrap();
    let mut fake = b"OggS\0\0".to_vec();
    fake.resize(26, 0);
    fake.push(255);
    let claims = [&fake[..], &[255; 255]].concat();
    let hostile = [&good[..], &claims.repeat(100_000)].concat();
    let made = convert_bytes(&hostile).unwrap();
    assert_eq!(made.samples, convert_bytes(&good).unwrap().samples);
}

/// Elements of two bytes, millions of them, in the place of sound.
#[test]
fn crumbs_in_the_place_of_blocks_end_the_file() {
    let good =
        std::fs::read(media::make("s.mka", &["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "libopus"])).unwrap();
    let hostile = [&good[..], &[0xec, 0x80].repeat(4_000_000)].concat();
    let made = convert_bytes(&hostile).unwrap();
    assert_eq!(made.samples, convert_bytes(&good).unwrap().samples);
}

/// Gives its bytes and then an error.
struct Failing(Cursor<Vec<u8>>, u64);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.position() >= self.1 {
            return Err(io::Error::other("the disk is gone"));
        }
        let left = usize::try_from(self.1 - self.0.position()).unwrap();
        let most = buf.len().min(left);
        self.0.read(&mut buf[..most])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_source_that_fails_is_never_taken_for_the_end_of_the_file() {
    for (name, bytes) in samples() {
        for n in 1..8 {
            let mut source = Failing(Cursor::new(bytes.clone()), bytes.len() as u64 * n / 8);
            let go_on = &mut |_| ControlFlow::Continue(());
            let mut sink = Cursor::new(Vec::new());
            let outcome = NativeTranscoder::default().transcode(&mut source, &mut sink, &Options::default(), go_on);
            assert!(matches!(outcome, Err(TranscodeError::Source(_))), "{name}, failing at {n}/8: {outcome:?}");
        }
    }
}

/// Seconds of the MP3s that are made of a file, copied and encoded.
fn seconds(bytes: &[u8]) -> [f64; 2] {
    [None, Some(Quality::Cbr(64))].map(|quality| {
        let options = Options { quality, ..Options::default() };
        let go_on = &mut |_| ControlFlow::Continue(());
        let mut sink = Cursor::new(Vec::new());
        let made = NativeTranscoder::default().transcode(&mut Cursor::new(bytes), &mut sink, &options, go_on);
        made.unwrap_or_else(|err| panic!("{err}")).duration()
    })
}

#[test]
fn an_mp3_that_lies_about_its_frames_is_as_long_as_it_is() {
    for file in ["s.mp3", "v.mp3"] {
        let mut mp3 = sine(file, if file == "s.mp3" { "-c:a libmp3lame" } else { "-c:a libmp3lame -q:a 4" });
        let tag = if file == "s.mp3" { b"Info" } else { b"Xing" };
        let frames = find(&mp3, tag) + 8;
        for count in [u32::MAX, 100_000_000, 3] {
            mp3[frames..frames + 4].copy_from_slice(&count.to_be_bytes());
            for seconds in seconds(&mp3) {
                assert!((0.48..0.6).contains(&seconds), "{file} of {count} frames: {seconds} s");
            }
        }
    }
}

#[test]
fn an_ogg_whose_last_position_is_absurd_is_as_long_as_it_is() {
    for (file, codec) in [("s.ogg", "-c:a libvorbis"), ("s.opus", "-c:a libopus"), ("s.oga", "-c:a flac")] {
        let plain = sine(file, codec);
        let last = map_pages(&plain, |_, _| {}).len() - 1;
        for granule in [i64::MAX, 1 << 40, 1 << 33] {
            let change = |n: usize, page: &mut Vec<u8>| {
                if n == last {
                    page[6..14].copy_from_slice(&granule.to_le_bytes());
                }
            };
            for seconds in seconds(&map_pages(&plain, change).concat()) {
                assert!((0.48..0.6).contains(&seconds), "{file} to {granule}: {seconds} s");
            }
        }
    }
}

#[test]
fn a_matroska_whose_duration_is_absurd_is_as_long_as_it_is() {
    let mut file = sine("s.mka", "-c:a flac");
    // The element Duration, a float of eight bytes, in milliseconds.
    let duration = find(&file, &[0x44, 0x89, 0x88]) + 3;
    file[duration..duration + 8].copy_from_slice(&1e15f64.to_be_bytes());
    for seconds in seconds(&file) {
        assert!((0.48..0.6).contains(&seconds), "{seconds} s");
    }
}
