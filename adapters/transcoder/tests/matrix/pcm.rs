//! The containers of PCM: WAVE and its larger kinds, AIFF, AU, CAF.

use crate::cell::refused;
use crate::codecs::{ac3, adpcm, alac, dts, eac3, flac, mp2, mp3, narrow, opus, pcm, wma};

const AIFC: &[&str] = &["-f", "aiff"];

cells! {
    wave: [
        narrow("a.wav", "pcm_u8"), pcm("a.wav", "pcm_s16le", 44_100, 2), pcm("a.wav", "pcm_s24le", 48_000, 2),
        pcm("a.wav", "pcm_s32le", 48_000, 1), pcm("a.wav", "pcm_f32le", 48_000, 2),
        pcm("a.wav", "pcm_f64le", 48_000, 2), narrow("a.wav", "pcm_alaw"), narrow("a.wav", "pcm_mulaw"),
        pcm("a.wav", "pcm_s16le", 48_000, 1), pcm("a.wav", "pcm_s24le", 48_000, 6),
        pcm("a.wav", "pcm_s16le", 48_000, 8),
    ];
    // Wave64 is padded to eight bytes.
    larger_wave: [
        pcm("r.wav", "pcm_s16le", 44_100, 2).with(&["-rf64", "always"]),
        pcm("a.w64", "pcm_s16le", 44_100, 2), pcm("a.w64", "pcm_s24le", 48_000, 2),
        pcm("a.w64", "pcm_f32le", 48_000, 1),
        narrow("a.w64", "pcm_mulaw").longer_by(3),
    ];
    compressed_wave: [
        adpcm("a.wav", "adpcm_ms", 1).in_frames_of(2036, 0), adpcm("a.wav", "adpcm_ms", 2).in_frames_of(1012, 0),
        adpcm("a.wav", "adpcm_ima_wav", 1).in_frames_of(2041, 0),
        adpcm("a.wav", "adpcm_ima_wav", 2).in_frames_of(1017, 0),
        mp3("a.wav", 44_100, 2).in_frames_of(1152, 1105), mp2("a.wav", 48_000, 2).in_frames_of(1152, 0),
        refused("a.wav", "aac", 44_100, 2),
    ];
    aiff: [
        narrow("a.aiff", "pcm_s8"), pcm("a.aiff", "pcm_s16be", 44_100, 2), pcm("a.aiff", "pcm_s24be", 48_000, 2),
        pcm("a.aiff", "pcm_s32be", 48_000, 1), pcm("a.aiff", "pcm_s16be", 48_000, 6),
        pcm("a.aifc", "pcm_s16le", 44_100, 2).with(AIFC), pcm("a.aifc", "pcm_f32be", 48_000, 2).with(AIFC),
        pcm("a.aifc", "pcm_f64be", 48_000, 1).with(AIFC), narrow("a.aifc", "pcm_alaw").with(AIFC),
        narrow("a.aifc", "pcm_mulaw").with(AIFC), adpcm("a.aifc", "adpcm_ima_qt", 2).with(AIFC).in_frames_of(64, 0),
    ];
    au: [
        narrow("a.au", "pcm_s8"), pcm("a.au", "pcm_s16be", 44_100, 2), pcm("a.au", "pcm_s24be", 48_000, 2),
        pcm("a.au", "pcm_s32be", 48_000, 2), pcm("a.au", "pcm_f32be", 48_000, 2), pcm("a.au", "pcm_f64be", 48_000, 1),
        narrow("a.au", "pcm_alaw"), narrow("a.snd", "pcm_mulaw").with(&["-f", "au"]),
    ];
    caf: [
        narrow("a.caf", "pcm_s8"), pcm("a.caf", "pcm_s16le", 44_100, 2), pcm("a.caf", "pcm_s16be", 48_000, 6),
        pcm("a.caf", "pcm_s24be", 48_000, 2), pcm("a.caf", "pcm_s24le", 48_000, 2),
        pcm("a.caf", "pcm_s32le", 48_000, 2), pcm("a.caf", "pcm_f32be", 48_000, 2),
        pcm("a.caf", "pcm_f64le", 48_000, 2), narrow("a.caf", "pcm_alaw"), narrow("a.caf", "pcm_mulaw"),
    ];
    // ffmpeg does not say what of Opus is to be skipped, and doesn't read all FLAC that it writes.
    compressed_caf: [
        alac("a.caf", 44_100, 2), alac("a.caf", 48_000, 6), alac("a.caf", 48_000, 8),
        flac("a.caf", 44_100, 2).judged_by_what_it_was_made_of(),
        flac("a.caf", 48_000, 6).judged_by_what_it_was_made_of(), opus("a.caf", 2).longer_by(960),
        mp3("a.caf", 44_100, 2).in_frames_of(1152, 1105),
        adpcm("a.caf", "adpcm_ima_qt", 1).in_frames_of(64, 0), adpcm("a.caf", "adpcm_ima_qt", 2).in_frames_of(64, 0),
    ];
    seldom: [
        ac3("a.wav", 48_000, 2).in_frames_of(1536, 256),
        dts("a.wav", 48_000, 2).in_frames_of(512, 0), dts("a.w64", 48_000, 6).in_frames_of(512, 0),
        eac3("a.wav", 48_000, 2).in_frames_of(1536, 256), eac3("a.w64", 48_000, 6).in_frames_of(1536, 256),
        flac("a.wav", 44_100, 2), flac("a.wav", 48_000, 6), flac("a.w64", 48_000, 1),
        refused("a.wav", "vorbis", 44_100, 2).by("libvorbis", &[]),
        wma("a.wav", "wmav1", 44_100, 2), wma("a.wav", "wmav2", 44_100, 2), pcm("a.wav", "pcm_s64le", 48_000, 2),
        refused("a.wav", "speex", 16_000, 1).by("libspeex", &[]),
        mp3("a.w64", 44_100, 2).in_frames_of(1152, 1105), adpcm("a.w64", "adpcm_ms", 2).in_frames_of(1012, 0),
        ac3("a.caf", 48_000, 2).in_frames_of(1536, 256), ac3("a.caf", 48_000, 6).in_frames_of(1536, 256), mp2("a.caf", 48_000, 2).in_frames_of(1152, 0),
        narrow("a.aiff", "pcm_u8"),
    ];
}
