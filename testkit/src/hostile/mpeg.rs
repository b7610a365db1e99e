//! MPEG's streams, of transport and of programs: tables that lie, packets that never end, clocks that jump.

use super::{Case, DAMAGED, MP3, May, RESCUED, ok_or, refused, sample};
use crate::bytes::{ts_packet, ts_section};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = tables();
    cases.extend(transport());
    cases.extend(programs());
    cases
}

const NOTHING: May = refused(&["corrupt", "no_audio_track", "unsupported_codec", "unsupported_container"]);
/// The program's map is there, and one stream.
const PMT: u16 = 0x100;
const SOUND: u16 = 0x101;

/// A stream of a program: its type, where it is, and its descriptors.
fn entry(sort: u8, pid: u16, descriptors: &[u8]) -> Vec<u8> {
    let length = (descriptors.len() as u16) | 0xf000;
    [&[sort][..], &(pid | 0xe000).to_be_bytes(), &length.to_be_bytes(), descriptors].concat()
}

fn map(entries: &[u8]) -> Vec<u8> {
    ts_section(PMT, 2, 1, &[&(SOUND | 0xe000).to_be_bytes()[..], &[0xf0, 0], entries].concat())
}

fn programs_table() -> Vec<u8> {
    ts_section(0, 0, 1, &[&[0, 1][..], &(PMT | 0xe000).to_be_bytes()].concat())
}

/// The packets of a stream with these bytes in a PES packet each.
fn sound(id: u8, body: &[u8], times: usize) -> Vec<u8> {
    let pes = [&[0, 0, 1, id, 0, 0, 0x80, 0, 0][..], body].concat();
    let piece = |(n, piece): (usize, &[u8])| ts_packet(SOUND, n == 0, piece);
    pes.chunks(184).enumerate().flat_map(piece).collect::<Vec<u8>>().repeat(times)
}

fn tables() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("ts/tables/{name}"), bytes, may));
    let noise = sound(0xc0, &[0x55; 600], 200);
    // Every type of stream that is known, without descriptors, with zeros and with ones, and nothing behind it that fits.
    for sort in
        [0x01, 0x03, 0x04, 0x06, 0x0f, 0x11, 0x1c, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x8a, 0xa1, 0xff]
    {
        for (how, descriptors) in [
            ("no descriptors", &[][..]),
            ("Opus", b"\x05\x04Opus\x7f\x02\x80\xff"),
            ("AC-3", b"\x6a\x01\0"),
            ("DTS", b"\x7b\x05\0\0\0\0\0"),
            ("S302M", b"\x05\x04BSSD"),
            ("a descriptor that goes on", &[0x0a, 0xff, 1, 2]),
        ] {
            let bytes = [programs_table(), map(&entry(sort, SOUND, descriptors)), noise.clone()].concat();
            add(&format!("type {sort:#x}, {how}"), bytes, DAMAGED);
        }
    }
    let many: Vec<u8> = (0..30).flat_map(|n| entry(0x0f, 0x200 + n, &[])).collect();
    add("thirty streams that never come", [programs_table(), map(&many), noise.clone()].concat(), DAMAGED);
    add(
        "one stream thirty times",
        [programs_table(), map(&entry(3, SOUND, &[]).repeat(30)), noise.clone()].concat(),
        DAMAGED,
    );
    let itself = ts_section(0, 0, 1, &[0, 1, 0xe0, 0]);
    add("a map where the list of programs is", [itself, noise.clone()].concat(), DAMAGED);
    let own = [programs_table(), map(&entry(3, PMT, &[])), noise.clone()].concat();
    add("a stream where its map is", own, DAMAGED);
    let forty: Vec<u8> = (1..41u16).flat_map(|n| [n.to_be_bytes(), (0xe100 + n).to_be_bytes()].concat()).collect();
    add("forty programs without maps", [ts_section(0, 0, 1, &forty), noise.clone()].concat(), DAMAGED);
    for length in [0u16, 4, 8, 0x3fd, 0xfff] {
        let mut packet = map(&entry(3, SOUND, &[]));
        packet[6..8].copy_from_slice(&(length | 0xb000).to_be_bytes());
        add(&format!("a map of {length} bytes"), [programs_table(), packet, noise.clone()].concat(), DAMAGED);
    }
    let good = sample("s.ts");
    let flapping: Vec<u8> = good
        .chunks(188)
        .flat_map(|packet| {
            let n = packet[3] & 1;
            [packet, &programs_table()[..], &map(&entry([3, 0x0f][usize::from(n)], SOUND, &[]))].concat()
        })
        .collect();
    add("that change with every packet", flapping, DAMAGED);
    cases
}

