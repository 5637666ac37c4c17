// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls the device may make once it listens: no programs, no processes, no files.
//!
//! It connects to its host's socket for each context, and a filter sees no paths: run it as a user who may connect to that
//! one alone.

use std::collections::BTreeMap;

use libc::{self as c, c_long};
use rustix::thread::set_no_new_privs;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

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

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It cannot be made.
    #[error("the filter for system calls cannot be made")]
    Make(#[from] BackendError),
    /// The kernel does not take it.
    #[error("the kernel does not take the filter for system calls")]
    Apply(#[from] seccompiler::Error),
    /// New privileges can't be forbidden.
    #[error("new privileges cannot be forbidden")]
    Privileges(#[from] rustix::io::Errno),
}

fn rule(argument: u8, op: Op, value: i32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Len::Dword, op, u64::from(value.unsigned_abs()))
}

fn filter(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    then: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    #[cfg(target_arch = "x86_64")]
    let arch = TargetArch::x86_64;
    #[cfg(target_arch = "aarch64")]
    let arch = TargetArch::aarch64;
    SeccompFilter::new(rules, otherwise, then, arch)?.try_into()
}

/// Gives up all other system calls, for this thread and those that it starts; also forbids new privileges.
///
/// # Errors
///
/// See [`FilterError`].
pub fn enter() -> Result<(), FilterError> {
    set_no_new_privs(true)?;
    let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let calls = ALLOWED.iter().chain(ALLOWED_OLD);
    let mut rules: BTreeMap<c_long, Vec<_>> = calls.map(|call| (*call, Vec::new())).collect();
    let stream = vec![
        rule(0, Op::Eq, c::AF_UNIX)?,
        // The other bits of the kind are flags.
        rule(1, Op::MaskedEq(0xf), c::SOCK_STREAM)?,
    ];
    rules.insert(c::SYS_socket, vec![SeccompRule::new(stream)?]);
    let thread = rule(
        0,
        Op::MaskedEq(u64::from(c::CLONE_THREAD.unsigned_abs())),
        c::CLONE_THREAD,
    )?;
    rules.insert(c::SYS_clone, vec![SeccompRule::new(vec![thread])?]);
    // The other filter answers that one.
    rules.insert(c::SYS_clone3, Vec::new());
    let few = filter(rules, errno(c::EPERM), SeccompAction::Allow)?;
    // The kernel can't look at its flags; the C library then uses clone.
    let old = BTreeMap::from([(c::SYS_clone3, Vec::new())]);
    let old = filter(old, SeccompAction::Allow, errno(c::ENOSYS))?;
    apply_filter(&old)?;
    // This one lets no other one come after it.
    apply_filter(&few)?;
    Ok(())
}
