// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a VM's connection to a client of the display.

use std::os::unix::net::UnixStream;

use heraldry_config::VmName;

use super::ConnectError;
use crate::state::State;

/// One accepted connection, before anything of it was read.
#[derive(Debug)]
pub enum Endpoint {
    /// A development socket's stream.
    Socket(UnixStream),
}

/// The transports.
#[derive(Debug, Default)]
pub struct Link {}

impl State {
    /// Takes a connection of `vm`.
    pub fn take(&mut self, vm: &VmName, endpoint: Endpoint) -> Result<(), ConnectError> {
        let key = self.core.vms.next_key();
        match endpoint {
            Endpoint::Socket(stream) => self.core.connect(vm, key, stream),
        }
    }
}
