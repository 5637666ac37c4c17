// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that say themselves what they are for: where a compositor's VM has a device with one socket for all.

use heraldry_wire::virtwl::NAME_LEN;
use heraldry_wire::{CONNECTION_CONTEXT, ContextName, DISPLAY_CONTEXT, MEMFD_CONTEXT};
use rustix::event::epoll::EventFlags;
use tracing::warn;

use super::coming::{Greeting, MAX_GREETINGS};
use super::{CHANNEL, Compositor, kind};
use crate::poller::key;

impl Compositor {
    /// The compositor connects, for what is not known yet.
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
        let role = match self.roles.get_mut(&id).and_then(Greeting::read::<NAME_LEN>) {
            Some(Err(())) => return,
            Some(Ok(role)) => ContextName::from_role(&role).ok(),
            None => None,
        };
        let Some(connection) = self.roles.remove(&id) else {
            return;
        };
        // It is watched for something else from here on.
        let _not_watched = self.poller.remove(&connection);
        let fd = connection.into_fd();
        match role.as_ref().map(ContextName::as_str) {
            Some(DISPLAY_CONTEXT) => self.take_display(fd),
            Some(CONNECTION_CONTEXT) => self.take_greeting(fd),
            Some(MEMFD_CONTEXT) => self.take_memfd(fd),
            _ => {
                if let Some(dropped) = self.log.allow() {
                    warn!(dropped, "a connection does not say what it is for");
                }
            }
        }
    }
}