fn transport() -> Vec<Case> {
    let good = sample("s.ts");
    let mut cases = Vec::new();
    let mut add =
        |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("ts/packets/{name}"), bytes, may));
    let each = |change: &dyn Fn(usize, &mut [u8])| {
        let mut bytes = good.clone();
        bytes.chunks_exact_mut(188).enumerate().for_each(|(n, packet)| change(n, packet));
        bytes
    };
    add(
        "encrypted, all",
        each(&|_, packet| packet[3] |= 0xc0),
        ok_or(&["corrupt", "encrypted", "no_audio_track", "unsupported_container"]),
    );
    add(
        "encrypted, behind the tables",
        each(&|n, packet| {
            if n > 3 {
                packet[3] |= 0x80;
            }
        }),
        ok_or(&["corrupt", "encrypted", "no_audio_track"]),
    );
    add("with errors, all", each(&|_, packet| packet[1] |= 0x80), DAMAGED);
    add("that all start something", each(&|_, packet| packet[1] |= 0x40), DAMAGED);
    add("that start nothing", each(&|_, packet| packet[1] &= !0x40), DAMAGED);
    add("with fields alone", each(&|_, packet| packet[3] = packet[3] & 0xcf | 0x20), NOTHING);
    add("with nothing", each(&|_, packet| packet[3] &= 0xcf), NOTHING);
    for length in [0, 1, 183, 184, 255] {
        add(
            &format!("with a field of {length} bytes"),
            each(&|_, packet| {
                packet[3] |= 0x20;
                packet[4] = length;
            }),
            DAMAGED,
        );
    }
    add("that count as they like", each(&|n, packet| packet[3] = packet[3] & 0xf0 | (n * 7 % 16) as u8), DAMAGED);
    add("that don't count", each(&|_, packet| packet[3] &= 0xf0), DAMAGED);
    add("each twice", good.chunks(188).flat_map(|packet| packet.repeat(2)).collect(), RESCUED);
    add("each a hundred times", good.chunks(188).flat_map(|packet| packet.repeat(100)).collect(), DAMAGED);
    add("in reverse", good.chunks_exact(188).rev().flatten().copied().collect(), DAMAGED);
    add("of 204 bytes", good.chunks_exact(188).flat_map(|packet| [packet, &[0; 16]].concat()).collect(), DAMAGED);
    add("without their first byte", good.chunks_exact(188).flat_map(|packet| packet[1..].to_vec()).collect(), NOTHING);
    add("a hundred times one after the other", good.repeat(100), RESCUED);
    let start = |id: u8| [0, 0, 1, id, 0, 0, 0x80, 0, 0, 0xff, 0xfb, 0x90, 0x00];
    let all: Vec<u8> = (0..0x1fff).flat_map(|pid| ts_packet(pid, true, &start(0xc0 + pid as u8 % 0x20))).collect();
    add("of every stream there can be", all.clone(), DAMAGED);
    add("of every stream there can be, and sound", [&all[..], &good].concat(), DAMAGED);
    add("sound, and of every stream there can be", [&good[..], &all].concat(), RESCUED);
    let frames: [(&str, &[u8]); 6] = [
        ("AC-3", b"\x0b\x77\0\0\0\x80"),
        ("LOAS", b"\x56\xff\xff"),
        ("DTS", b"\x64\x58\x20\x25\0\x3f\xff\xff"),
        ("DTS of 16 bits", b"\x7f\xfe\x80\x01\xff\xff\xff\xff"),
        ("ADTS", b"\xff\xf1\x50\x80\x01\x1f\xfc"),
        ("MPEG", b"\xff\xfb\x90\x00"),
    ];
    for (kind, frame) in frames {
        let body: Vec<u8> = frame.iter().copied().cycle().take(3000).collect();
        for (stream, id, sort) in [("said", 0xc0, 0x03), ("not said", 0xbd, 0x06)] {
            let bytes = [programs_table(), map(&entry(sort, SOUND, &[])), sound(id, &body, 100)].concat();
            add(&format!("heads of {kind} one behind the other, {stream} to be MPEG"), bytes, DAMAGED);
        }
    }
    let nothing = ts_packet(0x1fff, false, &[]).repeat(40_000);
    add("of nothing, forty thousand", nothing.clone(), NOTHING);
    add("of nothing, before the sound", [&nothing[..], &good].concat(), DAMAGED);
    let endless: Vec<u8> = (0..40_000).flat_map(|_| ts_packet(SOUND, false, &[0x55; 184])).collect();
    let bytes = [
        programs_table(),
        map(&entry(3, SOUND, &[])),
        ts_packet(SOUND, true, &[0, 0, 1, 0xc0, 0, 0, 0x80, 0, 0]),
        endless,
    ]
    .concat();
    add("of one that does not end", bytes, NOTHING);
    // A time is five bytes behind nine, where the flags say that there is one (2.4.3.6).
    for (how, time) in [("ones", [0xff; 5]), ("zeros", [0; 5]), ("half", [0x2f, 0x7f, 0xff, 0xff, 0xff])] {
        let change = |_: usize, packet: &mut [u8]| {
            if let Some(at) = packet.windows(4).position(|four| four == [0, 0, 1, 0xc0])
                && at + 14 <= 188
            {
                packet[at + 9..at + 14].copy_from_slice(&time);
            }
        };
        add(&format!("at {how}"), each(&change), DAMAGED);
    }
    cases
}

