//! What a child does to itself before it looks at a file: it gives up all that its work does not need.
//!
//! Three layers, each of which would be enough against most: resource limits; Landlock, which takes the file system and
//! the network away; seccomp, which leaves the few system calls that computing needs. Besides, it has no descriptor but
//! the socket to its parent and standard error, no capabilities, no way to get privileges, and dies with its parent.
//!
//! The number of processes (`RLIMIT_NPROC`) is not limited: the kernel counts everything that the user runs, so a number
//! that lets a busy machine work forbids nothing. seccomp allows threads alone.

use serde::{Deserialize, Serialize};

use crate::settings::Limits;

#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
mod external;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use external::{confine as external, limit as limit_external};

/// How a child is confined.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Enforced {
    /// What the kernel could not do, each in words. Nothing: all of it is enforced.
    pub missing: Vec<String>,
}

impl Enforced {
    /// Whether all of it is enforced.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.missing.is_empty()
    }
}

/// The layers that are put on: all of them, but for tests that want to see one alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Resource limits.
    pub limits: bool,
    /// No file system and no network, by Landlock.
    pub landlock: bool,
    /// Few system calls, by seccomp.
    pub seccomp: bool,
}

impl Layers {
    /// What everybody wants.
    pub const ALL: Self = Self { limits: true, landlock: true, seccomp: true };
}

/// Confines this process, which has one thread and talks over the descriptor `link`. What the kernel can't do is in
/// the answer.
#[cfg(target_os = "linux")]
pub(crate) fn confine(limits: &Limits, layers: Layers, link: std::os::fd::RawFd) -> Enforced {
    let mut missing = Vec::new();
    let mut done = |what: &str, outcome: Result<(), String>| {
        if let Err(why) = outcome {
            missing.push(format!("{what}: {why}"));
        }
    };
    done("alone", linux::alone());
    // Not every system lets it, and nothing depends on it.
    let _may_fail = linux::be_the_first_to_go();
    done("privileges", linux::drop_privileges().map_err(|err| err.to_string()));
    if layers.limits {
        done("resource limits", linux::limit(limits).map_err(|err| err.to_string()));
    }
    if layers.landlock {
        done("Landlock", linux::leave_file_system());
    }
    done("descriptors", linux::no_more_descriptors(link).map_err(|err| err.to_string()));
    // After all that changes credentials, because that could undo it (prctl(2), PR_SET_PDEATHSIG).
    done("end with the parent", linux::die_with_parent().map_err(|err| err.to_string()));
    if layers.seccomp {
        done("seccomp", calls::restrict(link));
    }
    Enforced { missing }
}

/// Elsewhere there is nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub(crate) fn confine(_limits: &Limits, _layers: Layers, _link: std::os::fd::RawFd) -> Enforced {
    Enforced { missing: vec!["everything: this is not Linux".to_owned()] }
}

/// Elsewhere there is nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub(crate) fn external(_readable: &[std::path::PathBuf]) -> Enforced {
    Enforced { missing: vec!["everything: this is not Linux".to_owned()] }
}

/// Elsewhere there is nothing of the kind.
#[cfg(not(target_os = "linux"))]
pub(crate) fn limit_external(_process: u32, _limits: &Limits) -> std::io::Result<()> {
    Ok(())
}

/// Closes every descriptor but the three that each process has: what the parent got from others may have come along.
pub(crate) fn close_inherited() {
    let inherited: Vec<i32> = match std::fs::read_dir("/proc/self/fd") {
        Ok(folder) => {
            folder.flatten().filter_map(|entry| entry.file_name().to_str().and_then(|n| n.parse().ok())).collect()
        }
        Err(_) => (3..1024).collect(),
    };
    for descriptor in inherited.into_iter().filter(|descriptor| *descriptor > 2) {
        // The folder itself is among them, and closed already.
        let _not_open = nix::unistd::close(descriptor);
    }
}
