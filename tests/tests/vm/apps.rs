// SPDX-License-Identifier: MIT OR Apache-2.0
//! App VMs: real machines with stock kernels, whose programs come through `heraldry-guest`, cross-domain, `heraldry-device` and
//! `heraldry-host`. The compositor runs on the host here.

use std::collections::BTreeSet;
use std::process::Command;

use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::colour::{Area, Colour};
use heraldry_tests::rig::{CONFIG, Options, Rig, Transport, until};
use heraldry_tests::vm::{AppDevice, Machine, Setup, attempt, skipped};

use crate::session::FOOT;

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

        // A paste: what is selected goes out as one pipe and comes in as another.
        let program = "sh -c 'printf HERALDRY\\\\n; exec cat >/pasted'";
        start(machine, "paste", &format!("{FOOT} {program}"));
        let area = rig.content_of("work");
        let empty = content(&rig, area);
        until("a word", || content(&rig, area) != empty);
        let (x, y) = (area.x + 20, area.y + 10);
        let mut selects = false;
        machine.until("the word is pasted", |machine| {
            // Selected, and the next time pasted: the offer takes its time to come back to the machine.
            selects = !selects;
            if selects {
                rig.click(x, y);
                rig.click(x, y);
                return false;
            }
            rig.click_with("middle", x, y);
            // The end of its line, and of some empty ones before.
            rig.type_text("\n");
            machine.shell.try_run("cat /pasted").1.contains("HERALDRY\n")
        });
    });
}

/// The boot instance that the host gave a VM.
fn boot(rig: &Rig, vm: &str) -> u64 {
    let stats = rig.host_stats();
    let boot = stats.pointer(&format!("/vms/{vm}/boot"));
    boot.and_then(serde_json::Value::as_u64).expect("a number")
}

fn windows_of(rig: &Rig, vm: &str) -> usize {
    rig.windows().iter().filter(|window| window.vm == vm).count()
}

/// Types into a VM's window, and waits until what was typed has happened.
fn type_into(rig: &Rig, machine: &mut Machine, vm: &str, word: &str) {
    let area = rig.content_of(vm);
    rig.click(area.x + 5, area.y + 5);
    rig.type_text(&format!("echo {word} >> /said\n"));
    machine.until("the typed command has run", |machine| {
        machine
            .shell
            .try_run("cat /said")
            .1
            .ends_with(&format!("{word}\n"))
    });
}

#[test]
fn a_machine_that_is_stopped_ended_or_panics_is_noticed_by_no_other() {
    if skipped() {
        return;
    }
    let rig = rig();
    let devices = ["work", "untrusted"].map(|vm| AppDevice::start(&rig, vm));
    let [work, untrusted] = devices.each_ref().map(AppDevice::machine);
    let terminal = format!("{FOOT} sh");
    let moving = Setup {
        append: "heraldry.run=weston-simple-shm".to_owned(),
        ..untrusted
    };
    attempt(&work, |machine| {
        start(machine, "terminal", &terminal);
        type_into(&rig, machine, "work", "one");
        let other = Machine::start(&moving);
        until("a window that moves", || windows_of(&rig, "untrusted") == 1);
        let first = boot(&rig, "untrusted");

        // Stopped in the middle of its frames.
        other.freeze(true);
        type_into(&rig, machine, "work", "two");
        assert_eq!(windows_of(&rig, "untrusted"), 1);
        other.freeze(false);

        // Its VMM is gone from one moment to the next.
        drop(other);
        until("its window is gone", || windows_of(&rig, "untrusted") == 0);
        assert_eq!(boot(&rig, "untrusted"), 0);
        type_into(&rig, machine, "work", "three");

        // The same device serves the next one, which is another boot; this one panics, and that is its end.
        let mut other = Machine::start(&moving);
        until("its window", || windows_of(&rig, "untrusted") == 1);
        assert!(![0, first].contains(&boot(&rig, "untrusted")));
        other.shell.run_last("echo c > /proc/sysrq-trigger");
        until("its window is gone", || windows_of(&rig, "untrusted") == 0);
        type_into(&rig, machine, "work", "four");
        let said = machine.shell.run("cat /said");
        assert_eq!(said, "one\ntwo\nthree\nfour\n");
    });
}

