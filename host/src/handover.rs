// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that were accepted for a VM and wait for the compositor: what stands in for accept(2).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use heraldry_virtio::wire::VmName;
use heraldry_virtio::wire::connection::TokenRecord;
use heraldry_virtio::wire::display::{Announcement, HostRecord, TOKEN_LEN, Way};

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The client's socket.
    pub(crate) client: OwnedFd,
    /// The VM whose listener it came by.
    pub(crate) vm: VmName,
    boot: u64,
    token: [u8; TOKEN_LEN],
    deadline: Instant,
}

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pending: BTreeMap<u64, Pending>,
    next: u64,
}

impl Waiting {
    /// Takes a connection in; the number names it from now on.
    pub(crate) fn add(
        &mut self,
        client: OwnedFd,
        vm: VmName,
        boot: u64,
        wait: Duration,
    ) -> Result<u64, getrandom::Error> {
        let mut token = [0; TOKEN_LEN];
        getrandom::fill(&mut token)?;
        self.next += 1;
        self.pending.insert(
            self.next,
            Pending {
                client,
                vm,
                boot,
                token,
                deadline: Instant::now() + wait,
            },
        );
        Ok(self.next)
    }

    /// The record that announces a connection.
    pub(crate) fn announcement(&self, number: u64) -> Option<HostRecord> {
        let pending = self.pending.get(&number)?;
        Some(HostRecord::Announce(Announcement {
            number,
            boot: pending.boot,
            vm: pending.vm.clone(),
            way: Way::Token(pending.token),
        }))
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
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.deadline = Instant::now() + wait;
        }
    }

    /// Takes a connection out, whatever becomes of it.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Pending> {
        self.pending.remove(&number)
    }

    /// Takes out the connection that a record names, if its token is the right one.
    pub(crate) fn redeem(&mut self, record: &TokenRecord) -> Option<Pending> {
        self.pending
            .get(&record.number)
            .filter(|pending| record.has_token(&pending.token))?;
        self.pending.remove(&record.number)
    }

    /// Numbers of those that waited too long.
    pub(crate) fn overdue(&self, now: Instant) -> Vec<u64> {
        self.pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(number, _)| *number)
            .collect()
    }

    /// When the next one will have waited too long.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.pending.values().map(|pending| pending.deadline).min()
    }
}
