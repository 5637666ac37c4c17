// SPDX-License-Identifier: MIT OR Apache-2.0
//! SEND and RECV on pipes that the program holds itself.
//!
//! The supervisor has no end of these pipes, so that both sides see the other's close. For the time of one call it gets a
//! duplicate of the program's descriptor, and never waits on it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;

use heraldry_virtio::device::PipeEnd;
use rustix::event::epoll::EventFlags;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

use super::supervisor::Supervisor;
use crate::sys::seccomp::{Notification, Reply};

/// The offset that means: none.
const CURRENT: u64 = u64::MAX;

/// What is to be done with the pipe.
#[derive(Debug)]
pub(super) enum Transfer {
    /// RECV into a transaction with so much room.
    Recv { room: usize },
    /// SEND; this much is written.
    Send { data: Vec<u8>, done: usize },
}

/// A transfer that waits for its pipe.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) call: Notification,
    pub(super) fd: OwnedFd,
    pub(super) transfer: Transfer,
}

impl Wait {
    pub(super) const fn flags(&self) -> EventFlags {
        match self.transfer {
            Transfer::Recv { .. } => EventFlags::IN,
            Transfer::Send { .. } => EventFlags::OUT,
        }
    }
}

/// Takes the token out of a token pipe or socket, without waiting for one.
pub(super) fn take_token(fd: &OwnedFd) {
    let mut byte = [0];
    let _ = preadv2(
        fd,
        &mut [IoSliceMut::new(&mut byte)],
        CURRENT,
        ReadWriteFlags::NOWAIT,
    );
}

impl Supervisor {
    /// Goes on with a transfer whose pipe is ready.
    pub(super) fn resume(&mut self, serial: u64) {
        let Some(wait) = self.waits.remove(&serial) else {
            return;
        };
        if !self.listener.is_valid(wait.call.id) {
            return;
        }
        let call = wait.call;
        if let Some(reply) = self.transfer(wait) {
            self.reply(&call, reply);
        }
    }

    pub(super) fn start(&mut self, end: PipeEnd, wait: Wait) -> Option<Reply> {
        match (end, &wait.transfer) {
            (PipeEnd::Read, Transfer::Recv { .. }) | (PipeEnd::Write, Transfer::Send { .. }) => {
                self.transfer(wait)
            }
            // What the device answers when it writes to a read end.
            (PipeEnd::Read, Transfer::Send { .. }) => Some(Reply::Fail(Errno::NODEV)),
            // A write end never has data: RECV would wait for ever.
            (PipeEnd::Write, Transfer::Recv { .. }) => Some(Reply::Fail(Errno::AGAIN)),
        }
    }

    fn transfer(&mut self, mut wait: Wait) -> Option<Reply> {
        match &mut wait.transfer {
            Transfer::Recv { room } => {
                let mut data = vec![0; *room];
                match preadv2(
                    &wait.fd,
                    &mut [IoSliceMut::new(&mut data)],
                    CURRENT,
                    ReadWriteFlags::NOWAIT,
                ) {
                    Ok(count) => {
                        data.truncate(count);
                        Some(self.hand_over(&wait.call, &data, &[]))
                    }
                    Err(Errno::AGAIN) if is_nonblocking(&wait.fd) => Some(Reply::Fail(Errno::AGAIN)),
                    Err(Errno::AGAIN) => {
                        self.wait_for(wait);
                        None
                    }
                    Err(errno) => Some(Reply::Fail(errno)),
                }
            }
            Transfer::Send { data, done } => {
                while let Some(rest) = data.get(*done..).filter(|rest| !rest.is_empty()) {
                    match pwritev2(&wait.fd, &[IoSlice::new(rest)], CURRENT, ReadWriteFlags::NOWAIT) {
                        Ok(count) => *done += count,
                        // SEND takes everything, whatever O_NONBLOCK says.
                        Err(Errno::AGAIN) => {
                            self.wait_for(wait);
                            return None;
                        }
                        Err(_broken) => return Some(self.refuse_send(Errno::NODEV)),
                    }
                }
                Some(Reply::Value(0))
            }
        }
    }
}

/// Whether a descriptor of the program is O_NONBLOCK.
pub(super) fn is_nonblocking(fd: &OwnedFd) -> bool {
    fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
}
