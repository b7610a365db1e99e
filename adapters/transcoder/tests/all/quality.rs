//! What comes out, whatever went in: bitrates, lengths and rates are what was asked for, and MP3 has them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use crate::common;

use std::path::PathBuf;

use common::{convert, finest, snr};
use microserve_core::transcode::{Options, Quality};
use microserve_testkit::{judge, media};

/// 1.7 s of two tones.
fn sound(file: &str, args: &str, rate: u32, channels: u16) -> PathBuf {
    let tones = if channels == 2 { "0.2*sin(2*PI*220*t)|0.2*sin(2*PI*330*t)" } else { "0.2*sin(2*PI*220*t)" };
    let sound = format!("aevalsrc=exprs='{tones}':sample_rate={rate}:duration=1.7");
    let args: Vec<&str> = ["-f", "lavfi", "-i", &sound].into_iter().chain(args.split(' ')).collect();
    media::make(file, &args)
}

fn noise() -> PathBuf {
    media::make("noise.wav", &["-f", "lavfi", "-i", "anoisesrc=duration=3:sample_rate=44100:amplitude=0.3"])
}

#[test]
fn every_constant_bitrate_is_kept() {
    let source = noise();
    for kbps in Quality::BITRATES {
        let mp3 = convert(&source, &Options { quality: Some(Quality::Cbr(kbps)), ..Options::default() }).unwrap();
        let off = (f64::from(mp3.made.bitrate) / 1000.0 / f64::from(kbps) - 1.0).abs();
        assert!(off < 0.01, "{kbps} kbit/s became {} bit/s", mp3.made.bitrate);
        judge::assert_clean(&mp3.path);
    }
}

fn check_lengths(channels: u16) {
    for rate in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
        let source = sound("l.wav", "-c:a pcm_s16le", rate, channels);
        for quality in [Quality::Cbr(32), Quality::Cbr(56), Quality::Cbr(128), Quality::Vbr(0), Quality::Vbr(9)] {
            let mp3 = convert(&source, &Options { quality: Some(quality), ..Options::default() }).unwrap();
            let samples = (1.7 * f64::from(rate)).round() as u64;
            let heard = judge::clean_pcm(&mp3.path).unwrap().len() as u64 / u64::from(mp3.made.channels);
            assert_eq!((mp3.made.samples, heard), (samples, samples), "{rate} Hz, {channels} channels, {quality:?}");
        }
    }
}

#[test]
fn the_length_of_mono_is_exact_at_every_rate_and_bitrate() {
    check_lengths(1);
}

#[test]
fn the_length_of_stereo_is_exact_at_every_rate_and_bitrate() {
    check_lengths(2);
}

#[test]
fn a_higher_level_of_variable_bitrate_is_smaller() {
    let source = noise();
    let mut last = u32::MAX;
    for level in 0..=9 {
        let mp3 = convert(&source, &Options { quality: Some(Quality::Vbr(level)), ..Options::default() }).unwrap();
        assert!(mp3.made.bitrate < last, "level {level}: {} bit/s", mp3.made.bitrate);
        last = mp3.made.bitrate;
        judge::assert_clean(&mp3.path);
    }
}

#[test]
fn rates_that_mp3_has_not_are_converted() {
    for (rate, becomes, frames) in [(96_000, 48_000, 81_600), (88_200, 44_100, 74_970), (192_000, 48_000, 81_600)] {
        // Sixteen bits have no room for these rates in MOV and MP4.
        for file in ["r.wav -c:a pcm_s16le", "r.mov -c:a pcm_s24le", "r.m4a -c:a alac"] {
            let (file, args) = file.split_once(' ').unwrap();
            let source = sound(file, args, rate, 2);
            let mp3 = convert(&source, &finest()).unwrap();
            assert_eq!((mp3.made.sample_rate, mp3.made.samples), (becomes, frames), "{file} {rate} Hz");
            judge::assert_clean(&mp3.path);
            let snr = snr(&source, &mp3);
            assert!(snr > 35.0, "{file} {rate} Hz: {snr:.1} dB");
        }
    }
}
