//! Files that were made to do harm, and good ones that were damaged, each in a child of its own beside a conversion that
//! is to notice nothing: what may come of them comes of them, in time and in little memory.
//!
//! `MICROSERVE_MUTANTS` is how many damaged files there are, and `MICROSERVE_SEED` which is the first.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods, reason = "test code")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Cursor;
use std::ops::ControlFlow;
use std::panic::catch_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::sandboxed;
use microserve_core::transcode::{Options, TranscodeError, Transcoder};
use microserve_sandbox::{Limits, Sandboxed};
use microserve_testkit::hostile::mutate::mutant;
use microserve_testkit::hostile::{ANYTHING_FINAL, Case, May, cases, samples};
use microserve_testkit::judge;
use tempfile::TempDir;

/// How much later than at its limit a child may end.
const LATE: Duration = Duration::from_secs(1);
/// So much may be resident in a child, in KiB.
const MOST_MEMORY: u64 = 256 * 1024;
/// How often that is looked at, and the good file converted.
const SAMPLE: Duration = Duration::from_millis(3);
const PAUSE: Duration = Duration::from_millis(100);
/// One of so many files is probed, too.
const PROBED: usize = 3;
/// Files at a time, beside the good one.
const WORKERS: usize = 2;

/// Less processor time than in service, so that whatever comes near a limit is seen to; a machine may be busy.
fn tight() -> Limits {
    Limits { cpu: Duration::from_secs(20), time: Duration::from_secs(120), output: 64 << 20, ..Limits::default() }
}

/// What came of all of them.
#[derive(Default)]
struct Report {
    files: usize,
    codes: BTreeMap<&'static str, usize>,
    /// KiB that were resident in a child at most.
    memory: u64,
    slowest: (Duration, String),
    /// MP3s that no other file became.
    mp3s: HashSet<u64>,
    wrong: Vec<String>,
}

#[test]
fn files_that_were_made_to_do_harm_do_none() {
    // All of the MP3s are judged in a long run.
    let judged = if std::env::var_os("MICROSERVE_MUTANTS").is_some() { 1 } else { 5 };
    let report = run(cases().map(|case| (case, Options::default())), judged);
    report.print("hostile files");
    assert!(report.files >= 700, "there are {}", report.files);
    assert!(report.wrong.is_empty(), "\n{}", report.wrong.join("\n"));
}

#[test]
fn files_that_were_damaged_do_no_harm() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (count, first) = (number("MICROSERVE_MUTANTS", 400), number("MICROSERVE_SEED", 0));
    let samples = samples();
    let mutants = (first..first + count).map(|seed| {
        let mutant = mutant(&samples, seed);
        (Case { name: mutant.name, bytes: mutant.bytes, may: ANYTHING_FINAL }, options(seed))
    });
    let report = run(mutants, 20);
    report.print("damaged files");
    assert!(report.wrong.is_empty(), "\n{}", report.wrong.join("\n"));
}

/// Now and then a way of its own through the transcoder.
fn options(seed: u64) -> Options {
    let plain = Options::default();
    match seed % 8 {
        0 => Options { loudness: Some(-16.0), ..plain },
        1 => Options { start: Some(0.1), end: Some(0.3), ..plain },
        2 => Options { sample_rate: Some(48_000), ..plain },
        _ => plain,
    }
}

/// Converts them all. Of the MP3s, others judge each, or one of so many.
fn run(files: impl Iterator<Item = (Case, Options)> + Send, judged: usize) -> Report {
    let native = sandboxed("native").with_limits(tight());
    let (files, report) = (Mutex::new(files), Mutex::new(Report::default()));
    let (folder, over) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let neighbour = scope.spawn(|| good_ones(&native, &over));
        let memory = scope.spawn(|| most_memory(&over));
        let workers: Vec<_> = (0..WORKERS)
            .map(|_| {
                scope.spawn(|| {
                    while let Some((case, options)) = next(&files) {
                        one(&native, &case, &options, &report, &folder);
                    }
                })
            })
            .collect();
        let ends: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        println!("{} good conversions beside them", neighbour.join().unwrap());
        assert!(ends.iter().all(Result::is_ok), "a parent panicked");
        report.lock().unwrap().memory = memory.join().unwrap();
    });
    let mut report = report.into_inner().unwrap();
    if report.memory >= MOST_MEMORY {
        report.wrong.push(format!("{} KiB were resident in a child", report.memory));
    }
    report.judge(&folder, judged);
    report
}

