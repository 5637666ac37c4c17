// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that app VMs can reach: their listeners, and the client's end of a splice.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use heraldry_config::{Config, HandOver, Owner, UnsealedMemory, VmVerdict};
use heraldry_virtio::wire::VmName;
use rustix::event::epoll::{self, EventFlags};
use tracing::{debug, info, warn};

use super::accepting::Pace;
use super::{Active, Daemon, Key, LogBudget, VmEntry};
use crate::handover::{Door, DoorError};
use crate::listeners::{ListenError, Listener};
use crate::splice::{End, Side, Splice};
use crate::stand_in::Party;

/// What a VM's connections may carry: memory that cannot be sealed, pipes that are kept, descriptors that wait.
fn rules_of(config: &Config, vm: &VmName) -> (UnsealedMemory, usize, usize) {
    let name = vm.as_str().parse();
    let (unsealed, transfers) = match name.as_ref().map(|name| config.vm(name)) {
        Ok(VmVerdict::Known(settings)) => (settings.rules.unsealed_memory, settings.rules.limits.transfers),
        _ => (UnsealedMemory::Refuse, 0),
    };
    let max_fds = usize::try_from(config.host.descriptors_per_connection).unwrap_or(256);
    (
        unsealed,
        usize::try_from(transfers).unwrap_or(usize::MAX),
        max_fds,
    )
}

impl Daemon {
    /// Brings the listeners in line with the configuration: new VMs can connect, those that are gone cannot. Returns
    /// what went wrong, VM by VM.
    pub(super) fn open_listeners(&mut self) -> Vec<ListenError> {
        let configured: BTreeMap<VmName, Option<Owner>> = self
            .config
            .vms
            .values()
            .filter_map(|vm| Some((VmName::new(vm.name.as_str()).ok()?, vm.owner.clone())))
            .collect();
        // A VM that changes hands is another VM: what the old owner has open ends.
        let gone: Vec<VmName> = self
            .vms
            .iter()
            .filter(|(name, vm)| configured.get(*name) != Some(&vm.owner))
            .map(|(name, _)| name.clone())
            .collect();
        for vm in gone {
            self.remove_vm(&vm);
        }
        let mut errors = Vec::new();
        for (name, owner) in configured {
            if !self.vms.contains_key(&name)
                && let Err(error) = self.add_vm(name, owner)
            {
                errors.push(error);
            }
        }
        errors
    }

    fn remove_vm(&mut self, vm: &VmName) {
        self.vms.remove(vm);
        self.active.retain(|_, active| active.vm != *vm);
        self.closing.retain(|id, _| self.active.contains_key(id));
        for number in self.waiting.numbers() {
            if self.waiting.get(number).is_some_and(|pending| pending.vm == *vm) {
                self.withdraw(number, "its VM is no longer configured");
            }
        }
        self.memory.forget(vm);
        self.stand_ins.vm_gone(vm);
        // It stays if somebody put something else in it.
        let _left = std::fs::remove_dir(self.dir.join("vm").join(vm.as_str()));
        info!(%vm, "VM removed");
    }

    fn add_vm(&mut self, name: VmName, owner: Option<Owner>) -> Result<(), ListenError> {
        let listener = Listener::for_vm(&self.dir, name.as_str(), owner.as_ref())?;
        let id = self.fresh_id();
        let watched = epoll::add(
            &self.epoll,
            listener.socket.as_fd(),
            Key::Vm(id).pack(),
            EventFlags::IN,
        );
        watched.map_err(|errno| ListenError::Bind {
            path: self.dir.join("vm").join(name.as_str()),
            source: errno.into(),
        })?;
        self.vms.insert(
            name,
            VmEntry {
                id,
                listener,
                owner,
                pace: Pace::new(),
                boot: None,
                connections: 0,
                log: LogBudget::new(),
            },
        );
        Ok(())
    }

