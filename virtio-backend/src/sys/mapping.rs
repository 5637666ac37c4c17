// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory, mapped.

use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::{NonNull, null_mut};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::last_errno;

/// A shared mapping from offset 0: the virtio_wl driver checks an offset and then ignores it.
#[derive(Debug)]
pub(crate) struct Mapping {
    at: NonNull<u8>,
    len: NonZeroUsize,
}

// SAFETY: the mapping is no thread's own, and all that writes to it takes it mutably.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `fd`.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, prot: ProtFlags) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::INVAL)?;
        Self::at(fd, len, prot, 0)
    }

    /// Maps the memory that a graphics card has under this offset.
    pub(crate) fn of_card(card: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::INVAL)?;
        Self::at(card, len, ProtFlags::READ | ProtFlags::WRITE, offset)
    }

    fn at(fd: BorrowedFd<'_>, len: NonZeroUsize, prot: ProtFlags, offset: u64) -> Result<Self, Errno> {
        // SAFETY: the address is the kernel's choice, so that no existing mapping changes.
        let at = unsafe { mmap(null_mut(), len.get(), prot, MapFlags::SHARED, fd, offset) }?;
        Ok(Self {
            at: NonNull::new(at.cast()).ok_or(Errno::NOMEM)?,
            len,
        })
    }

    /// Copies `bytes` to the start of the mapping, which must be writable. What is longer than the mapping is left out.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.len.get());
        // SAFETY: the mapping has `count` bytes or more and lives as long as self; nothing in Rust refers to it.
        unsafe { self.at.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), count) };
    }

    /// Copies the mapping from `at` on, which must be readable, to `bytes`. What is beyond its end is left out.
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) {
        let count = bytes.len().min(self.len.get().saturating_sub(at));
        if count > 0 {
            // SAFETY: `at` is within the mapping, which lives as long as self.
            let from = unsafe { self.at.as_ptr().add(at) };
            // SAFETY: the mapping has `count` bytes or more behind `from`.
            unsafe { from.copy_to_nonoverlapping(bytes.as_mut_ptr(), count) };
        }
    }

    /// Has the kernel read up to `len` bytes of a file at `offset` to the mapping, which must be writable, from `at` on. Returns
    /// how many.
    pub(crate) fn read_file(
        &mut self,
        at: usize,
        len: usize,
        file: BorrowedFd<'_>,
        offset: i64,
    ) -> Result<usize, Errno> {
        let len = len.min(self.len.get().saturating_sub(at));
        if len == 0 {
            return Ok(0);
        }
        // SAFETY: `at` is within the mapping, which lives as long as self.
        let to = unsafe { self.at.as_ptr().add(at) };
        // SAFETY: the mapping has `len` bytes or more behind `to`; nothing in Rust refers to them.
        let count = unsafe { libc::pread(file.as_raw_fd(), to.cast(), len, offset) };
        usize::try_from(count).map_err(|_negative| last_errno())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that mmap returned; nothing refers to it any more.
        let result = unsafe { munmap(self.at.as_ptr().cast(), self.len.get()) };
        debug_assert_eq!(result, Ok(()), "munmap of a mapping of our own");
    }
}
