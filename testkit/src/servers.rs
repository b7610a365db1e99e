//! Real servers: a private one for each test that asks, on the loopback address, gone with its owner.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub mod mariadb;
pub mod mongodb;
pub mod rabbitmq;

/// A process that never outlives the test, even when the test's own process is killed.
struct Guarded {
    child: Child,
    /// Ends the thread that the process hangs on.
    _parent: mpsc::Sender<()>,
}

impl Guarded {
    fn start(program: PathBuf, args: Vec<String>) -> Self {
        Self::start_in(Vec::new(), program, args)
    }

    /// With variables of its environment beside those of the test.
    fn start_in(environment: Vec<(&'static str, String)>, program: PathBuf, args: Vec<String>) -> Self {
        let (ended, end) = mpsc::channel::<()>();
        let (made, child) = mpsc::channel();
        // The kernel sends the signal when the thread ends that started the process (prctl(2), PR_SET_PDEATHSIG), and
        // threads of tests end early. This one stays for as long as it is wanted.
        std::thread::spawn(move || {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL"]).arg(program).args(args).envs(environment);
            let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let _nobody_waits = made.send(spawned);
            let _owner_is_gone = end.recv();
        });
        let child = child.recv().expect("the thread lives").unwrap_or_else(|err| panic!("setpriv can't be run: {err}"));
        Self { child, _parent: ended }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_some()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {name} failed");
    }

    /// Stops all its threads, and waits until they have stopped: a busy machine takes its time.
    fn freeze(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        let has_stopped = |thread: std::io::Result<std::fs::DirEntry>| {
            let stat = thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
            // proc_pid_stat(5): the state follows the name, which may hold anything, in parentheses.
            stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T')))
        };
        let all_have = || std::fs::read_dir(&threads).is_ok_and(|mut threads| threads.all(has_stopped));
        let begun = Instant::now();
        while !all_have() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// `kill -9`, until it is gone.
    fn kill(&mut self) {
        let _already_gone = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program, also from the folders that are not on everybody's path.
fn program(name: &str) -> PathBuf {
    program_in(name, &["/usr/sbin".into(), "/usr/local/sbin".into()])
}

/// A program, on the path or in one of these folders.
fn program_in(name: &str, folders: &[PathBuf]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(folders.iter().cloned());
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("the tests need {name}, which is not installed; `.ci/need test` does that"))
}

/// A certificate for `localhost`, which is its own authority, and its key, in PEM.
fn certificate() -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate can be made");
    (signed.cert.pem(), signed.signing_key.serialize_pem())
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("proc is mounted").uid() == 0
}
