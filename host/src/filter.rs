// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls a part of the host may make: no programs, no processes, and no file is opened or connected to.
//!
//! What has no use there is refused with EPERM. A filter sees no paths: every part may ask what lies at one and watch it, and
//! the compositor's may bind a socket, remove a file and change a mode wherever the daemon's user may.

use heraldry_seccomp::{FilterError, any_of, calls, only, unix_streams};
use libc::{self as c, c_long};

use crate::part::Part;

/// What every part does.
const ALLOWED: &[c_long] = &[
    // memory
    c::SYS_brk,
    c::SYS_madvise,
    c::SYS_mmap,
    c::SYS_mprotect,
    c::SYS_mremap,
    c::SYS_munmap,
    // time, signals, the end
    c::SYS_clock_gettime,
    c::SYS_clock_nanosleep,
    c::SYS_exit,
    c::SYS_exit_group,
    c::SYS_futex,
    c::SYS_getpid,
    c::SYS_getrandom,
    c::SYS_gettid,
    c::SYS_nanosleep,
    c::SYS_restart_syscall,
    c::SYS_rt_sigaction,
    c::SYS_rt_sigprocmask,
    c::SYS_rt_sigreturn,
    c::SYS_sched_yield,
    c::SYS_sigaltstack,
    // descriptors
    c::SYS_close,
    c::SYS_dup,
    c::SYS_dup3,
    c::SYS_epoll_create1,
    c::SYS_epoll_ctl,
    c::SYS_epoll_pwait,
    c::SYS_epoll_pwait2,
    c::SYS_fchmod,
    c::SYS_fstat,
    c::SYS_ftruncate,
    c::SYS_geteuid,
    c::SYS_memfd_create,
    c::SYS_newfstatat,
    c::SYS_pipe2,
    c::SYS_ppoll,
    c::SYS_read,
    c::SYS_readv,
    c::SYS_statx,
    c::SYS_write,
    c::SYS_writev,
    // sockets that it has, or accepts
    c::SYS_accept4,
    c::SYS_getsockname,
    c::SYS_getsockopt,
    c::SYS_listen,
    c::SYS_recvfrom,
    c::SYS_recvmsg,
    c::SYS_sendmsg,
    c::SYS_sendto,
    c::SYS_shutdown,
    // the end of stand-ins
    c::SYS_inotify_add_watch,
    c::SYS_inotify_init1,
    c::SYS_inotify_rm_watch,
];

/// The same, where the processor still has them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[c_long] = &[c::SYS_epoll_wait, c::SYS_poll, c::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// What the compositor's part does: a socket in its folder for each client, with `hand-over "name"`.
const SOCKETS: &[c_long] = &[
    c::SYS_bind,
    c::SYS_fchmodat,
    c::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    c::SYS_unlink,
];

/// What is asked of descriptors and set for them. Neither who gets a signal when one is ready, which could be the supervisor, nor
/// whether standard error waits, which is that of all processes.
const FCNTLS: &[i32] = &[
    c::F_GETFD,
    c::F_SETFD,
    c::F_GETFL,
    c::F_DUPFD_CLOEXEC,
    c::F_GETPIPE_SZ,
    c::F_ADD_SEALS,
    c::F_GET_SEALS,
];

/// Gives up all other system calls; also forbids new privileges.
///
/// # Errors
///
/// The kernel takes no filter.
pub fn enter(part: &Part) -> Result<(), FilterError> {
    let paths = if *part == Part::Compositor { SOCKETS } else { &[] };
    let mut few = calls(ALLOWED.iter().chain(ALLOWED_OLD).chain(paths));
    few.insert(
        c::SYS_fcntl,
        any_of(1, FCNTLS.iter().map(|command| command.unsigned_abs()))?,
    );
    if *part == Part::Compositor {
        few.insert(c::SYS_socket, unix_streams()?);
        // The ends of streams.
        few.insert(c::SYS_socketpair, unix_streams()?);
    }
    heraldry_seccomp::apply([only(few)?])
}
