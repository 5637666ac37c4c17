// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that were accepted for a VM and wait for the compositor: what stands in for accept(2).

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use heraldry_virtio::wire::connection::TokenRecord;
use heraldry_virtio::wire::display::{Announcement, HostRecord, TOKEN_LEN, Way};
use heraldry_virtio::wire::{CONNECTION_PREFIX, ContextName, NameError, VmName};

use crate::listeners::{ListenError, Listener};

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The client's socket.
    pub(crate) client: OwnedFd,
    /// The VM whose listener it came by.
    pub(crate) vm: VmName,
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
pub(crate) enum Door {
    /// It comes to the common socket with this token.
    Token([u8; TOKEN_LEN]),
    /// It comes to a socket of this name, which exists as long as the connection waits.
    Name(ContextName, Listener),
}

impl Door {
    /// A new token.
    pub(crate) fn token() -> Result<Self, getrandom::Error> {
        let mut token = [0; TOKEN_LEN];
        getrandom::fill(&mut token)?;
        Ok(Self::Token(token))
    }

    /// A new socket in `folder`.
    ///
    /// Its number is drawn, not counted: an announcement that outlived the host which made it must not lead to
    /// another client of the next host.
    pub(crate) fn name(folder: &Path) -> Result<Self, DoorError> {
        let name = format!("{CONNECTION_PREFIX}{}", getrandom::u64()?);
        // A number that is in use shows as an error here, and costs one client.
        let listener = Listener::bind_new(&folder.join(&name))?;
        Ok(Self::Name(ContextName::new(&name)?, listener))
    }
}

/// Why a connection cannot be offered to the compositor.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// No token or number.
    #[error("the kernel gives no random numbers")]
    Random(#[from] getrandom::Error),
    /// No socket.
    #[error("there is no socket for it")]
    Listen(#[from] ListenError),
    /// No name.
    #[error("it has no name")]
    Name(#[from] NameError),
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

impl Waiting {
    /// Takes a connection in; the number names it from now on.
    pub(crate) fn add(&mut self, client: OwnedFd, vm: VmName, boot: u64, door: Door) -> u64 {
        self.next += 1;
        self.pending.insert(
            self.next,
            Pending {
                client,
                vm,
                boot,
                door,
                told: Told::Nothing,
            },
        );
        self.next
    }

    /// The record that announces the oldest connection that was not; from here on it counts as announced. Whoever sends
    /// it says so by [`Self::told`].
    pub(crate) fn announce_next(&mut self) -> Option<HostRecord> {
        let new = |pending: &Pending| pending.told == Told::Nothing;
        let (number, pending) = self.pending.iter_mut().find(|(_, pending)| new(pending))?;
        pending.told = Told::Soon;
        Some(HostRecord::Announce(Announcement {
            number: *number,
            boot: pending.boot,
            vm: pending.vm.clone(),
            way: match &pending.door {
                Door::Token(token) => Way::Token(*token),
                Door::Name(name, _) => Way::Name(name.clone()),
            },
        }))
    }

    /// The announcement of a connection has gone: the time in which the compositor must come for it begins.
    pub(crate) fn told(&mut self, number: u64, wait: Duration) {
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.told = Told::Until(Instant::now() + wait);
        }
    }

    /// A new compositor knows of none, and no compositor of none either.
    pub(crate) fn forget_announcements(&mut self) {
        for pending in self.pending.values_mut() {
            pending.told = Told::Nothing;
        }
    }

    /// How many connections no compositor knows of.
    pub(crate) fn untold(&self) -> usize {
        let untold = |pending: &&Pending| pending.deadline().is_none();
        self.pending.values().filter(untold).count()
    }

    /// The socket of a connection that has one of its own.
    pub(crate) fn socket(&self, number: u64) -> Option<BorrowedFd<'_>> {
        match &self.pending.get(&number)?.door {
            Door::Token(_) => None,
            Door::Name(_, listener) => Some(listener.socket.as_fd()),
        }
    }

    /// Numbers of all that wait, oldest first.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.pending.keys().copied().collect()
    }

    /// A waiting connection.
    pub(crate) fn get(&self, number: u64) -> Option<&Pending> {
        self.pending.get(&number)
    }

    /// How many connections of a VM wait.
    pub(crate) fn count(&self, vm: &VmName) -> usize {
        self.pending.values().filter(|pending| pending.vm == *vm).count()
    }

    /// The compositor is on its way: it gets the full time again to come for it.
    pub(crate) fn extend(&mut self, number: u64, wait: Duration) {
        // The last words of a compositor that is gone do not count.
        if let Some(pending) = self.pending.get_mut(&number)
            && pending.deadline().is_some()
        {
            pending.told = Told::Until(Instant::now() + wait);
        }
    }

    /// Whether the compositor knows of a connection.
    pub(crate) fn is_announced(&self, number: u64) -> bool {
        let pending = self.pending.get(&number);
        pending.is_some_and(|pending| pending.told != Told::Nothing)
    }

    /// Takes a connection out, whatever becomes of it.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Pending> {
        self.pending.remove(&number)
    }

    /// Whether a record names a connection that waits, with the right token.
    pub(crate) fn fits(&self, record: &TokenRecord) -> bool {
        self.pending
            .get(&record.number)
            .is_some_and(|pending| matches!(&pending.door, Door::Token(token) if record.has_token(token)))
    }

    /// Numbers of those that waited too long.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<u64> {
        self.pending
            .iter()
            .filter(|(_, pending)| pending.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(number, _)| *number)
            .collect()
    }

    /// When the next one will have waited too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().filter_map(Pending::deadline).min()
    }
}
