//! What the README promises, word for word: its curl lines, and the demo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{World, exe};
use microserve_testkit::server::add_user;
use microserve_testkit::{judge, media};
use serde_json::Value;

const README: &str = include_str!("../../../README.md");

/// The curl lines below the README's marker.
fn curl_lines() -> Vec<&'static str> {
    let (_, after) = README.split_once("<!-- quickstart -->").expect("the README marks its quickstart");
    let block = after.split("```").nth(1).expect("a block of code follows");
    let lines: Vec<_> = block.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 3, "log in, upload, download");
    lines
}

/// Runs a line in a shell, as it stands; `mp3converter.com` is mapped to the server by a curl configuration file.
fn sh(line: &str, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder).env("CURL_HOME", folder).envs(variables.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_curl_lines_work_as_they_stand() {
    let world = World::start().await;
    let email = "reader@example.com";
    let password = add_user(exe(), &world.data, email);
    let folder = tempfile::tempdir().unwrap();
    let curlrc =
        format!("connect-to = \"mp3converter.com:80:127.0.0.1:{}\"\nfail\nnoproxy = \"*\"\n", world.server.port());
    std::fs::write(folder.path().join(".curlrc"), curlrc).unwrap();
    std::fs::copy(media::tone_mkv(3), folder.path().join("video.mkv")).unwrap();
    let lines = curl_lines();

    let login: Value =
        serde_json::from_str(&sh(lines[0], folder.path(), &[("EMAIL", email), ("PASSWORD", &password)])).unwrap();
    let token = login["token"].as_str().unwrap();
    let upload: Value = serde_json::from_str(&sh(lines[1], folder.path(), &[("TOKEN", token)])).unwrap();
    assert_eq!(upload["status"], "queued");
    let reader = common::Client { token: token.to_owned(), ..world.client.clone() };
    let job = reader.until_final(upload["job_id"].as_str().unwrap(), Duration::from_secs(60)).await;
    let fid = job["mp3_fid"].as_str().expect("the job is done");
    sh(lines[2], folder.path(), &[("TOKEN", token), ("FID", fid)]);

    let mp3 = folder.path().join("mp3_download.mp3");
    judge::assert_clean(&mp3);
    assert!((judge::duration(&mp3) - 3.0).abs() < 0.001);
}

#[test]
fn the_demo_leaves_an_mp3_and_shows_the_mail() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(exe()).arg("demo").current_dir(folder.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("Subject: Your MP3 file is ready!") && shown.contains("File ID: "), "{shown}");
    let mp3 = folder.path().join("sample.mp3");
    judge::assert_clean(&mp3);
    let sample = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/media/sample.mp4"));
    assert!(judge::samples(&mp3).abs_diff(judge::samples(sample)) <= 1, "the MP3 is as long as the sample");
}
