//! MP4: tables that lie, boxes without end, fragments on top of each other.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, ok_or, refused, sample};
use crate::bytes::{find, jpeg, mp4_box, patch_mp4};

const MOST: u32 = u32::MAX;

type Path<'p> = &'p [&'p [u8; 4]];

const STBL: [&[u8; 4]; 5] = [b"moov", b"trak", b"mdia", b"minf", b"stbl"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = tables();
    cases.extend(times());
    cases.extend(entries());
    cases.extend(boxes());
    cases.extend(fragments());
    cases
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// The sample with a box below `stbl` replaced; its version and flags are 0.
fn table(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
    let path = [&STBL[..], &[kind]].concat();
    patch_mp4(&sample("s.mp4"), &path, &|_| words(&[&[0], numbers].concat()))
}

/// The sample with bytes of a box overwritten.
fn poke(file: &str, path: Path<'_>, at: usize, bytes: &[u8]) -> Vec<u8> {
    patch_mp4(&sample(file), path, &|body| {
        let mut body = body.to_vec();
        let end = (at + bytes.len()).max(body.len());
        body.resize(end, 0);
        body[at..at + bytes.len()].copy_from_slice(bytes);
        body
    })
}

/// Sizes, chunks and offsets of samples.
fn tables() -> Vec<Case> {
    let all_in_chunks = |size: u32, count: u32, chunks: &[u32]| {
        let stsz = table(b"stsz", &[size, count]);
        let with = |file: &[u8], kind, numbers: &[u32]| {
            patch_mp4(file, &[&STBL[..], &[kind]].concat(), &|_| words(&[&[0], numbers].concat()))
        };
        let stsc = with(&stsz, b"stsc", &[1, 1, count / (chunks.len() as u32).max(1), 1]);
        with(&stsc, b"stco", &[&[chunks.len() as u32], chunks].concat())
    };
    let sound = find(&sample("s.mp4"), b"mdat") as u32 + 4;
    let list: [(&str, &[u8; 4], Vec<u32>, May); 24] = [
        ("4 G sizes, all 0", b"stsz", vec![0, MOST], DAMAGED),
        ("4 G sizes, all 1", b"stsz", vec![1, MOST], DAMAGED),
        ("4 G sizes, all the largest", b"stsz", vec![MOST, MOST], CORRUPT),
        ("no sizes", b"stsz", vec![0, 0], CORRUPT),
        ("no numbers", b"stsz", vec![], CORRUPT),
        ("sizes that are each the largest", b"stsz", [vec![0, 24], vec![MOST; 24]].concat(), CORRUPT),
        ("sizes that are each nothing", b"stsz", [vec![0, 24], vec![0; 24]].concat(), CORRUPT),
        ("no chunks", b"stsc", vec![0], CORRUPT),
        ("4 G entries of chunks", b"stsc", vec![MOST, 1, 1, 1], DAMAGED),
        ("chunks of nothing", b"stsc", vec![1, 1, 0, 1], CORRUPT),
        ("chunks of 4 G samples", b"stsc", vec![1, 1, MOST, 1], DAMAGED),
        ("chunks that begin at 0", b"stsc", vec![1, 0, 1, 1], DAMAGED),
        ("chunks that begin at the last", b"stsc", vec![1, MOST, 1, 1], DAMAGED),
        ("chunks that go back", b"stsc", vec![3, 9, 1, 1, 5, 1, 1, 1, 1, 1], DAMAGED),
        ("chunks described by nobody", b"stsc", vec![1, 1, 1, MOST], DAMAGED),
        ("no offsets", b"stco", vec![0], CORRUPT),
        ("4 G offsets", b"stco", vec![MOST, 40], DAMAGED),
        ("offsets behind the end", b"stco", [vec![24], vec![MOST; 24]].concat(), CORRUPT),
        ("offsets into the first box", b"stco", [vec![24], vec![0; 24]].concat(), CORRUPT),
        ("no times", b"stts", vec![0], DAMAGED),
        ("4 G times", b"stts", vec![MOST, MOST, 1024], DAMAGED),
        ("samples that last 0", b"stts", vec![1, MOST, 0], DAMAGED),
        ("samples that last the longest", b"stts", vec![1, MOST, MOST], DAMAGED),
        ("a million times", b"stts", [vec![1_000_000], [1, 1].repeat(200_000)].concat(), DAMAGED),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (how, kind, numbers, may) in list {
        let name = format!("mp4/{}/{how}", kind.escape_ascii());
        cases.push(Case::new(name, table(kind, &numbers), may));
    }
    for (how, file, may) in [
        ("a sound of 4 G samples in one chunk", all_in_chunks(1, MOST, &[sound]), CORRUPT),
        ("the same sound a thousand times", all_in_chunks(300, 1000, &[sound; 1000]), ok_or(&["corrupt"])),
        ("the same sound a hundred thousand times", all_in_chunks(300, 100_000, &[sound; 100_000]), CORRUPT),
        ("a million chunks in the first bytes", all_in_chunks(1, 1_000_000, &vec![0; 250_000]), CORRUPT),
    ] {
        cases.push(Case::new(format!("mp4/tables/{how}"), file, may));
    }
    for box_of_offsets in [&[0; 8][..], &[0, 0, 0, 0, 255, 255, 255, 255], &[255; 24]] {
        let file = patch_mp4(&sample("s.mp4"), &STBL, &|stbl| {
            let mut stbl = stbl.to_vec();
            let at = find(&stbl, b"stco");
            stbl[at..at + 4].copy_from_slice(b"free");
            [stbl, mp4_box(b"co64", box_of_offsets)].concat()
        });
        cases.push(Case::new(format!("mp4/co64/{box_of_offsets:?}"), file, CORRUPT));
    }
    cases
}

/// Clocks, lengths and edits.
fn times() -> Vec<Case> {
    let mdhd: Path<'_> = &[b"moov", b"trak", b"mdia", b"mdhd"];
    let mvhd: Path<'_> = &[b"moov", b"mvhd"];
    let elst: Path<'_> = &[b"moov", b"trak", b"edts", b"elst"];
    let mut cases = Vec::new();
    for (what, path, at) in [
        ("a track's clock", mdhd, 12),
        ("a track's length", mdhd, 16),
        ("a track's language", mdhd, 20),
        ("the clock of all", mvhd, 12),
        ("the length of all", mvhd, 16),
    ] {
        for number in [0, 1, 0x7fff_ffff, MOST] {
            let file = poke("s.mp4", path, at, &number.to_be_bytes());
            cases.push(Case::new(format!("mp4/times/{what} is {number}"), file, DAMAGED));
        }
    }
    for (what, path) in [("a track", mdhd), ("all", mvhd)] {
        let long = [&[1, 0, 0, 0][..], &[0; 16], &1000u32.to_be_bytes(), &[0xff; 8], &[0x55, 0xc4, 0, 0]].concat();
        let file = patch_mp4(&sample("s.mp4"), path, &|_| long.clone());
        cases.push(Case::new(format!("mp4/times/the longest length of {what}"), file, DAMAGED));
        let file = patch_mp4(&sample("s.mp4"), path, &|_| vec![1]);
        cases.push(Case::new(format!("mp4/times/one byte about {what}"), file, DAMAGED));
    }
    let edits: [(&str, Vec<u32>); 12] = [
        ("4 G of them", vec![MOST, 1000, 0, 0x10000]),
        ("none", vec![0]),
        ("of nothing", vec![1, 0, 0, 0x10000]),
        ("the longest", vec![1, MOST, 0, 0x10000]),
        ("from the last moment", vec![1, 500, 0x7fff_ffff, 0x10000]),
        ("before the first moment", vec![1, 500, 0x8000_0000, 0x10000]),
        ("a pause without end", vec![2, MOST, MOST, 0x10000, 500, 0, 0x10000]),
        ("pauses alone", [vec![100], [1000, MOST, 0x10000].repeat(100)].concat()),
        ("a hundred thousand pauses", [vec![100_000], [MOST, MOST, 0x10000, 1, 0, 0x10000].repeat(50_000)].concat()),
        ("the same again and again", [vec![5000], [500, 0, 0x10000].repeat(5000)].concat()),
        ("at a speed of 0", vec![1, 500, 0, 0]),
        ("a tick each", [vec![5000], (0..5000).flat_map(|n| [1, n * 90, 0x10000]).collect()].concat()),
    ];
    for (how, numbers) in edits {
        let file = patch_mp4(&sample("s.mp4"), elst, &|_| words(&[&[0], &numbers[..]].concat()));
        cases.push(Case::new(format!("mp4/edits/{how}"), file, DAMAGED));
    }
    let wide = [&[1, 0, 0, 0, 0, 0, 0, 2][..], &[0xff; 16], &[0, 1, 0, 0], &[0x7f; 16], &[0, 1, 0, 0]].concat();
    let file = patch_mp4(&sample("s.mp4"), elst, &|_| wide.clone());
    cases.push(Case::new("mp4/edits/of 64 bits, the largest", file, DAMAGED));
    cases
}

/// What a track says of its codec.
fn entries() -> Vec<Case> {
    let stsd = [&STBL[..], &[b"stsd"]].concat();
    let mut cases = Vec::new();
    let mut add = |name: String, file: Vec<u8>, may| cases.push(Case::new(format!("mp4/entry/{name}"), file, may));
    // Behind the head of the table and of the entry: version, channels, bits, rate (ISO/IEC 14496-12, 12.2.3).
    for (file, codec) in [("s.mp4", "aac"), ("s.m4a", "alac"), ("s.mov", "pcm"), ("q.mov", "ima"), ("i.mov", "ms")] {
        for (what, at, bytes) in [
            ("version 1", 24, &[0, 1][..]),
            ("version 2", 24, &[0, 2]),
            ("version 65535", 24, &[255, 255]),
            ("no channels", 32, &[0, 0]),
            ("65535 channels", 32, &[255, 255]),
            ("no bits", 34, &[0, 0]),
            ("65535 bits", 34, &[255, 255]),
            ("no rate", 40, &[0; 4]),
            ("the highest rate", 40, &[255; 4]),
        ] {
            add(format!("{what} of {codec}"), poke(file, &stsd, at, bytes), DAMAGED);
        }
    }
    let whole = |body: &[u8]| patch_mp4(&sample("s.mp4"), &stsd, &|_| body.to_vec());
    add("none".to_owned(), whole(&words(&[0, 0])), DAMAGED);
    add("4 G of them, and none there".to_owned(), whole(&words(&[0, MOST])), DAMAGED);
    add("nothing".to_owned(), whole(&[]), DAMAGED);
    let empty = mp4_box(b"mp4a", &[0; 28]);
    add("a thousand empty ones".to_owned(), whole(&[words(&[0, 1000]), empty.repeat(1000)].concat()), DAMAGED);
    for kind in
        [b"mp4a", b"alac", b"fLaC", b"Opus", b"ac-3", b"ec-3", b"samr", b"dtsc", b"lpcm", b"in24", b"ms\0\x11", b"????"]
    {
        let file = whole(&[words(&[0, 1]), mp4_box(kind, &[0xff; 28])].concat());
        add(format!("{} of ones", kind.escape_ascii()), file, DAMAGED);
        let mut cookie = Vec::new();
        for inner in [b"esds", b"alac", b"dfLa", b"dOps", b"dac3", b"dec3", b"chan", b"wave"] {
            cookie.extend(mp4_box(inner, &[0xff; 60]));
        }
        let entry = mp4_box(
            kind,
            &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8], &[0, 2, 0, 16, 0, 0, 0, 0, 0xac, 0x44, 0, 0], &cookie].concat(),
        );
        add(
            format!("{} with settings of ones", kind.escape_ascii()),
            whole(&[words(&[0, 1]), entry].concat()),
            DAMAGED,
        );
    }
    let esds = |settings: &[u8]| {
        let decoder =
            [&[4, 13 + 2 + settings.len() as u8, 0x40, 0x15][..], &[0; 11], &[5, settings.len() as u8], settings]
                .concat();
        let body = [&[0, 0, 0, 0, 3, 3 + decoder.len() as u8, 0, 1, 0][..], &decoder].concat();
        let head = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 8], &[0, 2, 0, 16, 0, 0, 0, 0, 0xac, 0x44, 0, 0]].concat();
        whole(&[words(&[0, 1]), mp4_box(b"mp4a", &[head, mp4_box(b"esds", &body)].concat())].concat())
    };
    // AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    for (how, settings) in [
        ("nothing", &[][..]),
        ("one byte", &[0x12]),
        ("zeros", &[0; 20]),
        ("ones", &[0xff; 20]),
        ("the highest rate in full", &[0x17, 0xff, 0xff, 0xff, 0x90]),
        ("a rate of 0 in full", &[0x17, 0x80, 0, 0, 0x10]),
        ("channels of its own", &[0x12, 0x00]),
        ("channels that don't exist", &[0x12, 0x78]),
        ("main", &[0x0a, 0x10]),
        ("speech", &[0x42, 0x10]),
        ("low delay", &[0xb9, 0x90, 0x10]),
        ("xHE-AAC", &[0xf9, 0x4a, 0x90, 0, 0]),
        ("SBR of SBR", &[0x2a, 0x22, 0x90, 0x2a, 0x22, 0x90]),
    ] {
        add(format!("settings of AAC: {how}"), esds(settings), DAMAGED);
    }
    let encrypted = patch_mp4(&sample("s.mp4"), &stsd, &|body| [&body[..12], b"enca", &body[16..]].concat());
    add("encrypted, nobody says how".to_owned(), encrypted, refused(&["encrypted"]));
    let length_of_length = poke("s.mp4", &stsd, 8 + 8 + 28 + 8 + 5, &[0xff; 8]);
    add("sizes of descriptors that go on".to_owned(), length_of_length, DAMAGED);
    cases
}

