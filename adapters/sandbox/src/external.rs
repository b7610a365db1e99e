//! Programs of somebody else's, such as ffmpeg, behind as many of the walls as they can live with.
//!
//! A child of ours gives everything up once it runs, which a strange program doesn't. But whom a thread starts has
//! given up what the thread has (landlock(7), seccomp(2), capabilities(7)). So a thread of its own gives it up, starts
//! the program and ends; the rest of this process goes on as before.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use microserve_core::transcode::TranscodeError;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::confine::{self, Enforced};
use crate::process::{crashed, explain_exit};
use crate::settings::{Limits, Mode};

/// How long a program may take to end when all is said.
const LAST_BREATH: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(5);

/// How a strange program is started.
///
/// ```no_run
/// use std::process::{Command, Stdio};
///
/// use microserve_sandbox::{External, Limits, Mode};
///
/// # fn main() -> std::io::Result<()> {
/// let walls = External::new(Limits::default(), Mode::BestEffort).readable("/usr").readable("/lib64");
/// let mut running = walls.spawn(Command::new("/usr/bin/ffmpeg").arg("-version").stdin(Stdio::null()))?;
/// let _ended_with = running.wait();
/// # Ok(())
/// # }
/// ```
///
/// # What it can't do
/// - open files but those that it may read, write any, or start programs but those (Landlock);
/// - open sockets, trace processes, make namespaces, get privileges or capabilities (seccomp and others);
/// - use more memory and processor time than [`Limits::memory`] and [`Limits::cpu`] say. The other limits are for
///   whoever started it: it can be ended at any time.
///
/// # What it can
/// - Make any other system call, and so reach more of the kernel than a child of [`Sandboxed`](crate::Sandboxed) can.
/// - If it was taken over, start others that leave its process group, and so outlive it within the same walls.
/// - Outlive this process, if that is killed, until it writes into a pipe that nobody reads, or has used up its time.
///
/// The limits begin a moment after the program.
#[derive(Clone, Debug)]
pub struct External {
    limits: Limits,
    mode: Mode,
    readable: Vec<PathBuf>,
}

impl External {
    /// A program that may read nothing at all.
    #[must_use]
    pub fn new(limits: Limits, mode: Mode) -> Self {
        Self { limits, mode, readable: Vec::new() }
    }

    /// Lets it read and execute this file, or what is below this folder. What is not there is none.
    #[must_use]
    pub fn readable(mut self, path: impl AsRef<Path>) -> Self {
        self.readable.push(path.as_ref().to_owned());
        self
    }

    /// Starts the program: in a process group of its own, in the root folder. Environment, and standard input, output
    /// and error, are as `command` says; of the environment there is mostly no need ([`Command::env_clear`]). The
    /// program's path should be a whole one: nobody looks for it in folders that can't be read.
    ///
    /// # Errors
    /// When it can't be started, or, in strict mode, something is not enforced.
    pub fn spawn(&self, command: &mut Command) -> io::Result<ExternalChild> {
        command.current_dir("/").process_group(0);
        let started = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("external".to_owned()).spawn_scoped(scope, || {
                let enforced = confine::external(&self.readable);
                self.check(&enforced)?;
                Ok(ExternalChild { child: command.spawn()?, enforced })
            })?;
            thread.join().unwrap_or_else(|_panicked| Err(io::Error::other("the thread that confines it panicked")))
        });
        let mut running = started?;
        // Dropped at any error, it is gone.
        if let Err(err) = confine::limit_external(running.child.id(), &self.limits) {
            running.enforced.missing.push(format!("resource limits: {err}"));
        }
        self.check(&running.enforced)?;
        Ok(running)
    }

    fn check(&self, enforced: &Enforced) -> io::Result<()> {
        if self.mode == Mode::Strict && !enforced.is_full() {
            return Err(io::Error::other(format!("the sandbox is not complete here: {}", enforced.missing.join("; "))));
        }
        Ok(())
    }
}

/// A strange program that runs. Dropping it ends it, and all that it started.
#[derive(Debug)]
pub struct ExternalChild {
    child: Child,
    enforced: Enforced,
}

impl ExternalChild {
    /// The process, to take its pipes from.
    pub fn process(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What keeps it from doing harm.
    #[must_use]
    pub fn enforced(&self) -> &Enforced {
        &self.enforced
    }

    /// Waits for a program that has said all it has to say, for two seconds; gives the code that it ended with.
    ///
    /// # Errors
    /// [`TranscodeError::LimitExceeded`] if it used up its processor time, [`TranscodeError::Crashed`] if a signal
    /// ended it or nothing does.
    pub fn wait(&mut self) -> Result<i32, TranscodeError> {
        let until = Instant::now() + LAST_BREATH;
        loop {
            match self.child.try_wait().map_err(|err| TranscodeError::Internal(err.into()))? {
                Some(status) => return status.code().ok_or_else(|| explain_exit(status, "")),
                None if Instant::now() < until => std::thread::sleep(TICK),
                None => return Err(crashed("it hung up and went on", "")),
            }
        }
    }
}

impl Drop for ExternalChild {
    fn drop(&mut self) {
        // Until it has been waited for, its number is its own; its group's is as long as anybody is in it.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
        let _gone = self.child.kill();
        let _nothing_to_be_done = self.child.wait();
    }
}
