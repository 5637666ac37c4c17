// SPDX-License-Identifier: MIT OR Apache-2.0
//! A screen with a mode, a scale and a turn of its own, from the configuration.

use heraldry_tests::rig::CONFIG;
use heraldry_tests::vm::{Files, Setup, attempt};

use super::session::{settled, start_still, wait_for_windows};

#[test]
fn a_screen_is_set_up_as_the_configuration_says() {
    let config =
        format!("{CONFIG}\noutput \"Virtual-1\" {{ mode \"1024x768\"; transform \"90\"; scale 2; }}\n");
    let setup = Setup {
        files: Files::default().with("/etc/heraldry/heraldry.kdl", &config),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("running backend=\"kms\"");
        let screens = machine.shell.run("ctl screens");
        let words: Vec<_> = screens.split_whitespace().collect();
        assert_eq!(words[1], "Virtual-1");
        assert!(words[2].starts_with("1024x768@"), "{screens}");
        // Turned, and in logical pixels.
        assert_eq!(words[6..], ["0,0", "384x512"], "{screens}");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let screen = settled(machine);
        machine.shell.run("ctl screenshot /run/heraldry/upright.png");
        let upright = machine.fetch_picture("/run/heraldry/upright.png");
        // What is upright for somebody who has turned the screen: its left edge is below for who has not.
        let wrong = screen
            .iter()
            .filter(|(x, y, colour)| upright.at(767 - y, *x) != *colour)
            .count();
        assert_eq!(wrong, 0, "pixels that are not where they should be");
        // Who points at the button that is seen there has hit it.
        machine.point((60, 96));
        machine.qmp.button("left", true);
        machine.qmp.button("left", false);
        machine.until("the window fills the screen", |machine| {
            machine.shell.run("ctl windows").contains(" maximized ")
        });
    });
}
