// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a connection is admitted: the configuration is asked once, and what it says goes with the connection to the VM's
//! relay and comes back with the stream.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use heraldry_identity::VmName;
use heraldry_relay::{Admission, ClientKey, Endpoint, NewClient};
use tracing::{debug, warn};
use wayland_server::backend::DisconnectReason;

use super::clients::ClientState;
use crate::state::{Core, State};

/// Why a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The policy knows no such VM and refuses unknown ones.
    #[error("VM {0} is not in the configuration and unknown VMs are refused")]
    UnknownVm(VmName),
    /// The VM is at its limit.
    #[error("VM {vm} already has {limit} clients")]
    TooManyClients {
        /// The VM.
        vm: VmName,
        /// Its limit.
        limit: u64,
    },
    /// No transport was opened, so nobody hears of connections.
    #[error("connections are not taken yet")]
    NotReady,
    /// The VM's thread could not be started.
    #[error("cannot start the relay of VM {vm}")]
    Relay {
        /// The VM.
        vm: VmName,
        /// Why.
        source: std::io::Error,
    },
    /// wayland-backend did not take the stream.
    #[error("cannot insert the client of VM {vm}")]
    Insert {
        /// The VM.
        vm: VmName,
        /// Why.
        source: std::io::Error,
    },
}

impl Core {
    /// Decides of a connection of a VM, which gets its record if it has none yet.
    pub fn admit(&mut self, vm: &VmName) -> Result<Admission, ConnectError> {
        if !self.ensure_vm(vm) {
            return Err(ConnectError::UnknownVm(vm.clone()));
        }
        let Some(record) = self.vms.get(vm) else {
            return Err(ConnectError::UnknownVm(vm.clone()));
        };
        let limit = record.limits().clients;
        if u64::try_from(self.clients.of(vm).count()).unwrap_or(u64::MAX) >= limit {
            return Err(ConnectError::TooManyClients {
                vm: vm.clone(),
                limit,
            });
        }
        let allowed = record.config.rules.globals.allowed.iter();
        let globals = allowed
            .map(|(interface, rule)| (interface.to_string(), rule.max_version))
            .collect();
        Ok(Admission {
            key: self.clients.admit(vm.clone()),
            vm: vm.clone(),
            globals,
        })
    }

    /// Takes the compositor's end of an admitted connection.
    pub fn connect(&mut self, admission: Admission, stream: UnixStream) -> Result<(), ConnectError> {
        let key = admission.key;
        let connected = self.insert(admission, stream);
        if connected.is_err() {
            self.clients.remove(key);
        }
        connected
    }

    fn insert(&mut self, admission: Admission, stream: UnixStream) -> Result<(), ConnectError> {
        let (key, vm) = (admission.key, admission.vm.clone());
        let disconnects = self.clients.disconnects.clone();
        // One that was refused by a reload meanwhile has lost its place.
        let (Some(client), Some(entry)) = (self.clients.get_mut(key), self.vms.get_mut(&vm)) else {
            return Err(ConnectError::UnknownVm(vm));
        };
        let failed = |source| ConnectError::Insert {
            vm: vm.clone(),
            source,
        };
        self.dispatcher.watch(&stream, key).map_err(failed)?;
        let unread = entry.limits().unread_kib.saturating_mul(4 * 1024);
        let data = ClientState::new(admission, disconnects);
        let inserted = self
            .display_handle
            .insert_client(stream, Arc::new(data))
            .map_err(failed)?;
        // The relay reads at once, counts what the client does not, and takes it apart in slices; this is the last resort.
        let most = usize::try_from(unread).unwrap_or(usize::MAX);
        inserted.set_max_buffer_size(&self.display_handle, most);
        client.connection = Some(inserted);
        entry.connections = entry.connections.saturating_add(1);
        debug!(%vm, client = key.0, "client connected");
        Ok(())
    }

    /// A connection that was admitted is gone before it was open.
    pub(super) fn not_opened(&mut self, key: ClientKey) {
        if let Some(record) = self.clients.remove(key) {
            debug!(vm = %record.vm, client = key.0, "a connection was gone before it was open");
        }
    }

    /// A connection was refused: one log line, unless the VM has caused too many.
    pub fn refused(&mut self, vm: &VmName, error: &ConnectError) {
        let Some(entry) = self.vms.get_mut(vm) else {
            self.refused_unknown.log(
                Instant::now(),
                |more| warn!(more, "more connections of unknown VMs were refused"),
                || warn!(%vm, %error, "client refused"),
            );
            return;
        };
        entry.load.refused_connections = entry.load.refused_connections.saturating_add(1);
        entry.log.log(
            Instant::now(),
            |more| warn!(%vm, more, "more clients were refused"),
            || warn!(%vm, %error, "client refused"),
        );
    }

    /// Disconnects every client of a VM.
    pub fn disconnect(&mut self, vm: &VmName) {
        let mut opening = Vec::new();
        for (key, client) in self.clients.of(vm) {
            // The relay takes the client apart in slices; one without a relay goes at once.
            let closing = self.transports.close(vm, key);
            match &client.connection {
                None => opening.push(key),
                Some(_) if closing => {}
                Some(connection) => self
                    .display_handle
                    .backend_handle()
                    .kill_client(connection.id(), DisconnectReason::ConnectionClosed),
            }
        }
        for key in opening {
            self.not_opened(key);
        }
    }
}

impl State {
    /// Takes a connection of `vm`: asks the policy, then leaves it to the VM's own thread.
    pub fn take(&mut self, vm: &VmName, endpoint: Endpoint) -> Result<(), ConnectError> {
        let admission = self.core.admit(vm)?;
        let key = admission.key;
        let handed = self.core.relay(vm).map(|relay| {
            relay.take(NewClient { admission, endpoint });
        });
        if handed.is_err() {
            self.core.not_opened(key);
        }
        handed
    }
}