/// Boxes within boxes, without an end, without a beginning.
fn boxes() -> Vec<Case> {
    let good = sample("s.mp4");
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("mp4/boxes/{name}"), file, may));
    let ftyp = good[..find(&good, b"ftyp") + 28].to_vec();
    let nested = |kind: &[u8; 4], depth: u32, skip: u32| -> Vec<u8> {
        let head = |n: u32| [&((n + 1) * (8 + skip)).to_be_bytes()[..], kind, &vec![0; skip as usize]].concat();
        (0..depth).rev().flat_map(head).collect()
    };
    for kind in [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"moof", b"traf", b"wave", b"edts"] {
        let name = format!("{} fifty thousand deep", kind.escape_ascii());
        add(&name, [&ftyp[..], &nested(kind, 50_000, 0)].concat(), refused(&["corrupt", "no_audio_track"]));
    }
    let inner = mp4_box(b"moov", &nested(b"meta", 10_000, 4));
    add("meta ten thousand deep", [&ftyp[..], &inner].concat(), refused(&["corrupt", "no_audio_track"]));
    for (how, size) in [("0", 0u32), ("2", 2), ("7", 7), ("all bits", MOST), ("half", 0x8000_0000)] {
        let mut file = ftyp.clone();
        file.extend([&size.to_be_bytes()[..], b"moov", &[0; 100]].concat());
        add(&format!("a size of {how}"), file, refused(&["corrupt", "no_audio_track"]));
        let mut file = good.clone();
        let at = find(&file, b"moov") - 4;
        file[at..at + 4].copy_from_slice(&size.to_be_bytes());
        add(&format!("the right box with a size of {how}"), file, DAMAGED);
    }
    for long in [0u64, 7, 15, 16, 1 << 40, u64::MAX - 7, u64::MAX] {
        let free = [&[0, 0, 0, 1][..], b"free", &long.to_be_bytes()].concat();
        let file = [&ftyp[..], &free, &good[ftyp.len()..]].concat();
        add(&format!("a size of 64 bits, {long}"), file, DAMAGED);
    }
    add("nothing but its brand", ftyp.clone(), refused(&["corrupt", "no_audio_track"]));
    add("an empty movie", [&ftyp[..], &mp4_box(b"moov", b"")].concat(), refused(&["corrupt", "no_audio_track"]));
    add("sound alone", mp4_box(b"mdat", &[0x55; 5000]), CORRUPT);
    let tracks = mp4_box(b"moov", &mp4_box(b"trak", b"").repeat(20_000));
    add("twenty thousand empty tracks", [&ftyp[..], &tracks].concat(), refused(&["corrupt", "no_audio_track"]));
    add(
        "two hundred thousand boxes of nothing",
        [&ftyp[..], &mp4_box(b"free", b"").repeat(200_000), &good[ftyp.len()..]].concat(),
        RESCUED,
    );
    let at = find(&good, b"moov") - 4;
    add("the movie twice", [&good[..], &good[at..]].concat(), MP3);
    add("the movie a thousand times", [&good[..], &good[at..].repeat(1000)].concat(), MP3);
    add("the movie before everything", [&good[at..], &good[..at]].concat(), DAMAGED);
    let cover = |len: usize| {
        let data = mp4_box(b"data", &[&[0, 0, 0, 13, 0, 0, 0, 0][..], &jpeg(len)].concat());
        let ilst = mp4_box(b"ilst", &mp4_box(b"covr", &data.repeat(3)));
        let handler = mp4_box(b"hdlr", &[&[0; 8][..], b"mdirappl", &[0; 9]].concat());
        mp4_box(b"udta", &mp4_box(b"meta", &[&[0; 4][..], &handler, &ilst].concat()))
    };
    for mebibytes in [1, 7] {
        let file = patch_mp4(&good, &[b"moov"], &|moov| [moov, &cover(mebibytes << 20)].concat());
        add(&format!("three pictures of {mebibytes} MiB"), file, MP3);
    }
    let title = "\u{1b}[31m\u{202e}\0\r\n".repeat(100_000);
    for (name, bytes) in [("with control characters", title.as_bytes()), ("of no characters", &[0xff; 100_000][..])] {
        let data = mp4_box(b"data", &[&[0, 0, 0, 1, 0, 0, 0, 0][..], bytes].concat());
        let ilst = mp4_box(b"ilst", &mp4_box(b"\xa9nam", &data));
        let handler = mp4_box(b"hdlr", &[&[0; 8][..], b"mdirappl", &[0; 9]].concat());
        let udta = mp4_box(b"udta", &mp4_box(b"meta", &[&[0; 4][..], &handler, &ilst].concat()));
        let file = patch_mp4(&good, &[b"moov"], &|moov| [moov, &udta].concat());
        add(&format!("a title {name}"), file, MP3);
    }
    cases
}

