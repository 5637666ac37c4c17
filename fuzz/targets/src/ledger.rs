// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors whose end can be seen: all are copies of one pipe's ends.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

/// Hands out descriptors and knows whether any of them is still open. It does not count the process's descriptors, so
/// replays may run beside each other.
#[derive(Debug)]
pub struct Ledger {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Ledger {
    /// A ledger that has handed out nothing.
    #[must_use]
    pub fn new() -> Self {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
        Self { reader, writer }
    }

    /// A descriptor: the writing end of a pipe.
    #[must_use]
    pub fn descriptor(&self) -> OwnedFd {
        self.writer.try_clone().expect("a descriptor")
    }

    /// Whether `fd` is one that was handed out, or a copy of one.
    #[must_use]
    pub fn knows(&self, fd: impl AsFd) -> bool {
        let inode =
            |fd: rustix::fd::BorrowedFd<'_>| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
        inode(fd.as_fd()).is_ok_and(|found| inode(self.writer.as_fd()) == Ok(found))
    }

    /// Asserts that everything handed out is closed.
    pub fn assert_all_closed(self) {
        drop(self.writer);
        // With a writer left, there is nothing to read yet; without one, the pipe has ended.
        let rest = rustix::io::read(&self.reader, &mut [0_u8; 1]);
        assert_eq!(rest, Ok(0), "descriptors are left open");
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}
