//! MPEG transport and program streams: broadcasts, cameras, discs. Frames are whole in them, and nothing tells of the
//! encoder.

use crate::cell::refused;
use crate::codecs::{aac, ac3, dts, eac3, mp2, mp3, opus, pcm};

const LATM: &[&str] = &["-b:a", "192k", "-mpegts_flags", "latm"];
const VOB: &[&str] = &["-f", "vob", "-b:a", "256k"];
const PLAIN_VOB: &[&str] = &["-f", "vob"];

cells! {
    aac_in_ts: [
        aac("a.ts", 48_000, 1).in_frames_of(1024, 1024), aac("a.ts", 44_100, 2).in_frames_of(1024, 1024),
        aac("a.ts", 48_000, 6).in_frames_of(1024, 1024), aac("a.m2ts", 48_000, 2).in_frames_of(1024, 1024),
        aac("a.ts", 44_100, 2).with(LATM).in_frames_of(1024, 1024),
        aac("a.ts", 48_000, 6).with(LATM).in_frames_of(1024, 1024),
    ];
    mpeg_audio_in_ts: [
        mp2("a.ts", 48_000, 2).in_frames_of(1152, 0), mp2("a.ts", 44_100, 1).in_frames_of(1152, 0),
        mp2("a.m2ts", 48_000, 2).in_frames_of(1152, 0), mp3("a.ts", 48_000, 1).in_frames_of(1152, 1105),
        mp3("a.m2ts", 44_100, 2).in_frames_of(1152, 1105),
    ];
    dolby_and_dts_in_ts: [
        ac3("a.ts", 48_000, 2).in_frames_of(1536, 256), ac3("a.ts", 48_000, 6).in_frames_of(1536, 256),
        ac3("a.ts", 48_000, 2).with(&["-mpegts_flags", "system_b"]).in_frames_of(1536, 256),
        ac3("a.m2ts", 48_000, 6).in_frames_of(1536, 256),
        eac3("a.ts", 48_000, 6).in_frames_of(1536, 256),
        eac3("a.ts", 48_000, 2).with(&["-mpegts_flags", "system_b"]).in_frames_of(1536, 256),
        eac3("a.m2ts", 48_000, 6).in_frames_of(1536, 256),
        dts("a.ts", 48_000, 2).in_frames_of(512, 0), dts("a.m2ts", 48_000, 6).in_frames_of(512, 0),
        refused("a.m2ts", "truehd", 48_000, 2).with(&["-strict", "-2"]),
    ];
    // ffmpeg 5.1 writes what is to be left out, and doesn't leave it out itself.
    opus_in_ts: [
        opus("a.ts", 1).judged_by_what_it_was_made_of(), opus("a.ts", 2).judged_by_what_it_was_made_of(),
        opus("a.ts", 6).judged_by_what_it_was_made_of(), opus("a.ts", 8).judged_by_what_it_was_made_of(),
    ];
    pcm_in_ts: [
        pcm("a.ts", "s302m", 48_000, 2).with(&["-strict", "-2"]),
        pcm("a.ts", "s302m", 48_000, 4).with(&["-strict", "-2"]),
        pcm("a.ts", "s302m", 48_000, 6).with(&["-strict", "-2", "-sample_fmt", "s32"]),
        pcm("a.ts", "s302m", 48_000, 8).with(&["-strict", "-2"]),
        pcm("a.m2ts", "pcm_bluray", 48_000, 1).with(&["-sample_fmt", "s32"]).longer_by(120),
        pcm("a.m2ts", "pcm_bluray", 48_000, 2).longer_by(120),
        pcm("a.m2ts", "pcm_bluray", 48_000, 6).longer_by(120),
        // Of 24 bits and eight channels, ffmpeg 5.1 writes the lower ones.
        pcm("a.m2ts", "pcm_bluray", 48_000, 8).with(&["-sample_fmt", "s16"]),
    ];
    program_streams: [
        mp2("a.mpg", 44_100, 2).in_frames_of(1152, 0),
        mp2("b.mpg", 44_100, 2).with(&["-f", "vcd", "-b:a", "224k"]).in_frames_of(1152, 0),
        mp2("c.mpg", 44_100, 2).with(&["-f", "svcd", "-b:a", "224k"]).in_frames_of(1152, 0),
        mp2("d.mpg", 48_000, 2).with(&["-f", "dvd", "-b:a", "224k"]).in_frames_of(1152, 0),
        mp3("a.mpg", 44_100, 2).in_frames_of(1152, 1105),
    ];
    discs: [
        mp2("a.vob", 48_000, 2).with(VOB).in_frames_of(1152, 0),
        mp3("a.vob", 48_000, 2).by("libmp3lame", VOB).in_frames_of(1152, 1105),
        ac3("a.vob", 48_000, 2).with(VOB).in_frames_of(1536, 256),
        ac3("a.vob", 48_000, 6).with(VOB).in_frames_of(1536, 256),
        dts("a.vob", 48_000, 2).by("dca", &["-strict", "-2", "-f", "vob"]).in_frames_of(512, 0),
        pcm("a.vob", "pcm_dvd", 48_000, 1).with(&["-f", "vob", "-sample_fmt", "s32"]),
        pcm("a.vob", "pcm_dvd", 48_000, 2).with(PLAIN_VOB),
        pcm("a.vob", "pcm_dvd", 48_000, 2).with(&["-f", "vob", "-sample_fmt", "s32"]),
        pcm("a.vob", "pcm_dvd", 48_000, 6).with(PLAIN_VOB),
    ];
    seldom: [
        dts("a.mpg", 48_000, 2).in_frames_of(512, 0), ac3("a.mpg", 48_000, 2).in_frames_of(1536, 256),
        pcm("a.mpg", "pcm_dvd", 48_000, 2),
    ];
}
