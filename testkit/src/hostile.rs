//! Files that were made to do harm, and what may come of each.
//!
//! [`cases`] are bombs and lies, each with a name, for every container and codec that is read; [`mutate`] damages good
//! files by their own structure. Both give the same bytes every time.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::bytes::sine;

mod asf;
mod cut;
mod flv;
mod foreign;
mod frames;
mod matroska;
mod mp4;
mod mpeg;
pub mod mutate;
mod ogg;
mod riff;
pub mod structure;
mod tags;
mod uncompressed;

/// A file, and what may come of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is wrong with it: `mp4/stsz/sizes that are all the largest`.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// What may come of it.
    pub may: May,
}

impl Case {
    fn new(name: impl Into<String>, bytes: Vec<u8>, may: May) -> Self {
        Self { name: name.into(), bytes, may }
    }
}

/// What may come of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct May {
    mp3: bool,
    codes: &'static [&'static str],
}

impl May {
    /// Whether this may come of it: the code of an error, or `None` for an MP3.
    pub fn be(&self, code: Option<&str>) -> bool {
        code.map_or(self.mp3, |code| self.codes.contains(&code))
    }
}

/// An MP3 that is as clean as any other.
const MP3: May = May { mp3: true, codes: &[] };
/// Too little is right with it.
const CORRUPT: May = May { mp3: false, codes: &["corrupt"] };
/// Nothing that is read.
const NOT_MEDIA: May = May { mp3: false, codes: &["unsupported_container"] };
/// What is left makes an MP3, or it is too little.
const RESCUED: May = May { mp3: true, codes: &["corrupt"] };
/// The damage may hit what says that there is a track of sound, or which codec it has, as well as the sound.
const DAMAGED: May =
    May { mp3: true, codes: &["corrupt", "no_audio_track", "unsupported_codec", "unsupported_container", "too_long"] };

/// An error with this code alone.
const fn refused(codes: &'static [&'static str]) -> May {
    May { mp3: false, codes }
}

/// An MP3, or an error with one of these codes.
const fn ok_or(codes: &'static [&'static str]) -> May {
    May { mp3: true, codes }
}

/// What may come of a file whose damage is anybody's guess: whatever says that the file is at fault.
pub const ANYTHING_FINAL: May = May {
    mp3: true,
    codes: &["corrupt", "no_audio_track", "unsupported_codec", "unsupported_container", "encrypted", "too_long"],
};

/// All of them, made when their turn comes; no two are the same file.
pub fn cases() -> impl Iterator<Item = Case> {
    let groups: [fn() -> Vec<Case>; 14] = [
        foreign::not_media,
        foreign::two_at_once,
        mp4::cases,
        matroska::cases,
        ogg::cases,
        riff::cases,
        uncompressed::cases,
        asf::cases,
        flv::cases,
        mpeg::cases,
        frames::cases,
        tags::cases,
        cut::short,
        cut::sizes,
    ];
    // What is written over something may be what was there.
    let mut seen = HashSet::new();
    groups.into_iter().flat_map(|make| make()).filter(move |case| seen.insert(hash(&case.bytes)))
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// A small good file of every kind: half a second of a tone.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    SAMPLES.iter().map(|(file, args)| (*file, sine(file, args))).chain([("s.amr", frames::amr())]).collect()
}

/// A sample by its name.
fn sample(name: &str) -> Vec<u8> {
    let (file, args) = SAMPLES.iter().find(|(file, _)| *file == name).unwrap();
    sine(file, args)
}

const SAMPLES: &[(&str, &str)] = &[
    ("s.mp4", "-c:a aac"),
    ("sf.mp4", "-c:a aac -movflags frag_keyframe+empty_moov"),
    ("s.m4a", "-c:a alac"),
    ("s.mov", "-c:a pcm_s16be"),
    ("s.mkv", "-c:a libopus"),
    ("s.webm", "-c:a libvorbis"),
    ("s.ogg", "-c:a libvorbis -page_duration 20000"),
    ("s.opus", "-c:a libopus -page_duration 20000"),
    ("s.oga", "-c:a flac -page_duration 20000"),
    ("s.wav", "-c:a pcm_s16le"),
    ("a.wav", "-c:a adpcm_ima_wav"),
    ("m.wav", "-c:a libmp3lame"),
    ("s.w64", "-c:a pcm_s24le"),
    ("s.aiff", "-c:a pcm_s16be"),
    ("i.aiff", "-c:a adpcm_ima_qt"),
    ("s.au", "-c:a pcm_mulaw"),
    ("s.caf", "-c:a pcm_f32le"),
    ("a.caf", "-c:a alac"),
    ("i.mov", "-c:a adpcm_ms"),
    ("s.flac", "-c:a flac"),
    ("s.mp3", "-c:a libmp3lame"),
    ("s.aac", "-c:a aac"),
    ("s.ac3", "-c:a ac3"),
    ("s.eac3", "-c:a eac3"),
    ("e.mp4", "-c:a eac3"),
    ("s.avi", "-c:a libmp3lame"),
    ("p.avi", "-c:a pcm_s16le"),
    ("i.avi", "-c:a adpcm_ima_wav"),
    ("s.flv", "-c:a aac"),
    ("m.flv", "-c:a libmp3lame"),
    ("w.flv", "-c:a adpcm_swf"),
    ("q.mov", "-c:a adpcm_ima_qt"),
    ("s.ts", "-c:a mp2 -b:a 128k"),
    ("l.ts", "-c:a aac -mpegts_flags latm"),
    ("o.ts", "-c:a libopus"),
    ("b.m2ts", "-c:a pcm_bluray -ar 48000"),
    ("s.vob", "-f vob -c:a mp2 -b:a 128k"),
    ("d.vob", "-f vob -c:a pcm_dvd -ar 48000"),
    ("v.mpg", "-f vcd -c:a mp2 -b:a 128k"),
    ("s.wma", "-c:a wmav2"),
    ("s.asf", "-c:a libmp3lame"),
    ("s.dts", "-c:a dca -strict -2"),
    ("d.wav", "-c:a adpcm_ms"),
    ("f.wav", "-c:a pcm_f32le"),
    ("s.mp2", "-c:a mp2 -b:a 128k"),
    ("s.mka", "-c:a libopus"),
    ("v.mka", "-c:a libvorbis"),
    ("p.mka", "-c:a pcm_s16le"),
    ("f.mka", "-c:a flac"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_more_than_seven_hundred_cases_each_with_a_name_of_its_own() {
        let mut names = BTreeSet::new();
        for case in cases() {
            assert!(case.bytes.len() < 32 << 20, "{} is too large to be sent by thousands", case.name);
            assert!(names.insert(case.name.clone()), "{} is there twice", case.name);
        }
        assert!(names.len() > 700, "there are {}", names.len());
    }
}
