// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of one Wayland client: whose it is. Fixed before its first byte, never changed.

use std::sync::{Arc, Mutex};

use heraldry_gate::Globals;
use heraldry_identity::VmName;
use heraldry_relay::ClientKey;
use smithay::wayland::compositor::CompositorClientState;
use wayland_server::backend::{ClientData, ClientId, DisconnectReason};

/// What the log says when the library ends a client by an error of its own.
pub const LET_THROUGH: &str = "the library ended a client that the gate let through";

/// The library has ended a client by an error of its own: a rule that the gate lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryError {
    /// The interface of the object that the client was told about.
    pub interface: String,
    /// That object.
    pub object: u32,
    /// The error's code. Its text may hold what the client said, and is not kept.
    pub code: u32,
}

/// A connection that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Which.
    pub key: ClientKey,
    /// What the library ended it for, if it did.
    pub error: Option<LibraryError>,
}

/// Connections that have ended and wait for [`crate::tick`].
///
/// `disconnected` runs under the backend's lock, where nothing may be called: it only makes a note here.
#[derive(Debug, Clone, Default)]
pub struct Departures(Arc<Mutex<Vec<Departure>>>);

impl Departures {
    fn note(&self, departure: Departure) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(departure);
    }

    /// Takes what was noted since the last call; a client may appear twice.
    pub fn take(&self) -> Vec<Departure> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Data of one Wayland client.
#[derive(Debug)]
pub struct ClientState {
    /// The VM, as the host daemon named it.
    pub vm: VmName,
    /// The connection.
    pub key: ClientKey,
    /// Smithay's part.
    pub compositor: CompositorClientState,
    /// What its registry shows. A reload does not change it: who was told of a global may bind it.
    pub globals: Globals,
    departures: Departures,
}

impl ClientState {
    /// Data for a connection of `vm`.
    #[must_use]
    pub fn new(vm: VmName, key: ClientKey, globals: Globals, departures: Departures) -> Self {
        Self {
            vm,
            key,
            globals,
            compositor: CompositorClientState::default(),
            departures,
        }
    }
}

impl ClientData for ClientState {
    fn initialized(&self, _client: ClientId) {}

    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        let error = match reason {
            DisconnectReason::ProtocolError(error) => Some(LibraryError {
                interface: error.object_interface,
                object: error.object_id,
                code: error.code,
            }),
            DisconnectReason::ConnectionClosed => None,
        };
        let key = self.key;
        self.departures.note(Departure { key, error });
    }
}
