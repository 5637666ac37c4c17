// SPDX-License-Identifier: MIT OR Apache-2.0
//! One stream: the socket that its user has the other end of, and what may pass.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, OwnedFd};

use heraldry_wire::descriptors::{Arrival, receive, send};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::frame::Frame;
use crate::{CHUNK, WINDOW_BYTES, WINDOW_FDS};

/// Part of the window after which the other side is told.
const TOLD: usize = 4;

/// Bytes and descriptors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    bytes: usize,
    fds: usize,
}

const WINDOW: Amount = Amount {
    bytes: WINDOW_BYTES,
    fds: WINDOW_FDS,
};

impl Amount {
    fn less(self, bytes: usize, fds: usize) -> Option<Self> {
        Some(Self {
            bytes: self.bytes.checked_sub(bytes)?,
            fds: self.fds.checked_sub(fds)?,
        })
    }

    /// More, up to the window.
    fn more(self, bytes: usize, fds: usize) -> Option<Self> {
        let (bytes, fds) = (self.bytes.checked_add(bytes)?, self.fds.checked_add(fds)?);
        (bytes <= WINDOW.bytes && fds <= WINDOW.fds).then_some(Self { bytes, fds })
    }
}

#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

/// What this side has said of the stream's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Open,
    /// It is to say that it takes and gives no more.
    ToClose,
    Closed,
}

/// What the user of a stream has for the other side.
#[derive(Debug)]
pub(crate) enum Collected {
    Nothing,
    Data(Vec<u8>, Vec<OwnedFd>),
    /// The user is gone, or as good as that.
    End,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    number: u32,
    /// Gone when the user is, or when all that was for it is delivered.
    socket: Option<OwnedFd>,
    watched: EventFlags,
    own: Own,
    /// The other side takes and gives no more.
    far_closed: bool,
    /// What the other side has room for.
    room: Amount,
    /// The user takes no more, but may have said something.
    deaf: bool,
    /// What is for the user, and what the other side may still send.
    queue: VecDeque<Piece>,
    expected: Amount,
    /// What the user took since the other side was told.
    taken: Amount,
}

impl Stream {
    pub(crate) const fn new(number: u32, socket: OwnedFd) -> Self {
        Self {
            number,
            socket: Some(socket),
            watched: EventFlags::empty(),
            own: Own::Open,
            far_closed: false,
            room: WINDOW,
            deaf: false,
            queue: VecDeque::new(),
            expected: WINDOW,
            taken: Amount { bytes: 0, fds: 0 },
        }
    }

    /// Nothing is left of it, and no frame of it comes.
    pub(crate) fn is_over(&self) -> bool {
        self.own == Own::Closed && self.far_closed && self.socket.is_none()
    }

    pub(crate) const fn far_has_closed(&self) -> bool {
        self.far_closed
    }

    /// The user is gone: nobody takes what is for it.
    pub(crate) fn close(&mut self) {
        self.socket = None;
        self.queue.clear();
        if self.own == Own::Open {
            self.own = Own::ToClose;
        }
    }

    /// The other side has closed: the user still gets what came before.
    pub(crate) fn far_close(&mut self) {
        self.far_closed = true;
        if self.own == Own::Open {
            self.own = Own::ToClose;
        }
        self.deliver();
    }

    /// Data has come. False if it is more than there may be.
    pub(crate) fn add(&mut self, bytes: Vec<u8>, fds: Vec<Option<OwnedFd>>) -> bool {
        let Some(expected) = self.expected.less(bytes.len(), fds.len()) else {
            return false;
        };
        self.expected = expected;
        if self.socket.is_none() || self.deaf {
            return true;
        }
        let count = fds.len();
        let fds: Vec<OwnedFd> = fds.into_iter().flatten().collect();
        if fds.len() < count {
            // What follows would be taken for something else.
            self.close();
            return true;
        }
        match self.queue.back_mut() {
            Some(last) if fds.is_empty() && last.bytes.len() < CHUNK => last.bytes.extend(bytes),
            _ => self.queue.push_back(Piece { bytes, sent: 0, fds }),
        }
        self.deliver();
        true
    }

