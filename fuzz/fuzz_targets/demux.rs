//! Whatever a container's bytes are, its reader gives packets or an error, and comes to an end. Sniffing is no barrier:
//! the first byte says which container it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_transcoder::fuzzing;

fuzz_target!(init: fuzzing::watch_panics(), |data: &[u8]| fuzzing::demux(data));
