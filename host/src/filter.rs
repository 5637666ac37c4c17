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
pub(crate) fn enter(part: &Part) -> Result<(), FilterError> {
    let paths = if *part == Part::Compositor { SOCKETS } else { &[] };
    let mut few = calls(ALLOWED.iter().chain(ALLOWED_OLD).chain(paths));
    few.insert(
        c::SYS_fcntl,
        any_of(1, FCNTLS.iter().map(|command| command.unsigned_abs()))?,
    );
    if *part == Part::Compositor {
        few.insert(c::SYS_socket, unix_streams()?);
    }
    heraldry_seccomp::apply([only(few)?])
}

#[cfg(test)]
#[path = "../../tests/src/escape/sys.rs"]
mod sys;

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio, ioctl_fionread};
    use rustix::net::{AddressFamily, SocketType, socket};
    use rustix::process::{Signal, getppid, kill_process};

    use super::*;

    /// As in the kernel's header; the binding has no name for it.
    const F_SETSIG: u32 = 10;

    /// Filters are a thread's, so this one can have some.
    #[test]
    fn a_part_reaches_no_other_process_and_changes_nothing_that_others_have_too() {
        for part in [Part::Vm, Part::Compositor] {
            let reached = std::thread::spawn(move || {
                let (reader, _writer): (OwnedFd, OwnedFd) = rustix::pipe::pipe().unwrap();
                let supervisor = getppid().unwrap();
                enter(&part).unwrap();
                fcntl_getfl(&reader).unwrap();
                fcntl_setfd(&reader, FdFlags::CLOEXEC).unwrap();
                reader.as_fd().try_clone_to_owned().unwrap();
                let fd = reader.as_raw_fd().unsigned_abs();
                let to = supervisor.as_raw_nonzero().get().unsigned_abs();
                let fcntl = |command, number| sys::call(c::SYS_fcntl, &[fd, command, number]).err();
                let socket = |family, kind| socket(family, kind, None).err();
                let stream = socket(AddressFamily::UNIX, SocketType::STREAM);
                assert_eq!(stream.is_none(), part == Part::Compositor);
                let spawn = std::process::Command::new("/bin/true").spawn();
                [
                    sys::call(c::SYS_execve, &[]).err(),
                    sys::call(c::SYS_execveat, &[]).err(),
                    spawn.err().and_then(|error| Errno::from_io_error(&error)),
                    // The supervisor would be stopped when the pipe can be read.
                    fcntl(F_SETSIG, c::SIGSTOP.unsigned_abs()),
                    fcntl(c::F_SETOWN.unsigned_abs(), to),
                    socket(AddressFamily::UNIX, SocketType::DGRAM),
                    socket(AddressFamily::INET, SocketType::STREAM),
                    fcntl_setfl(&reader, OFlags::NONBLOCK | OFlags::from_bits_retain(0o20000)).err(),
                    ioctl_fionbio(&reader, true).err(),
                    ioctl_fionread(&reader).err(),
                    kill_process(supervisor, Signal::CONT).err(),
                    rustix::fs::open("/", OFlags::RDONLY, rustix::fs::Mode::empty()).err(),
                ]
            })
            .join()
            .unwrap();
            assert_eq!(reached, [Some(Errno::PERM); 12]);
        }
    }
}
