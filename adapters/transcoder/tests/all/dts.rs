//! DTS: the ways in which its frames are written, and what may be around them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use common::{convert, convert_bytes, finest};
use microserve_core::transcode::TranscodeError;
use microserve_testkit::media;

const SYNC: [u8; 4] = [0x7f, 0xfe, 0x80, 0x01];

fn dts() -> Vec<u8> {
    let sound = "sine=frequency=440:duration=1:sample_rate=48000";
    let args = ["-f", "lavfi", "-i", sound, "-ac", "2", "-c:a", "dca", "-strict", "-2", "-b:a", "768k"];
    std::fs::read(media::make("d.dts", &args)).unwrap()
}

fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let starts = bytes.windows(4).enumerate().filter(|(_, four)| **four == SYNC).map(|(at, _)| at);
    let starts: Vec<usize> = starts.chain([bytes.len()]).collect();
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// An extension substream of so many bytes (ETSI TS 102 114, 7.4.1).
fn extension(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x64, 0x58, 0x20, 0x25, 0];
    // The number 0, narrow fields, a header of 28 bytes, and the size.
    bytes.extend(((27u64 << 29) | ((size as u64 - 1) << 13)).to_be_bytes()[3..].iter());
    bytes.resize(size, 0xa5);
    bytes
}

/// What the MP3 of these bytes is.
fn mp3(bytes: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.dts");
    std::fs::write(&file, bytes).unwrap();
    std::fs::read(convert(&file, &finest()).unwrap().path).unwrap()
}

#[test]
fn words_of_fourteen_bits_and_of_either_byte_order_sound_the_same() {
    let big = dts();
    let swap = |bytes: &[u8]| -> Vec<u8> { bytes.as_chunks().0.iter().flat_map(|[a, b]| [*b, *a]).collect() };
    let narrow: Vec<u8> = frames(&big)
        .iter()
        .flat_map(|frame| {
            let bits: Vec<u8> = frame.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
            let word = |bits: &[u8]| (0..14).fold(0u16, |word, n| word << 1 | u16::from(*bits.get(n).unwrap_or(&0)));
            // The highest of fourteen bits is a sign, and goes on above.
            let extended = |word: u16| if word & 0x2000 != 0 { word | 0xc000 } else { word };
            bits.chunks(14).flat_map(|bits| extended(word(bits)).to_be_bytes()).collect::<Vec<u8>>()
        })
        .collect();
    let wanted = mp3(&big);
    for (form, bytes) in [("little-endian", swap(&big)), ("14 bits", narrow.clone()), ("both", swap(&narrow))] {
        assert!(mp3(&bytes) == wanted, "{form}");
    }
}

#[test]
fn extensions_are_passed_over() {
    let bytes = dts();
    let extended: Vec<u8> = frames(&bytes).iter().flat_map(|frame| [frame, &extension(700)[..]].concat()).collect();
    let wanted = mp3(&bytes);
    assert!(mp3(&extended) == wanted);
    let chunk = |kind: &[u8; 8], body: &[u8]| [&kind[..], &(body.len() as u64).to_be_bytes(), body].concat();
    let head = chunk(b"DTSHDHDR", &[0; 16]);
    let file = [head.clone(), chunk(b"STRMDATA", &extended), chunk(b"BUILDVER", &bytes[..4000])].concat();
    assert!(mp3(&file) == wanted, "what is behind the stream is none of it");
    let express = [head, chunk(b"STRMDATA", &extension(512).repeat(40))].concat();
    match convert_bytes(&express) {
        Err(TranscodeError::UnsupportedCodec { name }) => assert_eq!(name, "dts_express"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_behind_damage_are_found() {
    let bytes = dts();
    let all = convert_bytes(&bytes).unwrap().samples;
    let middle = bytes.len() / 2;
    let mut scrambled = bytes.clone();
    scrambled[middle..middle + 3000].fill(0x7f);
    let without = [&bytes[..middle], &bytes[middle + 1001..]].concat();
    for damaged in [scrambled, without] {
        let left = convert_bytes(&damaged).unwrap().samples;
        assert!(left <= all && left >= all - 5 * 512, "{left} of {all}");
    }
}

/// A packet of a DVD's stream: a pack's header, and a piece of the first track of DTS with a time (ISO/IEC 13818-1,
/// 2.5.3.3 and 2.4.3.6).
fn dvd_packet(time: u32, piece: &[u8]) -> Vec<u8> {
    let pack = [0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0, 3, 0xf8];
    let stamp = |shift: u32, bits: u32| (time >> shift & ((1 << bits) - 1)) as u16 * 2 + 1;
    let [a, b] = [stamp(15, 15), stamp(0, 15)].map(u16::to_be_bytes);
    let header = [0x81, 0x80, 5, 0x20 | stamp(30, 2) as u8, a[0], a[1], b[0], b[1], 0x88, 1, 0, 1];
    let length = ((header.len() + piece.len()) as u16).to_be_bytes();
    [&pack[..], &[0, 0, 1, 0xbd], &length, &header, piece].concat()
}

#[test]
fn dts_without_a_core_is_named_on_discs_too() {
    let stream = |piece: &[u8]| (0..40).flat_map(|n| dvd_packet(n * 960, piece)).collect::<Vec<u8>>();
    match convert_bytes(&stream(&extension(1000))) {
        Err(TranscodeError::UnsupportedCodec { name }) => assert_eq!(name, "dts_express"),
        other => panic!("{other:?}"),
    }
    // The same with a core in front of each.
    let bytes = dts();
    let whole: Vec<u8> = frames(&bytes)
        .iter()
        .zip(0..)
        .flat_map(|(frame, n)| dvd_packet(n * 960, &[frame, &extension(700)[..]].concat()))
        .collect();
    assert_eq!(convert_bytes(&whole).unwrap().samples, convert_bytes(&bytes).unwrap().samples);
}
