//! What a sandbox costs: 500 probes of a tiny file, each beside one without a sandbox.
//!
//! `cargo run --release -p microserve-sandbox --example overhead`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is run by hand")]

use std::io::Cursor;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use microserve_core::conformance::transcoder::wav;
use microserve_core::transcode::Transcoder;
use microserve_sandbox::{Mode, Sandboxed};
use microserve_transcoder::NativeTranscoder;

const TIMES: usize = 500;

fn main() -> ExitCode {
    if let Some(done) =
        microserve_sandbox::child(|_, cores| Ok(Box::new(NativeTranscoder::default().with_cores(cores))))
    {
        return done;
    }
    let (plain, sandboxed) = (NativeTranscoder::default(), Sandboxed::new("native", Mode::BestEffort).unwrap());
    let file = wav(2, 441);
    let took = |transcoder: &dyn Transcoder| {
        let since = Instant::now();
        transcoder.probe(&mut Cursor::new(&file)).unwrap();
        since.elapsed()
    };
    let (mut without, mut with): (Vec<_>, Vec<_>) = (0..TIMES).map(|_| (took(&plain), took(&sandboxed))).unzip();
    show("without a sandbox", &mut without);
    show("in a sandbox", &mut with);
    ExitCode::SUCCESS
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let (median, slow) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    println!("{what}: {median:?} in the median, {slow:?} at the 95th percentile");
}
