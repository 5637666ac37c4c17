// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `make vms` runs: programs in two real app VMs, shown by the compositor on this machine. With a display it shows them in
//! a window until that is closed; without one the picture is saved.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::path::Path;
use std::time::Instant;

use heraldry_tests::rig::{Options, Rig, Transport, until};
use heraldry_tests::vm::{AppDevice, Machine, Setup, app_image_with_gtk};

/// What a program needs to know in a VM of tests, where nothing else runs.
const GTK: &str =
    "env GDK_BACKEND=wayland GSK_RENDERER=cairo NO_AT_BRIDGE=1 GTK_A11Y=none gtk4-demo --run=listbox";
const FOOT: &str = "foot --config=/dev/null --override=initial-window-size-pixels=620x300 --override=dpi-aware=no \
                    --override=font=monospace:size=10 sh -c 'printf \"\\033[1mwork\\033[0m: a terminal in a VM of its own\\n\\n\"; \
                    uname -a; cat /proc/cmdline; exec sh'";

fn main() {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vms");
    std::fs::create_dir_all(&out).expect("a folder for the picture");
    let shown = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let rig = Rig::start(Options {
        transport: Transport::Local,
        backend: if shown { "winit" } else { "headless" },
        ..Options::default()
    });
    let begin = Instant::now();
    let vms = ["work", "untrusted"];
    let devices = vms.map(|vm| AppDevice::start(&rig, vm));
    let mut machines = devices.each_ref().map(|device| {
        Machine::start(&Setup {
            image: app_image_with_gtk(),
            ..device.machine()
        })
    });
    for (machine, program) in machines.iter_mut().zip([FOOT, GTK]) {
        machine
            .shell
            .start("program", &format!("exec heraldry-guest -- {program}"));
    }
    for vm in vms {
        let _area = rig.content_of(vm);
        println!(
            "vms: a window of {vm} after {:.1} s",
            begin.elapsed().as_secs_f32()
        );
    }
    if shown {
        println!("vms: two VMs in one window. Super+drag moves, Alt+Tab switches; close the window to end.");
        until("the end", || rig.running_compositor().is_none());
        return;
    }
    // The programs' next frames.
    std::thread::sleep(std::time::Duration::from_secs(2));
    rig.save_picture(&out.join("heraldry.png"));
    println!("vms: no display found, so the picture is in target/vms/heraldry.png");
}
