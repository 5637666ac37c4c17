// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each of the host's processes waits with: one epoll, and the time of what is due next.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

/// What is watched, each under a number.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        epoll::create(CreateFlags::CLOEXEC).map(Self)
    }

    pub(crate) fn add(&self, fd: impl AsFd, key: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::add(&self.0, fd, EventData::new_u64(key), flags)
    }

    pub(crate) fn modify(&self, fd: impl AsFd, key: u64, flags: EventFlags) -> Result<(), Errno> {
        epoll::modify(&self.0, fd, EventData::new_u64(key), flags)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) -> Result<(), Errno> {
        epoll::delete(&self.0, fd)
    }

    /// Waits until something happens, at most until the deadline.
    pub(crate) fn wait(&self, events: &mut Vec<Event>, deadline: Option<Instant>) -> Result<(), Errno> {
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            }
        });
        events.clear();
        match epoll::wait(&self.0, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// A kind and a number as one number, for what is watched. Numbers are counted up from 1 and stay far below 2^59.
pub(crate) fn key(kind: u64, number: u64) -> u64 {
    number << 4 | (kind & 15)
}

/// Kind and number of [`key`].
pub(crate) fn unpack(key: u64) -> (u64, u64) {
    (key & 15, key >> 4)
}
