// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client: its connection on one side, the compositor's socket pair on the other, the gate between them.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_config::VmName;
use heraldry_gate::{Globals, Limits, Outbox, ServerFault, Session, Violation};
use heraldry_virtio::guest::{Context, Device, RecvError, SendError, TakeError, take_connection};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tracing::{debug, error, warn};

use super::link::Endpoint;
use super::services::Shared;
use super::worker::{CREDIT, Watch};
use crate::client::ClientKey;

/// Descriptors in one message.
const MAX_FDS: usize = 28;
/// Bytes taken from a socket at once.
const CHUNK: usize = 16 * 1024;
/// Events that wait for a client that does not read; beyond, the compositor's end is not read either.
const MAX_DOWN: usize = 64 * 1024;

/// Where the client's bytes come from and go to.
enum Link {
    Virtio(Context),
    Socket(UnixStream),
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    /// The host no longer has it.
    #[error("the announced connection could not be taken: {0}")]
    Take(#[from] TakeError),
    /// There is no device for a VM's connection to come through.
    #[error("there is no device")]
    NoDevice,
    /// The system gave no socket pair.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Why a client's connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerEnd {
    /// The client left.
    #[error("the client left")]
    Client,
    /// The compositor ended it; the error it may have sent was passed on.
    #[error("the compositor ended it")]
    Compositor,
    /// The client broke a rule.
    #[error("{0}")]
    Violation(Violation),
    /// The compositor's own bytes made no sense, or could not be passed on.
    #[error("{0}")]
    Server(ServerFault),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Link(String),
}

impl PeerEnd {
    /// Says why; a broken rule at the rate that the VM is allowed to fill the log with.
    pub(super) fn log(&self, vm: &VmName, client: u64, services: &Shared) {
        match self {
            Self::Client | Self::Compositor => debug!(%vm, client, end = %self, "connection ended"),
            Self::Violation(violation) => services.log(
                |more| warn!(%vm, more, "more clients broke rules"),
                || warn!(%vm, client, "client ended: {violation}"),
            ),
            Self::Link(_) => warn!(%vm, client, end = %self, "connection ended"),
            Self::Server(_) => error!(%vm, client, end = %self, "connection ended by a fault of ours"),
        }
    }
}

/// One client.
pub(super) struct Peer {
    key: ClientKey,
    /// The places of link and stream in epoll.
    pub(super) watches: (Watch, Watch),
    link: Link,
    stream: UnixStream,
    session: Session<Shared>,
    up: Outbox,
    down: Outbox,
    up_fds: VecDeque<OwnedFd>,
    down_fds: VecDeque<OwnedFd>,
    buffer: Vec<u8>,
    turn: u64,
    used: usize,
}

impl Peer {
    /// Opens a connection. Returns the peer and the compositor's end of its socket pair.
    pub(super) fn open(
        key: ClientKey,
        endpoint: Endpoint,
        device: Option<&Device>,
        globals: Globals,
        services: Shared,
    ) -> Result<(Self, UnixStream), PeerError> {
        let link = match endpoint {
            Endpoint::Socket(stream) => {
                stream.set_nonblocking(true)?;
                Link::Socket(stream)
            }
            Endpoint::Virtio(announcement) => Link::Virtio(take_connection(
                device.ok_or(PeerError::NoDevice)?,
                &announcement,
            )?),
        };
        let (stream, compositor) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let peer = Self {
            key,
            watches: <(Watch, Watch)>::default(),
            link,
            stream,
            session: Session::new(Limits::default(), globals, services),
            up: Outbox::new(),
            down: Outbox::new(),
            up_fds: VecDeque::new(),
            down_fds: VecDeque::new(),
            buffer: Vec::new(),
            turn: 0,
            used: 0,
        };
        Ok((peer, compositor))
    }

    /// Its number.
    pub(super) fn key(&self) -> u64 {
        self.key.0
    }

    pub(super) fn link_fd(&self) -> BorrowedFd<'_> {
        match &self.link {
            Link::Virtio(context) => context.as_fd(),
            Link::Socket(stream) => stream.as_fd(),
        }
    }

    pub(super) fn stream_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether the client has used up its turn of the main loop, and which turn that was.
    pub(super) fn waits_since(&self) -> Option<u64> {
        (self.used >= CREDIT).then_some(self.turn)
    }

