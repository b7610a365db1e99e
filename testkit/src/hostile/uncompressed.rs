//! AIFF, CAF and AU: descriptions that can't be.

use super::{CORRUPT, Case, DAMAGED, May, RESCUED, sample};
use crate::bytes::{caf, caf_chunk, find};

const MOST: u32 = u32::MAX;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = aiff();
    cases.extend(caf_files());
    cases.extend(au());
    cases
}

fn chunk(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&kind[..], &(body.len() as u32).to_be_bytes(), body, &[0][..body.len() % 2]].concat()
}

fn aiff() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: String, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("aiff/{name}"), bytes, may));
    // 44100 as a number of 80 bits.
    const RATE: [u8; 10] = [0x40, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0];
    let file = |channels: u16, frames: u32, bits: u16, rate: [u8; 10], codec: &[u8], sound: &[u8]| {
        let comm = [&channels.to_be_bytes()[..], &frames.to_be_bytes(), &bits.to_be_bytes(), &rate, codec].concat();
        let ssnd = chunk(b"SSND", &[&[0; 8][..], sound].concat());
        chunk(b"FORM", &[b"AIFC", &chunk(b"COMM", &comm)[..], &ssnd].concat())
    };
    let sound = vec![0x55; 40_000];
    for (how, rate) in [
        ("0", [0; 10]),
        ("infinity", [0x7f, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("no number", [0x7f, 0xff, 0xc0, 0, 0, 0, 0, 0, 0, 1]),
        ("below 0", [0xc0, 0x0e, 0xac, 0x44, 0, 0, 0, 0, 0, 0]),
        ("almost 0", [0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("1", [0x3f, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("4 GHz", [0x40, 0x1f, 0xff, 0xff, 0, 0, 0, 0, 0, 0]),
        ("ones", [0xff; 10]),
    ] {
        add(format!("a rate of {how}"), file(1, 20_000, 16, rate, b"NONE\0\0", &sound), DAMAGED);
    }
    for codec in [
        b"NONE",
        b"sowt",
        b"fl32",
        b"fl64",
        b"ulaw",
        b"alaw",
        b"ima4",
        b"in24",
        b"in32",
        b"MAC6",
        b"QDM2",
        b"\xff\xff\xff\xff",
    ] {
        for (how, [channels, bits]) in [("0", [0, 0]), ("the largest", [65_535u16, 65_535]), ("one and one", [1, 1])] {
            let bytes = file(channels, MOST, bits, RATE, &[&codec[..], &[0, 0]].concat(), &sound);
            add(format!("{} whose numbers are {how}", codec.escape_ascii()), bytes, DAMAGED);
        }
    }
    for frames in [0, 1, MOST] {
        add(format!("{frames} samples"), file(2, frames, 16, RATE, b"NONE\0\0", &sound), DAMAGED);
    }
    add("no sound".to_owned(), chunk(b"FORM", b"AIFF"), CORRUPT);
    let good = sample("s.aiff");
    let ssnd = find(&good, b"SSND") + 8;
    for byte in [0x7f, 0xff] {
        let mut bytes = good.clone();
        bytes[ssnd..ssnd + 4].fill(byte);
        add(format!("a sound that begins at {byte:#x}"), bytes, DAMAGED);
    }
    let crumbs = [&good[..12], &b"JUNK\0\0\0\0".repeat(100_000), &good[12..]].concat();
    add("a hundred thousand chunks of nothing".to_owned(), crumbs, RESCUED);
    cases
}

fn caf_files() -> Vec<Case> {
    let mut cases = Vec::new();
    let sound = vec![0x55; 30_000];
    for kind in [b"lpcm", b"ima4", b"alac", b"aac ", b"opus", b".mp3", b"ulaw", b"flac", b"????"] {
        for (how, numbers) in [
            ("packets are of 4 G samples", [0, 4, MOST, 2, 16]),
            ("packets are of 4 GiB", [0, MOST, 1, 2, 16]),
            ("numbers are the largest", [0, 0, MOST, MOST, MOST]),
            ("channels are 65535", [0, MOST, 0, 65_535, 64]),
            ("numbers are 0", [0; 5]),
        ] {
            for (table, counts) in
                [("ones", [u64::MAX; 3]), ("zeros", [0; 3]), ("halves", [u64::MAX >> 1, u64::MAX >> 1, 0])]
            {
                let name = format!("caf/{} whose {how}, and a table of {table}", kind.escape_ascii());
                cases.push(Case::new(name, caf(kind, numbers, &counts, &sound), DAMAGED));
            }
        }
    }
    let good = sample("s.caf");
    let desc = find(&good, b"desc") + 12;
    for rate in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, 1e-300, 1e300, 4e9] {
        let mut bytes = good.clone();
        bytes[desc..desc + 8].copy_from_slice(&rate.to_be_bytes());
        cases.push(Case::new(format!("caf/a rate of {rate:e}"), bytes, DAMAGED));
    }
    let head = b"caff\0\x01\0\0";
    let crumbs = [&head[..], &caf_chunk(b"free", b"").repeat(100_000), &good[8..]].concat();
    cases.push(Case::new("caf/a hundred thousand chunks of nothing", crumbs, RESCUED));
    let strings = [&[0xff; 4][..], &b"title\0\x1b[31m\0".repeat(20_000)].concat();
    let named = [&good[..], &caf_chunk(b"info", &strings)].concat();
    cases.push(Case::new("caf/4 G titles", named, RESCUED));
    cases
}

fn au() -> Vec<Case> {
    let file = |numbers: [u32; 5]| {
        [b".snd", &numbers.map(u32::to_be_bytes).concat()[..], &[0; 8], &vec![0x55; 40_000]].concat()
    };
    let mut cases = Vec::new();
    for encoding in [0, 1, 2, 3, 4, 5, 6, 7, 8, 23, 24, 25, 26, 27, 255, MOST] {
        let name = format!("au/encoding {encoding} of 65535 channels");
        cases.push(Case::new(name, file([32, MOST, encoding, 44_100, 65_535]), DAMAGED));
        cases.push(Case::new(format!("au/encoding {encoding}"), file([32, 40_000, encoding, 44_100, 1]), DAMAGED));
    }
    for (what, numbers) in [
        ("a header of 0 bytes", [0, 40_000, 3, 44_100, 1]),
        ("a header of 4 GiB", [MOST, 40_000, 3, 44_100, 1]),
        ("no rate", [32, 40_000, 3, 0, 1]),
        ("a rate of 1", [32, 40_000, 3, 1, 1]),
        ("the highest rate", [32, 40_000, 3, MOST, 1]),
        ("no channels", [32, 40_000, 3, 44_100, 0]),
        ("4 G channels", [32, 40_000, 3, 44_100, MOST]),
        ("no sound", [32, 0, 3, 44_100, 1]),
    ] {
        cases.push(Case::new(format!("au/{what}"), file(numbers), DAMAGED));
    }
    cases
}
