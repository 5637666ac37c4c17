// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device waits for: one epoll, in which everything is told once and then asked for again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// Events at a time.
const AT_ONCE: usize = 64;

/// The epoll.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> Result<Arc<Self>, Errno> {
        Ok(Arc::new(Self(epoll::create(CreateFlags::CLOEXEC)?)))
    }

    /// What has happened, without waiting.
    pub(crate) fn events(&self) -> Vec<u64> {
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        let now = Timespec::default();
        // An error is no event.
        let _count = epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&now));
        events.iter().map(|event| event.data.u64()).collect()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that can be waited for. It leaves the epoll with this value, though others may have it open still.
#[derive(Debug)]
pub(crate) struct Watched {
    fd: OwnedFd,
    poller: Arc<Poller>,
    key: u64,
}

impl Watched {
    pub(crate) fn new(poller: &Arc<Poller>, fd: OwnedFd, key: u64) -> Result<Self, Errno> {
        epoll::add(&**poller, &fd, EventData::new_u64(key), EventFlags::ONESHOT)?;
        Ok(Self {
            fd,
            poller: Arc::clone(poller),
            key,
        })
    }

    /// Waits for these once; for none, not even for a hang-up.
    pub(crate) fn wait_for(&self, flags: EventFlags) {
        if !flags.is_empty() {
            let data = EventData::new_u64(self.key);
            // It was added when it was made.
            let _armed = epoll::modify(&*self.poller, &self.fd, data, flags | EventFlags::ONESHOT);
        }
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _deleted = epoll::delete(&*self.poller, &self.fd);
    }
}

/// A context and one of its items (0: its connection) as one number.
pub(crate) const fn key(context: u32, item: u32) -> u64 {
    (context as u64) << 32 | item as u64
}

/// Context and item of [`key`].
pub(crate) fn unpack(key: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = key.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}
