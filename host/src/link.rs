// SPDX-License-Identifier: MIT OR Apache-2.0
//! What two processes of the host say to each other: messages, some with descriptors, over a pair of sockets.
//!
//! Neither side ever waits for the other. What the socket does not take waits in a queue with a limit, and a link whose
//! queue is full has failed: its other side has not turned for a long time.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use heraldry_wire::descriptors::{Arrival, receive, send};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest message: the memory accounts of all VMs that a file can have.
const MAX_BYTES: usize = 64 * 1024;
/// Descriptors with a message.
const MAX_FDS: usize = 4;
/// Messages that wait for the other side. It is told of one connection at a time, and there are hundreds of them.
const MAX_QUEUED: usize = 8192;

/// Why a link is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// The other side is gone.
    #[error("the other process is gone")]
    Closed,
    /// The other side does not read.
    #[error("the other process does not read")]
    Full,
    /// The socket failed.
    #[error("the socket failed")]
    Socket(#[source] Errno),
    /// What came is no message: the processes are not of one program.
    #[error("what came is no message")]
    Malformed,
}

/// The ends of a new link.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

struct Queued {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// One message about the same thing replaces another.
    topic: Option<u64>,
}

/// One end of a link, which says `Out` and hears `In`.
pub(crate) struct Link<Out, In> {
    fd: OwnedFd,
    queue: VecDeque<Queued>,
    kinds: PhantomData<fn(Out) -> In>,
}

impl<Out: Serialize, In: DeserializeOwned> Link<Out, In> {
    /// Takes over one end of [`pair`].
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            queue: VecDeque::new(),
            kinds: PhantomData,
        }
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> EventFlags {
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, !self.queue.is_empty());
        flags
    }

    /// Says something.
    pub(crate) fn send(&mut self, message: &Out, fds: Vec<OwnedFd>) -> Result<(), LinkError> {
        self.queue(message, fds, None)
    }

    /// Says how something stands now; what was said about the same topic and has not gone need not go.
    pub(crate) fn update(&mut self, topic: u64, message: &Out) -> Result<(), LinkError> {
        self.queue.retain(|queued| queued.topic != Some(topic));
        self.queue(message, Vec::new(), Some(topic))
    }

    fn queue(&mut self, message: &Out, fds: Vec<OwnedFd>, topic: Option<u64>) -> Result<(), LinkError> {
        let bytes = serde_json::to_vec(message).map_err(|_unlikely| LinkError::Malformed)?;
        if self.queue.len() >= MAX_QUEUED {
            return Err(LinkError::Full);
        }
        self.queue.push_back(Queued { bytes, fds, topic });
        self.flush()
    }

    /// Sends what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), LinkError> {
        while let Some(message) = self.queue.front() {
            let borrowed: Vec<BorrowedFd<'_>> = message.fds.iter().map(AsFd::as_fd).collect();
            if borrowed.len() > MAX_FDS {
                return Err(LinkError::Malformed);
            }
            match send(self.fd.as_fd(), &message.bytes, &borrowed) {
                Ok(_) => {
                    self.queue.pop_front();
                }
                Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(LinkError::Closed),
                Err(errno) => return Err(LinkError::Socket(errno)),
            }
        }
        Ok(())
    }

    /// The next message, if there is one.
    pub(crate) fn receive(&mut self) -> Result<Option<(In, Vec<OwnedFd>)>, LinkError> {
        let mut bytes = [0; MAX_BYTES];
        let mut fds = Vec::new();
        let received = match receive(self.fd.as_fd(), &mut bytes, &mut fds) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(Errno::CONNRESET) => return Err(LinkError::Closed),
            Err(errno) => return Err(LinkError::Socket(errno)),
        };
        if received.bytes == 0 {
            return Err(LinkError::Closed);
        }
        if received.descriptors != Arrival::Whole || fds.len() > MAX_FDS {
            return Err(LinkError::Socket(Errno::MFILE));
        }
        let message = bytes.get(..received.bytes).unwrap_or_default();
        serde_json::from_slice(message)
            .map(|message| Some((message, fds)))
            .map_err(|_text| LinkError::Malformed)
    }
}

impl<Out, In> AsFd for Link<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Text = Link<(u64, String), (u64, String)>;

    fn links() -> (Text, Text) {
        let (one, other) = pair().unwrap();
        (Link::new(one), Link::new(other))
    }

    fn said(number: u64) -> (u64, String) {
        (number, "x".repeat(100))
    }

    #[test]
    fn messages_arrive_in_their_order_with_their_descriptors() {
        let (mut one, mut other) = links();
        let (read, write) = rustix::pipe::pipe().unwrap();
        one.send(&said(1), vec![read]).unwrap();
        one.send(&said(2), Vec::new()).unwrap();
        let (message, fds) = other.receive().unwrap().unwrap();
        assert_eq!((message.0, fds.len()), (1, 1));
        drop(write);
        assert_eq!(rustix::io::read(&fds[0], &mut [0; 1]).unwrap(), 0);
        assert_eq!(other.receive().unwrap().unwrap().0.0, 2);
        assert!(other.receive().unwrap().is_none());
        drop(one);
        assert_eq!(other.receive().unwrap_err(), LinkError::Closed);
    }

    #[test]
    fn who_does_not_read_makes_nobody_wait_and_is_given_up() {
        let (mut one, mut other) = links();
        let mut told = 0;
        let error = loop {
            match one.send(&said(told), Vec::new()) {
                Ok(()) => told += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, LinkError::Full);
        assert!(one.interest().contains(EventFlags::OUT));
        for number in 0..told {
            let received = other.receive().unwrap();
            let ((found, _), _) = received.unwrap_or_else(|| {
                one.flush().unwrap();
                other.receive().unwrap().unwrap()
            });
            assert_eq!(found, number);
        }
    }

    #[test]
    fn how_something_stands_now_waits_once() {
        let (mut one, _other) = links();
        for number in 0..100_000 {
            one.update(number % 3, &said(number)).unwrap();
        }
        assert!(one.queue.len() <= 3);
    }
}
