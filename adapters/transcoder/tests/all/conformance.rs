//! The transcoder keeps the promises of its port.

use microserve_core::conformance::Fixture;
use microserve_transcoder::NativeTranscoder;

microserve_core::transcoder_conformance!(|| async { Fixture::new(NativeTranscoder::default()) });
