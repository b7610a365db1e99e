//! Matroska: sizes that nobody knows, lacing that doesn't add up, bombs of zlib.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, ok_or, refused, sample};
use crate::bytes::{deflated_zeros, ebml, find, jpeg};

pub(super) const CLUSTER: &[u8] = &[0x1f, 0x43, 0xb6, 0x75];
const TRACKS: &[u8] = &[0x16, 0x54, 0xae, 0x6b];
const SEGMENT: &[u8] = &[0x18, 0x53, 0x80, 0x67];
const UNKNOWN: &[u8] = &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = elements();
    cases.extend(tracks());
    cases.extend(blocks());
    cases
}

/// A file of one track of sound and some clusters.
fn file(track: &[u8], clusters: &[u8]) -> Vec<u8> {
    let entry = ebml(&[0xae], &[&b"\xd7\x81\x01\x83\x81\x02"[..], track].concat());
    [b"\x1a\x45\xdf\xa3\x80", SEGMENT, UNKNOWN, &ebml(TRACKS, &entry), clusters].concat()
}

/// A cluster of one block of the first track, again and again.
fn cluster(flags: u8, body: &[u8], times: usize) -> Vec<u8> {
    ebml(CLUSTER, &ebml(&[0xa3], &[&[0x81, 0, 0, flags][..], body].concat()).repeat(times))
}

fn codec(name: &str) -> Vec<u8> {
    ebml(&[0x86], name.as_bytes())
}

/// PCM of 16 bits at 8 kHz.
fn pcm() -> Vec<u8> {
    [codec("A_PCM/INT/LIT"), ebml(&[0xe1], &[&ebml(&[0x62, 0x64], &[16])[..], &ebml(&[0x9f], &[1])].concat())].concat()
}

/// Elements: how deep, how many, how large.
fn elements() -> Vec<Case> {
    let good = sample("s.mkv");
    let sound = find(&good, CLUSTER);
    let (head, clusters) = (&good[..sound], &good[sound..]);
    let mut cases = Vec::new();
    let mut add =
        |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("matroska/elements/{name}"), file, may));
    let start = &b"\x1a\x45\xdf\xa3\x80"[..];
    add("nothing but its head", start.to_vec(), CORRUPT);
    add("an empty segment", [start, SEGMENT, &[0x80]].concat(), CORRUPT);
    add("no list of tracks", [start, SEGMENT, UNKNOWN, clusters].concat(), CORRUPT);
    add("segments within segments", [start, &[SEGMENT, UNKNOWN].concat().repeat(50_000)].concat(), CORRUPT);
    add("clusters within clusters", [head, &[CLUSTER, UNKNOWN].concat().repeat(100_000)].concat(), CORRUPT);
    add(
        "groups within groups",
        [head, CLUSTER, UNKNOWN, &[&[0xa0][..], UNKNOWN].concat().repeat(50_000)].concat(),
        CORRUPT,
    );
    let deep = |id: &[u8]| (0..2000).fold(Vec::new(), |inner, _| ebml(id, &inner));
    for (how, id) in [("tags", &[0x12, 0x54, 0xc3, 0x67][..]), ("simple tags", &[0x67, 0xc8]), ("tracks", TRACKS)] {
        let inner = ebml(&[0x12, 0x54, 0xc3, 0x67], &ebml(&[0x73, 0x73], &deep(id)));
        add(&format!("{how} two thousand deep"), [head, &inner, clusters].concat(), DAMAGED);
    }
    let blown = [TRACKS, &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]].concat();
    add("the largest list of tracks", [start, SEGMENT, UNKNOWN, &blown, &[0; 100]].concat(), CORRUPT);
    add("ids of 0", [head, &[0; 100_000]].concat(), CORRUPT);
    add("ids of ones", [head, &[0xff; 100_000]].concat(), CORRUPT);
    add(
        "two hundred thousand voids before the sound",
        [head, &[0xec, 0x80].repeat(200_000), clusters].concat(),
        RESCUED,
    );
    add("two hundred thousand voids behind the sound", [&good[..], &[0xec, 0x80].repeat(200_000)].concat(), MP3);
    add(
        "a void of the largest size",
        [head, &[0xec][..], &[1, 255, 255, 255, 255, 255, 255, 254], clusters].concat(),
        RESCUED,
    );
    add("all clusters twice", [&good[..], clusters].concat(), RESCUED);
    add("a hundred times the clusters", [head, &clusters.repeat(100)].concat(), ok_or(&["corrupt"]));
    for (how, id) in [("length of ids", [0x42, 0xf2]), ("length of sizes", [0x42, 0xf3]), ("version", [0x42, 0x85])] {
        let header = ebml(b"\x1a\x45\xdf\xa3", &ebml(&id, &[0xff; 8]));
        let rest = &good[find(&good, SEGMENT)..];
        add(&format!("the largest {how}"), [&header[..], rest].concat(), DAMAGED);
    }
    // The first place that names the list is an index.
    let list = head.windows(4).rposition(|four| four == TRACKS).unwrap();
    let info = |body: &[u8]| {
        let info = ebml(&[0x15, 0x49, 0xa9, 0x66], body);
        [start, SEGMENT, UNKNOWN, &info, &good[list..]].concat()
    };
    for (how, scale) in [("0", &[0][..]), ("the largest", &[0xff; 8]), ("of nine bytes", &[1; 9]), ("of no bytes", &[])]
    {
        add(&format!("a clock that is {how}"), info(&ebml(&[0x2a, 0xd7, 0xb1], scale)), DAMAGED);
    }
    for length in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300, 5e-324] {
        add(&format!("a length of {length:e}"), info(&ebml(&[0x44, 0x89], &length.to_be_bytes())), DAMAGED);
    }
    let title = "\u{1b}]0;\u{7}\u{2066}\u{202e}".repeat(50_000);
    add("a title of control characters", info(&ebml(&[0x7b, 0xa9], title.as_bytes())), MP3);
    let attached = |len: usize| {
        let file = [ebml(&[0x46, 0x60], b"image/jpeg"), ebml(&[0x46, 0x5c], &jpeg(len))];
        ebml(&[0x19, 0x41, 0xa4, 0x69], &ebml(&[0x61, 0xa7], &file.concat()).repeat(3))
    };
    add("three pictures of 3 MiB", [head, &attached(3 << 20), clusters].concat(), MP3);
    add("three pictures of 9 MiB", [head, &attached(9 << 20), clusters].concat(), MP3);
    cases
}

