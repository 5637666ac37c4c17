// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::sys::mapping::Mapping;

/// Why memory could not be filled.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// More bytes than the memory has.
    #[error("{wanted} bytes do not fit into memory of {size} bytes")]
    TooLarge {
        /// Bytes to write.
        wanted: usize,
        /// Bytes there are.
        size: u64,
    },
    /// The memory could not be mapped.
    #[error("The memory could not be mapped")]
    Map(#[source] Errno),
}

/// Memory of the host, of a size that never changes. Only its maker knows the size: fstat(2) says 0.
#[derive(Debug)]
pub struct HostMemory {
    fd: OwnedFd,
    size: u64,
}

impl HostMemory {
    pub(super) const fn new(fd: OwnedFd, size: u64) -> Self {
        Self { fd, size }
    }

    /// How many bytes can be mapped.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Writes `bytes` to the start of the memory, which is mapped for that and unmapped again.
    ///
    /// # Errors
    ///
    /// There is less memory than bytes, or it cannot be mapped.
    pub fn fill(&self, bytes: &[u8]) -> Result<(), MemoryError> {
        let fits = u64::try_from(bytes.len()).is_ok_and(|wanted| wanted <= self.size);
        if !fits {
            return Err(MemoryError::TooLarge {
                wanted: bytes.len(),
                size: self.size,
            });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // All of it: a graphics card maps no less.
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        Mapping::new(self.fd.as_fd(), size)
            .map_err(MemoryError::Map)?
            .write(bytes);
        Ok(())
    }

    /// The descriptor, to send or to map from offset 0.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for HostMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the first `size` bytes of `fd` can be mapped shared, to be read and written, as the compositor's library does.
///
/// On the device the result of mmap(2) is the only truth about the size of memory; fstat(2) says 0. For an ordinary file
/// this is always true, so look at its size instead.
#[must_use]
pub fn memory_covers(fd: BorrowedFd<'_>, size: u64) -> bool {
    usize::try_from(size).is_ok_and(|size| Mapping::new(fd, size).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fill_writes_and_refuses_too_much() {
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        let memory = HostMemory::new(fd, 4096);
        memory.fill(b"hello").unwrap();
        assert!(matches!(
            memory.fill(&[0; 4097]),
            Err(MemoryError::TooLarge { .. })
        ));
        memory.fill(&[]).unwrap();
        let mut got = [0; 6];
        Mapping::new(memory.as_fd(), 6).unwrap().read(0, &mut got);
        assert_eq!(&got, b"hello\0");
    }

    #[test]
    fn what_cannot_be_mapped_covers_nothing() {
        let (read, _write) = rustix::pipe::pipe().unwrap();
        assert!(!memory_covers(read.as_fd(), 1));
        let fd = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        assert!(memory_covers(fd.as_fd(), 4096));
        assert!(!memory_covers(fd.as_fd(), 0));
    }

    #[test]
    fn what_cannot_be_written_covers_nothing() {
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("test", flags).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        rustix::fs::fcntl_add_seals(&fd, rustix::fs::SealFlags::WRITE).unwrap();
        assert!(!memory_covers(fd.as_fd(), 4096));
    }
}
