// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest driver, as far as its user can tell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use heraldry_wire::virtwl::MAX_FDS;

use super::{InMessage, VfdId};
use crate::uapi::GUEST_ID_END;

#[derive(Debug, Default)]
struct Message {
    data: Vec<u8>,
    read: usize,
    vfds: VecDeque<VfdId>,
}

impl Message {
    fn is_spent(&self) -> bool {
        self.read == self.data.len() && self.vfds.is_empty()
    }
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    hung_up: bool,
}

/// What became of a message from the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Buffers that go back to the device at once.
    pub returned: usize,
    /// vfds in a message that nobody will read. Close them; the virtio_wl driver forgets to.
    pub orphans: Vec<VfdId>,
}

/// What RECV gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecvOutcome {
    /// Data or vfds, or both.
    Data {
        /// The data.
        data: Vec<u8>,
        /// The vfds; they may belong to later bytes.
        vfds: Vec<VfdId>,
        /// Buffers that go back to the device.
        returned: usize,
    },
    /// Nothing now.
    WouldBlock,
    /// Nothing any more.
    Eof,
    /// Room for no data, where the virtio_wl driver hangs.
    NoRoom,
}

/// What closing a vfd leaves to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Buffers that go back to the device.
    pub returned: usize,
    /// vfds in messages that were not read. Close them; the virtio_wl driver forgets to.
    pub orphans: Vec<VfdId>,
}

/// The state of one guest driver.
#[derive(Debug)]
pub struct Driver {
    free: BTreeSet<VfdId>,
    queues: BTreeMap<VfdId, Queue>,
    held: usize,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new()
    }
}

impl Driver {
    /// A driver with all its ids.
    #[must_use]
    pub fn new() -> Self {
        Self {
            free: (1..GUEST_ID_END).collect(),
            queues: BTreeMap::new(),
            held: 0,
        }
    }

    /// The lowest free id, of the one pool that all kinds of vfds share.
    pub fn take_id(&mut self) -> Option<VfdId> {
        self.free.pop_first()
    }

    /// Gives back an id that the device refused, or whose close it has answered.
    pub fn give_id(&mut self, id: VfdId) {
        if (1..GUEST_ID_END).contains(&id) && !self.queues.contains_key(&id) {
            self.free.insert(id);
        }
    }

    /// A vfd that the guest asked for is there.
    pub fn opened(&mut self, id: VfdId) {
        self.queues.insert(id, Queue::default());
    }

    /// How many buffers of the device are held by unread messages.
    #[must_use]
    pub const fn held(&self) -> usize {
        self.held
    }

    /// How many ids are in use.
    #[must_use]
    pub fn ids_in_use(&self) -> usize {
        GUEST_ID_END as usize - 1 - self.free.len()
    }

    /// A message from the device, in one buffer.
    pub fn message(&mut self, message: InMessage) -> Taken {
        match message {
            InMessage::New { id, .. } => {
                self.opened(id);
                Taken {
                    returned: 1,
                    orphans: Vec::new(),
                }
            }
            InMessage::Hup { id } => {
                if let Some(queue) = self.queues.get_mut(&id) {
                    queue.hung_up = true;
                }
                Taken {
                    returned: 1,
                    orphans: Vec::new(),
                }
            }
            InMessage::Recv { id, vfds, data } => match self.queues.get_mut(&id) {
                Some(queue) => {
                    self.held += 1;
                    queue.messages.push_back(Message {
                        data,
                        read: 0,
                        vfds: vfds.into(),
                    });
                    Taken::default()
                }
                None => Taken {
                    returned: 1,
                    orphans: vfds,
                },
            },
        }
    }

    /// Whether POLLIN is reported.
    #[must_use]
    pub fn readable(&self, id: VfdId) -> bool {
        self.queues
            .get(&id)
            .is_some_and(|queue| !queue.messages.is_empty())
    }

    /// Whether POLLHUP is reported.
    #[must_use]
    pub fn hung_up(&self, id: VfdId) -> bool {
        self.queues.get(&id).is_some_and(|queue| queue.hung_up)
    }

    /// RECV with room for `room` bytes. Bytes of several messages are joined; vfds come from all queued messages, up to 28,
    /// whether or not their bytes are read (`vfd_out_locked`, `vfd_out_vfds_locked`).
    pub fn recv(&mut self, id: VfdId, room: usize) -> RecvOutcome {
        let Some(queue) = self.queues.get_mut(&id) else {
            return RecvOutcome::Eof;
        };
        if queue.messages.is_empty() {
            return if queue.hung_up {
                RecvOutcome::Eof
            } else {
                RecvOutcome::WouldBlock
            };
        }
        if room == 0 && queue.messages.iter().all(|message| message.vfds.is_empty()) {
            return RecvOutcome::NoRoom;
        }
        let (mut data, mut vfds) = (Vec::new(), Vec::new());
        for message in &mut queue.messages {
            let unread = message.data.get(message.read..).unwrap_or_default();
            let count = unread.len().min(room - data.len());
            data.extend(unread.iter().take(count));
            message.read += count;
            let take = message.vfds.len().min(MAX_FDS - vfds.len());
            vfds.extend(message.vfds.drain(..take));
        }
        let before = queue.messages.len();
        queue.messages.retain(|message| !message.is_spent());
        let returned = before - queue.messages.len();
        self.held -= returned;
        RecvOutcome::Data { data, vfds, returned }
    }

    /// The last reference to a vfd is gone. Its id stays taken until [`Driver::give_id`].
    pub fn close(&mut self, id: VfdId) -> Closed {
        let Some(queue) = self.queues.remove(&id) else {
            return Closed::default();
        };
        let returned = queue.messages.len();
        self.held -= returned;
        Closed {
            returned,
            orphans: queue
                .messages
                .into_iter()
                .flat_map(|message| message.vfds)
                .collect(),
        }
    }
}
