// SPDX-License-Identifier: MIT OR Apache-2.0
//! What carries a channel: something that takes bytes and descriptors in their order, and never waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_wire::descriptors::{Arrival, receive, send};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{FileType, fcntl_get_seals, fstat};
use rustix::io::Errno;

use crate::CHUNK;

/// What came at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// Something.
    Some,
    /// Nothing now.
    Nothing,
    /// Nothing ever.
    End,
}

/// The way to the other side.
pub trait Carrier {
    /// Sends what there is room for, at least a byte, and the descriptors with it. EAGAIN if there is no room.
    ///
    /// # Errors
    ///
    /// Those of send(2); the channel is over.
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno>;

    /// Receives once, and adds to what is there. A descriptor that can't be had is `None`: it costs its stream.
    ///
    /// # Errors
    ///
    /// Those of recv(2); the channel is over.
    fn receive(&mut self, bytes: &mut Vec<u8>, fds: &mut VecDeque<Option<OwnedFd>>)
    -> Result<Arrived, Errno>;

    /// Whether a descriptor can be sent.
    fn carries(&self, fd: BorrowedFd<'_>) -> bool;

    /// Sees to it that the epoll reports what comes and, if `room` is wanted, when there is room again.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    fn watch(&mut self, epoll: &OwnedFd, room: bool) -> Result<(), Errno>;
}

/// A connected socket of this machine.
#[derive(Debug)]
pub struct Socket {
    socket: UnixStream,
    /// What is watched: nothing yet, what comes, or room too.
    watched: Option<bool>,
}

impl Socket {
    /// Carries a channel over a socket, in which nothing waits from now on.
    #[must_use]
    pub const fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            watched: None,
        }
    }
}

impl Carrier for Socket {
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        send(self.socket.as_fd(), bytes, fds)
    }

    fn receive(
        &mut self,
        bytes: &mut Vec<u8>,
        fds: &mut VecDeque<Option<OwnedFd>>,
    ) -> Result<Arrived, Errno> {
        let (mut room, mut came) = ([0; CHUNK], Vec::new());
        let received = match receive(self.socket.as_fd(), &mut room, &mut came) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Arrived::Nothing),
            Err(Errno::CONNRESET) => return Ok(Arrived::End),
            Err(errno) => return Err(errno),
        };
        match received.descriptors {
            Arrival::Whole => {}
            // Which stream would have got them nobody can say.
            Arrival::Lost => return Err(Errno::MFILE),
            Arrival::TooMany => return Err(Errno::TOOMANYREFS),
        }
        if received.bytes == 0 {
            return Ok(Arrived::End);
        }
        bytes.extend_from_slice(room.get(..received.bytes).unwrap_or_default());
        fds.extend(came.into_iter().map(Some));
        Ok(Arrived::Some)
    }

    /// Memory, which the device at the other end of the socket can map or copy.
    fn carries(&self, fd: BorrowedFd<'_>) -> bool {
        // Only memory has seals; of what has none nothing more is asked, because its file system would have to answer.
        fcntl_get_seals(fd).is_ok()
            && fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    fn watch(&mut self, epoll: &OwnedFd, room: bool) -> Result<(), Errno> {
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, room);
        let data = EventData::new_u64(0);
        match self.watched.replace(room) {
            None => epoll::add(epoll, &self.socket, data, flags),
            Some(before) if before != room => epoll::modify(epoll, &self.socket, data, flags),
            Some(_) => Ok(()),
        }
    }
}