fn programs() -> Vec<Case> {
    let good = sample("s.vob");
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("ps/{name}"), bytes, may));
    let pack = [0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 1, 0x89, 0xf8];
    let pes = |id: u8, length: u16, body: &[u8]| [&[0, 0, 1, id][..], &length.to_be_bytes(), body].concat();
    add("packs alone", pack.repeat(20_000), NOTHING);
    add("packs and empty packets", [&pack[..], &pes(0xbd, 3, &[0x80, 0, 0])].concat().repeat(50_000), NOTHING);
    add("sound twice", good.repeat(2), RESCUED);
    add("all is well", good.clone(), MP3);
    for id in [0xbb, 0xbc, 0xbd, 0xbe, 0xbf, 0xc0, 0xdf, 0xe0, 0xf0, 0xfd, 0xff] {
        for (how, length) in [("0", 0), ("the most", 65_535)] {
            let packet = pes(id, length, &[0x80, 0x80, 5, 0x21, 0, 1, 0, 1, 0x80, 1, 0, 1]);
            let bytes = [&pack.repeat(4)[..], &packet.repeat(500)].concat();
            add(&format!("packets of {id:#x} whose length is {how}"), bytes, NOTHING);
        }
        let packet = pes(id, 100, &[&[0x80, 0xff, 0xff][..], &[0xff; 97]].concat());
        add(&format!("heads of {id:#x} without an end"), [&pack.repeat(4)[..], &packet.repeat(500)].concat(), NOTHING);
        add(&format!("sound, and packets of {id:#x} behind it"), [&good[..], &packet.repeat(500)].concat(), RESCUED);
    }
    // What lies in a private stream is told by its first byte.
    for kind in [0x00, 0x20, 0x80, 0x88, 0xa0, 0xb0, 0xc0, 0xff] {
        let packet = pes(0xbd, 503, &[&[0x80, 0, 0, kind, 1, 0, 1][..], &[0x55; 496]].concat());
        add(&format!("private sound of kind {kind:#x}"), [&pack[..], &packet].concat().repeat(200), DAMAGED);
    }
    // Sound of DVDs: bits, rate and channels in a byte.
    for byte in [0x00, 0x07, 0x40, 0x80, 0xc0, 0xff] {
        let packet = pes(0xbd, 507, &[&[0x80, 0, 0, 0xa0, 1, 0, 4, 0, byte, 0x80][..], &[0x55; 497]].concat());
        add(&format!("samples whose format is {byte:#x}"), [&pack[..], &packet].concat().repeat(200), DAMAGED);
    }
    let every: Vec<u8> =
        (0xbd..=0xef).flat_map(|id| pes(id, 10, &[0x80, 0, 0, 0xff, 0xfb, 0x90, 0, 0, 0, 0])).collect();
    add("every stream there can be", [&pack[..], &every].concat().repeat(1000), NOTHING);
    add("half a sector before it", [&good[1000..], &good].concat(), DAMAGED);
    let system = pes(0xbb, 65_535, &[0xff; 2000]);
    add("a head of the system that is too long", [&pack[..], &system, &good].concat(), DAMAGED);
    let zeros = vec![0; 3 << 20];
    add("three mebibytes of zeros before the sound", [&pack[..], &zeros, &good].concat(), DAMAGED);
    add("three mebibytes of zeros behind the sound", [&good[..], &zeros].concat(), RESCUED);
    cases
}
