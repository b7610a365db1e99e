//! What is special about AVI and FLV: where their sound lies, and when it is heard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::cell::RefCell;

use common::{convert, convert_bytes, finest};
use microserve_core::transcode::TranscodeError;
use microserve_testkit::{judge, media};

/// A second of a tone at 44.1 kHz beside a picture of two, as ffmpeg writes it with these arguments.
fn film(file: &str, offset: &str, args: &str) -> std::path::PathBuf {
    let video = if file.ends_with("flv") { "flv1" } else { "mpeg4" };
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=2", "-itsoffset", offset];
    let sound = ["-f", "lavfi", "-i", "sine=frequency=440:duration=1:sample_rate=44100", "-c:v", video];
    let args: Vec<&str> = picture.into_iter().chain(sound).chain(args.split(' ')).collect();
    media::make(file, &args)
}

fn bytes(file: &str, args: &str) -> Vec<u8> {
    std::fs::read(film(file, "0", args)).unwrap()
}

fn samples(file: &[u8]) -> u64 {
    convert_bytes(file).unwrap().samples
}

/// A chunk of RIFF.
fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
    [id, &(body.len() as u32).to_le_bytes()[..], body, padding].concat()
}

/// Names and bodies of chunks.
type Chunks = Vec<([u8; 4], Vec<u8>)>;

/// An AVI that ffmpeg wrote: what is before the chunks of its sound and pictures, and the chunks.
fn taken_apart(avi: &[u8]) -> (Vec<u8>, Chunks) {
    let start = avi.windows(4).position(|four| four == b"movi").unwrap() + 4;
    let (head, mut rest) = avi.split_at(start);
    let mut chunks = Vec::new();
    while let Some((id, more)) = rest.split_first_chunk::<4>()
        && id != b"idx1"
    {
        let size = u32::from_le_bytes(*more.first_chunk().unwrap()) as usize;
        chunks.push((*id, more[4..4 + size].to_vec()));
        rest = &more[4 + size + size % 2..];
    }
    (head.to_vec(), chunks)
}

fn put_together(head: &[u8], chunks: &[([u8; 4], Vec<u8>)]) -> Vec<u8> {
    let bodies = chunks.iter().flat_map(|(id, body)| chunk(id, body));
    head.iter().copied().chain(bodies).collect()
}

#[test]
fn avi_needs_no_index_and_no_sizes_of_lists() {
    for args in ["-c:a libmp3lame", "-c:a pcm_s16le"] {
        let avi = bytes("i.avi", args);
        let (mut head, chunks) = taken_apart(&avi);
        assert_eq!(samples(&put_together(&head, &chunks)), samples(&avi), "{args}: without an index");
        // As a program leaves it that dies while it writes.
        let lists = head.len() - 8;
        head[lists..lists + 4].fill(0);
        head[4..8].fill(0);
        assert_eq!(samples(&put_together(&head, &chunks)), samples(&avi), "{args}: without sizes");
    }
}

#[test]
fn avi_goes_on_in_its_further_parts_and_in_lists_of_records() {
    let avi = bytes("i.avi", "-c:a pcm_s16le");
    let (head, chunks) = taken_apart(&avi);
    let (first, second) = chunks.split_at(chunks.len() / 2);
    let movi = [&b"movi"[..], &put_together(&[], second)].concat();
    let part = chunk(b"RIFF", &[&b"AVIX"[..], &chunk(b"LIST", &movi), &chunk(b"idx1", &[0; 32])].concat());
    assert_eq!(samples(&[put_together(&head, first), part].concat()), samples(&avi));
    let records: Vec<u8> =
        chunks.chunks(5).flat_map(|few| chunk(b"LIST", &[&b"rec "[..], &put_together(&[], few)].concat())).collect();
    assert_eq!(samples(&[head, records].concat()), samples(&avi));
}

#[test]
fn avi_may_cut_its_sound_anywhere() {
    for args in ["-c:a libmp3lame -b:a 128k", "-c:a pcm_s24le -ac 2", "-c:a adpcm_ima_wav"] {
        let avi = bytes("i.avi", args);
        let (mut head, chunks) = taken_apart(&avi);
        let sound: Vec<u8> = chunks.iter().filter(|(id, _)| id == b"01wb").flat_map(|(_, body)| body.clone()).collect();
        // A tick is no longer a chunk: bytes are counted.
        let header = head.windows(8).rposition(|eight| &eight[..4] == b"strh").unwrap() + 8;
        head[header + 44..header + 48].copy_from_slice(&1u32.to_le_bytes());
        for size in [1, 777, 5000, 10_000_000] {
            let pieces: Vec<_> = sound.chunks(size).map(|piece| (*b"01wb", piece.to_vec())).collect();
            assert_eq!(samples(&put_together(&head, &pieces)), samples(&avi), "{args} in chunks of {size}");
        }
    }
}

