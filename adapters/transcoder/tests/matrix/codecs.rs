//! Cells by codec: how each is encoded, and how like its source it has to sound.

use crate::cell::{Cell, cell};

/// Mixed down, or in eight bits, sound is less like its source.
const fn like(channels: u16, snr: f64) -> f64 {
    if channels > 2 { snr.min(20.0) } else { snr }
}

pub(crate) const fn aac(file: &'static str, rate: u32, channels: u16) -> Cell {
    // More than it may have: ffmpeg takes what it may.
    cell(file, "aac", rate, channels, like(channels, 25.0)).with(&["-b:a", "448k"])
}

pub(crate) const fn mp2(file: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, "mp2", rate, channels, 25.0).with(&["-b:a", "160k"])
}

pub(crate) const fn mp3(file: &'static str, rate: u32, channels: u16) -> Cell {
    let options: &[&str] = if rate < 32_000 { &["-b:a", "128k"] } else { &["-b:a", "256k"] };
    cell(file, "mp3", rate, channels, 20.0).by("libmp3lame", options)
}

pub(crate) const fn ac3(file: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, "ac3", rate, channels, like(channels, 25.0)).with(&["-b:a", "448k"])
}

pub(crate) const fn eac3(file: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, "eac3", rate, channels, like(channels, 25.0)).with(&["-b:a", "448k"])
}

/// ffmpeg's encoder has loudspeakers at the sides where others have them at the back.
pub(crate) const fn dts(file: &'static str, rate: u32, channels: u16) -> Cell {
    const LAYOUTS: [&[&str]; 3] = [
        &["-strict", "-2", "-channel_layout", "quad(side)"],
        &["-strict", "-2", "-channel_layout", "5.0(side)"],
        &["-strict", "-2", "-channel_layout", "5.1(side)"],
    ];
    let options = if channels < 4 { &["-strict", "-2"] } else { LAYOUTS[channels as usize - 4] };
    cell(file, "dts", rate, channels, like(channels, 30.0)).by("dca", options)
}

/// Of many channels, ffmpeg's encoder has only these layouts, and chooses one of fewer unless it is told.
pub(crate) const fn alac(file: &'static str, rate: u32, channels: u16) -> Cell {
    const LAYOUTS: [&[&str]; 2] = [&["-channel_layout", "6.1(back)"], &["-channel_layout", "7.1(wide)"]];
    let options = if channels < 7 { &[] } else { LAYOUTS[channels as usize - 7] };
    cell(file, "alac", rate, channels, like(channels, 40.0)).with(options)
}

pub(crate) const fn flac(file: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, "flac", rate, channels, like(channels, 40.0)).with(&["-strict", "-2"])
}

pub(crate) const fn opus(file: &'static str, channels: u16) -> Cell {
    let (snr, options): (f64, &[&str]) =
        if channels > 2 { (5.0, &["-b:a", "510k"]) } else { (10.0, &["-b:a", "160k"]) };
    cell(file, "opus", 48_000, channels, snr).by("libopus", options)
}

pub(crate) const fn vorbis(file: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, "vorbis", rate, channels, like(channels, 25.0)).by("libvorbis", &["-q:a", "8"])
}

/// PCM of 16 bits and more.
pub(crate) const fn pcm(file: &'static str, codec: &'static str, rate: u32, channels: u16) -> Cell {
    cell(file, codec, rate, channels, like(channels, 40.0))
}

/// PCM of eight bits.
pub(crate) const fn narrow(file: &'static str, codec: &'static str) -> Cell {
    cell(file, codec, 22_050, 1, 25.0)
}

pub(crate) const fn adpcm(file: &'static str, codec: &'static str, channels: u16) -> Cell {
    cell(file, codec, 44_100, channels, 20.0)
}

/// ffmpeg's decoder leaves out a frame too many of what its encoder made.
pub(crate) const fn wma(file: &'static str, codec: &'static str, rate: u32, channels: u16) -> Cell {
    let frame = if rate > 32_000 { 2048 } else { 1024 };
    let cell = cell(file, codec, rate, channels, 15.0).with(&["-b:a", "160k"]);
    cell.in_frames_of(frame, 0).judged_by_what_it_was_made_of()
}
