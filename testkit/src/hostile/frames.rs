//! Frames without a container: FLAC, MPEG audio, ADTS, AC-3, DTS, AMR.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, ok_or, refused, sample};
use crate::bytes::{deflated_zeros, find, jpeg};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = flac();
    cases.extend(mpeg());
    cases.extend(adts());
    cases.extend(dolby());
    cases.extend(dts());
    cases.extend(amr_files());
    cases
}

const NOTHING: May = refused(&["corrupt", "no_audio_track", "unsupported_codec", "unsupported_container"]);

/// Half a second of AMR at 12.2 kbit/s (RFC 4867, 5). No encoder of it comes with ffmpeg: what is in the frames is chance.
pub(super) fn amr() -> Vec<u8> {
    let frame = |n: u8| {
        [&[0x3c][..], &(0..31u8).map(|at| at.wrapping_mul(37) ^ n.wrapping_mul(91)).collect::<Vec<u8>>()].concat()
    };
    [b"#!AMR\n".to_vec(), (0..25).flat_map(frame).collect()].concat()
}

fn crc(bytes: &[u8], width: u32, polynomial: u32) -> u32 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << (width - 8), |crc, _| {
            let shifted = crc << 1;
            (if crc >> (width - 1) & 1 == 1 { shifted ^ polynomial } else { shifted }) & ((1 << width) - 1)
        })
    })
}

/// A frame of FLAC in one channel, of so many samples that are all the same (RFC 9639, 9).
fn constant(number: u16, samples: u16) -> Vec<u8> {
    let mut frame = vec![0xff, 0xf8, 0x70, 0x08];
    // Its number, as UTF-8 writes them.
    match number {
        0..0x80 => frame.push(number as u8),
        _ => frame.extend([0xc0 | (number >> 6) as u8, 0x80 | (number & 0x3f) as u8]),
    }
    frame.extend((samples - 1).to_be_bytes());
    frame.push(crc(&frame, 8, 0x07) as u8);
    frame.extend([0, 0, 0]);
    frame.extend((crc(&frame, 16, 0x8005) as u16).to_be_bytes());
    frame
}

/// A FLAC file: sizes of blocks, then rate, channels, bits and samples as they are packed (RFC 9639, 8.2).
fn flac_file(blocks: [u16; 2], packed: u64, rest: &[u8]) -> Vec<u8> {
    let sizes = blocks.map(u16::to_be_bytes).concat();
    let info = [&sizes[..], &[0; 6], &packed.to_be_bytes(), &[0; 16]].concat();
    [b"fLaC\x80\0\0\x22", &info[..], rest].concat()
}

fn flac() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("flac/{name}"), bytes, may));
    let packed = |rate: u64, channels: u64, bits: u64, samples: u64| {
        rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | samples
    };
    let frames = |count, samples| (0..count).flat_map(|n| constant(n, samples)).collect::<Vec<u8>>();
    add("a tone of one number", flac_file([4096; 2], packed(44_100, 1, 16, 4096 * 20), &frames(20, 4096)), MP3);
    for rate in [8000, 44_100, 192_000] {
        let bomb = flac_file([65_535; 2], packed(rate, 1, 16, 0), &frames(800, 65_535));
        let may = if rate == 192_000 { DAMAGED } else { CORRUPT };
        add(&format!("a lot of one number at {rate} Hz"), bomb, may);
    }
    for (how, bits) in [
        ("zeros", 0),
        ("ones", u64::MAX),
        ("no rate", packed(0, 2, 16, 0)),
        ("a rate of 1", packed(1, 2, 16, 0)),
        ("4 bits", packed(44_100, 2, 4, 0)),
        ("32 bits", packed(44_100, 8, 32, 0)),
        ("a day of samples", packed(44_100, 1, 16, 44_100 * 90_000)),
    ] {
        for blocks in [[0; 2], [16; 2], [65_535, 16]] {
            let bytes = flac_file(blocks, bits, &frames(20, 4096));
            add(&format!("an information of {how}, blocks of {blocks:?}"), bytes, DAMAGED);
        }
    }
    let good = sample("s.flac");
    for kind in [0u8, 1, 2, 3, 4, 5, 6, 126, 127] {
        for (how, length) in [("0", 0u32), ("16 MiB", 0xff_ffff)] {
            let mut block = (u32::from(kind) << 24 | length).to_be_bytes().to_vec();
            block.truncate(4);
            let bytes = [&good[..42], &block, &good[42..]].concat();
            add(&format!("a block of kind {kind} of {how} bytes"), bytes, DAMAGED);
        }
    }
    add(
        "a hundred thousand blocks of nothing",
        [&good[..42], &[1, 0, 0, 0].repeat(100_000), &good[42..]].concat(),
        DAMAGED,
    );
    let jpeg = jpeg(3 << 20);
    let head = [&3u32.to_be_bytes()[..], &10u32.to_be_bytes(), b"image/jpeg"].concat();
    let picture = [head, [0, 1, 1, 24, 0, jpeg.len() as u32].map(u32::to_be_bytes).concat(), jpeg].concat();
    let block = [&((6 << 24) + picture.len() as u32).to_be_bytes()[..], &picture].concat();
    add("eight pictures of 3 MiB", [&good[..42], &block.repeat(8), &good[42..]].concat(), MP3);
    for field in [0, 4, 18, 22, 26, 30] {
        let mut picture = picture[..4000].to_vec();
        picture[field..field + 4].fill(0xff);
        let block = [&((6 << 24) + picture.len() as u32).to_be_bytes()[..], &picture].concat();
        add(&format!("a picture whose field {field} is ones"), [&good[..42], &block, &good[42..]].concat(), MP3);
    }
    let comment = |body: &[u8]| {
        let block = [&((4 << 24) + body.len() as u32).to_be_bytes()[..], body].concat();
        [&good[..42], &block, &good[42..]].concat()
    };
    add("comments of ones", comment(&[0xff; 200]), MP3);
    add("4 G comments", comment(&[&[0, 0, 0, 0][..], &[0xff; 4], &[0; 100_000]].concat()), MP3);
    add("no frames", good[..find(&good, &[0xff, 0xf8])].to_vec(), NOTHING);
    add("frames of nonsense", [&good[..42], &[0xff, 0xf8, 0xc9, 0x18, 0, 0xc2].repeat(20_000)].concat(), NOTHING);
    add("deflate instead of frames", [&good[..42], &deflated_zeros(50 << 20)].concat(), NOTHING);
    cases
}