    pub(super) fn link_interest(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.up.is_empty() && self.used < CREDIT);
        // A virtio_wl context never waits for POLLOUT: SEND takes everything or waits itself.
        flags.set(
            EventFlags::OUT,
            matches!(self.link, Link::Socket(_)) && !self.down.is_empty(),
        );
        flags
    }

    pub(super) fn stream_interest(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.down.len() < MAX_DOWN);
        flags.set(EventFlags::OUT, !self.up.is_empty());
        flags
    }

    /// The client's side has something, or room.
    pub(super) fn link_ready(&mut self, flags: EventFlags, turn: u64) -> Result<(), PeerEnd> {
        if self.turn != turn {
            self.turn = turn;
            self.used = 0;
        }
        if flags.contains(EventFlags::OUT) {
            self.flush_down()?;
        }
        let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        if readable && self.up.is_empty() && self.used < CREDIT {
            let more = self.receive()?;
            let before = self.up.len();
            let checked = self
                .session
                .from_client(&self.buffer, &mut self.up_fds, &mut self.up);
            // What the gate dropped costs the main thread nothing, and would never end its turn.
            self.used = self.used.saturating_add(self.up.len().saturating_sub(before));
            if let Err(violation) = checked {
                return Err(self.refuse(violation));
            }
            self.flush_up()?;
            if !more {
                return Err(PeerEnd::Client);
            }
        } else if flags.contains(EventFlags::HUP) && self.up.is_empty() && self.used < CREDIT {
            return Err(PeerEnd::Client);
        }
        Ok(())
    }

    /// The compositor's side has something, or room.
    pub(super) fn stream_ready(&mut self, flags: EventFlags) -> Result<(), PeerEnd> {
        if flags.contains(EventFlags::OUT) {
            self.flush_up()?;
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) && self.down.len() < MAX_DOWN
        {
            let mut bytes = vec![0; CHUNK];
            let n = match receive(self.stream.as_fd(), &mut bytes, &mut self.down_fds) {
                Ok(n) => n,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::CONNRESET | Errno::PIPE) => 0,
                Err(errno) => return Err(PeerEnd::Link(errno.to_string())),
            };
            if n == 0 {
                // What the compositor said last, often an error, still goes out.
                self.flush_down()?;
                return Err(PeerEnd::Compositor);
            }
            bytes.truncate(n);
            self.session
                .from_server(&bytes, &mut self.down_fds, &mut self.down)
                .map_err(PeerEnd::Server)?;
            self.flush_down()?;
        }
        Ok(())
    }

    /// Receives once into the buffer; `false` at the end.
    fn receive(&mut self) -> Result<bool, PeerEnd> {
        self.buffer.clear();
        match &self.link {
            Link::Virtio(context) => match context.recv(&mut self.buffer, &mut self.up_fds) {
                Ok(received) => Ok(!received.eof),
                Err(RecvError::NoDescriptors) => Err(PeerEnd::Link("no descriptors are left".to_owned())),
                Err(error) => Err(PeerEnd::Link(error.to_string())),
            },
            Link::Socket(stream) => {
                self.buffer.resize(CHUNK, 0);
                match receive(stream.as_fd(), &mut self.buffer, &mut self.up_fds) {
                    Ok(n) => {
                        self.buffer.truncate(n);
                        Ok(n > 0)
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {
                        self.buffer.clear();
                        Ok(true)
                    }
                    Err(Errno::CONNRESET) => {
                        self.buffer.clear();
                        Ok(false)
                    }
                    Err(errno) => Err(PeerEnd::Link(errno.to_string())),
                }
            }
        }
    }

    /// Tells the client which rule it broke.
    fn refuse(&mut self, violation: Violation) -> PeerEnd {
        // A client that cannot be told is ended all the same.
        if self.flush_down().is_ok() && self.down.is_empty() {
            let event = violation.error_event();
            match &self.link {
                Link::Virtio(context) => drop(context.send(&event, &[])),
                Link::Socket(stream) => drop(send(stream.as_fd(), &event, &[])),
            }
        }
        PeerEnd::Violation(violation)
    }

    fn flush_up(&mut self) -> Result<(), PeerEnd> {
        let stream = self.stream.as_fd();
        while !self.up.is_empty() {
            match self.up.send(CHUNK, |chunk| send(stream, chunk.bytes, &chunk.fds)) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(PeerEnd::Compositor),
                Err(errno) => return Err(PeerEnd::Link(errno.to_string())),
            }
        }
        Ok(())
    }

    fn flush_down(&mut self) -> Result<(), PeerEnd> {
        while !self.down.is_empty() {
            let sent = match &self.link {
                Link::Virtio(context) => self.down.send(CHUNK, |chunk| {
                    context
                        .send(chunk.bytes, &chunk.fds)
                        .map(|()| chunk.bytes.len())
                        .map_err(|error| match error {
                            SendError::Gone => PeerEnd::Client,
                            error => PeerEnd::Link(error.to_string()),
                        })
                }),
                Link::Socket(stream) => match self
                    .down
                    .send(CHUNK, |chunk| send(stream.as_fd(), chunk.bytes, &chunk.fds))
                {
                    Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                    Err(Errno::PIPE | Errno::CONNRESET) => Err(PeerEnd::Client),
                    Err(errno) => Err(PeerEnd::Link(errno.to_string())),
                    Ok(taken) => Ok(taken),
                },
            };
            sent?;
        }
        Ok(())
    }
}

fn receive(fd: BorrowedFd<'_>, bytes: &mut [u8], fds: &mut VecDeque<OwnedFd>) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(fd, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received.bytes)
}

fn send(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    sendmsg(
        fd,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )
}
