//! A child as its parent sees it: started, talked to under a watch, ended, and its end explained.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use microserve_core::transcode::{Limit, TranscodeError};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::child::NAME;
use crate::outcome::cut;
use crate::settings::Limits;
use crate::wire::{Answer, Frame, Link, Received};

/// How often the limits are looked at while nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// How long a child that has hung up may take to end by itself, so that it is known how.
const LAST_BREATH: Duration = Duration::from_secs(1);
/// How much of what it last wrote to standard error is looked at.
const WORDS: usize = 4096;
/// How much of it is read at a time: as much as a pipe holds.
const PIPE: usize = 64 * 1024;

/// What ends a conversation early.
pub(crate) enum Broken {
    /// The child has hung up.
    Ended,
    /// It said what makes no sense.
    Nonsense,
    /// It is over a limit.
    Exceeded(Limit),
    /// The socket failed.
    Io(io::Error),
}

/// A running child. Dropping it ends it.
pub(crate) struct Running {
    child: Child,
    link: Link<UnixStream>,
    stderr: Option<ChildStderr>,
    /// What it last wrote there.
    words: Vec<u8>,
    pub(crate) watch: Watch,
}

impl Running {
    /// Starts this program, or another, as a child of its own: without environment, in a process group of its own, with a
    /// socket to us as its standard input.
    pub(crate) fn start(program: &Path, words: &str, limits: &Limits) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(TICK))?;
        ours.set_write_timeout(Some(TICK))?;
        // It dies with the thread that starts it (prctl(2), PR_SET_PDEATHSIG), which is the one that serves it.
        let mut child = Command::new(program)
            .arg0(NAME)
            .arg(words)
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take();
        let running = Self { child, link: Link::new(ours), stderr, words: Vec::new(), watch: Watch::new(limits) };
        if let Some(stderr) = &running.stderr {
            // Somebody else may hold its other end: reading must not wait.
            rustix::fs::fcntl_setfl(stderr, rustix::fs::OFlags::NONBLOCK)?;
        }
        Ok(running)
    }

    /// Waits for what the child says next, up to a tick. `None`: nothing whole has come yet.
    pub(crate) fn receive(&mut self) -> Result<Option<Frame>, Broken> {
        let received = self.watch.over(|| self.link.receive());
        match received {
            Ok(Received::Frame(frame)) => Ok(Some(frame)),
            Ok(Received::Nothing) => {
                // It may be waiting for somebody to listen to its words.
                self.hear();
                self.watch.check().map(|()| None)
            }
            Ok(Received::End) => Err(Broken::Ended),
            Err(err) if err.kind() == io::ErrorKind::InvalidData => Err(Broken::Nonsense),
            Err(err) => Err(Broken::Io(err)),
        }
    }

    pub(crate) fn send(&mut self, answer: &Answer<'_>) -> Result<(), Broken> {
        let frame = answer.encode();
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match self.watch.over(|| self.link.send_some(rest)) {
                Ok(sent) => rest = &rest[sent..],
                Err(err) if matches!(err.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                    return Err(Broken::Ended);
                }
                Err(err) => return Err(Broken::Io(err)),
            }
            self.watch.check()?;
        }
        Ok(())
    }

    /// Ends the child and everything that it may have started, and waits until it is gone.
    fn kill(&mut self) -> io::Result<ExitStatus> {
        // Its process id is its own until it has been waited for.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        let _gone = self.child.kill();
        self.child.wait()
    }

    /// Why the conversation broke, as the transcoder's error. Ends the child.
    pub(crate) fn explain(mut self, broken: Broken) -> TranscodeError {
        match broken {
            Broken::Exceeded(limit) => TranscodeError::LimitExceeded { limit },
            Broken::Nonsense => self.crashed("it said what makes no sense"),
            Broken::Io(err) => TranscodeError::Internal(err.into()),
            Broken::Ended => match self.wait_a_little() {
                Some(status) => {
                    self.hear();
                    explain_exit(status, &self.last_words())
                }
                None => self.crashed("it hung up and went on"),
            },
        }
    }

    /// It crashed, with what it said itself.
    pub(crate) fn crashed(&mut self, how: &str) -> TranscodeError {
        self.hear();
        crashed(how, &self.last_words())
    }

    fn wait_a_little(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + LAST_BREATH;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Reads what it wrote to standard error, and keeps the end of it. What is there is there: there is no waiting.
    fn hear(&mut self) {
        let Some(stderr) = &mut self.stderr else { return };
        let _until_it_would_block = stderr.take(PIPE as u64).read_to_end(&mut self.words);
        self.words.drain(..self.words.len().saturating_sub(WORDS));
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.words).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _nothing_to_be_done = self.kill();
    }
}

