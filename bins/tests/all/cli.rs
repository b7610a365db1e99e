//! The command line: what it makes, what it refuses, and its exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::exe;
use microserve_testkit::{judge, media};
use serde_json::Value;

fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(exe()).args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("killed: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn convert_makes_an_mp3_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let video = media::tone_mp4(2);
    let video = video.to_str().unwrap();
    let first = run(folder.path(), &["convert", video, "a.mp3", "--bitrate", "192k", "--json"]);
    assert_eq!(code(&first), 0, "{}", String::from_utf8_lossy(&first.stderr));
    let report: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert!((report["duration"].as_f64().unwrap() - 2.0).abs() < 0.001, "{report}");
    judge::assert_clean(&folder.path().join("a.mp3"));

    std::fs::write(folder.path().join("b.mp3"), "mine").unwrap();
    assert_eq!(code(&run(folder.path(), &["convert", video, "b.mp3"])), 5);
    assert_eq!(std::fs::read(folder.path().join("b.mp3")).unwrap(), b"mine");
    assert_eq!(code(&run(folder.path(), &["convert", video, "b.mp3", "--force", "--mono", "--vbr", "4"])), 0);
    judge::assert_clean(&folder.path().join("b.mp3"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file stays behind: {left:?}");
}

#[test]
fn convert_reads_standard_input_and_writes_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let video = std::fs::File::open(media::tone_mp4(2)).unwrap();
    let output = Command::new(exe()).args(["convert", "-", "-", "--quiet"]).stdin(video).output().unwrap();
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    let mp3 = folder.path().join("piped.mp3");
    std::fs::write(&mp3, &output.stdout).unwrap();
    judge::assert_clean(&mp3);
}

#[test]
fn what_can_not_be_converted_has_its_own_exit_code_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.mp4"), "this is no video at all\n".repeat(100)).unwrap();
    let silent = media::video_only_mp4();
    for (input, words) in [("text.mp4", "unsupported_container"), (silent.to_str().unwrap(), "no_audio_track")] {
        let output = run(folder.path(), &["convert", input, "out.mp3"]);
        assert_eq!(code(&output), 3);
        assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!folder.path().join("out.mp3").exists());
        assert_eq!(code(&run(folder.path(), &["probe", input])), 3);
    }
    assert_eq!(code(&run(folder.path(), &["convert", "nowhere.mp4"])), 4);
    assert_eq!(code(&run(folder.path(), &["convert", "x.mp4", "--bitrate", "193"])), 2);
    assert_eq!(code(&run(folder.path(), &["convert", "x.mp4", "--bitrate", "192", "--vbr", "2"])), 2);
}

#[test]
fn probe_tells_what_is_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let video = media::tone_mp4(2);
    let output = run(folder.path(), &["probe", video.to_str().unwrap(), "--json"]);
    assert_eq!(code(&output), 0);
    let info: Value = serde_json::from_slice(&output.stdout).unwrap();
    let track = &info["tracks"][info["chosen"].as_u64().unwrap() as usize];
    assert_eq!((info["container"].as_str(), track["codec"].as_str()), (Some("mp4"), Some("aac")), "{info}");
    assert!(info["tracks"].as_array().unwrap().iter().any(|t| t["kind"] == "video"), "{info}");
}

#[test]
fn accounts_are_added_listed_changed_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let user = |args: &[&str]| run(folder.path(), &[&["user"], args].concat());
    assert_eq!(user(&["add", "anna@example.com"]).stdout.trim_ascii().len(), 24, "a made password is printed");
    assert_eq!(code(&user(&["add", "anna@example.com"])), 1, "there is one already");
    assert_eq!(code(&user(&["add", "nobody"])), 2, "not an address");
    assert_eq!(code(&user(&["disable", "anna@example.com"])), 0);
    assert!(String::from_utf8_lossy(&user(&["list"]).stdout).contains("anna@example.com  disabled"));
    assert_eq!(code(&user(&["enable", "Anna@Example.com"])), 0);
    assert_eq!(user(&["passwd", "anna@example.com"]).stdout.trim_ascii().len(), 24);
    assert_eq!(code(&user(&["remove", "anna@example.com"])), 0);
    assert_eq!(code(&user(&["remove", "anna@example.com"])), 1, "gone");
    assert_eq!(user(&["list"]).stdout, b"");
}

#[test]
fn weak_passwords_are_refused() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(exe())
        .args(["user", "add", "anna@example.com", "--password-stdin"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"password1\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("tried first"));
}

#[test]
fn unknown_schemes_name_the_known_ones() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["user", "list", "--accounts", "oracle://anna:secret@db/x"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(code(&output) == 1 && said.contains("mysql:, sqlite:") && !said.contains("secret"), "{said}");
}
