//! Files that are the same sound written down in many ways, and files that were cut off or damaged by honest accident:
//! the first become the same MP3 to the byte, the others one of what is there, or an error if that is next to nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::io::{Cursor, Write};
use std::ops::ControlFlow;

use common::bytes::{caf_chunk, ebml, find, map_pages, mp4_box, ogg_page, sine};
use common::{convert, convert_bytes, finest};
use microserve_core::transcode::{Options, TranscodeError, Transcoder};
use microserve_testkit::{judge, media};
use microserve_transcoder::NativeTranscoder;

fn mp3_of(bytes: &[u8]) -> Vec<u8> {
    let mut sink = Cursor::new(Vec::new());
    let go_on = &mut |_| ControlFlow::Continue(());
    NativeTranscoder::default().transcode(&mut Cursor::new(bytes), &mut sink, &Options::default(), go_on).unwrap();
    sink.into_inner()
}

#[test]
fn the_same_samples_are_the_same_mp3_whatever_holds_them() {
    let wanted = mp3_of(&sine("s.wav", "-c:a pcm_s16le"));
    for (file, args) in [
        ("s.wav", "-c:a pcm_s24le"),
        ("s.wav", "-c:a pcm_s32le"),
        ("s.wav", "-c:a pcm_f32le"),
        ("s.wav", "-c:a pcm_f64le"),
        ("s.wav", "-c:a pcm_s16le -rf64 always"),
        ("s.aiff", "-c:a pcm_s16be"),
        ("s.aiff", "-c:a pcm_s24be"),
        ("s.aiff", "-c:a pcm_s16le"),
        ("s.aiff", "-c:a pcm_f64be"),
        ("s.au", "-c:a pcm_s16be"),
        ("s.au", "-c:a pcm_s32be"),
        ("s.au", "-c:a pcm_f32be"),
        ("s.caf", "-c:a pcm_s16le"),
        ("s.caf", "-c:a pcm_s24be"),
        ("s.caf", "-c:a pcm_f64le"),
        ("s.caf", "-c:a alac"),
        ("s.caf", "-c:a flac"),
        ("s.wav", "-c:a flac"),
        ("s.mov", "-c:a pcm_s16be"),
        ("s.mov", "-c:a pcm_s24le"),
        ("s.mov", "-c:a pcm_s32be"),
        ("s.mov", "-c:a pcm_f32le"),
        ("s.mov", "-c:a pcm_s16le -movflags frag_keyframe+empty_moov"),
        ("s.mka", "-c:a pcm_s24be"),
        ("s.mka", "-c:a pcm_f64le"),
        ("s.mka", "-c:a flac"),
    ] {
        assert!(mp3_of(&sine(file, args)) == wanted, "{file} {args}");
    }
}

fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding = &[0][..body.len() % 2];
    [&name[..], &(body.len() as u32).to_le_bytes(), body, padding].concat()
}

/// A WAVE file of these samples, and its parts.
fn wave(samples: &[i16]) -> (Vec<u8>, Vec<u8>) {
    let format = [&[1, 0, 1, 0][..], &44_100u32.to_le_bytes(), &88_200u32.to_le_bytes(), &[2, 0, 16, 0]].concat();
    (format, samples.iter().flat_map(|sample| sample.to_le_bytes()).collect())
}

fn riff(kind: &[u8; 4], chunks: &[Vec<u8>]) -> Vec<u8> {
    let chunks = chunks.concat();
    [&kind[..], &(chunks.len() as u32 + 4).to_le_bytes(), b"WAVE", &chunks].concat()
}

fn tone(samples: u32) -> Vec<i16> {
    (0..samples).map(|n| (f64::from(n) * 0.06).sin() * 12_000.0).map(|sample| sample as i16).collect()
}

#[test]
fn every_form_of_wave_is_the_same_sound() {
    let (format, data) = wave(&tone(22_050));
    let plain = riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &data)]);
    let wanted = mp3_of(&plain);

    let size = |n: u32| [&b"data"[..], &n.to_le_bytes(), &data].concat();
    let open = |n: u32| [&b"RIFF\xff\xff\xff\xffWAVE"[..], &chunk(b"fmt ", &format), &size(n)].concat();
    let guid = [1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
    let mut extensible = [&format[..], &[22, 0, 16, 0, 4, 0, 0, 0], &guid].concat();
    extensible[..2].copy_from_slice(&[0xfe, 0xff]);
    let ds64 = [0, data.len() as u64, 22_050].map(u64::to_le_bytes).concat();
    let wide = |kind: &[u8; 4]| {
        let head = [&kind[..], &[0xff; 4], b"WAVE"].concat();
        let more = chunk(b"LIST", b"INFOICMT\x02\0\0\0no");
        [head, chunk(b"ds64", &[&ds64[..], &[0; 4]].concat()), chunk(b"fmt ", &format), size(u32::MAX), more].concat()
    };
    for (name, file) in [
        ("without a size", open(0)),
        ("with the largest size", open(u32::MAX)),
        ("extensible", riff(b"RIFF", &[chunk(b"fmt ", &extensible), chunk(b"data", &data)])),
        ("RF64", wide(b"RF64")),
        ("BW64", wide(b"BW64")),
        ("RIFX", rifx(&format, &data)),
    ] {
        assert!(mp3_of(&file) == wanted, "{name}");
    }
}

