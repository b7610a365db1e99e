//! Tags: ID3v2 and APE that are larger than what they belong to, deeper, or full of what no title has.

use super::{Case, DAMAGED, MP3, May, RESCUED, ok_or, sample};
use crate::bytes::{deflated_zeros, jpeg, synchsafe};

/// A tag of this version of ID3v2, with flags.
fn tag(version: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [b"ID3", &[version, 0, flags][..], &synchsafe(body.len()), body].concat()
}

/// A frame of ID3v2.4, with flags.
fn frame(id: &[u8; 4], flags: [u8; 2], body: &[u8]) -> Vec<u8> {
    [&id[..], &synchsafe(body.len()), &flags, body].concat()
}

fn picture(len: usize) -> Vec<u8> {
    frame(b"APIC", [0, 0], &[&b"\0image/jpeg\0\x03\0"[..], &jpeg(len)].concat())
}

pub(super) fn cases() -> Vec<Case> {
    let sound = crate::bytes::sine("s.mp3", "-c:a libmp3lame -id3v2_version 0");
    let mut cases = Vec::new();
    let mut add = |name: &str, tags: Vec<u8>, may: May| {
        cases.push(Case::new(format!("tags/{name}"), [&tags[..], &sound].concat(), may));
    };
    for (how, text) in [
        ("control characters", "\u{3}\u{1b}[31m\u{1b}]0;\u{7}\r\nBcc: x\u{202e}\u{2066}"),
        ("nothing", "\u{3}"),
        ("zeros", "\u{3}\0\0\0\0\0\0"),
        ("a path", "\u{3}../../../etc/passwd"),
        ("markup", "\u{3}<script>alert(1)</script>"),
    ] {
        add(&format!("a title of {how}"), tag(4, 0, &frame(b"TIT2", [0, 0], text.as_bytes())), MP3);
    }
    for (how, encoding, bytes) in [
        ("halves of characters", 1u8, &b"\xff\xfe\x00\xd8\x00\xd8\x00\xdc"[..]),
        ("an odd number of bytes", 2, b"\0a\0b\0"),
        ("bytes that are no text", 3, b"\xff\xfe\xc0\x80\xed\xa0\x80"),
        ("an encoding that there is not", 77, b"abc"),
    ] {
        let body = [&[encoding][..], bytes].concat();
        add(&format!("a title of {how}"), tag(4, 0, &frame(b"TIT2", [0, 0], &body)), MP3);
    }
    for (how, len) in [("64 KiB", 1 << 16), ("a mebibyte", 1 << 20), ("ten mebibytes", 10 << 20)] {
        let body = [&[3][..], &vec![b'A'; len]].concat();
        add(&format!("a title of {how}"), tag(4, 0, &frame(b"TIT2", [0, 0], &body)), MP3);
        add(&format!("a picture of {how}"), tag(4, 0, &picture(len)), MP3);
    }
    add("a hundred pictures", tag(4, 0, &picture(100_000).repeat(100)), MP3);
    add("a hundred thousand frames", tag(4, 0, &frame(b"TXXX", [0, 0], b"\x03a\0b").repeat(100_000)), MP3);
    let packed = deflated_zeros(100 << 20);
    let body = [&synchsafe(100 << 20)[..], &packed].concat();
    add("100 MiB of zeros, deflated", tag(4, 0, &frame(b"TXXX", [0, 9], &body)), MP3);
    add("100 MiB of zeros, deflated, as the picture", tag(4, 0, &frame(b"APIC", [0, 9], &body)), MP3);
    for flags in [1, 2, 4, 8, 0x40, 0xff] {
        let name = format!("a title with flags {flags:#x}");
        add(&name, tag(4, 0, &frame(b"TIT2", [0, flags], b"\0\0\0\x04\x03abc")), MP3);
    }
    for flags in [0x10, 0x20, 0x40, 0x80, 0xff] {
        add(
            &format!("flags {flags:#x} and nothing that fits them"),
            tag(4, flags, &frame(b"TIT2", [0, 0], b"\x03abc")),
            RESCUED,
        );
    }
    for (how, head) in [("the largest", [0x7f; 4]), ("0", [0; 4]), ("no size", [0xff; 4])] {
        let extended = [&head[..], &frame(b"TIT2", [0, 0], b"\x03abc")].concat();
        add(&format!("a second head of {how}"), tag(4, 0x40, &extended), MP3);
        let mut title = frame(b"TIT2", [0, 0], b"\x03abc");
        title[4..8].copy_from_slice(&head);
        add(&format!("a title whose size is {how}"), tag(4, 0, &title), MP3);
        add(&format!("a title of version 2.3 whose size is {how}"), tag(3, 0, &title), MP3);
        add(&format!("a title of version 2.2 whose size is {how}"), tag(2, 0, &title), MP3);
        let whole = [b"ID3\x04\0\0", &head[..]].concat();
        add(&format!("a tag whose size is {how}"), whole, ok_or(&["corrupt", "unsupported_container"]));
    }
    for count in [2, 15, 16] {
        add(&format!("{count} tags"), tag(4, 0, &frame(b"TIT2", [0, 0], b"\x03abc")).repeat(count), RESCUED);
    }
    let many = tag(4, 0, &frame(b"TIT2", [0, 0], b"\x03abc")).repeat(1000);
    add("a thousand tags", many, ok_or(&["corrupt", "unsupported_container"]));
    add("bytes of 255 and 0, undone", tag(4, 0x80, &[0xff, 0].repeat(100_000)), MP3);
    let chapter = |inner: &[u8]| frame(b"CHAP", [0, 0], &[&b"a\0"[..], &[0xff; 16], inner].concat());
    add("chapters within chapters", tag(4, 0, &(0..1000).fold(Vec::new(), |inner, _| chapter(&inner))), MP3);
    add("ten thousand chapters", tag(4, 0, &chapter(b"").repeat(10_000)), MP3);
    for version in [0, 1, 5, 255] {
        add(&format!("version {version}"), tag(version, 0, &[0; 20]), ok_or(&["corrupt", "unsupported_container"]));
    }
    let ape = |size: u32, count: u32| {
        let numbers = [2000, size, count, 0].map(u32::to_le_bytes).concat();
        [&b"APETAGEX"[..], &numbers, &[0; 8]].concat()
    };
    for (how, size, count) in [("nothing", 0, 0), ("4 GiB", u32::MAX, 1), ("4 G of them", 32, u32::MAX)] {
        let file = [&sound[..], &ape(size, count)].concat();
        cases.push(Case::new(format!("tags/APE, {how}"), file, MP3));
        let file = [&ape(size, count), &sound[..]].concat();
        cases.push(Case::new(format!("tags/APE, {how}, in front"), file, ok_or(&["corrupt", "unsupported_container"])));
    }
    let old = [&b"TAG"[..], &[0x1b; 125]].concat();
    cases.push(Case::new("tags/a thousand of ID3v1", [&sound[..], &old.repeat(1000)].concat(), RESCUED));
    for other in ["s.wav", "s.mkv", "s.aac", "s.flac", "s.ts", "s.opus"] {
        let file = [tag(4, 0, &picture(2000)), sample(other)].concat();
        cases.push(Case::new(format!("tags/in front of {other}"), file, DAMAGED));
    }
    cases
}
