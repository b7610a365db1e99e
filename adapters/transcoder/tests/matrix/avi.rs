//! AVI, which says nothing of where the sound of an encoder begins and ends within whole frames.

use crate::cell::refused;
use crate::codecs::{aac, ac3, adpcm, dts, eac3, flac, mp2, mp3, narrow, pcm, vorbis, wma};

cells! {
    mpeg_audio: [
        mp3("a.avi", 44_100, 2).in_frames_of(1152, 1105),
        mp3("a.avi", 48_000, 1).by("libmp3lame", &["-q:a", "4"]).in_frames_of(1152, 1105),
        mp3("a.avi", 22_050, 1).in_frames_of(576, 1681),
        mp2("a.avi", 48_000, 2).in_frames_of(1152, 0), mp2("a.avi", 44_100, 1).in_frames_of(1152, 0),
    ];
    compressed: [
        aac("a.avi", 44_100, 2).in_frames_of(1024, 1024), aac("a.avi", 48_000, 6).in_frames_of(1024, 1024),
        ac3("a.avi", 48_000, 2).in_frames_of(1536, 256), ac3("a.avi", 48_000, 6).in_frames_of(1536, 256),
        dts("a.avi", 48_000, 2).in_frames_of(512, 0), dts("a.avi", 48_000, 6).in_frames_of(512, 0),
        vorbis("a.avi", 44_100, 2).longer_by(486), flac("a.avi", 44_100, 2),
    ];
    pcm: [
        narrow("a.avi", "pcm_u8"), pcm("a.avi", "pcm_s16le", 44_100, 2), pcm("a.avi", "pcm_s24le", 48_000, 2),
        pcm("a.avi", "pcm_s32le", 48_000, 2), pcm("a.avi", "pcm_f32le", 48_000, 2),
        pcm("a.avi", "pcm_f64le", 48_000, 2), pcm("a.avi", "pcm_s16le", 48_000, 6),
        narrow("a.avi", "pcm_alaw"), narrow("a.avi", "pcm_mulaw"),
    ];
    adpcm: [
        adpcm("a.avi", "adpcm_ima_wav", 1).in_frames_of(2041, 0),
        adpcm("a.avi", "adpcm_ima_wav", 2).in_frames_of(1017, 0),
        adpcm("a.avi", "adpcm_ms", 1).in_frames_of(2036, 0), adpcm("a.avi", "adpcm_ms", 2).in_frames_of(1012, 0),
    ];
    not_decoded: [refused("a.avi", "speex", 16_000, 1).by("libspeex", &[])];
    seldom: [
        eac3("a.avi", 48_000, 2).in_frames_of(1536, 256), wma("a.avi", "wmav1", 44_100, 2),
        wma("a.avi", "wmav2", 44_100, 2), pcm("a.avi", "pcm_s64le", 48_000, 2),
    ];
}