/// What the end of a process says. Of its words nothing is believed but what Rust's runtime says before it aborts for
/// want of memory; a child that lies there only lies about the reason of its failure.
pub(crate) fn explain_exit(status: ExitStatus, words: &str) -> TranscodeError {
    let is = |signal: Signal| status.signal() == Some(signal.as_raw());
    if is(Signal::XCPU) {
        return TranscodeError::LimitExceeded { limit: Limit::Cpu };
    }
    if is(Signal::ABORT) && words.contains("memory allocation of ") {
        return TranscodeError::LimitExceeded { limit: Limit::Memory };
    }
    let how = match (status.signal(), status.code()) {
        _ if is(Signal::SYS) => "it made a system call that it may not make".to_owned(),
        (Some(signal), _) => format!("it was ended by signal {signal}"),
        (None, Some(code)) => format!("it ended with code {code} and without an answer"),
        (None, None) => "it ended".to_owned(),
    };
    crashed(&how, words)
}

pub(crate) fn crashed(how: &str, words: &str) -> TranscodeError {
    let said = words.lines().rfind(|line| !line.is_empty()).map(|line| format!(", having said: {}", cut(line, 200)));
    TranscodeError::Crashed { detail: format!("{how}{}", said.unwrap_or_default()) }
}

/// Looks at the time that a child takes.
pub(crate) struct Watch {
    began: Instant,
    time: Duration,
    silence: Duration,
    /// Time spent on waiting for the child since its last progress. What source and sink take is not its fault.
    silent: Duration,
}

impl Watch {
    fn new(limits: &Limits) -> Self {
        Self { began: Instant::now(), time: limits.time, silence: limits.silence, silent: Duration::ZERO }
    }

    fn over<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let since = Instant::now();
        let waited = wait();
        self.silent = self.silent.saturating_add(since.elapsed());
        waited
    }

    /// The child has made progress.
    pub(crate) fn progress(&mut self) {
        self.silent = Duration::ZERO;
    }

    /// How long the child has made no progress.
    pub(crate) fn silent(&self) -> Duration {
        self.silent
    }

    /// Whether there is time left.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        if self.silent > self.silence {
            return Err(Broken::Exceeded(Limit::Silence));
        }
        if self.began.elapsed() > self.time {
            return Err(Broken::Exceeded(Limit::Time));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended_by(signal: Signal) -> ExitStatus {
        ExitStatus::from_raw(signal.as_raw())
    }

    #[test]
    fn ends_are_told_apart() {
        let words = "memory allocation of 1073741824 bytes failed\n";
        for (status, words, code) in [
            (ended_by(Signal::XCPU), "", "cpu_exceeded"),
            (ended_by(Signal::ABORT), words, "memory_exceeded"),
            (ended_by(Signal::ABORT), "", "crashed"),
            (ended_by(Signal::SEGV), words, "crashed"),
            (ended_by(Signal::SYS), "", "crashed"),
            (ended_by(Signal::KILL), "", "crashed"),
            (ExitStatus::from_raw(0), "", "crashed"),
        ] {
            assert_eq!(explain_exit(status, words).code(), code, "{status}, {words}");
        }
        let TranscodeError::Crashed { detail } = explain_exit(ended_by(Signal::SYS), "more\n\u{1b}[31mred\n\n") else {
            panic!("it crashed");
        };
        assert_eq!(detail, "it made a system call that it may not make, having said: [31mred");
    }
}
