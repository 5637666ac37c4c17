// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes made by the guest, for data that goes from client to client.
//!
//! A pipe's far end can be sent once. Pipes that came from the host cannot be sent on (crosvm wl.rs), so what one
//! client writes must be copied to the pipe of another by this side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::context::{self, SendError};
use super::set_nonblocking;

/// A pipe that this side reads. Non-blocking.
#[derive(Debug)]
pub struct ReadPipe {
    fd: OwnedFd,
}

impl ReadPipe {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        set_nonblocking(fd.as_fd())?;
        Ok(Self { fd })
    }

    /// Reads into `buf`, which may not be empty. 0 is the end.
    ///
    /// # Errors
    ///
    /// EAGAIN when nothing is there, and what else read(2) returns.
    pub fn read(&self, buf: &mut [u8]) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Err(Errno::INVAL);
        }
        rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *buf))
    }
}

impl AsFd for ReadPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A pipe that this side writes, with the SEND ioctl alone: the driver opens it read-only, so write(2) fails.
#[derive(Debug)]
pub struct WritePipe {
    fd: OwnedFd,
}

impl WritePipe {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        set_nonblocking(fd.as_fd())?;
        Ok(Self { fd })
    }

    /// Writes all of `data`. Waits for the device.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub fn write(&self, data: &[u8]) -> Result<(), SendError> {
        context::send(self.fd.as_fd(), data, &[])
    }
}

impl AsFd for WritePipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
