// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients: accepted, offered to the compositor, joined with its connection, and ended.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::net::{Shutdown, shutdown};
use tracing::{debug, warn};

use super::{Vm, kind};
use crate::listeners;
use crate::orders::{Offer, number};
use crate::poller::key;
use crate::splice::{End, Side, Splice};
use crate::stand_in::Party;

/// How long the listener rests when the system has no descriptor or memory for a connection.
const REST: Duration = Duration::from_millis(250);
/// The least that it rests after too many connections, so that a loop of a VM costs few wake-ups.
const LEAST_REST: Duration = Duration::from_millis(100);
/// Seconds' worth of connections that may come at once after a pause.
const BURST: u32 = 2;

/// A spliced connection.
pub(super) struct Active {
    pub(super) splice: Splice,
    /// What is watched on the client's end and on the compositor's.
    watched: [EventFlags; 2],
}

impl Vm {
    /// A client connects.
    pub(super) fn accept_client(&mut self) {
        // What comes later waits in the kernel's queue.
        let rate = self.rules.per_second.into();
        if let Err(wait) = self.connects.take(self.started.elapsed(), rate, BURST) {
            self.rest(wait.max(LEAST_REST));
            return;
        }
        let Some(client) = self.accept() else {
            return;
        };
        let limit = self.rules.connections;
        if self.active.len().saturating_add(self.waiting.len()) >= limit {
            if let Some(dropped) = self.log.allow() {
                warn!(vm = %self.name, limit, dropped, "connection refused: the VM has its limit open");
            }
            return;
        }
        // The first connection after none: the VM has started, as far as anybody can see from here.
        if self.boot.is_none() {
            match getrandom::u64() {
                Ok(fresh) => self.boot = Some(fresh.max(1)),
                Err(error) => {
                    if let Some(dropped) = self.log.allow() {
                        warn!(vm = %self.name, %error, dropped, "connection refused: the kernel gives no random numbers");
                    }
                    return;
                }
            }
        }
        self.last += 1;
        let id = self.last;
        self.counters.accepted += 1;
        debug!(vm = %self.name, number = number(self.process, id), "client connected");
        // Only the hang-up matters until the compositor takes it; the bytes wait in the socket.
        let watched = self
            .poller
            .add(&client, key(kind::WAITING, id), EventFlags::RDHUP);
        self.waiting.insert(id, client);
        if let Err(errno) = watched {
            warn!(vm = %self.name, %errno, "a connection cannot be watched");
            self.withdraw(id, "it cannot be watched");
            return;
        }
        self.offer(id);
    }

    /// Accepts one connection, if there is one.
    fn accept(&mut self) -> Option<OwnedFd> {
        match listeners::accept(&self.listener) {
            Ok(accepted) => accepted,
            Err(errno) => {
                if let Some(dropped) = self.log.allow() {
                    warn!(vm = %self.name, %errno, dropped, "a connection cannot be accepted now; it waits");
                }
                self.rest(REST);
                None
            }
        }
    }

    /// Leaves the listener alone for a while, because epoll would report it at once again.
    fn rest(&mut self, time: Duration) {
        let key = key(kind::LISTENER, 0);
        if self
            .poller
            .modify(&self.listener, key, EventFlags::empty())
            .is_ok()
        {
            self.rests_until = Some(Instant::now() + time);
        }
    }

    pub(super) fn wake(&mut self) {
        self.rests_until = None;
        // It was added when it began to listen.
        let _watched = self
            .poller
            .modify(&self.listener, key(kind::LISTENER, 0), EventFlags::IN);
    }

    /// Tells the compositor's process, if there is one, that a client waits.
    pub(super) fn offer(&mut self, id: u64) {
        if let Some(boot) = self.boot {
            let number = number(self.process, id);
            self.tell(&Offer::Client { number, boot });
        }
    }

    /// Ends a client that waits.
    pub(super) fn withdraw(&mut self, id: u64, why: &str) {
        let Some(client) = self.waiting.remove(&id) else {
            return;
        };
        let number = number(self.process, id);
        self.counters.withdrawn += 1;
        debug!(vm = %self.name, number, why, "withdrawn");
        // Everybody knows before the socket is closed, which can take for ever. It may be closed already.
        let _closed = shutdown(&client, Shutdown::Both);
        self.tell(&Offer::Gone { number });
        self.settle_boot();
        drop(client);
    }