    /// A client of a VM connects.
    pub(super) fn accept_client(&mut self, id: u64) {
        let Some((name, vm)) = self.vms.iter_mut().find(|(_, vm)| vm.id == id) else {
            return;
        };
        let per_second = name
            .as_str()
            .parse()
            .ok()
            .and_then(|name: heraldry_config::VmName| self.config.vms.get(&name))
            .map_or(1, |vm| vm.rules.limits.connections_per_second);
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
        if let Err(wait) = vm.pace.take(Instant::now(), per_second) {
            self.rest(Key::Vm(id), wait);
            return;
        }
        let name = name.clone();
        let Some(client) = self.accept(Key::Vm(id)) else {
            return;
        };
        let waiting = self.waiting.count(&name);
        let Some(vm) = self.vms.get_mut(&name) else {
            return;
        };
        let limit = usize::try_from(self.config.host.connections_per_vm).unwrap_or(usize::MAX);
        if vm.connections.saturating_add(waiting) >= limit {
            if let Some(dropped) = vm.log.allow() {
                warn!(vm = %name, limit, dropped, "connection refused: the VM has its limit open");
            }
            return;
        }
        if let Err(error) = self.offer(&name, client) {
            if let Some(dropped) = self.log.allow() {
                let error = anyhow::Error::from(error);
                warn!(vm = %name, dropped, "connection refused: {error:#}");
            }
            return;
        }
        self.fill_display();
    }

    /// Puts a client among those that wait for the compositor.
    fn offer(&mut self, name: &VmName, client: OwnedFd) -> Result<(), DoorError> {
        let door = match self.config.host.hand_over {
            HandOver::Token => Door::token()?,
            HandOver::Name => Door::name(&self.dir.join("compositor"))?,
        };
        // The first connection after none: the VM has started, as far as anybody can see from here.
        let fresh = getrandom::u64()?.max(1);
        let Some(vm) = self.vms.get_mut(name) else {
            return Ok(());
        };
        let boot = *vm.boot.get_or_insert(fresh);
        self.counters.accepted += 1;
        let number = self.waiting.add(client, name.clone(), boot, door);
        debug!(vm = %name, number, "client connected");
        if self.display.is_none()
            && let Some(dropped) = vm.log.allow()
        {
            info!(vm = %name, dropped, "a client waits: there is no compositor yet");
        }
        // Only the hang-up matters until the compositor takes it; the bytes wait in the socket.
        let watch = |fd: BorrowedFd<'_>, key: Key, flags| epoll::add(&self.epoll, fd, key.pack(), flags);
        let client = self.waiting.get(number).map(|pending| pending.client.as_fd());
        let watched = client
            .map_or(Ok(()), |fd| watch(fd, Key::Pending(number), EventFlags::RDHUP))
            .and_then(|()| {
                let socket = self.waiting.socket(number);
                socket.map_or(Ok(()), |fd| watch(fd, Key::Named(number), EventFlags::IN))
            });
        if let Err(errno) = watched {
            warn!(vm = %name, %errno, "a connection cannot be watched");
            self.withdraw(number, "it cannot be watched");
        }
        Ok(())
    }

    /// A waiting client hung up.
    pub(super) fn pending_gone(&mut self, number: u64) {
        self.withdraw(number, "the client left");
    }

    /// Takes an announcement back and ends its client.
    pub(super) fn withdraw(&mut self, number: u64, why: &str) {
        let announced = self.waiting.is_announced(number);
        let Some(pending) = self.waiting.remove(number) else {
            return;
        };
        self.counters.withdrawn += 1;
        debug!(vm = %pending.vm, number, why, "withdrawn");
        let vm = pending.vm.clone();
        // Its sockets are gone before anybody hears of it.
        drop(pending);
        if announced {
            self.announce_withdrawal(number);
        }
        self.settle_boot(&vm);
    }

