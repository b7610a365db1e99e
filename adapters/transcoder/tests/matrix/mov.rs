//! QuickTime's MOV: what cameras and editors write, up to any PCM.

use crate::cell::refused;
use crate::codecs::{aac, ac3, adpcm, alac, dts, eac3, mp2, mp3, narrow, pcm};

cells! {
    compressed: [
        aac("a.mov", 44_100, 2), aac("a.mov", 48_000, 6), alac("a.mov", 44_100, 2), alac("a.mov", 48_000, 6),
        alac("a.mov", 48_000, 8),
        mp2("a.mov", 48_000, 2).longer_by(-289), mp3("a.mov", 44_100, 2),
        ac3("a.mov", 44_100, 2).ending_in_frames_of(1536, 256), ac3("a.mov", 48_000, 6).ending_in_frames_of(1536, 256),
        eac3("a.mov", 48_000, 2).ending_in_frames_of(1536, 256),
    ];
    pcm_of_all_widths: [
        narrow("a.mov", "pcm_u8"), narrow("a.mov", "pcm_s8"),
        pcm("a.mov", "pcm_s16le", 44_100, 2), pcm("a.mov", "pcm_s16be", 48_000, 2),
        pcm("a.mov", "pcm_s24le", 48_000, 1), pcm("a.mov", "pcm_s24be", 48_000, 2),
        pcm("a.mov", "pcm_s32le", 48_000, 2), pcm("a.mov", "pcm_s32be", 48_000, 2),
        pcm("a.mov", "pcm_f32le", 48_000, 2), pcm("a.mov", "pcm_f32be", 48_000, 2),
        pcm("a.mov", "pcm_f64le", 48_000, 2), pcm("a.mov", "pcm_f64be", 48_000, 2),
        narrow("a.mov", "pcm_alaw"), narrow("a.mov", "pcm_mulaw"),
    ];
    pcm_of_all_layouts: [
        pcm("a.mov", "pcm_s16le", 48_000, 1), pcm("a.mov", "pcm_s16le", 48_000, 4),
        pcm("a.mov", "pcm_s24be", 48_000, 6), pcm("a.mov", "pcm_s16le", 48_000, 8),
    ];
    // Whole blocks.
    adpcm: [
        adpcm("a.mov", "adpcm_ima_qt", 1).in_frames_of(64, 0), adpcm("a.mov", "adpcm_ima_qt", 2).in_frames_of(64, 0),
        adpcm("a.mov", "adpcm_ima_wav", 1).in_frames_of(2041, 0),
        adpcm("a.mov", "adpcm_ima_wav", 2).in_frames_of(1017, 0),
        adpcm("a.mov", "adpcm_ms", 1).in_frames_of(2036, 0), adpcm("a.mov", "adpcm_ms", 2).in_frames_of(1012, 0),
    ];
    seldom: [
        dts("a.mov", 48_000, 2).in_frames_of(512, 0),
        refused("a.mov", "speex", 16_000, 1).by("libspeex", &[]), refused("a.mov", "nellymoser", 22_050, 1),
    ];
}
