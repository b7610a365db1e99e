//! Transport and program streams as they are received, recorded, cut and joined: whatever happened to them, sound stays
//! at its time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use common::{convert, convert_bytes, finest};
use microserve_core::transcode::{TranscodeError, Transcoded};
use microserve_testkit::{judge, media};

const PACKET: usize = 188;
/// Where ffmpeg has the picture and the sound.
const SOUND: u16 = 0x101;

/// Three seconds of a picture, and sound of which the first second is silent.
fn made(file: &str, late: &str, args: &str) -> Vec<u8> {
    let sound = "aevalsrc=exprs='if(gte(t,1),0.4*sin(2*PI*1000*t),0)':sample_rate=48000:duration=2.9";
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=3"];
    let sound = ["-itsoffset", late, "-f", "lavfi", "-i", sound, "-map", "0", "-map", "1", "-c:v", "mpeg2video"];
    let args: Vec<&str> = picture.into_iter().chain(sound).chain(args.split(' ')).collect();
    std::fs::read(media::make(file, &args)).unwrap()
}

/// What it becomes, and when its tone begins, in seconds.
fn onset(bytes: &[u8]) -> (Transcoded, f64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("in");
    std::fs::write(&path, bytes).unwrap();
    let mp3 = convert(&path, &finest()).unwrap();
    judge::assert_clean(&mp3.path);
    let pcm = judge::pcm(&mp3.path, 48_000, 1);
    let first = pcm.iter().position(|sample| sample.abs() > 0.1).expect("a tone");
    (mp3.made, first as f64 / 48_000.0)
}

fn assert_near(found: f64, wanted: f64, most: f64, what: &str) {
    assert!((found - wanted).abs() < most, "{what}: {found} s in the place of {wanted} s");
}

