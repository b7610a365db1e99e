//! MP4 and its kin: M4A, 3GP, 3G2, F4V.

use crate::cell::refused;
use crate::codecs::{aac, ac3, alac, dts, eac3, flac, mp2, mp3, opus, vorbis};

/// AAC in fragments: with the headers first, nobody knew yet what the encoder would add.
const FRAGMENTS: &[&str] = &["-movflags", "frag_keyframe+empty_moov"];
const FRAGMENTS_BY_THEMSELVES: &[&str] = &["-movflags", "frag_keyframe+empty_moov+default_base_moof"];

cells! {
    aac_of_all_layouts: [
        aac("a.mp4", 48_000, 1), aac("a.mp4", 44_100, 2), aac("a.mp4", 48_000, 3), aac("a.mp4", 48_000, 4),
        aac("a.mp4", 48_000, 5), aac("a.mp4", 48_000, 6), aac("a.mp4", 48_000, 7), aac("a.mp4", 48_000, 8),
    ];
    aac_of_all_rates: [
        aac("a.m4a", 8_000, 1), aac("a.m4a", 11_025, 1), aac("a.m4a", 16_000, 2), aac("a.m4a", 22_050, 2),
        aac("a.m4a", 24_000, 1), aac("a.m4a", 32_000, 2),
    ];
    aac_in_files_of_all_kinds: [
        aac("a.3gp", 16_000, 1), aac("a.3g2", 44_100, 1), aac("a.m4v", 44_100, 2),
        aac("a.f4v", 44_100, 2).longer_by(1024),
        aac("a.mp4", 44_100, 2).with(&["-movflags", "faststart"]),
    ];
    aac_in_fragments: [
        aac("f.mp4", 44_100, 2).with(FRAGMENTS).in_frames_of(1024, 1024),
        aac("d.mp4", 44_100, 2).with(FRAGMENTS_BY_THEMSELVES).in_frames_of(1024, 1024),
        aac("c.mp4", 44_100, 2).with(&["-movflags", "cmaf"]).in_frames_of(1024, 1024),
    ];
    mpeg_audio: [
        // At the end, ffmpeg forgets what the encoder still has.
        mp2("a.mp4", 48_000, 2).longer_by(-289),
        mp2("a.mp4", 44_100, 1).ending_in_frames_of(1152, 481),
        mp3("a.mp4", 44_100, 2), mp3("a.mp4", 48_000, 1), mp3("a.mp4", 22_050, 1).longer_by(578),
    ];
    lossless: [
        alac("a.m4a", 44_100, 2), alac("a.m4a", 48_000, 1), alac("a.m4a", 48_000, 6),
        alac("a.m4a", 48_000, 7), alac("a.mp4", 48_000, 8),
        flac("a.mp4", 44_100, 2), flac("a.mp4", 48_000, 1), flac("a.mp4", 48_000, 6), flac("a.mp4", 48_000, 8),
    ];
    opus_and_vorbis: [
        opus("a.mp4", 1), opus("a.mp4", 2), opus("a.mp4", 6), opus("a.mp4", 8),
        vorbis("a.mp4", 48_000, 1), vorbis("a.mp4", 44_100, 2), vorbis("a.mp4", 48_000, 6),
        vorbis("a.mp4", 48_000, 8),
    ];
    // Whole frames, of which the edit list tells where the first sample is.
    dolby: [
        ac3("a.mp4", 48_000, 1).ending_in_frames_of(1536, 256), ac3("a.mp4", 48_000, 2).ending_in_frames_of(1536, 256),
        ac3("a.mp4", 48_000, 6).ending_in_frames_of(1536, 256),
        eac3("a.mp4", 48_000, 1).ending_in_frames_of(1536, 256),
        eac3("a.mp4", 48_000, 2).ending_in_frames_of(1536, 256),
        eac3("a.mp4", 48_000, 6).ending_in_frames_of(1536, 256),
        refused("a.mp4", "truehd", 48_000, 2).with(&["-strict", "-2"]),
    ];
    dts_of_all_layouts: [
        dts("a.mp4", 48_000, 1).in_frames_of(512, 0), dts("a.mp4", 48_000, 2).in_frames_of(512, 0),
        dts("a.mp4", 48_000, 4).in_frames_of(512, 0), dts("a.mp4", 48_000, 5).in_frames_of(512, 0),
        dts("a.mp4", 48_000, 6).in_frames_of(512, 0),
    ];
    seldom: [ac3("a.m4a", 48_000, 2).ending_in_frames_of(1536, 256), mp3("a.f4v", 44_100, 2).longer_by(1105)];
}
