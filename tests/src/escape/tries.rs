// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ways out, by name. What is to come of each stands in SECURITY.md.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use heraldry_compositor::system::sandbox::Places;
use libc as c;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};
use rustix::process::{Pid, Resource, Rlimit, getpid, prlimit};

use super::sys::{OTHER_NUMBER, call};

/// A name that whoever listens there has without a file.
const OUTSIDE: &[u8] = b"heraldry-escape";

/// What a try needs to know.
#[derive(Debug)]
pub struct Scene {
    supervisor: Pid,
    folder: PathBuf,
    config: PathBuf,
}

impl Scene {
    /// With the number of the supervisor's process.
    #[must_use]
    pub fn new(supervisor: i32, places: &Places) -> Self {
        let folder = places.sockets.first().and_then(|path| path.parent());
        Self {
            supervisor: Pid::from_raw(supervisor).unwrap_or_else(getpid),
            folder: folder.unwrap_or(Path::new("/nowhere")).to_owned(),
            config: places.config.clone().unwrap_or_default(),
        }
    }

    /// The supervisor's number.
    fn pid(&self) -> u32 {
        self.supervisor.as_raw_nonzero().get().unsigned_abs()
    }

    fn of_supervisor(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid())
    }
}

type Answer = Result<(), Errno>;
type Try = fn(&Scene) -> Answer;

fn opened(path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path.as_ref(), flags, Mode::RUSR | Mode::WUSR)
}

fn read(path: impl AsRef<Path>) -> Answer {
    opened(path, OFlags::RDONLY).map(drop)
}

fn write(path: impl AsRef<Path>) -> Answer {
    opened(path, OFlags::WRONLY).map(drop)
}

fn create(path: impl AsRef<Path>) -> Answer {
    let path = path.as_ref();
    opened(path, OFlags::WRONLY | OFlags::CREATE)?;
    rustix::fs::unlink(path)
}

fn socket(family: AddressFamily, kind: SocketType, protocol: Option<rustix::net::Protocol>) -> Answer {
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol).map(drop)
}

fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// The first input device.
fn keyboard(flags: OFlags) -> Result<OwnedFd, Errno> {
    let found = (0..32).map(|n| opened(format!("/dev/input/event{n}"), flags));
    found
        .into_iter()
        .find(|opened| !matches!(opened, Err(Errno::NOENT)))
        .unwrap_or(Err(Errno::NOENT))
}

fn keyboard_ioctl(request: u32, argument: u32) -> Answer {
    call(
        c::SYS_ioctl,
        &[number(keyboard(OFlags::RDONLY)?), request, argument],
    )
}

/// An ioctl that makes no sense for this descriptor: one that is let through is answered with `NOTTY`.
fn any_ioctl(request: u32) -> Answer {
    let (reader, _writer) = std::io::pipe().map_err(|error| errno(&error))?;
    call(c::SYS_ioctl, &[number(&reader), request])
}

fn card(_: &Scene) -> Answer {
    let cards = (0..8).map(|n| opened(format!("/dev/dri/card{n}"), OFlags::RDWR));
    cards
        .into_iter()
        .find(|opened| !matches!(opened, Err(Errno::NOENT)))
        .unwrap_or(Err(Errno::NOENT))
        .map(drop)
}

/// Somebody outside of the sandbox who listens without a file.
pub(super) fn listen_outside() -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(OUTSIDE)?)
}

fn connect_outside(_: &Scene) -> Answer {
    let address = SocketAddr::from_abstract_name(OUTSIDE).map_err(|error| errno(&error))?;
    UnixStream::connect_addr(&address)
        .map(drop)
        .map_err(|error| errno(&error))
}

/// Asks for a signal to the supervisor whenever a descriptor is ready.
fn signal_by_descriptor(scene: &Scene) -> Answer {
    let (one, _other) = UnixStream::pair().map_err(|error| errno(&error))?;
    let fcntl = |command, argument| call(c::SYS_fcntl, &[number(&one), command, argument]);
    const F_SETSIG: u32 = 10;
    fcntl(F_SETSIG, c::SIGSTOP.unsigned_abs())?;
    fcntl(c::F_SETOWN.unsigned_abs(), scene.pid())
}

