// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that only the compositor VM can reach: display socket, connection tokens, memory server.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use heraldry_virtio::wire::connection::{TOKEN_RECORD_LEN, TokenRecord};
use heraldry_virtio::wire::display::{CompositorRecord, HostRecord};
use heraldry_virtio::wire::memfd::{MemfdFailure, encode_reply};
use heraldry_virtio::wire::{Record, RecordReader, WireError};
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tracing::{debug, info, warn};

use super::{Daemon, DisplayPeer, Greeting, Key, MemfdPeer};
use crate::splice::send;

/// Connections without a token at one time.
const MAX_GREETINGS: usize = 256;
/// Connections to the memory server at one time: the compositor has one for each VM, and a file has at most 256 VMs.
const MAX_MEMFDS: usize = 512;
/// Bytes of announcements that wait for the compositor to read; the rest waits as connections. Withdrawals come on top,
/// at most one for each announcement.
const DISPLAY_QUEUE: usize = 16 * 1024;
/// A token must come within this time.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// Feeds `input` to a reader and collects the records that are complete.
fn drain<R: Record>(
    reader: &mut RecordReader<R>,
    mut input: &[u8],
    records: &mut Vec<R>,
) -> Result<(), WireError> {
    while !input.is_empty() {
        records.extend(reader.feed(&mut input)?);
    }
    Ok(())
}

impl Daemon {
    /// The compositor opens its display socket. A new one replaces the old: a restarted compositor is the one that
    /// counts.
    pub(super) fn accept_display(&mut self) {
        let Some(fd) = self.accept(Key::DisplayListener) else {
            return;
        };
        if self.display.take().is_some() {
            info!("a new display socket replaces the old one");
        }
        if epoll::add(&self.epoll, fd.as_fd(), Key::Display.pack(), EventFlags::IN).is_err() {
            return;
        }
        self.display = Some(DisplayPeer {
            fd,
            reader: RecordReader::new(),
            greeted: false,
            out: HostRecord::Hello.encode().to_vec(),
            waits: false,
        });
        self.fill_display();
    }

    /// Sends the compositor what it does not know yet, as far as its socket takes it.
    pub(super) fn fill_display(&mut self) {
        let Some(display) = self.display.as_mut() else {
            return;
        };
        loop {
            while display.greeted
                && display.out.len() < DISPLAY_QUEUE
                && let Some(record) = self.waiting.announce_next()
            {
                display.out.extend_from_slice(&record.encode());
            }
            if display.out.is_empty() {
                break;
            }
            match send(display.fd.as_fd(), &display.out, &[]) {
                Ok(sent) => drop(display.out.drain(..sent)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                // What it has sent before it closed is still read.
                Err(Errno::PIPE | Errno::CONNRESET) => {
                    display.out.clear();
                    display.greeted = false;
                    break;
                }
                Err(errno) => {
                    warn!(%errno, "the display socket failed");
                    self.display = None;
                    return;
                }
            }
        }
        let waits = !display.out.is_empty();
        if waits != display.waits {
            display.waits = waits;
            let mut flags = EventFlags::IN;
            flags.set(EventFlags::OUT, waits);
            // It was added when it was accepted; it cannot be missing.
            let _added = epoll::modify(&self.epoll, display.fd.as_fd(), Key::Display.pack(), flags);
        }
    }

    /// Tells the compositor that an announced connection waits no more.
    pub(super) fn announce_withdrawal(&mut self, number: u64) {
        if let Some(display) = self.display.as_mut().filter(|display| display.greeted) {
            display
                .out
                .extend_from_slice(&HostRecord::Withdraw { number }.encode());
            self.fill_display();
        }
    }

    pub(super) fn read_display(&mut self) {
        let Some(display) = self.display.as_mut() else {
            return;
        };
        let mut bytes = [0; 4096];
        let n = match recv(&display.fd, &mut bytes, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                info!("the compositor closed its display socket");
                self.display = None;
                return;
            }
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(errno) => {
                warn!(%errno, "the display socket failed");
                self.display = None;
                return;
            }
        };
        let mut records = Vec::new();
        if let Err(error) = drain(
            &mut display.reader,
            bytes.get(..n).unwrap_or_default(),
            &mut records,
        ) {
            warn!(%error, "the compositor sent something that is no record; the display socket is closed");
            self.display = None;
            return;
        }
        for record in records {
            self.display_record(&record);
        }
    }

