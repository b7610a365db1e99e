//! AMR: files of their own, and 3GP. ffmpeg decodes it and does not encode it, so the sound is made by the encoder that
//! comes with the decoder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::f64::consts::PI;
use std::process::Command;

use codec_core::codecs::amr::AmrCodec;
use codec_core::types::{CodecConfig, FrameKind, VariableRateCodec};
use common::{convert, convert_bytes, finest, snr};
use microserve_core::Retryable;
use microserve_testkit::judge;

/// A file of so many frames: a tone that comes and goes, so that with `pauses` some of it is comfort noise.
fn amr(is_wide: bool, frames: usize, pauses: bool) -> Vec<u8> {
    let (config, rate, magic): (_, _, &[u8]) = match is_wide {
        true => (CodecConfig::amr_wb(), 16_000, b"#!AMR-WB\n"),
        false => (CodecConfig::amr_nb(), 8000, b"#!AMR\n"),
    };
    let mut codec = AmrCodec::new(&config).unwrap();
    codec.set_allow_dtx(pauses);
    let mut bytes = magic.to_vec();
    for frame in 0..frames {
        let silent = pauses && frame / 50 % 2 == 1;
        let sample = |n: usize| {
            let t = (frame * rate / 50 + n) as f64 / rate as f64;
            let loudness = if silent { 3.0 } else { 8000.0 + 3000.0 * (2.0 * PI * 2.0 * t).sin() };
            (loudness * ((2.0 * PI * 300.0 * t).sin() + 0.4 * (2.0 * PI * 710.0 * t).sin())) as i16
        };
        let samples: Vec<i16> = (0..rate / 50).map(sample).collect();
        let coded = codec.encode_frame(&samples).unwrap();
        let kind = match coded.kind {
            FrameKind::Speech => coded.mode,
            FrameKind::ComfortNoise if is_wide => 9,
            FrameKind::ComfortNoise => 8,
            FrameKind::NoData | FrameKind::Lost => 15,
        };
        bytes.push(kind << 3 | 4);
        bytes.extend(&coded.data);
    }
    bytes
}

#[test]
fn files_of_both_bands_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    for (is_wide, rate, codec) in [(false, 8000u32, "amr_nb"), (true, 16_000, "amr_wb")] {
        let file = folder.path().join(codec).with_extension("amr");
        std::fs::write(&file, amr(is_wide, 120, false)).unwrap();
        let mp3 = convert(&file, &finest()).unwrap();
        let audio = mp3.made.source.audio().unwrap();
        assert_eq!((audio.codec.as_str(), audio.sample_rate, audio.channels), (codec, rate, 1));
        assert_eq!(mp3.made.samples, 120 * u64::from(rate) / 50);
        judge::assert_clean(&mp3.path);
        let like = snr(&file, &mp3);
        assert!(like > 25.0, "{codec}: {like:.1} dB");
        // The same in 3GP, where a sample is a frame or several.
        let three = file.with_extension("3gp");
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&file).args(["-c", "copy"]).arg(&three);
        let copied = ffmpeg.status().unwrap();
        assert!(copied.success());
        assert_eq!(convert(&three, &finest()).unwrap().made.samples, mp3.made.samples, "{codec}");
    }
}

#[test]
fn pauses_last_as_long_as_they_did() {
    for is_wide in [false, true] {
        let bytes = amr(is_wide, 200, true);
        let whole = amr(is_wide, 200, false);
        assert!(bytes.len() < whole.len() * 3 / 4, "half of it is comfort noise");
        assert_eq!(convert_bytes(&bytes).unwrap().samples, convert_bytes(&whole).unwrap().samples);
    }
}

#[test]
fn frames_behind_damage_are_found() {
    let bytes = amr(false, 200, false);
    let mut damaged = bytes.clone();
    damaged[2000..2100].fill(0xff);
    let (left, all) = (convert_bytes(&damaged).unwrap().samples, convert_bytes(&bytes).unwrap().samples);
    assert!(left < all && left > all - 160 * 12, "{left} of {all}");
}

#[test]
fn files_that_are_cut_or_scrambled_end_in_sound_or_an_error() {
    let bytes = amr(true, 50, true);
    for cut in (0..bytes.len()).step_by(13) {
        if let Err(err) = convert_bytes(&bytes[..cut]) {
            assert!(!err.is_retryable(), "cut at {cut}: {err:?}");
        }
        let mut scrambled = bytes.clone();
        scrambled[cut] ^= 0x55;
        if let Err(err) = convert_bytes(&scrambled) {
            assert!(!err.is_retryable(), "scrambled at {cut}: {err:?}");
        }
    }
}
