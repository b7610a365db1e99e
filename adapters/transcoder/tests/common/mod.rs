//! What the transcoder's tests share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use microserve_core::transcode::{GLANCE_BYTES, Options, Quality, TranscodeError, Transcoded, Transcoder};
pub use microserve_testkit::bytes;
use microserve_testkit::judge;
use microserve_transcoder::NativeTranscoder;
use tempfile::TempDir;

/// Options that cost as little sound as an MP3 can.
pub fn finest() -> Options {
    Options { quality: Some(Quality::Cbr(320)), ..Options::default() }
}

/// An MP3 in a folder that goes with it.
pub struct Mp3 {
    pub made: Transcoded,
    pub path: PathBuf,
    _folder: TempDir,
}

/// Converts a file.
pub fn convert(source: &Path, options: &Options) -> Result<Mp3, TranscodeError> {
    convert_by(&NativeTranscoder::default(), source, options)
}

/// Converts a file by a transcoder that was set up for it.
pub fn convert_by(transcoder: &NativeTranscoder, source: &Path, options: &Options) -> Result<Mp3, TranscodeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.mp3");
    let mut sink = File::create(&path).unwrap();
    let mut source = File::open(source).unwrap();
    let go_on = &mut |_| ControlFlow::Continue(());
    let outcome = transcoder.transcode(&mut source, &mut sink, options, go_on);
    let refused = matches!(outcome, Err(TranscodeError::UnsupportedContainer { .. }));
    assert!(refused || transcoder.glance(&head(source)).is_none(), "a glance sees less: {path:?}");
    let made = outcome?;
    Ok(Mp3 { made, path, _folder: folder })
}

/// What a glance gets of a file.
fn head(mut source: File) -> Vec<u8> {
    let mut head = Vec::new();
    source.rewind().unwrap();
    source.take(GLANCE_BYTES as u64).read_to_end(&mut head).unwrap();
    head
}

/// Converts bytes; the MP3 is thrown away.
pub fn convert_bytes(bytes: &[u8]) -> Result<Transcoded, TranscodeError> {
    let mut sink = Cursor::new(Vec::new());
    let go_on = &mut |_| ControlFlow::Continue(());
    NativeTranscoder::default().transcode(&mut Cursor::new(bytes), &mut sink, &Options::default(), go_on)
}

/// How much the MP3's sound is like what ffmpeg decodes of the source, in dB.
pub fn snr(source: &Path, mp3: &Mp3) -> f64 {
    let (rate, channels) = (mp3.made.sample_rate, mp3.made.channels);
    likeness(&judge::pcm(source, rate, channels), judge::pcm(&mp3.path, rate, channels))
}

/// How much one sound is like the other, in dB. Loudness does not count: a downmix has to be turned down somewhere.
pub fn likeness(theirs: &[f32], mut ours: Vec<f32>) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let power = dot(&ours, &ours);
    if power > 0.0 {
        let gain = (dot(theirs, &ours) / power) as f32;
        ours.iter_mut().for_each(|sample| *sample *= gain);
    }
    judge::snr(theirs, &ours)
}
