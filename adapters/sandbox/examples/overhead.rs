//! What a sandbox costs a job: probes and conversions of a tiny file, each beside one without a sandbox.
//!
//! `cargo run --release -p microserve-sandbox --example overhead`
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "it is run by hand")]

use std::io::Cursor;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use microserve_core::conformance::transcoder::wav;
use microserve_core::transcode::{Options, Transcoder};
use microserve_sandbox::{Mode, Sandboxed};
use microserve_transcoder::NativeTranscoder;

/// Pairs of each kind, behind a few that fill caches and the encoder's tables.
const TIMES: usize = 500;
const WARM: usize = 20;

fn main() -> ExitCode {
    if let Some(done) =
        microserve_sandbox::child(|_, cores| Ok(Box::new(NativeTranscoder::default().with_cores(cores))))
    {
        return done;
    }
    let (plain, sandboxed) = (NativeTranscoder::default(), Sandboxed::new("native", Mode::BestEffort).unwrap());
    compare("a probe", probe, &plain, &sandboxed);
    compare("a conversion", convert, &plain, &sandboxed);
    ExitCode::SUCCESS
}

fn probe(transcoder: &dyn Transcoder, file: &[u8]) {
    transcoder.probe(&mut Cursor::new(file)).unwrap();
}

fn convert(transcoder: &dyn Transcoder, file: &[u8]) {
    let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
    transcoder.transcode(&mut Cursor::new(file), &mut mp3, &Options::default(), go_on).unwrap();
}

/// Shows both times, and what the sandbox adds within each pair: what else the machine does hits both of it.
fn compare(what: &str, job: fn(&dyn Transcoder, &[u8]), plain: &dyn Transcoder, sandboxed: &dyn Transcoder) {
    let file = wav(2, 441);
    let took = |transcoder: &dyn Transcoder| {
        let since = Instant::now();
        job(transcoder, &file);
        since.elapsed()
    };
    let pairs = (0..WARM + TIMES).map(|_| (took(plain), took(sandboxed))).skip(WARM);
    let (mut without, mut with): (Vec<_>, Vec<_>) = pairs.unzip();
    let mut added: Vec<_> = with.iter().zip(&without).map(|(with, without)| with.saturating_sub(*without)).collect();
    show(&format!("{what} without a sandbox"), &mut without);
    show(&format!("{what} in a sandbox"), &mut with);
    show("the sandbox adds", &mut added);
}

fn show(what: &str, times: &mut [Duration]) {
    times.sort();
    let (median, slow) = (times[times.len() / 2], times[times.len() * 95 / 100]);
    println!("{what}: {median:?} in the median, {slow:?} at the 95th percentile");
}
