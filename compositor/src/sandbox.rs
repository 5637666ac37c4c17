// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which system calls the compositor may make, for the day on which somebody else tells it what to do.
//!
//! Three filters, of which the strictest answer counts: what no compositor ever does ends it; what it has no use for is
//! refused with EPERM; `clone3` does not exist, because the kernel cannot look at its flags, and the C library then
//! uses `clone`. Threads are allowed, processes and programs are not.

use std::collections::BTreeMap;

use libc::{self as c, c_long};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// What is answered with the end of the process.
const DEADLY: &[c_long] = &[
    c::SYS_acct,
    c::SYS_add_key,
    c::SYS_bpf,
    c::SYS_chroot,
    c::SYS_delete_module,
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_finit_module,
    c::SYS_fsmount,
    c::SYS_fsopen,
    c::SYS_init_module,
    c::SYS_io_uring_setup,
    c::SYS_kexec_file_load,
    c::SYS_kexec_load,
    c::SYS_keyctl,
    c::SYS_mount,
    c::SYS_move_mount,
    c::SYS_open_by_handle_at,
    c::SYS_open_tree,
    c::SYS_perf_event_open,
    c::SYS_pidfd_getfd,
    c::SYS_pivot_root,
    c::SYS_process_vm_readv,
    c::SYS_process_vm_writev,
    c::SYS_ptrace,
    c::SYS_reboot,
    c::SYS_request_key,
    c::SYS_setgid,
    c::SYS_setgroups,
    c::SYS_setns,
    c::SYS_setresgid,
    c::SYS_setresuid,
    c::SYS_setuid,
    c::SYS_swapon,
    c::SYS_umount2,
    c::SYS_unshare,
    c::SYS_userfaultfd,
];

/// What is let through whatever its arguments are.
const ALLOWED: &[c_long] = &[
    // memory
    c::SYS_brk,
    c::SYS_madvise,
    c::SYS_memfd_create,
    c::SYS_mmap,
    c::SYS_mprotect,
    c::SYS_mremap,
    c::SYS_munmap,
    // files and descriptors
    c::SYS_close,
    c::SYS_close_range,
    c::SYS_dup,
    c::SYS_dup3,
    c::SYS_faccessat,
    c::SYS_faccessat2,
    c::SYS_fallocate,
    c::SYS_fchmod,
    c::SYS_fchmodat,
    c::SYS_fcntl,
    c::SYS_fdatasync,
    c::SYS_flock,
    c::SYS_fstat,
    c::SYS_fstatfs,
    c::SYS_fsync,
    c::SYS_ftruncate,
    c::SYS_getcwd,
    c::SYS_getdents64,
    c::SYS_inotify_add_watch,
    c::SYS_inotify_init1,
    c::SYS_inotify_rm_watch,
    c::SYS_ioctl,
    c::SYS_lseek,
    c::SYS_mkdirat,
    c::SYS_newfstatat,
    c::SYS_openat,
    c::SYS_openat2,
    c::SYS_pipe2,
    c::SYS_pread64,
    c::SYS_preadv,
    c::SYS_pwrite64,
    c::SYS_pwritev,
    c::SYS_read,
    c::SYS_readlinkat,
    c::SYS_readv,
    c::SYS_renameat,
    c::SYS_renameat2,
    c::SYS_statfs,
    c::SYS_statx,
    c::SYS_umask,
    c::SYS_unlinkat,
    c::SYS_write,
    c::SYS_writev,
    // sockets, once they are there
    c::SYS_accept4,
    c::SYS_bind,
    c::SYS_connect,
    c::SYS_getpeername,
    c::SYS_getsockname,
    c::SYS_getsockopt,
    c::SYS_listen,
    c::SYS_recvfrom,
    c::SYS_recvmsg,
    c::SYS_sendmsg,
    c::SYS_sendto,
    c::SYS_setsockopt,
    c::SYS_shutdown,
    // waiting and time
    c::SYS_clock_getres,
    c::SYS_clock_gettime,
    c::SYS_clock_nanosleep,
    c::SYS_epoll_create1,
    c::SYS_epoll_ctl,
    c::SYS_epoll_pwait,
    c::SYS_epoll_pwait2,
    c::SYS_eventfd2,
    c::SYS_gettimeofday,
    c::SYS_nanosleep,
    c::SYS_ppoll,
    c::SYS_pselect6,
    c::SYS_restart_syscall,
    c::SYS_signalfd4,
    c::SYS_timerfd_create,
    c::SYS_timerfd_gettime,
    c::SYS_timerfd_settime,
    // threads and signals
    c::SYS_clone3,
    c::SYS_exit,
    c::SYS_exit_group,
    c::SYS_futex,
    c::SYS_get_robust_list,
    c::SYS_getpid,
    c::SYS_getppid,
    c::SYS_gettid,
    c::SYS_membarrier,
    c::SYS_rseq,
    c::SYS_rt_sigaction,
    c::SYS_rt_sigpending,
    c::SYS_rt_sigprocmask,
    c::SYS_rt_sigreturn,
    c::SYS_rt_sigtimedwait,
    c::SYS_sched_getaffinity,
    c::SYS_sched_getparam,
    c::SYS_sched_getscheduler,
    c::SYS_sched_setaffinity,
    c::SYS_sched_yield,
    c::SYS_set_robust_list,
    c::SYS_set_tid_address,
    c::SYS_sigaltstack,
    c::SYS_tgkill,
    // what it is and where
    c::SYS_getegid,
    c::SYS_geteuid,
    c::SYS_getgid,
    c::SYS_getgroups,
    c::SYS_getrandom,
    c::SYS_getresgid,
    c::SYS_getresuid,
    c::SYS_getrusage,
    c::SYS_getuid,
    c::SYS_prctl,
    c::SYS_prlimit64,
    c::SYS_sysinfo,
    c::SYS_uname,
    // filters that come later can only take away
    c::SYS_seccomp,
];

