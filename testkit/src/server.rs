//! The all-in-one server as a process of its own, which may be killed at any moment.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::port::free_port;

/// A running `microserve serve`.
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:PORT` of the gateway.
    pub url: String,
    /// The same of the ops port.
    pub ops_url: String,
}

impl Server {
    /// Starts `exe serve` on free ports with its data in `data`, and waits until it listens.
    pub fn start(exe: &Path, data: &Path, options: &[&str]) -> Self {
        Self::start_on(exe, data, free_port(), options)
    }

    /// As [`Server::start`], on this port, so that a restarted one is found again.
    pub fn start_on(exe: &Path, data: &Path, port: u16, options: &[&str]) -> Self {
        let ops_port = free_port();
        let mut child = Command::new(exe)
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}"), "--ops-listen", &format!("127.0.0.1:{ops_port}")])
            .arg("--data")
            .arg(data)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's binary starts");
        let log = child.stderr.take().expect("stderr is piped");
        let (ready, is_ready) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut lines = BufReader::new(log).lines();
            for line in lines.by_ref().map_while(Result::ok) {
                let listening = line.contains("listens on http://");
                seen.push(line);
                if listening {
                    let _nobody_waits = ready.send(Ok(()));
                    break;
                }
            }
            // The pipe is read to its end, or the server would stall on a full one.
            let mut log = std::env::var_os("MICROSERVE_TEST_LOG")
                .and_then(|path| std::fs::File::options().create(true).append(true).open(path).ok());
            for line in lines.map_while(Result::ok) {
                if let Some(log) = &mut log {
                    use std::io::Write;
                    let _ignored = writeln!(log, "{line}");
                }
                seen.push(line);
                if seen.len() > 100 {
                    seen.remove(0);
                }
            }
            let _nobody_waits = ready.send(Err(seen.join("\n")));
        });
        match is_ready.recv_timeout(Duration::from_secs(60)) {
            Ok(Ok(())) => {}
            Ok(Err(log)) => panic!("the server ended at its start:\n{log}"),
            Err(_) => panic!("the server did not start within a minute"),
        }
        let url = format!("http://127.0.0.1:{port}");
        Self { child, url, ops_url: format!("http://127.0.0.1:{ops_port}") }
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The port of the gateway.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("the url ends in a port")
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server is gone");
    }

    /// Asks it to stop (SIGTERM), and goes on.
    pub fn ask_to_stop(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    }

    /// Asks it to stop (SIGTERM) and waits for it.
    pub fn stop(mut self) -> ExitStatus {
        self.ask_to_stop();
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.child.try_wait().expect("the server can be waited for") {
                return status;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop within a minute of SIGTERM");
    }

    /// The most memory it has had resident so far, in bytes (`VmHWM` in proc(5)).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("proc is mounted");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel counts memory");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("VmHWM is a number");
        kib * 1024
    }

    /// Starts to count the peak anew (proc(5), `clear_refs`).
    pub fn reset_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").expect("the peak can be reset");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// Adds an account with `exe user add` and returns the password that it made.
pub fn add_user(exe: &Path, data: &Path, email: &str) -> String {
    let output = Command::new(exe).args(["user", "add", email, "--data"]).arg(data).output().expect("user add runs");
    assert!(output.status.success(), "user add failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a password is text").trim().to_owned()
}

/// The names of the finished files below a folder, however deep.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() { found.extend(files_below(&path)) } else { found.push(path) }
    }
    found
}
