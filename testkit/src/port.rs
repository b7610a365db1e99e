//! Ports that stay free until somebody listens on them.

use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;
use std::sync::Mutex;

/// The ports of this process, each locked until it ends.
static OURS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and that no other test of this machine is given while this process lives. A server
/// may so be stopped and come back to its port.
///
/// It is none of those that the system hands out to connections: between two starts of a server, a connection of any
/// other test would take it.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("microserve-ports");
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    let ports = not_handed_out();
    // Where the search begins differs from process to process, so that few ports are tried.
    let count = ports.end - ports.start;
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(count)).expect("it is below a u16");
    let mut ours = OURS.lock().expect("nobody panics while holding it");
    for step in 0..count {
        let port = ports.start + (start + step) % count;
        let lock = File::create(folder.join(port.to_string())).expect("the folder for temporary files can be written");
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ours.push(lock);
            return port;
        }
    }
    panic!("no port of {ports:?} is free");
}

/// The ports below those of the system's own choice (ip(7), `ip_local_port_range`), above what servers use by default.
fn not_handed_out() -> Range<u16> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32768);
    assert!(first > 12_000, "the system hands out all ports from {first}: tests need some of their own below");
    10_000..first
}
