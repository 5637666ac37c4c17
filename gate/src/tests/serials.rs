// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which event's serial is good for which request, and on which window.

use std::time::Duration;

use super::*;
use crate::objects::FIRST_SERVER_ID;

const TABLET: u32 = FIRST_SERVER_ID;
const TOOL: u32 = TABLET + 1;
const OFFER: u32 = TABLET + 2;

/// The compositor's serial of the first event; each has the next.
const FIRST: u32 = 700;

/// A client with everything that sends or takes a serial.
struct Desk {
    client: Client,
    seat: u32,
    wm: u32,
    compositor: u32,
    pointer: u32,
    shape: u32,
    keyboard: u32,
    touch: u32,
    device: u32,
    primary: u32,
    source: u32,
    /// Two windows: surface, xdg_surface, toplevel; and a popup of each.
    windows: [(u32, u32, u32); 2],
    popups: [u32; 2],
}

impl Desk {
    fn new() -> Self {
        let mut client = Client::new();
        let (seat, wm, compositor) = (
            client.bind("wl_seat"),
            client.bind("xdg_wm_base"),
            client.bind("wl_compositor"),
        );
        let (data, primary) = (
            client.bind("wl_data_device_manager"),
            client.bind("zwp_primary_selection_device_manager_v1"),
        );
        let (shapes, pens) = (
            client.bind("wp_cursor_shape_manager_v1"),
            client.bind("zwp_tablet_manager_v2"),
        );
        let [pointer, keyboard, touch] =
            ["get_pointer", "get_keyboard", "get_touch"].map(|what| client.ok(seat, what, &[New]));
        let pens = client.ok(pens, "get_tablet_seat", &[New, U(seat)]);
        client.event(pens, "tablet_added", &[U(TABLET)]);
        client.event(pens, "tool_added", &[U(TOOL)]);
        let windows = [0; 2].map(|_| client.window(compositor, wm));
        let positioner = client.ok(wm, "create_positioner", &[New]);
        let popups = windows.map(|(_, parent, _)| {
            let surface = client.surface(compositor);
            let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
            client.ok(xdg, "get_popup", &[New, U(parent), U(positioner)])
        });
        let device = client.ok(data, "get_data_device", &[New, U(seat)]);
        client.event(device, "data_offer", &[U(OFFER)]);
        Self {
            shape: client.ok(shapes, "get_pointer", &[New, U(pointer)]),
            device,
            primary: client.ok(primary, "get_device", &[New, U(seat)]),
            source: client.ok(data, "create_data_source", &[New]),
            client,
            seat,
            wm,
            compositor,
            pointer,
            keyboard,
            touch,
            windows,
            popups,
        }
    }

