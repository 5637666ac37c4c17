// SPDX-License-Identifier: MIT OR Apache-2.0
//! Buffers in shared memory.

use smithay::delegate_shm;
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::shm::{ShmHandler, ShmState};
use wayland_server::protocol::wl_buffer::WlBuffer;

use crate::state::State;

impl BufferHandler for State {
    fn buffer_destroyed(&mut self, _buffer: &WlBuffer) {}
}

impl ShmHandler for State {
    fn shm_state(&self) -> &ShmState {
        &self.core.globals.shm
    }
}

delegate_shm!(State);
