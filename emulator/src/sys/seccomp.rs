// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seccomp user notification: system calls of one process tree, answered by another process.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::io::Errno;

use super::last_errno;

const NOTIF_RECV: u64 = 0xc050_2100;
const NOTIF_SEND: u64 = 0xc018_2101;
const NOTIF_ID_VALID: u64 = 0x4008_2102;
const NOTIF_ADDFD: u64 = 0x4018_2103;
const NOTIF_SET_FLAGS: u64 = 0x4008_2104;
const SET_MODE_FILTER: libc::c_long = 1;
const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;
const FD_SYNC_WAKE_UP: u64 = 1;
const RESP_CONTINUE: u32 = 1;
const ADDFD_SEND: u32 = 2;

/// One instruction of the filter.
pub(crate) type Instruction = libc::sock_filter;

/// `struct seccomp_notif`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Notification {
    /// Names the waiting system call.
    pub(crate) id: u64,
    /// The waiting thread.
    pub(crate) tid: u32,
    flags: u32,
    /// The number of the system call.
    pub(crate) nr: i32,
    arch: u32,
    instruction_pointer: u64,
    /// Its arguments.
    pub(crate) args: [u64; 6],
}

#[repr(C)]
struct Resp {
    id: u64,
    val: i64,
    error: i32,
    flags: u32,
}

#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    srcfd: u32,
    newfd: u32,
    newfd_flags: u32,
}

const _: () = assert!(size_of::<Notification>() == 80);
const _: () = assert!(size_of::<Resp>() == 24);
const _: () = assert!(size_of::<AddFd>() == 24);

/// The answer to a waiting system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It returns this.
    Value(i64),
    /// It fails.
    Fail(Errno),
    /// The kernel executes it.
    Continue,
}

/// The supervisor's end.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Listener {
    pub(crate) const fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Wakes the other side on this CPU: without it each call costs up to ten times as much (Linux 6.6).
    pub(crate) fn set_sync_wake_up(&self) -> Result<(), Errno> {
        // SAFETY: this ioctl takes the flags themselves, no pointer.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SET_FLAGS, FD_SYNC_WAKE_UP) };
        check(result).map(drop)
    }

    /// The next waiting system call. ENOENT: the thread was killed meanwhile.
    pub(crate) fn receive(&self) -> Result<Notification, Errno> {
        let mut notification = Notification::default();
        // SAFETY: the structure is zeroed, as the kernel demands, and has the size in the ioctl's number.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_RECV, &raw mut notification) };
        check(result).map(|_| notification)
    }

    /// Whether the system call still waits, so that its thread's memory is that of the thread.
    pub(crate) fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the pointer is to a live u64, which the kernel reads.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ID_VALID, &raw const id) };
        result == 0
    }

    /// Answers. ENOENT: the thread was killed meanwhile.
    pub(crate) fn reply(&self, id: u64, reply: Reply) -> Result<(), Errno> {
        let (val, error, flags) = match reply {
            Reply::Value(value) => (value, 0, 0),
            Reply::Fail(errno) => (0, -errno.raw_os_error(), 0),
            Reply::Continue => (0, 0, RESP_CONTINUE),
        };
        let resp = Resp {
            id,
            val,
            error,
            flags,
        };
        // SAFETY: the structure has the size in the ioctl's number; the kernel reads it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_SEND, &raw const resp) };
        check(result).map(drop)
    }

    /// Installs a duplicate of `fd` in the waiting process, close-on-exec, and returns its number there. With `answer` the
    /// system call returns that number at once.
    pub(crate) fn install(
        &self,
        id: u64,
        fd: BorrowedFd<'_>,
        cloexec: bool,
        answer: bool,
    ) -> Result<i32, Errno> {
        let addfd = AddFd {
            id,
            flags: if answer { ADDFD_SEND } else { 0 },
            srcfd: u32::try_from(fd.as_raw_fd()).map_err(|_negative| Errno::BADF)?,
            newfd: 0,
            newfd_flags: if cloexec {
                libc::O_CLOEXEC.unsigned_abs()
            } else {
                0
            },
        };
        // SAFETY: the structure has the size in the ioctl's number; the kernel reads it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), NOTIF_ADDFD, &raw const addfd) };
        check(result)
    }
}

fn check(result: i32) -> Result<i32, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

/// Puts the calling thread under `filter` and returns the listener. Allocates nothing: it runs between fork and exec.
pub(crate) fn install_filter(filter: &[Instruction]) -> Result<OwnedFd, Errno> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).map_err(|_too_long| Errno::INVAL)?,
        filter: filter.as_ptr().cast_mut(),
    };
    let flags = FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV;
    // SAFETY: the program points to `len` live instructions, which the kernel copies and checks.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) };
    let fd = RawFd::try_from(result).map_err(|_too_large| Errno::INVAL)?;
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel made this descriptor for this call; nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