    fn display_record(&mut self, record: &CompositorRecord) {
        match record {
            CompositorRecord::Hello => {
                if let Some(display) = self.display.as_mut() {
                    display.greeted = true;
                }
                info!("compositor connected");
                // Clients that came before the compositor, or between two of them, have waited for this.
                self.waiting.forget_announcements();
                self.fill_display();
            }
            CompositorRecord::Take { number } => {
                self.waiting.extend(*number, self.config.host.withdraw_after);
            }
            CompositorRecord::Credit {
                number,
                bytes,
                descriptors,
            } => self.credit(*number, *bytes, *descriptors),
            CompositorRecord::Refuse { number, reason } => {
                debug!(number, ?reason, "the compositor refused a client");
                if self.waiting.get(*number).is_some() {
                    self.withdraw(*number, "the compositor refused it");
                }
            }
        }
    }

    /// The compositor comes to the socket of one connection.
    pub(super) fn accept_named(&mut self, number: u64) {
        let Some(compositor) = self.accept(Key::Named(number)) else {
            return;
        };
        // With the connection its socket goes: nobody can come to it again.
        if let Some(pending) = self.waiting.remove(number) {
            self.join(number, pending.vm, pending.client, compositor);
        }
    }

    /// The compositor comes for an announced connection.
    pub(super) fn accept_greeting(&mut self) {
        let Some(fd) = self.accept(Key::ConnectionListener) else {
            return;
        };
        if self.greetings.len() >= MAX_GREETINGS {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "too many connections without a token");
            }
            return;
        }
        let id = self.fresh_id();
        if epoll::add(&self.epoll, fd.as_fd(), Key::Greeting(id).pack(), EventFlags::IN).is_ok() {
            let deadline = Instant::now() + GREETING_TIME;
            self.greetings.insert(
                id,
                Greeting {
                    fd,
                    bytes: Vec::new(),
                    deadline,
                },
            );
        }
    }

    pub(super) fn read_greeting(&mut self, id: u64) {
        let Some(greeting) = self.greetings.get_mut(&id) else {
            return;
        };
        // Not one byte more than the record: what follows is the client's.
        let mut bytes = [0; TOKEN_RECORD_LEN];
        let missing = TOKEN_RECORD_LEN.saturating_sub(greeting.bytes.len());
        let Some(room) = bytes.get_mut(..missing) else {
            return;
        };
        match recv(&greeting.fd, &mut *room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                self.greetings.remove(&id);
                return;
            }
            Ok((n, _)) => greeting
                .bytes
                .extend_from_slice(room.get(..n).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => {
                self.greetings.remove(&id);
                return;
            }
        }
        if greeting.bytes.len() < TOKEN_RECORD_LEN {
            return;
        }
        let Some(greeting) = self.greetings.remove(&id) else {
            return;
        };
        let pending = TokenRecord::decode(&greeting.bytes)
            .ok()
            .and_then(|record| Some((record.number, self.waiting.redeem(&record)?)));
        match pending {
            Some((number, pending)) => {
                let _not_watched = epoll::delete(&self.epoll, greeting.fd.as_fd());
                self.join(number, pending.vm, pending.client, greeting.fd);
            }
            None => {
                if let Some(dropped) = self.log.allow() {
                    warn!(dropped, "a connection came with a wrong or outdated token");
                }
            }
        }
    }

    pub(super) fn accept_memfd(&mut self) {
        let Some(fd) = self.accept(Key::MemfdListener) else {
            return;
        };
        if self.memfds.len() >= MAX_MEMFDS {
            if let Some(dropped) = self.log.allow() {
                warn!(dropped, "too many connections to the memory server");
            }
            return;
        }
        let id = self.fresh_id();
        if epoll::add(&self.epoll, fd.as_fd(), Key::Memfd(id).pack(), EventFlags::IN).is_ok() {
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
            let result = self.memory.serve(&request, |vm| self.vms.contains_key(vm));
            debug!(
                name = request.clean_name(),
                size = request.size,
                ok = result.is_ok(),
                "memory asked for"
            );
            let reply = [encode_reply(
                result.as_ref().map(|_| ()).map_err(|failure| *failure),
            )];
            let fds: Vec<OwnedFd> = result.into_iter().collect();
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
        }
    }
}
