// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting, ending, and what is said when something is missing.

use std::path::Path;

use heraldry_tests::rig::program;
use heraldry_tests::vm::{Files, Setup, attempt, base, kernel};

/// The shell alone: no emulated device, no clients.
pub(crate) const SHELL_ONLY: &str = "shell 0 /usr/lib/heraldry-test/shell\n";

#[test]
fn init_starts_everything_in_order_and_the_machine_is_switched_off() {
    attempt(&Setup::default(), |machine| {
        machine.wait_for("heraldry init ");
        machine.wait_for("modules loaded");
        machine.wait_for("GPU /dev/dri/card0 (virtio");
        machine.wait_for("compositor started");
        let input = machine.wait_for("input: ");
        assert!(
            input.contains("Virtio Keyboard") && input.contains("Virtio Tablet"),
            "{input}"
        );
        machine.until("the configuration is read", |machine| {
            machine.said("configuration /etc/heraldry/heraldry.kdl: ")
        });
        let mounts = machine.shell.run("cut -d' ' -f2,4 /proc/mounts");
        for (folder, flag) in [
            ("/proc", "noexec"),
            ("/sys", "nosuid"),
            ("/dev", "nosuid"),
            ("/run", "nodev"),
            ("/tmp", "noexec"),
            ("/dev/pts", "noexec"),
            ("/dev/shm", "nodev"),
        ] {
            let line = mounts
                .lines()
                .find_map(|line| line.strip_prefix(folder)?.strip_prefix(' '));
            assert!(
                line.is_some_and(|flags| flags.contains(flag)),
                "{folder}: {mounts}"
            );
        }
        let log = machine.shell.run("ctl log");
        assert!(
            log.contains("heraldry init") && log.contains("compositor started"),
            "{log}"
        );
        // Whoever is neither root nor the compositor gets nothing.
        let other = machine
            .shell
            .try_run("heraldry-init confine 1000 heraldry ctl log");
        assert_eq!(other.0, 1, "{}", other.1);
        machine.shell.run_last("ctl power-off");
        machine.wait_for("switching off (asked to)");
        machine.wait_for("heraldry init: switching off");
        machine.wait_for_end();
    });
}

/// In the `/proc/PID/status` of so many processes: each has given up everything.
fn assert_confined(status: &str, processes: usize) {
    for line in [
        "Uid:\t990\t990\t990\t990",
        "Gid:\t990\t990\t990\t990",
        "Groups:\t ",
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        let found = status.lines().filter(|found| *found == line).count();
        assert_eq!(found, processes, "{line}: {status}");
    }
}

#[test]
fn programs_are_confined_started_again_and_nobody_stays_behind() {
    attempt(&Setup::default(), |machine| {
        machine.wait_for("host started");
        let status = machine
            .shell
            .run("heraldry-init confine 990 busybox cat /proc/self/status");
        assert_confined(&status, 1);
        assert!(
            status.lines().any(|line| line == "SigBlk:\t0000000000000000"),
            "{status}"
        );
        let limits = machine
            .shell
            .run("heraldry-init confine 990 busybox cat /proc/self/limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        assert!(core.is_some_and(|line| line.contains(" 0 ")), "{limits}");
        // Who cannot give up everything starts nothing.
        let kept = machine
            .shell
            .try_run("heraldry-init confine 990 heraldry-init confine 991 busybox id");
        assert_eq!(kept.0, 70, "{}", kept.1);
        assert!(kept.1.contains("the program is not started"), "{}", kept.1);

        machine.shell.run("kill -KILL $(busybox pidof heraldry-host)");
        machine.wait_for("host was ended by signal 9");
        machine.wait_for("host starts again in 100ms");
        machine.wait_for("host started");
        // An orphan becomes a child of PID 1, which takes note of its end.
        machine.shell.run("(busybox sleep 0.2 &)");
        machine.until("no process stays behind as a zombie", |machine| {
            !machine.shell.run("busybox ps -o stat,comm").contains("Z ")
        });
        // A program that ends at no signal but the last.
        machine
            .shell
            .start("stubborn", "trap '' TERM; while true; do busybox sleep 1; done");
        machine.shell.run_last("ctl reboot");
        machine.wait_for("some programs did not end in 3s");
        machine.wait_for_end();
    });
}

/// The kernel's time at the start of a line of init's.
fn seconds(line: &str) -> f64 {
    let time = line.trim_start_matches('[').split(']').next();
    time.and_then(|time| time.trim().parse().ok()).expect("a time")
}

/// The number behind `name` at the end of a line.
fn milliseconds(line: &str, name: &str) -> f64 {
    let number = line.rsplit_once(name).and_then(|(_, number)| number.parse().ok());
    number.unwrap_or_else(|| panic!("{name} in {line:?}"))
}

/// How the programs were built: `debug`, or `release` as those of `make image`.
fn build() -> String {
    let folder = program("heraldry").parent().map(Path::to_owned);
    let name = folder.and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_default()
}

#[test]
fn ctrl_alt_del_restarts_and_the_users_image_boots() {
    let setup = Setup {
        image: base(),
        append: "heraldry.no-such=1".to_owned(),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        let kernel = seconds(&machine.wait_for("heraldry init "));
        machine.wait_for("heraldry.no-such on the kernel command line is unknown");
        let drivers = milliseconds(&machine.wait_for("modules loaded"), "ms=") / 1000.0;
        machine.wait_for("no virtio_wl device /dev/wl0");
        machine.wait_for("compositor started");
        let first = milliseconds(&machine.wait_for("first frame"), "after_boot_ms=") / 1000.0;
        println!(
            "first frame {first:.2} s after the kernel's start: kernel {kernel:.2}, its drivers {drivers:.2}, ours {:.2} \
             ({} build)",
            first - kernel - drivers,
            build()
        );
        machine.until("input devices are there", |machine| machine.said("input: "));
        machine.qmp.chord(&["ctrl", "alt", "delete"]);
        // By the compositor's key: while it runs, the kernel hears no keys.
        machine.wait_for("restarting (asked to)");
        machine.wait_for_end();
    });
}

