// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that wait for the compositor, in the order in which they came: what stands in for accept(2).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use heraldry_identity::name::NameError;
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, HostRecord, TOKEN_LEN, Way};
use heraldry_wire::{CONNECTION_PREFIX, ContextName};
use rustix::io::Errno;

use crate::listeners::{ListenError, Listener};
use crate::orders::process_of;

/// A client.
#[derive(Debug)]
pub(super) struct Pending {
    /// What names it everywhere.
    pub(super) number: u64,
    /// The VM whose listener it came by.
    vm: VmName,
    boot: u64,
    door: Door,
    told: Told,
}

/// What the compositor knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing: it waits for as long as its client does.
    Nothing,
    /// The announcement waits to be sent. Time does not run yet.
    Soon,
    /// It knows, and has until then to come for it.
    Until(Instant),
}

impl Pending {
    /// When the compositor, which knows of it, will have left it waiting for too long.
    fn deadline(&self) -> Option<Instant> {
        match self.told {
            Told::Until(deadline) => Some(deadline),
            Told::Nothing | Told::Soon => None,
        }
    }
}

/// How the compositor gets at a connection.
#[derive(Debug)]
pub(super) enum Door {
    /// It comes to the common socket with this token.
    Token([u8; TOKEN_LEN]),
    /// It comes to a socket of this name, which exists as long as the connection waits.
    Name(ContextName, Listener),
}

impl Door {
    /// A new token.
    pub(super) fn token() -> Result<Self, getrandom::Error> {
        let mut token = [0; TOKEN_LEN];
        getrandom::fill(&mut token)?;
        Ok(Self::Token(token))
    }

    /// A new socket in `folder`.
    ///
    /// Its number is drawn, not counted: an announcement that outlived the host which made it must not lead to
    /// another client of the next host.
    pub(super) fn name(folder: &Path) -> Result<Self, DoorError> {
        let name = format!("{CONNECTION_PREFIX}{}", getrandom::u64()?);
        // A number that is in use shows as an error here, and costs one client.
        let listener = Listener::open_new(&folder.join(&name))?;
        Ok(Self::Name(ContextName::new(&name)?, listener))
    }
}

/// Why a connection cannot be offered to the compositor.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// No token or number.
    #[error("the kernel gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// No socket.
    #[error("there is no socket for it")]
    Listen(#[from] ListenError),
    /// Its socket cannot be watched.
    #[error("its socket cannot be watched")]
    Watch(#[from] Errno),
    /// No name.
    #[error("it has no name")]
    Name(#[from] NameError),
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// In the order in which they came.
    pending: BTreeMap<u64, Pending>,
    orders: BTreeMap<u64, u64>,
    last: u64,
}

impl Waiting {
    /// Takes a client in; returns its place in the order.
    pub(super) fn add(&mut self, number: u64, vm: VmName, boot: u64, door: Door) -> u64 {
        self.last += 1;
        let pending = Pending {
            number,
            vm,
            boot,
            door,
            told: Told::Nothing,
        };
        self.pending.insert(self.last, pending);
        if let Some(before) = self.orders.insert(number, self.last) {
            self.pending.remove(&before);
        }
        self.last
    }

    /// The record that announces the oldest client that was not; from here on it counts as announced. Whoever sends
    /// it says so by [`Self::told`].
    pub(super) fn announce_next(&mut self) -> Option<HostRecord> {
        let new = |pending: &&mut Pending| pending.told == Told::Nothing;
        let pending = self.pending.values_mut().find(new)?;
        pending.told = Told::Soon;
        Some(HostRecord::Announce(Announcement {
            number: pending.number,
            boot: pending.boot,
            vm: pending.vm.clone(),
            way: match &pending.door {
                Door::Token(token) => Way::Token(*token),
                Door::Name(name, _) => Way::Name(name.clone()),
            },
        }))
    }

    /// The announcement of a client has gone: the time in which the compositor must come for it begins.
    pub(super) fn told(&mut self, number: u64, wait: Duration) {
        if let Some(pending) = self.get_mut(number) {
            pending.told = Told::Until(Instant::now() + wait);
        }
    }

    /// A new compositor knows of none, and no compositor of none either.
    pub(super) fn forget_announcements(&mut self) {
        for pending in self.pending.values_mut() {
            pending.told = Told::Nothing;
        }
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.pending.len()
    }

    /// How many no compositor knows of.
    pub(super) fn untold(&self) -> usize {
        let untold = |pending: &&Pending| pending.deadline().is_none();
        self.pending.values().filter(untold).count()
    }

    /// The socket of a client that has one of its own, by its place in the order.
    pub(super) fn socket(&self, order: u64) -> Option<BorrowedFd<'_>> {
        match &self.pending.get(&order)?.door {
            Door::Token(_) => None,
            Door::Name(_, listener) => Some(listener.socket.as_fd()),
        }
    }

    /// The client at a place in the order.
    pub(super) fn at(&self, order: u64) -> Option<u64> {
        self.pending.get(&order).map(|pending| pending.number)
    }

    /// Those that a process has offered.
    pub(super) fn of_process(&self, process: u64) -> Vec<u64> {
        let of_process = |number: &u64| process_of(*number) == process;
        self.orders.keys().copied().filter(of_process).collect()
    }

    fn get(&self, number: u64) -> Option<&Pending> {
        self.pending.get(self.orders.get(&number)?)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Pending> {
        self.pending.get_mut(self.orders.get(&number)?)
    }

    /// Whether it waits.
    pub(super) fn has(&self, number: u64) -> bool {
        self.orders.contains_key(&number)
    }

    /// The compositor is on its way: it gets the full time again to come for it.
    pub(super) fn extend(&mut self, number: u64, wait: Duration) {
        // The last words of a compositor that is gone do not count.
        if let Some(pending) = self.get_mut(number)
            && pending.deadline().is_some()
        {
            pending.told = Told::Until(Instant::now() + wait);
        }
    }

    /// Whether the compositor knows of a client.
    pub(super) fn is_announced(&self, number: u64) -> bool {
        let pending = self.get(number);
        pending.is_some_and(|pending| pending.told != Told::Nothing)
    }

    /// Takes a client out, whatever becomes of it.
    pub(super) fn remove(&mut self, number: u64) -> Option<Pending> {
        self.pending.remove(&self.orders.remove(&number)?)
    }

    /// Whether a record names a client that waits, with the right token.
    pub(super) fn fits(&self, record: &TokenRecord) -> bool {
        self.get(record.number)
            .is_some_and(|pending| matches!(&pending.door, Door::Token(token) if record.has_token(token)))
    }

    /// Numbers of those that waited too long.
    pub(super) fn overdue(&self, now: Instant) -> Vec<u64> {
        self.pending
            .values()
            .filter(|pending| pending.deadline().is_some_and(|deadline| deadline <= now))
            .map(|pending| pending.number)
            .collect()
    }

    /// When the next one will have waited too long.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().filter_map(Pending::deadline).min()
    }
}
