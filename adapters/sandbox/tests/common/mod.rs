//! What the sandbox's tests share.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::PathBuf;

use microserve_core::transcode::{Options, TranscodeError, Transcoded, Transcoder};
use microserve_sandbox::{Limits, Mode, Sandboxed};

/// `examples/test_child.rs`, which is built with the tests, and lies beside their folder.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test is a program");
    let folder = tests.parent().and_then(|deps| deps.parent()).expect("it lies in target/PROFILE/deps");
    let program = folder.join("examples/test_child");
    assert!(program.exists(), "cargo build -p microserve-sandbox --example test_child makes {}", program.display());
    program
}

/// A sandbox around one of the test child's transcoders.
pub fn sandboxed(words: &str) -> Sandboxed {
    Sandboxed::of_program(program(), words, Mode::Strict).expect("this kernel can do it all")
}

/// Transcodes a byte that nobody looks at.
pub fn run(sandboxed: &Sandboxed) -> Result<Transcoded, TranscodeError> {
    let go_on = &mut |_| ControlFlow::Continue(());
    sandboxed.transcode(&mut Cursor::new(b"x"), &mut Cursor::new(Vec::new()), &Options::default(), go_on)
}

/// What a hostile transcoder says came of what it tried; `None` if it did not live to tell.
pub fn told(sandboxed: &Sandboxed) -> Option<String> {
    match run(sandboxed) {
        Err(TranscodeError::Corrupt { detail }) => Some(detail),
        Err(TranscodeError::Crashed { detail }) => {
            assert_eq!(detail, "it made a system call that it may not make");
            None
        }
        outcome => panic!("{outcome:?}"),
    }
}

pub fn limits() -> Limits {
    Limits::default()
}
