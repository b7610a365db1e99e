//! Whatever the bytes are, the transcoder makes an MP3 or gives an error: no panic gets out of it, no hang, no flood of
//! memory.
#![no_main]

use std::io::Cursor;
use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use microserve_core::transcode::{Options, Progress, Transcoder};
use microserve_transcoder::NativeTranscoder;

/// A few bytes can claim hours of silence; in seconds of sound, more of it shows nothing new.
const ENOUGH: f64 = 60.0;

// The fuzzer takes every panic for a crash. Those of the decoders that the transcoder catches are none: only one that
// gets out of it is.
fuzz_target!(init: std::panic::set_hook(Box::new(|_caught| {})), |data: &[u8]| {
    let transcoder = NativeTranscoder::default();
    let _any_answer_will_do = transcoder.probe(&mut Cursor::new(data));
    let mut mp3 = Cursor::new(Vec::new());
    let until_enough = &mut |progress: Progress| {
        if progress.position > ENOUGH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let _any_answer_will_do = transcoder.transcode(&mut Cursor::new(data), &mut mp3, &Options::default(), until_enough);
});
