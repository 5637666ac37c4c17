// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `make vms` runs: programs in two real app VMs. With a display the compositor shows them in a window of this session, until
//! that is closed; without one it runs in a third VM, whose screen is saved as a picture.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program for people")]

use std::path::Path;
use std::time::{Duration, Instant};

use heraldry_tests::rig::{CONFIG, Host, Options, Rig, Transport, until};
use heraldry_tests::vm::{AppDevice, Files, Machine, Setup, app_image_with_gtk};

const VMS: [&str; 2] = ["work", "untrusted"];
/// What a program needs to know in a VM of tests, where nothing else runs.
const GTK: &str =
    "env GDK_BACKEND=wayland GSK_RENDERER=cairo NO_AT_BRIDGE=1 GTK_A11Y=none gtk4-demo --run=listbox";
const FOOT: &str = "foot --config=/dev/null --override=initial-window-size-pixels=620x300 --override=dpi-aware=no \
                    --override=font=monospace:size=10 sh -c 'printf \"\\033[1mwork\\033[0m: a terminal in a VM of its own\\n\\n\"; \
                    uname -a; cat /proc/cmdline; exec sh'";

fn main() {
    let shown = ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    if shown { in_a_window() } else { in_a_picture() }
}

/// The machines of both VMs, with their programs started.
fn start(devices: &[AppDevice; 2]) -> [Machine; 2] {
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
    machines
}

/// The compositor has a window of this session, and runs here.
fn in_a_window() {
    let rig = Rig::start(Options {
        transport: Transport::Local,
        backend: "winit",
        ..Options::default()
    });
    let devices = VMS.map(|vm| AppDevice::start(&rig, vm));
    let _machines = start(&devices);
    println!("vms: two VMs in one window. Super+drag moves, Alt+Tab switches; close the window to end.");
    until("windows", || rig.running_compositor().is_some());
    while rig
        .running_compositor()
        .is_some_and(|pid| Path::new(&format!("/proc/{pid}/fd/0")).exists())
    {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The compositor has a machine of its own, whose screen is saved.
fn in_a_picture() {
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vms");
    std::fs::create_dir_all(&out).expect("a folder for the picture");
    let begin = Instant::now();
    let host = Host::start();
    let own = AppDevice::of_compositor(&host);
    let devices = VMS.map(|vm| AppDevice::of_vm(&host, vm));
    let mut compositor = Machine::start(&Setup {
        files: Files::default()
            .with("/etc/heraldry/services", "shell 0 /usr/lib/heraldry-test/shell\n")
            .with("/etc/heraldry/heraldry.kdl", CONFIG),
        append: "heraldry.device=/dev/dri".to_owned(),
        device: Some(own.socket()),
        ..Setup::default()
    });
    let _machines = start(&devices);
    for count in 1..=VMS.len() {
        compositor.until("the windows of both VMs", |compositor| {
            let (_, windows) = compositor.shell.try_run("ctl windows");
            let is_shown = |line: &&str| line.contains(" floating ") && !line.contains("not shown");
            windows.lines().filter(is_shown).count() >= count
        });
        println!(
            "vms: {count} windows after {:.1} s",
            begin.elapsed().as_secs_f32()
        );
    }
    // The programs' next frames.
    std::thread::sleep(Duration::from_secs(3));
    compositor.save_screen(&out.join("heraldry.png"));
    println!("vms: no display found, so the screen of the third VM is in target/vms/heraldry.png");
    compositor.shell.run_last("ctl power-off");
    compositor.wait_for_end();
}
