// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scales that are no whole number: a surface is told that of the screen it is on.

use smithay::delegate_fractional_scale;
use smithay::wayland::compositor::with_states;
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

impl FractionalScaleHandler for State {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        let window = self.core.windows.owning(&self.core.popups, &surface);
        let screen = window.and_then(|id| self.core.outputs.get(self.core.screen_of_window(id)));
        let scale = screen.unwrap_or_else(|| self.core.outputs.first()).scale();
        with_states(&surface, |states| {
            with_fractional_scale(states, |fractional| fractional.set_preferred_scale(scale));
        });
    }
}

delegate_fractional_scale!(State);
