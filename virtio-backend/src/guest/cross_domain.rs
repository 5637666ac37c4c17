// SPDX-License-Identifier: MIT OR Apache-2.0
//! cross-domain as what carries a channel with streams.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use heraldry_streams::{Arrived, Carrier};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Channel, ChannelError, Incoming, Message, NewError, Outgoing};

/// Bytes after which the device is asked to be rid of them.
const UNFENCED: usize = 64 << 10;

/// A context of a card.
#[derive(Debug)]
pub(super) struct Card {
    channel: Channel,
    /// Sent since the device was last asked to be rid of it.
    unfenced: usize,
    /// Can be read when it is. Nothing is sent before.
    fence: Option<Fence>,
    watched: bool,
}

#[derive(Debug)]
struct Fence {
    fd: OwnedFd,
    watched: bool,
}

fn errno(error: &ChannelError) -> Errno {
    match error {
        ChannelError::Open(_, errno)
        | ChannelError::Context(errno)
        | ChannelError::Ring(errno)
        | ChannelError::Submit(errno)
        | ChannelError::Event(errno)
        | ChannelError::Map(errno) => *errno,
        ChannelError::NoCard | ChannelError::Memory(_) | ChannelError::Descriptor => Errno::IO,
    }
}

impl Card {
    /// Connects a context of the card at this path. A host that takes nobody shows later, as the end of the channel.
    pub(super) fn connect(path: &Path) -> Result<Self, NewError> {
        let channel = Channel::open(path).map_err(|error| NewError::from(errno(&error)))?;
        Ok(Self {
            channel,
            unfenced: 0,
            fence: None,
            watched: false,
        })
    }

    /// Whether the device is rid of what it was asked to be.
    fn has_room(&mut self) -> bool {
        if let Some(fence) = &self.fence {
            let now = Timespec::default();
            if matches!(
                poll(&mut [PollFd::new(&fence.fd, PollFlags::IN)], Some(&now)),
                Ok(0)
            ) {
                return false;
            }
            self.fence = None;
        }
        true
    }
}

impl Carrier for Card {
    fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        if !self.has_room() {
            return Err(Errno::AGAIN);
        }
        let bytes = bytes.get(..Channel::MOST).unwrap_or(bytes);
        let outgoing: Vec<_> = fds.iter().map(|fd| Outgoing::Memory(*fd)).collect();
        self.unfenced = self.unfenced.saturating_add(bytes.len());
        let asks = self.unfenced >= UNFENCED;
        let fence = self.channel.send(bytes, &outgoing, asks);
        if let Some(fd) = fence.map_err(|error| errno(&error))? {
            self.unfenced = 0;
            self.fence = Some(Fence { fd, watched: false });
        }
        Ok(bytes.len())
    }

    fn receive(
        &mut self,
        bytes: &mut Vec<u8>,
        fds: &mut VecDeque<Option<OwnedFd>>,
    ) -> Result<Arrived, Errno> {
        match self.channel.receive().map_err(|error| errno(&error))? {
            None => Ok(Arrived::Nothing),
            Some(Message::End) => Ok(Arrived::End),
            // No pipe was sent.
            Some(Message::PipeData(..)) => Ok(Arrived::Some),
            Some(Message::Data(data, incoming)) => {
                bytes.extend(data);
                fds.extend(incoming.into_iter().map(|descriptor| match descriptor {
                    Incoming::Memory(item, size) => self.channel.take_descriptor(item, size.into()).ok(),
                    // The host passes memory here and nothing else; the device may be unable to.
                    Incoming::WritePipe(_) | Incoming::Unusable => None,
                }));
                Ok(Arrived::Some)
            }
        }
    }

    fn carries(&self, fd: BorrowedFd<'_>) -> bool {
        self.channel.has(fd)
    }

    fn watch(&mut self, epoll: &OwnedFd, room: bool) -> Result<(), Errno> {
        let data = EventData::new_u64(0);
        if !self.watched {
            epoll::add(epoll, &self.channel, data, EventFlags::IN)?;
            self.watched = true;
        }
        // It leaves the epoll when it is closed.
        if room
            && let Some(fence) = &mut self.fence
            && !fence.watched
        {
            epoll::add(epoll, &fence.fd, data, EventFlags::IN)?;
            fence.watched = true;
        }
        Ok(())
    }
}
