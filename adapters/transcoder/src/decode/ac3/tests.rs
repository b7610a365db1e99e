//! Streams that ffmpeg made, and real ones, decoded beside ffmpeg and compared channel by channel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

use microserve_testkit::{judge, media};

use super::layout::Stretch;
use super::{Ac3, decode};
use crate::audio::{Pcm, Speaker};
use crate::decode::{Damaged, Decoder};
use crate::sniff::ac3;

/// The whole access units of a stream.
fn units(stream: &[u8]) -> Vec<&[u8]> {
    let (mut units, mut at, mut start) = (Vec::new(), 0, 0);
    while let Some(frame) = ac3::frame(&stream[at..]).filter(|frame| at + frame.size <= stream.len()) {
        if frame.begins_unit() && at > start {
            units.push(&stream[start..at]);
            start = at;
        }
        at += frame.size;
    }
    units.push(&stream[start..at]);
    units
}

/// Decodes units; those that are damaged become silence.
fn decoded(units: &[&[u8]], seed: u32) -> Pcm {
    let (mut decoder, mut all, mut pcm) = (Ac3 { seed, ..Ac3::default() }, Pcm::default(), Pcm::default());
    for unit in units {
        if decoder.decode(unit, &mut pcm).is_err() {
            pcm.silence(1536);
        }
        if all.frames() == 0 {
            all.reset(pcm.rate, &pcm.speakers);
        }
        assert_eq!((all.rate, &all.speakers), (pcm.rate, &pcm.speakers));
        all.planes.iter_mut().zip(&pcm.planes).for_each(|(all, more)| all.extend(more));
    }
    all
}

/// What ffmpeg decodes, in the order of our planes.
fn theirs(path: &Path, speakers: &[Speaker]) -> Vec<Vec<f32>> {
    use Speaker::*;
    #[rustfmt::skip]
    const ORDER: [Speaker; 11] = [
        FrontLeft, FrontRight, FrontCentre, Lfe, BackLeft, BackRight, FrontLeftOfCentre, FrontRightOfCentre,
        BackCentre, SideLeft, SideRight,
    ];
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(path).args(["-f", "f32le", "-"]);
    let bytes = ffmpeg.output().unwrap().stdout;
    let samples: Vec<f32> = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    let rank = |speaker| ORDER.iter().position(|other| *other == speaker).unwrap();
    let place = |speaker| speakers.iter().filter(|other| rank(**other) < rank(speaker)).count();
    let of = |speaker: &Speaker| samples.iter().skip(place(*speaker)).step_by(speakers.len()).copied().collect();
    speakers.iter().map(of).collect()
}

/// By how many dB each channel differs from ffmpeg's, and by how many from itself with other noise.
pub(super) fn compare(path: &Path) -> Vec<(Speaker, f64, f64)> {
    let stream = std::fs::read(path).unwrap();
    let units = units(&stream);
    let (ours, other) = (decoded(&units, 0), decoded(&units, 0x5eed));
    let theirs = theirs(path, &ours.speakers);
    let channels = ours.planes.iter().zip(&other.planes).zip(&theirs).zip(&ours.speakers);
    let compared = channels.map(|(((ours, other), theirs), speaker)| {
        // ffmpeg makes something of a frame that is cut off.
        let whole = theirs.len() - theirs.len().saturating_sub(ours.len()).min(1536);
        assert_eq!(ours.len(), whole, "{}", path.display());
        let loudest = theirs.iter().copied().fold(0.0, f32::max);
        if loudest < 1e-5 {
            assert!(ours.iter().all(|sample| sample.abs() < 1e-4), "{}: silence", path.display());
            return (*speaker, f64::INFINITY, f64::INFINITY);
        }
        (*speaker, judge::snr(theirs, ours), judge::snr(ours, other))
    });
    compared.collect()
}

/// Sound that differs in each channel: tones that come and go.
fn stream(file: &str, layout: &str, rate: u32, args: &str) -> PathBuf {
    let channels = LAYOUTS.iter().find(|(name, _)| *name == layout).unwrap().1;
    let tone = |n| format!("0.2*sin(2*PI*{}*t)*(1+0.5*sin(2*PI*3*t))+0.1*sin(2*PI*{}*t)", 90 + 70 * n, 2000 + 700 * n);
    let tones = (0..channels).map(tone).collect::<Vec<_>>().join("|");
    let sound = format!("aevalsrc=exprs='{tones}':channel_layout={layout}:duration=1.3:sample_rate={rate}");
    let args: Vec<&str> = ["-f", "lavfi", "-i", &sound].into_iter().chain(args.split(' ')).collect();
    media::make(file, &args)
}

const LAYOUTS: [(&str, usize); 13] = [
    ("mono", 1),
    ("stereo", 2),
    ("3.0", 3),
    ("3.0(back)", 3),
    ("4.0", 4),
    ("quad(side)", 4),
    ("5.0(side)", 5),
    ("2.1", 3),
    ("3.1", 4),
    ("4.1", 5),
    ("5.1(side)", 6),
    ("5.1", 6),
    ("quad", 4),
];

