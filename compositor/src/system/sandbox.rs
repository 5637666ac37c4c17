// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the compositor may do, for the day on which somebody else tells it what to do: which files it may open
//! ([`files`]), and which system calls it may make.
//!
//! Three filters for system calls, of which the strictest answer counts: what no compositor ever does ends it; what it has no
//! use for is refused with EPERM; `clone3` does not exist, because the kernel cannot look at its flags, and the C library
//! then uses `clone`. Threads are allowed, processes and programs are not. Signals, limits and the like reach this process
//! alone: its supervisor, which may be of the same user, is none of its business.

mod files;

use heraldry_init::filter::NEVER;
use heraldry_seccomp::{
    Answer, BackendError, BpfProgram, FilterError, Is, Rule, all_but, any_of, calls, only, rule, threads,
    without_clone3,
};
use libc::{self as c, c_long};

pub use files::Places;

/// What is answered with the end of the process, besides what its supervisor never does either.
const DEADLY: &[c_long] = &[
    c::SYS_execve,
    c::SYS_execveat,
    c::SYS_setgid,
    c::SYS_setgroups,
    c::SYS_setresgid,
    c::SYS_setresuid,
    c::SYS_setuid,
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
    c::SYS_sched_yield,
    c::SYS_set_robust_list,
    c::SYS_set_tid_address,
    c::SYS_sigaltstack,
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
    /// There is no filter for system calls.
    #[error(transparent)]
    Calls(#[from] FilterError),
    /// The kernel knows rules for files, and does not take these.
    #[error("the kernel does not take the rules for files (Landlock)")]
    Files(#[from] landlock::RulesetError),
}

/// Kinds of ioctls that are let through: graphics devices, buffers that are shared, their fences, and virtio_wl.
const IOCTL_CLASSES: &[u8] = b"db>w";
/// The kind and the direction of an ioctl: bits 8 to 15, and the last two. Those with direction 2 alone only read.
const EVDEV_READS: (u32, u32) = (0xc000_ff00, 2 << 30 | (b'E' as u32) << 8);
/// Single ioctls: whether this is a terminal and how large, how much can be read, whether reads wait, what survives an
/// exec; the clock of an input device, and which events this descriptor of one is to have.
const IOCTLS: &[u32] = &[
    0x5401,      // TCGETS
    0x802c_542a, // TCGETS2
    0x5413,      // TIOCGWINSZ
    0x541b,      // FIONREAD
    0x5421,      // FIONBIO
    0x5450,      // FIONCLEX
    0x5451,      // FIOCLEX
    0x4004_4590, // EVIOCGRAB
    0x4004_45a0, // EVIOCSCLOCKID
    0x4010_4593, // EVIOCSMASK
];
/// Signals are not sent to others by way of a descriptor that is ready.
const FCNTL_REFUSED: [i32; 3] = [c::F_SETOWN, 10, 15]; // F_SETSIG, F_SETOWN_EX
/// What a process may say of itself: names, the signal at its parent's end, what is given up for good.
const PRCTLS: &[i32] = &[
    c::PR_CAPBSET_READ,
    c::PR_GET_DUMPABLE,
    c::PR_GET_NAME,
    c::PR_GET_NO_NEW_PRIVS,
    c::PR_GET_PDEATHSIG,
    c::PR_GET_TIMERSLACK,
    c::PR_SET_NAME,
    c::PR_SET_NO_NEW_PRIVS,
    c::PR_SET_PDEATHSIG,
    c::PR_SET_TIMERSLACK,
    0x5356_4d41, // PR_SET_VMA
];

fn ioctls() -> Result<Vec<Rule>, BackendError> {
    let mut rules = any_of(1, IOCTLS.iter().copied())?;
    for class in IOCTL_CLASSES {
        rules.push(rule(&[(1, Is::Masked(0xff00, u32::from(*class) << 8))])?);
    }
    rules.push(rule(&[(1, Is::Masked(EVDEV_READS.0, EVDEV_READS.1))])?);
    Ok(rules)
}

fn fcntls() -> Result<Vec<Rule>, BackendError> {
    let others = FCNTL_REFUSED.map(|command| (1, Is::Not(command.unsigned_abs())));
    Ok(vec![rule(&others)?])
}

/// What is let through for certain arguments alone.
fn conditional() -> Result<[(c_long, Vec<Rule>); 9], BackendError> {
    let this = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let unix = c::AF_UNIX.unsigned_abs();
    // Device events, from the kernel or from the program that does udevd's work.
    let device_events = [
        (0, Is::Equal(c::AF_NETLINK.unsigned_abs())),
        (2, Is::Equal(c::NETLINK_KOBJECT_UEVENT.unsigned_abs())),
    ];
    Ok([
        (c::SYS_clone, threads()?),
        (
            c::SYS_socket,
            vec![rule(&[(0, Is::Equal(unix))])?, rule(&device_events)?],
        ),
        (c::SYS_socketpair, any_of(0, [unix])?),
        (c::SYS_ioctl, ioctls()?),
        (c::SYS_fcntl, fcntls()?),
        (
            c::SYS_prctl,
            any_of(0, PRCTLS.iter().map(|name| name.unsigned_abs()))?,
        ),
        // A panic ends the process by a signal to itself.
        (c::SYS_tgkill, any_of(0, [this])?),
        (c::SYS_prlimit64, any_of(0, [0, this])?),
        (c::SYS_sched_setaffinity, any_of(0, [0, this])?),
    ])
}

fn filters() -> Result<[BpfProgram; 3], BackendError> {
    let mut allowed = calls(ALLOWED.iter().chain(ALLOWED_OLD));
    allowed.extend(conditional()?);
    let deadly = calls(DEADLY.iter().chain(NEVER));
    Ok([all_but(deadly, Answer::Death)?, without_clone3()?, only(allowed)?])
}

/// Gives up all other files and system calls, for this thread and those that it starts; also forbids new privileges. Returns
/// whether this kernel restricts files.
///
/// # Errors
///
/// The kernel does not take it, but for the rules for files, without which older kernels are.
pub fn enter(places: &Places) -> Result<bool, SandboxError> {
    let restricted = files::restrict(places)?;
    heraldry_seccomp::apply(filters().map_err(FilterError::from)?)?;
    Ok(restricted)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{Mode, OFlags, open};
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, netlink, socket, socket_with};
    use rustix::process::{Pid, Resource, Rlimit, getpid, getppid, prlimit};

    use super::*;

    #[test]
    fn nothing_is_both_allowed_and_deadly() {
        let conditional = conditional().unwrap();
        for call in DEADLY.iter().chain(NEVER) {
            assert!(!ALLOWED.contains(call) && !ALLOWED_OLD.contains(call), "{call}");
            assert!(conditional.iter().all(|(other, _)| other != call), "{call}");
        }
        for (call, _) in &conditional {
            assert!(!ALLOWED.contains(call) && !ALLOWED_OLD.contains(call), "{call}");
        }
        assert!(ALLOWED.len() + ALLOWED_OLD.len() < 140);
    }

    /// What a thread in the sandbox finds; filters are a thread's, so the test's can have some.
    fn inside<T: Send + 'static>(places: Places, what: impl FnOnce(bool) -> T + Send + 'static) -> T {
        std::thread::spawn(move || what(enter(&places).unwrap()))
            .join()
            .unwrap()
    }

    #[test]
    fn a_thread_in_the_sandbox_does_its_work_and_nothing_else() {
        inside(Places::default(), |_| {
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
        });
    }

    #[test]
    fn signals_and_limits_are_for_this_process_alone() {
        inside(Places::default(), |_| {
            let other = getppid().unwrap();
            assert_eq!(rustix::process::test_kill_process(other).err(), Some(Errno::PERM));
            assert_eq!(
                rustix::process::test_kill_process(getpid()).err(),
                Some(Errno::PERM)
            );
            let limit = || Rlimit {
                current: Some(1),
                maximum: Some(1),
            };
            let of = |pid: Option<Pid>| prlimit(pid, Resource::Sigpending, limit());
            assert_eq!(of(Some(other)).err(), Some(Errno::PERM));
            of(None).unwrap();
            let (reader, _writer) = std::io::pipe().unwrap();
            rustix::io::ioctl_fionbio(&reader, true).unwrap();
            rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::CLOEXEC).unwrap();
            // A terminal's and a block device's.
            assert_eq!(rustix::termios::tcgetpgrp(&reader).err(), Some(Errno::PERM));
            assert_eq!(rustix::fs::ioctl_blksszget(&reader).err(), Some(Errno::PERM));
            let watched = rustix::process::pidfd_open(other, rustix::process::PidfdFlags::empty());
            assert_eq!(watched.err(), Some(Errno::PERM));
        });
    }

    #[test]
    fn files_are_what_was_named_and_what_libraries_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["etc", "run", "home", "scratch"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let (config, control, diary) = (path("etc/heraldry.kdl"), path("run/ctl"), path("home/diary"));
        std::fs::write(&config, "schema 1").unwrap();
        std::fs::write(&diary, "dear diary").unwrap();
        let places = Places {
            config: Some(config.clone()),
            sockets: vec![control.clone()],
            scratch: Some(path("scratch")),
            ..Places::default()
        };
        inside(places, move |restricted| {
            let denied = |path: &Path, flags| open(path, flags, Mode::RUSR).err() == Some(Errno::ACCESS);
            std::fs::read(&config).unwrap();
            std::fs::write(control.with_file_name("picture.png"), "pixels").unwrap();
            let listener = std::os::unix::net::UnixListener::bind(&control).unwrap();
            std::fs::remove_file(&control).unwrap();
            tempfile::tempfile_in(config.parent().unwrap().with_file_name("scratch")).unwrap();
            drop(listener);
            let refused = [
                denied(&config, OFlags::WRONLY),
                denied(&config.with_file_name("more"), OFlags::CREATE | OFlags::WRONLY),
                denied(&diary, OFlags::RDONLY),
                denied(Path::new("/etc/passwd"), OFlags::RDONLY),
                denied(Path::new("/proc/1/status"), OFlags::RDONLY),
                denied(Path::new("/proc/self/comm"), OFlags::WRONLY),
                std::os::unix::net::UnixListener::bind(diary.with_file_name("socket")).is_err(),
            ];
            assert!(
                !restricted || refused.iter().all(|refused| *refused),
                "{refused:?}"
            );
        });
        assert!(path("run/picture.png").exists());
    }
}