/// Fragments (ISO/IEC 14496-12, 8.8).
fn fragments() -> Vec<Case> {
    let good = sample("sf.mp4");
    let moof: Path<'_> = &[b"moof", b"traf", b"tfhd"];
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("mp4/fragments/{name}"), file, may));
    let start = find(&good, b"moof") - 4;
    let end = good.windows(4).position(|four| four == b"mfra").map_or(good.len(), |at| at - 4);
    let (head, fragment) = (&good[..start], &good[start..end]);
    add("the same one a hundred times", [head, &fragment.repeat(100)].concat(), RESCUED);
    add("none", head.to_vec(), refused(&["corrupt", "no_audio_track"]));
    add("no head", fragment.to_vec(), CORRUPT);
    add("a million empty ones", [head, &mp4_box(b"moof", b"").repeat(200_000)].concat(), refused(&["corrupt"]));
    for track in [0, 2, MOST] {
        let file = poke("sf.mp4", moof, 4, &track.to_be_bytes());
        add(&format!("of track {track}, which there is not"), file, DAMAGED);
    }
    // Flags and what they announce: everything is there, and all of it is ones.
    for flags in [0x01u32, 0x02, 0x08, 0x10, 0x20, 0x3b] {
        let body = [&flags.to_be_bytes()[..], &1u32.to_be_bytes(), &[0xff; 24]].concat();
        let file = patch_mp4(&good, moof, &|_| body.clone());
        add(&format!("heads of ones with flags {flags:#x}"), file, DAMAGED);
    }
    let runs: [(&str, Vec<u32>, May); 11] = [
        ("4 G samples of which nothing is said", vec![0, MOST], DAMAGED),
        ("4 G samples from far in front", vec![1, MOST, 0x8000_0000], DAMAGED),
        ("4 G samples from far behind", vec![1, MOST, 0x7fff_ffff], DAMAGED),
        ("4 G samples that last", vec![0x100, MOST, 1], DAMAGED),
        ("samples of the largest size", [vec![0x200, 1000], vec![MOST; 1000]].concat(), DAMAGED),
        ("samples of no size", [vec![0x200, 1000], vec![0; 1000]].concat(), DAMAGED),
        ("samples of 1 byte", [vec![0x201, 100_000, 100], vec![1; 100_000]].concat(), DAMAGED),
        ("samples of the longest time", [vec![0x300, 20], [MOST, 200].repeat(20)].concat(), DAMAGED),
        ("samples far from their times", [vec![0x900, 20], [1024, 0x8000_0000].repeat(20)].concat(), DAMAGED),
        ("every field there is", vec![0xf05, 0x0100_0000], DAMAGED),
        ("no field", vec![], DAMAGED),
    ];
    for (how, numbers, may) in runs {
        let path: Path<'_> = &[b"moof", b"traf", b"trun"];
        add(&format!("runs of {how}"), patch_mp4(&good, path, &|_| words(&numbers)), may);
    }
    let path: Path<'_> = &[b"moof", b"traf"];
    let run = mp4_box(b"trun", &words(&[0, MOST]));
    add("a thousand runs of 4 G samples", patch_mp4(&good, path, &|traf| [traf, &run.repeat(1000)].concat()), DAMAGED);
    let path: Path<'_> = &[b"moof", b"traf", b"tfdt"];
    for (how, time) in [("0", [0; 8]), ("the last moment", [0xff; 8]), ("half of it", [0x7f; 8])] {
        add(&format!("at {how}"), patch_mp4(&good, path, &|_| [&[1, 0, 0, 0][..], &time].concat()), DAMAGED);
    }
    let path: Path<'_> = &[b"moov", b"mvex", b"trex"];
    add("defaults of ones", patch_mp4(&good, path, &|_| [&words(&[0, 1]), &[0xff; 16][..]].concat()), DAMAGED);
    let index = mp4_box(b"sidx", &[&[1, 0, 0, 0][..], &[0xff; 60]].concat());
    add("an index of ones", [head, &index, fragment].concat(), RESCUED);
    cases
}