/// The highest limit of open files there can be is more than anybody gave us.
fn raise_limits(_: &Scene) -> Answer {
    let most = || Rlimit {
        current: Some(1 << 40),
        maximum: Some(1 << 40),
    };
    prlimit(None, Resource::Memlock, most()).map(drop)?;
    prlimit(None, Resource::Nofile, most()).map(drop)
}

/// The record that the supervisor gave, with another length.
fn record_of_length(length: u64) -> Answer {
    let mut words = std::env::args_os().skip_while(|word| word != "--served-record");
    let path = words.nth(1).ok_or(Errno::NOENT)?;
    rustix::fs::ftruncate(opened(path, OFlags::RDWR)?, length)
}

fn limits_of_supervisor(scene: &Scene) -> Answer {
    let none = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    prlimit(Some(scene.supervisor), Resource::Sigpending, none).map(drop)
}

fn run_shell(_: &Scene) -> Answer {
    Err(errno(&Command::new("/bin/sh").exec()))
}

fn start_shell(_: &Scene) -> Answer {
    let started = Command::new("/bin/sh").arg("-c").arg("true").spawn();
    started.map(drop).map_err(|error| errno(&error))
}

fn change_mode_of_keyboard(_: &Scene) -> Answer {
    let mode = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions("/dev/input/event0", mode).map_err(|error| errno(&error))
}

const STOP: u32 = c::SIGSTOP.unsigned_abs();

const SUPERVISOR: &[(&str, Try)] = &[
    ("supervisor-memory-write", |s| {
        opened(s.of_supervisor("mem"), OFlags::RDWR).map(drop)
    }),
    ("supervisor-memory-read", |s| read(s.of_supervisor("mem"))),
    ("supervisor-environment", |s| read(s.of_supervisor("environ"))),
    ("supervisor-oom-score", |s| {
        write(s.of_supervisor("oom_score_adj"))
    }),
    ("supervisor-trace", |s| call(c::SYS_ptrace, &[16, s.pid()])),
    ("supervisor-memory-call", |s| {
        call(c::SYS_process_vm_writev, &[s.pid()])
    }),
    ("supervisor-memory-look", |s| {
        call(c::SYS_process_vm_readv, &[s.pid()])
    }),
    ("supervisor-descriptors", |_| call(c::SYS_pidfd_getfd, &[])),
    ("supervisor-handle", |s| call(c::SYS_pidfd_open, &[s.pid()])),
    ("supervisor-stop", |s| call(c::SYS_kill, &[s.pid(), STOP])),
    ("supervisor-stop-thread", |s| {
        call(c::SYS_tgkill, &[s.pid(), s.pid(), STOP])
    }),
    ("supervisor-stop-task", |s| call(c::SYS_tkill, &[s.pid(), STOP])),
    ("supervisor-stop-queued", |s| {
        call(c::SYS_rt_sigqueueinfo, &[s.pid(), STOP])
    }),
    ("supervisor-stop-thread-queued", |s| {
        call(c::SYS_rt_tgsigqueueinfo, &[s.pid(), s.pid(), STOP])
    }),
    ("supervisor-stop-by-descriptor", signal_by_descriptor),
    ("everybody-stop", |_| call(c::SYS_kill, &[0, STOP])),
    ("supervisor-limits", limits_of_supervisor),
    ("supervisor-processors", |s| {
        call(c::SYS_sched_setaffinity, &[s.pid()])
    }),
    ("supervisor-priority", |s| {
        call(c::SYS_setpriority, &[0, s.pid(), 19])
    }),
    ("record-shorter", |_| record_of_length(0)),
    ("record-longer", |_| record_of_length(1 << 30)),
];

