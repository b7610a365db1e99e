//! A private RabbitMQ.
//!
//! It takes a processor some seconds to start one. So tests that only use it share one, [`shared`], with a virtual host
//! each; tests that kill, freeze or starve it start a [`Server`] of their own.

use std::ops::Deref;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Guarded, program};

mod node;
mod shared;

pub use node::Node;
pub use shared::{Shared, shared};

/// A running RabbitMQ of one's own.
pub struct Server {
    node: Node,
    process: Option<Guarded>,
    _mapper: Guarded,
    _folder: TempDir,
}

impl Server {
    /// Starts one on free ports.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the broker can be made");
        let node = Node::new(folder.path());
        let mapper = Guarded::start_in(node.environment(), program("epmd"), node.mapper_args());
        let mut server = Self { node, process: None, _mapper: mapper, _folder: folder };
        server.restart();
        server
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().expect("the broker runs").kill();
    }

    /// Starts it again after [`Server::kill`], on the same ports and with the same data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the broker runs");
        let mut process = Guarded::start_in(self.node.environment(), node::broker(), Vec::new());
        let started = Instant::now();
        while !self.node.is_up() {
            let late = started.elapsed() > Duration::from_secs(120);
            assert!(!late && !process.has_ended(), "RabbitMQ did not start:\n{}", self.node.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.process = Some(process);
    }

    /// Stops it in its tracks: connections stay open, and nobody answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("the broker runs").freeze();
    }

    /// Lets it go on after [`Server::freeze`].
    pub fn thaw(&self) {
        self.process.as_ref().expect("the broker runs").signal("-CONT");
    }

    /// Raises the alarm that it raises when it is short of memory, or ends it: publishers are blocked meanwhile.
    pub fn set_memory_alarm(&self, raised: bool) {
        let share = if raised { "0.000001" } else { "0.5" };
        self.node.eval(&format!("vm_memory_monitor:set_vm_memory_high_watermark({share})"));
    }

    /// Takes channels down whose deliveries have not been acknowledged for so long; looks every second. For channels
    /// that are opened from now on.
    pub fn set_ack_limit(&self, limit: Duration) {
        let limit = limit.as_millis();
        self.node.eval(&format!(
            "application:set_env(rabbit, consumer_timeout, {limit}), application:set_env(rabbit, channel_tick_interval, 1000)"
        ));
    }
}

impl Deref for Server {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}
