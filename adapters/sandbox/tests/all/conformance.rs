//! A sandbox keeps the promises of whatever runs in it.
#![allow(clippy::expect_used, reason = "test code")]

use crate::common;

use common::sandboxed;
use microserve_core::conformance::Fixture;

mod around_native {
    use super::*;
    microserve_core::transcoder_conformance!(|| async { Fixture::new(sandboxed("native")) });
}

mod around_fake {
    use super::*;
    microserve_core::transcoder_conformance!(|| async { Fixture::new(sandboxed("fake")) });
}
