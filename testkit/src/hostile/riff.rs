//! RIFF: WAVE and AVI whose numbers can't be, and chunks of nothing.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, refused, sample};
use crate::bytes::{find, riff_chunk};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = formats();
    cases.extend(floats());
    cases.extend(chunks());
    cases.extend(avi());
    cases
}

/// A description of sound: kind, channels, rate, bytes in a second, of a block, bits.
fn format(kind: u16, channels: u16, rate: u32, align: u16, bits: u16, more: &[u8]) -> Vec<u8> {
    let bytes = rate.wrapping_mul(align.into()).to_le_bytes();
    let head = [&kind.to_le_bytes()[..], &channels.to_le_bytes(), &rate.to_le_bytes(), &bytes].concat();
    [&head[..], &align.to_le_bytes(), &bits.to_le_bytes(), more].concat()
}

fn wave(format: &[u8], data: &[u8]) -> Vec<u8> {
    let body = [b"WAVE", &riff_chunk(b"fmt ", format)[..], &riff_chunk(b"data", data)].concat();
    riff_chunk(b"RIFF", &body)
}

fn formats() -> Vec<Case> {
    let sound = vec![0x55; 30_000];
    let mut cases = Vec::new();
    for kind in [
        0u16, 1, 2, 3, 6, 7, 0x11, 0x31, 0x50, 0x55, 0x61, 0x92, 0xff, 0x160, 0x161, 0x2000, 0x2001, 0xf1ac, 0xfffe,
        0xffff,
    ] {
        for (how, [channels, align, bits]) in [
            ("numbers are the largest", [65_535u16, 65_535, 65_535]),
            ("numbers are 0", [0, 0, 0]),
            ("block is far too large", [2, 65_535, 4]),
            ("block is far too small", [2, 1, 16]),
        ] {
            let file = wave(&format(kind, channels, 44_100, align, bits, &[0xff; 18]), &sound);
            cases.push(Case::new(format!("wave/kind {kind:#x} whose {how}"), file, DAMAGED));
        }
    }
    for (rate, may) in [
        (0, CORRUPT),
        (1, CORRUPT),
        (100, CORRUPT),
        (7999, DAMAGED),
        (8000, MP3),
        (44_101, MP3),
        (191_999, MP3),
        (384_000, DAMAGED),
        (768_001, DAMAGED),
        (1 << 30, DAMAGED),
        (u32::MAX, DAMAGED),
    ] {
        let file = wave(&format(1, 1, rate, 2, 16, &[]), &vec![7; 200_000]);
        cases.push(Case::new(format!("wave/a rate of {rate}"), file, may));
    }
    for bits in [1, 4, 7, 8, 12, 16, 20, 24, 32, 48, 64, 65] {
        let file = wave(&format(1, 1, 44_100, 8, bits, &[]), &sound);
        cases.push(Case::new(format!("wave/{bits} bits in 8 bytes"), file, DAMAGED));
    }
    for channels in [3, 8, 9, 18, 64, 255, 4096] {
        let file = wave(&format(1, channels, 44_100, channels * 2, 16, &[]), &vec![0x55; 100_000]);
        cases.push(Case::new(format!("wave/{channels} channels"), file, DAMAGED));
    }
    for (how, guid) in [("zeros", [0; 16]), ("ones", [0xff; 16])] {
        let more = [&[22, 0, 16, 0, 0xff, 0xff, 0xff, 0xff][..], &guid].concat();
        let file = wave(&format(0xfffe, 2, 44_100, 4, 16, &more), &sound);
        cases.push(Case::new(format!("wave/an extension of {how}"), file, DAMAGED));
    }
    for count in [0u16, 1, 7, 65_535] {
        let more = [&[32, 0, 0xf4, 7][..], &count.to_le_bytes(), &[0xff; 28]].concat();
        let file = wave(&format(2, 2, 44_100, 2048, 4, &more), &sound);
        cases.push(Case::new(format!("wave/ADPCM with {count} predictors"), file, DAMAGED));
    }
    cases
}

/// Sound that is no number.
fn floats() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, -0.0] {
        let file = wave(&format(3, 2, 44_100, 8, 32, &[]), &value.to_le_bytes().repeat(40_000));
        cases.push(Case::new(format!("wave/samples of {value:e}"), file, MP3));
        let wide = f64::from(value).to_le_bytes().repeat(20_000);
        let file = wave(&format(3, 1, 44_100, 8, 64, &[]), &wide);
        cases.push(Case::new(format!("wave/samples of 64 bits of {value:e}"), file, MP3));
    }
    let nans: Vec<u8> = (0..40_000u32).flat_map(|n| if n % 3 == 0 { f32::NAN } else { 0.5 }.to_le_bytes()).collect();
    cases.push(Case::new("wave/every third sample no number", wave(&format(3, 1, 44_100, 4, 32, &[]), &nans), MP3));
    cases
}

