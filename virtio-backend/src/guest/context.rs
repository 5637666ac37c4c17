// SPDX-License-Identifier: MIT OR Apache-2.0
//! Contexts: streams of bytes and descriptors to a socket of the host.
//!
//! On the host's own machine a context is that socket itself; where one channel carries all, it is one end of a pair, at whose other
//! end the channel is.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_wire::descriptors::{self, Arrival};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::set_nonblocking;
use crate::sys::ioctl;
use crate::uapi::{TXN_HEADER, TxnHeader};

/// Most data in one SEND. The driver takes sends near 1 MiB never, and large ones only when memory is not fragmented.
const SEND_CHUNK: usize = 32 * 1024;

/// Room for data in one RECV: two full device messages of 3968 bytes fit.
const RECV_ROOM: usize = 8192 - TXN_HEADER;

/// The device has 256 buffers for messages to the guest; one receive empties at least one of them.
const DRAIN_ROUNDS: usize = 300;

/// How long the queue to the device may stay full.
const BUSY: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Why nothing, or not everything, was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The other side is gone (ENODEV or EINVAL; the device does not tell them apart reliably).
    #[error("The other side of the context is gone")]
    Gone,
    /// Descriptors need at least one byte per 28 of them to travel with.
    #[error("{0} descriptors do not fit into a message of {1} bytes")]
    TooManyDescriptors(usize, usize),
    /// A descriptor is none of the device's.
    #[error("A descriptor that is none of the device's cannot be sent")]
    ForeignDescriptor,
    /// The queue to the device stayed full for a second. `sent` bytes are on their way; the stream is broken if that is
    /// neither none nor all.
    #[error("The device does not answer; {sent} bytes were sent")]
    Busy {
        /// Bytes that went out before.
        sent: usize,
    },
    /// Something else.
    #[error("The device did not send")]
    Other(#[source] Errno),
}

/// Why nothing was received.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// No descriptors left; the bytes and descriptors of this receive are lost, so the stream is broken.
    #[error("This process has no descriptors left; the stream is broken")]
    NoDescriptors,
    /// Something else.
    #[error("The device did not receive")]
    Other(#[source] Errno),
}

/// What one receive brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes appended to the buffer.
    pub bytes: usize,
    /// Descriptors appended to the queue.
    pub fds: usize,
    /// The other side is gone and everything was received.
    pub eof: bool,
    /// Nothing is there now.
    pub would_block: bool,
}

/// A context. Non-blocking from the start; poll it for POLLIN, and receive on POLLHUP too.
#[derive(Debug)]
pub struct Context {
    stream: Stream,
}

#[derive(Debug)]
enum Stream {
    Vfd(Vfd),
    Socket(UnixStream),
}

/// A context of the device.
#[derive(Debug)]
struct Vfd {
    fd: OwnedFd,
}

impl Context {
    pub(super) fn new(fd: OwnedFd) -> Result<Self, Errno> {
        set_nonblocking(fd.as_fd())?;
        Ok(Self {
            stream: Stream::Vfd(Vfd { fd }),
        })
    }

    /// Of a connected socket that does not block.
    pub(super) const fn of_socket(socket: UnixStream) -> Self {
        Self {
            stream: Stream::Socket(socket),
        }
    }

    /// The socket itself, which says when it has room, unlike a context of the device.
    ///
    /// # Errors
    ///
    /// It is a context of the device, and given back.
    pub fn into_socket(self) -> Result<UnixStream, Self> {
        match self.stream {
            Stream::Socket(socket) => Ok(socket),
            stream @ Stream::Vfd(_) => Err(Self { stream }),
        }
    }

    /// Sends `data`, and `fds` with its first bytes. Waits for the device.
    ///
    /// # Errors
    ///
    /// See [`SendError`]. Empty data without descriptors is sent without touching the device.
    pub fn send(&self, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        match &self.stream {
            Stream::Vfd(vfd) => send(vfd.fd.as_fd(), data, fds),
            Stream::Socket(socket) => send_on_socket(socket.as_fd(), data, fds),
        }
    }

