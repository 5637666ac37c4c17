// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of one Wayland client: whose it is. Fixed before its first byte, never changed.

use std::sync::{Arc, Mutex};

use heraldry_config::VmName;
use smithay::wayland::compositor::CompositorClientState;
use wayland_server::backend::{ClientData, ClientId, DisconnectReason};

/// Number of a connection, unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub u64);

/// Connections that have ended and wait for [`crate::tick`].
///
/// `disconnected` runs under the backend's lock, where nothing may be called: it only notes the key here.
#[derive(Debug, Clone, Default)]
pub struct Departures(Arc<Mutex<Vec<ClientKey>>>);

impl Departures {
    fn note(&self, key: ClientKey) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(key);
    }

    /// Takes what was noted since the last call; a key may appear twice.
    pub fn take(&self) -> Vec<ClientKey> {
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
    departures: Departures,
}

impl ClientState {
    /// Data for a connection of `vm`.
    #[must_use]
    pub fn new(vm: VmName, key: ClientKey, departures: Departures) -> Self {
        Self {
            vm,
            key,
            compositor: CompositorClientState::default(),
            departures,
        }
    }
}

impl ClientData for ClientState {
    fn initialized(&self, _client: ClientId) {}

    fn disconnected(&self, _client: ClientId, _reason: DisconnectReason) {
        self.departures.note(self.key);
    }
}
