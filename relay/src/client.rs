// SPDX-License-Identifier: MIT OR Apache-2.0
//! One client: its connection on one side, the compositor's socket pair on the other, the gate between them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use heraldry_gate::{Budgets, Globals, Limits, SendQueue, ServerFault, Session, Teardown, Violation};
use heraldry_identity::VmName;
use heraldry_virtio::guest::Device;
use heraldry_wire::descriptors::{receive, send};
use heraldry_wire::display::CompositorRecord;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use tracing::{debug, error, warn};

use crate::display_socket::HostLine;
use crate::events::{ClientKey, Endpoint};
use crate::quantum::Allowance;
use crate::recv_queue::{RecvQueue, Sum};
use crate::services::Shared;
use crate::transport::{CHUNK, OpenError, Transport, TransportError};
use crate::watch::Watch;

/// Descriptors that wait for a client that does not read.
const MAX_DOWN_FDS: usize = 256;

/// Whether the client is there.
enum Link {
    Open(Transport),
    /// The client has left; its objects are still being destroyed.
    Left(Teardown),
}

/// A connection to open.
pub(crate) struct Opening<'a> {
    pub(crate) key: ClientKey,
    pub(crate) endpoint: Endpoint,
    pub(crate) device: Option<&'a Device>,
    pub(crate) host: Option<HostLine>,
    pub(crate) limits: Limits,
    /// Bytes that may wait for a client that does not read.
    pub(crate) unread: usize,
    pub(crate) budgets: Arc<Budgets>,
    /// What its registry may show.
    pub(crate) globals: Globals,
    pub(crate) services: Shared,
    /// From when its session counts time.
    pub(crate) start: Instant,
}

/// A client's places in epoll.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// The link, for what comes.
    pub(crate) receive: Watch,
    /// The link, for room.
    pub(crate) send: Watch,
    pub(crate) stream: Watch,
}

/// Why a client's connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientEnd {
    /// The client left.
    #[error("the client left")]
    Client,
    /// The compositor ended it; the error it may have sent was passed on.
    #[error("the compositor ended it")]
    Compositor,
    /// The client broke a rule.
    #[error("{0}")]
    Violation(Violation),
    /// More waits for the client than it may leave unread.
    #[error("it does not read what it is sent")]
    Unread,
    /// The compositor's own bytes made no sense, or could not be passed on.
    #[error("{0}")]
    Server(ServerFault),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Link(String),
}

impl From<TransportError> for ClientEnd {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Gone => Self::Client,
            TransportError::Failed(why) => Self::Link(why),
        }
    }
}

impl ClientEnd {
    /// Whether the compositor's side still has the client.
    pub(crate) const fn is_of_the_client(&self) -> bool {
        !matches!(self, Self::Compositor)
    }

    /// Says why, at the rate that the VM is allowed to fill the log with: it may be behind each of them.
    pub(crate) fn log(&self, vm: &VmName, client: u64, services: &Shared) {
        match self {
            Self::Client | Self::Compositor => debug!(%vm, client, end = %self, "connection ended"),
            Self::Violation(violation) => services.log(
                |more| warn!(%vm, more, "more clients broke rules"),
                || warn!(%vm, client, "client ended: {violation}"),
            ),
            Self::Link(_) | Self::Unread => services.log(
                |more| warn!(%vm, more, "more connections ended"),
                || warn!(%vm, client, end = %self, "connection ended"),
            ),
            Self::Server(fault) if fault.is_provoked() => services.log(
                |more| warn!(%vm, more, "more clients ended"),
                || warn!(%vm, client, end = %self, "client ended"),
            ),
            Self::Server(_) => services.log(
                |more| error!(%vm, more, "more connections ended by a fault of ours"),
                || error!(%vm, client, end = %self, "connection ended by a fault of ours"),
            ),
        }
    }
}

/// One client.
pub(crate) struct Client {
    key: ClientKey,
    /// Its places in epoll.
    pub(crate) watches: Watches,
    link: Link,
    stream: UnixStream,
    session: Session<Shared>,
    up: SendQueue,
    down: SendQueue,
    down_fds: VecDeque<OwnedFd>,
    unread: usize,
    /// What was received and not yet given to the session.
    received: RecvQueue,
    /// Who is to be told what was taken, and of which connection.
    credit: Option<(HostLine, u64)>,
    /// The client sends no more.
    ended: bool,
    start: Instant,
}

