//! The system calls that are left: computing, memory, threads, and talking to the parent. Whatever else is called ends the
//! process (SIGSYS).
//!
//! Two filters lie one above the other, and the stricter answer counts (seccomp(2)). The first answers `ENOSYS` to a few
//! harmless calls that libraries make in passing, such as looking for a file that may not be there; the second knows
//! all that is allowed.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Allowed whatever their arguments are: none of them reaches beyond this process.
const FREE: &[libc::c_long] = &[
    // memory
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // threads and waiting
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // the time, chance, and who one is
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // signals to oneself, and the end
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// As if the kernel did not know them. glibc then starts threads by `clone`, whose flags can be looked at.
const ABSENT: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ioctl,
    libc::SYS_getcwd,
    // What modern systems left out.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
];

/// How threads are made (glibc's `create_thread`): everything shared with those that are there.
const THREAD: libc::c_int = libc::CLONE_VM
    | libc::CLONE_FS
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM
    | libc::CLONE_SIGHAND
    | libc::CLONE_THREAD
    | libc::CLONE_SETTLS
    | libc::CLONE_PARENT_SETTID
    | libc::CLONE_CHILD_CLEARTID;

/// Puts both filters on, for this thread and those that it will make.
pub(super) fn restrict(link: RawFd) -> Result<(), String> {
    filters(link).and_then(|filters| filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter))).map_err(
        |err| match std::error::Error::source(&err) {
            Some(source) => format!("{err}: {source}"),
            None => err.to_string(),
        },
    )
}

fn filters(link: RawFd) -> Result<[BpfProgram; 2], seccompiler::Error> {
    let arch: TargetArch = std::env::consts::ARCH.try_into()?;
    let absent: Rules = ABSENT.iter().map(|call| (*call, vec![])).collect();
    let absent = SeccompFilter::new(absent, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32), arch)?;
    let allowed = SeccompFilter::new(allowed(link)?, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    Ok([absent.try_into()?, allowed.try_into()?])
}

fn allowed(link: RawFd) -> Result<Rules, seccompiler::Error> {
    // No rule of arguments: any.
    let mut rules: Rules = FREE.iter().chain(ABSENT).map(|call| (*call, vec![])).collect();
    let read_write = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    // Private and anonymous: neither a file nor memory that no limit counts, and nothing that grows by itself.
    let fresh = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
    let harmless = (libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_STACK) as u64;
    let me = u64::from(std::process::id());
    let descriptor = |fd: RawFd| Rule::new().is(0, u64::from(fd.unsigned_abs()));
    // What C libraries keep for themselves, and what Rust's own handler gives up so that a crash is seen to be one.
    // A handler of any other signal could outlive a limit (SIGXCPU).
    let faults = [libc::SIGBUS, libc::SIGSEGV].map(|signal| u64::from(signal.unsigned_abs()));
    let internal = (32..=34).chain(faults).map(|signal| Rule::new().is(0, signal)).collect();
    let rules_of = [
        (libc::SYS_rt_sigaction, internal),
        (libc::SYS_read, vec![descriptor(link)]),
        (libc::SYS_write, vec![descriptor(link), descriptor(libc::STDERR_FILENO)]),
        (libc::SYS_writev, vec![descriptor(libc::STDERR_FILENO)]),
        (libc::SYS_mmap, vec![Rule::new().within(2, read_write).masked(3, fresh, harmless)]),
        (libc::SYS_mprotect, vec![Rule::new().within(2, read_write)]),
        (libc::SYS_clone, vec![Rule::new().masked(0, THREAD as u64, libc::CLONE_DETACHED as u64)]),
        (libc::SYS_prctl, vec![Rule::new().is(0, libc::PR_SET_NAME as u64)]),
        // Rust's standard library looks at a descriptor before it closes it.
        (libc::SYS_fcntl, vec![Rule::new().is(1, libc::F_GETFD as u64)]),
        (libc::SYS_tgkill, vec![Rule::new().is(0, me)]),
    ];
    for (call, alternatives) in rules_of {
        rules.insert(call, alternatives.into_iter().map(Rule::build).collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

/// What the arguments of a call have to be. All but `is` looks at 64 bits.
struct Rule(Vec<(u8, SeccompCmpArgLen, SeccompCmpOp, u64)>);

impl Rule {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// The argument, of 32 bits, is this.
    fn is(mut self, argument: u8, value: u64) -> Self {
        self.0.push((argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value));
        self
    }

    /// The argument has no bits but these.
    fn within(self, argument: u8, bits: u64) -> Self {
        self.masked(argument, 0, bits)
    }

    /// The argument is this, where some bits don't matter.
    fn masked(mut self, argument: u8, value: u64, bits: u64) -> Self {
        self.0.push((argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(!bits), value));
        self
    }

    fn build(self) -> Result<SeccompRule, seccompiler::Error> {
        let conditions =
            self.0.into_iter().map(|(argument, len, op, value)| SeccompCondition::new(argument, len, op, value));
        Ok(SeccompRule::new(conditions.collect::<Result<_, _>>()?)?)
    }
}