#[test]
fn without_a_configuration_or_with_a_broken_one_the_console_says_so() {
    let broken = "schema 1\nvm \"work\" { colour \"#123456\"; }\nno-such-node\n";
    let files = Files::default()
        .with("/etc/heraldry/services", SHELL_ONLY)
        .with("/etc/heraldry/broken.kdl", broken);
    for (path, expected) in [
        ("/etc/heraldry/none.kdl", &["none.kdl"][..]),
        (
            "/etc/heraldry/broken.kdl",
            &["broken.kdl:2:", "broken.kdl:3:"][..],
        ),
    ] {
        let setup = Setup {
            files: files.clone(),
            append: format!("heraldry.config={path}"),
            ..Setup::default()
        };
        attempt(&setup, |machine| {
            machine.wait_for("compositor started");
            for words in expected {
                machine.wait_for(words);
            }
            machine.wait_for("every VM will be refused");
            // The compositor as users have it; its supervisor is looked at in `escape`.
            let status = machine
                .shell
                .run("for p in $(busybox pidof heraldry); do cat /proc/$p/status; done");
            assert_confined(&status, 1);
            machine.shell.run_last("ctl reboot");
            machine.wait_for_end();
        });
    }
}

#[test]
fn without_devices_the_console_says_what_to_do_and_what_comes_later_is_used() {
    let setup = Setup {
        files: Files::default().with("/etc/heraldry/services", SHELL_ONLY),
        outputs: 0,
        input: false,
        // The machine's old keyboard controller is there whatever QEMU is told.
        append: "i8042.noaux=1 i8042.nokbd=1".to_owned(),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("waiting for a GPU");
        machine.wait_for("no keyboard and no pointer");
        let line = machine.wait_for("no GPU (/dev/dri/card*)");
        assert!(line.contains("-device virtio-gpu-pci"), "{line}");
        assert!(!machine.said("compositor started"));
        machine.qmp.execute("system_powerdown", &serde_json::json!({}));
        machine.wait_for("switching off (the power button)");
        machine.wait_for_end();
    });
    // With an empty index no driver is loaded, as with one that takes its time.
    let version = kernel().file_name().unwrap().to_string_lossy().into_owned();
    let setup = Setup {
        files: setup
            .files
            .with(&format!("/usr/lib/modules/{version}/modules.alias"), ""),
        outputs: 1,
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("no GPU (/dev/dri/card*)");
        machine.shell.run(
            "for m in virtio_dma_buf drm drm_kms_helper drm_shmem_helper virtio-gpu; \
             do insmod $(find /usr/lib/modules/ -name $m.ko); done",
        );
        machine.wait_for("GPU /dev/dri/card0 (virtio");
        machine.wait_for("compositor started");
    });
}
