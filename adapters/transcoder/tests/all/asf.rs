//! ASF and Windows Media Audio: what is special about them, beside what the other tests ask of every container.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use common::{convert, convert_bytes, finest};
use microserve_core::transcode::TranscodeError;
use microserve_testkit::{judge, media};

/// Where its length of 16 bytes and 8 is in the header of ffmpeg's files: the data object.
const DATA: [u8; 16] = [0x36, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0, 0xaa, 0, 0x62, 0xce, 0x6c];
const FILE_PROPERTIES: [u8; 8] = [0xa1, 0xdc, 0xab, 0x8c, 0x47, 0xa9, 0xcf, 0x11];
const STREAM_PROPERTIES: [u8; 8] = [0x91, 0x07, 0xdc, 0xb7, 0xb7, 0xa9, 0xcf, 0x11];
/// Bytes of a packet of ffmpeg's.
const PACKET: usize = 3200;

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

/// Where the packets begin.
fn packets(bytes: &[u8]) -> usize {
    find(bytes, &DATA) + 50
}

fn tone(file: &str, seconds: &str, codec: &str) -> Vec<u8> {
    let sound = format!("sine=frequency=440:duration={seconds}:sample_rate=44100");
    let args: Vec<&str> = ["-f", "lavfi", "-i", &sound].into_iter().chain(codec.split(' ')).collect();
    std::fs::read(media::make(file, &args)).unwrap()
}

/// ffmpeg's own decoder leaves out a frame too many of what its encoder makes, so that the source is what counts.
#[test]
fn wma_sounds_like_its_source_from_the_first_sample_on() {
    for (codec, rate, channels, bitrate, frame, snr) in [
        ("wmav2", 44_100, 2, "192k", 2048, 25.0),
        ("wmav2", 44_100, 2, "48k", 2048, 10.0),
        ("wmav2", 48_000, 1, "96k", 2048, 25.0),
        ("wmav2", 32_000, 2, "96k", 2048, 20.0),
        ("wmav2", 22_050, 1, "32k", 1024, 15.0),
        ("wmav2", 16_000, 1, "32k", 512, 15.0),
        ("wmav1", 44_100, 2, "192k", 2048, 25.0),
        ("wmav1", 32_000, 1, "64k", 1024, 20.0),
        ("wmav1", 22_050, 2, "64k", 1024, 15.0),
    ] {
        let name = format!("{codec} at {rate} Hz, {channels} channels, {bitrate}");
        let left = "0.2*sin(2*PI*220*t)*(1+0.5*sin(2*PI*3*t))+0.1*sin(2*PI*660*t)";
        let exprs = if channels == 2 { format!("{left}|0.2*sin(2*PI*330*t)") } else { left.to_owned() };
        let layout = if channels == 2 { "stereo" } else { "mono" };
        let sound = format!("aevalsrc=exprs='{exprs}':sample_rate={rate}:channel_layout={layout}");
        let args = ["-f", "lavfi", "-i", &sound, "-t", "1.7"];
        let wave = media::make("source.wav", &[&args[..], &["-c:a", "pcm_f32le"]].concat());
        let wma = media::make("a.wma", &[&args[..], &["-c:a", codec, "-b:a", bitrate]].concat());
        let mp3 = convert(&wma, &finest()).unwrap();
        let audio = mp3.made.source.audio().unwrap();
        assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), (codec, rate, channels), "{name}");
        let samples = (1.7 * f64::from(rate)).round() as u64;
        assert_eq!(mp3.made.samples, samples.next_multiple_of(frame), "{name}: whole frames");
        judge::assert_clean(&mp3.path);
        let (ours, theirs) = (judge::pcm(&mp3.path, rate, channels), judge::pcm(&wave, rate, channels));
        // The last frame is a half of a transform that nothing completes.
        let end = (samples - samples % frame) as usize * usize::from(channels);
        let like = judge::snr(&theirs[..end], &ours);
        assert!(like >= snr, "{name}: {like:.1} dB");
    }
}

