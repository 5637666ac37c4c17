// SPDX-License-Identifier: MIT OR Apache-2.0
//! System calls on the device's path, and those that would show a vfd to be an ordinary file.

use std::os::fd::AsFd as _;

use heraldry_wire::virtwl::PAGE_SIZE;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::ioctls::{low, signed};
use super::supervisor::Supervisor;
use super::table::{Found, Slot};
use crate::sys::remote;
use crate::sys::seccomp::{Notification, Reply};

/// The device's number, for stat(2): major 10 is that of miscellaneous devices.
const DEVICE: (u32, u32) = (10, 0x77);

/// Which object a call is about.
enum Subject {
    /// The device, by its path or an open descriptor.
    Device,
    /// A vfd.
    Vfd,
    /// None of ours.
    Other,
}

impl Supervisor {
    /// Answers a system call, or returns none when the answer comes later or has been given.
    pub(super) fn dispatch(&mut self, call: &Notification) -> Option<Reply> {
        let [a, b, c, d, ..] = call.args;
        Some(match i64::from(call.nr) {
            libc::SYS_ioctl => return self.ioctl(call),
            libc::SYS_open => return self.open(call, a, Some(low(b))),
            libc::SYS_openat => return self.open(call, b, Some(low(c))),
            libc::SYS_openat2 => {
                let mut flags = [0; 8];
                let read = remote::read(call.tid, c, &mut flags);
                return self.open(call, b, read.ok().map(|_| low(u64::from_ne_bytes(flags))));
            }
            libc::SYS_stat | libc::SYS_lstat => self.stat(call, Some(a), None, b),
            libc::SYS_fstat => self.stat(call, None, Some(a), b),
            libc::SYS_newfstatat => {
                let at_fd = (signed(d) & libc::AT_EMPTY_PATH != 0).then_some(a);
                self.stat(call, Some(b), at_fd, c)
            }
            libc::SYS_statx => {
                let at_fd = (signed(c) & libc::AT_EMPTY_PATH != 0).then_some(a);
                self.statx(call, b, at_fd, call.args[4])
            }
            libc::SYS_access => self.access(call, a),
            libc::SYS_faccessat | libc::SYS_faccessat2 => self.access(call, b),
            libc::SYS_lseek => self.refuse(call, Errno::SPIPE, Errno::SPIPE),
            libc::SYS_ftruncate => self.refuse(call, Errno::INVAL, Errno::INVAL),
            libc::SYS_fallocate => self.refuse(call, Errno::NODEV, Errno::NODEV),
            libc::SYS_fcntl => self.fcntl(call),
            libc::SYS_mmap => self.mmap(call),
            _ => Reply::Continue,
        })
    }

    /// Whether the string at `address` of the program is the device's path, or empty.
    fn path(&self, call: &Notification, address: u64) -> (bool, bool) {
        if address == 0 {
            return (false, true);
        }
        let mut bytes = vec![0; self.device.len() + 1];
        // A short read at the end of mapped memory is enough when the string ends before it.
        let to_page_end = usize::try_from(PAGE_SIZE - address % PAGE_SIZE).unwrap_or(usize::MAX);
        let count = remote::read(call.tid, address, &mut bytes).or_else(|_| {
            let head = bytes.get_mut(..to_page_end).unwrap_or_default();
            remote::read(call.tid, address, head)
        });
        bytes.truncate(count.unwrap_or(0));
        let text = bytes
            .iter()
            .position(|byte| *byte == 0)
            .and_then(|end| bytes.get(..end));
        (
            text == Some(self.device.as_slice()),
            text.is_some_and(<[u8]>::is_empty),
        )
    }

    fn open(&mut self, call: &Notification, path: u64, flags: Option<u32>) -> Option<Reply> {
        let Some(flags) = flags.filter(|_| self.path(call, path).0) else {
            return Some(Reply::Continue);
        };
        if !self.listener.is_valid(call.id) {
            return None;
        }
        let flags = OFlags::from_bits_retain(flags);
        if flags.contains(OFlags::CREATE | OFlags::EXCL) {
            return Some(Reply::Fail(Errno::EXIST));
        }
        if flags.contains(OFlags::DIRECTORY) {
            return Some(Reply::Fail(Errno::NOTDIR));
        }
        self.stats.ioctl("open");
        let cloexec = flags.contains(OFlags::CLOEXEC);
        let opened = self.table.open_control(flags);
        match opened.and_then(|fd| self.listener.install(call.id, fd.as_fd(), cloexec, true)) {
            Ok(_) | Err(Errno::NOENT) => None,
            Err(errno) => Some(Reply::Fail(errno)),
        }
    }

