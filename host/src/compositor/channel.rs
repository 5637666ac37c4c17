// SPDX-License-Identifier: MIT OR Apache-2.0
//! Channels: where a compositor's VM has a device with one socket for all, each connection of the compositor is a stream of one.
//!
//! A stream leads to what it would have connected to by its name, and is served like that from then on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_streams::{Opened, ROLE, Socket, Streams};
use heraldry_wire::virtwl::NAME_LEN;
use heraldry_wire::{CONNECTION_CONTEXT, ContextName, DISPLAY_CONTEXT, MEMFD_CONTEXT};
use rustix::event::epoll::EventFlags;
use tracing::{info, warn};

use super::coming::{Greeting, MAX_GREETINGS};
use super::{CHANNEL, Compositor, kind};
use crate::poller::key;

/// Channels at one time. A restarted compositor may be there before its predecessor's channel has ended; of more than that the
/// oldest is over.
const MAX_CHANNELS: usize = 2;

/// A channel.
pub(super) struct Channel(Streams<Socket>);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Compositor {
    /// Something connects to the socket of channels. Others do so too: a VMM looks whether a compositor of its own is there.
    pub(super) fn accept_role(&mut self) {
        let Some(fd) = self.accept(CHANNEL) else {
            return;
        };
        if self.roles.len() >= MAX_GREETINGS {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "too many connections that do not say what they are for");
            }
            return;
        }
        let id = self.fresh_id();
        if self.poller.add(&fd, key(kind::ROLE, id), EventFlags::IN).is_ok() {
            self.roles.insert(id, Greeting::new(fd));
        }
    }

    pub(super) fn read_role(&mut self, id: u64) {
        let role = match self.roles.get_mut(&id).map(Greeting::read::<NAME_LEN>) {
            // Who begins with something else waits for an answer, maybe for ever: it is over for him at once.
            Some(Some(Err(()))) if self.roles.get(&id).is_some_and(is_channel) => return,
            Some(Some(Ok(role))) => ContextName::from_role(&role).ok(),
            _ => None,
        };
        let Some(connection) = self.roles.remove(&id) else {
            return;
        };
        if role.as_ref().map(ContextName::as_str) == Some(ROLE) {
            // It is watched for something else from here on.
            let _not_watched = self.poller.remove(&connection);
            self.take_channel(connection.into_fd());
        } else if let Some(dropped) = self.log.allow() {
            warn!(dropped, "a connection does not begin as a channel does");
        }
    }

    fn take_channel(&mut self, fd: OwnedFd) {
        let id = self.fresh_id();
        let channel = Streams::acceptor(Socket::new(UnixStream::from(fd))).and_then(|streams| {
            self.poller
                .add(&streams, key(kind::STREAMS, id), EventFlags::IN)?;
            Ok(Channel(streams))
        });
        match channel {
            Ok(channel) => {
                if self.channels.len() >= MAX_CHANNELS {
                    self.channels.pop_first();
                    if let Some(dropped) = self.log.allow() {
                        info!(dropped, "a new channel replaces the oldest one");
                    }
                }
                self.channels.insert(id, channel);
            }
            Err(errno) => warn!(%errno, "there can be no channel"),
        }
    }

    pub(super) fn serve_channel(&mut self, id: u64) {
        let Some(Channel(streams)) = self.channels.get_mut(&id) else {
            return;
        };
        let mut opened = Vec::new();
        let ended = streams.serve(&mut opened);
        for Opened { name, socket } in opened {
            let fd = OwnedFd::from(socket);
            match name.as_str() {
                DISPLAY_CONTEXT => self.take_display(fd),
                CONNECTION_CONTEXT => self.take_greeting(fd),
                MEMFD_CONTEXT => self.take_memfd(fd),
                // As for who comes to a socket that isn't there.
                _ => {
                    if let Some(dropped) = self.log.allow() {
                        warn!(dropped, "a stream leads to what isn't there");
                    }
                }
            }
        }
        if let Err(ended) = ended {
            self.channels.remove(&id);
            if let Some(dropped) = self.log.allow() {
                info!(%ended, dropped, "a channel is over");
            }
        }
    }
}

/// Whether what has come of a first message could become that of a channel.
fn is_channel(greeting: &Greeting) -> bool {
    ROLE.as_bytes()
        .iter()
        .zip(greeting.bytes())
        .all(|(expected, got)| expected == got)
}