fn mpeg() -> Vec<Case> {
    let good = sample("s.mp3");
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("mp3/{name}"), bytes, may));
    let tag = find(&good, b"Info");
    // Frames, bytes, the table of places, quality, LAME's own fields.
    for (what, at, len) in [
        ("flags", 4, 4),
        ("frames", 8, 4),
        ("bytes", 12, 4),
        ("places", 16, 100),
        ("delays", 141, 3),
        ("everything", 4, 152),
    ] {
        for byte in [0, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[tag + at..tag + at + len].fill(byte);
            add(&format!("{what} of {byte:#x} in the first frame"), bytes, ok_or(&["corrupt", "too_long"]));
        }
    }
    let mut other = good.clone();
    other[tag..tag + 4].copy_from_slice(b"VBRI");
    add("another tag in the first frame", other, RESCUED);
    for head in [
        [0xff, 0xfb, 0x00, 0x00],
        [0xff, 0xfb, 0xf0, 0x00],
        [0xff, 0xeb, 0x90, 0x00],
        [0xff, 0xf9, 0x90, 0x00],
        [0xff, 0xfb, 0x9c, 0x00],
    ] {
        let frame = [&head[..], &[0; 413]].concat();
        add(&format!("heads of {head:02x?} that don't exist"), frame.repeat(100), NOTHING);
    }
    for (layer, head, size) in [
        (1, [0xff, 0xff, 0x10, 0x00], 32),
        (2, [0xff, 0xfd, 0x10, 0x00], 104),
        (3, [0xff, 0xfb, 0x10, 0x00], 104),
        (3, [0xff, 0xe3, 0x18, 0xc0], 72),
    ] {
        for fill in [0, 0x55, 0xff] {
            let frame = [&head[..], &vec![fill; size - 4]].concat();
            add(&format!("layer {layer}, {head:02x?}, all of {fill:#x}"), frame.repeat(300), DAMAGED);
        }
    }
    add("one frame", good[..417.min(good.len())].to_vec(), DAMAGED);
    add("each byte twice", good.iter().flat_map(|byte| [*byte; 2]).collect(), NOTHING);
    add("a megabyte of almost frames", [0xff, 0xfb, 0x90].repeat(350_000), NOTHING);
    add("nonsense between two sounds", [&good[..], &[0xff, 0xfb].repeat(500_000), &good].concat(), RESCUED);
    add("two hundred times", good.repeat(200), RESCUED);
    let mp2 = sample("s.mp2");
    add("of two layers", [&good[..], &mp2].concat(), RESCUED);
    add("of two layers in turns", [good.clone(), mp2].concat().repeat(20), RESCUED);
    cases
}

