//! AC-3 without a container: wherever it begins, and whatever is around it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use common::{bytes, convert_bytes};

#[test]
fn ac3_is_found_behind_tags_and_damage_and_with_its_bytes_turned_round() {
    let good = bytes::sine("f.ac3", "-ar 48000 -c:a ac3 -b:a 192k");
    let samples = convert_bytes(&good).unwrap().samples;
    assert_eq!(samples % 1536, 0);
    let tag = [&b"ID3\x04\0\0\0\0\0\x14"[..], &[0; 20]].concat();
    let turned: Vec<u8> = good.chunks_exact(2).flat_map(|word| [word[1], word[0]]).collect();
    let noise: Vec<u8> = (0..1000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // A frame has 768 bytes.
    let (head, tail) = good.split_at(768 * 5);
    for (name, file) in [
        ("a tag", [&tag, &good[..]].concat()),
        ("turned round", turned),
        ("noise in front", [&noise, &good[..]].concat()),
        ("noise between", [head, &noise, tail].concat()),
        ("noise behind", [&good[..], &noise].concat()),
        ("the end of a frame in front", [&good[300..768], &good].concat()),
    ] {
        let made = convert_bytes(&file).unwrap_or_else(|err| panic!("{name}: {err}"));
        assert_eq!((made.samples, made.lost_packets), (samples, 0), "{name}");
    }
    let without_its_end = convert_bytes(&good[..good.len() - 1]).unwrap();
    assert_eq!(without_its_end.samples, samples - 1536);
}