#[test]
fn avi_writers_that_forget_padding_are_forgiven() {
    let (head, chunks) = taken_apart(&bytes("i.avi", "-c:a libmp3lame -b:a 128k"));
    assert!(chunks.iter().any(|(_, body)| body.len() % 2 == 1));
    let unpadded = chunks.iter().flat_map(|(id, body)| chunk(id, body)[..8 + body.len()].to_vec());
    let whole = samples(&put_together(&head, &chunks));
    assert_eq!(samples(&head.iter().copied().chain(unpadded).collect::<Vec<_>>()), whole);
}

#[test]
fn damage_in_an_avi_costs_what_was_damaged() {
    for args in ["-c:a libmp3lame", "-c:a pcm_s16le"] {
        let (head, chunks) = taken_apart(&bytes("i.avi", args));
        let whole = samples(&put_together(&head, &chunks));
        let (first, second) = chunks.split_at(chunks.len() / 2);
        // Something else in the middle, and a size that is wrong.
        let garbage = [put_together(&head, first), vec![0x33; 100_001], put_together(&[], second)].concat();
        assert!(samples(&garbage).abs_diff(whole) <= 1152, "{args}: {} of {whole}", samples(&garbage));
        let mut wrong = put_together(&head, &chunks);
        let at = put_together(&head, first).len() + 4;
        wrong[at..at + 4].copy_from_slice(&20_001u32.to_le_bytes());
        assert!(samples(&wrong).abs_diff(whole) <= 2304, "{args}: {} of {whole}", samples(&wrong));
    }
}

#[test]
fn the_second_track_of_an_avi_is_not_mixed_in() {
    let two = ["-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "sine=duration=2:frequency=900"];
    let args = [&two[..], &["-map", "0", "-map", "1", "-c:a", "pcm_s16le"]].concat();
    let made = convert(&media::make("two.avi", &args), &finest()).unwrap().made;
    assert_eq!((made.source.tracks.len(), made.source.chosen, made.samples), (2, Some(0), 44_100));
}

#[test]
fn sound_that_starts_later_than_the_picture_is_heard_later() {
    // FLV tells ms.
    let late = convert(&film("l.flv", "0.7", "-c:a pcm_s16le"), &finest()).unwrap();
    assert!(late.made.samples.abs_diff(44_100 * 17 / 10) <= 44, "{}", late.made.samples);
    let sound = judge::pcm(&late.path, 44_100, 1);
    let start = sound.iter().position(|sample| sample.abs() > 0.02).unwrap();
    assert!(start.abs_diff(30_870) < 88, "heard from sample {start} on");
    // AVI has a field for it that ffmpeg does not write.
    let avi = bytes("i.avi", "-c:a pcm_s16le");
    let (mut head, chunks) = taken_apart(&avi);
    let header = head.windows(4).rposition(|four| four == b"strh").unwrap() + 8;
    head[header + 28..header + 32].copy_from_slice(&30_870u32.to_le_bytes());
    assert_eq!(samples(&put_together(&head, &chunks)), samples(&avi) + 30_870);
}

#[test]
fn chunks_without_bytes_are_silence() {
    // A chunk of MP3 is 1152 samples here, whatever is in it.
    let (head, mut chunks) = taken_apart(&bytes("i.avi", "-c:a libmp3lame"));
    let whole = samples(&put_together(&head, &chunks));
    let middle = chunks.len() / 2;
    chunks.splice(middle..middle, std::iter::repeat_n((*b"01wb", Vec::new()), 20));
    assert_eq!(samples(&put_together(&head, &chunks)), whole + 20 * 1152);
}

/// The tags of an FLV, with the sizes behind them, and what is before the first one.
fn tags(flv: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut rest) = flv.split_at(13);
    let mut tags = Vec::new();
    while let Some([_, a, b, c]) = rest.first_chunk() {
        let (tag, behind) = rest.split_at(15 + u32::from_be_bytes([0, *a, *b, *c]) as usize);
        tags.push(tag.to_vec());
        rest = behind;
    }
    (head.to_vec(), tags)
}