fn adts() -> Vec<Case> {
    let good = sample("s.aac");
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("adts/{name}"), bytes, may));
    // Profile, rate and channels (ISO/IEC 14496-3, 1.A.2.2), with what is in the frames left as it is.
    let each = |change: &dyn Fn(&mut [u8])| {
        let (mut bytes, mut at) = (good.clone(), 0);
        while let Some([0xff, _, _, b3, b4, b5, _]) = bytes.get(at..at + 7) {
            let size = usize::from(b3 & 3) << 11 | usize::from(*b4) << 3 | usize::from(b5 >> 5);
            let end = (at + size).min(bytes.len());
            change(&mut bytes[at..end]);
            at += size.max(7);
        }
        bytes
    };
    for profile in 0..4u8 {
        for rate in [0u8, 4, 11, 12, 13, 15] {
            let change = move |frame: &mut [u8]| frame[2] = profile << 6 | rate << 2 | frame[2] & 3;
            add(&format!("profile {profile}, rate {rate}"), each(&change), DAMAGED);
        }
    }
    for channels in 0..8u8 {
        let change = move |frame: &mut [u8]| {
            frame[2] = frame[2] & 0xfe | channels >> 2;
            frame[3] = frame[3] & 0x3f | channels << 6;
        };
        add(&format!("channels {channels}"), each(&change), DAMAGED);
    }
    for fill in [0, 0x21, 0x80, 0xff] {
        add(&format!("frames of {fill:#x}"), each(&move |frame| frame[7..].fill(fill)), DAMAGED);
    }
    add("four blocks in a frame", each(&|frame| frame[6] |= 3), DAMAGED);
    add("checksums that are not there", each(&|frame| frame[1] &= 0xfe), DAMAGED);
    add("frames of seven bytes", [0xff, 0xf1, 0x50, 0x80, 0x00, 0xff, 0xfc].repeat(20_000), NOTHING);
    add("frames of eight bytes", [0xff, 0xf1, 0x50, 0x80, 0x01, 0x1f, 0xfc, 0x00].repeat(20_000), DAMAGED);
    add("frames of 8 KiB in a row", [0xff, 0xf1, 0x50, 0x83, 0xff, 0xff, 0xfc].repeat(20_000), DAMAGED);
    cases
}

fn dolby() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, codec) in [("s.ac3", "ac3"), ("s.eac3", "eac3")] {
        let good = sample(name);
        let mut add = |how: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("{codec}/{how}"), bytes, may));
        let size = good[2..].windows(2).position(|two| two == [0x0b, 0x77]).unwrap() + 2;
        for at in 2..12 {
            for byte in [0, 0x55, 0xaa, 0xff] {
                let mut bytes = good.clone();
                bytes.chunks_mut(size).filter(|frame| frame.len() > at).for_each(|frame| frame[at] = byte);
                add(&format!("byte {at} of each frame is {byte:#x}"), bytes, DAMAGED);
            }
        }
        for fill in [0, 0x55, 0xff] {
            let mut bytes = good.clone();
            bytes.chunks_mut(size).for_each(|frame| frame.iter_mut().skip(8).for_each(|byte| *byte = fill));
            add(&format!("frames of {fill:#x}"), bytes, DAMAGED);
        }
        add("heads alone", good[..8].repeat(20_000), NOTHING);
    }
    cases
}

fn dts() -> Vec<Case> {
    let good = sample("s.dts");
    let size = good[4..].windows(4).position(|four| four == [0x7f, 0xfe, 0x80, 0x01]).unwrap() + 4;
    let mut cases = Vec::new();
    for at in 4..15 {
        for byte in [0, 0x55, 0xff] {
            let mut bytes = good.clone();
            bytes.chunks_mut(size).filter(|frame| frame.len() > at).for_each(|frame| frame[at] = byte);
            cases.push(Case::new(format!("dts/byte {at} of each frame is {byte:#x}"), bytes, DAMAGED));
        }
    }
    for fill in [0, 0x55, 0xff] {
        let mut bytes = good.clone();
        bytes.chunks_mut(size).for_each(|frame| frame.iter_mut().skip(14).for_each(|byte| *byte = fill));
        cases.push(Case::new(format!("dts/frames of {fill:#x}"), bytes, DAMAGED));
    }
    cases.push(Case::new("dts/heads alone", good[..14].repeat(10_000), NOTHING));
    let chunk = |size: u64| [b"DTSHDHDR", &size.to_be_bytes()[..], &[0; 16]].concat();
    for size in [0, 16, 1 << 40, u64::MAX] {
        let bytes =
            [chunk(size), b"STRMDATA".to_vec(), (good.len() as u64).to_be_bytes().to_vec(), good.clone()].concat();
        cases.push(Case::new(format!("dts/a chunk of {size} bytes in front"), bytes, DAMAGED));
    }
    cases
}

fn amr_files() -> Vec<Case> {
    let mut cases = Vec::new();
    for (band, magic) in [("narrow", &b"#!AMR\n"[..]), ("wide", b"#!AMR-WB\n")] {
        cases.push(Case::new(format!("amr/{band}, no frames"), magic.to_vec(), NOTHING));
        for kind in 0..16u8 {
            for fill in [0, 0xff] {
                // As many bytes as the kinds have at most.
                let frame = [&[kind << 3 | 4][..], &[fill; 60]].concat();
                let name = format!("amr/{band}, frames of kind {kind} and bytes of {fill:#x}");
                cases.push(Case::new(name, [magic, &frame.repeat(100)].concat(), DAMAGED));
            }
        }
        // 20 ms in a byte: frames that say that nothing was sent.
        cases.push(Case::new(format!("amr/{band}, two minutes of nothing"), [magic, &[0x7c; 6000]].concat(), DAMAGED));
        cases.push(Case::new(format!("amr/{band}, frames of ones"), [magic, &[0xff; 50_000]].concat(), NOTHING));
    }
    cases
}
