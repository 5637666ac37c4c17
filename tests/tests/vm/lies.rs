// SPDX-License-Identifier: MIT OR Apache-2.0
//! Content that lies about itself, on a real screen: what the screen shows is looked at from outside.

use heraldry_tests::colour::{Colour, Pixels};
use heraldry_tests::vm::{Machine, attempt};

use super::session::{FOOT, settled, setup, start_still, wait_for_windows, window, windows};

/// What is seen where a client shows nothing.
const PLATE: Colour = [0x19, 0x1c, 0x1e];

/// The pixels of a rectangle: left, top, width, height.
fn inside(picture: &Pixels, [x, y, w, h]: [i32; 4]) -> impl Iterator<Item = Colour> {
    picture
        .iter()
        .filter(move |(px, py, _)| (x..x + w).contains(px) && (y..y + h).contains(py))
        .map(|(.., pixel)| pixel)
}

fn lie(machine: &mut Machine, kind: &str) {
    let command = format!("exec vm untrusted heraldry-liar {kind}");
    machine.shell.start(&format!("liar-{kind}"), &command);
}

/// As the user does who wants to see a VM's window.
fn raise(machine: &mut Machine, vm: &str) {
    let lines = windows(machine);
    let line = lines.iter().find(|line| line.contains(&format!(" {vm} ")));
    let id = line.and_then(|line| line.split_whitespace().find(|word| word.parse::<u64>().is_ok()));
    machine.shell.run(&format!("ctl focus {}", id.expect("a window")));
}

fn stop(machine: &mut Machine, left: usize) {
    machine.shell.run("kill -9 $(busybox pidof heraldry-liar)");
    wait_for_windows(machine, left);
}

#[test]
fn what_calls_itself_opaque_shows_its_plate_and_odd_buffers_stop_nobody() {
    attempt(&setup(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let alone = settled(machine);
        for kind in ["pixel", "alpha", "comb"] {
            lie(machine, kind);
            wait_for_windows(machine, 2);
            raise(machine, "untrusted");
            let (place, _) = window(machine, "untrusted").expect("the liar's window");
            machine.until("the liar's window is its plate", |machine| {
                let picture = machine.screen();
                inside(&picture, place).all(|pixel| pixel == PLATE)
            });
            stop(machine, 1);
            raise(machine, "work");
            machine.until("nothing of it is left", |machine| {
                machine.screen().first_difference(&alone).is_none()
            });
        }
        lie(machine, "wide");
        wait_for_windows(machine, 2);
        // Frames go on for others.
        start_still(machine, "personal");
        wait_for_windows(machine, 3);
        let (place, _) = window(machine, "personal").expect("a window");
        machine.until("another VM's window is drawn", |machine| {
            let picture = machine.screen();
            inside(&picture, place).any(|pixel| pixel != PLATE)
        });
        assert!(!machine.said("the compositor crashed"));
    });
}

#[test]
fn a_window_that_grows_before_the_click_gets_neither_click_nor_keys() {
    attempt(&setup(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        machine.shell.start("work", &format!("exec vm work {FOOT} sh"));
        wait_for_windows(machine, 1);
        lie(machine, "grow");
        wait_for_windows(machine, 2);
        raise(machine, "work");
        let before = settled(machine);
        let (place, _) = window(machine, "work").expect("the honest window");
        let at = (place[0] + 300, place[1] + 200);
        machine.point(at);
        machine.shell.run("touch /tmp/grow");
        machine.until("it has grown", |machine| {
            window(machine, "untrusted").is_some_and(|([_, _, w, _], _)| w > 1000)
        });
        machine.point((at.0 + 1, at.1));
        machine.qmp.button("left", true);
        machine.qmp.button("left", false);
        machine.qmp.type_text("cd\necho heraldry > typed\n");
        machine.until("what was typed has reached the honest window", |machine| {
            machine.shell.try_run("cat /tmp/typed").1 == "heraldry\n"
        });
        let (now, focused) = window(machine, "work").expect("the honest window");
        assert!(focused && now == place);
        let after = settled(machine);
        let seen = inside(&after, place)
            .zip(inside(&before, place))
            .filter(|(now, then)| now == then);
        assert!(seen.count() > 100_000, "the honest window is still seen");
    });
}