#[test]
fn a_machine_that_asks_for_too_much_or_talks_nonsense_is_refused_and_goes_on() {
    if skipped() {
        return;
    }
    let rig = rig();
    let mut device = AppDevice::start(&rig, "work");
    attempt(&device.machine(), |machine| {
        let said = machine.shell.run("heraldry-flood");
        let said: Vec<&str> = said.lines().collect();
        // QEMU would abort at 512.
        let expected = [
            "nonsense ends connections",
            "400 pieces are mapped",
            "again true",
            "2 GiB false",
        ];
        assert_eq!(said.get(..4), Some(&expected[..]), "{said:?}");
        assert!(said[4].starts_with("300 contexts, "), "{said:?}");
        assert_eq!(said[5], "a foreign descriptor is sent: false");
        start(machine, "client", "weston-simple-shm");
        until("a window", || windows_of(&rig, "work") == 1);
    });
    assert!(device.program.runs());
}

#[test]
fn a_machine_that_boots_again_with_memory_mapped_comes_back() {
    if skipped() {
        return;
    }
    let rig = rig();
    let devices = ["work", "untrusted"].map(|vm| AppDevice::start(&rig, vm));
    let [work, untrusted] = devices.each_ref().map(AppDevice::machine);
    let terminal = format!("{FOOT} sh");
    attempt(&work, |machine| {
        start(machine, "terminal", &terminal);
        type_into(&rig, machine, "work", "one");
        let mut other = Machine::start(&Setup {
            append: "heraldry.run=weston-simple-shm".to_owned(),
            reboots: true,
            ..untrusted.clone()
        });
        // By itself, by a panic, and as by its button: nobody in it is told, and its card is not put away.
        let mut boots = BTreeSet::new();
        for how in ["b", "c", "button", "button"] {
            until("a window", || windows_of(&rig, "untrusted") == 1);
            assert!(boots.insert(boot(&rig, "untrusted")), "a boot of its own");
            other.shell.run("true");
            match how {
                "button" => other.reset(),
                key => other.shell.run_last(&format!("echo {key} > /proc/sysrq-trigger")),
            }
            until("its window is gone", || windows_of(&rig, "untrusted") == 0);
        }
        until("another window", || windows_of(&rig, "untrusted") == 1);
        // It can map as much as ever, and more than QEMU tells its device of: nothing from before is in the way.
        for number in 1..=11 {
            start(&mut other, &format!("client{number}"), "weston-simple-shm");
        }
        until("twelve windows", || windows_of(&rig, "untrusted") == 12);
        type_into(&rig, machine, "work", "two");
    });
}

#[test]
fn a_machine_with_much_of_everything_is_shown_and_its_qemu_lives() {
    if skipped() {
        return;
    }
    let rig = Rig::start(Options {
        config: CONFIG.replacen("vm \"work\" {", "vm \"work\" { quota { clients 64; }; ", 1),
        transport: Transport::Local,
        ..Options::default()
    });
    let device = AppDevice::start(&rig, "work");
    attempt(&device.machine(), |machine| {
        start(machine, "plenty", "heraldry-plenty 500");
        machine.until("all of it", |machine| {
            let said = machine.shell.run("cat /tmp/plenty.log");
            assert!(!said.contains("panicked"), "{said}");
            said.contains("40 clients")
        });
        let expected = [
            "500 buffers",
            "512 MiB",
            "write-sealed",
            "read-only",
            "keymap in whole pages false, good true",
            "40 clients",
        ];
        let said = machine.shell.run("cat /tmp/plenty.log");
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        assert_eq!(windows_of(&rig, "work"), 4 + 39);
        // The pixels are those of the memory that they came from.
        for colour in [MAGENTA, CYAN, YELLOW] {
            until("its colour", || {
                rig.picture()
                    .iter()
                    .filter(|(_, _, other)| *other == colour)
                    .count()
                    >= 64 * 48 / 4
            });
        }
    });
}
