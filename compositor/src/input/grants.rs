// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user's hand has granted a client: a press names the client that got it, by its serial.
//!
//! A client asks in its turn, and is given at the end of a turn, which may be long. By then the hand may be elsewhere, on
//! another VM's window, so the press that was named is looked up both times. That some button is down proves nothing.

use heraldry_identity::VmName;
use smithay::utils::Serial;
use wayland_server::Resource;

use super::Drag;
use crate::desktop::layout::{Edges, WindowId};
use crate::state::{Core, State};

/// The press that a client named when it asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press(pub Serial);

/// With what the user holds a press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hand {
    Pointer,
    Pen,
    Finger,
}

impl Core {
    /// With what the user holds this press right now, if it is on the client that a window is of.
    fn hand_of(&self, id: WindowId, press: Press) -> Option<Hand> {
        let window = self.windows.get(id)?;
        let seat = &self.vms.get(&window.vm)?.seat;
        let pointer = seat.get_pointer().filter(|pointer| pointer.has_grab(press.0));
        let pointer = pointer.filter(|_| self.input.holds_button(&window.vm));
        let touch = seat.get_touch().filter(|touch| touch.has_grab(press.0));
        let touch = touch.filter(|_| self.input.touches.is_on(&window.vm));
        let (hand, focus) = if let Some(pointer) = pointer {
            (Hand::Pointer, pointer.grab_start_data()?.focus?.0)
        } else if let Some(surface) = self.input.pens.pressed_on(press.0) {
            (Hand::Pen, surface.clone())
        } else {
            (Hand::Finger, touch?.grab_start_data()?.focus?.0)
        };
        let of = window.toplevel.wl_surface().id();
        focus.id().same_client_as(&of).then_some(hand)
    }

    /// Whether the user holds this press right now, on the client that a window is of.
    pub(crate) fn holds(&self, id: WindowId, press: Press) -> bool {
        self.hand_of(id, press).is_some()
    }
}

impl State {
    /// A client's window follows what the user holds on it, if that is still so.
    pub(super) fn start_granted(&mut self, id: WindowId, edges: Option<Edges>, press: Press) {
        let follows = match self.core.hand_of(id, press) {
            None => false,
            Some(Hand::Pointer) => true,
            Some(Hand::Pen) => self.pen_takes_over(id),
            Some(Hand::Finger) => self.finger_takes_over(id),
        };
        if follows {
            self.start_drag(id, edges);
        }
    }

    /// A VM's windows are out of sight: what the user holds of it or on it is held no more, and goes to nobody until it is
    /// let go.
    pub(crate) fn take_from_hand(&mut self, vm: &VmName) {
        if self.core.input.touches.is_on(vm) {
            self.take_fingers(vm);
        }
        if self.core.input.pens.is_near(vm) {
            self.pen_away();
        }
        let dragged = match self.core.input.drag {
            Drag::Move(id, ..) | Drag::Resize(id, ..) | Drag::Press(id, _) => self.core.windows.get_mut(id),
            Drag::None | Drag::Swallow => None,
        };
        if let Some(window) = dragged.filter(|window| window.vm == *vm) {
            window.resizing = false;
            let id = window.id;
            self.core.windows.layout.touch(id);
            self.core.input.drag = Drag::Swallow;
        } else if self.core.input.holds_button(vm) {
            self.clear_pointer_focus();
            self.core.input.drag = Drag::Swallow;
        }
    }
}
