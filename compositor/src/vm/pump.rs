// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies a clipboard transfer: a pipe that came from the host cannot be sent on (crosvm wl.rs), so the source writes
//! into a new device pipe and the bytes are copied from there to whoever asked. Both ends belong to one VM.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use heraldry_virtio::guest::ReadPipe;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

/// Bytes held between the two ends.
const BUFFER: usize = 16 * 1024;

/// A running copy.
pub(super) struct Pump {
    from: ReadPipe,
    to: OwnedFd,
    buffer: Vec<u8>,
    ended: bool,
}

impl Pump {
    /// Copies from `from` to `to`, which is made non-blocking.
    pub(super) fn new(from: ReadPipe, to: OwnedFd) -> Result<Self, Errno> {
        let flags = rustix::fs::fcntl_getfl(&to)?;
        rustix::fs::fcntl_setfl(&to, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self {
            from,
            to,
            buffer: Vec::new(),
            ended: false,
        })
    }

    pub(super) fn source(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    pub(super) fn sink(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }

    /// What to wait for at the source and at the sink.
    pub(super) fn interest(&self) -> (EventFlags, EventFlags) {
        let mut read = EventFlags::empty();
        read.set(EventFlags::IN, !self.ended && self.buffer.is_empty());
        let mut write = EventFlags::empty();
        write.set(EventFlags::OUT, !self.buffer.is_empty());
        (read, write)
    }

    /// Moves what can be moved; `false` when the copy is over.
    pub(super) fn progress(&mut self) -> bool {
        if self.buffer.is_empty() && !self.ended {
            self.buffer.resize(BUFFER, 0);
            match self.from.read(&mut self.buffer) {
                Ok(0) => {
                    self.buffer.clear();
                    self.ended = true;
                }
                Ok(n) => self.buffer.truncate(n),
                Err(Errno::AGAIN | Errno::INTR) => self.buffer.clear(),
                Err(_) => return false,
            }
        }
        if !self.buffer.is_empty() {
            match rustix::io::write(&self.to, &self.buffer) {
                Ok(n) => drop(self.buffer.drain(..n.min(self.buffer.len()))),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        !(self.ended && self.buffer.is_empty())
    }
}
