// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file systems that programs expect.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system to mount: its kind, where, with which flags and options.
struct Mount {
    kind: &'static str,
    target: &'static str,
    flags: MountFlags,
    options: &'static std::ffi::CStr,
}

const NO_PROGRAMS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
const DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// In the order of mounting.
const MOUNTS: [Mount; 7] = [
    Mount {
        kind: "proc",
        target: "/proc",
        flags: NO_PROGRAMS,
        options: c"",
    },
    Mount {
        kind: "sysfs",
        target: "/sys",
        flags: NO_PROGRAMS,
        options: c"",
    },
    Mount {
        kind: "devtmpfs",
        target: "/dev",
        flags: DEVICES,
        options: c"mode=0755",
    },
    Mount {
        kind: "tmpfs",
        target: "/run",
        flags: NO_PROGRAMS,
        options: c"mode=0755,size=32m",
    },
    Mount {
        kind: "tmpfs",
        target: "/tmp",
        flags: NO_PROGRAMS,
        options: c"mode=1777,size=64m",
    },
    Mount {
        kind: "devpts",
        target: "/dev/pts",
        flags: DEVICES,
        options: c"mode=0620,ptmxmode=0666",
    },
    Mount {
        kind: "tmpfs",
        target: "/dev/shm",
        flags: NO_PROGRAMS,
        options: c"mode=1777,size=256m",
    },
];

/// Mounts everything. Returns what did not work: none of it is a reason to stop, and each is told.
#[must_use]
pub(super) fn mount_all() -> Vec<String> {
    let mut failures = Vec::new();
    for Mount {
        kind,
        target,
        flags,
        options,
    } in MOUNTS
    {
        // A folder that is there is as good as one that is made; mounting tells if there is none.
        let _there = std::fs::create_dir_all(target);
        match mount(kind, target, kind, flags, options) {
            // Busy: the kernel (CONFIG_DEVTMPFS_MOUNT), or an init that ran before, has done it.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => failures.push(format!("cannot mount {kind} on {target}: {errno}")),
        }
    }
    failures
}

/// Unmounts what can be, in the opposite order.
pub(super) fn unmount_all() {
    for Mount { target, .. } in MOUNTS.iter().rev() {
        if Path::new(target).exists() {
            // These live in memory; an unmount that fails loses nothing.
            let _busy = unmount(*target, UnmountFlags::DETACH);
        }
    }
}
