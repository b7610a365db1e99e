//! FLV and ASF.

use crate::cell::refused;
use crate::codecs::{aac, ac3, adpcm, dts, eac3, flac, mp2, mp3, narrow, pcm, vorbis, wma};

cells! {
    flv: [
        mp3("a.flv", 44_100, 2).in_frames_of(1152, 1105), mp3("a.flv", 22_050, 1).in_frames_of(576, 1681),
        aac("a.flv", 44_100, 2).in_frames_of(1024, 1024), aac("a.flv", 48_000, 1).in_frames_of(1024, 1024),
        aac("a.flv", 48_000, 6).in_frames_of(1024, 1024),
        pcm("a.flv", "pcm_s16le", 44_100, 2), narrow("a.flv", "pcm_u8"),
        narrow("a.flv", "pcm_alaw").at(8_000), narrow("a.flv", "pcm_mulaw").at(8_000),
        adpcm("a.flv", "adpcm_swf", 1).in_frames_of(4096, 0), adpcm("a.flv", "adpcm_swf", 2).in_frames_of(4096, 0),
        refused("a.flv", "speex", 16_000, 1).by("libspeex", &[]),
        refused("a.flv", "nellymoser", 22_050, 1),
    ];
    // Whole frames, and what is in front of them and behind them in the encoder.
    asf: [
        mp3("a.asf", 44_100, 2).in_frames_of(1152, 1105), mp2("a.asf", 44_100, 2).in_frames_of(1152, 0),
        aac("a.asf", 44_100, 2).in_frames_of(1024, 1024), ac3("a.wmv", 48_000, 2).in_frames_of(1536, 256),
        pcm("a.wmv", "pcm_s16le", 44_100, 2), narrow("a.wmv", "pcm_u8"), pcm("a.wmv", "pcm_s24le", 48_000, 2),
        narrow("a.wmv", "pcm_alaw"), narrow("a.wmv", "pcm_mulaw"),
        adpcm("a.wmv", "adpcm_ms", 2).in_frames_of(1012, 0), adpcm("a.wmv", "adpcm_ima_wav", 2).in_frames_of(1017, 0),
    ];
    windows_media_audio: [
        wma("a.wma", "wmav1", 44_100, 2), wma("a.wma", "wmav1", 22_050, 1), wma("a.wmv", "wmav2", 44_100, 2),
        wma("a.wmv", "wmav2", 48_000, 1),
    ];
    seldom_in_asf: [
        eac3("a.wmv", 48_000, 2).in_frames_of(1536, 256), dts("a.wmv", 48_000, 2).in_frames_of(512, 0),
        flac("a.wmv", 44_100, 2), pcm("a.wmv", "pcm_s32le", 48_000, 2),
        pcm("a.wmv", "pcm_f32le", 48_000, 2), pcm("a.wmv", "pcm_f64le", 48_000, 2),
        // Nothing says where the sound ends within the last blocks.
        vorbis("a.wmv", 44_100, 2).longer_by(486), vorbis("a.asf", 48_000, 6).longer_by(896),
        refused("a.wmv", "speex", 16_000, 1).by("libspeex", &[]),
    ];
}