const PROGRAMS: &[(&str, Try)] = &[
    ("program-become", run_shell),
    ("program-start", start_shell),
    ("program-in-memory", |_| call(c::SYS_execveat, &[])),
    ("socket-inet", |_| {
        socket(AddressFamily::INET, SocketType::STREAM, None)
    }),
    ("socket-inet6", |_| {
        socket(AddressFamily::INET6, SocketType::DGRAM, None)
    }),
    ("socket-vsock", |_| {
        socket(AddressFamily::VSOCK, SocketType::STREAM, None)
    }),
    ("socket-packet", |_| {
        socket(AddressFamily::PACKET, SocketType::RAW, None)
    }),
    ("socket-routes", |_| {
        socket(AddressFamily::NETLINK, SocketType::RAW, None)
    }),
    ("socket-crypto", |_| {
        socket(AddressFamily::from_raw(38), SocketType::SEQPACKET, None)
    }),
    ("socket-without-file", connect_outside),
];

const FILES: &[(&str, Try)] = &[
    ("file-root-list", |_| {
        opened("/", OFlags::RDONLY | OFlags::DIRECTORY).map(drop)
    }),
    ("file-passwords", |_| read("/etc/shadow").or(read("/etc/passwd"))),
    ("file-init-environment", |_| read("/proc/1/environ")),
    ("file-init-memory", |_| {
        opened("/proc/1/mem", OFlags::RDWR).map(drop)
    }),
    ("file-processes", |_| {
        opened("/proc", OFlags::RDONLY | OFlags::DIRECTORY).map(drop)
    }),
    ("file-config-write", |s| write(&s.config)),
    ("file-in-tmp", |_| create("/tmp/heraldry-escape")),
    ("file-in-run", |_| create("/run/heraldry-escape")),
    ("file-in-shm", |_| create("/dev/shm/heraldry-escape")),
    ("file-sysrq", |_| write("/proc/sysrq-trigger")),
    ("file-core-pattern", |_| write("/proc/sys/kernel/core_pattern")),
    ("file-power-state", |_| write("/sys/power/state")),
    ("file-kernel-log", |_| read("/dev/kmsg")),
    ("file-kernel-log-write", |_| write("/dev/kmsg")),
    ("file-machine-memory", |_| read("/dev/mem")),
    ("file-node", |s| {
        rustix::fs::mknodat(
            CWD,
            s.folder.join("node"),
            FileType::CharacterDevice,
            Mode::RUSR,
            0x0101,
        )
    }),
    ("file-link", |s| {
        rustix::fs::symlink("/etc", s.folder.join("link"))
    }),
    ("file-by-handle", |_| call(c::SYS_open_by_handle_at, &[])),
];

const DEVICES: &[(&str, Try)] = &[
    ("keyboard-write", |_| keyboard(OFlags::RDWR).map(drop)),
    ("keyboard-mode", change_mode_of_keyboard),
    ("keyboard-keymap", |_| keyboard_ioctl(0x4008_4504, 0)),
    ("keyboard-repeat", |_| keyboard_ioctl(0x4008_4503, 0)),
    ("keyboard-effect", |_| keyboard_ioctl(0x4030_4580, 0)),
    ("keyboard-made-up", |_| write("/dev/uinput")),
    ("terminal-open", |_| {
        opened("/dev/tty0", OFlags::RDWR)
            .or(opened("/dev/console", OFlags::RDWR))
            .map(drop)
    }),
    ("terminal-type", |_| any_ioctl(0x5412)),
    ("terminal-take", |_| any_ioctl(0x540e)),
    ("terminal-switch", |_| any_ioctl(0x5606)),
    ("terminal-mode", |_| any_ioctl(0x4b3a)),
    ("terminal-keys", |_| any_ioctl(0x4b45)),
    ("network-ioctl", |_| any_ioctl(0x8914)),
    ("disk-ioctl", |_| any_ioctl(0x1260)),
    ("loop-ioctl", |_| any_ioctl(0x4c00)),
    ("owner-ioctl", |_| any_ioctl(0x8901)),
];

