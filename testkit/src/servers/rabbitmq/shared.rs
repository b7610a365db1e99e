//! One broker for all test processes of a run.
//!
//! Whoever uses it holds a shared lock on a file; the kernel lets go of it when the process ends, however it ends. The
//! first one starts a guardian, which ends the broker when nobody has held the lock for some seconds.

use std::fs::{File, OpenOptions};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use super::node::{Node, broker};
use crate::media::cache;
use crate::servers::program;

/// The right to use the broker of the run, for as long as it is held.
pub struct Shared {
    node: Node,
    _user: File,
}

impl Deref for Shared {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// The broker of the run, which is started if it does not run yet.
pub fn shared() -> Shared {
    let folder = cache("rabbitmq");
    std::fs::create_dir_all(&folder).unwrap_or_else(|err| panic!("{} can't be made: {err}", folder.display()));
    let user = open(&folder.join("users"));
    user.lock_shared().expect("a file can be locked");
    // The guardian looks at it too: a user who came and went while it slept.
    user.set_modified(SystemTime::now()).expect("a file's time can be set");
    let starting = open(&folder.join("starting"));
    starting.lock().expect("a file can be locked");
    let node = running(&folder).unwrap_or_else(|| start(&folder));
    Shared { node, _user: user }
}

fn open(path: &Path) -> File {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.unwrap_or_else(|err| panic!("{} can't be opened: {err}", path.display()))
}

fn running(folder: &Path) -> Option<Node> {
    let node = Node::read(folder, &std::fs::read_to_string(folder.join("node")).ok()?)?;
    node.greets().then_some(node)
}

fn start(folder: &Path) -> Node {
    for left in ["data", "log.err", "node"] {
        let path = folder.join(left);
        let _not_there = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
    }
    let node = Node::new(folder);
    let mut guardian = Command::new("setsid");
    guardian.args(["--fork", "bash", "-c", include_str!("guardian.sh"), "guardian"]);
    guardian.arg(folder).arg(broker()).arg(program("epmd")).args(node.mapper_args()).envs(node.environment());
    guardian.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(guardian.status().is_ok_and(|status| status.success()), "setsid and bash can't be run");
    let started = Instant::now();
    while !node.greets() {
        assert!(started.elapsed() < Duration::from_secs(120), "RabbitMQ did not start:\n{}", node.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    std::fs::write(folder.join("node"), node.written()).expect("the broker's ports can be written down");
    node
}
