//! What a thread gives up that is about to start a program of somebody else's. It is less than a child of ours gives
//! up: the program has to find its libraries, and nobody knows all the system calls that it makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::Enforced;
use super::linux::LAST_SECONDS;
use crate::settings::Limits;

/// Calls that reach beyond the process, and that nothing which reads and computes has to make. They fail.
const DENIED: &[libc::c_long] = &[
    // the network
    libc::SYS_socket,
    // other processes
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setsid,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_kcmp,
    // namespaces and mounts
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    // parts of the kernel that are large and often broken
    libc::SYS_bpf,
    libc::SYS_io_uring_setup,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// What standard libraries open when they start a program without input or output.
const NOWHERE: &str = "/dev/null";
/// Open files.
const DESCRIPTORS: u64 = 64;

/// Confines this thread, and so whatever it starts. What the kernel can't do is in the answer.
pub(crate) fn confine(readable: &[PathBuf]) -> Enforced {
    let mut missing = Vec::new();
    let mut done = |what: &str, outcome: Result<(), String>| {
        if let Err(why) = outcome {
            missing.push(format!("{what}: {why}"));
        }
    };
    done("privileges", drop_privileges().map_err(|err| err.to_string()));
    done("Landlock", read_only(readable));
    done("seccomp", deny());
    Enforced { missing }
}

fn drop_privileges() -> rustix::io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

fn read_only(readable: &[PathBuf]) -> Result<(), String> {
    let restricted = || -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V7))?
            .handle_access(AccessNet::from_all(ABI::V7))?
            .scope(Scope::from_all(ABI::V7))?
            .create()?
            .add_rules(path_beneath_rules(readable, AccessFs::from_read(ABI::V7)))?
            .add_rules(path_beneath_rules([NOWHERE], AccessFs::ReadFile | AccessFs::WriteFile))?
            .restrict_self()
    };
    match restricted().map_err(|err| err.to_string())?.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("the kernel does not have it, or it is switched off".to_owned()),
    }
}

/// Two filters, for two answers: of `clone3` nobody can see what it is to make, so it is as if the kernel did not know
/// it, and C libraries take `clone`.
fn deny() -> Result<(), String> {
    let filters = || -> Result<[BpfProgram; 2], seccompiler::Error> {
        let arch = std::env::consts::ARCH.try_into()?;
        let absent = BTreeMap::from([(libc::SYS_clone3, vec![])]);
        let absent = SeccompFilter::new(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32), arch)?;
        let mut denied: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, vec![])).collect();
        let namespace = libc::CLONE_NEWUSER as u64;
        let is_namespace =
            SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(namespace), namespace)?;
        denied.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_namespace])?]);
        // Limits of others.
        let is_other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
        denied.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![is_other])?]);
        let denied = SeccompFilter::new(denied, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32), arch)?;
        Ok([absent.try_into()?, denied.try_into()?])
    };
    let put_on = |filters: [BpfProgram; 2]| filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter));
    filters().and_then(put_on).map_err(|err| err.to_string())
}

/// Limits a process that runs already.
pub(crate) fn limit(process: u32, limits: &Limits) -> std::io::Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidInput)?;
    let cpu = limits.cpu.as_secs().max(1);
    for (resource, soft, hard) in [
        (Resource::Data, limits.memory, limits.memory),
        // The first signal says what happened, the second can't be ignored.
        (Resource::Cpu, cpu, cpu.saturating_add(LAST_SECONDS)),
        (Resource::Fsize, 0, 0),
        (Resource::Core, 0, 0),
        (Resource::Nofile, DESCRIPTORS, DESCRIPTORS),
    ] {
        // It has what this process has, which may be less.
        let hard = getrlimit(resource).maximum.map_or(hard, |ours| ours.min(hard));
        prlimit(Some(process), resource, Rlimit { current: Some(soft.min(hard)), maximum: Some(hard) })?;
    }
    Ok(())
}
