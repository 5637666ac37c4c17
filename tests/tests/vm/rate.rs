// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames of the same client on the same machine, by weston and by Heraldry.

use std::time::Duration;

use heraldry_tests::rig::CONFIG;
use heraldry_tests::vm::{Files, Machine, Setup, attempt};

use crate::hotplug::start_weston;

/// How long frames are counted.
const WINDOW: Duration = Duration::from_secs(6);

/// The compositor waits until weston has gone.
fn services() -> String {
    include_str!("../../../assets/image/services").replace(
        "heraldry-sim",
        "/usr/lib/heraldry-test/after /run/go heraldry-sim",
    )
}

/// Frames that a client named so has committed so far.
fn commits(machine: &mut Machine, name: &str) -> f64 {
    let (_, count) = machine
        .shell
        .try_run(&format!("grep -c 'wl_surface@.*commit()' /tmp/{name}.log"));
    count.trim().parse().unwrap_or(0.0)
}

/// Frames a second of a client that runs.
fn rate(machine: &mut Machine, name: &str) -> f64 {
    machine.until("the client draws", |machine| commits(machine, name) > 20.0);
    let (before, start) = (commits(machine, name), std::time::Instant::now());
    std::thread::sleep(WINDOW);
    (commits(machine, name) - before) / start.elapsed().as_secs_f64()
}

#[test]
fn a_client_gets_as_many_frames_as_with_weston() {
    let setup = Setup {
        files: Files::default()
            .with("/etc/heraldry/heraldry.kdl", CONFIG)
            .with("/etc/heraldry/services", &services()),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("compositor started");
        start_weston(machine);
        machine.shell.start(
            "one",
            "XDG_RUNTIME_DIR=/tmp/x WAYLAND_DISPLAY=weston WAYLAND_DEBUG=1 exec weston-simple-shm",
        );
        let weston = rate(machine, "one");
        machine.shell.run("kill $(busybox pidof weston)");
        machine.until("weston has gone", |machine| {
            machine.shell.try_run("busybox pidof weston").0 != 0
        });

        machine.shell.run("busybox touch /run/go");
        machine.wait_for("running backend=\"kms\"");
        machine
            .shell
            .start("two", "WAYLAND_DEBUG=1 exec vm work weston-simple-shm");
        let ours = rate(machine, "two");
        println!(
            "frames a second: weston {weston:.0}, heraldry {ours:.0}, ratio {:.2}",
            ours / weston
        );
        // Emulated processors, shared with others: anything near the goal of 1.0 would fail by chance.
        assert!(ours > 10.0, "{ours:.1} frames a second");
    });
}