#[test]
fn tags_that_are_missing_are_silence() {
    let flv = bytes("f.flv", "-c:a aac");
    let (head, tags) = tags(&flv);
    let is_sound = |tag: &&Vec<u8>| tag[0] == 8;
    let all = tags.iter().filter(is_sound).count();
    let mut n = 0;
    let holed = tags.iter().filter(|tag| {
        n += usize::from(tag[0] == 8);
        tag[0] != 8 || !(all / 2..all / 2 + 10).contains(&n)
    });
    let holed = [head, holed.flatten().copied().collect()].concat();
    assert!(samples(&holed).abs_diff(samples(&flv)) <= 88, "{} in the place of {}", samples(&holed), samples(&flv));
}

#[test]
fn damage_in_an_flv_costs_what_was_damaged() {
    let flv = bytes("f.flv", "-c:a aac");
    let (head, tags) = tags(&flv);
    let (first, second) = tags.split_at(tags.len() / 2);
    let garbage = [head, first.concat(), vec![0x55; 100_001], second.concat()].concat();
    assert_eq!(samples(&garbage), samples(&flv));
    let mut wrong = flv.clone();
    let at = 13 + first.concat().len();
    wrong[at + 1..at + 4].copy_from_slice(&[0, 0xff, 0xff]);
    assert!(samples(&wrong).abs_diff(samples(&flv)) <= 1100, "{} of {}", samples(&wrong), samples(&flv));
}

#[test]
fn an_flv_that_changes_its_sound_goes_on() {
    let (head, one) = tags(&bytes("f.flv", "-c:a aac"));
    let (_, other) = tags(&bytes("f.flv", "-c:a aac -ar 22050 -ac 2"));
    let (_, mp3) = tags(&bytes("f.flv", "-c:a libmp3lame -ar 44100"));
    let only = |tags: &[Vec<u8>]| tags.iter().filter(|tag| tag[0] == 8).flatten().copied().collect::<Vec<u8>>();
    let seconds = |bytes: &[u8]| convert_bytes(bytes).unwrap().duration();
    let alone = |tags: &[Vec<u8>]| seconds(&[&head[..], &only(tags)].concat());
    for more in [&other, &mp3] {
        let both = seconds(&[&head[..], &only(&one), &only(more)].concat());
        assert!((both - alone(&one) - alone(more)).abs() < 0.01, "{both} s");
    }
}

#[test]
fn what_is_not_decoded_in_them_has_a_name() {
    for (file, args, name) in [
        ("u.avi", "-c:a libspeex -ar 16000", "speex"),
        ("u.flv", "-c:a libspeex -ar 16000", "speex"),
        ("u.flv", "-c:a nellymoser -ar 22050", "nellymoser"),
    ] {
        match convert_bytes(&bytes(file, args)) {
            Err(TranscodeError::UnsupportedCodec { name: found }) => assert_eq!(found, name),
            other => panic!("{file}: {other:?}"),
        }
    }
}

/// Opus as Enhanced RTMP has it, which ffmpeg 5 can't write.
#[test]
fn opus_in_flv_is_decoded() {
    let ogg = std::fs::read(media::make(
        "o.opus",
        &["-f", "lavfi", "-i", "sine=duration=1:sample_rate=48000", "-c:a", "libopus", "-frame_duration", "20"],
    ))
    .unwrap();
    let packets = RefCell::new(vec![Vec::new()]);
    common::bytes::map_pages(&ogg, |_, page| {
        let mut packets = packets.borrow_mut();
        let count = usize::from(page[26]);
        let mut at = 27 + count;
        for &length in &page[27..27 + count] {
            let packet = packets.last_mut().unwrap();
            packet.extend(&page[at..at + usize::from(length)]);
            at += usize::from(length);
            if length < 255 {
                packets.push(Vec::new());
            }
        }
    });
    let packets = packets.into_inner();
    let tag = |time: usize, kind: &[u8], data: &[u8]| {
        let body = [kind, b"Opus", data].concat();
        let size = (body.len() as u32).to_be_bytes();
        let millis = (time as u32).to_be_bytes();
        let head = [&[8][..], &size[1..], &millis[1..], &[millis[0], 0, 0, 0]].concat();
        [head, body.clone(), (11 + body.len() as u32).to_be_bytes().to_vec()].concat()
    };
    let mut flv = b"FLV\x01\x04\0\0\0\x09\0\0\0\0".to_vec();
    flv.extend(tag(0, &[0x90], &packets[0]));
    for (n, packet) in packets[2..].iter().filter(|packet| !packet.is_empty()).enumerate() {
        flv.extend(tag(20 * n, &[0x91], packet));
    }
    let made = convert_bytes(&flv).unwrap();
    assert_eq!(made.source.audio().unwrap().codec, "opus");
    // The last packet has a little more than the sound.
    assert!((48_000..=48_960).contains(&made.samples), "{}", made.samples);
}
