//! What is no media, and what is two formats at once.

use super::{Case, DAMAGED, MP3, NOT_MEDIA, ok_or, refused, sample};
use crate::bytes::{Random, mp4_box, synchsafe};

/// What kinds of files begin with.
const KINDS: &[(&str, &[u8])] = &[
    ("html", b"<!DOCTYPE html><html><body>"),
    ("html in capitals", b"<HTML><HEAD>"),
    ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'>"),
    ("svg with a declaration", b"<?xml version='1.0'?><svg>"),
    ("xml", b"<?xml version='1.0'?><a>"),
    ("a playlist of DASH", b"<MPD><BaseURL>http://127.0.0.1/</BaseURL>"),
    ("a playlist of HLS", b"#EXTM3U\n#EXT-X-VERSION:3\nhttp://127.0.0.1/x.ts\n"),
    ("a playlist of HLS that asks for a file", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
    ("a list for ffmpeg", b"ffconcat version 1.0\nfile /etc/passwd\n"),
    ("a script", b"#!/bin/sh\nrm -rf /\n"),
    ("subtitles", b"WEBVTT\n\n00:00.000 --> 00:01.000\nhi\n"),
    ("json", b"{\"a\": [1, 2, 3]}"),
    ("words of UTF-16", b"\xff\xfeh\0e\0l\0l\0o\0"),
    ("words behind a byte order mark", b"\xef\xbb\xbfhello"),
    ("zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
    ("an empty zip", b"PK\x05\x06\0\0\0\0"),
    ("rar", b"Rar!\x1a\x07\x01\0"),
    ("7z", b"7z\xbc\xaf\x27\x1c\0\x04"),
    ("gzip", b"\x1f\x8b\x08\0\0\0\0\0"),
    ("bzip2", b"BZh91AY&SY"),
    ("xz", b"\xfd7zXZ\0\0\x04"),
    ("zstandard", b"\x28\xb5\x2f\xfd\x04\0"),
    ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
    ("png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"),
    ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
    ("gif", b"GIF89a\x01\0\x01\0"),
    ("webp", b"RIFF\x24\0\0\0WEBPVP8 "),
    ("bmp", b"BM\x36\0\x0c\0\0\0\0\0"),
    ("tiff", b"II*\0\x08\0\0\0"),
    ("ico", b"\0\0\x01\0\x01\0\x10\x10"),
    ("elf", b"\x7fELF\x02\x01\x01\0"),
    ("a program for Windows", b"MZ\x90\0\x03\0\0\0"),
    ("a program for macOS", b"\xcf\xfa\xed\xfe\x07\0\0\x01"),
    ("a class of Java", b"\xca\xfe\xba\xbe\0\0\0\x34"),
    ("wasm", b"\0asm\x01\0\0\0"),
    ("sqlite", b"SQLite format 3\0\x10\0"),
    ("psd", b"8BPS\0\x01\0\0"),
    ("midi", b"MThd\0\0\0\x06\0\x01"),
    ("midi in riff", b"RIFF\x24\0\0\0RMIDdata"),
    ("flash", b"CWS\x09\0\0\0\0"),
    ("realmedia", b".RMF\0\0\0\x12"),
    ("realaudio", b".ra\xfd\0\x04\0\0"),
    ("wavpack", b"wvpk\x20\0\0\0\x10\x04"),
    ("monkey's audio", b"MAC \x96\x0f\0\0"),
    ("tta", b"TTA1\x01\0\x02\0"),
    ("musepack", b"MPCKSH"),
    ("musepack 7", b"MP+\x17\0\0"),
    ("dsf", b"DSD \x1c\0\0\0"),
    ("dff", b"FRM8\0\0\0\0\0\0\0\x10DSD "),
    ("tak", b"tBaK\x01\0\0\0"),
    ("optimfrog", b"OFR \x0c\0\0\0"),
    ("adif", b"ADIF\0\0\0\0"),
    ("ivf", b"DKIF\0\0\x20\0VP80"),
    ("yuv4mpeg", b"YUV4MPEG2 W1 H1 F25:1\nFRAME\n\x80"),
    ("mxf", b"\x06\x0e\x2b\x34\x02\x05\x01\x01"),
    ("nut", b"nut/multimedia container\0"),
    ("a picture of H.264", b"\0\0\0\x01\x67\x42\0\x1e"),
    ("a picture of HEVC", b"\0\0\0\x01\x40\x01\x0c\x01"),
    ("a picture of MPEG-2", b"\0\0\x01\xb3\x10\0\x10\x13"),
    ("avif", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1"),
    ("heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
    ("a raw picture", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom"),
    ("jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n"),
    ("AMR of several channels", b"#!AMR_MC1.0\n\0\0\0\x02"),
];

/// Pictures, programs, archives, words and noise.
pub(super) fn not_media() -> Vec<Case> {
    let mut cases = vec![
        Case::new("foreign/no byte", Vec::new(), NOT_MEDIA),
        Case::new("foreign/one byte of 0", vec![0], NOT_MEDIA),
        Case::new("foreign/one byte of 255", vec![0xff], NOT_MEDIA),
        Case::new("foreign/a line break", b"\n".to_vec(), NOT_MEDIA),
        Case::new("foreign/a mebibyte of 0", vec![0; 1 << 20], NOT_MEDIA),
        Case::new("foreign/a mebibyte of 255", vec![0xff; 1 << 20], NOT_MEDIA),
        Case::new("foreign/a mebibyte of A", vec![b'A'; 1 << 20], NOT_MEDIA),
        Case::new("foreign/sync bytes alone", vec![0x47; 1 << 16], DAMAGED),
    ];
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let noise = (0..1 << 18).map(|_| random.below(256) as u8).collect();
        cases.push(Case::new(format!("foreign/noise {seed}"), noise, NOT_MEDIA));
    }
    for (kind, magic) in KINDS {
        let file = [magic, &b" some words and more words "[..]].concat().repeat(40);
        cases.push(Case::new(format!("foreign/{kind}"), file, NOT_MEDIA));
    }
    cases
}

/// The beginning of one format before all of another, one whole file behind another, one within another.
pub(super) fn two_at_once() -> Vec<Case> {
    const SIDES: [&str; 8] = ["s.mp4", "s.mkv", "s.opus", "s.wav", "s.flac", "s.mp3", "s.flv", "s.ts"];
    let mut cases = Vec::new();
    for one in SIDES {
        for other in SIDES.into_iter().filter(|other| *other != one) {
            let (first, second) = (sample(one), sample(other));
            let beginning = [&first[..12], &second[..]].concat();
            cases.push(Case::new(format!("two/{other} that begins as {one}"), beginning, DAMAGED));
            let behind = [first, second].concat();
            cases.push(Case::new(format!("two/{one} and {other} behind it"), behind, ok_or(&["corrupt"])));
        }
    }
    let mp3 = sample("s.mp3");
    for (kind, magic) in [KINDS[0], KINDS[14], KINDS[22], KINDS[25], KINDS[30]] {
        // Whoever is asked sees something else: it is called what it begins as.
        let head = [magic, &vec![b' '; 5000][..]].concat();
        cases.push(Case::new(format!("two/mp3 behind {kind}"), [head, mp3.clone()].concat(), NOT_MEDIA));
        let file = [&mp3[..], magic, &[b' '; 5000]].concat();
        cases.push(Case::new(format!("two/mp3 before {kind}"), file, MP3));
        let file = [&sample("s.mp4")[..], &mp4_box(b"free", magic)].concat();
        cases.push(Case::new(format!("two/mp4 with {kind} in it"), file, MP3));
        let body = [magic, &[0; 1000]].concat();
        let tag = [&b"ID3\x04\0\0"[..], &synchsafe(body.len()), &body].concat();
        cases.push(Case::new(format!("two/{kind} in a tag"), tag, refused(&["corrupt", "unsupported_container"])));
    }
    cases
}
