//! What a job may use is bounded, and each bound has its code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use crate::common;

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use common::{limits, run, sandboxed};
use microserve_core::conformance::transcoder::wav;
use microserve_core::transcode::{Cores, Options, TranscodeError, Transcoder};
use microserve_sandbox::Limits;

const SECOND: Duration = Duration::from_secs(1);

/// Runs it, and gives the error's code and how long it took.
fn code_of(words: &str, limits: Limits) -> (&'static str, Duration) {
    let sandboxed = sandboxed(words).with_limits(limits);
    let since = Instant::now();
    let err = run(&sandboxed).expect_err("it can't be right");
    println!("{words}: {err}, after {:?}", since.elapsed());
    (err.code(), since.elapsed())
}

#[test]
fn memory_is_bounded() {
    let (code, _) = code_of("use memory", Limits { memory: 64 << 20, ..limits() });
    assert_eq!(code, "memory_exceeded");
    let left = sandboxed("use memory-left").with_limits(Limits { memory: 64 << 20, ..limits() });
    let Err(TranscodeError::Corrupt { detail }) = run(&left) else { panic!("it tells how much there was") };
    let mebibytes = detail.parse::<u32>().unwrap();
    assert!((32..=64).contains(&mebibytes), "of 64 MiB there were {mebibytes} for the transcoder");
}

#[test]
fn processor_time_is_bounded() {
    let (code, _) = code_of("use cpu", Limits { cpu: SECOND, ..limits() });
    assert_eq!(code, "cpu_exceeded");
}

#[test]
fn silence_is_bounded() {
    for words in ["use silence", "use reads", "say half", "say hang-up"] {
        let (code, took) = code_of(words, Limits { silence: SECOND, ..limits() });
        assert_eq!(code, if words == "say hang-up" { "crashed" } else { "stalled" }, "{words}");
        assert!(took < 2 * SECOND, "a second behind its limit it is gone; {words}: {took:?}");
    }
}

#[test]
fn time_is_bounded_whatever_progress_is_told_of() {
    let (code, took) = code_of("use time", Limits { time: SECOND, ..limits() });
    assert_eq!(code, "time_exceeded");
    assert!(took < 2 * SECOND, "{took:?}");
}

#[test]
fn output_is_bounded() {
    let (code, _) = code_of("use output", Limits { output: 10 << 20, ..limits() });
    assert_eq!(code, "output_exceeded");
}

#[test]
fn a_probe_is_bounded_like_a_conversion() {
    let sandboxed = sandboxed("use silence").with_limits(Limits { silence: SECOND, ..limits() });
    assert_eq!(sandboxed.probe(&mut Cursor::new(b"x")).unwrap_err().code(), "stalled");
}

#[test]
fn crashes_are_told_from_answers() {
    for how in ["abort", "exit", "panic", "overflow", "null"] {
        assert_eq!(code_of(&format!("crash {how}"), limits()).0, "crashed", "{how}");
    }
    // Where it panicked is said, and not with what words: they may be the file's.
    let err = run(&sandboxed("crash panic")).unwrap_err().to_string();
    assert!(err.contains("it panicked, having said: panicked at ") && !err.contains("secret"), "{err}");
    let err = run(&sandboxed("crash null")).unwrap_err().to_string();
    assert_eq!(err, "the transcoder crashed: it was ended by signal 11");
    assert_eq!(code_of("none", limits()).0, "internal");
}

#[test]
fn nonsense_is_not_believed() {
    for what in ["garbage", "huge", "no-json", "confined-again", "hole", "cancelled", "other-outcome", "impossible"] {
        assert_eq!(code_of(&format!("say {what}"), limits()).0, "crashed", "{what}");
    }
    assert!(run(&sandboxed("say good")).is_ok(), "what makes sense is");
}

#[test]
fn words_on_standard_error_hinder_nobody() {
    assert_eq!(code_of("use words", limits()).0, "corrupt");
}

#[test]
fn a_hog_does_not_hurt_its_neighbour() {
    let hog = std::thread::spawn(|| code_of("use memory", Limits { memory: 64 << 20, ..limits() }).0);
    let good = sandboxed("fake");
    for _ in 0..5 {
        let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
        let made = good.transcode(&mut Cursor::new(wav(2, 44_100)), &mut mp3, &Options::default(), go_on).unwrap();
        assert_eq!(made.samples, 44_100);
    }
    assert_eq!(hog.join().unwrap(), "memory_exceeded");
}

#[test]
fn a_caller_that_has_enough_is_heard_by_a_child_that_hangs() {
    let (since, mut asked) = (Instant::now(), 0);
    let stop = &mut |_| {
        asked += 1;
        if asked > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let outcome = sandboxed("use silence").transcode(
        &mut Cursor::new(b"x"),
        &mut Cursor::new(Vec::new()),
        &Options::default(),
        stop,
    );
    assert!(matches!(outcome, Err(TranscodeError::Cancelled)), "{outcome:?}");
    assert!(since.elapsed() < 3 * SECOND);
}

/// A store that takes its time.
struct Slow(Cursor<Vec<u8>>);

impl Read for Slow {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(600));
        self.0.read(buf)
    }
}

impl Seek for Slow {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_slow_source_is_not_the_childs_silence() {
    let sandboxed = sandboxed("native").with_limits(Limits { silence: SECOND / 2, ..limits() });
    let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
    let made = sandboxed.transcode(&mut Slow(Cursor::new(wav(2, 4410))), &mut mp3, &Options::default(), go_on);
    assert_eq!(made.unwrap().samples, 4410);
}

#[test]
fn cores_are_shared_and_come_back_from_the_dead() {
    let cores = Cores::new(3);
    for (how, code) in [("some", "corrupt"), ("back", "corrupt"), ("crash", "crashed"), ("twice", "crashed")] {
        let sandboxed = sandboxed(&format!("cores {how}")).with_cores(cores.clone());
        let err = run(&sandboxed).unwrap_err();
        assert_eq!(err.code(), code, "{how}: {err}");
        if let TranscodeError::Corrupt { detail } = err {
            assert_eq!(detail, "2", "one for itself and two further ones");
        }
        let all: Vec<_> = std::iter::from_fn(|| cores.try_take()).collect();
        assert_eq!(all.len(), 3, "{how}: all are there again");
    }
}

#[test]
fn eight_threads_find_room_in_the_memory_of_one_job() {
    let (cores, seconds) = (Cores::new(8), 180);
    let native = sandboxed("native").with_cores(cores.clone());
    let (go_on, mut mp3) = (&mut |_| ControlFlow::Continue(()), Cursor::new(Vec::new()));
    let (mut source, options) = (Cursor::new(wav(2, 44_100 * seconds)), Options::default());
    let mut most = 0;
    let made = native.transcode(&mut source, &mut mp3, &options, &mut |progress| {
        let idle: Vec<_> = std::iter::from_fn(|| cores.try_take()).collect();
        most = most.max(8 - idle.len());
        go_on(progress)
    });
    assert_eq!(made.unwrap().samples, 44_100 * u64::from(seconds));
    assert!(most > 1, "it was on one thread alone");
    println!("{most} threads at most");
}
