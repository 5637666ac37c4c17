// SPDX-License-Identifier: MIT OR Apache-2.0
//! A popup that takes the input of its VM: who may, and how it ends.

use smithay::desktop::{
    PopupKeyboardGrab, PopupKind, PopupManager, PopupPointerGrab, find_popup_root_surface,
};
use smithay::input::Seat;
use smithay::input::pointer::Focus;
use smithay::utils::Serial;
use smithay::wayland::shell::xdg::PopupSurface;
use wayland_server::protocol::wl_seat::WlSeat;

use crate::desktop::layout::WindowId;
use crate::state::State;

impl State {
    /// A popup wants all input of its VM, until it is closed.
    pub(super) fn grab_popup(&mut self, surface: &PopupSurface, seat: &WlSeat, serial: Serial) {
        let popup = PopupKind::Xdg(surface.clone());
        let (Some(seat), Ok(root)) = (Seat::<Self>::from_resource(seat), find_popup_root_surface(&popup))
        else {
            surface.send_popup_done();
            return;
        };
        // The gate turns a serial that was never sent into 0.
        if u32::from(serial) == 0 {
            surface.send_popup_done();
            return;
        }
        // Only a window that has the keyboard may open a menu that takes the input.
        let focused = self.core.input.focus().and_then(|id| self.core.windows.get(id));
        if focused.is_none_or(|window| *window.toplevel.wl_surface() != root) {
            surface.send_popup_done();
            return;
        }
        let (Some(keyboard), Some(pointer)) = (seat.get_keyboard(), seat.get_pointer()) else {
            return;
        };
        if !self.may_grab(surface, &seat) {
            surface.send_popup_done();
            return;
        }
        let Ok(mut grab) = self.core.popups.grab_popup(root, popup, &seat, serial) else {
            return;
        };
        let stale = |held: bool, has: bool, previous: bool| held && !(has || previous);
        let previous = grab.previous_serial().unwrap_or(grab.serial());
        if stale(
            keyboard.is_grabbed(),
            keyboard.has_grab(serial),
            keyboard.has_grab(previous),
        ) || stale(
            pointer.is_grabbed(),
            pointer.has_grab(serial),
            pointer.has_grab(previous),
        ) {
            grab.ungrab(smithay::desktop::PopupUngrabStrategy::All);
            return;
        }
        keyboard.set_focus(self, grab.current_grab(), serial);
        keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
        if let Some(vm) = self.core.vms.by_seat(&seat) {
            vm.popup_grab = Some(grab);
        }
    }

    /// Closes all popups of a window, the innermost first.
    pub fn dismiss_popups(&mut self, id: WindowId) {
        let Some(window) = self.core.windows.get(id) else {
            return;
        };
        let root = window.toplevel.wl_surface().clone();
        for (popup, _) in window.popups() {
            // Already gone is as good as dismissed.
            let _gone = PopupManager::dismiss_popup(&root, &popup);
        }
    }
}
