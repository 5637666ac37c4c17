// SPDX-License-Identifier: MIT OR Apache-2.0
//! One table of clients: whose each is, and all that is known of it. What leaves the table is forgotten everywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use heraldry_gate::Globals;
use heraldry_identity::VmName;
use heraldry_relay::{Admission, ClientKey};
use smithay::wayland::compositor::CompositorClientState;
use wayland_server::Client;
use wayland_server::backend::{ClientData, ClientId, DisconnectReason};

use crate::input::ping::Pings;

/// What the log says when Smithay ends a client by an error of its own.
pub const LET_THROUGH: &str = "Smithay ended a client that the gate let through";

/// One client, from its admission to its end.
#[derive(Debug)]
pub struct Record {
    /// Its VM.
    pub vm: VmName,
    /// `None` while the VM's relay opens the connection.
    pub connection: Option<Client>,
    /// It asked for touches; the others get a finger as the pointer.
    pub takes_touch: bool,
    /// It asked for tablets' pens.
    pub takes_pen: bool,
    /// Whether it answers, once it has a window.
    pub(crate) pings: Option<Pings>,
}

/// All clients of all VMs.
#[derive(Debug, Default)]
pub struct Clients {
    records: BTreeMap<ClientKey, Record>,
    last: u64,
    /// Connections that have ended.
    pub disconnects: Disconnects,
}

impl Clients {
    /// A client of `vm` was admitted and is about to be opened. Its number is unique for the life of the process.
    pub(super) fn admit(&mut self, vm: VmName) -> ClientKey {
        self.last = self.last.saturating_add(1);
        let key = ClientKey(self.last);
        let record = Record {
            vm,
            connection: None,
            takes_touch: false,
            takes_pen: false,
            pings: None,
        };
        self.records.insert(key, record);
        key
    }

    /// Forgets a client.
    pub(super) fn remove(&mut self, key: ClientKey) -> Option<Record> {
        self.records.remove(&key)
    }

    /// A client by its number.
    #[must_use]
    pub fn get(&self, key: ClientKey) -> Option<&Record> {
        self.records.get(&key)
    }

    /// A client by its number, to change.
    pub fn get_mut(&mut self, key: ClientKey) -> Option<&mut Record> {
        self.records.get_mut(&key)
    }

    /// All clients.
    pub fn iter(&self) -> impl Iterator<Item = (ClientKey, &Record)> {
        self.records.iter().map(|(key, record)| (*key, record))
    }

    /// All clients, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ClientKey, &mut Record)> {
        self.records.iter_mut().map(|(key, record)| (*key, record))
    }

    /// The clients of a VM, also those that are being opened.
    pub fn of(&self, vm: &VmName) -> impl Iterator<Item = (ClientKey, &Record)> {
        self.iter().filter(move |(_, record)| record.vm == *vm)
    }

    /// How many clients of a VM are connected.
    #[must_use]
    pub fn connected(&self, vm: &VmName) -> usize {
        self.of(vm)
            .filter(|(_, record)| record.connection.is_some())
            .count()
    }
}

/// Smithay has ended a client by an error of its own: a rule that the gate lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmithayError {
    /// The interface of the object that the client was told about.
    pub interface: String,
    /// That object.
    pub object: u32,
    /// The error's code. Its text may hold what the client said, and is not kept.
    pub code: u32,
}

/// A connection that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Which.
    pub key: ClientKey,
    /// What Smithay ended it for, if it did.
    pub error: Option<SmithayError>,
}

/// Connections that have ended and wait for [`crate::tick`].
///
/// `disconnected` runs under the backend's lock, where nothing may be called: it only makes a note here.
#[derive(Debug, Clone, Default)]
pub struct Disconnects(Arc<Mutex<Vec<Disconnect>>>);

impl Disconnects {
    fn note(&self, disconnect: Disconnect) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(disconnect);
    }

    /// Takes what was noted since the last call; a client may appear twice.
    pub fn take(&self) -> Vec<Disconnect> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// What wayland-backend keeps with each client. Fixed before the client's first byte, never changed.
#[derive(Debug)]
pub struct ClientState {
    /// The VM, as the host daemon named it.
    pub vm: VmName,
    /// The connection.
    pub key: ClientKey,
    /// Smithay's part.
    pub compositor: CompositorClientState,
    /// What its registry shows.
    pub globals: Globals,
    disconnects: Disconnects,
}

impl ClientState {
    /// Data for a connection.
    #[must_use]
    pub fn new(admission: Admission, disconnects: Disconnects) -> Self {
        let Admission { key, vm, globals } = admission;
        Self {
            vm,
            key,
            globals,
            compositor: CompositorClientState::default(),
            disconnects,
        }
    }
}

impl ClientData for ClientState {
    fn initialized(&self, _client: ClientId) {}

    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        let error = match reason {
            DisconnectReason::ProtocolError(error) => Some(SmithayError {
                interface: error.object_interface,
                object: error.object_id,
                code: error.code,
            }),
            DisconnectReason::ConnectionClosed => None,
        };
        let key = self.key;
        self.disconnects.note(Disconnect { key, error });
    }
}