/// Older forms of the above, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[c_long] = &[
    c::SYS_access,
    c::SYS_arch_prctl,
    c::SYS_chmod,
    c::SYS_dup2,
    c::SYS_epoll_wait,
    c::SYS_getrlimit,
    c::SYS_lstat,
    c::SYS_mkdir,
    c::SYS_open,
    c::SYS_poll,
    c::SYS_readlink,
    c::SYS_rename,
    c::SYS_select,
    c::SYS_setrlimit,
    c::SYS_stat,
    c::SYS_time,
    c::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// Why the compositor runs without its filters: it does not run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The rules make no filter.
    #[error("the rules for system calls make no filter")]
    Rules(#[from] seccompiler::BackendError),
    /// The kernel does not take them.
    #[error("the kernel does not take the filter for system calls (CONFIG_SECCOMP_FILTER)")]
    Apply(#[from] seccompiler::Error),
}

fn compare(argument: u8, op: Op, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, Len::Dword, op, u64::from(value.unsigned_abs()))
}

/// What is let through for certain arguments alone.
fn conditional() -> Result<[(c_long, Vec<SeccompRule>); 3], seccompiler::BackendError> {
    let thread = u64::from(c::CLONE_THREAD.unsigned_abs());
    Ok([
        (
            c::SYS_clone,
            vec![SeccompRule::new(vec![compare(
                0,
                Op::MaskedEq(thread),
                c::CLONE_THREAD,
            )?])?],
        ),
        (
            c::SYS_socket,
            vec![
                SeccompRule::new(vec![compare(0, Op::Eq, c::AF_UNIX)?])?,
                // Device events, from the kernel or from whoever does udevd's work.
                SeccompRule::new(vec![
                    compare(0, Op::Eq, c::AF_NETLINK)?,
                    compare(2, Op::Eq, c::NETLINK_KOBJECT_UEVENT)?,
                ])?,
            ],
        ),
        (
            c::SYS_socketpair,
            vec![SeccompRule::new(vec![compare(0, Op::Eq, c::AF_UNIX)?])?],
        ),
    ])
}

fn arch() -> TargetArch {
    if cfg!(target_arch = "aarch64") {
        TargetArch::aarch64
    } else {
        TargetArch::x86_64
    }
}

fn errno(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}

fn any(calls: &[c_long]) -> BTreeMap<c_long, Vec<SeccompRule>> {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn filters() -> Result<[BpfProgram; 3], seccompiler::BackendError> {
    let filter = |rules, otherwise, then| SeccompFilter::new(rules, otherwise, then, arch())?.try_into();
    let mut allowed = any(ALLOWED);
    allowed.extend(any(ALLOWED_OLD));
    allowed.extend(conditional()?);
    Ok([
        filter(any(DEADLY), SeccompAction::Allow, SeccompAction::KillProcess)?,
        filter(any(&[c::SYS_clone3]), SeccompAction::Allow, errno(c::ENOSYS))?,
        filter(allowed, errno(c::EPERM), SeccompAction::Allow)?,
    ])
}

/// Gives up all other system calls, for this thread and those that it starts; also forbids new privileges.
pub fn enter() -> Result<(), SandboxError> {
    for filter in filters()? {
        apply_filter(&filter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, netlink, socket, socket_with};

    use super::*;

    #[test]
    fn nothing_is_both_allowed_and_deadly() {
        for call in DEADLY {
            let conditional = conditional().unwrap();
            assert!(!ALLOWED.contains(call) && !ALLOWED_OLD.contains(call), "{call}");
            assert!(conditional.iter().all(|(other, _)| other != call), "{call}");
        }
        assert!(ALLOWED.len() + ALLOWED_OLD.len() < 140);
    }

    /// Filters are a thread's, so this one can have some.
    #[test]
    fn a_thread_in_the_sandbox_does_its_work_and_nothing_else() {
        std::thread::spawn(|| {
            enter().unwrap();
            std::thread::spawn(|| 1).join().unwrap();
            std::fs::read("/proc/self/stat").unwrap();
            let flags = rustix::net::SocketFlags::empty();
            let (unix, raw) = (AddressFamily::UNIX, SocketType::DGRAM);
            socket(unix, raw, None).unwrap();
            socket_with(AddressFamily::NETLINK, raw, flags, Some(netlink::KOBJECT_UEVENT)).unwrap();
            for (family, protocol) in [
                (AddressFamily::INET, None),
                (AddressFamily::VSOCK, None),
                (AddressFamily::PACKET, None),
                (AddressFamily::NETLINK, None),
                (AddressFamily::NETLINK, Some(netlink::NETFILTER)),
            ] {
                assert_eq!(socket_with(family, raw, flags, protocol).err(), Some(Errno::PERM));
            }
            let error = std::process::Command::new("/bin/true").spawn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(c::EPERM), "no processes");
            assert_eq!(rustix::process::nice(1).err(), Some(Errno::PERM));
        })
        .join()
        .unwrap();
    }
}
