//! ASF: headers that promise what packets don't have.

use super::{CORRUPT, Case, DAMAGED, MP3, May, RESCUED, refused, sample};
use crate::bytes::{asf_guid, asf_object, find};

const HEADER: u128 = 0x75b22630_668e_11cf_a6d9_00aa0062ce6c;
const DATA: u128 = 0x75b22636_668e_11cf_a6d9_00aa0062ce6c;
const FILE: u128 = 0x8cabdca1_a947_11cf_8ee4_00c00c205365;
const STREAM: u128 = 0xb7dc0791_a9b7_11cf_8ee6_00c00c205365;
const AUDIO: u128 = 0xf8699e40_5b4d_11cf_a8fd_00805f5c442b;
const EXTENSION: u128 = 0x5fbf03b5_a92e_11cf_8ee3_00c00c205365;
const CONTENT: u128 = 0x75b22633_668e_11cf_a6d9_00aa0062ce6c;
const ENCRYPTION: u128 = 0x2211b3fb_bd23_11d2_b4b7_00a0c955fc6e;

/// A stream of sound in this format (WAVEFORMATEX).
fn stream(number: u8, format: &[u8]) -> Vec<u8> {
    let size = (format.len() as u32).to_le_bytes();
    let body = [&asf_guid(AUDIO)[..], &[0; 24], &size, &[0, 0, 0, 0, number, 0, 0, 0, 0, 0], format].concat();
    asf_object(STREAM, &body)
}

/// A file with these objects in its header, and no packets.
fn file(objects: &[u8]) -> Vec<u8> {
    // Readers go by the sizes of the objects, wherever the header says that it ends.
    let head = asf_object(HEADER, &[2, 0, 0, 0, 1, 2]);
    [head, objects.to_vec(), asf_object(DATA, &[0; 26])].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = headers();
    cases.extend(packets());
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add =
        |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("asf/header/{name}"), bytes, may));
    let format = [0x61, 1, 2, 0, 0x44, 0xac, 0, 0, 0, 64, 0, 0, 0, 4, 16, 0, 0, 0];
    let nothing = refused(&["corrupt", "no_audio_track", "unsupported_codec"]);
    add("nothing in it", file(&[]), nothing);
    add("a stream and no packets", file(&stream(1, &format)), nothing);
    add("nine thousand streams", file(&stream(1, &format).repeat(9000)), nothing);
    add("a stream of no format", file(&stream(1, &[])), nothing);
    add("a stream whose format is ones", file(&stream(1, &[0xff; 40])), nothing);
    add(
        "extensions within extensions",
        file(&(0..500).fold(Vec::new(), |inner, _| {
            let size = (inner.len() as u32).to_le_bytes();
            asf_object(EXTENSION, &[&[0; 18][..], &size, &inner].concat())
        })),
        nothing,
    );
    add("a hundred thousand objects of nothing", file(&asf_object(7, &[]).repeat(100_000)), nothing);
    let good = sample("s.wma");
    let with = |object: &[u8]| {
        // Behind the header object's own fields.
        let mut bytes = [&good[..30], object, &good[30..]].concat();
        let size = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + object.len() as u64;
        bytes[16..24].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    add("an object more", with(&asf_object(7, &[1, 2, 3])), MP3);
    add(
        "a title without end",
        with(&asf_object(CONTENT, &[&[0xff; 10][..], &b"\x1b\0[\0".repeat(30_000)].concat())),
        MP3,
    );
    add("encryption", with(&asf_object(ENCRYPTION, &[1; 20])), refused(&["encrypted"]));
    for (how, size) in [("0", 0u64), ("23", 23), ("4 GiB", 1 << 32), ("the largest", u64::MAX)] {
        let mut object = asf_object(7, &[1, 2, 3]);
        object[16..24].copy_from_slice(&size.to_le_bytes());
        add(&format!("an object of {how} bytes"), with(&object), DAMAGED);
    }
    let at = find(&good, &asf_guid(FILE));
    for (what, field, len) in
        [("count of packets", 56, 8), ("length", 64, 8), ("preroll", 80, 8), ("size of packets", 92, 8)]
    {
        for byte in [0, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at + field..at + field + len].fill(byte);
            add(&format!("a {what} of {byte:#x}"), bytes, DAMAGED);
        }
    }
    let at = find(&good, &asf_guid(STREAM)) + 78;
    for (what, field, len) in [
        ("kind", 0, 2),
        ("channels", 2, 2),
        ("rate", 4, 4),
        ("bitrate", 8, 4),
        ("block", 12, 2),
        ("bits", 14, 2),
        ("settings", 18, 10),
    ] {
        for byte in [0, 1, 0xff] {
            let mut bytes = good.clone();
            bytes[at + field..at + field + len].fill(byte);
            add(&format!("a {what} of {byte:#x} in the format"), bytes, DAMAGED);
        }
    }
    cases
}

fn packets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, codec) in [("s.wma", "wma"), ("s.asf", "mp3")] {
        let good = sample(name);
        let sound = find(&good, &asf_guid(DATA)) + 50;
        let mut add =
            |how: &str, bytes: Vec<u8>, may| cases.push(Case::new(format!("asf/packets/{codec}, {how}"), bytes, may));
        for byte in [0, 0x55, 0x82, 0xff] {
            let mut bytes = good.clone();
            bytes[sound..].fill(byte);
            add(&format!("all of {byte:#x}"), bytes, CORRUPT);
        }
        // Flags of lengths, flags of properties, then the fields (ASF 5.2.2).
        for at in 0..12 {
            for byte in [0, 0xff] {
                let mut bytes = good.clone();
                for packet in 0..(good.len() - sound) / 3200 {
                    if let Some(place) = bytes.get_mut(sound + packet * 3200 + at) {
                        *place = byte;
                    }
                }
                add(&format!("byte {at} of each is {byte:#x}"), bytes, DAMAGED);
            }
        }
        add("nonsense behind the last", [&good[..], &[0x82; 300_000]].concat(), RESCUED);
    }
    cases
}
