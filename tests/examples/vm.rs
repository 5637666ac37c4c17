// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `make vm` runs: the compositor's VM with windows of two app VMs. With a display QEMU shows it until its window
//! is closed; without one the picture is saved.
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::Path;

use heraldry_tests::vm::{Files, Machine, Setup};

/// In place of the tests' services.
const SERVICES: &str = concat!(
    include_str!("../../assets/image/services"),
    "work 990 busybox env XDG_RUNTIME_DIR=/run/host/vm/work WAYLAND_DISPLAY=wayland-0 HOME=/tmp foot \
     --override=initial-window-size-pixels=620x300 --override=dpi-aware=no --override=font=monospace:size=10 sh\n",
    "untrusted 990 busybox env XDG_RUNTIME_DIR=/run/host/vm/untrusted WAYLAND_DISPLAY=wayland-0 weston-simple-shm\n",
);

fn main() {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm");
    let shown = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let config = include_str!("../../assets/demo.kdl");
    let setup = Setup {
        files: Files::default()
            .with("/etc/heraldry/heraldry.kdl", config)
            .with("/etc/heraldry/services", SERVICES),
        display: shown.then(|| "gtk".to_owned()),
        ..Setup::default()
    };
    let mut machine = Machine::start(&setup);
    let two = |text: &str| text.lines().filter(|line| line.contains(" floating ")).count() >= 2;
    machine.until("two windows", |machine| {
        two(&machine.shell.try_run("ctl windows").1)
    });
    println!("vm: two windows after {:.1} s", machine.age().as_secs_f32());
    if shown {
        println!("vm: Ctrl-Alt-G gives the pointer back; close the window to end");
        machine.wait_for_end_without_limit();
        return;
    }
    // The clients' next frames.
    std::thread::sleep(std::time::Duration::from_secs(1));
    machine.save_screen(&out.join("heraldry.png"));
    println!("vm: no display found, so the picture is in target/vm/heraldry.png");
    machine.shell.run_last("ctl power-off");
    machine.wait_for_end();
}