#[test]
fn every_layout_sounds_as_in_ffmpeg() {
    for (layout, channels) in LAYOUTS {
        for (file, args) in [("l.ac3", "-c:a ac3 -b:a 640k"), ("l.eac3", "-c:a eac3 -b:a 1536k")] {
            let compared = compare(&stream(file, layout, 48_000, args));
            assert_eq!(compared.len(), channels, "{layout}");
            for (speaker, snr, _) in compared {
                assert!(snr > 75.0, "{file}, {layout}, {speaker:?}: {snr:.1} dB");
            }
        }
    }
}

#[test]
fn every_rate_and_bitrate_sounds_as_in_ffmpeg_but_for_the_noise() {
    for rate in [48_000, 44_100, 32_000] {
        for (layout, kbps) in [("mono", 32), ("stereo", 96), ("stereo", 192), ("5.1(side)", 256), ("5.1(side)", 448)] {
            for codec in ["ac3", "eac3"] {
                let made = stream(&format!("r.{codec}"), layout, rate, &format!("-c:a {codec} -b:a {kbps}k"));
                for (speaker, snr, noise) in compare(&made) {
                    let name = format!("{codec}, {layout}, {rate} Hz, {kbps} kbit/s, {speaker:?}");
                    assert!(snr > 60.0 || snr > noise - 4.0, "{name}: {snr:.1} dB where noise makes {noise:.1}");
                }
            }
        }
    }
}

#[test]
fn real_streams_sound_as_in_ffmpeg_but_for_the_noise() {
    let of_us = |path: &Path| matches!(path.extension().and_then(|end| end.to_str()), Some("ac3" | "ec3" | "eac3"));
    for sample in media::samples().into_iter().filter(|sample| of_us(&sample.path)) {
        for (speaker, snr, noise) in compare(&sample.path) {
            let name = sample.path.display();
            println!("{name}, {speaker:?}: {snr:.1} dB where noise makes {noise:.1}");
            assert!(snr > 60.0 || snr > noise - 4.0, "{name}, {speaker:?}: {snr:.1} dB where noise makes {noise:.1}");
        }
    }
}

#[test]
fn a_damaged_frame_is_noticed_and_the_next_one_is_not() {
    for codec in ["ac3", "eac3"] {
        let made = std::fs::read(stream(&format!("d.{codec}"), "stereo", 48_000, &format!("-c:a {codec}"))).unwrap();
        let (mut decoder, mut pcm) = (Ac3::default(), Pcm::default());
        for unit in units(&made) {
            assert!(decoder.decode(unit, &mut pcm).is_ok());
            assert_eq!(pcm.frames(), 1536);
            for at in [6, 20, unit.len() / 2, unit.len() - 1] {
                let mut damaged = unit.to_vec();
                damaged[at] ^= 0x10;
                assert!(matches!(decoder.decode(&damaged, &mut pcm), Err(Damaged)), "{codec}: byte {at}");
            }
            assert!(matches!(decoder.decode(&unit[..unit.len() - 1], &mut pcm), Err(Damaged)), "{codec}: cut");
        }
    }
}

/// What a checksum would keep away from the decoder: bytes of which some are anything.
#[test]
fn scrambled_frames_make_no_panic() {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % n
    };
    let (mut decoded, mut refused) = (0, 0);
    for (file, layout, args) in [
        ("m.ac3", "5.1(side)", "-c:a ac3 -b:a 256k"),
        ("m.ac3", "stereo", "-c:a ac3 -b:a 96k"),
        ("m.eac3", "5.1(side)", "-c:a eac3 -b:a 192k"),
        ("m.eac3", "stereo", "-c:a eac3 -b:a 96k"),
        ("m.eac3", "mono", "-c:a eac3 -b:a 64k"),
    ] {
        let made = std::fs::read(stream(file, layout, 48_000, args)).unwrap();
        let (mut substream, mut sound) = (None, Stretch::default());
        for unit in units(&made).into_iter().cycle().take(1500) {
            let mut unit = unit.to_vec();
            // Half of the damage hits the first fields.
            let span = if below(2) == 0 { 40 } else { unit.len() };
            for _ in 0..=below(6) {
                match below(3) {
                    0 => unit[5 + below(span - 5)] ^= 1 << below(8),
                    1 => unit[6 + below(span - 6)] = below(256) as u8,
                    _ => {
                        let at = 6 + below(span - 6);
                        unit[at..].iter_mut().for_each(|byte| *byte = below(256) as u8);
                    }
                }
            }
            let Some(head) = ac3::frame(&unit).filter(|head| head.size <= unit.len()) else { continue };
            match decode(&mut substream, &head, &unit[..head.size], 0, &mut sound) {
                Ok(()) => {
                    decoded += 1;
                    assert!(sound.planes.iter().flatten().all(|sample| sample.is_finite()));
                }
                Err(Damaged) => refused += 1,
            }
        }
    }
    assert!(decoded > 500 && refused > 500, "{decoded} decoded, {refused} refused");
}
