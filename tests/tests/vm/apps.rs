// SPDX-License-Identifier: MIT OR Apache-2.0
//! App VMs: real machines with stock kernels, whose programs come through `heraldry-guest`, cross-domain, `heraldry-device` and
//! `heraldry-host`. The compositor runs on the host here.

use std::process::Command;

use heraldry_tests::colour::{Area, Colour};
use heraldry_tests::rig::{CONFIG, Host, Options, Rig, Transport, until};
use heraldry_tests::vm::{AppDevice, Files, Machine, Setup, attempt, skipped};

use crate::boot::SHELL_ONLY;
use crate::session::{FOOT, settled, wait_for_windows};

fn rig() -> Rig {
    Rig::start(Options {
        transport: Transport::Local,
        ..Options::default()
    })
}

/// A program of the machine's, through the proxy.
fn start(machine: &mut Machine, name: &str, program: &str) {
    let line = format!("exec heraldry-guest -- {program}");
    machine.shell.start(name, &line);
}

/// What lies in an area.
fn content(rig: &Rig, area: Area) -> Vec<Colour> {
    let picture = rig.picture();
    let inside = picture.iter().filter(|(x, y, _)| area.contains(*x, *y));
    inside.map(|(_, _, colour)| colour).collect()
}

/// Whether a terminal has written its last word, which is red.
fn is_written([red, green, _]: &Colour) -> bool {
    *red > 150 && *red - 40 > *green
}

#[test]
fn a_terminal_in_a_machine_of_its_own_looks_as_one_on_the_host_and_is_typed_into() {
    if skipped() {
        return;
    }
    let rig = rig();
    let device = AppDevice::start(&rig, "work");
    let program = "sh -c 'printf \"one two \\033[31mthree\\033[0m\\n\"; exec sleep 1000'";
    // What the same shows on the host.
    let line = format!("exec {FOOT} {program}");
    let mut local = rig.run("work", "local", Command::new("sh").args(["-c", &line]));
    let area = rig.content_of("work");
    let mut expected = Vec::new();
    until("the terminal on the host has written", || {
        expected = content(&rig, area);
        expected.iter().any(is_written)
    });
    local.kill();
    until("its window is gone", || rig.windows().is_empty());
    attempt(&device.machine(), |machine| {
        start(machine, "still", &format!("{FOOT} {program}"));
        assert_eq!(rig.content_of("work"), area);
        until("the same pixels", || content(&rig, area) == expected);
        machine.shell.run("kill $(pidof foot)");
        until("its window is gone", || rig.windows().is_empty());

        start(machine, "typed", &format!("{FOOT} sh"));
        let area = rig.content_of("work");
        let before = content(&rig, area);
        rig.type_text("echo Heraldry > typed\n");
        machine.until("the typed command has run", |machine| {
            machine.shell.try_run("cat /typed").1 == "Heraldry\n"
        });
        assert!(content(&rig, area) != before);
        rig.type_text("exit\n");
        until("its window is gone", || rig.windows().is_empty());
    });
}

#[test]
fn a_window_of_one_machine_is_on_the_screen_of_another() {
    if skipped() {
        return;
    }
    let host = Host::start();
    let (own, work) = (AppDevice::of_compositor(&host), AppDevice::of_vm(&host, "work"));
    let setup = Setup {
        files: Files::default()
            .with("/etc/heraldry/services", SHELL_ONLY)
            .with("/etc/heraldry/heraldry.kdl", CONFIG),
        append: "heraldry.device=/dev/dri".to_owned(),
        device: Some(own.socket()),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("compositor started");
        until("host and compositor know each other", || {
            host.stats().get("compositor") == Some(&true.into())
        });
        let mut app = Machine::start(&work.machine());
        start(&mut app, "terminal", &format!("{FOOT} sh"));
        wait_for_windows(machine, 1);
        let before = settled(machine);
        machine.qmp.type_text("echo hello > typed\n");
        app.until("the typed command has run", |app| {
            app.shell.try_run("cat /typed").1 == "hello\n"
        });
        assert!(settled(machine).first_difference(&before).is_some());
    });
}
