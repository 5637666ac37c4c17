// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that come and go. Somebody else's programs hear of them from init as they would from udevd, so weston says
//! here whether init's words are right.

use heraldry_tests::vm::{Files, Machine, Setup, attempt};
use serde_json::json;

/// The compositor is held back, so that weston has the devices.
pub(crate) const HELD: &str = "shell 0 /usr/lib/heraldry-test/shell\n\
                               compositor 990 /usr/lib/heraldry-test/after /run/go\n";

/// Starts weston in the machine and waits until it serves.
pub(crate) fn start_weston(machine: &mut Machine) {
    machine.shell.start(
        "weston",
        "mkdir -p -m 700 /tmp/x; XDG_RUNTIME_DIR=/tmp/x exec weston --backend=drm-backend.so --shell=kiosk-shell.so \
         --tty=1 --use-pixman --socket=weston",
    );
    machine.until("weston serves", |machine| {
        machine.shell.try_run("test -S /tmp/x/weston").0 == 0
    });
}

/// Whether weston has said something.
fn said(machine: &mut Machine, words: &str) -> bool {
    machine
        .shell
        .try_run(&format!("grep -q '{words}' /tmp/weston.log"))
        .0
        == 0
}

#[test]
fn devices_that_come_and_go_are_told_as_udevd_would() {
    let setup = Setup {
        files: Files::default().with("/etc/heraldry/services", HELD),
        outputs: 2,
        devices: vec!["qemu-xhci".to_owned()],
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("compositor started");
        start_weston(machine);
        assert!(
            said(machine, "QEMU Virtio Keyboard"),
            "{}",
            machine.shell.run("cat /tmp/weston.log")
        );

        machine
            .qmp
            .execute("device_add", &json!({"driver": "usb-kbd", "id": "kbd1"}));
        machine.until("weston hears of the keyboard", |machine| {
            said(machine, "QEMU USB Keyboard.*Keyboard")
        });
        let node = "for e in /sys/class/input/event*; do grep -q 'USB Keyboard' $e/device/name && echo ${e##*/}; done";
        let node = machine.shell.run(node).trim().to_owned();
        let owner = machine
            .shell
            .run(&format!("stat -c '%u %g %a' /dev/input/{node}"));
        assert_eq!(owner.trim(), "0 990 640", "the compositor's alone, to read");
        let entries = "ls /run/udev/data | wc -l";
        let with: u32 = machine.shell.run(entries).trim().parse().unwrap();
        machine.qmp.execute("device_del", &json!({"id": "kbd1"}));
        machine.until("the entries of the keyboard go", |machine| {
            machine.shell.run(entries).trim().parse::<u32>().unwrap() < with
        });

        let mut second = machine.head(1);
        second.resize((1024, 768));
        machine.until("weston hears of the output", |machine| {
            said(machine, "Output .Virtual-2. enabled")
        });
        second.resize((0, 0));
        machine.until("weston hears that it is gone", |machine| {
            said(machine, "Virtual-2.*disconnected") || said(machine, "Output 'Virtual-2' (.*) disabled")
        });
    });
}
