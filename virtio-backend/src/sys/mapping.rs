// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory, mapped for a moment.

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A shared mapping from offset 0: the virtio_wl driver checks an offset and then ignores it.
#[derive(Debug)]
pub(crate) struct Mapping {
    at: NonNull<u8>,
    len: NonZeroUsize,
}

impl Mapping {
    /// Maps the first `len` bytes of `fd`.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, prot: ProtFlags) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::INVAL)?;
        // SAFETY: the address is the kernel's choice, so that no existing mapping changes.
        let at = unsafe { mmap(null_mut(), len.get(), prot, MapFlags::SHARED, fd, 0) }?;
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

    /// Copies the start of the mapping, which must be readable, to `bytes`.
    #[cfg(test)]
    pub(crate) fn read(&self, bytes: &mut [u8]) {
        let count = bytes.len().min(self.len.get());
        // SAFETY: the mapping has `count` bytes or more and lives as long as self.
        unsafe { self.at.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), count) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one that mmap returned; nothing refers to it any more.
        let result = unsafe { munmap(self.at.as_ptr().cast(), self.len.get()) };
        debug_assert_eq!(result, Ok(()), "munmap of a mapping of our own");
    }
}