    /// Receives once: appends what is there to `buf` and `fds`. Call again until it would block or the end has come.
    ///
    /// Descriptors may come earlier than their bytes, and when more than 28 wait, later.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    pub fn recv(&self, buf: &mut Vec<u8>, fds: &mut VecDeque<OwnedFd>) -> Result<Received, RecvError> {
        match &self.stream {
            Stream::Vfd(vfd) => vfd.recv(buf, fds),
            Stream::Socket(socket) => recv_on_socket(socket.as_fd(), buf, fds),
        }
    }
}

impl Vfd {
    fn recv(&self, buf: &mut Vec<u8>, fds: &mut VecDeque<OwnedFd>) -> Result<Received, RecvError> {
        let mut txn = [0; TXN_HEADER + RECV_ROOM];
        let before = fds.len();
        let received = loop {
            match ioctl::recv(self.fd.as_fd(), &mut txn, |fd| fds.push_back(fd)) {
                Ok(bytes) => break bytes,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    return Ok(Received {
                        would_block: true,
                        ..Received::default()
                    });
                }
                Err(Errno::MFILE | Errno::NFILE) => return Err(RecvError::NoDescriptors),
                Err(other) => return Err(RecvError::Other(other)),
            }
        };
        buf.extend(txn.iter().skip(TXN_HEADER).take(received));
        let fds = fds.len() - before;
        Ok(Received {
            bytes: received,
            fds,
            eof: received == 0 && fds == 0,
            would_block: false,
        })
    }
}

impl AsFd for Context {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Vfd(vfd) => vfd.fd.as_fd(),
            Stream::Socket(socket) => socket.as_fd(),
        }
    }
}

impl Drop for Vfd {
    /// Takes what is queued: descriptors that were announced and not taken would stay open for ever.
    fn drop(&mut self) {
        let (mut buf, mut fds) = (Vec::new(), VecDeque::new());
        for _ in 0..DRAIN_ROUNDS {
            match self.recv(&mut buf, &mut fds) {
                Ok(received) if !received.eof && !received.would_block => {}
                _ => break,
            }
            buf.clear();
            fds.clear();
        }
    }
}

fn recv_on_socket(
    socket: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
    fds: &mut VecDeque<OwnedFd>,
) -> Result<Received, RecvError> {
    let (mut room, before) = ([0; RECV_ROOM], fds.len());
    let received = loop {
        match descriptors::receive(socket, &mut room, fds) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                return Ok(Received {
                    would_block: true,
                    ..Received::default()
                });
            }
            // What the other side had not read when it closed its end.
            Err(Errno::CONNRESET) => {
                return Ok(Received {
                    eof: true,
                    ..Received::default()
                });
            }
            other => break other.map_err(RecvError::Other)?,
        }
    };
    if received.descriptors == Arrival::Lost {
        return Err(RecvError::NoDescriptors);
    }
    buf.extend(room.iter().take(received.bytes));
    Ok(Received {
        bytes: received.bytes,
        fds: fds.len() - before,
        eof: received.bytes == 0,
        would_block: false,
    })
}

/// Sends on a socket, which has room for a second at most, as the device does.
fn send_on_socket(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
    if fds.len().div_ceil(MAX_FDS) > data.len() {
        return Err(SendError::TooManyDescriptors(fds.len(), data.len()));
    }
    let mut fds = fds.chunks(MAX_FDS);
    let (mut rest, mut batch) = (data, fds.next().unwrap_or_default());
    while !rest.is_empty() {
        // All but the last batch of descriptors go ahead with one byte each, so that none comes after its bytes.
        let most = if fds.len() > 0 { 1 } else { rest.len() };
        match descriptors::send(socket, rest.get(..most).unwrap_or(rest), batch) {
            Ok(taken) => {
                rest = rest.get(taken..).unwrap_or_default();
                batch = fds.next().unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let ready = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&BUSY));
                if matches!(ready, Ok(0)) {
                    return Err(SendError::Busy {
                        sent: data.len() - rest.len(),
                    });
                }
            }
            Err(Errno::PIPE | Errno::CONNRESET) => return Err(SendError::Gone),
            Err(other) => return Err(SendError::Other(other)),
        }
    }
    Ok(())
}

