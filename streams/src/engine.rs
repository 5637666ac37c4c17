// SPDX-License-Identifier: MIT OR Apache-2.0
//! The streams of a channel, at one of its ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_wire::ContextName;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::frame::{Decoder, Frame, FrameError};
use crate::send_queue::SendQueue;
use crate::stream::{Collected, Stream};
use crate::{CHUNK, Carrier, QUEUED, STREAMS};

/// Receives of the channel in one go.
const RECEIVES: usize = 4;

/// Streams that are looked at in one go: as many as certainly have room in what waits for the channel.
const AT_ONCE: usize = QUEUED / CHUNK;

/// Why a channel is over.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The other side has closed it.
    #[error("the other side has closed the channel")]
    Closed,
    /// The system failed it.
    #[error("the channel failed")]
    Failed(#[from] Errno),
    /// What came is no frame.
    #[error("the other side broke a rule: {0}")]
    Frame(#[from] FrameError),
    /// A frame of a stream that there isn't, or isn't any more.
    #[error("the other side speaks of stream {0}, which there isn't")]
    Unknown(u32),
    /// More than the window.
    #[error("the other side sends more of stream {0} than it may")]
    Window(u32),
    /// A credit for what was not sent.
    #[error("the other side gives stream {0} more room than there is")]
    Credit(u32),
    /// More streams than there may be, or one by who may not open any, or a number again.
    #[error("the other side opens stream {0}, which it may not")]
    Open(u32),
}

/// Why there is no new stream.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// As many as there may be.
    #[error("the channel has {STREAMS} streams")]
    TooMany,
    /// All numbers were used.
    #[error("the channel has no numbers left")]
    Numbers,
    /// The system gave no sockets.
    #[error("there is no socket for a stream")]
    System(#[from] Errno),
    /// The channel is over.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// A stream that the other side has opened.
#[derive(Debug)]
pub struct Opened {
    /// Where it leads to.
    pub name: ContextName,
    /// Its end; what is closed is closed over there too.
    pub socket: UnixStream,
}

/// Who opens streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// This one.
    Opens,
    /// The other one.
    Accepts,
}

/// One end of a channel. Its descriptor can be read when there is something to do for [`Self::serve`].
#[derive(Debug)]
pub struct Streams<C> {
    side: Side,
    carrier: C,
    epoll: OwnedFd,
    /// Of the sockets of streams, apart from the channel: they are left alone while the channel takes no more.
    sockets: OwnedFd,
    takes_more: bool,
    streams: BTreeMap<u32, Stream>,
    last: u32,
    decoder: Decoder<Option<OwnedFd>>,
    send_queue: SendQueue,
    /// Streams of which something is to be said besides data.
    owing: BTreeSet<u32>,
}

impl<C: Carrier> Streams<C> {
    fn new(side: Side, mut carrier: C) -> Result<Self, Errno> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let sockets = epoll::create(CreateFlags::CLOEXEC)?;
        carrier.watch(&epoll, false)?;
        epoll::add(&epoll, &sockets, EventData::new_u64(1), EventFlags::IN)?;
        Ok(Self {
            side,
            carrier,
            epoll,
            sockets,
            takes_more: true,
            streams: BTreeMap::new(),
            last: 0,
            decoder: Decoder::default(),
            send_queue: SendQueue::default(),
            owing: BTreeSet::new(),
        })
    }

    /// The end that opens streams.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left.
    pub fn opener(carrier: C) -> Result<Self, Errno> {
        Self::new(Side::Opens, carrier)
    }

    /// The end where streams that the other one opens lead to.
    ///
    /// # Errors
    ///
    /// The system has no descriptors left.
    pub fn acceptor(carrier: C) -> Result<Self, Errno> {
        Self::new(Side::Accepts, carrier)
    }

    /// How many streams there are.
    pub fn count(&self) -> usize {
        self.streams.len()
    }

    /// Opens a stream, and returns its end. Whether there is anybody over there shows on it.
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(&mut self, name: ContextName) -> Result<UnixStream, OpenError> {
        if self.streams.len() >= STREAMS {
            return Err(OpenError::TooMany);
        }
        let number = self.last.checked_add(1).ok_or(OpenError::Numbers)?;
        let socket = self.add(number)?;
        self.last = number;
        self.send_queue.add(Frame::Open(number, name));
        self.flush()?;
        Ok(socket)
    }

    /// A new stream; returns its user's end.
    fn add(&mut self, number: u32) -> Result<UnixStream, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (own, user) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mut stream = Stream::new(number, own);
        stream.watch(&self.sockets)?;
        self.streams.insert(number, stream);
        Ok(UnixStream::from(user))
    }

    /// Does what can be done now; to be called again when the descriptor can be read. Streams that the other side has opened are
    /// added to `opened`.
    ///
    /// # Errors
    ///
    /// The channel is over, and all its streams with it.
    pub fn serve(&mut self, opened: &mut Vec<Opened>) -> Result<(), Ended> {
        self.receive(opened)?;
        self.serve_users()?;
        self.flush()
    }

    fn receive(&mut self, opened: &mut Vec<Opened>) -> Result<(), Ended> {
        for _ in 0..RECEIVES {
            let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
            match self.carrier.receive(&mut bytes, &mut fds)? {
                crate::Arrived::Nothing => break,
                crate::Arrived::End => return Err(Ended::Closed),
                crate::Arrived::Some => {}
            }
            self.decoder.take(fds);
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                if let Some(frame) = self.decoder.feed(&mut rest)? {
                    self.heed(frame, opened)?;
                }
            }
            self.decoder.check()?;
        }
        Ok(())
    }

    fn heed(&mut self, frame: Frame<Option<OwnedFd>>, opened: &mut Vec<Opened>) -> Result<(), Ended> {
        let number = match frame {
            Frame::Open(number, name) => {
                let may = self.side == Side::Accepts && number > self.last && self.streams.len() < STREAMS;
                if !may {
                    return Err(Ended::Open(number));
                }
                self.last = number;
                let socket = self.add(number)?;
                opened.push(Opened { name, socket });
                return Ok(());
            }
            Frame::Data(number, ..) | Frame::Credit(number, ..) | Frame::Close(number) => number,
        };
        // Who has closed says no more.
        let stream = self.streams.get_mut(&number);
        let stream = stream.filter(|stream| !stream.far_has_closed());
        let stream = stream.ok_or(Ended::Unknown(number))?;
        match frame {
            Frame::Data(_, bytes, fds) => {
                if !stream.add(bytes, fds) {
                    return Err(Ended::Window(number));
                }
            }
            Frame::Credit(_, bytes, fds) => {
                if !stream.credit(bytes, fds) {
                    return Err(Ended::Credit(number));
                }
            }
            Frame::Close(_) => stream.far_close(),
            Frame::Open(..) => {}
        }
        self.look_after(number)
    }

    /// Sees to a stream that something has happened to.
    fn look_after(&mut self, number: u32) -> Result<(), Ended> {
        let Some(stream) = self.streams.get_mut(&number) else {
            return Ok(());
        };
        if stream.is_over() {
            self.streams.remove(&number);
            return Ok(());
        }
        if stream.owes() {
            self.owing.insert(number);
        }
        Ok(stream.watch(&self.sockets)?)
    }

    /// Gives to the users of streams, and takes from them while the channel takes more.
    fn serve_users(&mut self) -> Result<(), Ended> {
        if !self.takes_more {
            return Ok(());
        }
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        let now = Timespec::default();
        match epoll::wait(
            &self.sockets,
            rustix::buffer::spare_capacity(&mut events),
            Some(&now),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in events {
            let number = u32::try_from(event.data.u64()).unwrap_or(0);
            self.serve_user(number, event.flags)?;
        }
        Ok(())
    }

    fn serve_user(&mut self, number: u32, flags: EventFlags) -> Result<(), Ended> {
        let Some(stream) = self.streams.get_mut(&number) else {
            return Ok(());
        };
        let gone = EventFlags::HUP | EventFlags::ERR;
        if flags.intersects(EventFlags::OUT | gone) {
            stream.deliver();
        }
        if flags.intersects(EventFlags::IN | gone) {
            match stream.collect() {
                Collected::Nothing => {}
                Collected::Data(bytes, fds) if fds.iter().all(|fd| self.carrier.carries(fd.as_fd())) => {
                    self.send_queue.add(Frame::Data(number, bytes, fds));
                }
                Collected::Data(..) | Collected::End => stream.close(),
            }
        }
        self.look_after(number)
    }

    /// Says what is to be said, and sends what the channel takes.
    fn flush(&mut self) -> Result<(), Ended> {
        loop {
            while self.send_queue.has_room()
                && let Some(number) = self.owing.pop_first()
            {
                if let Some(stream) = self.streams.get_mut(&number).filter(|stream| stream.owes()) {
                    self.send_queue.add(stream.settle());
                }
                self.look_after(number)?;
            }
            self.send_queue.flush(&mut self.carrier)?;
            if self.owing.is_empty() || !self.send_queue.is_empty() {
                break;
            }
        }
        // Nobody is to be woken for what can't be done.
        let takes_more = self.send_queue.is_empty();
        if takes_more != self.takes_more {
            self.takes_more = takes_more;
            let flags = if takes_more {
                EventFlags::IN
            } else {
                EventFlags::empty()
            };
            epoll::modify(&self.epoll, &self.sockets, EventData::new_u64(1), flags)?;
        }
        Ok(self.carrier.watch(&self.epoll, !self.send_queue.is_empty())?)
    }
}

impl<C> AsFd for Streams<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
