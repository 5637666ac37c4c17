// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session of libseat's: devices come through the seat, and another virtual terminal can be in front for a while.

use heraldry_tests::rig::CONFIG;
use heraldry_tests::vm::{Files, Machine, Setup, attempt};

use super::hotplug::HELD;
use super::session::settled;

/// libseat serves the seat itself where no daemon does, if it is root's.
const START: &str = "LIBSEAT_BACKEND=builtin exec heraldry run --backend kms --session libseat --control /tmp/seat.ctl \
                     --config /etc/heraldry/heraldry.kdl";

fn said(machine: &mut Machine, words: &str) {
    let question = format!("grep -q '{words}' /tmp/seated.log");
    machine.until(words, |machine| machine.shell.try_run(&question).0 == 0);
}

#[test]
fn another_terminal_in_front_takes_screen_and_keys_and_gives_them_back() {
    let setup = Setup {
        files: Files::default()
            .with("/etc/heraldry/services", HELD)
            .with("/etc/heraldry/heraldry.kdl", CONFIG),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("compositor started");
        machine.shell.start("seated", START);
        said(machine, "screen lit");
        said(machine, "running");
        let ours = settled(machine);
        machine.qmp.chord(&["ctrl", "alt", "f2"]);
        said(machine, "session suspended");
        let theirs = settled(machine);
        assert!(
            ours.first_difference(&theirs).is_some(),
            "the other terminal is in front"
        );
        // A key that ends the compositor, were it ours.
        machine.qmp.chord(&["meta_l", "shift", "e"]);
        machine.shell.run("chvt 1");
        said(machine, "session resumed");
        machine.until("the desktop is back", |machine| {
            machine.screen().first_difference(&ours).is_none()
        });
        machine.qmp.chord(&["meta_l", "shift", "e"]);
        said(machine, "quit by key");
        said(machine, "stopped");
    });
}
