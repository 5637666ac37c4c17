// SPDX-License-Identifier: MIT OR Apache-2.0
//! A compositor that was taken over, in the machine that users boot: what it can do is what SECURITY.md says. And a supervisor
//! that stands still goes on.

use heraldry_tests::escape::{SAYS, documented, said};
use heraldry_tests::vm::{Files, Machine, Setup, attempt};

use super::boot::SHELL_ONLY;

/// The supervisor's process: of the user that nothing else is.
fn supervisor(machine: &mut Machine) -> Option<u32> {
    let script = "for p in $(busybox pidof heraldry-init); do grep -q '^Uid:.989.989.989.989' /proc/$p/status && echo $p; done; true";
    machine.shell.run(script).trim().parse().ok()
}

fn compositor(machine: &mut Machine) -> Option<u32> {
    machine
        .shell
        .try_run("busybox pidof heraldry")
        .1
        .trim()
        .parse()
        .ok()
}

#[test]
fn a_compositor_that_was_taken_over_does_not_get_out_and_its_supervisor_is_out_of_reach() {
    let setup = Setup {
        files: Files::default()
            .with("/etc/heraldry/services", SHELL_ONLY)
            .with("/etc/heraldry/modules", "evdev\nuinput\n"),
        ..Setup::default()
    };
    attempt(&setup, |machine| {
        machine.wait_for("running backend=\"kms\"");
        assert!(machine.said("files are restricted"));
        let pid = supervisor(machine).expect("a supervisor of its own user");
        let status = machine.shell.run(&format!("cat /proc/{pid}/status"));
        for line in [
            "Gid:\t989\t989\t989\t989",
            "Groups:\t ",
            "CapInh:\t00000000000001e0",
            "CapPrm:\t00000000000001e0",
            "CapEff:\t00000000000001e0",
            "CapBnd:\t00000000000001e0",
            "CapAmb:\t00000000000001e0",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.lines().any(|found| found == line), "{line}: {status}");
        }
        // Whoever may not be looked at has files of root's.
        let owner = machine.shell.run(&format!("stat -c %u /proc/{pid}/mem"));
        assert_eq!(owner.trim(), "0");

        // It goes on, and what it watches does too.
        machine.shell.run(&format!("kill -STOP {pid}"));
        machine.wait_for("compositor was stopped by a signal; it goes on");
        let stopped = compositor(machine).expect("a compositor");
        machine.shell.run(&format!("kill -STOP {stopped}"));
        machine.wait_for("the compositor was stopped by a signal; it goes on");

        // Whoever has taken over the compositor does what it likes in its place.
        machine
            .shell
            .run("mv /usr/bin/heraldry /usr/bin/aside; ln -s heraldry-escape /usr/bin/heraldry");
        machine.shell.run(&format!("kill -ABRT {stopped}"));
        machine.wait_for("the compositor crashed");
        machine.wait_for(&format!("{SAYS}done"));
        let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md"));
        assert_eq!(
            said(&machine.console()),
            documented(&document.expect("a document"))
        );
        assert_eq!(supervisor(machine), Some(pid), "the supervisor is the same");

        // One that is stopped again and again makes room for another, and so does what it watches.
        machine
            .shell
            .run("mv /usr/bin/aside /usr/bin/heraldry; kill -KILL $(busybox pidof heraldry)");
        machine.wait_for("running backend=\"kms\"");
        for _ in 0..8 {
            machine.shell.run(&format!("kill -STOP {pid}"));
            machine.wait_for("compositor was stopped by a signal");
        }
        machine.wait_for("compositor started");
        machine.wait_for("running backend=\"kms\"");
        assert!(supervisor(machine).is_some_and(|now| now != pid));
        assert!(compositor(machine).is_some(), "one alone");
    });
}
