// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serial numbers and names of globals as one client sees them.
//!
//! The compositor counts both for all clients together, so their gaps would tell a VM how much input, how many windows
//! and how many seats the others have. Each client gets numbers of its own without gaps, and what it sends back is
//! turned into the compositor's.

use std::collections::{HashMap, VecDeque};

use wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_device_v1;
use wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_v1;
use wayland_protocols::xdg::shell::server::{xdg_popup, xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_server::protocol::{wl_data_device, wl_data_offer, wl_keyboard, wl_pointer, wl_touch};

/// Serials that are remembered. An older one has no use: grabs and selections want one of the last moments.
const REMEMBERED: usize = 4096;

/// A serial may be sent in several events that belong together (`enter` and `modifiers`); this many are looked at.
const TOGETHER: usize = 16;

/// What stands for a serial that was never sent: the compositor's count leaves it out.
const NEVER: u32 = 0;

/// The serials of one client.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    /// The last number given to the client.
    last: u32,
    /// The compositor's serials behind the newest numbers, oldest first.
    sent: VecDeque<u32>,
}

impl Serials {
    /// The client's number for a serial of the compositor.
    pub(crate) fn hand_out(&mut self, serial: u32) -> u32 {
        let known = self
            .sent
            .iter()
            .rev()
            .take(TOGETHER)
            .position(|sent| *sent == serial);
        if let Some(ago) = known {
            return self.last.wrapping_sub(u32::try_from(ago).unwrap_or(0));
        }
        // The client never sees the number that means "never".
        self.last = self.last.wrapping_add(1).max(1);
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(serial);
        self.last
    }

    /// The compositor's serial behind a number of the client; one that no event ever has if it was not sent, or long
    /// ago.
    pub(crate) fn redeem(&self, number: u32) -> u32 {
        let ago = usize::try_from(self.last.wrapping_sub(number)).unwrap_or(usize::MAX);
        let at = self
            .sent
            .len()
            .checked_sub(1)
            .and_then(|newest| newest.checked_sub(ago));
        at.and_then(|at| self.sent.get(at)).copied().unwrap_or(NEVER)
    }
}

/// The names of globals of one client.
#[derive(Debug, Default)]
pub(crate) struct Names {
    to_client: HashMap<u32, u32>,
}

impl Names {
    /// The client's name for a global of the compositor, given at its first announcement.
    pub(crate) fn announce(&mut self, name: u32) -> u32 {
        let next = u32::try_from(self.to_client.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        *self.to_client.entry(name).or_insert(next)
    }

    /// The client's name for a global that was announced.
    pub(crate) fn known(&self, name: u32) -> Option<u32> {
        self.to_client.get(&name).copied()
    }
}

/// Which argument of an event is a serial. The protocols' tables do not say it, so this is a list.
pub(crate) fn of_event(interface: &str, opcode: u16) -> Option<usize> {
    let has = match interface {
        "wl_keyboard" => matches!(
            opcode,
            wl_keyboard::EVT_ENTER_OPCODE
                | wl_keyboard::EVT_LEAVE_OPCODE
                | wl_keyboard::EVT_KEY_OPCODE
                | wl_keyboard::EVT_MODIFIERS_OPCODE
        ),
        "wl_pointer" => matches!(
            opcode,
            wl_pointer::EVT_ENTER_OPCODE | wl_pointer::EVT_LEAVE_OPCODE | wl_pointer::EVT_BUTTON_OPCODE
        ),
        "wl_touch" => matches!(opcode, wl_touch::EVT_DOWN_OPCODE | wl_touch::EVT_UP_OPCODE),
        "wl_data_device" => opcode == wl_data_device::EVT_ENTER_OPCODE,
        "xdg_surface" => opcode == xdg_surface::EVT_CONFIGURE_OPCODE,
        "xdg_wm_base" => opcode == xdg_wm_base::EVT_PING_OPCODE,
        _ => false,
    };
    has.then_some(0)
}

/// Which argument of a request is a serial.
pub(crate) fn of_request(interface: &str, opcode: u16) -> Option<usize> {
    match (interface, opcode) {
        ("wl_pointer", wl_pointer::REQ_SET_CURSOR_OPCODE)
        | ("wl_data_offer", wl_data_offer::REQ_ACCEPT_OPCODE)
        | ("xdg_surface", xdg_surface::REQ_ACK_CONFIGURE_OPCODE)
        | ("xdg_wm_base", xdg_wm_base::REQ_PONG_OPCODE)
        | ("wp_cursor_shape_device_v1", wp_cursor_shape_device_v1::REQ_SET_SHAPE_OPCODE) => Some(0),
        ("wl_data_device", wl_data_device::REQ_SET_SELECTION_OPCODE)
        | ("zwp_primary_selection_device_v1", zwp_primary_selection_device_v1::REQ_SET_SELECTION_OPCODE)
        | (
            "xdg_toplevel",
            xdg_toplevel::REQ_SHOW_WINDOW_MENU_OPCODE
            | xdg_toplevel::REQ_MOVE_OPCODE
            | xdg_toplevel::REQ_RESIZE_OPCODE,
        )
        | ("xdg_popup", xdg_popup::REQ_GRAB_OPCODE) => Some(1),
        ("wl_data_device", wl_data_device::REQ_START_DRAG_OPCODE) => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_sees_no_gaps() {
        let mut serials = Serials::default();
        let seen: Vec<u32> = [7, 7, 900, 901, 5_000, 900]
            .map(|serial| serials.hand_out(serial))
            .to_vec();
        assert_eq!(seen, [1, 1, 2, 3, 4, 2]);
        assert_eq!(
            [1, 2, 3, 4].map(|number| serials.redeem(number)),
            [7, 900, 901, 5_000]
        );
    }

    #[test]
    fn numbers_that_were_not_sent_are_worth_nothing() {
        let mut serials = Serials::default();
        assert_eq!(serials.redeem(0), NEVER);
        assert_eq!(serials.redeem(1), NEVER);
        serials.hand_out(50);
        assert_eq!(
            [0, 2, 50, u32::MAX].map(|number| serials.redeem(number)),
            [NEVER; 4]
        );
    }

    #[test]
    fn old_serials_are_forgotten_and_memory_is_bounded() {
        let mut serials = Serials::default();
        for serial in 1..20_000 {
            serials.hand_out(serial);
        }
        assert_eq!(serials.sent.len(), REMEMBERED);
        assert_eq!(serials.redeem(1), NEVER);
        assert_eq!(serials.redeem(19_999), 19_999);
    }
}
