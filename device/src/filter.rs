// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls the device may make once it listens: no programs, no processes, no files.
//!
//! It connects to its host's socket for each context and watches its own memory, and a filter sees no paths: run it as a user who
//! may connect to that one socket alone.

use heraldry_seccomp::{FilterError, calls, only, threads, unix_streams, without_clone3};
use libc::{self as c, c_long};

/// What the device does.
const ALLOWED: &[c_long] = &[
    // memory
    c::SYS_brk,
    c::SYS_madvise,
    c::SYS_mmap,
    c::SYS_mprotect,
    c::SYS_mremap,
    c::SYS_munmap,
    // time, signals, threads, the end
    c::SYS_clock_gettime,
    c::SYS_clock_nanosleep,
    c::SYS_exit,
    c::SYS_exit_group,
    c::SYS_futex,
    c::SYS_getpid,
    c::SYS_getrandom,
    c::SYS_gettid,
    c::SYS_prctl,
    c::SYS_restart_syscall,
    c::SYS_rseq,
    c::SYS_rt_sigaction,
    c::SYS_rt_sigprocmask,
    c::SYS_rt_sigreturn,
    c::SYS_sched_getaffinity,
    c::SYS_sched_yield,
    c::SYS_set_robust_list,
    c::SYS_sigaltstack,
    // descriptors
    c::SYS_close,
    c::SYS_dup,
    c::SYS_dup3,
    c::SYS_epoll_create1,
    c::SYS_epoll_ctl,
    c::SYS_epoll_pwait,
    c::SYS_epoll_pwait2,
    c::SYS_eventfd2,
    c::SYS_fcntl,
    c::SYS_fstat,
    c::SYS_ftruncate,
    c::SYS_ioctl,
    c::SYS_lseek,
    c::SYS_memfd_create,
    c::SYS_newfstatat,
    c::SYS_pipe2,
    c::SYS_ppoll,
    c::SYS_pread64,
    c::SYS_pwrite64,
    c::SYS_read,
    c::SYS_readv,
    c::SYS_splice,
    c::SYS_statx,
    c::SYS_write,
    c::SYS_writev,
    // when memory is gone
    c::SYS_inotify_add_watch,
    c::SYS_inotify_init1,
    // sockets
    c::SYS_accept4,
    c::SYS_connect,
    c::SYS_getsockname,
    c::SYS_getsockopt,
    c::SYS_recvfrom,
    c::SYS_recvmsg,
    c::SYS_sendmsg,
    c::SYS_sendto,
    c::SYS_shutdown,
];

/// The same, where the processor still has them.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[c_long] = &[c::SYS_epoll_wait, c::SYS_poll, c::SYS_time];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// Gives up all other system calls, for this thread and those that it starts; also forbids new privileges.
///
/// # Errors
///
/// The kernel takes no filter.
pub fn enter() -> Result<(), FilterError> {
    let mut few = calls(ALLOWED.iter().chain(ALLOWED_OLD));
    few.insert(c::SYS_socket, unix_streams()?);
    few.insert(c::SYS_clone, threads()?);
    // The other filter answers that one.
    few.insert(c::SYS_clone3, Vec::new());
    heraldry_seccomp::apply([without_clone3()?, only(few)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Account;

    #[test]
    fn memory_is_made_and_counted_under_the_filter() {
        // It is this thread's.
        let under = || {
            enter().unwrap();
            let mut account = Account::default();
            let piece = account.make(4096).unwrap();
            let (held, opened) = (account.used(), std::fs::File::open("/proc/self/maps"));
            drop(piece);
            (held, account.used(), opened.is_err())
        };
        assert_eq!(std::thread::spawn(under).join().unwrap(), (4096, 0, true));
    }
}