/// What tracks say of themselves.
fn tracks() -> Vec<Case> {
    let sound = cluster(0x80, &[0x55; 500], 50);
    let mut cases = Vec::new();
    let mut add = |name: String, track: &[u8], may: May| {
        cases.push(Case::new(format!("matroska/track/{name}"), file(track, &sound), may));
    };
    let names = [
        "",
        "A_",
        "A_AAC",
        "A_AAC/MPEG4/LC/SBR",
        "A_AC3",
        "A_EAC3",
        "A_DTS",
        "A_TRUEHD",
        "A_OPUS",
        "A_VORBIS",
        "A_FLAC",
        "A_ALAC",
        "A_MPEG/L1",
        "A_MPEG/L2",
        "A_MPEG/L3",
        "A_PCM/INT/LIT",
        "A_PCM/INT/BIG",
        "A_PCM/FLOAT/IEEE",
        "A_MS/ACM",
        "A_QUICKTIME",
        "A_REAL/COOK",
        "V_MPEG4/ISO/AVC",
        "\u{1b}[31m\u{202e}",
    ];
    for name in names {
        let shown = name.escape_default();
        add(format!("{shown} without settings"), &codec(name), DAMAGED);
        for (how, settings) in [("zeros", &[0; 64][..]), ("ones", &[0xff; 64]), ("one byte", &[2])] {
            let track = [codec(name), ebml(&[0x63, 0xa2], settings)].concat();
            add(format!("{shown} with settings of {how}"), &track, DAMAGED);
        }
    }
    let audio = |body: &[u8]| [codec("A_PCM/INT/LIT"), ebml(&[0xe1], body)].concat();
    for rate in [f64::NAN, f64::INFINITY, -44_100.0, 0.0, 1.0, 1e-300, 1e300, 7999.0, 1e9] {
        let track = audio(&[ebml(&[0x62, 0x64], &[16]), ebml(&[0xb5], &rate.to_be_bytes())].concat());
        add(format!("a rate of {rate:e}"), &track, DAMAGED);
    }
    for channels in [&[0][..], &[9], &[255], &[255, 255], &[255; 8], &[]] {
        let track = audio(&[ebml(&[0x62, 0x64], &[16]), ebml(&[0x9f], channels)].concat());
        add(format!("channels of {channels:?}"), &track, DAMAGED);
    }
    for bits in [0, 1, 4, 12, 40, 64, 255] {
        add(format!("{bits} bits"), &audio(&ebml(&[0x62, 0x64], &[bits])), DAMAGED);
    }
    for (what, id) in [
        ("delay", &[0x56, 0xaa][..]),
        ("preroll", &[0x56, 0xbb]),
        ("length of a frame", &[0x23, 0xe3, 0x83]),
        ("number", &[0xd7]),
        ("kind", &[0x83]),
        ("scale", &[0x23, 0x31, 0x4f]),
    ] {
        for (how, number) in [("0", [0; 8]), ("the largest", [0xff; 8]), ("half", [0x7f; 8])] {
            add(format!("a {what} of {how}"), &[pcm(), ebml(id, &number)].concat(), DAMAGED);
        }
    }
    let encoding = |body: &[u8]| [pcm(), ebml(&[0x6d, 0x80], &ebml(&[0x62, 0x40], body))].concat();
    for algorithm in 0..5 {
        let track = encoding(&ebml(&[0x50, 0x34], &ebml(&[0x42, 0x54], &[algorithm])));
        add(format!("compressed by way {algorithm}"), &track, DAMAGED);
    }
    let stripped = ebml(&[0x50, 0x34], &[ebml(&[0x42, 0x54], &[3]), ebml(&[0x42, 0x55], &vec![1; 200_000])].concat());
    add("200 KB in front of each block".to_owned(), &encoding(&stripped), refused(&["corrupt", "unsupported_codec"]));
    add("many ways at once".to_owned(), &encoding(&ebml(&[0x50, 0x34], b"").repeat(1000)), DAMAGED);
    add(
        "encrypted".to_owned(),
        &encoding(&[&[0x50, 0x33, 0x81, 1][..], &ebml(&[0x50, 0x35], b"")].concat()),
        refused(&["encrypted"]),
    );
    let many = ebml(TRACKS, &ebml(&[0xae], &[&b"\xd7\x81\x01\x83\x81\x02"[..], &pcm()].concat()).repeat(20_000));
    let many = [b"\x1a\x45\xdf\xa3\x80", SEGMENT, UNKNOWN, &many, &sound].concat();
    cases.push(Case::new("matroska/track/twenty thousand of one number", many, DAMAGED));
    cases
}

