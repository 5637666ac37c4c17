// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shared memory, mapped.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use memmap2::{MmapOptions, MmapRaw};
use rustix::io::Errno;

use super::last_errno;

/// A shared mapping, to be read and written.
#[derive(Debug)]
pub(crate) struct Mapping(MmapRaw);

impl Mapping {
    /// Maps the first `len` bytes of `fd`. Not from another offset: the virtio_wl driver checks one and then ignores it.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize) -> Result<Self, Errno> {
        Self::at(fd, 0, len)
    }

    /// Maps the memory that a graphics card has under this offset.
    pub(crate) fn of_card(card: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        Self::at(card, offset, len)
    }

    fn at(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self, Errno> {
        if len == 0 {
            return Err(Errno::INVAL);
        }
        let mapped = MmapOptions::new().offset(offset).len(len).map_raw(&fd);
        mapped
            .map(Self)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
    }

    /// Copies `bytes` to the start of the mapping, which must be writable. What is longer than the mapping is left out.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.0.len());
        // SAFETY: the mapping has `count` bytes or more and lives as long as self; nothing in Rust refers to it.
        unsafe {
            self.0
                .as_mut_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), count)
        };
    }

    /// Copies the mapping from `at` on, which must be readable, to `bytes`. What is beyond its end is left out.
    pub(crate) fn read(&self, at: usize, bytes: &mut [u8]) {
        let count = bytes.len().min(self.0.len().saturating_sub(at));
        let from = self.0.as_ptr().wrapping_add(at);
        if count > 0 {
            // SAFETY: `from` is within the mapping, which has `count` bytes or more behind it and lives as long as self.
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
        let len = len.min(self.0.len().saturating_sub(at));
        if len == 0 {
            return Ok(0);
        }
        let to = self.0.as_mut_ptr().wrapping_add(at);
        // SAFETY: `to` is within the mapping, which has `len` bytes or more behind it; nothing in Rust refers to them.
        let count = unsafe { libc::pread(file.as_raw_fd(), to.cast(), len, offset) };
        usize::try_from(count).map_err(|_negative| last_errno())
    }
}
