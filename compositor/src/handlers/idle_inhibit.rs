// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows that want the screen to stay lit.

use smithay::delegate_idle_inhibit;
use smithay::wayland::idle_inhibit::IdleInhibitHandler;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

impl IdleInhibitHandler for State {
    fn inhibit(&mut self, _surface: WlSurface) {}
    fn uninhibit(&mut self, _surface: WlSurface) {}
}

delegate_idle_inhibit!(State);