    /// Each event that has a serial, about the first window or `surface` of it. What a client sees of them is 1, 2, 3..
    fn hear(&mut self, surface: u32) -> Vec<&'static str> {
        // A finger may have any number, also that of a surface.
        let events: [(&str, u32, &[A]); 15] = [
            ("pointer enters", self.pointer, &[U(surface), I(0), I(0)]),
            ("button", self.pointer, &[U(0), U(0x110), U(1)]),
            ("pointer leaves", self.pointer, &[U(surface)]),
            ("keyboard enters", self.keyboard, &[U(surface), U(0)]),
            ("key", self.keyboard, &[U(0), U(30), U(1)]),
            ("modifiers", self.keyboard, &[U(0), U(0), U(0), U(0)]),
            ("keyboard leaves", self.keyboard, &[U(surface)]),
            ("touched", self.touch, &[U(0), U(surface), I(0), I(0), I(0)]),
            ("untouched", self.touch, &[U(0), U(surface)]),
            ("pen enters", TOOL, &[U(TABLET), U(surface)]),
            ("pen", TOOL, &[]),
            ("pen button", TOOL, &[U(0x14b), U(1)]),
            ("drag enters", self.device, &[U(surface), I(0), I(0), U(OFFER)]),
            ("configure", self.windows[0].1, &[]),
            ("ping", self.wm, &[]),
        ];
        let names = [
            "enter",
            "button",
            "leave",
            "enter",
            "key",
            "modifiers",
            "leave",
            "down",
            "up",
            "proximity_in",
            "down",
            "button",
            "enter",
            "configure",
            "ping",
        ];
        for (at, ((what, id, args), name)) in (0_u32..).zip(events.into_iter().zip(names)) {
            // Down and up of a touch, and button of a pen, have it first as all others do.
            let args = [&[U(FIRST + at)], args].concat();
            let told = self.client.event(id, name, &args).concat();
            assert!(told.contains(&format!(".{name}({}", at + 1)), "{what}: {told}");
        }
        events.map(|(what, ..)| what).to_vec()
    }

    /// The serial with which a request that names `number` reaches the compositor.
    fn asks(&mut self, id: u32, name: &str, at: usize, mut args: Vec<A>, number: u32) -> Option<u32> {
        args.insert(at, U(number));
        self.client.passed();
        self.client.ok(id, name, &args);
        let passed = self.client.passed();
        let (_, values) = passed.first()?.split_once('(').unwrap();
        let value = values.trim_end_matches(')').split(',').nth(at).unwrap();
        Some(value.parse().unwrap())
    }

    /// The names of the events whose serial is good for the request; the others are 0, or the request is dropped.
    fn good(
        &mut self,
        heard: &[&'static str],
        drops: bool,
        request: (u32, &str, usize, &[A]),
    ) -> Vec<&'static str> {
        let (id, name, at, args) = request;
        let none = if drops { None } else { Some(0) };
        let mut good = Vec::new();
        for (number, what) in (1_u32..).zip(heard) {
            match self.asks(id, name, at, args.to_vec(), number) {
                serial if serial == none => {}
                serial => {
                    assert_eq!(serial, Some(FIRST + number - 1), "{name}: {what}");
                    good.push(*what);
                }
            }
        }
        for never in [0, u32::try_from(heard.len()).unwrap() + 1, FIRST] {
            assert_eq!(
                self.asks(id, name, at, args.to_vec(), never),
                none,
                "{name}: {never}"
            );
        }
        good
    }
}

const PRESSES: [&str; 6] = ["button", "key", "touched", "untouched", "pen", "pen button"];

#[test]
fn a_request_wants_a_serial_of_what_it_is_an_answer_to() {
    let mut desk = Desk::new();
    let (surface, _, _) = desk.windows[0];
    let heard = desk.hear(surface);
    let picture = desk.client.surface(desk.compositor);
    let cursor: &[A] = &[U(picture), I(0), I(0)];
    for (request, good) in [
        (
            (desk.pointer, "set_cursor", 0, cursor),
            &["pointer enters", "pen enters"][..],
        ),
        (
            (desk.shape, "set_shape", 0, &[U(1)]),
            &["pointer enters", "pen enters"],
        ),
        ((TOOL, "set_cursor", 0, cursor), &["pen enters"]),
        ((OFFER, "accept", 0, &[S("text/plain")]), &["drag enters"]),
        ((desk.wm, "pong", 0, &[]), &["ping"]),
    ] {
        assert_eq!(desk.good(&heard, false, request), good, "{}", request.1);
    }
    let mut selects = PRESSES.to_vec();
    selects.insert(1, "keyboard enters");
    for device in [desk.device, desk.primary] {
        assert_eq!(
            desk.good(&heard, true, (device, "set_selection", 1, &[U(0)])),
            selects
        );
    }
    let (_, xdg, _) = desk.windows[0];
    let configure = u32::try_from(heard.len()).unwrap() - 1;
    assert_eq!(
        desk.asks(xdg, "ack_configure", 0, vec![], configure),
        Some(FIRST + 13)
    );
}