impl Client {
    /// Opens a connection. Returns the client and the compositor's end of its socket pair.
    pub(crate) fn open(opening: Opening<'_>) -> Result<(Self, UnixStream), OpenError> {
        let number = match &opening.endpoint {
            Endpoint::Announced(announcement) => Some(announcement.number),
            Endpoint::Socket(_) => None,
        };
        let transport = Transport::open(opening.endpoint, opening.device)?;
        let (stream, compositor) = UnixStream::pair()?;
        stream.set_nonblocking(true)?;
        let client = Self {
            key: opening.key,
            watches: Watches::default(),
            link: Link::Open(transport),
            stream,
            session: Session::of_vm(opening.limits, opening.budgets, opening.globals, opening.services),
            up: SendQueue::new(),
            down: SendQueue::new(),
            down_fds: VecDeque::new(),
            unread: opening.unread,
            received: RecvQueue::default(),
            credit: opening.host.zip(number),
            ended: false,
            start: opening.start,
        };
        Ok((client, compositor))
    }

    /// Its number.
    pub(crate) fn key(&self) -> u64 {
        self.key.0
    }

    /// The connection; `None` when the client has left.
    pub(crate) fn link_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.link {
            Link::Open(transport) => Some(transport.fd()),
            Link::Left(_) => None,
        }
    }

    pub(crate) fn stream_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether its client is gone and its objects are still being destroyed.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.link, Link::Left(_))
    }

    /// Whether the connection is to be read. One over virtio_wl always is; a socket waits by itself.
    fn may_receive(&self) -> bool {
        match &self.link {
            Link::Open(transport) if transport.waits_by_itself() => {
                !self.ended && self.up.is_empty() && self.received.is_empty()
            }
            Link::Open(_) => !self.ended,
            Link::Left(_) => false,
        }
    }

    /// Tells the host what was taken.
    pub(crate) fn say_credit(&mut self) {
        let sum = self.received.sum();
        self.tell(sum);
    }

    fn tell(&self, sum: Sum) {
        if let Some((line, number)) = &self.credit {
            line.say(CompositorRecord::Credit {
                number: *number,
                bytes: sum.bytes,
                descriptors: sum.fds,
            });
        }
    }

    /// Whether there is something to do without anything having come, given what is left of the turn.
    pub(crate) fn has_more(&self, allowance: &Allowance) -> bool {
        match &self.link {
            _ if !self.up.is_empty() => false,
            Link::Left(teardown) => teardown.is_done() || allowance.teardown() > 0,
            _ => allowance.left() > 0 && (self.ended || !self.received.is_empty()),
        }
    }

    pub(crate) fn receives(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.may_receive());
        flags
    }

    pub(crate) fn sends(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        // A virtio_wl context never waits for POLLOUT: SEND takes everything or waits itself.
        let says_room = matches!(&self.link, Link::Open(transport) if transport.waits_by_itself());
        flags.set(EventFlags::OUT, says_room && !self.down.is_empty());
        flags
    }

    pub(crate) fn stream_interest(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        // Always read: what waited in wayland-backend would have it end the client, all at once.
        flags.insert(EventFlags::IN);
        flags.set(EventFlags::OUT, !self.up.is_empty());
        flags
    }

    /// The client's side has something, or room.
    pub(crate) fn link_ready(
        &mut self,
        flags: EventFlags,
        allowance: &mut Allowance,
    ) -> Result<(), ClientEnd> {
        // A connection that is gone has no room and is reported for ever: what waits for it tells.
        if flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR) {
            self.flush_down()?;
        }
        let readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
        if readable && self.may_receive() {
            self.ended = !self.receive()?;
        }
        self.advance(allowance)
    }

    /// Gives the session what was received, as far as the turn goes.
    pub(crate) fn advance(&mut self, allowance: &mut Allowance) -> Result<(), ClientEnd> {
        loop {
            self.flush_up()?;
            if !self.up.is_empty() {
                return Ok(());
            }
            if let Link::Left(teardown) = &mut self.link {
                if teardown.is_done() {
                    return Err(ClientEnd::Compositor);
                }
                if allowance.teardown() == 0 {
                    return Ok(());
                }
                allowance.take_teardown(teardown.slice(allowance.teardown(), &mut self.up));
                continue;
            }
            let left = allowance.left();
            if self.received.is_empty() {
                return if self.ended {
                    Err(ClientEnd::Client)
                } else {
                    Ok(())
                };
            }
            if left == 0 {
                return Ok(());
            }
            let Some((part, mut fds)) = self.received.next(left) else {
                return Ok(());
            };
            self.session.set_time(self.start.elapsed());
            let checked = self.session.from_client(&part, &mut fds, &mut self.up);
            if let Some(sum) = self.received.news() {
                self.tell(sum);
            }
            allowance.spend(self.up.len());
            allowance.drop_bytes(part.len().saturating_sub(self.up.len()));
            if let Err(violation) = checked {
                return Err(self.refuse(violation));
            }
        }
    }

    /// The client is gone: closes its connection, and begins to take apart what it had.
    pub(crate) fn leave(&mut self) -> Result<(), ClientEnd> {
        if matches!(self.link, Link::Left(_)) {
            return Ok(());
        }
        self.link = Link::Left(self.session.teardown());
        self.watches.receive = Watch::default();
        self.watches.send = Watch::default();
        self.received.clear();
        self.down = SendQueue::new();
        self.flush_up()?;
        match &self.link {
            Link::Left(teardown) if teardown.is_done() && self.up.is_empty() => Err(ClientEnd::Compositor),
            _ => Ok(()),
        }
    }

    /// The compositor's side has something, or room.
    pub(crate) fn stream_ready(
        &mut self,
        flags: EventFlags,
        allowance: &mut Allowance,
    ) -> Result<(), ClientEnd> {
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            let mut bytes = vec![0; CHUNK];
            let n = match receive(self.stream.as_fd(), &mut bytes, &mut self.down_fds) {
                Ok(received) => received.bytes,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::CONNRESET | Errno::PIPE) => 0,
                Err(errno) => return Err(ClientEnd::Link(errno.to_string())),
            };
            if n == 0 {
                // What the compositor said last, often an error, still goes out.
                self.flush_down()?;
                return Err(ClientEnd::Compositor);
            }
            bytes.truncate(n);
            self.session.set_time(self.start.elapsed());
            if matches!(self.link, Link::Left(_)) {
                // Nobody is there to hear it.
                self.down_fds.clear();
            } else {
                self.session
                    .from_server(&bytes, &mut self.down_fds, &mut self.down)
                    .map_err(ClientEnd::Server)?;
                self.flush_down()?;
                if self.down.len() > self.unread || self.down.descriptors() > MAX_DOWN_FDS {
                    return Err(ClientEnd::Unread);
                }
            }
        }
        if flags.contains(EventFlags::OUT) {
            self.advance(allowance)?;
        }
        Ok(())
    }

    /// Receives once into the queue; `false` at the end.
    fn receive(&mut self) -> Result<bool, ClientEnd> {
        let Link::Open(transport) = &self.link else {
            return Ok(false);
        };
        let incoming = transport.receive()?;
        let keeps_to_it = self.received.add(incoming.bytes, incoming.fds) || transport.waits_by_itself();
        keeps_to_it
            .then_some(!incoming.ended)
            .ok_or_else(|| ClientEnd::Link("the host sends more than its window".to_owned()))
    }

    /// Tells the client which rule it broke.
    fn refuse(&mut self, violation: Violation) -> ClientEnd {
        // A client that cannot be told is ended all the same.
        if self.flush_down().is_ok()
            && self.down.is_empty()
            && let Link::Open(transport) = &self.link
        {
            transport.send_last(&violation.error_event());
        }
        ClientEnd::Violation(violation)
    }

    fn flush_up(&mut self) -> Result<(), ClientEnd> {
        let stream = self.stream.as_fd();
        while !self.up.is_empty() {
            match self.up.send(CHUNK, |chunk| send(stream, chunk.bytes, &chunk.fds)) {
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(ClientEnd::Compositor),
                Err(errno) => return Err(ClientEnd::Link(errno.to_string())),
            }
        }
        Ok(())
    }

    fn flush_down(&mut self) -> Result<(), ClientEnd> {
        match &self.link {
            Link::Open(transport) => Ok(transport.flush(&mut self.down)?),
            Link::Left(_) => Ok(()),
        }
    }
}
