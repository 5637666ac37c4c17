// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a relay waits for: a waker, and descriptors in epoll.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

/// Wakes a thread that waits in poll or epoll.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn new(eventfd: OwnedFd) -> Self {
        Self(Arc::new(eventfd))
    }

    pub(crate) fn wake(&self) {
        // Full means that it wakes already.
        let _wakes_already = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    pub(crate) fn reset(&self) {
        // Empty means that nobody woke it.
        let _nobody = rustix::io::read(&*self.0, &mut [0; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an event is about, packed into epoll's 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Waker,
    /// The connections of all clients, which are in an epoll of their own.
    Links,
    Link(u64),
    Stream(u64),
}

impl Key {
    pub(crate) fn pack(self) -> EventData {
        let (kind, id) = match self {
            Self::Waker => (0, 0),
            Self::Link(id) => (1, id),
            Self::Stream(id) => (2, id),
            Self::Links => (3, 0),
        };
        EventData::new_u64(id << 3 | kind)
    }

    pub(crate) fn unpack(data: EventData) -> Self {
        let id = data.u64() >> 3;
        match data.u64() & 7 {
            1 => Self::Link(id),
            2 => Self::Stream(id),
            3 => Self::Links,
            _ => Self::Waker,
        }
    }
}

/// One descriptor's place in epoll. Hang-ups are reported whether anybody waits for them or not, so a descriptor that
/// nothing is wanted of is taken out; otherwise a peer that hung up behind a full queue would keep the thread spinning.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    added: bool,
}

impl Watch {
    pub(crate) fn set(
        &mut self,
        epoll: &OwnedFd,
        fd: BorrowedFd<'_>,
        key: Key,
        interest: EventFlags,
    ) -> Result<(), Errno> {
        let wanted = !interest.is_empty();
        match (self.added, wanted) {
            (false, true) => epoll::add(epoll, fd, key.pack(), interest)?,
            (true, true) => epoll::modify(epoll, fd, key.pack(), interest)?,
            (true, false) => epoll::delete(epoll, fd)?,
            (false, false) => {}
        }
        self.added = wanted;
        Ok(())
    }
}
