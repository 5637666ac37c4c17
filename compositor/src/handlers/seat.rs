// SPDX-License-Identifier: MIT OR Apache-2.0
//! Seats: what clients say about the pointer's picture.

use smithay::input::pointer::CursorImageStatus;
use smithay::input::{Seat, SeatHandler, SeatState};
use smithay::wayland::tablet_manager::TabletSeatHandler;
use smithay::{delegate_cursor_shape, delegate_seat};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

impl SeatHandler for State {
    type KeyboardFocus = WlSurface;
    type PointerFocus = WlSurface;
    type TouchFocus = WlSurface;

    fn seat_state(&mut self) -> &mut SeatState<Self> {
        &mut self.core.seats
    }

    fn cursor_image(&mut self, seat: &Seat<Self>, image: CursorImageStatus) {
        if let Some(vm) = self.core.vms.by_seat(seat) {
            vm.cursor = image;
            self.core.render.schedule();
        }
    }
}

// The cursor-shape protocol of the library names tablets too; no tablet is offered.
impl TabletSeatHandler for State {}

delegate_seat!(State);
delegate_cursor_shape!(State);
