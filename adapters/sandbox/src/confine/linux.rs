//! Resource limits, Landlock, and what else Linux lets a process give up without a filter.

use std::os::fd::RawFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::io;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};

use crate::settings::Limits;

/// Address space beyond what may be written to: the program itself, and what allocators reserve for each thread
/// without using it.
const RESERVED: u64 = 2 * 1024 * 1024 * 1024;
/// The main thread's stack.
const STACK: u64 = 8 * 1024 * 1024;
/// Between SIGXCPU, which says what happened, and SIGKILL, which nobody can ignore; in seconds.
pub(super) const LAST_SECONDS: u64 = 2;

/// Landlock and seccomp are for the thread that asks for them, and for those that it makes afterwards.
pub(super) fn alone() -> Result<(), String> {
    match std::fs::read_dir("/proc/self/task").map_err(|err| format!("no threads can be counted: {err}"))?.count() {
        1 => Ok(()),
        threads => Err(format!("there are {threads} threads: microserve_sandbox::child comes first in main")),
    }
}

/// When memory is short, the kernel ends this process before its parent (proc(5), oom_score_adj).
pub(super) fn be_the_first_to_go() -> std::io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "1000")
}

/// No capabilities, no new privileges, and nobody of the same user looks in.
pub(super) fn drop_privileges() -> io::Result<()> {
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// The limits that the kernel counts.
pub(super) fn limit(limits: &Limits) -> io::Result<()> {
    // All that is private and writable counts, whether it is used or not; but not what is only reserved. So what is
    // resident stays below it, however many threads have their arenas and stacks.
    at_most(Resource::Data, limits.memory)?;
    at_most(Resource::As, limits.memory.saturating_add(RESERVED))?;
    at_most(Resource::Stack, STACK)?;
    at_most(Resource::Fsize, 0)?;
    at_most(Resource::Core, 0)?;
    let cpu = limits.cpu.as_secs().max(1);
    let hard = getrlimit(Resource::Cpu).maximum;
    let maximum = hard.map_or(cpu.saturating_add(LAST_SECONDS), |hard| hard.min(cpu.saturating_add(LAST_SECONDS)));
    setrlimit(Resource::Cpu, Rlimit { current: Some(cpu.min(maximum)), maximum: Some(maximum) })
}

fn at_most(resource: Resource, value: u64) -> io::Result<()> {
    let value = getrlimit(resource).maximum.map_or(value, |hard| hard.min(value));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}

/// No further descriptor, whatever asks for one.
pub(super) fn no_more_descriptors(link: RawFd) -> io::Result<()> {
    at_most(Resource::Nofile, u64::try_from(link).unwrap_or(0).saturating_add(1))
}

pub(super) fn die_with_parent() -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
}

/// Nothing of the file system can be reached, no TCP port, no process outside and no abstract socket: a ruleset without
/// any rule. Of the file system that is since Linux 5.13; the rest as far as the kernel knows of it, and seccomp has no
/// call for it anyway.
pub(super) fn leave_file_system() -> Result<(), String> {
    let restricted = || -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V7))?
            .handle_access(AccessNet::from_all(ABI::V7))?
            .scope(Scope::from_all(ABI::V7))?
            .create()?
            .restrict_self()
    };
    match restricted().map_err(|err| err.to_string())?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel does not have it, or it is switched off".to_owned()),
    }
}
