// SPDX-License-Identifier: MIT OR Apache-2.0
//! Contexts over cross-domain: each is a channel to the host's one socket, and its first bytes say which context it is.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use heraldry_wire::ContextName;
use heraldry_wire::virtwl::MAX_FDS;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{
    Channel, ChannelError, Context, Incoming, Message, NewError, Outgoing, Received, RecvError, SendError,
};

/// Bytes after which the device is asked to be rid of them.
const UNFENCED: usize = 64 << 10;

/// How long the device may take for that.
const BUSY: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// A channel as a context.
#[derive(Debug)]
pub(super) struct Stream {
    /// The same open card, to be polled without a lock.
    card: OwnedFd,
    channel: Mutex<(Channel, usize)>,
}

/// Opens the context called `name`.
pub(super) fn connect(card: &Path, name: &ContextName) -> Result<Context, NewError> {
    let channel = Channel::open(card).map_err(|error| match error {
        ChannelError::Open(_, errno)
        | ChannelError::Context(errno)
        | ChannelError::Ring(errno)
        | ChannelError::Submit(errno) => NewError::from(errno),
        _ => NewError::Unsupported,
    })?;
    let card = channel
        .as_fd()
        .try_clone_to_owned()
        .map_err(|_full| NewError::NoDescriptors)?;
    let channel = Mutex::new((channel, 0));
    let context = Context::of_channel(Stream { card, channel });
    context
        .send(&name.to_role(), &[])
        .map_err(|_gone| NewError::Refused)?;
    Ok(context)
}

impl Stream {
    pub(super) fn send(&self, data: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        if fds.len().div_ceil(MAX_FDS) > data.len() {
            return Err(SendError::TooManyDescriptors(fds.len(), data.len()));
        }
        let mut guard = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let (channel, unfenced) = &mut *guard;
        let mut fds = fds.chunks(MAX_FDS);
        let mut rest = data;
        while !rest.is_empty() {
            let batch = fds.next().unwrap_or_default();
            // All but the last batch of descriptors go ahead with one byte each, so that none comes after its bytes.
            let count = if fds.len() > 0 {
                1
            } else {
                rest.len().min(Channel::MOST)
            };
            let (head, tail) = rest.split_at(count);
            let outgoing: Vec<_> = batch.iter().map(|fd| Outgoing::Memory(*fd)).collect();
            let fence = *unfenced >= UNFENCED;
            let fence = channel
                .send(head, &outgoing, fence)
                .map_err(|error| match error {
                    ChannelError::Descriptor => SendError::ForeignDescriptor,
                    ChannelError::Submit(errno) => SendError::Other(errno),
                    _ => SendError::Other(Errno::IO),
                })?;
            *unfenced = unfenced.saturating_add(count);
            rest = tail;
            if let Some(fence) = fence {
                *unfenced = 0;
                let ready = poll(&mut [PollFd::new(&fence, PollFlags::IN)], Some(&BUSY));
                if matches!(ready, Ok(0)) {
                    return Err(SendError::Busy {
                        sent: data.len() - rest.len(),
                    });
                }
            }
        }
        Ok(())
    }

    pub(super) fn recv(&self, buf: &mut Vec<u8>, fds: &mut VecDeque<OwnedFd>) -> Result<Received, RecvError> {
        let mut guard = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let (channel, _) = &mut *guard;
        let failed = |error| match error {
            ChannelError::Event(errno) | ChannelError::Submit(errno) | ChannelError::Map(errno) => {
                RecvError::Other(errno)
            }
            _ => RecvError::Other(Errno::IO),
        };
        match channel.receive().map_err(failed)? {
            None => Ok(Received {
                would_block: true,
                ..Received::default()
            }),
            Some(Message::End) => Ok(Received {
                eof: true,
                ..Received::default()
            }),
            // No pipe was sent.
            Some(Message::PipeData(..)) => Ok(Received::default()),
            Some(Message::Data(bytes, incoming)) => {
                for descriptor in &incoming {
                    // The host passes memory here and nothing else.
                    let Incoming::Memory(item, size) = *descriptor else {
                        return Err(RecvError::Other(Errno::NOTSUP));
                    };
                    fds.push_back(channel.take_descriptor(item, size.into()).map_err(failed)?);
                }
                buf.extend_from_slice(&bytes);
                Ok(Received {
                    bytes: bytes.len(),
                    fds: incoming.len(),
                    ..Received::default()
                })
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.card.as_fd()
    }
}
