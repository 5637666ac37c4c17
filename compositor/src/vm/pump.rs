// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies a clipboard transfer: a pipe that came from the host cannot be sent on (crosvm wl.rs), so the source writes
//! into a new device pipe and the bytes are copied from there to whoever asked. Both ends belong to one VM.

use std::os::fd::{AsFd, OwnedFd};

use heraldry_virtio::guest::ReadPipe;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::watch::{Key, Watch};

/// Bytes held between the two ends.
const BUFFER: usize = 16 * 1024;

/// A running copy.
pub(super) struct Pump {
    from: ReadPipe,
    to: OwnedFd,
    buffer: Vec<u8>,
    ended: bool,
    watches: (Watch, Watch),
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
            watches: <(Watch, Watch)>::default(),
        })
    }

    /// Brings epoll in line with what the copy waits for: data, or room for it. The sink is always watched, because a
    /// reader that goes away ends the copy.
    pub(super) fn watch(&mut self, epoll: &OwnedFd, source: Key, sink: Key) -> Result<(), Errno> {
        let mut read = EventFlags::empty();
        read.set(EventFlags::IN, !self.ended && self.buffer.is_empty());
        // Edge-triggered without room to wait for: the reader's end is told once.
        let write = if self.buffer.is_empty() {
            EventFlags::ET
        } else {
            EventFlags::OUT
        };
        self.watches.0.set(epoll, self.from.as_fd(), source, read)?;
        self.watches.1.set(epoll, self.to.as_fd(), sink, write)
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
