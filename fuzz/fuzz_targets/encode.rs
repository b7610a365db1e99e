//! Whatever samples decoders make, NaN and changes of their format included, an MP3 of as many samples comes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_transcoder::fuzzing;

fuzz_target!(init: fuzzing::watch_panics(), |data: &[u8]| fuzzing::encode(data));