#[test]
fn what_was_pressed_in_a_window_is_good_for_that_window() {
    let of = |list: &[&'static str], without: &str| -> Vec<&str> {
        list.iter().copied().filter(|what| *what != without).collect()
    };
    // The end of a touch names no window.
    let presses = of(&PRESSES, "untouched");
    let at_a_place = of(&presses, "key");
    // Pressed in the window itself, in a part of it, or in its popup.
    for place in ["window", "subsurface", "popup"] {
        let mut desk = Desk::new();
        let (root, _, _) = desk.windows[0];
        let surface = match place {
            "window" => root,
            "subsurface" => {
                let sub = desk.client.bind("wl_subcompositor");
                let child = desk.client.surface(desk.compositor);
                desk.client.ok(sub, "get_subsurface", &[New, U(child), U(root)]);
                child
            }
            // The surface of a popup is made two ids before it.
            _ => desk.popups[0] - 2,
        };
        let heard = desk.hear(surface);
        let seat = desk.seat;
        for (own, (_, _, toplevel)) in [true, false].into_iter().zip(desk.windows) {
            let expected = |good: &[&'static str]| if own { good.to_vec() } else { Vec::new() };
            for request in [
                (toplevel, "show_window_menu", 1, &[U(seat), I(0), I(0)][..]),
                (toplevel, "move", 1, &[U(seat)]),
                (toplevel, "resize", 1, &[U(seat), U(0)]),
            ] {
                assert_eq!(
                    desk.good(&heard, false, request),
                    expected(&at_a_place),
                    "{place}, {own}: {}",
                    request.1
                );
            }
        }
        for (own, popup) in [true, false].into_iter().zip(desk.popups) {
            let expected = if own { presses.clone() } else { Vec::new() };
            assert_eq!(
                desk.good(&heard, false, (popup, "grab", 1, &[U(seat)])),
                expected,
                "{place}"
            );
        }
        // A drag starts in the window that was pressed. One that has no source changes nothing here.
        for (own, (origin, _, _)) in [true, false].into_iter().zip(desk.windows) {
            let expected = if own { at_a_place.clone() } else { Vec::new() };
            let drag = (desk.device, "start_drag", 3, &[U(0), U(origin), U(0)][..]);
            assert_eq!(desk.good(&heard, true, drag), expected, "{place}");
        }
    }
}

#[test]
fn what_a_user_has_forgotten_opens_and_moves_nothing() {
    let mut desk = Desk::new();
    let (surface, _, toplevel) = desk.windows[0];
    desk.client.session.set_time(Duration::from_secs(1000));
    let heard = desk.hear(surface);
    let (seat, button, key) = (desk.seat, 2, 5);
    for (at, fresh) in [(1060, true), (1061, false)] {
        desk.client.session.set_time(Duration::from_secs(at));
        let serial = |at: u32| Some(if fresh { FIRST + at - 1 } else { 0 });
        let passed = |at: u32| if fresh { serial(at) } else { None };
        let grab = desk.popups[0];
        assert_eq!(
            desk.asks(toplevel, "move", 1, vec![U(seat)], button),
            serial(button)
        );
        assert_eq!(desk.asks(grab, "grab", 1, vec![U(seat)], key), serial(key));
        let drag = vec![U(desk.source), U(surface), U(0)];
        assert_eq!(
            desk.asks(desk.device, "start_drag", 3, drag, button),
            passed(button)
        );
        assert_eq!(
            desk.asks(desk.primary, "set_selection", 1, vec![U(0)], key),
            passed(key)
        );
        // These answer the compositor, and not the user.
        let ping = u32::try_from(heard.len()).unwrap();
        assert_eq!(
            desk.asks(desk.wm, "pong", 0, vec![], ping),
            Some(FIRST + ping - 1)
        );
        let cursor = vec![U(0), I(0), I(0)];
        assert_eq!(desk.asks(desk.pointer, "set_cursor", 0, cursor, 1), Some(FIRST));
    }
    // Time that goes back does not make it new.
    desk.client.session.set_time(Duration::from_secs(1000));
    assert_eq!(desk.asks(toplevel, "move", 1, vec![U(seat)], button), Some(0));
}
