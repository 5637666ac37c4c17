// SPDX-License-Identifier: MIT OR Apache-2.0
//! What waits for one host socket.

use std::collections::VecDeque;

use super::Ticket;

/// Messages that wait, however small they are.
const MAX_MESSAGES: usize = 4096;

/// A message to the host, or what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutMessage<H> {
    /// Data; never empty.
    pub data: Vec<u8>,
    /// Handles that go with the first byte.
    pub handles: Vec<H>,
}

/// The front of the queue.
#[derive(Debug)]
pub struct Outgoing<'a, H> {
    /// The vfd's handle, to write to.
    pub to: &'a H,
    /// Data to write.
    pub data: &'a [u8],
    /// Handles to send along.
    pub handles: &'a [H],
}

#[derive(Debug)]
struct Entry<H> {
    message: OutMessage<H>,
    done: usize,
    ticket: Option<Ticket>,
}

/// What waits in a queue, or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// SENDs without an answer.
    pub(super) unanswered: usize,
    /// Bytes of those that are answered.
    pub(super) bytes: usize,
    /// Their handles.
    pub(super) fds: usize,
}

impl Load {
    /// The load of all after that of one has changed.
    pub(super) const fn with(self, before: Self, after: Self) -> Self {
        Self {
            unanswered: (self.unanswered + after.unanswered).saturating_sub(before.unanswered),
            bytes: (self.bytes + after.bytes).saturating_sub(before.bytes),
            fds: (self.fds + after.fds).saturating_sub(before.fds),
        }
    }
}

/// Messages in order, with the tickets of those whose SEND is not answered yet.
#[derive(Debug)]
pub(super) struct OutQueue<H> {
    entries: VecDeque<Entry<H>>,
    load: Load,
}

impl<H> OutQueue<H> {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            load: Load {
                unanswered: 0,
                bytes: 0,
                fds: 0,
            },
        }
    }

    pub(super) const fn load(&self) -> Load {
        self.load
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(&mut self, message: OutMessage<H>, ticket: Ticket) {
        self.entries.push_back(Entry {
            message,
            done: 0,
            ticket: Some(ticket),
        });
        self.load.unanswered += 1;
    }

    pub(super) fn front(&self) -> Option<(&[u8], &[H])> {
        let entry = self.entries.front()?;
        Some((
            entry.message.data.get(entry.done..).unwrap_or_default(),
            &entry.message.handles,
        ))
    }

    /// `count` bytes of the front were written, and its handles with them. Returns the ticket if it is done.
    pub(super) fn wrote(&mut self, count: usize) -> Option<Ticket> {
        let entry = self.entries.front_mut()?;
        let left = entry.message.data.len() - entry.done;
        let count = count.min(left);
        if entry.ticket.is_none() {
            self.load.bytes -= count;
            self.load.fds -= if count > 0 { entry.message.handles.len() } else { 0 };
        }
        if count > 0 {
            entry.message.handles.clear();
        }
        entry.done += count;
        if count < left {
            return None;
        }
        let ticket = self.entries.pop_front()?.ticket?;
        self.load.unanswered -= 1;
        Some(ticket)
    }

    /// Takes the tickets of the messages that fit the bounds; for those of this queue the very first always does. `room` is
    /// what all queues together may still take.
    pub(super) fn accept(&mut self, max_bytes: usize, max_fds: usize, room: (usize, usize)) -> Vec<Ticket> {
        let (mut bytes, mut fds) = (0, 0);
        let mut accepted = Vec::new();
        let mut new = (0, 0);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let left = entry.message.data.len() - entry.done;
            bytes += left;
            fds += entry.message.handles.len();
            if index > 0 && (bytes > max_bytes || fds > max_fds || index > MAX_MESSAGES) {
                break;
            }
            if entry.ticket.is_some() {
                let (more_bytes, more_fds) = (new.0 + left, new.1 + entry.message.handles.len());
                if more_bytes > room.0 || more_fds > room.1 {
                    break;
                }
                new = (more_bytes, more_fds);
            }
            accepted.extend(entry.ticket.take());
        }
        self.load.unanswered -= accepted.len();
        self.load.bytes += new.0;
        self.load.fds += new.1;
        accepted
    }

    /// Empties the queue: what was accepted, and the tickets of what was not.
    pub(super) fn close(&mut self) -> (Vec<OutMessage<H>>, Vec<Ticket>) {
        let (mut rest, mut tickets) = (Vec::new(), Vec::new());
        self.load = Load::default();
        for mut entry in self.entries.drain(..) {
            match entry.ticket {
                Some(ticket) => tickets.push(ticket),
                None => {
                    entry
                        .message
                        .data
                        .drain(..entry.done.min(entry.message.data.len()));
                    rest.push(entry.message);
                }
            }
        }
        (rest, tickets)
    }
}
