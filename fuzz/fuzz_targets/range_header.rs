//! Whatever a `Range` header says, the part it names exists and is not empty.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microserve_http::range::{Requested, requested};

fuzz_target!(|data: &[u8]| {
    for size in [0, 1, 1000, u64::MAX] {
        if let Requested::Part(part) = requested(data, size) {
            assert!(part.start < part.end && part.end <= size, "{part:?} of {size}");
        }
    }
});
