//! A strange program reaches what it was let, is ended when that is asked for, and leaves its starter as it was.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use microserve_core::transcode::{Limit, TranscodeError};
use microserve_sandbox::{External, ExternalChild, Limits, Mode};

/// Walls with the shell and its programs inside.
fn walls(limits: Limits) -> External {
    ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"]
        .iter()
        .fold(External::new(limits, Mode::Strict), |walls, path| walls.readable(path))
}

fn start(walls: &External, script: &str) -> ExternalChild {
    let mut bash = Command::new("/bin/bash");
    bash.args(["-c", script]).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    walls.spawn(bash.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap()
}

/// What a script says, errors included.
fn said(walls: &External, script: &str) -> String {
    let mut running = start(walls, &format!("exec 2>&1; {script}"));
    let mut said = String::new();
    running.process().stdout.take().unwrap().read_to_string(&mut said).unwrap();
    running.wait().unwrap();
    said
}

#[test]
fn it_reads_what_it_may_and_nothing_else() {
    let usual = walls(Limits::default());
    assert!(said(&usual, "cat /etc/passwd").contains("Permission denied"));
    assert!(said(&usual, "ls /proc /etc").contains("Permission denied"));
    assert!(said(&usual.clone().readable("/etc/passwd"), "cat /etc/passwd").contains("root:"));
    assert!(said(&usual.readable("/nowhere"), "echo all the same").contains("all the same"));
}

#[test]
fn it_writes_no_file_and_opens_no_socket() {
    let walls = walls(Limits::default()).readable("/tmp");
    assert!(said(&walls, "echo x > /tmp/microserve-external").contains("Permission denied"));
    assert!(said(&walls, "echo x > /dev/null; echo fine").contains("fine"));
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = open.local_addr().unwrap().port();
    let answer = said(&walls, &format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached"));
    assert!(answer.contains("not permitted") && !answer.contains("reached"), "{answer}");
}

#[test]
fn it_signals_nobody_and_gains_nothing() {
    let walls = walls(Limits::default());
    let answer = said(&walls, &format!("kill -9 {}", std::process::id()));
    assert!(answer.contains("not permitted"), "{answer}");
    let walls = walls.readable("/proc");
    let status = said(&walls, "grep -E '^(CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status").replace('\t', "");
    assert_eq!(status, "CapPrm:0000000000000000\nCapEff:0000000000000000\nNoNewPrivs:1\nSeccomp:2\n");
    assert!(said(&walls, "unshare -U true").contains("not permitted"));
}

#[test]
fn its_environment_is_what_was_given() {
    let words = said(&walls(Limits::default()), "env");
    let names: Vec<_> = words.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| matches!(*name, "PATH" | "LC_ALL" | "PWD" | "SHLVL" | "_")), "{words}");
}

#[test]
fn its_limits_hold() {
    let limits = Limits { cpu: Duration::from_secs(1), memory: 100 << 20, ..Limits::default() };
    let walls = walls(limits);
    // They begin a moment after the program.
    let waits = "while [ $(ulimit -n) != 64 ]; do :; done; ulimit -d; ulimit -f; ulimit -c";
    assert_eq!(said(&walls, waits), format!("{}\n0\n0\n", (100 << 20) / 1024));
    let mut busy = start(&walls, "while :; do :; done");
    busy.process().stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    let outcome = busy.wait();
    assert!(matches!(outcome, Err(TranscodeError::LimitExceeded { limit: Limit::Cpu })), "{outcome:?}");
}

#[test]
fn how_it_ended_is_told() {
    let walls = walls(Limits::default());
    assert_eq!(start(&walls, "exit 7").wait().unwrap(), 7);
    // A signal to itself by its number would be a call that is denied: it runs into a wall instead.
    assert_eq!(start(&walls, "sleep 60").wait().unwrap_err().code(), "crashed");
}

#[test]
fn dropping_it_ends_all_that_it_started() {
    let mut running = start(&walls(Limits::default()), "sleep 1000 & echo $!; sleep 1000");
    let mut line = Vec::new();
    let mut stdout = running.process().stdout.take().unwrap();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    let grandchild = String::from_utf8(line).unwrap().trim().to_owned();
    assert!(Path::new("/proc").join(&grandchild).exists());
    drop(running);
    // The pipe ends when the last of them has.
    stdout.read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn whoever_started_it_is_as_free_as_before() {
    said(&walls(Limits::default()), "true");
    assert!(std::fs::read("/etc/passwd").is_ok() && TcpListener::bind("127.0.0.1:0").is_ok());
    let folder = std::env::temp_dir().join(format!("microserve-external-{}", std::process::id()));
    std::fs::create_dir(&folder).and_then(|()| std::fs::remove_dir(&folder)).unwrap();
}
