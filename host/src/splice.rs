// SPDX-License-Identifier: MIT OR Apache-2.0
//! One spliced connection: bytes and descriptors between a client's socket and the compositor's, both ways.
//!
//! Never blocks on either side. Each direction has a bounded queue; while it is full the source is not read, so a
//! side that does not read slows down its own peer and nobody else. Wayland is not parsed here. Pipes go through their
//! [stand-ins](crate::stand_in).

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use heraldry_config::UnsealedMemory;
use heraldry_wire::descriptors::{Arrival, receive, send};
use heraldry_wire::display::{WINDOW_BYTES, WINDOW_FDS};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

pub use crate::classify::Refused;
use crate::classify::{Kind, classify};
use crate::stand_in::{GiveBackError, Party, Returned, StandIns};

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;
/// Bytes that may wait in one direction.
const MAX_QUEUED: usize = 256 * 1024;
/// Bytes that may wait for a client. The compositor's side is always read: over virtio_wl an unread byte makes SEND
/// wait, and with it everything of the client's VM; what that VM does not receive fills the one queue of the device.
const MAX_WAITING: usize = 1024 * 1024;
/// How long one side has, after the other closed, to take what waits for it.
const LINGER: Duration = Duration::from_secs(10);

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// One side closed; what the other had sent before is delivered.
    #[error("closed by {0}")]
    Closed(Side),
    /// A socket failed.
    #[error("the socket of {0} failed: {1}")]
    Failed(Side, Errno),
    /// A side sent a descriptor that may not pass.
    #[error("{0} sent {1}")]
    Descriptor(Side, Refused),
    /// The client does not read what it is sent.
    #[error("the client does not read what it is sent")]
    Slow,
    /// More descriptors than virtio_wl has room for in a message.
    #[error("{0} sent more than {MAX_FDS} descriptors in one message")]
    TooMany(Side),
}

impl End {
    /// Whether a peer broke a rule, rather than just left.
    pub fn is_fault(&self) -> bool {
        matches!(self, Self::Descriptor(..) | Self::TooMany(_) | Self::Slow)
    }
}

/// The two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
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
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Pieces of memory.
    pub memory: u64,
    /// Pipes.
    pub pipes: u64,
}

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// What the compositor may still be sent. Everything that is under way lies in buffers that all VMs share, until the
/// connection's gate has it; so no more is sent than the gate has said it can hold.
#[derive(Debug, Default)]
struct Window {
    sent: (u64, u64),
    taken: (u64, u64),
}

impl Window {
    /// How many bytes of a piece may go now.
    fn admits(&self, piece: &Piece) -> usize {
        let bytes = self.sent.0.saturating_sub(self.taken.0);
        let fds = self.sent.1.saturating_sub(self.taken.1);
        let more = u64::try_from(piece.fds.len()).unwrap_or(u64::MAX);
        if fds.saturating_add(more) > WINDOW_FDS {
            return 0;
        }
        let rest = piece.bytes.len().saturating_sub(piece.sent);
        let room = WINDOW_BYTES.saturating_sub(bytes);
        rest.min(usize::try_from(room).unwrap_or(rest))
    }

    fn send(&mut self, bytes: usize, fds: usize) {
        let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
        self.sent.0 = self.sent.0.saturating_add(count(bytes));
        self.sent.1 = self.sent.1.saturating_add(count(fds));
    }

    /// Takes note of sums. They only rise, and nobody works off what was not sent.
    fn credit(&mut self, bytes: u64, fds: u64) {
        self.taken.0 = self.taken.0.max(bytes.min(self.sent.0));
        self.taken.1 = self.taken.1.max(fds.min(self.sent.1));
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    queue: VecDeque<Piece>,
    bytes: usize,
    fds: usize,
    /// Nothing more is read: the source has said its last word, or nobody listens to it.
    ended: bool,
    traffic: Traffic,
}

impl Direction {
    fn wants_input(&self, from: Side, max_fds: usize) -> bool {
        if from == Side::Compositor {
            return !self.ended;
        }
        // What comes at once has at most MAX_FDS descriptors, and they must fit.
        !self.ended && self.bytes < MAX_QUEUED && self.fds.saturating_add(MAX_FDS) <= max_fds
    }

    fn is_done(&self) -> bool {
        self.ended && self.queue.is_empty()
    }

    /// Takes bytes in. Small reads share a piece, so that a queue costs what its bytes cost.
    fn add(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) {
        self.traffic.bytes = self
            .traffic
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.fds = self.fds.saturating_add(fds.len());
        match self.queue.back_mut() {
            Some(last) if fds.is_empty() && last.bytes.len() < CHUNK => last.bytes.extend_from_slice(bytes),
            _ => self.queue.push_back(Piece {
                bytes: bytes.to_vec(),
                sent: 0,
                fds,
            }),
        }
    }