    /// Joins a client with the compositor's connection.
    pub(super) fn join(&mut self, id: u64, compositor: OwnedFd) {
        let Some(client) = self.waiting.remove(&id) else {
            // It has left meanwhile, and the compositor's process has been told.
            let _closed = shutdown(&compositor, Shutdown::Both);
            return;
        };
        // The client's socket was watched for a hang-up while it waited.
        let _not_watched = self.poller.remove(&client);
        let party = Party {
            vm: self.name.clone(),
            connection: id,
            most: self.rules.transfers,
        };
        let splice = Splice::new(client, compositor, self.unsealed(), self.rules.descriptors, party);
        let watched = [EventFlags::empty(); 2];
        self.active.insert(id, Active { splice, watched });
        self.watch(id);
    }

    /// Connections that are open follow new rules too.
    pub(super) fn apply_rules(&mut self) {
        let (unsealed, rules) = (self.unsealed(), self.rules);
        let ids: Vec<u64> = self.active.keys().copied().collect();
        for id in ids {
            if let Some(active) = self.active.get_mut(&id) {
                let result = active
                    .splice
                    .set_rules(unsealed, rules.descriptors, rules.transfers);
                self.spliced(id, result);
            }
        }
    }

    /// Moves what can be moved on a spliced connection.
    pub(super) fn splice(&mut self, id: u64, side: Side, flags: EventFlags) {
        if let Some(active) = self.active.get_mut(&id) {
            let result = active.splice.progress(side, flags, &mut self.stand_ins);
            self.spliced(id, result);
        }
    }

    /// The compositor has taken so much of a connection.
    pub(super) fn credit(&mut self, id: u64, bytes: u64, descriptors: u64) {
        // It may be gone; what was said of it is of no use then.
        if let Some(active) = self.active.get_mut(&id) {
            let result = active.splice.credit(bytes, descriptors);
            self.spliced(id, result);
        }
    }

    fn spliced(&mut self, id: u64, result: Result<(), End>) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        match result {
            Ok(()) => {
                if let Some(deadline) = active.splice.deadline() {
                    self.closing.insert(id, deadline);
                }
                self.watch(id);
            }
            Err(end) => self.end(id, &end),
        }
    }

    /// One side has closed, and the other does not take what waits for it.
    pub(super) fn overdue(&mut self, id: u64) {
        self.closing.remove(&id);
        if let Some(end) = self.active.get(&id).map(|active| active.splice.overdue()) {
            self.end(id, &end);
        }
    }

    /// Watches what the connection waits for, and nothing that it does not.
    fn watch(&mut self, id: u64) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        let mut result = Ok(());
        let sides = [
            (Side::Client, kind::CLIENT),
            (Side::Compositor, kind::COMPOSITOR_END),
        ];
        for ((side, kind), watched) in sides.into_iter().zip(&mut active.watched) {
            let (fd, key) = (active.splice.fd(side), key(kind, id));
            let wanted = active.splice.interest(side);
            let was = std::mem::replace(watched, wanted);
            result = result.and(match (was.is_empty(), wanted.is_empty()) {
                (true, true) => Ok(()),
                (true, false) => self.poller.add(fd, key, wanted),
                (false, true) => self.poller.remove(fd),
                (false, false) if was == wanted => Ok(()),
                (false, false) => self.poller.modify(fd, key, wanted),
            });
        }
        if let Err(errno) = result {
            self.end(id, &End::Failed(Side::Client, errno));
        }
    }

    fn end(&mut self, id: u64, end: &End) {
        self.closing.remove(&id);
        let Some(Active { splice, watched }) = self.active.remove(&id) else {
            return;
        };
        // The compositor's process has the compositor's end too, so that closing it here ends no watch.
        for (side, watched) in [Side::Client, Side::Compositor].into_iter().zip(watched) {
            if !watched.is_empty() {
                let _not_watched = self.poller.remove(splice.fd(side));
            }
        }
        // Everybody learns of it, and it is counted, before anything is closed: that can take for ever.
        splice.hang_up();
        let (up, down) = splice.traffic();
        if end.is_fault() {
            self.counters.faults += 1;
            if let Some(dropped) = self.log.allow() {
                warn!(vm = %self.name, %end, dropped, "connection ended for a broken rule");
            }
        } else {
            debug!(vm = %self.name, %end, up = up.bytes, down = down.bytes, "connection ended");
        }
        let number = number(self.process, id);
        self.tell(&Offer::Ended { number });
        self.settle_boot();
        self.stand_ins.connection_gone(id);
        drop(splice);
    }

    /// With its last connection a VM's boot instance ends, and with it the account at the memory server.
    fn settle_boot(&mut self) {
        if self.active.is_empty() && self.waiting.is_empty() && self.boot.take().is_some() {
            self.tell(&Offer::Idle);
            self.stand_ins.vm_idle(&self.name);
        }
    }
}
