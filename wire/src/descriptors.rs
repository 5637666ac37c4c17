// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors beside bytes on a Unix socket, and how many of them this process may have open.
//!
//! Nothing here waits: a socket that has no bytes or no room says so.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::virtwl::MAX_FDS;

/// What came with one call of recvmsg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many bytes; 0 at the end of a stream.
    pub bytes: usize,
    /// What became of the descriptors that came with them.
    pub descriptors: Arrival,
}

/// Whether all descriptors of a message arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// All of them.
    Whole,
    /// There were more than [`MAX_FDS`]; those beyond are closed.
    TooMany,
    /// This process has no room for more; some are lost, which is not the sender's fault.
    Lost,
}

/// Receives once. Descriptors are added to `fds`, at most [`MAX_FDS`], and are closed on exec.
///
/// # Errors
///
/// Those of recvmsg, [`Errno::AGAIN`] if there is nothing now.
pub fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut impl Extend<OwnedFd>,
) -> Result<Received, Errno> {
    // One more than may come, so that an overfull message shows as too many.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let mut count = 0_usize;
    fds.extend(rights.flatten().filter(|_| {
        count = count.saturating_add(1);
        count <= MAX_FDS
    }));
    let descriptors = if count > MAX_FDS {
        Arrival::TooMany
    } else if received.flags.contains(ReturnFlags::CTRUNC) {
        // There was room for them in the message, so there was none in our table.
        Arrival::Lost
    } else {
        Arrival::Whole
    };
    Ok(Received {
        bytes: received.bytes,
        descriptors,
    })
}

/// Sends bytes with descriptors attached to the first of them; raises no SIGPIPE. Returns how many bytes were taken.
///
/// # Errors
///
/// Those of sendmsg, [`Errno::AGAIN`] if there is no room now; [`Errno::TOOMANYREFS`] for more than [`MAX_FDS`]
/// descriptors.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // The space is a little larger than it need be, so it does not count for us.
    let fits = fds.len() <= MAX_FDS;
    let attached = fds.is_empty() || fits && control.push(SendAncillaryMessage::ScmRights(fds));
    if !attached {
        return Err(Errno::TOOMANYREFS);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}

/// Raises this process's limit of open descriptors to the most it may have. The usual limit is 1024, and every
/// connection costs some.
///
/// # Errors
///
/// Those of setrlimit; the limit is as it was.
pub fn raise_limit() -> Result<(), Errno> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Sends a byte with so many descriptors, and says what arrives.
    fn pass(count: usize) -> (Received, usize) {
        let (from, to) = UnixStream::pair().unwrap();
        let fd = std::fs::File::open("/dev/null").unwrap();
        let many = vec![fd.as_fd(); count];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&from, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        let mut fds = Vec::new();
        let received = receive(to.as_fd(), &mut [0; 8], &mut fds).unwrap();
        (received, fds.len())
    }

    #[test]
    fn what_is_too_much_is_said_and_closed() {
        for (sent, arrived, descriptors) in [
            (1, 1, Arrival::Whole),
            (MAX_FDS, MAX_FDS, Arrival::Whole),
            (MAX_FDS + 1, MAX_FDS, Arrival::TooMany),
            (MAX_FDS + 20, MAX_FDS, Arrival::TooMany),
        ] {
            let bytes = 1;
            assert_eq!(pass(sent), (Received { bytes, descriptors }, arrived), "{sent}");
        }
    }

    #[test]
    fn bytes_and_descriptors_arrive_together_and_nobody_waits() {
        let (from, to) = UnixStream::pair().unwrap();
        let (mut bytes, mut fds) = ([0; 8], Vec::new());
        assert_eq!(receive(to.as_fd(), &mut bytes, &mut fds), Err(Errno::AGAIN));
        let fd = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(send(from.as_fd(), b"abc", &[fd.as_fd(); MAX_FDS]), Ok(3));
        let received = receive(to.as_fd(), &mut bytes, &mut fds).unwrap();
        assert_eq!((&bytes[..received.bytes], fds.len()), (&b"abc"[..], MAX_FDS));
        assert!(fds.iter().all(|fd| {
            rustix::io::fcntl_getfd(fd).is_ok_and(|flags| flags.contains(rustix::io::FdFlags::CLOEXEC))
        }));
        let too_many = send(from.as_fd(), b"abc", &[fd.as_fd(); MAX_FDS + 1]);
        assert_eq!(too_many, Err(Errno::TOOMANYREFS));
        drop(to);
        assert_eq!(send(from.as_fd(), b"abc", &[]), Err(Errno::PIPE));
    }

    #[test]
    fn a_full_socket_says_so() {
        let (from, _to) = UnixStream::pair().unwrap();
        let full = (0..10_000).find_map(|_| send(from.as_fd(), &[0; 4096], &[]).err());
        assert_eq!(full, Some(Errno::AGAIN));
    }

    #[test]
    fn the_limit_of_descriptors_is_raised_as_far_as_it_may_be() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let current = maximum.map_or(Some(512), |most| Some(most.min(512)));
        setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
        raise_limit().unwrap();
        let raised = getrlimit(Resource::Nofile);
        assert_eq!((raised.current, raised.maximum), (maximum, maximum));
    }
}