    /// Nobody takes what waits here, nor what might come.
    fn give_up(&mut self) {
        self.queue.clear();
        self.bytes = 0;
        self.fds = 0;
        self.ended = true;
    }
}

/// A spliced connection.
///
/// It ends in two steps. When one side closes, what it had said is delivered, and what waits for it is offered to it;
/// only then, or after [`LINGER`], is the other side closed.
#[derive(Debug)]
pub struct Splice {
    client: OwnedFd,
    compositor: OwnedFd,
    up: Direction,
    down: Direction,
    unsealed: UnsealedMemory,
    /// Memory has passed that its sender can still shrink.
    has_unsealed: bool,
    max_fds: usize,
    party: Party,
    window: Window,
    /// Who closed first, and when the other side's time is up.
    closing: Option<(Side, Instant)>,
}

impl Splice {
    /// Joins two connected stream sockets, which must be non-blocking.
    pub fn new(
        client: OwnedFd,
        compositor: OwnedFd,
        unsealed: UnsealedMemory,
        max_fds: usize,
        party: Party,
    ) -> Self {
        Self {
            client,
            compositor,
            up: Direction::default(),
            down: Direction::default(),
            unsealed,
            has_unsealed: false,
            max_fds: max_fds.max(MAX_FDS),
            party,
            window: Window::default(),
            closing: None,
        }
    }

    /// Other rules are in force from now on. What was allowed and is not any more ends the connection: the compositor may
    /// have it mapped.
    pub fn set_rules(&mut self, unsealed: UnsealedMemory, max_fds: usize, pipes: usize) -> Result<(), End> {
        self.unsealed = unsealed;
        self.max_fds = max_fds.max(MAX_FDS);
        self.party.most = pipes;
        if self.has_unsealed && unsealed == UnsealedMemory::Refuse {
            return Err(End::Descriptor(Side::Client, Refused::Unsealed));
        }
        Ok(())
    }

    /// One end's descriptor.
    pub fn fd(&self, side: Side) -> BorrowedFd<'_> {
        match side {
            Side::Client => self.client.as_fd(),
            Side::Compositor => self.compositor.as_fd(),
        }
    }

    /// What passed from the client and to it.
    pub fn traffic(&self) -> (Traffic, Traffic) {
        (self.up.traffic, self.down.traffic)
    }

