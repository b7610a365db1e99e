//! Matroska, MKA and WebM.

use crate::cell::refused;
use crate::codecs::{aac, ac3, adpcm, alac, dts, eac3, flac, mp2, mp3, narrow, opus, pcm, vorbis, wma};

cells! {
    // Nothing says where the sound begins and ends within whole frames.
    aac: [
        aac("a.mkv", 48_000, 1).in_frames_of(1024, 1024), aac("a.mkv", 44_100, 2).in_frames_of(1024, 1024),
        aac("a.mkv", 48_000, 6).in_frames_of(1024, 1024), aac("a.mka", 48_000, 8).in_frames_of(1024, 1024),
    ];
    mpeg_audio: [
        mp2("a.mkv", 48_000, 2).in_frames_of(1152, 0), mp3("a.mkv", 44_100, 2).longer_by(1105),
        mp3("a.mka", 22_050, 1).longer_by(1105),
    ];
    dolby_and_dts: [
        ac3("a.mkv", 48_000, 2).in_frames_of(1536, 256), ac3("a.mkv", 48_000, 6).in_frames_of(1536, 256),
        eac3("a.mkv", 44_100, 2).in_frames_of(1536, 256), eac3("a.mkv", 48_000, 6).in_frames_of(1536, 256),
        dts("a.mkv", 48_000, 2).in_frames_of(512, 0), dts("a.mkv", 48_000, 6).in_frames_of(512, 0),
        refused("a.mkv", "truehd", 48_000, 2).with(&["-strict", "-2"]),
    ];
    lossless: [
        flac("a.mkv", 44_100, 2), flac("a.mkv", 48_000, 6), flac("a.mkv", 48_000, 8),
        alac("a.mkv", 44_100, 2), alac("a.mkv", 48_000, 6), alac("a.mka", 48_000, 8),
        refused("a.mka", "wavpack4", 44_100, 2).by("wavpack", &[]), refused("a.mka", "tta1", 44_100, 2).by("tta", &[]),
    ];
    opus: [
        opus("a.webm", 1), opus("a.mkv", 2), opus("a.webm", 3), opus("a.webm", 4), opus("a.webm", 5),
        opus("a.webm", 6), opus("a.webm", 7), opus("a.webm", 8),
    ];
    // Nothing says where the sound ends within the last blocks.
    vorbis: [
        vorbis("a.webm", 48_000, 1).longer_by(896), vorbis("a.webm", 44_100, 2).longer_by(486),
        vorbis("a.webm", 48_000, 3).longer_by(896),
        vorbis("a.webm", 48_000, 4).longer_by(896), vorbis("a.webm", 48_000, 5).longer_by(896),
        vorbis("a.mkv", 48_000, 6).longer_by(896),
        vorbis("a.webm", 48_000, 7), vorbis("a.webm", 48_000, 8),
    ];
    pcm: [
        narrow("a.mkv", "pcm_u8"), pcm("a.mkv", "pcm_s16le", 44_100, 2), pcm("a.mkv", "pcm_s16be", 44_100, 2),
        pcm("a.mkv", "pcm_s24le", 48_000, 1), pcm("a.mkv", "pcm_s24be", 48_000, 2),
        pcm("a.mkv", "pcm_s32le", 48_000, 1), pcm("a.mkv", "pcm_s32be", 48_000, 1),
        pcm("a.mkv", "pcm_f32le", 48_000, 2), pcm("a.mkv", "pcm_f64le", 48_000, 2),
        pcm("a.mkv", "pcm_s16le", 48_000, 6), pcm("a.mkv", "pcm_s16le", 48_000, 8),
    ];
    // What Matroska has no name of its own for has that of AVI.
    as_in_avi: [
        narrow("a.mkv", "pcm_alaw"), narrow("a.mkv", "pcm_mulaw"),
        adpcm("a.mkv", "adpcm_ms", 2).in_frames_of(1012, 0),
        adpcm("a.mkv", "adpcm_ima_wav", 1).in_frames_of(2041, 0),
    ];
    seldom: [
        wma("a.mkv", "wmav1", 44_100, 2), wma("a.mkv", "wmav2", 44_100, 2), pcm("a.mkv", "pcm_s64le", 48_000, 2),
        refused("a.mkv", "speex", 16_000, 1).by("libspeex", &[]),
        refused("a.mkv", "mlp", 48_000, 2).with(&["-strict", "-2"]),
    ];
}
