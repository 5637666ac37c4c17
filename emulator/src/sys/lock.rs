// SPDX-License-Identifier: MIT OR Apache-2.0
//! Locks of open file descriptions, used as marks: such a lock goes when the last reference to its open file does, mappings
//! included. The mark of vfd `n` is one byte, far beyond the end of any file.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;

use super::last_errno;

const BASE: i64 = 1 << 61;

fn lock(fd: BorrowedFd<'_>, command: i32, kind: i32, mark: u32) -> Result<i32, Errno> {
    let short = |value: i32| i16::try_from(value).unwrap_or(0);
    let mut lock = libc::flock {
        l_type: short(kind),
        l_whence: short(libc::SEEK_SET),
        l_start: BASE + i64::from(mark),
        l_len: 1,
        l_pid: 0,
    };
    // SAFETY: the pointer is to a live flock structure, which is what both commands take.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), command, &raw mut lock) };
    if result < 0 {
        Err(last_errno())
    } else {
        Ok(i32::from(lock.l_type))
    }
}

/// Marks the open file of `fd`, which must be readable.
pub(crate) fn set_mark(fd: BorrowedFd<'_>, mark: u32) -> Result<(), Errno> {
    lock(fd, libc::F_OFD_SETLK, libc::F_RDLCK, mark).map(drop)
}

/// Whether an open file of the same inode, other than that of `fd`, has the mark.
pub(crate) fn other_has_mark(fd: BorrowedFd<'_>, mark: u32) -> Result<bool, Errno> {
    lock(fd, libc::F_OFD_GETLK, libc::F_WRLCK, mark).map(|kind| kind != libc::F_UNLCK)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

    use super::*;

    #[test]
    fn a_mark_lives_as_long_as_its_open_file() {
        let original = memfd_create("mark", MemfdFlags::CLOEXEC).unwrap();
        let path = format!("/proc/self/fd/{}", original.as_raw_fd());
        let other = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
        set_mark(other.as_fd(), 7).unwrap();
        assert!(other_has_mark(original.as_fd(), 7).unwrap());
        assert!(!other_has_mark(original.as_fd(), 8).unwrap());
        assert!(!other_has_mark(other.as_fd(), 7).unwrap());
        let again = other.try_clone().unwrap();
        drop(other);
        assert!(other_has_mark(original.as_fd(), 7).unwrap());
        drop(again);
        assert!(!other_has_mark(original.as_fd(), 7).unwrap());
    }
}
