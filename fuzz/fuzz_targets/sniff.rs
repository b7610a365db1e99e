//! Whatever the first bytes are, the sniffer names something, and more bytes of an unsupported file make no panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_transcoder::{id3v2_size, sniff};

fuzz_target!(|data: &[u8]| {
    assert!(!sniff(data).name().is_empty());
    if let Some(size) = id3v2_size(data) {
        assert!(size >= 10);
    }
});
