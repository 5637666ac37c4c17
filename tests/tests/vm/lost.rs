// SPDX-License-Identifier: MIT OR Apache-2.0
//! What happens to the graphics device that nobody asked for: it goes and comes back, it knows only the older way to set
//! screens, the machine sleeps.

use std::time::Duration;

use heraldry_tests::vm::{Machine, Setup, attempt};
use serde_json::json;

use super::session::{settled, setup, start_still, wait_for_windows};

/// The virtio device behind the graphics card.
fn gpu(machine: &mut Machine) -> String {
    let name = machine
        .shell
        .run("cd /sys/bus/virtio/drivers/virtio_gpu; echo virtio*");
    name.trim().to_owned()
}

#[test]
fn a_graphics_device_that_goes_and_comes_back_shows_what_it_showed() {
    attempt(&setup(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let before = settled(machine);
        let gpu = gpu(machine);
        let driver = "/sys/bus/virtio/drivers/virtio_gpu";
        machine.shell.run(&format!("echo {gpu} >{driver}/unbind"));
        machine.wait_for("the graphics device is gone");
        assert_eq!(super::session::windows(machine).len(), 1, "the window stays");
        machine.shell.run(&format!("echo {gpu} >{driver}/bind"));
        machine.wait_for("screen lit");
        machine.until("the screen is as before", |machine| {
            machine.screen().first_difference(&before).is_none()
        });
    });
}

#[test]
fn a_device_without_atomic_modesetting_is_set_the_older_way() {
    let mut setup = setup();
    let services = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/image/services"))
        .expect("the services of the test image")
        .replace(
            "compositor 990 ",
            "compositor 990 busybox env SMITHAY_USE_LEGACY=1 ",
        );
    setup.files = setup.files.with("/etc/heraldry/services", &services);
    attempt(&setup, |machine| {
        machine.wait_for("atomic=false");
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let still = settled(machine);
        machine.shell.run("ctl screenshot /run/heraldry/own.png");
        let own = machine.fetch_picture("/run/heraldry/own.png");
        assert_eq!(still.first_difference(&own), None);
        let (frames, _) = super::session::counters(machine);
        assert!(frames > 0);
        // Another mode, and all screens away and back.
        let mut head = machine.head(0);
        head.resize((1024, 768));
        machine.until("the new mode", |machine| {
            machine.shell.run("ctl screens").contains("1024x768")
        });
    });
}

#[test]
fn a_machine_that_slept_shows_what_it_showed() {
    // The driver of virtio-gpu does not know sleep: the kernel's screens stay dark after it, whoever draws.
    let setup = Setup {
        outputs: 0,
        devices: vec!["bochs-display,id=gpu0".to_owned()],
        ..setup()
    };
    attempt(&setup, |machine| {
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let before = settled(machine);
        machine
            .shell
            .run("(sleep 1; echo mem >/sys/power/state) >/dev/null 2>&1 &");
        machine.until("the machine sleeps", |machine| {
            machine.qmp.execute("query-status", &json!({}))["status"] == "suspended"
        });
        // The machine's own clock, which tells how long it slept, counts seconds.
        std::thread::sleep(Duration::from_secs(2));
        machine.qmp.execute("system_wakeup", &json!({}));
        machine.wait_for("the machine slept");
        machine.until("the screen is as before", |machine| {
            machine.screen().first_difference(&before).is_none()
        });
        // Screen and keys are at work, and the window is where it was.
        machine.qmp.type_text("awake");
        machine.until("what is typed is seen", |machine| {
            machine.screen().first_difference(&before).is_some()
        });
        assert_eq!(super::session::windows(machine).len(), 1);
    });
}
