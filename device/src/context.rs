// SPDX-License-Identifier: MIT OR Apache-2.0
//! A context: one program's connection to the host.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use heraldry_wire::cross_domain::ROOM;
use heraldry_wire::descriptors::{Arrival, receive};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::command::message;
use crate::gpu::Ticket;
use crate::items::Items;
use crate::limits::{BACKLOG, DESCRIPTORS, HELD_BACK, WAITING};
use crate::send_queue::SendQueue;
use crate::watch::{Poller, Watched, key};

#[derive(Debug)]
enum Channel {
    /// The program has not asked for one.
    None,
    Open(Watched),
    /// The host has closed it, or the guest broke a rule.
    Ended,
}

/// What a question after the next event is answered with.
pub(crate) enum Event {
    /// A message for the ring.
    Message(Vec<u8>),
    /// There will never be one.
    Never,
}

/// A context.
#[derive(Debug)]
pub(crate) struct Context {
    id: u32,
    channel: Channel,
    /// The blob for answers to questions, and the one for messages.
    pub(crate) query: u32,
    pub(crate) ring: u32,
    pub(crate) attached: BTreeSet<u32>,
    pub(crate) items: Items,
    pub(crate) send_queue: SendQueue,
    waiting: VecDeque<Ticket>,
    /// Submissions that are given back when less waits for the host.
    sent: VecDeque<Ticket>,
    /// Whether a pipe comes before the connection next time.
    pipe_first: bool,
}

impl Context {
    pub(crate) fn new(id: u32, poller: Arc<Poller>) -> Self {
        Self {
            id,
            channel: Channel::None,
            query: 0,
            ring: 0,
            attached: BTreeSet::new(),
            items: Items::new(id, poller),
            send_queue: SendQueue::default(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            pipe_first: false,
        }
    }

    pub(crate) const fn has_channel(&self) -> bool {
        !matches!(self.channel, Channel::None)
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.channel, Channel::Open(_))
    }

    /// Takes its connection over; without one it is over from the beginning.
    pub(crate) fn open(&mut self, poller: &Arc<Poller>, socket: Option<OwnedFd>) {
        let watched = socket.and_then(|socket| Watched::new(poller, socket, key(self.id, 0)).ok());
        self.channel = watched.map_or(Channel::Ended, Channel::Open);
    }

    /// The connection is over. What came before is lost: nobody could say what it means.
    pub(crate) fn end(&mut self) {
        self.channel = Channel::Ended;
        self.send_queue.clear();
    }

    /// A request that is to be answered when something happens. Given back if too many wait.
    pub(crate) fn hold(&mut self, ticket: Ticket) -> Result<(), Ticket> {
        if self.waiting.len() >= WAITING {
            return Err(ticket);
        }
        self.waiting.push_back(ticket);
        Ok(())
    }

    /// The request that waits longest.
    pub(crate) fn release(&mut self) -> Option<Ticket> {
        self.waiting.pop_front()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A submission that was served. Given back if not much waits for the host, so that a guest which waits for it sends no more
    /// than is taken.
    pub(crate) fn hold_back(&mut self, ticket: Ticket) -> Result<(), Ticket> {
        if !self.has_backlog() || self.sent.len() >= HELD_BACK {
            return Err(ticket);
        }
        self.sent.push_back(ticket);
        Ok(())
    }

    fn has_backlog(&self) -> bool {
        let bytes = self.send_queue.bytes().saturating_add(self.items.bytes());
        bytes > BACKLOG || self.send_queue.descriptors() > DESCRIPTORS / 2
    }

    /// Submissions that are to be held back no longer.
    pub(crate) fn let_go(&mut self) -> VecDeque<Ticket> {
        if self.has_backlog() {
            return VecDeque::new();
        }
        std::mem::take(&mut self.sent)
    }

    /// All requests that have not been given back.
    pub(crate) fn give_up(mut self) -> impl Iterator<Item = Ticket> {
        self.waiting.append(&mut self.sent);
        self.waiting.into_iter()
    }

    /// Sends what is taken.
    pub(crate) fn flush(&mut self) {
        if let Channel::Open(socket) = &self.channel
            && self.send_queue.flush(socket.as_fd()).is_err()
        {
            // It hears no more, but may have said something.
            self.send_queue.clear();
        }
    }

    /// What there is to tell, if there is anything.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.pipe_first = !self.pipe_first;
        let pipe = |this: &mut Self| this.items.read().map(Event::Message);
        if self.pipe_first {
            pipe(self).or_else(|| self.receive())
        } else {
            self.receive().or_else(|| pipe(self))
        }
    }

    fn receive(&mut self) -> Option<Event> {
        let socket = match &self.channel {
            Channel::None => return Some(Event::Never),
            Channel::Ended => return Some(Event::Message(message(&[], &[]))),
            Channel::Open(socket) => socket,
        };
        let (mut bytes, mut descriptors) = ([0; ROOM], Vec::new());
        let received = match receive(socket.as_fd(), &mut bytes, &mut descriptors) {
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Ok(received) if received.bytes > 0 && received.descriptors == Arrival::Whole => received,
            // The end, or as good as that.
            Ok(_) | Err(_) => {
                self.end();
                return Some(Event::Message(message(&[], &[])));
            }
        };
        let incoming: Vec<_> = descriptors.into_iter().map(|fd| self.items.take_in(fd)).collect();
        let bytes = bytes.get(..received.bytes).unwrap_or_default();
        Some(Event::Message(message(bytes, &incoming)))
    }

    /// Waits for what is of use now.
    pub(crate) fn wait(&self) {
        let asked = self.is_waiting();
        if let Channel::Open(socket) = &self.channel {
            let mut flags = EventFlags::empty();
            flags.set(EventFlags::IN, asked);
            flags.set(EventFlags::OUT, !self.send_queue.is_empty());
            socket.wait_for(flags);
        }
        if asked {
            self.items.wait();
        }
    }
}
