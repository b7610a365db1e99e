//! FLV: tags of nothing, of everything, and scripts without end.

use super::{Case, DAMAGED, MP3, May, RESCUED, refused, sample};

/// A tag: its kind, time and body, and its size behind it.
fn tag(kind: u8, time: u32, body: &[u8]) -> Vec<u8> {
    let [high, times @ ..] = time.to_be_bytes();
    let size = &(body.len() as u32).to_be_bytes()[1..];
    let head = [&[kind][..], size, &times, &[high, 0, 0, 0]].concat();
    [&head[..], body, &(body.len() as u32 + 11).to_be_bytes()].concat()
}

pub(super) fn cases() -> Vec<Case> {
    let good = sample("s.flv");
    let head = &good[..13];
    let mut cases = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>, may: May| cases.push(Case::new(format!("flv/{name}"), bytes, may));
    let nothing = refused(&["corrupt", "no_audio_track", "unsupported_codec"]);
    add("nothing but its head", head.to_vec(), nothing);
    for offset in [0u32, 8, 10, 1 << 31, u32::MAX] {
        let mut bytes = good.clone();
        bytes[5..9].copy_from_slice(&offset.to_be_bytes());
        add(&format!("a head of {offset} bytes"), bytes, DAMAGED);
    }
    for (how, crumb) in [
        ("empty tags of sound", tag(8, 0, &[])),
        ("empty tags of pictures", tag(9, 0, &[])),
        ("empty scripts", tag(18, 0, &[])),
        ("tags of no kind", tag(77, 0, &[1])),
        ("tags of the largest size", b"\x08\xff\xff\xff\0\0\0\0\0\0\0".to_vec()),
    ] {
        add(&format!("a hundred thousand {how}"), [head, &crumb.repeat(100_000)].concat(), nothing);
        add(
            &format!("a hundred thousand {how} behind the sound"),
            [&good[..], &crumb.repeat(100_000)].concat(),
            RESCUED,
        );
    }
    // Every format of sound (Adobe FLV 10.1, E.4.2.1) with bytes of no meaning.
    for format in 0..16u8 {
        for (how, low) in [("0", 0), ("the most", 0xf)] {
            let sound = tag(8, 0, &[&[format << 4 | low][..], &[0x55; 400]].concat());
            add(&format!("format {format}, settings of {how}"), [head, &sound.repeat(30)].concat(), DAMAGED);
        }
    }
    let aac = |settings: &[u8]| tag(8, 0, &[&[0xaf, 0][..], settings].concat());
    for (how, settings) in [("nothing", &[][..]), ("zeros", &[0; 10]), ("ones", &[0xff; 10])] {
        let sound = tag(8, 0, &[&[0xaf, 1][..], &[0x21; 100]].concat());
        add(&format!("settings of AAC that are {how}"), [head, &aac(settings), &sound.repeat(30)].concat(), DAMAGED);
    }
    add("settings again and again", [&good[..], &aac(&[0x12, 0x10]).repeat(20_000)].concat(), RESCUED);
    add(
        "times that go back",
        [head, &(0..500).flat_map(|n| tag(8, 500 - n, &[0x2f, 0xff, 0xfb, 0x90, 0])).collect::<Vec<_>>()].concat(),
        DAMAGED,
    );
    for time in [0x7fff_ffff, u32::MAX] {
        let late = tag(8, time, &[&[0xaf, 1][..], &[0x21; 100]].concat());
        add(&format!("a tag at {time}"), [&good[..], &late].concat(), DAMAGED);
        add(&format!("only tags at {time}"), [head, &aac(&[0x12, 0x10]), &late.repeat(50)].concat(), DAMAGED);
    }
    // AMF: a string, then a value (AMF 0, 2).
    let script = |value: &[u8]| [head, &tag(18, 0, &[b"\x02\0\x0aonMetaData", value].concat()), &good[13..]].concat();
    for (how, value) in [
        ("objects within objects", b"\x03\0\x01a".repeat(100_000)),
        ("lists within lists", b"\x0a\xff\xff\xff\xff".repeat(100_000)),
        ("a list of 4 G", b"\x0a\xff\xff\xff\xff\x05".to_vec()),
        ("a map of 4 G", b"\x08\xff\xff\xff\xff\0\x01a\x05".to_vec()),
        ("a string of 4 GiB", b"\x0c\xff\xff\xff\xffabc".to_vec()),
        ("kinds that there are not", vec![0x77; 1000]),
        ("a length of ones", [&b"\x08\0\0\0\x01\0\x08duration\0"[..], &[0xff; 8]].concat()),
        ("an endless length", [&b"\x08\0\0\0\x01\0\x08duration\0"[..], &f64::INFINITY.to_be_bytes()].concat()),
        ("a length below 0", [&b"\x08\0\0\0\x01\0\x08duration\0"[..], &(-1e300f64).to_be_bytes()].concat()),
        ("a title of control characters", b"\x08\0\0\0\x01\0\x05title\x02\0\x08\x1b[31m\r\n\0\0\0\x09".to_vec()),
    ] {
        add(&format!("a script with {how}"), script(&value), DAMAGED);
    }
    add(
        "a hundred thousand scripts",
        [head, &tag(18, 0, b"\x02\0\x01a\x05").repeat(100_000), &good[13..]].concat(),
        DAMAGED,
    );
    add("twice", [&good[..], &good[13..]].concat(), RESCUED);
    add("a head in the middle", [&good[..], &good].concat(), RESCUED);
    add("all is well", script(b"\x05"), MP3);
    add("all of ones", [head, &[0xff; 50_000]].concat(), nothing);
    cases
}