/// The same file with the other byte order.
fn rifx(format: &[u8], data: &[u8]) -> Vec<u8> {
    let mut turned = Vec::new();
    for field in [0..2, 2..4, 4..8, 8..12, 12..14, 14..16] {
        turned.extend(format[field].iter().rev());
    }
    let data: Vec<u8> = data.as_chunks::<2>().0.iter().flat_map(|[low, high]| [*high, *low]).collect();
    let chunk = |name: &[u8; 4], body: &[u8]| [&name[..], &(body.len() as u32).to_be_bytes(), body].concat();
    let chunks = [chunk(b"fmt ", &turned), chunk(b"data", &data)].concat();
    [&b"RIFX"[..], &(chunks.len() as u32 + 4).to_be_bytes(), b"WAVE", &chunks].concat()
}

#[test]
fn tags_behind_the_sound_are_read() {
    let (format, data) = wave(&tone(4410));
    let list = chunk(b"LIST", b"INFOINAM\x05\0\0\0Song\0\0");
    let file = riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &data), list]);
    let made = convert_bytes(&file).unwrap();
    assert_eq!((made.samples, made.source.title.as_deref()), (4410, Some("Song")));
}

/// Twelve bits at the top of two bytes (AIFF 1.3, "Sample points and sample frames"), and the description behind the
/// sound.
#[test]
fn aiff_of_odd_widths_and_in_any_order_is_read() {
    let samples: Vec<i16> = tone(22_050).into_iter().map(|sample| sample & !15).collect();
    let (format, data) = wave(&samples);
    let wanted = mp3_of(&riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &data)]));
    let chunk = |name: &[u8; 4], body: &[u8]| [&name[..], &(body.len() as u32).to_be_bytes(), body].concat();
    let rate = [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0];
    let common = chunk(b"COMM", &[&[0, 1][..], &22_050u32.to_be_bytes(), &[0, 12], &rate].concat());
    // The sound begins three bytes later than it could.
    let sound: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let sound = chunk(b"SSND", &[&[0, 0, 0, 3, 0, 0, 0, 0][..], &[9; 3], &sound, &[0]].concat());
    for chunks in [[&common[..], &sound].concat(), [&sound[..], &common].concat()] {
        let file = [&b"FORM"[..], &(chunks.len() as u32 + 4).to_be_bytes(), b"AIFF", &chunks].concat();
        assert!(mp3_of(&file) == wanted);
    }
}

#[test]
fn what_pretends_to_be_pcm_is_named() {
    let (format, _) = wave(&[]);
    let data = [&[0; 32][..], &b"\x72\xf8\x1f\x4e\x01\0".repeat(9000)].concat();
    let file = riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &data)]);
    let Err(TranscodeError::UnsupportedCodec { name }) = convert_bytes(&file) else { panic!("it was converted") };
    assert_eq!(name, "iec61937");
}

#[test]
fn more_channels_than_have_a_usual_order_are_named() {
    let (mut format, _) = wave(&[]);
    format[2] = 12;
    format[12] = 24;
    let file = riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &[0; 24_000])]);
    let Err(TranscodeError::UnsupportedCodec { name }) = convert_bytes(&file) else { panic!("it was converted") };
    assert_eq!(name, "pcm_s16le with 12 channels");
}

/// Bytes that are nothing: xorshift.
fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 9) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn ten_seconds(file: &str, args: &str) -> Vec<u8> {
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=10:sample_rate=44100"];
    let args: Vec<&str> = sound.into_iter().chain(args.split(' ')).collect();
    std::fs::read(media::make(file, &args)).unwrap()
}

#[test]
fn a_moment_of_sound_before_garbage_is_no_result() {
    for (file, args) in [
        ("t.mkv", "-c:a aac"),
        ("t.mka", "-c:a libopus"),
        ("t.mp4", "-c:a aac -movflags faststart"),
        ("t.aac", "-c:a aac"),
    ] {
        let mut bytes = ten_seconds(file, args);
        let good = bytes.len() / 50;
        let noise = garbage(bytes.len());
        let start =
            if file == "t.mp4" { bytes.windows(4).position(|four| four == b"mdat").unwrap() + 4 + good } else { 4096 };
        let start = start.min(bytes.len() / 10);
        bytes[start..].copy_from_slice(&noise[start..]);
        let outcome = convert_bytes(&bytes);
        assert!(matches!(outcome, Err(TranscodeError::Corrupt { .. })), "{file}: {outcome:?}");
    }
}