    /// The events to wait for on one end. With none, the end must not be watched at all: epoll reports a hang-up
    /// whether it is asked for or not, and again and again.
    pub fn interest(&self, side: Side) -> EventFlags {
        let (from, to) = match side {
            Side::Client => (&self.up, &self.down),
            Side::Compositor => (&self.down, &self.up),
        };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, from.wants_input(side, self.max_fds));
        let sends = to
            .queue
            .front()
            .is_some_and(|piece| side == Side::Client || self.window.admits(piece) > 0);
        flags.set(EventFlags::OUT, sends);
        flags
    }

    /// The compositor has taken so much of what the client has sent since the beginning.
    pub fn credit(&mut self, bytes: u64, fds: u64) -> Result<(), End> {
        self.window.credit(bytes, fds);
        self.deliver()
    }

    /// When to give up on the side that is still open, if the other has closed.
    pub fn deadline(&self) -> Option<Instant> {
        self.closing.map(|(_, deadline)| deadline)
    }

    /// Tells both sides that it is over. Closing the sockets would tell them too, but may take for ever: what lies in their
    /// queues is closed first.
    pub fn hang_up(&self) {
        for socket in [&self.compositor, &self.client] {
            // It may be closed already.
            let _closed = shutdown(socket, Shutdown::Both);
        }
    }

    /// Why a connection whose deadline has passed ends.
    pub fn overdue(&self) -> End {
        End::Closed(self.closing.map_or(Side::Client, |(side, _)| side))
    }

    /// Moves what can be moved after an event on `side`.
    pub fn progress(&mut self, side: Side, events: EventFlags, stand_ins: &mut StandIns) -> Result<(), End> {
        if events.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.pull(side, stand_ins)?;
        }
        self.deliver()
    }

    fn deliver(&mut self) -> Result<(), End> {
        self.push(Side::Client)?;
        self.push(Side::Compositor)?;
        match self.closing {
            Some((first, _)) if self.up.is_done() && self.down.is_done() => Err(End::Closed(first)),
            _ => Ok(()),
        }
    }

    /// `side` has closed. Nothing more is read from the other.
    fn close(&mut self, side: Side) {
        self.closing
            .get_or_insert_with(|| (side, Instant::now() + LINGER));
        self.up.ended = true;
        self.down.ended = true;
        if side == Side::Compositor {
            // Who has closed works nothing off: what waits is offered once more, and then given up.
            self.window.taken = (u64::MAX, u64::MAX);
            // The client's writes fail from now on, so that it stops writing and reads what it is still to hear. It
            // may be closed as well.
            let _closed = shutdown(&self.client, Shutdown::Read);
        }
    }

    /// Reads once from `side` into its direction.
    fn pull(&mut self, side: Side, stand_ins: &mut StandIns) -> Result<(), End> {
        let (direction, fd) = match side {
            Side::Client => (&mut self.up, self.client.as_fd()),
            Side::Compositor => (&mut self.down, self.compositor.as_fd()),
        };
        if !direction.wants_input(side, self.max_fds) {
            return Ok(());
        }
        let mut bytes = [0; CHUNK];
        let mut fds = Vec::new();
        let received = match receive(fd, &mut bytes, &mut fds) {
            Ok(received) => received,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            // A reset is the other way to say goodbye.
            Err(Errno::CONNRESET) => {
                self.close(side);
                return Ok(());
            }
            Err(errno) => return Err(End::Failed(side, errno)),
        };
        match received.descriptors {
            Arrival::Whole => {}
            Arrival::TooMany => return Err(End::TooMany(side)),
            Arrival::Lost => return Err(End::Failed(side, Errno::MFILE)),
        }
        if received.bytes == 0 {
            self.close(side);
            return Ok(());
        }
        let mut passed = Vec::with_capacity(fds.len());
        for fd in fds {
            // The compositor's own memory comes from our server and is sealed from birth; what else it sends is a client's.
            let kind = classify(&fd, self.unsealed).map_err(|refused| End::Descriptor(side, refused))?;
            self.has_unsealed |= kind == Kind::Memory { can_shrink: true };
            let fd = swap(side, kind, fd, &self.party, stand_ins)?;
            match fd {
                Passing::Memory(_) => direction.traffic.memory += 1,
                Passing::Pipe(_) => direction.traffic.pipes += 1,
            }
            let (Passing::Memory(fd) | Passing::Pipe(fd)) = fd;
            passed.push(fd);
        }
        let fds = passed;
        direction.add(bytes.get(..received.bytes).unwrap_or_default(), fds);
        if side == Side::Compositor && (direction.bytes > MAX_WAITING || direction.fds > self.max_fds) {
            return Err(End::Slow);
        }
        Ok(())
    }

    /// Writes what waits for `side`.
    fn push(&mut self, side: Side) -> Result<(), End> {
        let (direction, fd) = match side {
            Side::Client => (&mut self.down, self.client.as_fd()),
            Side::Compositor => (&mut self.up, self.compositor.as_fd()),
        };
        while let Some(piece) = direction.queue.front_mut() {
            let mut rest = piece.bytes.get(piece.sent..).unwrap_or_default();
            if side == Side::Compositor {
                rest = rest.get(..self.window.admits(piece)).unwrap_or_default();
            }
            if rest.is_empty() {
                return Ok(());
            }
            let borrowed: Vec<_> = piece.fds.iter().map(AsFd::as_fd).collect();
            match send(fd, rest, &borrowed) {
                Ok(sent) => {
                    if side == Side::Compositor {
                        self.window.send(sent, piece.fds.len());
                    }
                    direction.fds = direction.fds.saturating_sub(piece.fds.len());
                    direction.bytes = direction.bytes.saturating_sub(sent);
                    piece.fds.clear();
                    piece.sent = piece.sent.saturating_add(sent);
                    if piece.sent >= piece.bytes.len() {
                        direction.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    // It hears no more, but what it said last is still to be read and delivered.
                    direction.give_up();
                    self.closing
                        .get_or_insert_with(|| (side, Instant::now() + LINGER));
                    return Ok(());
                }
                Err(errno) => return Err(End::Failed(side, errno)),
            }
        }
        Ok(())
    }
}

/// What leaves on the other side of a splice, or a stand-in for it.
enum Passing {
    Memory(OwnedFd),
    Pipe(OwnedFd),
}

/// A client's pipe becomes its stand-in, and a stand-in what it stands for.
fn swap(
    from: Side,
    kind: Kind,
    fd: OwnedFd,
    party: &Party,
    stand_ins: &mut StandIns,
) -> Result<Passing, End> {
    match (from, kind) {
        (Side::Client, Kind::Memory { .. }) => Ok(Passing::Memory(fd)),
        (Side::Client, Kind::Pipe) => stand_ins
            .replace(party, fd)
            .map(Passing::Pipe)
            .map_err(|errno| End::Failed(from, errno)),
        (Side::Compositor, Kind::Pipe) => Err(End::Descriptor(from, Refused::Pipe)),
        (Side::Compositor, Kind::Memory { .. }) => match stand_ins.give_back(party, &fd) {
            Ok(Returned::Other) => Ok(Passing::Memory(fd)),
            Ok(Returned::Pipe(pipe)) => Ok(Passing::Pipe(pipe)),
            Err(GiveBackError::Foreign) => Err(End::Descriptor(from, Refused::Foreign)),
            Err(GiveBackError::System(errno)) => Err(End::Failed(from, errno)),
        },
    }
}

#[cfg(test)]
mod tests;
