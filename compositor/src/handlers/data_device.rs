// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clipboard and drag inside one VM. Nothing here crosses from one VM to another: every VM has a
//! seat of its own, and selections live in seats.

use smithay::delegate_data_device;
use smithay::input::Seat;
use smithay::wayland::selection::SelectionHandler;
use smithay::wayland::selection::data_device::{
    ClientDndGrabHandler, DataDeviceHandler, DataDeviceState, ServerDndGrabHandler,
};
use wayland_server::protocol::wl_data_source::WlDataSource;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

impl SelectionHandler for State {
    type SelectionUserData = ();
}

impl DataDeviceHandler for State {
    fn data_device_state(&self) -> &DataDeviceState {
        &self.core.globals.data_device
    }
}

impl ClientDndGrabHandler for State {
    fn started(&mut self, _source: Option<WlDataSource>, icon: Option<WlSurface>, seat: Seat<Self>) {
        let Self { core, .. } = self;
        if let Some(vm) = core.vms.by_seat(&seat) {
            // Smithay asks only for the serial of a running grab, which a menu has without any button.
            vm.unfounded_drag = !core.input.holds_button(&vm.name) && !core.input.touches.is_on(&vm.name);
            vm.drag_icon = icon;
            self.core.render.schedule();
        }
    }

    fn dropped(&mut self, _target: Option<WlSurface>, _validated: bool, seat: Seat<Self>) {
        if let Some(vm) = self.core.vms.by_seat(&seat) {
            vm.drag_icon = None;
            self.core.render.schedule();
        }
    }
}

impl ServerDndGrabHandler for State {}

delegate_data_device!(State);