fn chunks() -> Vec<Case> {
    let pcm = format(1, 1, 44_100, 2, 16, &[]);
    let (fmt, data) = (riff_chunk(b"fmt ", &pcm), riff_chunk(b"data", &vec![7; 60_000]));
    let file = |chunks: &[&[u8]]| riff_chunk(b"RIFF", &[b"WAVE", &chunks.concat()[..]].concat());
    let claims = |kind: &[u8; 4], size: u32| [&kind[..], &size.to_le_bytes()].concat();
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("wave/{name}"), bytes, may));
    add("nothing in it", file(&[]), CORRUPT);
    add("no description", file(&[&data]), CORRUPT);
    add("no sound", file(&[&fmt]), CORRUPT);
    add("a sound of no bytes", file(&[&fmt, &riff_chunk(b"data", &[])]), CORRUPT);
    add("a sound of one byte", file(&[&fmt, &riff_chunk(b"data", &[1])]), DAMAGED);
    add("the description behind the sound", file(&[&data, &fmt]), RESCUED);
    add("two descriptions", file(&[&fmt, &riff_chunk(b"fmt ", &format(1, 2, 8000, 4, 16, &[])), &data]), RESCUED);
    add("two sounds", file(&[&fmt, &data, &data]), RESCUED);
    add("a description of 4 GiB", [b"RIFF\0\0\0\0WAVE", &claims(b"fmt ", u32::MAX)[..], &pcm, &data].concat(), CORRUPT);
    for size in 0..16 {
        add(
            &format!("a description of {size} bytes"),
            file(&[&riff_chunk(b"fmt ", &pcm[..size]), &data]),
            refused(&["corrupt", "unsupported_codec"]),
        );
    }
    for (how, size) in [("0", 0), ("all bits", u32::MAX), ("half", 1 << 31), ("odd", 59_999)] {
        let sound = [&claims(b"data", size)[..], &vec![7; 60_000]].concat();
        add(&format!("a sound whose size is {how}"), [b"RIFF\0\0\0\0WAVE", &fmt[..], &sound].concat(), RESCUED);
        let list = [&claims(b"LIST", size)[..], b"INFOINAM", &[0xff; 400]].concat();
        add(&format!("a list whose size is {how}"), [b"RIFF\0\0\0\0WAVE", &fmt[..], &data, &list].concat(), RESCUED);
    }
    add("a hundred thousand chunks of nothing", file(&[&fmt, &b"JUNK\0\0\0\0".repeat(100_000), &data]), RESCUED);
    add("lists within lists", file(&[&fmt, &claims(b"LIST", u32::MAX).repeat(50_000), &data]), RESCUED);
    let title = "INAM\u{1b}[31m\u{202e}".repeat(20_000);
    add(
        "a title without end",
        file(&[&fmt, &data, &riff_chunk(b"LIST", &[b"INFO", &riff_chunk(b"INAM", title.as_bytes())[..]].concat())]),
        MP3,
    );
    let ds64 = |size: [u8; 8]| riff_chunk(b"ds64", &[&size[..], &size, &size, &[0xff; 4]].concat());
    for (how, size) in [("0", [0; 8]), ("all bits", [0xff; 8]), ("half", [0x7f; 8])] {
        let sound = [&claims(b"data", u32::MAX)[..], &vec![7; 60_000]].concat();
        let bytes = [b"RF64\xff\xff\xff\xffWAVE", &ds64(size)[..], &fmt, &sound].concat();
        add(&format!("64 bits, sizes of {how}"), bytes, RESCUED);
        let mut wide = sample("s.w64");
        let at = find(&wide, b"data\xf3\xac") + 16;
        wide[at..at + 8].copy_from_slice(&size);
        add(&format!("Wave64, a sound whose size is {how}"), wide, RESCUED);
    }
    add(
        "the highest byte first",
        [b"RIFX\0\0\0\x7fWAVE", &fmt[..], &data].concat(),
        refused(&["corrupt", "unsupported_codec"]),
    );
    cases
}

fn avi() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, codec) in [("s.avi", "mp3"), ("p.avi", "pcm"), ("i.avi", "adpcm")] {
        let good = sample(name);
        let mut add = |how: &str, file: Vec<u8>, may| cases.push(Case::new(format!("avi/{codec}, {how}"), file, may));
        let sound = find(&good, b"movi") + 4;
        for crumb in [
            &b"01wb\0\0\0\0"[..],
            b"00wb\0\0\0\0",
            b"JUNK\0\0\0\0",
            b"00wb\xff\xff\xff\xff",
            b"LIST\0\0\0\0rec ",
            b"LIST\xff\xff\xff\xffrec ",
        ] {
            let crumbs = crumb.repeat(100_000);
            add(
                &format!("crumbs of {} instead of sound", crumb.escape_ascii()),
                [&good[..sound], &crumbs].concat(),
                RESCUED,
            );
            add(
                &format!("crumbs of {} behind the sound", crumb.escape_ascii()),
                [&good[..], &crumbs].concat(),
                RESCUED,
            );
        }
        // The stream's header: clock, length, size of a sample, all of ones or zeros (AVISTREAMHEADER).
        let strh = find(&good, b"strh") + 8;
        for (what, at) in [("scale", 20), ("rate", 24), ("start", 28), ("length", 32), ("size of a sample", 44)] {
            for byte in [0, 0x7f, 0xff] {
                let mut file = good.clone();
                file[strh + at..strh + at + 4].fill(byte);
                add(&format!("a {what} of {byte:#x}"), file, DAMAGED);
            }
        }
        let strf = find(&good, b"strf") + 8;
        for byte in [0, 0xff] {
            let mut file = good.clone();
            file[strf..strf + 16].fill(byte);
            add(&format!("a description of {byte:#x}"), file, DAMAGED);
        }
        let header = &good[find(&good, b"LIST") + 12..find(&good, b"movi") - 8];
        let many = riff_chunk(b"LIST", &[b"hdrl", header, &header[64.min(header.len())..].repeat(500)].concat());
        add("hundreds of streams", [b"RIFF\xff\xff\xff\x7fAVI ", &many[..], &good[sound - 12..]].concat(), DAMAGED);
    }
    cases
}