    /// The other side has room again. False if that is more than it had.
    pub(crate) fn credit(&mut self, bytes: usize, fds: usize) -> bool {
        self.room.more(bytes, fds).is_some_and(|room| {
            self.room = room;
            true
        })
    }

    /// Gives the user what there is room for.
    pub(crate) fn deliver(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        while let Some(piece) = self.queue.front_mut() {
            let fds: Vec<_> = piece.fds.iter().map(|fd| fd.as_fd()).collect();
            let count = fds.len();
            match send(
                socket.as_fd(),
                piece.bytes.get(piece.sent..).unwrap_or_default(),
                &fds,
            ) {
                Ok(sent) => {
                    piece.fds.clear();
                    piece.sent = piece.sent.saturating_add(sent);
                    self.taken.bytes = self.taken.bytes.saturating_add(sent);
                    self.taken.fds = self.taken.fds.saturating_add(count);
                    if piece.sent >= piece.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => {
                    self.deaf = true;
                    self.queue.clear();
                }
            }
        }
        if self.far_closed {
            self.socket = None;
        }
    }

    fn collects(&self) -> bool {
        self.own == Own::Open && self.room.bytes > 0 && self.room.fds >= MAX_FDS
    }

    /// Takes once what the user has to say.
    pub(crate) fn collect(&mut self) -> Collected {
        let Some(socket) = self.socket.as_ref().filter(|_| self.collects()) else {
            return Collected::Nothing;
        };
        let mut bytes = vec![0; self.room.bytes.min(CHUNK)];
        let mut fds = Vec::new();
        match receive(socket.as_fd(), &mut bytes, &mut fds) {
            Err(Errno::AGAIN | Errno::INTR) => Collected::Nothing,
            Ok(received) if received.bytes > 0 && received.descriptors == Arrival::Whole => {
                let Some(room) = self.room.less(received.bytes, fds.len()) else {
                    return Collected::End;
                };
                self.room = room;
                bytes.truncate(received.bytes);
                Collected::Data(bytes, fds)
            }
            Ok(_) | Err(_) => Collected::End,
        }
    }

    /// What this side owes the other, once it is worth a frame.
    pub(crate) fn owes(&self) -> bool {
        let much = self.taken.bytes >= WINDOW.bytes / TOLD || self.taken.fds >= WINDOW.fds / TOLD;
        self.own == Own::ToClose || (self.own == Own::Open && much)
    }

    /// The frame for it; from here on it counts as said.
    pub(crate) fn settle(&mut self) -> Frame<OwnedFd> {
        if self.own == Own::ToClose {
            self.own = Own::Closed;
            return Frame::Close(self.number);
        }
        let taken = std::mem::take(&mut self.taken);
        self.expected.bytes = self.expected.bytes.saturating_add(taken.bytes);
        self.expected.fds = self.expected.fds.saturating_add(taken.fds);
        Frame::Credit(self.number, taken.bytes, taken.fds)
    }

    /// Watches for what is of use now. With nothing it is not watched at all: a hang-up is reported whether it is asked for or
    /// not, and again and again.
    pub(crate) fn watch(&mut self, epoll: &OwnedFd) -> Result<(), Errno> {
        let Some(socket) = &self.socket else {
            // It left the epoll when it was closed.
            self.watched = EventFlags::empty();
            return Ok(());
        };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.collects());
        flags.set(EventFlags::OUT, !self.queue.is_empty());
        let data = EventData::new_u64(self.number.into());
        match (self.watched.is_empty(), flags.is_empty()) {
            (true, true) => {}
            (true, false) => epoll::add(epoll, socket, data, flags)?,
            (false, true) => epoll::delete(epoll, socket)?,
            (false, false) if flags != self.watched => epoll::modify(epoll, socket, data, flags)?,
            (false, false) => {}
        }
        self.watched = flags;
        Ok(())
    }
}