    /// What a call is about that names a path, or a descriptor when there is no path or it is empty.
    fn subject(&mut self, call: &Notification, path: Option<u64>, fd: Option<u64>) -> Subject {
        if let Some(path) = path {
            match self.path(call, path) {
                (true, _) => return Subject::Device,
                (_, true) => {}
                _ => return Subject::Other,
            }
        }
        match fd.map(|fd| self.identify(call, fd)) {
            Some(Ok(Found::Control)) => Subject::Device,
            Some(Ok(Found::Vfd(_))) => Subject::Vfd,
            _ => Subject::Other,
        }
    }

    fn stat(&mut self, call: &Notification, path: Option<u64>, fd: Option<u64>, to: u64) -> Reply {
        let mut stat = remote::zero_stat();
        match self.subject(call, path, fd) {
            Subject::Other => return Reply::Continue,
            Subject::Device => {
                stat.st_mode = libc::S_IFCHR | 0o666;
                stat.st_rdev = libc::makedev(DEVICE.0, DEVICE.1);
                stat.st_ino = 1;
            }
            // One anonymous inode for all vfds, of no type and no size.
            Subject::Vfd => {
                stat.st_mode = 0o600;
                stat.st_ino = 2;
            }
        }
        stat.st_nlink = 1;
        stat.st_blksize = 4096;
        match remote::write(call.tid, to, remote::stat_bytes(&stat)) {
            Ok(()) => Reply::Value(0),
            Err(_) => Reply::Fail(Errno::FAULT),
        }
    }

    fn statx(&mut self, call: &Notification, path: u64, fd: Option<u64>, to: u64) -> Reply {
        let mut stat = remote::zero_statx();
        stat.stx_mask = libc::STATX_BASIC_STATS;
        match self.subject(call, Some(path), fd) {
            Subject::Other => return Reply::Continue,
            Subject::Device => {
                stat.stx_mode = u16::try_from(libc::S_IFCHR | 0o666).unwrap_or(0);
                (stat.stx_rdev_major, stat.stx_rdev_minor) = DEVICE;
                stat.stx_ino = 1;
            }
            Subject::Vfd => {
                stat.stx_mode = 0o600;
                stat.stx_ino = 2;
            }
        }
        stat.stx_nlink = 1;
        stat.stx_blksize = 4096;
        match remote::write(call.tid, to, remote::statx_bytes(&stat)) {
            Ok(()) => Reply::Value(0),
            Err(_) => Reply::Fail(Errno::FAULT),
        }
    }

    fn access(&self, call: &Notification, path: u64) -> Reply {
        if self.path(call, path).0 {
            Reply::Value(0)
        } else {
            Reply::Continue
        }
    }

    /// A call that the device and vfds do not have.
    fn refuse(&mut self, call: &Notification, device: Errno, vfd: Errno) -> Reply {
        match self.identify(call, call.args[0]) {
            Ok(Found::Control) => Reply::Fail(device),
            Ok(Found::Vfd(_)) => Reply::Fail(vfd),
            _ => Reply::Continue,
        }
    }

    fn fcntl(&mut self, call: &Notification) -> Reply {
        let [fd, command, ..] = call.args;
        let found = self.identify(call, fd);
        if signed(command) != libc::F_GETFL {
            return match found {
                Ok(Found::Control | Found::Vfd(_)) => Reply::Fail(Errno::INVAL),
                _ => Reply::Continue,
            };
        }
        let Ok(Found::Vfd(id)) = found else {
            return Reply::Continue;
        };
        if !matches!(self.table.slot(id), Some(Slot::Token { context: true, .. })) {
            return Reply::Continue;
        }
        // A context is open for both, though the pipe that may stand for it is not.
        match self.fetch(call, signed(fd)).and_then(rustix::fs::fcntl_getfl) {
            Ok(flags) => Reply::Value(i64::from(((flags - OFlags::ACCMODE) | OFlags::RDWR).bits())),
            Err(errno) => Reply::Fail(errno),
        }
    }

    fn mmap(&mut self, call: &Notification) -> Reply {
        let [_, len, _, _, fd, offset] = call.args;
        match self.identify(call, fd) {
            Ok(Found::Control) => Reply::Fail(Errno::NODEV),
            Ok(Found::Vfd(id)) => match self.table.slot(id) {
                Some(Slot::Memory { size, .. }) => {
                    // The driver checks the offset and then maps from 0: nobody can want that.
                    if offset != 0 || len > size.next_multiple_of(PAGE_SIZE) {
                        Reply::Fail(Errno::INVAL)
                    } else {
                        Reply::Continue
                    }
                }
                _ => Reply::Fail(Errno::ACCESS),
            },
            _ => Reply::Continue,
        }
    }
}
