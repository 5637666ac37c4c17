// SPDX-License-Identifier: MIT OR Apache-2.0
//! A touch screen and a pen that are plugged in.

use heraldry_tests::vm::{Machine, Setup, attempt};

use super::evemu::{Description, Events, HEIGHT, WIDTH};
use super::session::{self, settled, start_still, wait_for_windows, window};

const BTN_TOUCH: (u16, u16) = (1, 0x14a);
const SLOT: (u16, u16) = (3, 0x2f);
const X: (u16, u16) = (3, 0x35);
const Y: (u16, u16) = (3, 0x36);
const TRACKING: (u16, u16) = (3, 0x39);

/// A screen with ten places for fingers.
const PANEL: Description = Description {
    name: "test touch screen",
    keys: &[0x14a],
    axes: &[
        (0x00, WIDTH),
        (0x01, HEIGHT),
        (0x2f, 10),
        (0x35, WIDTH),
        (0x36, HEIGHT),
        (0x39, 65536),
    ],
};

/// A tablet with a pen: pressure, and one button on it.
const TABLET: Description = Description {
    name: "test tablet",
    keys: &[0x140, 0x14a, 0x14b],
    axes: &[(0x00, WIDTH), (0x01, HEIGHT), (0x18, 2048)],
};

fn down(events: Events, slot: i32, at: (i32, i32)) -> Events {
    let touched = events.event(SLOT, slot).event(TRACKING, 100 + slot);
    touched.event(X, at.0).event(Y, at.1).event(BTN_TOUCH, 1).end()
}

fn moves(events: Events, slot: i32, at: (i32, i32)) -> Events {
    events.event(SLOT, slot).event(X, at.0).event(Y, at.1).end()
}

fn up(events: Events, slot: i32, last: bool) -> Events {
    let lifted = events.event(SLOT, slot).event(TRACKING, -1);
    let lifted = if last { lifted.event(BTN_TOUCH, 0) } else { lifted };
    lifted.end()
}

/// The pen is at a place, with a pressure.
fn pen(events: Events, at: (i32, i32), pressure: i32) -> Events {
    let near = events
        .event((1, 0x140), 1)
        .event((3, 0x00), at.0)
        .event((3, 0x01), at.1);
    near.event((3, 0x18), pressure)
        .event(BTN_TOUCH, i32::from(pressure > 0))
        .end()
}

fn with_uinput() -> Setup {
    let mut setup = session::setup();
    setup.files = setup.files.with("/etc/heraldry/modules", "evdev\nuinput\n");
    setup
}

fn place(machine: &mut Machine, vm: &str) -> ([i32; 4], bool) {
    window(machine, vm).expect("a window")
}

#[test]
fn fingers_draw_in_a_client_and_move_its_window() {
    attempt(&with_uinput(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        machine.shell.start("work", "exec vm work weston-simple-touch");
        wait_for_windows(machine, 1);
        let node = PANEL.plug(machine);
        let ([x, y, ..], _) = place(machine, "work");
        let before = settled(machine);
        // Two fingers, each with the colour of its number, where they are.
        let two = down(Events::default(), 0, (x + 50, y + 60));
        let two = down(two, 1, (x + 200, y + 160));
        moves(two, 0, (x + 90, y + 60)).tell(machine, &node);
        let drawn = settled(machine);
        let changed = |at: (i32, i32)| drawn.at(at.0, at.1) != before.at(at.0, at.1);
        for place in [(x + 50, y + 60), (x + 90, y + 60), (x + 200, y + 160)] {
            assert!(changed(place), "{place:?}");
        }
        assert_ne!(
            drawn.at(x + 50, y + 60),
            drawn.at(x + 200, y + 160),
            "two fingers"
        );
        assert!(!changed((x + 300, y + 300)), "nobody was there");
        up(up(Events::default(), 0, false), 1, true).tell(machine, &node);
        let (_, has_keyboard) = place(machine, "work");
        assert!(has_keyboard, "a tap gives it the keyboard");

        // By its label.
        let label = (x + 200, y - 8);
        let drag = moves(down(Events::default(), 0, label), 0, (label.0 + 60, label.1 + 40));
        up(drag, 0, true).tell(machine, &node);
        let ([moved_x, moved_y, ..], _) = place(machine, "work");
        assert_eq!((moved_x - x, moved_y - y), (60, 40));

        // Over a client that knows only pointers a finger is one.
        start_still(machine, "personal");
        wait_for_windows(machine, 2);
        // The click guard: a window that has just come gets no tap.
        machine.shell.run("sleep 1");
        let ([x, y, w, h], has_keyboard) = place(machine, "personal");
        assert!(!has_keyboard);
        let tap = down(Events::default(), 0, (x + w / 2, y + h / 2));
        up(tap, 0, true).tell(machine, &node);
        let (_, has_keyboard) = place(machine, "personal");
        assert!(has_keyboard);
    });
}

#[test]
fn a_pen_points_taps_and_moves_windows() {
    attempt(&with_uinput(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        start_still(machine, "personal");
        wait_for_windows(machine, 2);
        let node = TABLET.plug(machine);
        // The click guard: a window that has just come gets no tap.
        machine.shell.run("sleep 1");
        for vm in ["work", "personal", "work"] {
            let ([x, y, w, h], has_keyboard) = place(machine, vm);
            assert!(!has_keyboard || vm == "work", "{vm}");
            // The lower right corner of each is free.
            let at = (x + w - 8, y + h - 8);
            let tap = pen(pen(Events::default(), at, 0), at, 900);
            pen(tap, at, 0).tell(machine, &node);
            machine.until("the tapped window has the keyboard", |machine| {
                place(machine, vm).1
            });
        }
        // The pointer is drawn where the pen is.
        let ([x, y, w, h], _) = place(machine, "work");
        let before = settled(machine);
        pen(Events::default(), (x + w / 2, y + h / 2), 0).tell(machine, &node);
        let pointed = settled(machine);
        assert!(before.first_difference(&pointed).is_some());
        // By its label.
        let label = (x + w / 2, y - 8);
        let drag = pen(pen(Events::default(), label, 0), label, 900);
        let drag = pen(drag, (label.0 + 60, label.1 + 40), 900);
        pen(drag, (label.0 + 60, label.1 + 40), 0).tell(machine, &node);
        let ([moved_x, moved_y, ..], _) = place(machine, "work");
        assert_eq!((moved_x - x, moved_y - y), (60, 40));
    });
}
