// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that app VMs can reach: their listeners, and the client's end of a splice.

use std::os::fd::{AsFd, OwnedFd};

use heraldry_config::{UnsealedMemory, VmVerdict};
use heraldry_virtio::wire::VmName;
use heraldry_virtio::wire::display::HostRecord;
use rustix::event::epoll::{self, EventFlags};
use rustix::net::{SocketFlags, acceptfrom_with};
use tracing::{debug, info, warn};

use super::{Active, Daemon, Key, LogBudget, VmEntry};
use crate::listeners::{ListenError, Listener};
use crate::splice::{Side, Splice};

impl Daemon {
    /// Brings the listeners in line with the configuration: new VMs can connect, those that are gone cannot.
    pub(super) fn open_listeners(&mut self) -> Result<(), ListenError> {
        let configured: Vec<(VmName, Option<heraldry_config::Owner>)> = self
            .config
            .vms
            .values()
            .filter_map(|vm| Some((VmName::new(vm.name.as_str()).ok()?, vm.owner.clone())))
            .collect();
        let gone: Vec<VmName> = self
            .vms
            .keys()
            .filter(|name| configured.iter().all(|(known, _)| known != *name))
            .cloned()
            .collect();
        for vm in gone {
            self.vms.remove(&vm);
            self.active.retain(|_, active| active.vm != vm);
            for number in self.waiting.numbers() {
                if self.waiting.get(number).is_some_and(|pending| pending.vm == vm) {
                    self.withdraw(number, "its VM is no longer configured");
                }
            }
            info!(%vm, "VM removed");
        }
        for (name, owner) in configured {
            if self.vms.contains_key(&name) {
                continue;
            }
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
                    boot: None,
                    connections: 0,
                    log: LogBudget::new(),
                },
            );
        }
        Ok(())
    }

    /// A client of a VM connects.
    pub(super) fn accept_client(&mut self, id: u64) {
        let Some((name, vm)) = self.vms.iter_mut().find(|(_, vm)| vm.id == id) else {
            return;
        };
        let name = name.clone();
        let Ok(client) = acceptfrom_with(&vm.listener.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
            .map(|(fd, _)| fd)
        else {
            return;
        };
        let limit = usize::try_from(self.config.host.connections_per_vm).unwrap_or(usize::MAX);
        if vm.connections.saturating_add(self.waiting.count(&name)) >= limit {
            if let Some(dropped) = vm.log.allow() {
                warn!(vm = %name, limit, dropped, "connection refused: the VM has its limit open");
            }
            return;
        }
        let boot = match vm.boot {
            Some(boot) => boot,
            None => {
                // The first connection after none: the VM has started, as far as anybody can see from here.
                let fresh = getrandom::u64().unwrap_or(0).max(1);
                vm.boot = Some(fresh);
                fresh
            }
        };
        self.counters.accepted += 1;
        let Ok(number) = self
            .waiting
            .add(client, name.clone(), boot, self.config.host.withdraw_after)
        else {
            warn!("connection refused: the kernel gives no random numbers");
            return;
        };
        debug!(vm = %name, number, "client connected");
        if let Some(pending) = self.waiting.get(number) {
            // Only the hang-up matters until the compositor takes it; the bytes wait in the socket.
            let watched = epoll::add(
                &self.epoll,
                pending.client.as_fd(),
                Key::Pending(number).pack(),
                EventFlags::RDHUP,
            );
            if watched.is_err() {
                self.waiting.remove(number);
                return;
            }
        }
        if let Some(record) = self.waiting.announcement(number) {
            self.announce(&record);
        }
    }

    /// A waiting client hung up.
    pub(super) fn pending_gone(&mut self, number: u64) {
        self.withdraw(number, "the client left");
    }

    /// Takes an announcement back and ends its client.
    pub(super) fn withdraw(&mut self, number: u64, why: &str) {
        let Some(pending) = self.waiting.remove(number) else {
            return;
        };
        self.counters.withdrawn += 1;
        debug!(vm = %pending.vm, number, why, "withdrawn");
        self.announce(&HostRecord::Withdraw { number });
        self.settle_boot(&pending.vm);
    }

    /// Joins a client with the compositor's connection.
    pub(super) fn join(&mut self, vm: VmName, client: OwnedFd, compositor: OwnedFd) {
        let Some(entry) = self.vms.get_mut(&vm) else {
            return;
        };
        let name = vm.as_str().parse();
        let unsealed = match name.as_ref().map(|name| self.config.vm(name)) {
            Ok(VmVerdict::Known(settings)) => settings.rules.unsealed_memory,
            _ => UnsealedMemory::Refuse,
        };
        entry.connections += 1;
        let max_fds = usize::try_from(self.config.host.descriptors_per_connection).unwrap_or(256);
        let id = self.fresh_id();
        let splice = Splice::new(client, compositor, unsealed, max_fds);
        // The client's socket was watched for a hang-up while it waited.
        let _not_watched = epoll::delete(&self.epoll, splice.fd(Side::Client));
        for side in [Side::Client, Side::Compositor] {
            let key = Key::Splice(id, side).pack();
            if let Err(errno) = epoll::add(&self.epoll, splice.fd(side), key, splice.interest(side)) {
                warn!(%vm, %errno, "a connection cannot be watched");
                return;
            }
        }
        self.active.insert(id, Active { vm, splice });
    }

    /// Moves what can be moved on a spliced connection.
    pub(super) fn splice(&mut self, id: u64, side: Side, flags: EventFlags) {
        let Some(active) = self.active.get_mut(&id) else {
            return;
        };
        if let Err(end) = active.splice.progress(side, flags) {
            let vm = active.vm.clone();
            let (up, down) = active.splice.traffic();
            if end.is_fault() {
                self.counters.faults += 1;
                if let Some(dropped) = self.vms.get_mut(&vm).and_then(|vm| vm.log.allow()) {
                    let cause = std::error::Error::source(&end)
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    warn!(%vm, end = %end, cause, dropped, "connection ended for a broken rule");
                }
            } else {
                debug!(%vm, end = %end, up = up.bytes, down = down.bytes, "connection ended");
            }
            self.active.remove(&id);
            if let Some(entry) = self.vms.get_mut(&vm) {
                entry.connections = entry.connections.saturating_sub(1);
            }
            self.settle_boot(&vm);
            return;
        }
        for side in [Side::Client, Side::Compositor] {
            let key = Key::Splice(id, side).pack();
            // It was added when the connection was joined; it cannot be missing.
            let _added = epoll::modify(
                &self.epoll,
                active.splice.fd(side),
                key,
                active.splice.interest(side),
            );
        }
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
        }
    }
}
