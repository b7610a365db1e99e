//! The services' command lines, and how they start and end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use microserve_testkit::port::free_port;

const AUTH: &str = env!("CARGO_BIN_EXE_microserve-auth");
const GATEWAY: &str = env!("CARGO_BIN_EXE_microserve-gateway");
const CONVERTER: &str = env!("CARGO_BIN_EXE_microserve-converter");
const NOTIFIER: &str = env!("CARGO_BIN_EXE_microserve-notifier");

/// A process of ours without any setting but these.
fn run(exe: &str, options: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(exe);
    command.args(options).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_secret_can_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (folder.path().join("queue"), folder.path().to_str().unwrap());
    std::fs::write(&file, "amqps://anna:hunter2@broker.example.com/\n").unwrap();
    let file = file.to_str().unwrap();
    for exe in [GATEWAY, CONVERTER, NOTIFIER] {
        let shown = said(&run(exe, &["--print-config"], &[("MICROSERVE_QUEUE_FILE", file)]));
        assert!(shown.contains("@broker.example.com") && !shown.contains("hunter2"), "{shown}");
        // What is said more directly counts.
        let both = [("MICROSERVE_QUEUE_FILE", file), ("MICROSERVE_QUEUE", "amqps://other.example.com/")];
        let shown = said(&run(exe, &["--print-config"], &both));
        assert!(shown.contains("other.example.com") && !shown.contains("broker.example.com"), "{shown}");
    }
    // Behind a subcommand, too.
    let shown = said(&run(AUTH, &["serve", "--print-config"], &[("MICROSERVE_ACCOUNTS_FILE", file)]));
    assert!(shown.contains("@broker.example.com") && !shown.contains("hunter2"), "{shown}");
    // A URL that is none is not repeated: it may be a URL with a slip of the pen.
    for slip in ["hunter2", "//anna:hunter2@broker", "amqps//anna:hunter2@broker", "anna:hunter2@broker/x"] {
        std::fs::write(file, slip).unwrap();
        for variable in ["MICROSERVE_QUEUE_FILE", "MICROSERVE_QUEUE"] {
            let value = if variable.ends_with("_FILE") { file } else { slip };
            let output =
                run(NOTIFIER, &["--ops-listen", "127.0.0.1:0"], &[(variable, value), ("MICROSERVE_DATA", data)]);
            assert!(!output.status.success() && !said(&output).contains("hunter2"), "{}", said(&output));
            assert!(said(&output).contains("queue"), "{}", said(&output));
        }
    }
    let missing = run(NOTIFIER, &[], &[("MICROSERVE_MAILER_FILE", "/nowhere/mailer")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("can't read the secret in /nowhere/mailer"), "{}", said(&missing));
}

#[test]
fn the_tutorials_variables_are_understood_if_asked_for() {
    let theirs = [("MYSQL_HOST", "db"), ("MYSQL_USER", "u"), ("MYSQL_PASSWORD", "hunter2"), ("MYSQL_DB", "auth")];
    let more = [("AUTH_SVC_ADDRESS", "auth:5000"), ("GMAIL_ADDRESS", "me@gmail.com"), ("GMAIL_PASSWORD", "hunter2")];
    let compat = [("MICROSERVE_COMPAT", "tutorial")];
    let own = [("MICROSERVE_ACCOUNTS", "mysql://own.example.com/x")];
    let shown = |exe: &str, options: &[&str], variables: &[&[(&str, &str)]]| {
        let shown = said(&run(exe, options, &[&theirs[..], &more, &variables.concat()].concat()));
        assert!(!shown.contains("hunter2"), "{shown}");
        shown
    };
    for (exe, options, value) in [
        (AUTH, &["serve", "--print-config"][..], "@db:3306/auth"),
        (GATEWAY, &["--print-config"], "http://auth:5000"),
        (NOTIFIER, &["--print-config"], "@smtp.gmail.com"),
    ] {
        let with = shown(exe, options, &[&compat]);
        assert!(with.contains(value), "{with}");
        let without = shown(exe, options, &[&[]]);
        assert!(!without.contains(value), "{without}");
    }
    let both = shown(AUTH, &["serve", "--print-config"], &[&compat, &own]);
    assert!(both.contains("own.example.com") && !both.contains("@db:"), "{both}");
}

#[test]
fn every_service_knows_its_own_options_alone() {
    let options = |exe: &str, command: &[&str]| said(&run(exe, &[command, &["--help"]].concat(), &[]));
    for (exe, command, has, lacks) in [
        (AUTH, &["serve"][..], "--keys", "--queue"),
        (GATEWAY, &[], "--auth", "--accounts"),
        (CONVERTER, &[], "--conversions", "--mailer"),
        (NOTIFIER, &[], "--public-url", "--accounts"),
    ] {
        let help = options(exe, command);
        assert!(help.contains(has) && !help.contains(lacks), "{exe}: {help}");
        let wrong = run(exe, &[command, &[lacks, "file:///tmp"]].concat(), &[]);
        assert_eq!(wrong.status.code(), Some(2), "{exe} {lacks}");
    }
}

#[test]
fn what_can_not_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let ops = ["--ops-listen", "127.0.0.1:0", "--data", data];
    for (exe, options, words) in [
        (GATEWAY, &["--auth", "auth:5000"][..], "http://HOST:PORT"),
        (GATEWAY, &["--jobs", "redis://x"], "no adapter for redis"),
        (CONVERTER, &["--blobs", "mongodb://anna:hunter2@x/?sslCA=y"], "mongodb://"),
        (NOTIFIER, &["--mailer", "smtp://anna:hunter2@mail.example.com?tls=none"], "smtp://"),
    ] {
        let output = run(exe, &[&ops[..], options].concat(), &[]);
        assert_eq!(output.status.code(), Some(1), "{exe} {options:?}: {}", said(&output));
        assert!(said(&output).contains(words) && !said(&output).contains("hunter2"), "{}", said(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_waits_for_its_stores_says_so_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let ops = format!("127.0.0.1:{}", free_port());
    let nobody = format!("mongodb://127.0.0.1:{}", free_port());
    let mut converter = Command::new(CONVERTER)
        .args(["--jobs", &nobody, "--ops-listen", &ops, "--data", folder.path().to_str().unwrap()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let http = crate::common::http().build().unwrap();
    let (started, url) = (Instant::now(), format!("http://{ops}"));
    let ready = loop {
        match http.get(format!("{url}/readyz")).send().await {
            Ok(answer) => break answer,
            Err(_) if started.elapsed() < Duration::from_secs(20) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(err) => panic!("{err}"),
        }
    };
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<serde_json::Value>().await.unwrap()["status"], "starting");
    assert_eq!(http.get(format!("{url}/healthz")).send().await.unwrap().status(), 200);
    let pid = converter.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || converter.wait().unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap().success());
}

#[test]
fn accounts_can_be_made_beside_the_auth_service_and_are_not_removed_without_their_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let user = |options: &[&str]| {
        let data = ["--data", folder.path().to_str().unwrap()];
        run(AUTH, &[&["user"], options, &data].concat(), &[])
    };
    assert!(user(&["add", "anna@example.com"]).status.success());
    assert!(run(AUTH, &["migrate", "--data", folder.path().to_str().unwrap()], &[]).status.success());
    let accounts = format!("sqlite://{}", Path::new(folder.path()).join("microserve.db").display());
    let refused = user(&["remove", "anna@example.com", "--accounts", &accounts]);
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--jobs"), "{}", said(&refused));
    assert!(user(&["remove", "anna@example.com"]).status.success());
}
