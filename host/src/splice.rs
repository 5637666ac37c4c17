// SPDX-License-Identifier: MIT OR Apache-2.0
//! One spliced connection: bytes and descriptors between a client's socket and the compositor's, both ways.
//!
//! Never blocks on either side. Each direction has a bounded queue; while it is full the source is not read, so a
//! side that does not read slows down its own peer and nobody else. Wayland is not parsed here.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use heraldry_config::UnsealedMemory;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::classify::{Kind, Refused, classify};

/// Descriptors in one message, as virtio_wl has it (VIRTWL_SEND_MAX_ALLOCS).
pub(crate) const MAX_FDS: usize = 28;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes that may wait in one direction.
const MAX_QUEUED: usize = 256 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// One side closed; what the other had sent before is delivered.
    #[error("closed by {0}")]
    Closed(Side),
    /// A socket failed.
    #[error("the socket of {0} failed: {1}")]
    Failed(Side, Errno),
    /// The client sent a descriptor that may not pass.
    #[error("{0} sent {1}")]
    Descriptor(Side, #[source] Refused),
    /// More descriptors than fit one message, or than may wait.
    #[error("{0} sent too many descriptors")]
    TooMany(Side),
}

impl End {
    /// Whether a peer broke a rule, rather than just left.
    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Descriptor(..) | Self::TooMany(_))
    }
}

/// The two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The program in the app VM.
    Client,
    /// The compositor.
    Compositor,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "the client",
            Self::Compositor => "the compositor",
        })
    }
}

/// What passed so far.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Traffic {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Pieces of memory.
    pub(crate) memory: u64,
    /// Pipes.
    pub(crate) pipes: u64,
}

struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// One direction.
#[derive(Default)]
struct Lane {
    queue: VecDeque<Piece>,
    bytes: usize,
    fds: usize,
    /// The source has said its last word.
    ended: bool,
    traffic: Traffic,
}

impl Lane {
    fn wants_input(&self) -> bool {
        !self.ended && self.bytes < MAX_QUEUED
    }

    fn is_done(&self) -> bool {
        self.ended && self.queue.is_empty()
    }
}

/// A spliced connection.
pub(crate) struct Splice {
    client: OwnedFd,
    compositor: OwnedFd,
    up: Lane,
    down: Lane,
    unsealed: UnsealedMemory,
    max_fds: usize,
}

impl Splice {
    /// Joins two connected stream sockets, which must be non-blocking.
    pub(crate) fn new(
        client: OwnedFd,
        compositor: OwnedFd,
        unsealed: UnsealedMemory,
        max_fds: usize,
    ) -> Self {
        Self {
            client,
            compositor,
            up: Lane::default(),
            down: Lane::default(),
            unsealed,
            max_fds,
        }
    }

    /// One end's descriptor.
    pub(crate) fn fd(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Client => self.client.as_fd(),
            Side::Compositor => self.compositor.as_fd(),
        }
    }

    /// What passed from the client and to it.
    pub(crate) fn traffic(&self) -> (Traffic, Traffic) {
        (self.up.traffic, self.down.traffic)
    }

    /// The events to wait for on one end.
    pub(crate) fn interest(&self, side: Side) -> EventFlags {
        let (from, to) = match side {
            Side::Client => (&self.up, &self.down),
            Side::Compositor => (&self.down, &self.up),
        };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, from.wants_input());
        flags.set(EventFlags::OUT, !to.queue.is_empty());
        flags
    }

    /// Moves what can be moved after an event on `side`.
    pub(crate) fn progress(&mut self, side: Side, events: EventFlags) -> Result<(), End> {
        if events.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.pull(side)?;
        }
        self.push(Side::Client)?;
        self.push(Side::Compositor)?;
        for (lane, side) in [(&self.up, Side::Client), (&self.down, Side::Compositor)] {
            if lane.is_done() {
                return Err(End::Closed(side));
            }
        }
        Ok(())
    }

    /// Reads once from `side` into its lane.
    fn pull(&mut self, side: Side) -> Result<(), End> {
        let (lane, fd) = match side {
            Side::Client => (&mut self.up, self.client.as_fd()),
            Side::Compositor => (&mut self.down, self.compositor.as_fd()),
        };
        if !lane.wants_input() {
            return Ok(());
        }
        let mut bytes = vec![0; CHUNK];
        // One more than may come, so that an overfull message shows as truncated or as too many.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(fd, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // A reset is the other way to say goodbye.
            Err(Errno::CONNRESET) => {
                lane.ended = true;
                return Ok(());
            }
            Err(errno) => return Err(End::Failed(side, errno)),
        };
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC)
            || fds.len() > MAX_FDS
            || lane.fds.saturating_add(fds.len()) > self.max_fds
        {
            return Err(End::TooMany(side));
        }
        if received.bytes == 0 {
            lane.ended = true;
            return Ok(());
        }
        // The compositor's own memory comes from our server and is sealed from birth.
        let unsealed = match side {
            Side::Client => self.unsealed,
            Side::Compositor => UnsealedMemory::Refuse,
        };
        for fd in &fds {
            match classify(fd, unsealed).map_err(|refused| End::Descriptor(side, refused))? {
                Kind::Memory(_) => lane.traffic.memory += 1,
                Kind::Pipe => lane.traffic.pipes += 1,
            }
        }
        bytes.truncate(received.bytes);
        lane.traffic.bytes = lane
            .traffic
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        lane.bytes = lane.bytes.saturating_add(bytes.len());
        lane.fds = lane.fds.saturating_add(fds.len());
        lane.queue.push_back(Piece { bytes, sent: 0, fds });
        Ok(())
    }

    /// Writes what waits for `side`.
    fn push(&mut self, side: Side) -> Result<(), End> {
        let (lane, fd) = match side {
            Side::Client => (&mut self.down, self.client.as_fd()),
            Side::Compositor => (&mut self.up, self.compositor.as_fd()),
        };
        while let Some(piece) = lane.queue.front_mut() {
            let rest = piece.bytes.get(piece.sent..).unwrap_or_default();
            match send(fd, rest, &piece.fds) {
                Ok(sent) => {
                    lane.fds = lane.fds.saturating_sub(piece.fds.len());
                    lane.bytes = lane.bytes.saturating_sub(sent);
                    piece.fds.clear();
                    piece.sent = piece.sent.saturating_add(sent);
                    if piece.sent >= piece.bytes.len() {
                        lane.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(End::Closed(side)),
                Err(errno) => return Err(End::Failed(side, errno)),
            }
        }
        Ok(())
    }
}

/// Sends bytes with descriptors attached to the first of them; never blocks, never raises SIGPIPE.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::TOOMANYREFS);
    }
    sendmsg(
        fd,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )
}
