// SPDX-License-Identifier: MIT OR Apache-2.0
//! A touch screen that is plugged in: the kernel's own input device, made by evemu in the machine.

use heraldry_tests::vm::{Machine, attempt};

use super::session::{settled, setup, start_still, wait_for_windows};

/// The panel's coordinates, as many as the screen has pixels.
const WIDTH: i32 = 1280;
const HEIGHT: i32 = 800;

/// What the device says of itself: an absolute device that is the screen, with ten places for fingers.
fn description() -> String {
    // Kinds of event, keys and axes as bits: SYN KEY ABS; BTN_TOUCH; X Y, MT_SLOT, MT_POSITION_X and _Y, MT_TRACKING_ID.
    let bits = |kind: u8, set: &[usize]| {
        let mut bytes = [0_u8; 96];
        for bit in set {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
        let lines = bytes.chunks(8).map(|row| {
            let row: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("B: {kind:02x} {}", row.join(" "))
        });
        lines.collect::<Vec<_>>().join("\\n")
    };
    let axes = [
        (0x00, WIDTH),
        (0x01, HEIGHT),
        (0x2f, 10),
        (0x35, WIDTH),
        (0x36, HEIGHT),
        (0x39, 65536),
    ];
    let axes = axes.map(|(axis, count)| format!("A: {axis:02x} 0 {} 0 0 4", count - 1));
    [
        "# EVEMU 1.2".to_owned(),
        "N: test touch screen".to_owned(),
        "I: 0018 1234 5678 0100".to_owned(),
        "P: 02 00 00 00 00 00 00 00".to_owned(),
        bits(0, &[0, 1, 3]),
        bits(1, &[0x14a]),
        bits(3, &[0x00, 0x01, 0x2f, 0x35, 0x36, 0x39]),
        axes.join("\\n"),
    ]
    .join("\\n")
}

/// Events by kind and code, as the kernel numbers them.
const SYN: (u16, u16) = (0, 0);
const BTN_TOUCH: (u16, u16) = (1, 0x14a);
const SLOT: (u16, u16) = (3, 0x2f);
const X: (u16, u16) = (3, 0x35);
const Y: (u16, u16) = (3, 0x36);
const TRACKING: (u16, u16) = (3, 0x39);

/// What the panel tells.
#[derive(Default)]
struct Panel(String);

impl Panel {
    fn event(mut self, (kind, code): (u16, u16), value: i32) -> Self {
        // The shell's printf turns the text into lines.
        self.0
            .push_str(&format!("E: 0.000001 {kind:04x} {code:04x} {value}\\n"));
        self
    }

    fn down(self, slot: i32, at: (i32, i32)) -> Self {
        let touched = self.event(SLOT, slot).event(TRACKING, 100 + slot);
        touched
            .event(X, at.0)
            .event(Y, at.1)
            .event(BTN_TOUCH, 1)
            .event(SYN, 0)
    }

    fn moves(self, slot: i32, at: (i32, i32)) -> Self {
        self.event(SLOT, slot).event(X, at.0).event(Y, at.1).event(SYN, 0)
    }

    fn up(self, slot: i32, last: bool) -> Self {
        let lifted = self.event(SLOT, slot).event(TRACKING, -1);
        let lifted = if last { lifted.event(BTN_TOUCH, 0) } else { lifted };
        lifted.event(SYN, 0)
    }

    fn tell(self, machine: &mut Machine, node: &str) {
        machine
            .shell
            .run(&format!("printf '{}' | evemu-play {node}", self.0));
    }
}

#[test]
fn fingers_draw_in_a_client_and_move_its_window() {
    let mut setup = setup();
    setup.files = setup.files.with("/etc/heraldry/modules", "evdev\nuinput\n");
    attempt(&setup, |machine| {
        machine.wait_for("running backend=\"kms\"");
        machine.shell.start("work", "exec vm work weston-simple-touch");
        wait_for_windows(machine, 1);
        let text = description();
        machine.shell.run(&format!("printf '{text}\\n' >/tmp/touch.desc"));
        machine.shell.start("screen", "exec evemu-device /tmp/touch.desc");
        machine.until("the kernel has it", |machine| {
            machine
                .shell
                .try_run("grep -q /dev/input/event /tmp/screen.log")
                .0
                == 0
        });
        let said = machine.shell.run("cat /tmp/screen.log");
        let node = said
            .split_whitespace()
            .find(|word| word.starts_with("/dev/input/event"));
        let node = node.unwrap_or_else(|| panic!("a node: {said}")).to_owned();
        machine.until("the compositor has it", |machine| {
            let name = node.trim_start_matches("/dev/input/");
            machine
                .shell
                .try_run(&format!("ctl log | grep 'input device' | grep -q '{name}'"))
                .0
                == 0
        });
        let ([x, y, ..], _) = super::session::window(machine, "work").expect("a window");
        let before = settled(machine);
        // Two fingers, each with the colour of its number, where they are.
        let two = Panel::default()
            .down(0, (x + 50, y + 60))
            .down(1, (x + 200, y + 160))
            .moves(0, (x + 90, y + 60));
        two.tell(machine, &node);
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
        Panel::default().up(0, false).up(1, true).tell(machine, &node);
        let (_, has_keyboard) = super::session::window(machine, "work").expect("a window");
        assert!(has_keyboard, "a tap gives it the keyboard");

        // By its label.
        let label = (x + 200, y - 8);
        let drag = Panel::default()
            .down(0, label)
            .moves(0, (label.0 + 60, label.1 + 40));
        drag.up(0, true).tell(machine, &node);
        let ([moved_x, moved_y, ..], _) = super::session::window(machine, "work").expect("a window");
        assert_eq!((moved_x - x, moved_y - y), (60, 40));

        // Over a client that knows only pointers a finger is one.
        start_still(machine, "personal");
        wait_for_windows(machine, 2);
        machine.shell.run("sleep 1");
        let ([x, y, w, h], has_keyboard) = super::session::window(machine, "personal").expect("a window");
        assert!(!has_keyboard);
        let tap = Panel::default().down(0, (x + w / 2, y + h / 2)).up(0, true);
        tap.tell(machine, &node);
        let (_, has_keyboard) = super::session::window(machine, "personal").expect("a window");
        assert!(has_keyboard);
    });
}
