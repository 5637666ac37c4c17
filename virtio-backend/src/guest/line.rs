// SPDX-License-Identifier: MIT OR Apache-2.0
//! One channel to the host for everything, and the thread that moves what is on it.
//!
//! The channel is opened when a context is first wanted, and again after its end. A context is a stream of it, which for its user is
//! a socket; with the channel all of them end.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heraldry_streams::{Arrived, Carrier, OpenError, ROLE, Socket, Streams};
use heraldry_wire::ContextName;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::cross_domain::Card;
use super::{Context, NewError, local};

/// Where a channel goes.
#[derive(Debug)]
enum Way {
    Card(PathBuf),
    Socket(PathBuf),
}

/// A channel that is there; `None` once it is over.
type Shared = Arc<Mutex<Option<Streams<Any>>>>;

/// The channel of a process.
#[derive(Debug)]
pub(super) struct Line {
    way: Way,
    live: Mutex<Option<Live>>,
}

#[derive(Debug)]
struct Live {
    streams: Shared,
    /// Ends the thread.
    stop: Arc<OwnedFd>,
}

impl Drop for Live {
    fn drop(&mut self) {
        // The streams end now, whenever the thread hears of it.
        *lock(&self.streams) = None;
        // Full would mean that it is told already.
        let _told = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// A channel through a card that has cross-domain.
    pub(super) const fn of_card(path: PathBuf) -> Self {
        Self::new(Way::Card(path))
    }

    /// A channel to a socket of the host on this machine.
    pub(super) const fn of_socket(path: PathBuf) -> Self {
        Self::new(Way::Socket(path))
    }

    const fn new(way: Way) -> Self {
        Self {
            way,
            live: Mutex::new(None),
        }
    }

    pub(super) const fn is_local(&self) -> bool {
        matches!(self.way, Way::Socket(_))
    }

    /// Opens the context called `name`. Whether anybody is over there shows on it.
    pub(super) fn context(&self, name: ContextName) -> Result<Context, NewError> {
        let mut live = lock(&self.live);
        if live.as_ref().is_none_or(|live| lock(&live.streams).is_none()) {
            *live = Some(self.connect()?);
        }
        let Some(there) = live.as_ref() else {
            return Err(NewError::Refused);
        };
        let mut streams = lock(&there.streams);
        let opened = streams.as_mut().map(|streams| streams.open(name));
        match opened {
            Some(Ok(socket)) => Ok(Context::of_socket(socket)),
            Some(Err(OpenError::TooMany)) => Err(NewError::NoIds),
            Some(Err(OpenError::System(errno))) => Err(errno.into()),
            // Another time there is another channel.
            None | Some(Err(OpenError::Numbers | OpenError::Ended(_))) => {
                *streams = None;
                Err(NewError::Refused)
            }
        }
    }

    fn connect(&self) -> Result<Live, NewError> {
        let mut carrier = match &self.way {
            Way::Card(path) => Any::Card(Box::new(Card::connect(path)?)),
            Way::Socket(path) => Any::Socket(Socket::new(local::connect_to(path)?)),
        };
        let role = ContextName::new(ROLE).map_err(NewError::Name)?.to_role();
        // What was just opened has room for so little.
        if carrier.send(&role, &[]) != Ok(role.len()) {
            return Err(NewError::Refused);
        }
        let streams = Streams::opener(carrier)?;
        let events = streams.as_fd().try_clone_to_owned();
        let events = events.map_err(|_full| NewError::NoDescriptors)?;
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let streams = Arc::new(Mutex::new(Some(streams)));
        let live = Live {
            streams: Arc::clone(&streams),
            stop: Arc::clone(&stop),
        };
        std::thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || serve(&streams, &events, &stop))
            .map_err(|_none| NewError::NoMemory)?;
        Ok(live)
    }
}

/// Moves what can be moved until the channel is over.
fn serve(streams: &Shared, events: &OwnedFd, stop: &OwnedFd) {
    loop {
        let mut fds = [
            PollFd::new(events, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        // An interrupted wait is a wait of no time.
        let _interrupted = poll(&mut fds, None);
        let mut streams = lock(streams);
        let Some(there) = streams.as_mut() else {
            return;
        };
        // The host opens no stream: that would be the channel's end.
        if there.serve(&mut Vec::new()).is_err() {
            *streams = None;
            return;
        }
    }
}

/// What carries the channel.
#[derive(Debug)]
enum Any {
    Card(Box<Card>),
    Socket(Socket),
}

impl Carrier for Any {
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        match self {
            Self::Card(card) => card.send(bytes, fds),
            Self::Socket(socket) => socket.send(bytes, fds),
        }
    }

    fn receive(
        &mut self,
        bytes: &mut Vec<u8>,
        fds: &mut VecDeque<Option<OwnedFd>>,
    ) -> Result<Arrived, Errno> {
        match self {
            Self::Card(card) => card.receive(bytes, fds),
            Self::Socket(socket) => socket.receive(bytes, fds),
        }
    }

    fn carries(&self, fd: BorrowedFd<'_>) -> bool {
        match self {
            Self::Card(card) => card.carries(fd),
            Self::Socket(socket) => socket.carries(fd),
        }
    }

    fn watch(&mut self, epoll: &OwnedFd, room: bool) -> Result<(), Errno> {
        match self {
            Self::Card(card) => card.watch(epoll, room),
            Self::Socket(socket) => socket.watch(epoll, room),
        }
    }
}