    /// Joins a client with the compositor's connection.
    pub(super) fn join(&mut self, number: u64, vm: VmName, client: OwnedFd, compositor: OwnedFd) {
        let Some(entry) = self.vms.get_mut(&vm) else {
            return;
        };
        let (unsealed, transfers, max_fds) = rules_of(&self.config, &vm);
        entry.connections += 1;
        let id = self.fresh_id();
        // The client's socket was watched for a hang-up while it waited.
        let _not_watched = epoll::delete(&self.epoll, &client);
        let party = Party {
            vm: vm.clone(),
            connection: id,
            most: transfers,
        };
        let active = Active {
            vm,
            number,
            splice: Splice::new(client, compositor, unsealed, max_fds, party),
            watched: [EventFlags::empty(); 2],
        };
        self.active.insert(id, active);
        self.watch(id);
    }

    /// Connections that are open follow a new configuration too.
    pub(super) fn apply_rules(&mut self) {
        let ids: Vec<u64> = self.active.keys().copied().collect();
        for id in ids {
            if let Some(active) = self.active.get_mut(&id) {
                let (unsealed, transfers, max_fds) = rules_of(&self.config, &active.vm);
                let result = active.splice.set_rules(unsealed, max_fds, transfers);
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

    /// The compositor has worked off so much of a connection.
    pub(super) fn credit(&mut self, number: u64, bytes: u64, descriptors: u64) {
        // It may be gone; what was said of it is of no use then.
        let known = self.active.iter_mut().find(|(_, active)| active.number == number);
        if let Some((id, active)) = known {
            let (id, result) = (*id, active.splice.credit(bytes, descriptors));
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

    /// Lets epoll watch what the connection waits for, and nothing that it does not.
    fn watch(&mut self, id: u64) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        let mut result = Ok(());
        for (side, watched) in [Side::Client, Side::Compositor]
            .into_iter()
            .zip(&mut active.watched)
        {
            let (fd, key) = (active.splice.fd(side), Key::Splice(id, side).pack());
            let wanted = active.splice.interest(side);
            let was = std::mem::replace(watched, wanted);
            result = result.and(match (was.is_empty(), wanted.is_empty()) {
                (true, true) => Ok(()),
                (true, false) => epoll::add(&self.epoll, fd, key, wanted),
                (false, true) => epoll::delete(&self.epoll, fd),
                (false, false) if was == wanted => Ok(()),
                (false, false) => epoll::modify(&self.epoll, fd, key, wanted),
            });
        }
        if let Err(errno) = result {
            self.end(id, &End::Failed(Side::Client, errno));
        }
    }

    fn end(&mut self, id: u64, end: &End) {
        self.closing.remove(&id);
        let Some(Active { vm, splice, .. }) = self.active.remove(&id) else {
            return;
        };
        let (up, down) = splice.traffic();
        self.stand_ins.connection_gone(id);
        // Both sides learn of it before anything else happens.
        drop(splice);
        if end.is_fault() {
            self.counters.faults += 1;
            if let Some(dropped) = self.vms.get_mut(&vm).and_then(|vm| vm.log.allow()) {
                let cause = std::error::Error::source(end)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                warn!(%vm, end = %end, cause, dropped, "connection ended for a broken rule");
            }
        } else {
            debug!(%vm, end = %end, up = up.bytes, down = down.bytes, "connection ended");
        }
        if let Some(entry) = self.vms.get_mut(&vm) {
            entry.connections = entry.connections.saturating_sub(1);
        }
        self.settle_boot(&vm);
    }

    /// With its last connection a VM's boot instance ends, and with it the account at the memory server.
    fn settle_boot(&mut self, vm: &VmName) {
        let waiting = self.waiting.count(vm);
        if let Some(entry) = self.vms.get_mut(vm)
            && entry.connections == 0
            && waiting == 0
        {
            entry.boot = None;
            self.memory.forget(vm);
            self.stand_ins.vm_idle(vm);
        }
    }
}
