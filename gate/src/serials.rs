// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serial numbers and names of globals as one client sees them.
//!
//! The compositor counts both for all clients together, so their gaps would tell a VM how much input, how many windows
//! and how many seats the others have. Each client gets numbers of its own without gaps, and what it sends back is
//! turned into the compositor's, if it was sent for what the request wants it for.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use wayland_protocols::wp::cursor_shape::v1::server::wp_cursor_shape_device_v1;
use wayland_protocols::wp::primary_selection::zv1::server::zwp_primary_selection_device_v1;
use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2;
use wayland_protocols::xdg::shell::server::{xdg_popup, xdg_surface, xdg_toplevel, xdg_wm_base};
use wayland_server::protocol::{wl_data_device, wl_data_offer, wl_keyboard, wl_pointer, wl_touch};

/// Serials that are remembered. An older one has no use: grabs and selections want one of the last moments.
const REMEMBERED: usize = 4096;

/// A serial may be sent in several events that belong together (`enter` and `modifiers`); this many are looked at.
const TOGETHER: usize = 16;

/// What stands for a serial that was never sent: the compositor's count leaves it out.
pub(crate) const NEVER: u32 = 0;

/// What a serial was sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause(u16);

impl Cause {
    /// The pointer came to a surface.
    pub(crate) const POINTER_ENTER: Self = Self(1);
    /// A button was pressed or released.
    pub(crate) const BUTTON: Self = Self(1 << 1);
    /// The keyboard came to a surface.
    pub(crate) const KEYBOARD_ENTER: Self = Self(1 << 2);
    /// A key was pressed or released.
    pub(crate) const KEY: Self = Self(1 << 3);
    /// A finger went down or up.
    pub(crate) const TOUCH: Self = Self(1 << 4);
    /// A drag came to a surface.
    pub(crate) const DRAG_ENTER: Self = Self(1 << 5);
    /// A sign of life was asked for.
    pub(crate) const PING: Self = Self(1 << 6);
    /// A pen came over a surface.
    pub(crate) const PEN_ENTER: Self = Self(1 << 7);
    /// A pen's tip or button was pressed, or a button released.
    pub(crate) const PEN: Self = Self(1 << 8);
    /// Nothing that any request may name.
    pub(crate) const OTHER: Self = Self(0);
    /// What a user does.
    pub(crate) const PRESS: Self = Self(Self::POINTED.0 | Self::KEY.0);
    /// What they do at a place.
    pub(crate) const POINTED: Self = Self(Self::BUTTON.0 | Self::TOUCH.0 | Self::PEN.0);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where a serial was sent to: a window by its root surface's key; 0 for none.
pub(crate) type Place = u64;

/// What a request wants of the serial that it names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// The argument that is the serial.
    pub(crate) index: usize,
    /// The causes that will do.
    pub(crate) causes: Cause,
    /// Which object the serial must have been sent for.
    pub(crate) of: ClaimOf,
    /// What must not be long ago.
    pub(crate) fresh: Fresh,
    /// Whether the request is dropped if the serial is not good; else it goes on with [`NEVER`].
    pub(crate) drops: bool,
}

/// What the user must remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Nothing.
    No,
    /// The cause of the serial.
    Cause,
    /// That, or anything else that they did in the client's windows. Bridges to X11 name the serial of the last key when
    /// something was marked with the mouse.
    Presence,
}

/// The object that a serial must have been sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimOf {
    /// Any of the client's.
    Any,
    /// The window that the object of the request is, or belongs to.
    ItsWindow,
    /// The window of the surface that the argument names.
    WindowOfArgument(usize),
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    serial: u32,
    causes: Cause,
    place: Place,
    at: Duration,
}

/// The serials of one client.
#[derive(Debug, Default)]
pub(crate) struct Serials {
    /// The last number given to the client.
    last: u32,
    /// The compositor's serials behind the newest numbers, oldest first.
    sent: VecDeque<Sent>,
    now: Duration,
    /// When the client was last told what the user does.
    pressed: Option<Duration>,
    /// The window that pointer, keyboard and pen are in.
    pub(crate) pointer_at: Place,
    pub(crate) keyboard_at: Place,
    pub(crate) pen_at: Place,
}

