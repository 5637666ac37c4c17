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

/// Messages in order, with the tickets of those whose SEND is not answered yet.
#[derive(Debug)]
pub(super) struct OutQueue<H> {
    entries: VecDeque<Entry<H>>,
}

impl<H> OutQueue<H> {
    pub(super) const fn new() -> Self {
        Self {
            entries: VecDeque::new(),
        }
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
        if count > 0 {
            entry.message.handles.clear();
        }
        entry.done += count;
        if entry.done < entry.message.data.len() {
            return None;
        }
        self.entries.pop_front().and_then(|entry| entry.ticket)
    }

    /// Takes the tickets of the messages that fit the bounds; the very first always does.
    pub(super) fn accept(&mut self, max_bytes: usize, max_fds: usize) -> Vec<Ticket> {
        let (mut bytes, mut fds) = (0, 0);
        let mut accepted = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            bytes += entry.message.data.len() - entry.done;
            fds += entry.message.handles.len();
            if index > 0 && (bytes > max_bytes || fds > max_fds || index > MAX_MESSAGES) {
                break;
            }
            accepted.extend(entry.ticket.take());
        }
        accepted
    }

    /// Empties the queue: what was accepted, and the tickets of what was not.
    pub(super) fn close(&mut self) -> (Vec<OutMessage<H>>, Vec<Ticket>) {
        let (mut rest, mut tickets) = (Vec::new(), Vec::new());
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