fn packets(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.chunks_exact(PACKET)
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// The stream without some packets of its sound, which are counted.
fn without(file: &[u8], is_lost: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut n = 0;
    let kept = packets(file).filter(|packet| {
        let is_sound = pid(packet) == SOUND;
        n += usize::from(is_sound);
        !(is_sound && is_lost(n - 1))
    });
    kept.flatten().copied().collect()
}

fn mp2() -> Vec<u8> {
    made("o.ts", "0", "-c:a mp2 -b:a 128k")
}

/// When its tone begins: the encoder puts 481 samples in front.
const TONE: f64 = 1.0 + 481.0 / 48_000.0;
/// The tone's first samples have a tenth of its height a few samples late.
const EXACT: f64 = 0.001;

#[test]
fn late_sound_is_late() {
    // With samples that encoders put in front.
    for (file, args, first) in [
        ("o.ts", "-c:a mp2 -b:a 128k", 481.0),
        ("o.ts", "-c:a aac", 1024.0),
        ("o.ts", "-c:a aac -mpegts_flags latm", 1024.0),
        ("o.ts", "-c:a libopus -b:a 256k", 0.0),
        ("o.ts", "-c:a s302m -strict -2 -ac 2", 0.0),
        ("o.m2ts", "-c:a pcm_bluray", 0.0),
        ("o.vob", "-f vob -c:a mp2 -b:a 128k", 481.0),
        ("o.vob", "-f vob -c:a pcm_dvd", 0.0),
        ("o.mpg", "-c:a mp2 -b:a 128k", 481.0),
    ] {
        for (late, wanted) in [("0", 1.0 + first / 48_000.0), ("0.7", 1.7)] {
            let (made, at) = onset(&made(file, late, args));
            assert_near(at, wanted, EXACT, &format!("{file} {args} {late}"));
            assert_eq!(made.lost_packets, 0, "{file} {args} {late}");
        }
    }
}

#[test]
fn lost_packets_are_silence() {
    let file = mp2();
    let whole = onset(&file).0.samples;
    // 0.7 s in a row, of which the tone knows nothing, and then now and then one.
    let holed = without(&file, |n| (20..80).contains(&n) || n % 97 == 96);
    let (made, at) = onset(&holed);
    assert_near(at, TONE, EXACT, "behind the gap");
    assert!(made.samples.abs_diff(whole) <= 2 * 1152, "{} samples in the place of {whole}", made.samples);
    // Nothing of what is damaged is played.
    assert_eq!(made.lost_packets, 0);
}

#[test]
fn packets_that_come_twice_are_played_once() {
    let file = mp2();
    let twice: Vec<u8> = packets(&file).flat_map(|packet| [packet, packet].concat()).collect();
    assert_eq!(onset(&twice).0.samples, onset(&file).0.samples);
}

#[test]
fn packets_of_all_sizes_are_found_behind_garbage_and_damage() {
    let file = mp2();
    let whole = convert_bytes(&file).unwrap().samples;
    let longer = |before: usize, behind: usize| -> Vec<u8> {
        packets(&file).flat_map(|packet| [&vec![0x11; before][..], packet, &vec![0x22; behind]].concat()).collect()
    };
    for (name, file) in [
        ("204 bytes", longer(0, 16)),
        ("192 bytes", longer(4, 0)),
        ("garbage before", [&vec![0x55; 5000][..], &file].concat()),
        ("a part before", [&file[100..PACKET], &file].concat()),
        ("a part behind", [&file[..], &file[..100]].concat()),
        ("something between packets", [&file[..PACKET * 2], &[0x47; 50], &file[PACKET * 2..]].concat()),
    ] {
        assert_eq!(convert_bytes(&file).unwrap().samples, whole, "{name}");
    }
    // Garbage in the middle costs no more than itself.
    let middle = file.len() / PACKET / 2 * PACKET;
    let (made, at) = onset(&[&file[..middle], &vec![0x47; 3000], &file[middle + 3000..]].concat());
    assert_near(at, TONE, EXACT, "damage");
    assert!(made.samples.abs_diff(whole) < 3 * 1152);
}

#[test]
fn a_recording_without_tables_is_read() {
    for args in ["-c:a mp2 -b:a 128k", "-c:a aac", "-c:a aac -mpegts_flags latm"] {
        let file = made("o.ts", "0", args);
        let bare: Vec<u8> =
            packets(&file).filter(|packet| pid(packet) == 0x100 || pid(packet) == SOUND).flatten().copied().collect();
        assert_eq!(onset(&bare).0.samples, onset(&file).0.samples, "{args}");
    }
}

#[test]
fn the_clock_may_come_round() {
    for (file, args) in [("o.ts", "-c:a mp2 -b:a 128k"), ("o.vob", "-f vob -c:a mp2 -b:a 128k")] {
        for offset in ["95441.5", "95442.29", "95440"] {
            let (made, at) = onset(&made(file, "0.5", &format!("{args} -output_ts_offset {offset}")));
            assert_near(at, 1.5, EXACT, offset);
            assert_near(made.duration(), 3.4, 0.06, offset);
            assert_near(made.source.audio().unwrap().duration.unwrap(), 3.4, 0.06, offset);
        }
    }
}

#[test]
fn joined_recordings_are_played_one_after_the_other() {
    let [first, second] = ["", " -mpegts_start_pid 512 -mpegts_pmt_start_pid 500"].map(|ids| {
        let codec = if ids.is_empty() { "-c:a mp2 -b:a 128k" } else { "-c:a aac" };
        made("o.ts", "0", &format!("{codec}{ids}"))
    });
    let samples = |bytes: &[u8]| convert_bytes(bytes).unwrap().samples;
    assert_eq!(samples(&[&first[..], &first].concat()), 2 * samples(&first));
    assert_eq!(samples(&[&first[..], &second].concat()), samples(&first) + samples(&second));
    // One behind the other on one clock.
    let later = made("o.ts", "0", "-c:a mp2 -b:a 128k -output_ts_offset 40 -mpegts_flags initial_discontinuity");
    assert_eq!(samples(&[&first[..], &later].concat()), 2 * samples(&first));
    let vob = made("o.vob", "0", "-f vob -c:a mp2 -b:a 128k");
    assert_eq!(samples(&[&vob[..], &vob].concat()), 2 * samples(&vob));
    let later = made("o.vob", "0", "-f vob -c:a mp2 -b:a 128k -output_ts_offset 40");
    assert_eq!(samples(&[&vob[..], &later].concat()), 2 * samples(&vob));
}

#[test]
fn scrambled_sound_is_encrypted() {
    let mut file = mp2();
    for packet in file.chunks_exact_mut(PACKET).filter(|packet| pid(packet) == SOUND) {
        packet[3] |= 0x80;
    }
    assert!(matches!(convert_bytes(&file), Err(TranscodeError::Encrypted)));
}

#[test]
fn the_sound_of_the_first_program_for_everybody_is_taken() {
    let input = ["-f", "lavfi", "-i", "sine=duration=2"];
    let streams = "-map 0 -map 0 -map 0 -c:a:0 mp2 -c:a:1 aac -c:a:2 mp2 -disposition:a:0 visual_impaired \
                   -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -program program_num=1:st=0:st=1 \
                   -program program_num=2:st=2";
    let args: Vec<&str> = input.into_iter().chain(streams.split_whitespace()).collect();
    let made = convert_bytes(&std::fs::read(media::make("p.ts", &args)).unwrap()).unwrap();
    let languages: Vec<_> = made.source.tracks.iter().map(|track| track.language.as_deref()).collect();
    assert_eq!((made.source.chosen, languages), (Some(1), vec![Some("eng"), Some("deu"), None]));
    // If that can't be decoded, another program's is. (ffmpeg 5.1 does not say in the map what TrueHD is.)
    let streams = "-map 0 -map 0 -c:a:0 truehd -strict -2 -ar 48000 -ac 2 -c:a:1 mp2 -program program_num=1:st=0 \
                   -program program_num=2:st=1";
    let args: Vec<&str> = input.into_iter().chain(streams.split_whitespace()).collect();
    let made = convert_bytes(&std::fs::read(media::make("p.ts", &args)).unwrap()).unwrap();
    let codecs: Vec<_> = made.source.tracks.iter().map(|track| track.codec.as_str()).collect();
    assert_eq!((made.source.chosen, codecs), (Some(1), vec!["unknown", "mp2"]));
}

#[test]
fn a_video_cd_is_read_from_its_sectors() {
    let file = made("v.mpg", "0", "-f vcd -c:a mp2 -b:a 192k -ac 2 -ar 44100");
    let sync = [&[0][..], &[0xff; 10], &[0, 0, 2, 0, 2, 0, 1, 0x60, 0, 0, 1, 0x60, 0]].concat();
    let sectors = file.chunks(2324).flat_map(|body| {
        let mut sector = [&sync[..], body].concat();
        sector.resize(2352, 0);
        sector
    });
    let sectors: Vec<u8> = sectors.collect();
    let whole = onset(&file).0.samples;
    assert_eq!(onset(&sectors).0.samples, whole);
    let head = [&b"RIFF\0\0\0\0CDXAfmt \x10\0\0\0"[..], &[0; 16], b"data\0\0\0\0"].concat();
    assert_eq!(onset(&[&head[..], &sectors].concat()).0.samples, whole);
}

#[test]
fn damage_in_a_program_stream_costs_no_more_than_itself() {
    let file = made("o.vob", "0", "-f vob -c:a mp2 -b:a 128k");
    let whole = convert_bytes(&file).unwrap().samples;
    let mut holed = file.clone();
    holed[file.len() / 6..file.len() / 6 + 9000].fill(0x33);
    let (made, at) = onset(&holed);
    assert_near(at, TONE, EXACT, "behind the damage");
    assert!(made.samples.abs_diff(whole) < 8 * 1152, "{} {whole}", made.samples);
    // A part of it, which begins anywhere.
    let (_, at) = onset(&file[file.len() / 5..]);
    assert!(at < 1.0, "{at}");
}