#[test]
fn sound_that_starts_late_is_behind_silence() {
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=3"];
    let late = ["-itsoffset", "0.75", "-f", "lavfi", "-i", "sine=frequency=440:duration=2:sample_rate=44100"];
    let maps = ["-map", "0", "-map", "1", "-c:v", "wmv2", "-c:a"];
    for (codec, length) in [("wmav2", 88_200u64.next_multiple_of(2048)), ("pcm_s16le", 88_200)] {
        let file = media::make("late.wmv", &[&picture[..], &late, &maps, &[codec]].concat());
        let mp3 = convert(&file, &finest()).unwrap();
        let silence = mp3.made.samples - length;
        assert!(silence.abs_diff(33_075) <= 44, "{codec}: {silence} samples of silence");
        let pcm = judge::pcm(&mp3.path, 44_100, 1);
        let heard = pcm.iter().position(|sample| sample.abs() > 0.02).unwrap();
        assert!(heard.abs_diff(33_075) <= 88, "{codec}: heard from {heard} on");
    }
}

#[test]
fn sound_that_is_lost_leaves_a_gap_of_its_length() {
    for (file, codec) in [("g.wma", "-c:a wmav2 -b:a 64k"), ("g.asf", "-c:a pcm_s16le")] {
        let whole = tone(file, "5", codec);
        let samples = convert_bytes(&whole).unwrap().samples;
        let at = packets(&whole) + 4 * PACKET;
        let without = [&whole[..at], &whole[at + 3 * PACKET..]].concat();
        let left = convert_bytes(&without).unwrap().samples;
        assert!(left.abs_diff(samples) <= 44, "{file}: {left} samples of {samples}");
        // Packets that are there and make no sense are lost the same.
        let mut scrambled = whole.clone();
        scrambled[at..at + 3 * PACKET].fill(0xff);
        let left = convert_bytes(&scrambled).unwrap().samples;
        assert!(left.abs_diff(samples) <= 44, "{file}, scrambled: {left} samples of {samples}");
        // What is in between moves everything behind it, and costs a packet at most.
        let inserted = [&whole[..at], &[0xaa; 777], &whole[at..]].concat();
        let left = convert_bytes(&inserted).unwrap().samples;
        assert!(left.abs_diff(samples) <= 441, "{file}, with more in between: {left} samples of {samples}");
    }
}

#[test]
fn a_broadcast_is_read_to_its_end() {
    let whole = tone("g.wma", "5", "-c:a wmav2 -b:a 64k");
    let mut broadcast = whole.clone();
    let (file, data) = (find(&whole, &FILE_PROPERTIES), find(&whole, &DATA));
    broadcast[file + 24 + 64] |= 1;
    for size in [0u64, 50, u64::MAX] {
        broadcast[data + 16..data + 24].copy_from_slice(&size.to_le_bytes());
        assert_eq!(convert_bytes(&broadcast).unwrap().samples, convert_bytes(&whole).unwrap().samples, "{size}");
    }
}

#[test]
fn encrypted_asf_is_named() {
    let mut bytes = tone("g.wma", "5", "-c:a wmav2 -b:a 64k");
    let stream = find(&bytes, &STREAM_PROPERTIES);
    bytes[stream + 24 + 49] |= 0x80;
    assert!(matches!(convert_bytes(&bytes), Err(TranscodeError::Encrypted)));
}

#[test]
fn a_header_without_packets_is_no_sound() {
    let whole = tone("g.wma", "5", "-c:a wmav2 -b:a 64k");
    for end in [packets(&whole), packets(&whole) - 50, 40] {
        assert!(matches!(convert_bytes(&whole[..end]), Err(TranscodeError::Corrupt { .. })), "{end}");
    }
}

/// Every three bytes look like the start of a packet, and none is followed by another.
#[test]
fn what_only_looks_like_packets_is_given_up() {
    let whole = tone("g.wma", "5", "-c:a wmav2 -b:a 64k");
    let hostile = [&whole[..packets(&whole) + 10 * PACKET], &[0x82, 0, 0].repeat(3_000_000)].concat();
    convert_bytes(&hostile).unwrap();
    let zeros = [&whole[..packets(&whole) + 10 * PACKET], &vec![0; 30_000_000]].concat();
    convert_bytes(&zeros).unwrap();
}
