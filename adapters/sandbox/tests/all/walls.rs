//! A transcoder that was taken over reaches nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use crate::common;

use common::{sandboxed, told};
use microserve_sandbox::Layers;

/// ENOSYS: as if there were no such call.
const ABSENT: &str = "refused: 38";

#[test]
fn files_are_not_there() {
    for what in ["file", "folder", "new-file", "proc"] {
        assert_eq!(told(&sandboxed(&format!("reach {what}"))).as_deref(), Some(ABSENT), "{what}");
    }
    // Some libraries look in passing whether there is a file.
    assert!(matches!(told(&sandboxed("reach metadata")).as_deref(), None | Some(ABSENT)));
    assert_eq!(told(&sandboxed("reach unlink")), None);
    assert!(!std::path::Path::new("/tmp/microserve-sandbox-was-here").exists());
}

#[test]
fn whoever_tries_the_network_or_another_process_is_ended() {
    for what in [
        "connect",
        "bind",
        "udp",
        "unix-socket",
        "exec",
        "fork",
        "kill-parent",
        "ptrace",
        "user-namespace",
        "io-uring",
        "more-memory",
    ] {
        assert_eq!(told(&sandboxed(&format!("reach {what}"))), None, "{what}");
    }
}

#[test]
fn memory_is_neither_shared_nor_executable_nor_does_it_grow() {
    for what in ["shared", "executable", "stack"] {
        assert_eq!(told(&sandboxed(&format!("map {what}"))), None, "{what}");
    }
    assert_eq!(told(&sandboxed("map private")).as_deref(), Some("mapped"));
}

#[test]
fn only_its_own_descriptors_can_be_written_to() {
    // 0 is the socket, too, but one is enough.
    for fd in [0, 1, 4, 5, 9, -1] {
        assert_eq!(told(&sandboxed(&format!("write {fd}"))), None, "{fd}");
    }
    assert_eq!(told(&sandboxed("write 2")).as_deref(), Some("0"));
}

/// With arguments that are all zero. A second list beside the one in `confine/calls.rs`, so that nobody adds to that in
/// passing.
#[cfg(target_arch = "x86_64")]
#[test]
fn no_other_system_call_is_left() {
    let names = [
        (2, "open"),
        (3, "close"),
        (4, "stat"),
        (5, "fstat"),
        (8, "lseek"),
        (11, "munmap"),
        (12, "brk"),
        (14, "rt_sigprocmask"),
        (16, "ioctl"),
        (21, "access"),
        (24, "sched_yield"),
        (25, "mremap"),
        (28, "madvise"),
        (35, "nanosleep"),
        (39, "getpid"),
        (79, "getcwd"),
        (89, "readlink"),
        (131, "sigaltstack"),
        (186, "gettid"),
        (202, "futex"),
        (204, "sched_getaffinity"),
        (219, "restart_syscall"),
        (228, "clock_gettime"),
        (230, "clock_nanosleep"),
        (257, "openat"),
        (262, "newfstatat"),
        (267, "readlinkat"),
        (269, "faccessat"),
        (273, "set_robust_list"),
        (318, "getrandom"),
        (332, "statx"),
        (334, "rseq"),
        (435, "clone3"),
    ];
    // Those that end a process or a thread, or return from a signal that there was not. mprotect of nothing is nothing.
    // uretprobe and uprobe pass every filter (Linux 6.11 and 6.18): they work from the kernel's own code only.
    let special = [10, 15, 60, 231, 335, 336];
    let mut left = Vec::new();
    for number in (0..512).filter(|number| !special.contains(number)) {
        if told(&sandboxed(&format!("call {number}"))).is_some() {
            left.push(number);
        }
    }
    assert_eq!(left, names.map(|(number, _)| number));
}

#[test]
fn nothing_comes_along() {
    // What this process itself was given without being asked.
    let given = std::fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&given, rustix::io::FdFlags::empty()).unwrap();
    assert_eq!(told(&sandboxed("reach environment")).as_deref(), Some("0"));
    // Without the filter, to be able to ask.
    let open = sandboxed("reach descriptors").with_layers(Layers { seccomp: false, ..Layers::ALL });
    assert_eq!(told(&open).as_deref(), Some("[0, 1, 2, 3]"));
    let open = sandboxed("reach capabilities").with_layers(Layers { seccomp: false, landlock: false, ..Layers::ALL });
    // There are no descriptors left to read that with.
    assert_eq!(told(&open).as_deref(), Some("refused: 24"));
}

/// The second wall, should the first have a hole.
#[test]
fn landlock_alone_keeps_from_the_file_system_and_the_network() {
    // EACCES.
    for what in ["file", "folder", "new-file", "proc", "connect", "exec"] {
        let alone = Layers { limits: false, landlock: true, seccomp: false };
        let told = told(&sandboxed(&format!("reach {what}")).with_layers(alone));
        assert_ne!(told.as_deref(), Some("reached"), "{what}");
    }
}

#[test]
fn threads_work() {
    // Asking for the number of processors looks for files in passing.
    assert_eq!(told(&sandboxed("threads")).as_deref(), Some("4 threads, true"));
}
