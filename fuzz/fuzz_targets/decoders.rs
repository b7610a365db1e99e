//! Whatever settings and packets are, each decoder gives sound or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_transcoder::fuzzing;

fuzz_target!(init: fuzzing::watch_panics(), |data: &[u8]| fuzzing::decode(data));
