//! The page in a real browser: `bins/tests/page` has the steps, in Python; here is the server that it talks to, and
//! what a browser can't do by itself, such as cutting its own connection.
//!
//! A screenshot of every state is left in `page` beside cargo's output.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "test code")]

use crate::common;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{exe, installed};
use microserve_testkit::chaos_proxy::{ChaosProxy, Fault};
use microserve_testkit::media;
use microserve_testkit::server::{Server, add_user};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/page.py");

/// The server behind a network that has faults when the script wants them.
struct Stage {
    folder: tempfile::TempDir,
    server: Option<Server>,
    proxy: ChaosProxy,
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(exe(), &folder.path().join("data"), &[]);
        let proxy = ChaosProxy::start(server.port());
        Self { folder, server: Some(server), proxy }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Does what a line of the script asks for; the answer is a line, too.
    fn answer(&mut self, line: &str) -> String {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "user" => return add_user(exe(), &self.data(), rest),
            "refuse" => self.proxy.set(Fault::Refuse),
            "throttle" => self.proxy.set(Fault::Throttle(rest.parse().unwrap())),
            "heal" => self.proxy.heal(),
            // Nobody's token is good any more.
            "new-keys" => {
                self.proxy.set(Fault::Refuse);
                let server = self.server.take().unwrap();
                let port = server.port();
                assert!(server.stop().success());
                std::fs::remove_dir_all(self.data().join("keys")).unwrap();
                self.server = Some(Server::start_on(exe(), &self.data(), port, &[]));
                self.proxy.heal();
            }
            _ => panic!("the script says {line:?}"),
        }
        "done".to_owned()
    }
}

/// An hour of a tone: long enough to be seen while it is converted.
fn long() -> PathBuf {
    let tone = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=60", "-ac", "2", "-c:a", "aac"];
    let minute = media::make("minute.m4a", &tone);
    media::make("long.m4a", &["-stream_loop", "59", "-i", minute.to_str().unwrap(), "-c", "copy"])
}

#[test]
fn the_page_does_what_it_promises_in_a_browser() {
    let mut stage = Stage::start();
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("page");
    let _there_are_none = std::fs::remove_dir_all(&screenshots);
    std::fs::create_dir_all(&screenshots).unwrap();
    let mut script = Command::new(installed("browser/bin/python3"))
        .args(["-B", SCRIPT, &format!("http://127.0.0.1:{}/", stage.proxy.port())])
        .arg(screenshots)
        .args([media::tone_mp4(5), media::tone_mkv(3), media::video_only_mp4(), media::film(24, 10), long()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answers = script.stdin.take().unwrap();
    for line in BufReader::new(script.stdout.take().unwrap()).lines() {
        let answer = stage.answer(&line.unwrap());
        writeln!(answers, "{answer}").unwrap();
    }
    assert!(script.wait().unwrap().success(), "the browser saw something else; what, stands above");
}
