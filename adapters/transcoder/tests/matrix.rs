//! Every container with every codec that is read, made by ffmpeg and judged by ffmpeg and mp3val: the MP3 decodes
//! without a word, is exactly as long as the source's sound, and sounds like it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

mod common;

use std::path::PathBuf;

use common::{bytes, convert, convert_bytes, finest, snr};
use microserve_core::transcode::{Options, Quality};
use microserve_testkit::{judge, media};

/// Seconds of sound in every file: not a whole number of anybody's frames.
const SECONDS: &str = "1.7";

#[derive(Clone, Copy)]
struct Cell {
    file: &'static str,
    /// What encodes the sound.
    args: &'static str,
    rate: u32,
    channels: u16,
    codec: &'static str,
    /// At least so much like the source, in dB.
    snr: f64,
    /// Samples of the encoder that nothing in the file says are none of the sound: no player can know.
    told_by_nobody: u64,
}

const fn cell(file: &'static str, args: &'static str, rate: u32, channels: u16, codec: &'static str, snr: f64) -> Cell {
    Cell { file, args, rate, channels, codec, snr, told_by_nobody: 0 }
}

const fn untold(cell: Cell, told_by_nobody: u64) -> Cell {
    Cell { told_by_nobody, ..cell }
}

/// What is made: music-like sound, with a little picture where the container takes one.
fn source(cell: &Cell) -> PathBuf {
    let sound = format!(
        "aevalsrc=exprs='{}':sample_rate={}:channel_layout={}",
        (0..cell.channels)
            .map(|n| format!(
                "0.2*sin(2*PI*{}*t)*(1+0.5*sin(2*PI*3*t))+0.1*sin(2*PI*{}*t)",
                220 + 110 * n,
                660 + 90 * n
            ))
            .collect::<Vec<_>>()
            .join("|"),
        cell.rate,
        ["mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"][usize::from(cell.channels) - 1],
    );
    let video = match cell.file.rsplit('.').next() {
        Some("mp4" | "mov" | "mkv" | "avi" | "wmv") => "-c:v mpeg4",
        Some("webm") => "-c:v libvpx -deadline realtime",
        Some("flv") => "-c:v flv1",
        Some("ts" | "m2ts" | "mpg" | "vob") => "-c:v mpeg2video",
        _ => "",
    };
    let mut args = vec!["-f", "lavfi", "-i", &sound];
    if !video.is_empty() {
        args.extend(["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25", "-map", "0", "-map", "1"]);
        args.extend(video.split(' '));
    }
    args.extend(["-t", SECONDS, "-metadata", "title=A title"]);
    args.extend(cell.args.split(' '));
    media::make(cell.file, &args)
}

fn samples(cell: &Cell) -> u64 {
    (1.7 * f64::from(cell.rate)).round() as u64
}

fn check(cell: &Cell) {
    let name = format!("{} {} at {} Hz, {} channels", cell.file, cell.args, cell.rate, cell.channels);
    let source = source(cell);
    let mp3 = convert(&source, &finest()).unwrap_or_else(|err| panic!("{name}: {err}"));
    let audio = mp3.made.source.audio().expect("there is one");
    assert_eq!(
        (audio.codec.as_str(), audio.sample_rate, audio.channels),
        (cell.codec, cell.rate, cell.channels),
        "{name}"
    );
    assert_eq!((mp3.made.lost_packets, mp3.made.channels), (0, cell.channels.min(2)), "{name}");
    judge::assert_clean(&mp3.path);
    assert_eq!(judge::samples(&mp3.path), mp3.made.samples, "{name}: the tag tells the length");
    assert_eq!(mp3.made.samples, samples(cell) + cell.told_by_nobody, "{name}: the length");
    let snr = snr(&source, &mp3);
    assert!(snr >= cell.snr, "{name}: {snr:.1} dB");
}

