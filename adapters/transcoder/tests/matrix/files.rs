//! Sound without a container, or in one of its own.

use crate::codecs::{aac, ac3, dts, eac3, flac, mp2, mp3};

cells! {
    flac: [
        flac("a.flac", 44_100, 2), flac("a.flac", 48_000, 1).with(&["-sample_fmt", "s32"]), flac("a.flac", 48_000, 6),
        flac("a.flac", 48_000, 8),
    ];
    mpeg_audio: [
        mp3("a.mp3", 44_100, 2), mp3("a.mp3", 48_000, 1).by("libmp3lame", &["-q:a", "2"]),
        // LAME's own tag says two samples more.
        mp3("a.mp3", 22_050, 1).longer_by(2),
        mp2("a.mp2", 48_000, 2).in_frames_of(1152, 0), mp2("a.mp2", 22_050, 1).in_frames_of(1152, 0),
    ];
    adts: [
        aac("a.aac", 8_000, 1).in_frames_of(1024, 1024), aac("a.aac", 44_100, 2).in_frames_of(1024, 1024),
        aac("a.aac", 48_000, 6).in_frames_of(1024, 1024),
    ];
    ac3: [
        ac3("a.ac3", 32_000, 1).in_frames_of(1536, 256), ac3("a.ac3", 48_000, 2).in_frames_of(1536, 256),
        ac3("a.ac3", 48_000, 6).in_frames_of(1536, 256),
        eac3("a.eac3", 48_000, 2).in_frames_of(1536, 256), eac3("a.eac3", 48_000, 6).in_frames_of(1536, 256),
    ];
    dts: [
        dts("a.dts", 48_000, 1).in_frames_of(512, 0), dts("a.dts", 44_100, 2).in_frames_of(512, 0),
        dts("a.dts", 48_000, 6).in_frames_of(512, 0),
    ];
}