const KERNEL: &[(&str, Try)] = &[
    ("mount", |_| call(c::SYS_mount, &[])),
    ("unmount", |_| call(c::SYS_umount2, &[])),
    ("pivot-root", |_| call(c::SYS_pivot_root, &[])),
    ("chroot", |_| call(c::SYS_chroot, &[])),
    ("namespace", |_| {
        call(c::SYS_unshare, &[c::CLONE_NEWUSER.unsigned_abs()])
    }),
    ("namespace-enter", |_| call(c::SYS_setns, &[])),
    ("bpf", |_| call(c::SYS_bpf, &[])),
    ("perf-events", |_| call(c::SYS_perf_event_open, &[])),
    ("page-faults", |_| call(c::SYS_userfaultfd, &[])),
    ("io-uring", |_| call(c::SYS_io_uring_setup, &[])),
    ("key-add", |_| call(c::SYS_add_key, &[])),
    ("key-ring", |_| call(c::SYS_keyctl, &[])),
    ("module-load", |_| call(c::SYS_init_module, &[])),
    ("module-load-file", |_| call(c::SYS_finit_module, &[])),
    ("module-unload", |_| call(c::SYS_delete_module, &[])),
    ("reboot", |_| call(c::SYS_reboot, &[])),
    ("kexec", |_| call(c::SYS_kexec_load, &[])),
    ("swap", |_| call(c::SYS_swapon, &[])),
    ("accounting", |_| call(c::SYS_acct, &[])),
    ("clock-set", |_| call(c::SYS_clock_settime, &[])),
    ("host-name", |_| call(c::SYS_sethostname, &[])),
    ("kernel-log-call", |_| call(c::SYS_syslog, &[3])),
    ("other-numbers", |_| call(OTHER_NUMBER, &[])),
    ("personality", |_| call(c::SYS_personality, &[0xffff_ffff])),
];

const RIGHTS: &[(&str, Try)] = &[
    ("user-root", |_| call(c::SYS_setuid, &[])),
    ("group-root", |_| call(c::SYS_setgid, &[])),
    ("groups", |_| call(c::SYS_setgroups, &[])),
    ("capabilities", |_| call(c::SYS_capset, &[])),
    ("limits-raise", raise_limits),
    ("priority-raise", |_| {
        call(c::SYS_setpriority, &[0, 0, 0xffff_ffec])
    }),
    ("real-time", |_| call(c::SYS_sched_setscheduler, &[0, 1])),
];

/// What it needs for its work, and so has.
const WORK: &[(&str, Try)] = &[
    ("work-card", card),
    ("work-keyboard", |_| keyboard(OFlags::RDONLY).map(drop)),
    ("work-grab", |_| keyboard_ioctl(0x4004_4590, 1)),
    ("work-config", |s| read(&s.config)),
    ("work-own-folder", |s| create(s.folder.join("picture.png"))),
    ("work-device-events", |_| {
        socket(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            Some(netlink::KOBJECT_UEVENT),
        )
    }),
    ("work-libraries", |_| {
        opened("/usr", OFlags::RDONLY | OFlags::DIRECTORY).map(drop)
    }),
    ("work-what-the-kernel-tells", |_| {
        opened("/sys", OFlags::RDONLY | OFlags::DIRECTORY).map(drop)
    }),
    ("work-ask-init", |_| {
        UnixStream::connect("/run/heraldry-init/socket")
            .map(drop)
            .map_err(|error| errno(&error))
    }),
    ("work-signal-itself", |_| {
        let this = getpid().as_raw_nonzero().get().unsigned_abs();
        call(c::SYS_tgkill, &[this, this, 0])
    }),
];

fn all() -> impl Iterator<Item = &'static (&'static str, Try)> {
    [SUPERVISOR, PROGRAMS, FILES, DEVICES, KERNEL, RIGHTS, WORK]
        .into_iter()
        .flatten()
}

/// The names of all tries.
pub fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| *name)
}

/// The try of a name.
pub(super) fn find(name: &str) -> Option<Try> {
    all()
        .find(|(known, _)| *known == name)
        .map(|(_, attempt)| *attempt)
}