macro_rules! matrix {
    ($($name:ident: [$($cell:expr),+ $(,)?];)+) => {
        $(#[test] fn $name() { $(check(&$cell);)+ })+
    };
}

// AAC in Matroska and ADTS: nothing says where the sound begins and ends within whole frames of 1024 samples.
const fn aac_frames(rate: u64) -> u64 {
    let sound = rate * 17 / 10;
    (sound + 1024).div_ceil(1024) * 1024 - sound
}

/// The same for blocks of 64 samples.
const fn ima4_frames(rate: u64) -> u64 {
    let sound = rate * 17 / 10;
    sound.div_ceil(64) * 64 - sound
}

// AC-3 has whole frames of 1536 samples, and only MP4 tells that the first 256 are none of the sound.
const fn ac3_frames(rate: u64) -> u64 {
    let sound = rate * 17 / 10;
    (sound + 256).div_ceil(1536) * 1536 - sound
}

// So are the first samples of MPEG audio where no tag of LAME's tells them.
const fn mpeg_frames(rate: u64, late: u64, frame: u64) -> u64 {
    let sound = rate * 17 / 10;
    (sound + late).div_ceil(frame) * frame - sound
}

matrix! {
    aac_in_mp4: [
        cell("a.mp4", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0),
        cell("a.mp4", "-c:a aac -b:a 128k", 48_000, 1, "aac", 30.0),
        cell("a.mp4", "-c:a aac -b:a 448k", 48_000, 6, "aac", 25.0),
        cell("a.m4a", "-c:a aac -b:a 64k", 22_050, 1, "aac", 25.0),
        cell("a.mov", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0),
        cell("a.mp4", "-c:a aac -b:a 192k -movflags +faststart", 44_100, 2, "aac", 30.0),
        cell("a.3gp", "-c:a aac -b:a 64k", 16_000, 1, "aac", 25.0),
    ];
    // With the headers first, nobody knew yet what the encoder would add.
    fragmented_mp4: [
        untold(cell("f.mp4", "-c:a aac -b:a 192k -movflags frag_keyframe+empty_moov", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("d.mp4", "-c:a aac -b:a 192k -movflags frag_keyframe+empty_moov+default_base_moof", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
    ];
    others_in_mp4: [
        cell("a.m4a", "-c:a alac", 44_100, 2, "alac", 40.0),
        cell("a.mp4", "-c:a flac -strict experimental", 44_100, 2, "flac", 40.0),
        cell("a.mp4", "-c:a libopus -b:a 128k", 48_000, 2, "opus", 10.0),
        cell("a.mp4", "-c:a libvorbis -q:a 8", 44_100, 2, "vorbis", 25.0),
    ];
    others_by_apple_and_adobe: [
        cell("a.3g2", "-c:a aac -b:a 96k", 44_100, 1, "aac", 25.0),
        untold(cell("a.f4v", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), 1024),
        untold(cell("a.mp4", "-c:a aac -b:a 192k -movflags cmaf", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("a.mov", "-c:a adpcm_ima_qt", 44_100, 2, "adpcm_ima_qt", 30.0), ima4_frames(44_100)),
        untold(cell("a.mov", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 30.0), 930),
        untold(cell("a.mov", "-c:a adpcm_ima_wav", 44_100, 2, "adpcm_ima_wav", 30.0), 288),
        cell("a.mp4", "-c:a libmp3lame -b:a 256k", 44_100, 2, "mp3", 30.0),
    ];
    pcm_in_mov: [
        cell("a.mov", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.mov", "-c:a pcm_s16be", 48_000, 2, "pcm_s16be", 40.0),
        cell("a.mov", "-c:a pcm_s24be", 48_000, 2, "pcm_s24be", 40.0),
        cell("a.mov", "-c:a pcm_s24le", 48_000, 1, "pcm_s24le", 40.0),
        cell("a.mov", "-c:a pcm_s32le", 48_000, 2, "pcm_s32le", 40.0),
        cell("a.mov", "-c:a pcm_f32le", 48_000, 2, "pcm_f32le", 40.0),
        cell("a.mov", "-c:a pcm_f64be", 48_000, 2, "pcm_f64be", 40.0),
        cell("a.mov", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.mov", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        cell("a.mov", "-c:a pcm_u8", 22_050, 1, "pcm_u8", 25.0),
        cell("a.mov", "-c:a pcm_s8", 22_050, 1, "pcm_s8", 25.0),
        cell("a.mov", "-c:a pcm_f32be", 48_000, 2, "pcm_f32be", 40.0),
        cell("a.mov", "-c:a pcm_f64le", 48_000, 2, "pcm_f64le", 40.0),
        cell("a.mov", "-c:a pcm_s32be", 48_000, 2, "pcm_s32be", 40.0),
        cell("a.mov", "-c:a pcm_s16le", 48_000, 6, "pcm_s16le", 20.0),
    ];
    matroska: [
        untold(cell("a.mkv", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        cell("a.mkv", "-c:a libopus -b:a 128k", 48_000, 2, "opus", 10.0),
        cell("a.mkv", "-c:a flac", 44_100, 2, "flac", 40.0),
        cell("a.mkv", "-c:a alac", 44_100, 2, "alac", 40.0),
        cell("a.mkv", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.mkv", "-c:a pcm_s24le", 48_000, 1, "pcm_s24le", 40.0),
        cell("a.mkv", "-c:a pcm_f32le", 48_000, 2, "pcm_f32le", 40.0),
        cell("a.mkv", "-c:a pcm_u8", 8_000, 1, "pcm_u8", 25.0),
        cell("a.mkv", "-c:a pcm_s24be", 48_000, 2, "pcm_s24be", 40.0),
        cell("a.mkv", "-c:a pcm_s32le", 48_000, 1, "pcm_s32le", 40.0),
        cell("a.mkv", "-c:a pcm_f64le", 48_000, 2, "pcm_f64le", 40.0),
        cell("a.mkv", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        untold(cell("a.mkv", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 30.0), 930),
    ];
    webm: [
        cell("a.webm", "-c:a libopus -b:a 96k", 48_000, 1, "opus", 10.0),
        cell("a.webm", "-c:a libopus -b:a 256k", 48_000, 6, "opus", 5.0),
        // Nothing says where the sound ends within the last blocks.
        untold(cell("a.webm", "-c:a libvorbis -q:a 8", 44_100, 2, "vorbis", 25.0), 486),
    ];
    ogg: [
        cell("a.ogg", "-c:a libvorbis -q:a 8", 44_100, 2, "vorbis", 25.0),
        cell("a.ogg", "-c:a libvorbis -q:a 8", 48_000, 1, "vorbis", 25.0),
        cell("a.ogg", "-c:a libvorbis -q:a 8", 48_000, 6, "vorbis", 20.0),
        cell("a.opus", "-c:a libopus -b:a 128k", 48_000, 2, "opus", 10.0),
        cell("a.oga", "-c:a flac", 44_100, 2, "flac", 40.0),
    ];
    wave: [
        cell("a.wav", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.wav", "-c:a pcm_u8", 8_000, 1, "pcm_u8", 25.0),
        cell("a.wav", "-c:a pcm_s24le", 48_000, 2, "pcm_s24le", 40.0),
        cell("a.wav", "-c:a pcm_f32le", 48_000, 2, "pcm_f32le", 40.0),
        cell("a.wav", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.wav", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        cell("a.wav", "-c:a pcm_s16le", 48_000, 8, "pcm_s16le", 20.0),
        cell("a.w64", "-c:a pcm_s24le", 48_000, 2, "pcm_s24le", 40.0),
        untold(cell("a.wav", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 30.0), 930),
        untold(cell("a.wav", "-c:a adpcm_ima_wav", 44_100, 2, "adpcm_ima_wav", 30.0), 288),
        untold(cell("a.wav", "-c:a libmp3lame -b:a 320k", 44_100, 2, "mp3", 30.0), 2214),
    ];
    aiff: [
        cell("a.aiff", "-c:a pcm_s16be", 44_100, 2, "pcm_s16be", 40.0),
        cell("a.aiff", "-c:a pcm_s8", 22_050, 1, "pcm_s8", 25.0),
        cell("a.aiff", "-c:a pcm_s24be", 48_000, 2, "pcm_s24be", 40.0),
        cell("a.aiff", "-c:a pcm_s32be", 48_000, 1, "pcm_s32be", 40.0),
        cell("a.aifc", "-c:a pcm_s16le -f aiff", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.aifc", "-c:a pcm_f32be -f aiff", 48_000, 2, "pcm_f32be", 40.0),
        cell("a.aifc", "-c:a pcm_f64be -f aiff", 48_000, 1, "pcm_f64be", 40.0),
        cell("a.aifc", "-c:a pcm_alaw -f aiff", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.aifc", "-c:a pcm_mulaw -f aiff", 8_000, 1, "pcm_mulaw", 25.0),
        cell("a.aiff", "-c:a pcm_s16be", 48_000, 6, "pcm_s16be", 20.0),
        untold(cell("a.aifc", "-c:a adpcm_ima_qt -f aiff", 44_100, 2, "adpcm_ima_qt", 30.0), ima4_frames(44_100)),
    ];
    au: [
        cell("a.au", "-c:a pcm_s8", 8_000, 1, "pcm_s8", 25.0),
        cell("a.au", "-c:a pcm_s16be", 44_100, 2, "pcm_s16be", 40.0),
        cell("a.au", "-c:a pcm_s24be", 48_000, 2, "pcm_s24be", 40.0),
        cell("a.au", "-c:a pcm_s32be", 48_000, 2, "pcm_s32be", 40.0),
        cell("a.au", "-c:a pcm_f32be", 48_000, 2, "pcm_f32be", 40.0),
        cell("a.au", "-c:a pcm_f64be", 48_000, 1, "pcm_f64be", 40.0),
        cell("a.au", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.snd", "-c:a pcm_mulaw -f au", 8_000, 1, "pcm_mulaw", 25.0),
    ];
    caf: [
        cell("a.caf", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.caf", "-c:a pcm_s8", 8_000, 1, "pcm_s8", 25.0),
        cell("a.caf", "-c:a pcm_s24be", 48_000, 2, "pcm_s24be", 40.0),
        cell("a.caf", "-c:a pcm_s32le", 48_000, 2, "pcm_s32le", 40.0),
        cell("a.caf", "-c:a pcm_f32be", 48_000, 2, "pcm_f32be", 40.0),
        cell("a.caf", "-c:a pcm_f64le", 48_000, 2, "pcm_f64le", 40.0),
        cell("a.caf", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.caf", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        cell("a.caf", "-c:a pcm_s16be", 48_000, 6, "pcm_s16be", 20.0),
        cell("a.caf", "-c:a alac", 44_100, 2, "alac", 40.0),
        // ffmpeg does not say what is to be skipped.
        untold(cell("a.caf", "-c:a libopus -b:a 128k", 48_000, 2, "opus", 10.0), 960),
        untold(cell("a.caf", "-c:a libmp3lame -b:a 192k", 44_100, 2, "mp3", 30.0), 2214),
        untold(cell("a.caf", "-c:a adpcm_ima_qt", 44_100, 2, "adpcm_ima_qt", 30.0), ima4_frames(44_100)),
    ];
    // AVI says nothing of where the sound of an encoder begins and ends within whole frames.
    avi: [
        untold(cell("a.avi", "-c:a libmp3lame -b:a 192k", 44_100, 2, "mp3", 30.0), 2214),
        untold(cell("a.avi", "-c:a libmp3lame -q:a 4", 48_000, 1, "mp3", 20.0), 1344),
        untold(cell("a.avi", "-c:a libmp3lame -b:a 64k", 22_050, 1, "mp3", 20.0), 1683),
        untold(cell("a.avi", "-c:a mp2 -b:a 256k", 48_000, 2, "mp2", 25.0), 192),
        untold(cell("a.avi", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("a.avi", "-c:a aac -b:a 448k", 48_000, 6, "aac", 20.0), aac_frames(48_000)),
        untold(cell("a.avi", "-c:a libvorbis -q:a 8", 44_100, 2, "vorbis", 25.0), 486),
        untold(cell("a.avi", "-c:a ac3 -b:a 448k", 48_000, 6, "ac3", 20.0), 1344),
        cell("a.avi", "-c:a flac -strict -2", 44_100, 2, "flac", 40.0),
        cell("a.avi", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.avi", "-c:a pcm_u8", 8_000, 1, "pcm_u8", 25.0),
        cell("a.avi", "-c:a pcm_s24le", 48_000, 2, "pcm_s24le", 40.0),
        cell("a.avi", "-c:a pcm_f32le", 48_000, 2, "pcm_f32le", 40.0),
        cell("a.avi", "-c:a pcm_s16le", 48_000, 6, "pcm_s16le", 20.0),
        cell("a.avi", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.avi", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        untold(cell("a.avi", "-c:a adpcm_ima_wav", 44_100, 1, "adpcm_ima_wav", 20.0), 547),
        untold(cell("a.avi", "-c:a adpcm_ima_wav", 44_100, 2, "adpcm_ima_wav", 20.0), 288),
        untold(cell("a.avi", "-c:a adpcm_ms", 44_100, 1, "adpcm_ms", 20.0), 362),
        untold(cell("a.avi", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 20.0), 930),
    ];
    flv: [
        untold(cell("a.flv", "-c:a libmp3lame -b:a 192k", 44_100, 2, "mp3", 30.0), 2214),
        untold(cell("a.flv", "-c:a libmp3lame -b:a 64k", 22_050, 1, "mp3", 20.0), 1683),
        untold(cell("a.flv", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("a.flv", "-c:a aac -b:a 128k", 48_000, 1, "aac", 30.0), aac_frames(48_000)),
        cell("a.flv", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        cell("a.flv", "-c:a pcm_alaw", 8_000, 1, "pcm_alaw", 25.0),
        cell("a.flv", "-c:a pcm_mulaw", 8_000, 1, "pcm_mulaw", 25.0),
        untold(cell("a.flv", "-c:a pcm_u8", 11_025, 1, "pcm_u8", 25.0), 0),
        untold(cell("a.flv", "-c:a adpcm_swf", 44_100, 2, "adpcm_swf", 20.0), 2854),
        untold(cell("a.flv", "-c:a adpcm_swf", 22_050, 1, "adpcm_swf", 20.0), 3475),
    ];
    adpcm_in_mov_and_matroska: [
        untold(cell("a.mov", "-c:a adpcm_ima_qt", 44_100, 2, "adpcm_ima_qt", 20.0), 38),
        untold(cell("a.mov", "-c:a adpcm_ima_qt", 22_050, 1, "adpcm_ima_qt", 20.0), 19),
        untold(cell("a.mov", "-c:a adpcm_ima_wav", 44_100, 2, "adpcm_ima_wav", 20.0), 288),
        untold(cell("a.mov", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 20.0), 930),
        untold(cell("a.mkv", "-c:a adpcm_ms", 44_100, 2, "adpcm_ms", 20.0), 930),
        untold(cell("a.mkv", "-c:a adpcm_ima_wav", 44_100, 1, "adpcm_ima_wav", 20.0), 547),
    ];
    flac: [
        cell("a.flac", "-c:a flac", 44_100, 2, "flac", 40.0),
        cell("a.flac", "-c:a flac -sample_fmt s32", 48_000, 1, "flac", 40.0),
        cell("a.flac", "-c:a flac", 48_000, 6, "flac", 20.0),
    ];
    mpeg_audio: [
        cell("a.mp3", "-c:a libmp3lame -b:a 320k", 44_100, 2, "mp3", 30.0),
        cell("a.mp3", "-c:a libmp3lame -q:a 2", 48_000, 1, "mp3", 25.0),
        // LAME's own tag says two samples more.
        untold(cell("a.mp3", "-c:a libmp3lame -b:a 64k", 22_050, 1, "mp3", 20.0), 2),
    ];
    ac3: [
        untold(cell("a.mp4", "-c:a ac3 -b:a 448k", 48_000, 6, "ac3", 25.0), ac3_frames(48_000) - 256),
        untold(cell("a.mov", "-c:a ac3 -b:a 192k", 44_100, 2, "ac3", 30.0), ac3_frames(44_100) - 256),
        untold(cell("a.mkv", "-c:a ac3 -b:a 384k", 48_000, 2, "ac3", 30.0), ac3_frames(48_000)),
        untold(cell("a.ac3", "-c:a ac3 -b:a 96k", 32_000, 1, "ac3", 25.0), ac3_frames(32_000)),
    ];
    eac3: [
        untold(cell("a.mp4", "-c:a eac3 -b:a 448k", 48_000, 6, "eac3", 25.0), ac3_frames(48_000) - 256),
        untold(cell("a.mkv", "-c:a eac3 -b:a 192k", 44_100, 2, "eac3", 30.0), ac3_frames(44_100)),
        untold(cell("a.eac3", "-c:a eac3 -b:a 384k", 48_000, 2, "eac3", 30.0), ac3_frames(48_000)),
    ];
    transport_streams: [
        untold(cell("a.ts", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("a.ts", "-c:a aac -b:a 448k", 48_000, 6, "aac", 25.0), aac_frames(48_000)),
        untold(cell("a.m2ts", "-c:a aac -b:a 192k", 48_000, 2, "aac", 30.0), aac_frames(48_000)),
        untold(cell("a.ts", "-c:a aac -b:a 192k -mpegts_flags latm", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
        untold(cell("a.ts", "-c:a mp2 -b:a 256k", 48_000, 2, "mp2", 25.0), mpeg_frames(48_000, 0, 1152)),
        untold(cell("a.ts", "-c:a mp2 -b:a 160k", 44_100, 1, "mp2", 25.0), mpeg_frames(44_100, 0, 1152)),
        untold(cell("a.m2ts", "-c:a libmp3lame -b:a 320k", 44_100, 2, "mp3", 25.0), mpeg_frames(44_100, 1105, 1152)),
        untold(cell("a.ts", "-c:a ac3 -b:a 448k", 48_000, 6, "ac3", 25.0), ac3_frames(48_000)),
        untold(cell("a.ts", "-c:a eac3 -b:a 192k -mpegts_flags system_b", 48_000, 2, "eac3", 25.0), ac3_frames(48_000)),
        untold(cell("a.m2ts", "-c:a ac3 -b:a 192k", 48_000, 2, "ac3", 25.0), ac3_frames(48_000)),
        cell("a.ts", "-c:a s302m -strict -2", 48_000, 2, "s302m", 40.0),
        cell("a.ts", "-c:a s302m -strict -2 -sample_fmt s32", 48_000, 6, "s302m", 20.0),
        untold(cell("a.m2ts", "-c:a pcm_bluray", 48_000, 2, "pcm_bluray", 40.0), 120),
        untold(cell("a.m2ts", "-c:a pcm_bluray -sample_fmt s32", 48_000, 1, "pcm_bluray", 40.0), 120),
        untold(cell("a.m2ts", "-c:a pcm_bluray", 48_000, 6, "pcm_bluray", 20.0), 120),
        // Of 24 bits and eight channels, ffmpeg 5.1 writes the lower ones.
        cell("a.m2ts", "-c:a pcm_bluray -sample_fmt s16", 48_000, 8, "pcm_bluray", 20.0),
    ];
    program_streams: [
        untold(cell("a.mpg", "-c:a mp2 -b:a 256k", 44_100, 2, "mp2", 25.0), mpeg_frames(44_100, 0, 1152)),
        untold(cell("a.vob", "-f vob -c:a mp2 -b:a 256k", 48_000, 2, "mp2", 25.0), mpeg_frames(48_000, 0, 1152)),
        untold(cell("b.mpg", "-f vcd -c:a mp2 -b:a 224k", 44_100, 2, "mp2", 25.0), mpeg_frames(44_100, 0, 1152)),
        untold(cell("a.vob", "-f vob -c:a libmp3lame -b:a 320k", 48_000, 2, "mp3", 25.0), mpeg_frames(48_000, 1105, 1152)),
        untold(cell("a.vob", "-f vob -c:a ac3 -b:a 448k", 48_000, 6, "ac3", 25.0), ac3_frames(48_000)),
        cell("a.vob", "-f vob -c:a pcm_dvd", 48_000, 2, "pcm_dvd", 40.0),
        cell("a.vob", "-f vob -c:a pcm_dvd -sample_fmt s32", 48_000, 2, "pcm_dvd", 40.0),
        cell("a.vob", "-f vob -c:a pcm_dvd -sample_fmt s32", 48_000, 1, "pcm_dvd", 40.0),
    ];
    asf: [
        cell("a.wmv", "-c:a pcm_s16le", 44_100, 2, "pcm_s16le", 40.0),
        // Whole frames, and what is in front of them and behind them in the encoder.
        untold(cell("a.asf", "-c:a libmp3lame -b:a 320k", 44_100, 2, "mp3", 30.0), 67 * 1152 - 74_970),
        untold(cell("a.asf", "-c:a mp2 -b:a 384k", 44_100, 2, "mp2", 30.0), 66 * 1152 - 74_970),
        untold(cell("a.asf", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
    ];
    // Whole frames of 512 samples.
    dts: [
        untold(cell("a.dts", "-c:a dca -strict -2", 44_100, 2, "dts", 30.0), 147 * 512 - 74_970),
        untold(cell("a.dts", "-c:a dca -strict -2", 48_000, 1, "dts", 30.0), 160 * 512 - 81_600),
        untold(cell("a.dts", "-c:a dca -strict -2 -channel_layout 5.1(side)", 48_000, 6, "dts", 20.0), 160 * 512 - 81_600),
        untold(cell("a.mkv", "-c:a dca -strict -2", 48_000, 2, "dts", 30.0), 160 * 512 - 81_600),
        untold(cell("a.mp4", "-c:a dca -strict -2", 48_000, 2, "dts", 30.0), 160 * 512 - 81_600),
    ];
    adts: [
        untold(cell("a.aac", "-c:a aac -b:a 192k", 44_100, 2, "aac", 30.0), aac_frames(44_100)),
    ];
}

/// ffmpeg 5.1 writes what is to be left out of Opus in a transport stream, and doesn't leave it out itself.
#[test]
fn opus_in_transport_streams_is_trimmed() {
    for (channels, args, least) in [(2, "-c:a libopus -b:a 160k", 10.0), (6, "-c:a libopus -b:a 320k", 5.0)] {
        let mp3 = convert(&source(&cell("o.ts", args, 48_000, channels, "opus", 0.0)), &finest()).unwrap();
        assert_eq!((mp3.made.samples, mp3.made.lost_packets), (81_600, 0), "{channels} channels");
        judge::assert_clean(&mp3.path);
        let snr = snr(&source(&cell("o.flac", "-c:a flac", 48_000, channels, "flac", 0.0)), &mp3);
        assert!(snr > least, "{channels} channels: {snr:.1} dB");
    }
}

#[test]
fn every_constant_bitrate_is_kept() {
    let source =
        media::make("noise.wav", &["-f", "lavfi", "-i", "anoisesrc=duration=3:sample_rate=44100:amplitude=0.3"]);
    for kbps in Quality::BITRATES {
        let mp3 = convert(&source, &Options { quality: Some(Quality::Cbr(kbps)), ..Options::default() }).unwrap();
        let off = (f64::from(mp3.made.bitrate) / 1000.0 / f64::from(kbps) - 1.0).abs();
        assert!(off < 0.01, "{kbps} kbit/s became {} bit/s", mp3.made.bitrate);
        judge::assert_clean(&mp3.path);
    }
}

#[test]
fn the_length_is_exact_at_every_rate_and_bitrate() {
    for rate in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000] {
        for channels in [1, 2] {
            let source = source(&cell("l.wav", "-c:a pcm_s16le", rate, channels, "pcm_s16le", 0.0));
            for quality in [Quality::Cbr(32), Quality::Cbr(56), Quality::Cbr(128), Quality::Vbr(0), Quality::Vbr(9)] {
                let mp3 = convert(&source, &Options { quality: Some(quality), ..Options::default() }).unwrap();
                let samples = (1.7 * f64::from(rate)).round() as u64;
                let told = (mp3.made.samples, judge::samples(&mp3.path));
                assert_eq!(told, (samples, samples), "{rate} Hz, {channels} channels, {quality:?}");
                judge::assert_clean(&mp3.path);
            }
        }
    }
}

#[test]
fn a_higher_level_of_variable_bitrate_is_smaller() {
    let source =
        media::make("noise.wav", &["-f", "lavfi", "-i", "anoisesrc=duration=3:sample_rate=44100:amplitude=0.3"]);
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
            let source = source(&cell(file, args, rate, 2, "", 0.0));
            let mp3 = convert(&source, &finest()).unwrap();
            assert_eq!((mp3.made.sample_rate, mp3.made.samples), (becomes, frames), "{file} {rate} Hz");
            judge::assert_clean(&mp3.path);
            let snr = snr(&source, &mp3);
            assert!(snr > 35.0, "{file} {rate} Hz: {snr:.1} dB");
        }
    }
}

#[test]
fn title_artist_album_and_date_are_kept_and_nothing_else() {
    let tags = ["title=A title", "artist=Anna", "album=All", "date=2024", "comment=secret", "location=+48.1+011.5/"];
    let tags: Vec<&str> = tags.iter().flat_map(|tag| ["-metadata", tag]).collect();
    let sound = ["-f", "lavfi", "-i", "sine=duration=1"];
    for file in ["t.m4a", "t.wma", "t.mkv", "t.ogg", "t.opus", "t.flac", "t.mp3", "t.wav"] {
        let source = media::make(file, &[&sound[..], &tags].concat());
        let mp3 = convert(&source, &finest()).unwrap();
        let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
        let texts: Vec<_> = tag.frames().filter_map(|frame| Some((frame.id(), frame.content().text()?))).collect();
        let maker = concat!("microserve ", env!("CARGO_PKG_VERSION"), ", LAME");
        let mut wanted =
            vec![("TIT2", "A title"), ("TPE1", "Anna"), ("TALB", "All"), ("TSSE", maker), ("TDRC", "2024")];
        let mut texts = texts;
        texts.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(texts, wanted, "{file}");
        assert_eq!(mp3.made.source.title.as_deref(), Some("A title"), "{file}");
        assert_eq!(tag.frames().count(), 5, "{file}: nothing private goes along");
    }
}

#[test]
fn a_cover_is_kept() {
    let picture = media::make("cover.png", &["-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1"]);
    let args = ["-f", "lavfi", "-i", "sine=duration=1", "-i", picture.to_str().unwrap(), "-map", "0", "-map", "1"];
    for (file, more) in [
        ("c.m4a", &["-c:v", "copy", "-disposition:v", "attached_pic"][..]),
        ("c.mp3", &["-c:v", "copy"]),
        ("c.flac", &["-c:v", "copy", "-disposition:v", "attached_pic"]),
    ] {
        let source = media::make(file, &[&args[..], more].concat());
        let mp3 = convert(&source, &finest()).unwrap();
        let tag = id3::Tag::read_from_path(&mp3.path).unwrap();
        let cover = tag.pictures().next().unwrap_or_else(|| panic!("{file}: the cover is gone"));
        assert_eq!(
            (cover.data.as_slice(), cover.mime_type.as_str()),
            (&std::fs::read(&picture).unwrap()[..], "image/png")
        );
    }
}

#[test]
fn chained_ogg_is_converted_to_its_end() {
    let one = media::make(
        "chain1.ogg",
        &["-f", "lavfi", "-i", "sine=frequency=440:duration=1:sample_rate=44100", "-c:a", "libvorbis"],
    );
    let two = media::make(
        "chain2.ogg",
        &["-f", "lavfi", "-i", "sine=frequency=880:duration=1.5:sample_rate=48000", "-c:a", "libvorbis"],
    );
    let folder = tempfile::tempdir().unwrap();
    let both = folder.path().join("both.ogg");
    std::fs::write(&both, [std::fs::read(one).unwrap(), std::fs::read(two).unwrap()].concat()).unwrap();
    let mp3 = convert(&both, &finest()).unwrap();
    assert_eq!(mp3.made.samples, 44_100 + 66_150);
    judge::assert_clean(&mp3.path);
}

#[test]
fn a_trimmed_clip_is_as_long_as_its_edit_list_says() {
    let whole = media::make("whole.mp4", &["-f", "lavfi", "-i", "sine=duration=10:sample_rate=44100", "-c:a", "aac"]);
    let clip = media::make("clip.mp4", &["-ss", "3.3", "-i", whole.to_str().unwrap(), "-t", "2", "-c", "copy"]);
    let mp3 = convert(&clip, &finest()).unwrap();
    let seconds = mp3.made.duration();
    assert!((seconds - 2.0).abs() < 0.03, "{seconds}");
}

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