impl Serials {
    /// Tells the time.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    /// The client's number for a serial of the compositor.
    pub(crate) fn hand_out(&mut self, serial: u32, cause: Cause, place: Place) -> u32 {
        let now = self.now;
        if cause.meets(Cause::PRESS) {
            self.pressed = Some(now);
        }
        let known = self
            .sent
            .iter_mut()
            .rev()
            .take(TOGETHER)
            .enumerate()
            .find(|(_, sent)| sent.serial == serial);
        if let Some((ago, sent)) = known {
            sent.causes = sent.causes.or(cause);
            if place != 0 {
                sent.place = place;
            }
            return self.last.wrapping_sub(u32::try_from(ago).unwrap_or(0));
        }
        // The client never sees the number that means "never".
        self.last = self.last.wrapping_add(1).max(1);
        if self.sent.len() >= REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            serial,
            causes: cause,
            place,
            at: now,
        });
        self.last
    }

    /// The compositor's serial behind a number of the client; [`NEVER`] if it was not sent, long ago, for something else
    /// or for another window.
    pub(crate) fn redeem(&self, number: u32, claim: &Claim, place: Place, age: Duration) -> u32 {
        let ago = usize::try_from(self.last.wrapping_sub(number)).unwrap_or(usize::MAX);
        let at = self
            .sent
            .len()
            .checked_sub(1)
            .and_then(|newest| newest.checked_sub(ago));
        at.and_then(|at| self.sent.get(at))
            .filter(|sent| sent.causes.meets(claim.causes))
            .filter(|sent| claim.of == ClaimOf::Any || sent.place == place)
            .filter(|sent| {
                let recent = |at: Duration| self.now.saturating_sub(at) <= age;
                match claim.fresh {
                    Fresh::No => true,
                    Fresh::Cause => recent(sent.at),
                    Fresh::Presence => recent(sent.at) || self.pressed.is_some_and(recent),
                }
            })
            .map_or(NEVER, |sent| sent.serial)
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

/// Which argument of an event is a serial, and what for. The protocols' tables do not say it, so this is a list.
pub(crate) fn of_event(interface: &str, opcode: u16) -> Option<Cause> {
    Some(match (interface, opcode) {
        ("wl_keyboard", wl_keyboard::EVT_ENTER_OPCODE) => Cause::KEYBOARD_ENTER,
        ("wl_keyboard", wl_keyboard::EVT_KEY_OPCODE) => Cause::KEY,
        ("wl_pointer", wl_pointer::EVT_ENTER_OPCODE) => Cause::POINTER_ENTER,
        ("wl_pointer", wl_pointer::EVT_BUTTON_OPCODE) => Cause::BUTTON,
        ("wl_touch", wl_touch::EVT_DOWN_OPCODE | wl_touch::EVT_UP_OPCODE) => Cause::TOUCH,
        ("zwp_tablet_tool_v2", zwp_tablet_tool_v2::EVT_PROXIMITY_IN_OPCODE) => Cause::PEN_ENTER,
        (
            "zwp_tablet_tool_v2",
            zwp_tablet_tool_v2::EVT_DOWN_OPCODE | zwp_tablet_tool_v2::EVT_BUTTON_OPCODE,
        ) => Cause::PEN,
        ("wl_data_device", wl_data_device::EVT_ENTER_OPCODE) => Cause::DRAG_ENTER,
        ("xdg_wm_base", xdg_wm_base::EVT_PING_OPCODE) => Cause::PING,
        // What answers a configure is judged by `rules::configure`.
        ("wl_keyboard", wl_keyboard::EVT_LEAVE_OPCODE | wl_keyboard::EVT_MODIFIERS_OPCODE)
        | ("wl_pointer", wl_pointer::EVT_LEAVE_OPCODE)
        | ("xdg_surface", xdg_surface::EVT_CONFIGURE_OPCODE) => Cause::OTHER,
        _ => return None,
    })
}

/// Which argument of a request is a serial, and what it must have been sent for.
pub(crate) fn of_request(interface: &str, opcode: u16) -> Option<Claim> {
    let claim = |index, causes, of| Claim {
        index,
        causes,
        of,
        fresh: Fresh::No,
        drops: false,
    };
    let fresh = |index, causes, of| Claim {
        fresh: Fresh::Cause,
        ..claim(index, causes, of)
    };
    Some(match (interface, opcode) {
        ("wl_pointer", wl_pointer::REQ_SET_CURSOR_OPCODE)
        | ("wp_cursor_shape_device_v1", wp_cursor_shape_device_v1::REQ_SET_SHAPE_OPCODE) => {
            claim(0, Cause::POINTER_ENTER.or(Cause::PEN_ENTER), ClaimOf::Any)
        }
        ("zwp_tablet_tool_v2", zwp_tablet_tool_v2::REQ_SET_CURSOR_OPCODE) => {
            claim(0, Cause::PEN_ENTER, ClaimOf::Any)
        }
        ("wl_data_offer", wl_data_offer::REQ_ACCEPT_OPCODE) => claim(0, Cause::DRAG_ENTER, ClaimOf::Any),
        ("xdg_wm_base", xdg_wm_base::REQ_PONG_OPCODE) => claim(0, Cause::PING, ClaimOf::Any),
        // Command-line tools set the selection when their window gets the keyboard.
        ("wl_data_device", wl_data_device::REQ_SET_SELECTION_OPCODE)
        | ("zwp_primary_selection_device_v1", zwp_primary_selection_device_v1::REQ_SET_SELECTION_OPCODE) => {
            Claim {
                drops: true,
                fresh: Fresh::Presence,
                ..claim(1, Cause::PRESS.or(Cause::KEYBOARD_ENTER), ClaimOf::Any)
            }
        }
        (
            "xdg_toplevel",
            xdg_toplevel::REQ_SHOW_WINDOW_MENU_OPCODE
            | xdg_toplevel::REQ_MOVE_OPCODE
            | xdg_toplevel::REQ_RESIZE_OPCODE,
        ) => fresh(1, Cause::POINTED, ClaimOf::ItsWindow),
        ("xdg_popup", xdg_popup::REQ_GRAB_OPCODE) => fresh(1, Cause::PRESS, ClaimOf::ItsWindow),
        ("wl_data_device", wl_data_device::REQ_START_DRAG_OPCODE) => Claim {
            drops: true,
            ..fresh(3, Cause::POINTED, ClaimOf::WindowOfArgument(1))
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Claim = Claim {
        index: 0,
        causes: Cause::BUTTON,
        of: ClaimOf::Any,
        fresh: Fresh::No,
        drops: false,
    };
    const AGE: Duration = Duration::from_secs(60);

    fn hand_out(serials: &mut Serials, serial: u32) -> u32 {
        serials.hand_out(serial, Cause::BUTTON, 1)
    }

    fn redeem(serials: &Serials, number: u32) -> u32 {
        serials.redeem(number, &ANY, 0, AGE)
    }

    #[test]
    fn a_client_sees_no_gaps() {
        let mut serials = Serials::default();
        let seen = [7, 7, 900, 901, 5_000, 900].map(|serial| hand_out(&mut serials, serial));
        assert_eq!(seen, [1, 1, 2, 3, 4, 2]);
        assert_eq!(
            [1, 2, 3, 4].map(|number| redeem(&serials, number)),
            [7, 900, 901, 5_000]
        );
    }

    #[test]
    fn numbers_that_were_not_sent_are_worth_nothing() {
        let mut serials = Serials::default();
        assert_eq!(redeem(&serials, 0), NEVER);
        assert_eq!(redeem(&serials, 1), NEVER);
        hand_out(&mut serials, 50);
        assert_eq!(
            [0, 2, 50, u32::MAX].map(|number| redeem(&serials, number)),
            [NEVER; 4]
        );
    }

    #[test]
    fn a_serial_is_good_for_its_cause_its_window_and_a_while() {
        let mut serials = Serials::default();
        serials.set_time(Duration::from_secs(100));
        let number = serials.hand_out(50, Cause::KEY, 9);
        let press = Claim {
            causes: Cause::PRESS,
            of: ClaimOf::ItsWindow,
            fresh: Fresh::Cause,
            ..ANY
        };
        assert_eq!(serials.redeem(number, &press, 9, AGE), 50);
        assert_eq!(serials.redeem(number, &press, 8, AGE), NEVER, "another window");
        assert_eq!(redeem(&serials, number), NEVER, "a key is no button");
        serials.set_time(Duration::from_secs(160));
        assert_eq!(serials.redeem(number, &press, 9, AGE), 50);
        serials.set_time(Duration::from_secs(161));
        assert_eq!(serials.redeem(number, &press, 9, AGE), NEVER, "long ago");
        // Sent again for something else, it has both causes.
        serials.hand_out(50, Cause::BUTTON, 0);
        assert_eq!(redeem(&serials, number), 50);
        // It was for the window that it was said for last.
        serials.set_time(Duration::from_secs(100));
        let of = |serials: &Serials, window| {
            let old = Claim {
                fresh: Fresh::No,
                ..press
            };
            serials.redeem(number, &old, window, AGE)
        };
        assert_eq!([9, 0].map(|window| of(&serials, window)), [50, NEVER]);
        serials.hand_out(50, Cause::KEY, 7);
        assert_eq!([9, 7].map(|window| of(&serials, window)), [NEVER, 50]);
    }

    #[test]
    fn a_selection_may_name_an_old_key_while_the_user_is_there() {
        let mut serials = Serials::default();
        let key = serials.hand_out(50, Cause::KEY, 9);
        let claim = of_request("wl_data_device", wl_data_device::REQ_SET_SELECTION_OPCODE).unwrap();
        serials.set_time(Duration::from_secs(300));
        assert_eq!(serials.redeem(key, &claim, 0, AGE), NEVER, "nobody is there");
        serials.hand_out(70, Cause::POINTER_ENTER, 9);
        assert_eq!(serials.redeem(key, &claim, 0, AGE), NEVER, "the pointer came by");
        serials.hand_out(71, Cause::BUTTON, 9);
        assert_eq!(serials.redeem(key, &claim, 0, AGE), 50, "they marked something");
    }

    #[test]
    fn old_serials_are_forgotten_and_memory_is_bounded() {
        let mut serials = Serials::default();
        for serial in 1..20_000 {
            hand_out(&mut serials, serial);
        }
        assert_eq!(serials.sent.len(), REMEMBERED);
        assert_eq!(redeem(&serials, 1), NEVER);
        assert_eq!(redeem(&serials, 19_999), 19_999);
    }
}