/// Sends on any vfd that takes data.
pub(super) fn send(vfd: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
    let messages = fds.len().div_ceil(MAX_FDS);
    if messages > data.len() {
        return Err(SendError::TooManyDescriptors(fds.len(), data.len()));
    }
    let mut fds = fds.chunks(MAX_FDS);
    let mut rest = data;
    let mut txn = Vec::with_capacity(TXN_HEADER + data.len().min(SEND_CHUNK));
    while !rest.is_empty() {
        let batch = fds.next().unwrap_or_default();
        // All but the last batch of descriptors go ahead with one byte each, so that none comes after its bytes.
        let count = if fds.len() > 0 {
            1
        } else {
            rest.len().min(SEND_CHUNK)
        };
        let (head, tail) = rest.split_at(count);
        let mut header = TxnHeader {
            len: u32::try_from(count).unwrap_or(0),
            ..TxnHeader::empty()
        };
        for (slot, fd) in header.fds.iter_mut().zip(batch) {
            *slot = fd.as_raw_fd();
        }
        txn.clear();
        txn.extend_from_slice(&header.to_bytes());
        txn.extend_from_slice(head);
        send_one(vfd, &mut txn, data.len() - rest.len())?;
        rest = tail;
    }
    Ok(())
}

fn send_one(vfd: BorrowedFd<'_>, txn: &mut [u8], sent: usize) -> Result<(), SendError> {
    loop {
        match ioctl::send(vfd, txn) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => {}
            // One free place in the queue makes POLLOUT and is not enough, so this may come several times.
            Err(Errno::AGAIN) => {
                let ready = poll(&mut [PollFd::new(&vfd, PollFlags::OUT)], Some(&BUSY));
                if matches!(ready, Ok(0)) {
                    return Err(SendError::Busy { sent });
                }
                std::thread::yield_now();
            }
            Err(Errno::BUSY) => return Err(SendError::Busy { sent }),
            Err(Errno::NODEV | Errno::INVAL) => return Err(SendError::Gone),
            Err(Errno::BADFD) => return Err(SendError::ForeignDescriptor),
            Err(other) => return Err(SendError::Other(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn pair() -> (Context, UnixStream) {
        let (own, far) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        (Context::of_socket(own), far)
    }

    #[test]
    fn a_socket_carries_bytes_and_descriptors_and_says_its_end() {
        let (context, far) = pair();
        let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
        assert!(context.recv(&mut bytes, &mut fds).unwrap().would_block);
        let other = Context::of_socket(far);
        let many = vec![other.as_fd(); 2 * MAX_FDS + 3];
        other.send(b"hello", &many).unwrap();
        let refused = other.send(b"h", &many);
        assert!(
            matches!(refused, Err(SendError::TooManyDescriptors(..))),
            "{refused:?}"
        );
        while !context.recv(&mut bytes, &mut fds).unwrap().would_block {}
        assert_eq!((bytes.as_slice(), fds.len()), (b"hello".as_slice(), many.len()));
        fds.clear();
        drop(other);
        let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
        assert!(context.recv(&mut bytes, &mut fds).unwrap().eof);
        assert!(matches!(context.send(b"x", &[]), Err(SendError::Gone)));
    }

    #[test]
    fn who_never_reads_is_waited_for_a_second_and_no_longer() {
        let (context, mut far) = pair();
        let much = vec![7; 4 << 20];
        let Err(SendError::Busy { sent }) = context.send(&much, &[]) else {
            panic!("there is no room for so much");
        };
        drop(context);
        let mut got = Vec::new();
        far.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), sent);
    }
}