fn next<T>(files: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    files.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// Converts a good file again and again, which gives the same bytes each time.
fn good_ones(native: &Sandboxed, over: &AtomicBool) -> usize {
    let file = microserve_core::conformance::transcoder::wav(2, 44_100);
    let mut first = None;
    for n in 1.. {
        let (outcome, mp3) = convert(native, &file, &Options::default());
        outcome.unwrap();
        assert!(*first.get_or_insert_with(|| mp3.clone()) == mp3, "conversion {n} gave other bytes");
        if over.load(Ordering::Relaxed) {
            return n;
        }
        std::thread::sleep(PAUSE);
    }
    0
}

fn convert(native: &Sandboxed, file: &[u8], options: &Options) -> (Result<(), TranscodeError>, Vec<u8>) {
    let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
    let outcome = native.transcode(&mut Cursor::new(file), &mut mp3, options, go_on);
    (outcome.map(|_| ()), mp3.into_inner())
}

/// The most that any child had resident, in KiB, looked at every few milliseconds (proc(5): `children`, `VmHWM`).
fn most_memory(over: &AtomicBool) -> u64 {
    let mut most = 0;
    while !over.load(Ordering::Relaxed) {
        let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        for child in children.collect::<String>().split_whitespace() {
            let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            // Before it is confined, its memory may still be ours.
            if field("Seccomp:") == "2" {
                most = most.max(field("VmHWM:").trim_end_matches(" kB").parse().unwrap_or(0));
            }
        }
        std::thread::sleep(SAMPLE);
    }
    most
}

/// Probes and converts one file, and notes what came of it.
fn one(native: &Sandboxed, case: &Case, options: &Options, report: &Mutex<Report>, folder: &TempDir) {
    let nth = report.lock().unwrap_or_else(PoisonError::into_inner).begin();
    let since = Instant::now();
    let probed = nth.is_multiple_of(PROBED).then(|| native.probe(&mut Cursor::new(&case.bytes)));
    let probing = since.elapsed();
    let (outcome, mp3) = convert(native, &case.bytes, options);
    let converting = since.elapsed() - probing;

    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    let problem = match &probed {
        Some(Ok(info)) => info.problem.clone(),
        Some(Err(err)) => Some(err.problem()),
        None => None,
    };
    if let Some(problem) = problem.filter(|problem| !case.may.be(Some(&problem.code))) {
        report.wrong.push(format!("{}: probed, {}: {}", case.name, problem.code, problem.detail));
    }
    let code = outcome.as_ref().err().map(TranscodeError::code);
    let came = outcome.as_ref().err().map_or_else(|| format!("an MP3 of {} bytes", mp3.len()), ToString::to_string);
    if !may_be(case.may, options, code) {
        report.wrong.push(format!("{}: {}: {came}", case.name, code.unwrap_or("ok")));
    }
    let longest = probing.max(converting);
    if longest > tight().time + LATE {
        report.wrong.push(format!("{}: it took {longest:?}", case.name));
    }
    if longest > report.slowest.0 {
        report.slowest = (longest, case.name.clone());
    }
    *report.codes.entry(code.unwrap_or("ok")).or_default() += 1;
    if code.is_none() && report.keep(&case.name, &mp3) {
        let name = case.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let name = format!("{nth} {}.mp3", name.chars().take(100).collect::<String>());
        std::fs::write(folder.path().join(name), &mp3).unwrap();
    }
}

/// What the options ask for may be impossible, which is no fault of anybody.
fn may_be(may: May, options: &Options, code: Option<&str>) -> bool {
    may.be(code) || (options.start.is_some() && code == Some("start_behind_end"))
}

impl Report {
    /// A file's turn has come; which it is.
    fn begin(&mut self) -> usize {
        self.files += 1;
        self.files
    }

    /// Notes an MP3; whether nothing else became the same.
    fn keep(&mut self, name: &str, mp3: &[u8]) -> bool {
        if catch_unwind(|| judge::frames(mp3)).is_err() {
            self.wrong.push(format!("{name}: its MP3 of {} bytes is none", mp3.len()));
        }
        let mut hasher = DefaultHasher::new();
        mp3.hash(&mut hasher);
        self.mp3s.insert(hasher.finish())
    }

    /// Has others judge the MP3s. They are children too, so what children used is known by now.
    fn judge(&mut self, folder: &TempDir, one_of: usize) {
        let mut mp3s: Vec<PathBuf> = folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        mp3s.sort();
        let mp3s = Mutex::new(mp3s.into_iter().step_by(one_of));
        let wrong = Mutex::new(&mut self.wrong);
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some(mp3) = next(&mp3s) {
                        if catch_unwind(|| judge::assert_clean(&mp3)).is_err() {
                            let name = mp3.file_name().unwrap_or_default().display().to_string();
                            wrong.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{name} is not clean"));
                        }
                    }
                });
            }
        });
    }

    fn print(&self, what: &str) {
        let mut codes = String::new();
        for (code, count) in &self.codes {
            let _always_works = write!(codes, ", {code} {count}");
        }
        let Self { files, memory, slowest, mp3s, .. } = self;
        println!("{files} {what}{codes}; {} different MP3s", mp3s.len());
        println!("at most {} MiB resident in a child; slowest {:?}: {}", memory / 1024, slowest.0, slowest.1);
    }
}