#[test]
fn half_of_a_file_before_garbage_is_worth_an_mp3() {
    for (file, args) in [("t.mkv", "-c:a aac"), ("t.mka", "-c:a libopus"), ("t.mp3", "-c:a libmp3lame")] {
        let mut bytes = ten_seconds(file, args);
        let half = bytes.len() / 2;
        let noise = garbage(bytes.len() - half);
        bytes[half..].copy_from_slice(&noise);
        let seconds = convert_bytes(&bytes).unwrap().duration();
        assert!((4.0..10.1).contains(&seconds), "{file}: {seconds}");
    }
}

#[test]
fn sound_behind_garbage_is_found_and_in_its_time() {
    let mut bytes = ten_seconds("t.mka", "-c:a libopus -cluster_time_limit 500");
    let third = bytes.len() / 3..bytes.len() / 2;
    let noise = garbage(third.len());
    bytes[third].copy_from_slice(&noise);
    let seconds = convert_bytes(&bytes).unwrap().duration();
    assert!((seconds - 10.0).abs() < 0.05, "{seconds}");
}

#[test]
fn packets_without_an_element_of_sound_are_no_silence() {
    let good = ten_seconds("t.mkv", "-c:a aac");
    let cluster = good.windows(4).position(|four| four == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let block = |time: u16| ebml(&[0xa3], &[&[0x81][..], &time.to_be_bytes(), &[0x80], &[0xff; 200]].concat());
    let blocks: Vec<u8> = (0..400u16).flat_map(|n| block(n * 23)).collect();
    let file = [&good[..cluster], &ebml(&[0x1f, 0x43, 0xb6, 0x75], &[&b"\xe7\x81\0"[..], &blocks].concat())].concat();
    let outcome = convert_bytes(&file);
    assert!(matches!(outcome, Err(TranscodeError::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn mono_before_stereo_becomes_stereo() {
    let mono = sine("m.mp3", "-c:a libmp3lame -ac 1");
    let stereo = sine("m.mp3", "-c:a libmp3lame -ac 2");
    assert_eq!(convert_bytes(&[&mono[..], &stereo].concat()).unwrap().channels, 2);
    assert_eq!(convert_bytes(&mono).unwrap().channels, 1);
    // Behind more seconds of one channel, it is too late.
    assert_eq!(convert_bytes(&[mono.repeat(5), stereo].concat()).unwrap().channels, 1);
}

/// Cuts a file at twenty places: what comes out is clean and as long as what ffmpeg finds in it, or the error is the
/// file's.
fn check_cuts(file: &str, args: &str, at_least: usize) {
    let bytes = sine(file, args);
    let folder = tempfile::tempdir().unwrap();
    let cut_file = folder.path().join(file);
    let mut converted = 0;
    for n in 1..20 {
        let cut = bytes.len() * n / 20 + n % 3;
        std::fs::write(&cut_file, &bytes[..cut]).unwrap();
        let mp3 = match convert(&cut_file, &finest()) {
            Ok(mp3) => mp3,
            Err(TranscodeError::Corrupt { .. } | TranscodeError::UnsupportedContainer { .. }) => continue,
            Err(err) => panic!("{file} cut at {cut}: {err:?}"),
        };
        converted += 1;
        if n % 4 == 0 {
            judge::assert_clean(&mp3.path);
        }
        // ffmpeg gives up on some cuts within a box. Of others it plays a frame of which a part is missing.
        let Ok(theirs) = std::panic::catch_unwind(|| judge::pcm(&cut_file, mp3.made.sample_rate, 1).len() as u64)
        else {
            continue;
        };
        let ours = mp3.made.samples;
        assert!(theirs.abs_diff(ours) <= 1152, "{file} cut at {cut}: {ours} samples and not {theirs}");
    }
    assert!(converted >= at_least, "{file}: only {converted} of 19 cuts gave sound");
}

macro_rules! cuts {
    ($($name:ident: $file:literal, $args:literal, $at_least:literal;)+) => {
        $(#[test] fn $name() { check_cuts($file, $args, $at_least); })+
    };
}

cuts! {
    cut_wave: "c.wav", "-c:a pcm_s16le", 19;
    cut_adpcm: "c.wav", "-c:a adpcm_ima_wav", 19;
    cut_w64: "c.w64", "-c:a pcm_s24le", 19;
    cut_aiff: "c.aiff", "-c:a pcm_s16be", 19;
    cut_au: "c.au", "-c:a pcm_s16be", 19;
    cut_caf: "c.caf", "-c:a pcm_s16le", 19;
    cut_faststart: "c.mp4", "-c:a aac -movflags faststart", 13;
    cut_fragments: "c.mp4", "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 50000", 16;
    cut_matroska: "c.mkv", "-c:a aac", 15;
    cut_webm: "c.webm", "-c:a libvorbis", 3;
    cut_opus: "c.opus", "-c:a libopus -page_duration 20000", 18;
    cut_vorbis: "c.ogg", "-c:a libvorbis -page_duration 20000", 5;
    cut_flac: "c.flac", "-c:a flac", 6;
    cut_mp3: "c.mp3", "-c:a libmp3lame", 18;
    cut_adts: "c.aac", "-c:a aac", 18;
}

/// The FLAC that ffmpeg makes of a sine, in parts: what files begin with, the metadata blocks, and the frames.
fn flac_blocks(file: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let (mut rest, mut blocks) = (&file[4..], Vec::new());
    loop {
        let size = 4 + u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        blocks.push(rest[..size].to_vec());
        rest = &rest[size..];
        if blocks.last().unwrap()[0] & 0x80 != 0 {
            return (blocks, rest);
        }
    }
}

#[test]
fn flac_is_found_where_others_than_ffmpeg_put_it() {
    let wanted = mp3_of(&sine("s.wav", "-c:a pcm_s16le"));
    let plain = sine("s.flac", "-c:a flac -map_metadata -1 -fflags +bitexact");
    let (blocks, _) = flac_blocks(&plain);
    // Core Audio has a box as in MP4 as its cookie, here with a rate that only the right place gives.
    let caf = sine("s.caf", "-c:a flac");
    let cookie = [&62u32.to_be_bytes()[..], b"dfLa\0\0\0\0\x80\0\0\x22", &blocks[0][4..38]].concat();
    let at = find(&caf, b"data");
    let with_cookie = [&caf[..at], &caf_chunk(b"kuki", &cookie), &caf[at..]].concat();
    assert!(mp3_of(&with_cookie) == wanted, "CAF");
    // Ogg before it had a mapping for FLAC: the file's parts are packets.
    let ogg = sine("s.oga", "-c:a flac");
    let mut pages = map_pages(&ogg, |_, _| {});
    let first_sound = pages.iter().position(|page| page[6..14] != [0; 8]).unwrap();
    let serial = u32::from_le_bytes(pages[0][14..18].try_into().unwrap());
    let mut info = blocks[0].clone();
    info[0] = 0x80;
    let heads = [ogg_page(2, 0, serial, &[b"fLaC"]), ogg_page(0, 0, serial, &[&info])];
    pages.splice(..first_sound, heads);
    assert!(mp3_of(&pages.concat()) == wanted, "Ogg");
}

#[test]
fn compressed_headers_of_quicktime_are_read() {
    let plain = sine("s.mov", "-c:a pcm_s16be");
    let wanted = mp3_of(&plain);
    let at = find(&plain, b"moov") - 4;
    let pack = |moov: &[u8], algorithm: &[u8; 4]| {
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(moov).unwrap();
        let data = [&(moov.len() as u32).to_be_bytes()[..], &packed.finish().unwrap()].concat();
        let inner = [mp4_box(b"dcom", algorithm), mp4_box(b"cmvd", &data)].concat();
        [&plain[..at], &mp4_box(b"moov", &mp4_box(b"cmov", &inner))].concat()
    };
    let whole = pack(&plain[at..], b"zlib");
    assert!(mp3_of(&whole) == wanted);
    let unknown = convert_bytes(&pack(&plain[at..], b"lzss"));
    assert!(matches!(unknown, Err(TranscodeError::UnsupportedContainer { .. })), "{unknown:?}");
    // Headers that never end, and such that are none.
    for nonsense in [pack(&vec![0; 100 << 20], b"zlib"), pack(b"nothing", b"zlib"), whole[..whole.len() - 9].to_vec()] {
        assert!(matches!(convert_bytes(&nonsense), Err(TranscodeError::Corrupt { .. })));
    }
}

#[test]
fn dts_that_lies_in_a_wave_file_as_samples_is_decoded() {
    let dts = sine("s.dts", "-ar 48000 -ac 2 -strict -2 -c:a dca");
    let wanted = mp3_of(&dts);
    let swapped: Vec<u8> = dts.as_chunks::<2>().0.iter().flat_map(|[high, low]| [*low, *high]).collect();
    let format = [&[1, 0, 2, 0][..], &48_000u32.to_le_bytes(), &192_000u32.to_le_bytes(), &[4, 0, 16, 0]].concat();
    assert!(mp3_of(&riff(b"RIFF", &[chunk(b"fmt ", &format), chunk(b"data", &swapped)])) == wanted);
}