/// Blocks, and what is in them.
fn blocks() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, file: Vec<u8>, may| cases.push(Case::new(format!("matroska/blocks/{name}"), file, may));
    for (lacing, flags) in [("Xiph", 0x82), ("EBML", 0x86), ("fixed", 0x84)] {
        for (how, body) in [
            ("256 frames of nothing", &[255][..]),
            ("256 frames of ones", &[0xff; 300]),
            ("sizes that are too large", &[1, 0x7f, 0xfe, 1, 2, 3]),
            ("sizes that become negative", &[3, 0x81, 0x80, 0x80, 1, 2, 3, 4]),
            ("no count", &[]),
            ("an odd rest", &[1, 2, 3, 4]),
        ] {
            add(&format!("{lacing} lacing: {how}"), file(&pcm(), &cluster(flags, body, 2000)), DAMAGED);
        }
    }
    let deflate = ebml(&[0x6d, 0x80], &ebml(&[0x62, 0x40], &ebml(&[0x50, 0x34], b"\x42\x54\x81\0")));
    let track = [pcm(), deflate].concat();
    for mebibytes in [1, 10, 100] {
        let bomb = cluster(0x80, &deflated_zeros(mebibytes << 20), 20);
        add(&format!("{mebibytes} MiB of zeros, deflated"), file(&track, &bomb), DAMAGED);
    }
    add("deflated in part", file(&track, &cluster(0x80, &deflated_zeros(5000)[..12], 500)), CORRUPT);
    add("not deflated at all", file(&track, &cluster(0x80, &[0x55; 100], 500)), CORRUPT);
    let good = sample("s.mka");
    let sound = find(&good, CLUSTER);
    let head = &good[..sound];
    let silence = |count: usize| ebml(CLUSTER, &b"\xa3\x87\x81\0\0\x80\xf8\xff\xfe".repeat(count));
    add("a second of silence", [head, &silence(50)].concat(), MP3);
    add("two minutes of silence at once", [head, &silence(6000)].concat(), ok_or(&["corrupt"]));
    // Opus knows packets of 120 ms in two bytes (RFC 6716, 3.2.5).
    let dense = ebml(CLUSTER, &b"\xa3\x86\x81\0\0\x80\xfb\x06".repeat(2500));
    add("packets of 120 ms without a byte of sound", [head, &dense].concat(), DAMAGED);
    for (how, time) in [("the first", [0; 8]), ("the last", [0xff; 8]), ("the middle", [0x7f; 8])] {
        let late = ebml(CLUSTER, &[ebml(&[0xe7], &time), b"\xa3\x87\x81\0\0\x80\xf8\xff\xfe".repeat(100)].concat());
        add(&format!("at {how} moment"), [head, &late].concat(), DAMAGED);
        let then = [&good[..], &late].concat();
        add(&format!("at {how} moment after others"), then, DAMAGED);
    }
    let jumps = (0..2000u32).flat_map(|n| {
        let time = if n % 2 == 0 { 0 } else { n * 40_000 };
        ebml(CLUSTER, &[&ebml(&[0xe7], &time.to_be_bytes())[..], b"\xa3\x87\x81\0\0\x80\xf8\xff\xfe"].concat())
    });
    let jumps: Vec<u8> = jumps.collect();
    add("here and there", [head, &jumps].concat(), DAMAGED);
    for (how, padding) in [("negative", i64::MIN), ("largest", i64::MAX), ("a second", 1_000_000_000)] {
        let group = [ebml(&[0xa1], b"\x81\0\0\0\xf8\xff\xfe"), ebml(&[0x75, 0xa2], &padding.to_be_bytes())].concat();
        let file = [head, &ebml(CLUSTER, &ebml(&[0xa0], &group).repeat(100))].concat();
        add(&format!("padding, {how}"), file, DAMAGED);
    }
    cases
}
