//! Children begin and end with their parents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use crate::common;

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{program, run, sandboxed};
use microserve_sandbox::{Mode, SandboxError, Sandboxed};

/// The processes whose parent is this one, with their command lines.
fn children_of(parent: u32) -> Vec<u32> {
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let since = Instant::now();
    while !done() {
        assert!(since.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_program_that_would_not_know_its_child_gets_no_sandbox() {
    // This test's main function is not ours.
    let refused = Sandboxed::new("fake", Mode::BestEffort);
    assert!(matches!(refused, Err(SandboxError::NoEntry)), "{refused:?}");
    assert_eq!(children_of(std::process::id()), Vec::<u32>::new());
}

#[test]
fn a_program_that_is_none_is_an_error() {
    let missing = Sandboxed::of_program("/nowhere".into(), "fake", Mode::BestEffort);
    assert!(matches!(missing, Err(SandboxError::Start(_))), "{missing:?}");
    let other = Sandboxed::of_program("/bin/true".into(), "fake", Mode::BestEffort);
    assert!(matches!(other, Err(SandboxError::Trial(_))), "{other:?}");
}

#[test]
fn all_of_it_is_enforced_here() {
    let sandboxed = sandboxed("fake");
    assert!(sandboxed.enforced().is_full() && sandboxed.check().unwrap().is_full());
}

#[test]
fn no_child_is_left_behind() {
    for words in ["fake", "crash abort", "crash null", "say garbage", "say good", "reach connect"] {
        let _whatever_came_of_it = run(&sandboxed(words));
    }
    assert_eq!(children_of(std::process::id()), Vec::<u32>::new(), "not even a zombie");
}

/// Whether it hangs, or computes and never looks at its socket.
#[test]
fn a_killed_parent_takes_its_child_along() {
    for words in ["use silence", "use cpu"] {
        let mut parent =
            Command::new(program()).args(["parent", words]).stderr(Stdio::inherit()).spawn().expect("it was built");
        let mut child = None;
        until("a child that works", || {
            // The trial child goes again.
            let children = children_of(parent.id());
            let working = |pid: &u32| {
                std::fs::read_to_string(format!("/proc/{pid}/status"))
                    .is_ok_and(|status| status.contains("Seccomp:\t2"))
            };
            let seen = children.into_iter().find(working);
            let same = seen.is_some() && seen == child;
            child = seen;
            std::thread::sleep(Duration::from_millis(50));
            same
        });
        parent.kill().unwrap();
        parent.wait().unwrap();
        let child = child.unwrap();
        let since = Instant::now();
        // Whoever takes orphans in may be slow to look at the dead.
        let is_gone = |stat: io::Result<String>| stat.map_or(true, |stat| stat.contains(") Z "));
        until("the child is gone", || is_gone(std::fs::read_to_string(format!("/proc/{child}/stat"))));
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    }
}
