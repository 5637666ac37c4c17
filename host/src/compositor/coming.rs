// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the compositor VM alone can reach besides the display socket: connections it comes for, the memory server.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use heraldry_wire::connection::{TOKEN_RECORD_LEN, TokenRecord};
use heraldry_wire::descriptors::send;
use heraldry_wire::memfd::{MemfdFailure, MemfdRequest, encode_reply};
use heraldry_wire::{Record as _, RecordReader};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tracing::{debug, warn};

use super::display::drain;
use super::{CONNECTION, Compositor, MEMFD, kind};
use crate::listeners;
use crate::poller::key;

/// Connections without a token at one time.
pub(super) const MAX_GREETINGS: usize = 256;
/// Connections to the memory server at one time: the compositor has one for each VM, and a file has at most 256 VMs.
const MAX_MEMFDS: usize = 512;
/// A token must come within this time.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// Whether a compositor that came for a client has died since, without a word. The client waits for the next one then.
fn has_left(compositor: &OwnedFd) -> bool {
    let mut byte = [0];
    match recv(compositor, &mut byte, RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((read, _)) => read == 0,
        Err(Errno::AGAIN | Errno::INTR) => false,
        Err(_) => true,
    }
}

/// A connection whose first bytes, a token or a role, have not come in full.
pub(super) struct Greeting {
    fd: OwnedFd,
    bytes: Vec<u8>,
    pub(super) deadline: Instant,
}

impl Greeting {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            bytes: Vec::new(),
            deadline: Instant::now() + GREETING_TIME,
        }
    }

    /// Reads towards so many bytes, and not one more: what follows is not for whoever reads these. `None`: it is over.
    pub(super) fn read<const N: usize>(&mut self) -> Option<Result<[u8; N], ()>> {
        let mut bytes = [0; N];
        let room = bytes.get_mut(..N.saturating_sub(self.bytes.len()))?;
        match recv(&self.fd, &mut *room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => return None,
            Ok((n, _)) => self.bytes.extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        Some(<[u8; N]>::try_from(self.bytes.as_slice()).map_err(|_fewer| ()))
    }

    /// What has come.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Greeting {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A connection to the memory server.
pub(super) struct MemfdPeer {
    fd: OwnedFd,
    reader: RecordReader<MemfdRequest>,
}

impl Compositor {
    /// The compositor comes to the socket of one client.
    pub(super) fn accept_named(&mut self, order: u64) {
        let Some(socket) = self.waiting.socket(order) else {
            return;
        };
        let compositor = match listeners::accept(socket) {
            Ok(Some(compositor)) => compositor,
            Ok(None) => return,
            Err(errno) => {
                warn!(%errno, "the compositor cannot come for a client");
                if let Some(number) = self.waiting.at(order) {
                    self.withdraw(number, "the compositor's connection cannot be accepted");
                }
                return;
            }
        };
        if has_left(&compositor) {
            return;
        }
        // With the client its socket goes: nobody can come to it again.
        if let Some(number) = self.waiting.at(order)
            && self.waiting.remove(number).is_some()
        {
            self.join(number, compositor);
        }
    }

    /// The compositor comes for an announced connection.
    pub(super) fn accept_greeting(&mut self) {
        if let Some(fd) = self.accept(CONNECTION) {
            self.take_greeting(fd);
        }
    }

    /// A connection is for an announced client.
    pub(super) fn take_greeting(&mut self, fd: OwnedFd) {
        if self.greetings.len() >= MAX_GREETINGS {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "too many connections without a token");
            }
            return;
        }
        let id = self.fresh_id();
        if self
            .poller
            .add(&fd, key(kind::GREETING, id), EventFlags::IN)
            .is_ok()
        {
            self.greetings.insert(id, Greeting::new(fd));
        }
    }

    pub(super) fn read_greeting(&mut self, id: u64) {
        let Some(greeting) = self.greetings.get_mut(&id) else {
            return;
        };
        let token = match greeting.read::<TOKEN_RECORD_LEN>() {
            None => {
                self.greetings.remove(&id);
                return;
            }
            Some(Err(())) => return,
            Some(Ok(token)) => token,
        };
        let Some(greeting) = self.greetings.remove(&id) else {
            return;
        };
        let record = TokenRecord::decode(&token)
            .ok()
            .filter(|record| self.waiting.fits(record));
        let Some(TokenRecord { number, .. }) = record else {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "a connection came with a wrong or outdated token");
            }
            return;
        };
        if has_left(&greeting.fd) {
            return;
        }
        if self.waiting.remove(number).is_some() {
            // Its own process watches it from here on.
            let _not_watched = self.poller.remove(&greeting.fd);
            self.join(number, greeting.fd);
        }
    }

    pub(super) fn accept_memfd(&mut self) {
        if let Some(fd) = self.accept(MEMFD) {
            self.take_memfd(fd);
        }
    }

    /// A connection is for the memory server.
    pub(super) fn take_memfd(&mut self, fd: OwnedFd) {
        if self.memfds.len() >= MAX_MEMFDS {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "too many connections to the memory server");
            }
            return;
        }
        let id = self.fresh_id();
        if self.poller.add(&fd, key(kind::MEMFD, id), EventFlags::IN).is_ok() {
            self.memfds.insert(
                id,
                MemfdPeer {
                    fd,
                    reader: RecordReader::new(),
                },
            );
        }
    }

    pub(super) fn read_memfd(&mut self, id: u64) {
        let Some(peer) = self.memfds.get_mut(&id) else {
            return;
        };
        let mut bytes = [0; 4096];
        let n = match recv(&peer.fd, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => 0,
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => 0,
        };
        let mut requests = Vec::new();
        let understood = drain(
            &mut peer.reader,
            bytes.get(..n).unwrap_or_default(),
            &mut requests,
        )
        .is_ok();
        let mut alive = n > 0;
        for request in requests {
            let known = |vm: &VmName| self.vms.values().any(|peer| peer.name == *vm);
            let result = self.memory.serve(&request, known);
            debug!(
                name = request.clean_name(),
                size = request.size,
                ok = result.is_ok(),
                "memory asked for"
            );
            let reply = [encode_reply(
                result.as_ref().map(|_| ()).map_err(|failure| *failure),
            )];
            let fds: Vec<_> = result.iter().map(AsFd::as_fd).collect();
            alive &= send(peer.fd.as_fd(), &reply, &fds) == Ok(1);
        }
        if !understood {
            let reply = [encode_reply(Err(MemfdFailure::Malformed))];
            // The connection ends either way.
            let _gone = send(peer.fd.as_fd(), &reply, &[]);
            alive = false;
        }
        if !alive {
            self.memfds.remove(&id);
            if self.memfds.is_empty() {
                self.memory.forget_others();
            }
        }
    }
}
