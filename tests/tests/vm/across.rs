// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor in a machine of its own, with a stock kernel: programs of other machines and of the host come to it over one channel
//! of cross-domain.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::{CONFIG, Host, Program, program, until};
use heraldry_tests::vm::{AppDevice, Files, Machine, Setup, attempt, skipped};

use crate::boot::SHELL_ONLY;
use crate::session::{FOOT, settled, wait_for_windows};

/// The compositor's machine.
fn setup(device: &AppDevice, config: &str) -> Setup {
    Setup {
        files: Files::default()
            .with("/etc/heraldry/services", SHELL_ONLY)
            .with("/etc/heraldry/heraldry.kdl", config),
        append: "heraldry.device=/dev/dri".to_owned(),
        device: Some(device.socket()),
        ..Setup::default()
    }
}

fn wait_for_compositor(machine: &mut Machine, host: &Host) {
    machine.wait_for("compositor started");
    until("host and compositor know each other", || {
        host.stats().get("compositor") == Some(&true.into())
    });
}

/// A program of an app machine, through the proxy.
fn start(machine: &mut Machine, name: &str, program: &str) {
    let line = format!("exec heraldry-guest -- {program}");
    machine.shell.start(name, &line);
}

/// How many windows a VM has, shown or not.
fn windows_of(machine: &mut Machine, vm: &str) -> usize {
    let (code, text) = machine.shell.try_run("ctl windows");
    let word = format!(" {vm} ");
    text.lines()
        .filter(|line| code == 0 && line.contains(&word))
        .count()
}

#[test]
fn a_window_of_one_machine_is_on_the_screen_of_another() {
    if skipped() {
        return;
    }
    let host = Host::start();
    let (own, work) = (AppDevice::of_compositor(&host), AppDevice::of_vm(&host, "work"));
    attempt(&setup(&own, CONFIG), |machine| {
        wait_for_compositor(machine, &host);
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

#[test]
fn a_compositor_s_machine_that_boots_again_is_noticed_by_no_other_and_shows_nothing_old() {
    if skipped() {
        return;
    }
    let quota = "vm \"untrusted\" { quota { clients 64; }; ";
    let config = CONFIG.replacen("vm \"untrusted\" {", quota, 1);
    let host = Host::with(&config);
    let (own, work) = (AppDevice::of_compositor(&host), AppDevice::of_vm(&host, "work"));
    let setup = Setup {
        reboots: true,
        ..setup(&own, &config)
    };
    attempt(&setup, |machine| {
        wait_for_compositor(machine, &host);
        let mut app = Machine::start(&work.machine());
        start(&mut app, "first", "weston-simple-shm");
        machine.until("a window", |machine| windows_of(machine, "work") == 1);
        // Forty clients of another VM, with hundreds of pools that the compositor's machine maps, some of which QEMU could not.
        let mut command = Command::new(program("heraldry-plenty"));
        command
            .arg("200")
            .env("XDG_RUNTIME_DIR", host.file(""))
            .env("WAYLAND_DISPLAY", "host/vm/untrusted/wayland-0");
        let mut plenty = Program::start("plenty", &mut command, &host.file(""));
        machine.until("forty clients and their windows", |machine| {
            assert!(plenty.runs(), "{}", plenty.log());
            windows_of(machine, "untrusted") == 4 + 39
        });
        assert_eq!(windows_of(machine, "work"), 1, "others are shown beside them");

        // More pools than can be mapped into a guest: that client is refused, and told why.
        let mut greedy = Command::new(program("heraldry-plenty"));
        greedy
            .arg("500")
            .env("XDG_RUNTIME_DIR", host.file(""))
            .env("WAYLAND_DISPLAY", "host/vm/personal/wayland-0");
        let mut greedy = Program::start("greedy", &mut greedy, &host.file(""));
        until("it is refused", || !greedy.runs());
        assert!(greedy.log().contains("rule pool-memory"), "{}", greedy.log());
        start(&mut app, "third", "weston-simple-shm");
        machine.until("a window", |machine| windows_of(machine, "work") == 2);

        machine.reset();
        until("its clients are gone", || !plenty.runs());
        app.until("the client in a machine is gone", |app| {
            app.shell
                .run("cat /proc/[0-9]*/comm")
                .matches("weston-simple")
                .count()
                == 0
        });
        wait_for_compositor(machine, &host);
        for vm in ["work", "untrusted"] {
            assert_eq!(windows_of(machine, vm), 0, "{vm}");
        }
        // The app machine runs on, and its device too.
        start(&mut app, "second", "weston-simple-shm");
        machine.until("a window", |machine| windows_of(machine, "work") == 1);
    });
}

/// Memory of the host's that a process has mapped for all who have it: by number, of `heraldry-device`.
fn mapped(pid: u32) -> BTreeSet<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process");
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "rw-s", _, _, number, name, ..] = *words.as_slice() else {
            return None;
        };
        let number = number.parse().ok()?;
        name.starts_with("/memfd:heraldry-device").then_some(number)
    };
    maps.lines().filter_map(line).collect()
}

/// What is in memory that a process has open.
fn content(pid: u32, number: u64) -> Vec<u8> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    let is_it = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|file| file.ino() == number);
    let path = folder.flatten().map(|entry| entry.path()).find(is_it);
    std::fs::read(path.expect("it is open there")).expect("memory")
}

#[test]
fn what_a_client_draws_is_copied_once_into_memory_that_both_machines_see() {
    if skipped() {
        return;
    }
    let host = Host::start();
    let (own, work) = (AppDevice::of_compositor(&host), AppDevice::of_vm(&host, "work"));
    attempt(&setup(&own, CONFIG), |machine| {
        wait_for_compositor(machine, &host);
        let mut app = Machine::start(&work.machine());
        app.shell.start("proxy", "exec heraldry-guest --log info");
        let client = "until s=$(ls /run/user | grep -m1 '^wayland-[0-9]*$'); do sleep 0.1; done; \
                      WAYLAND_DISPLAY=$s exec heraldry-plenty 0 1";
        app.shell.start("client", client);
        machine.until("its windows", |machine| windows_of(machine, "work") == 4);
        // The very memory, and what was drawn is in it.
        let both: Vec<u64> = mapped(app.pid())
            .intersection(&mapped(machine.pid()))
            .copied()
            .collect();
        let [red, green, blue] = MAGENTA;
        let line = [blue, green, red, 0xff].repeat(64 * 48);
        let has_it = |number: &&u64| {
            let bytes = content(work.program.pid(), **number);
            bytes.windows(line.len()).step_by(4).any(|window| window == line)
        };
        assert_eq!(both.iter().filter(has_it).count(), 1, "{both:?}");
        // On one side all of it was copied once, on the other nothing.
        let stats: serde_json::Value =
            serde_json::from_str(&machine.shell.run("ctl --json stats")).expect("counters");
        let vms = stats.pointer("/stats/vms").and_then(serde_json::Value::as_array);
        let vms = vms.unwrap_or_else(|| panic!("{stats}"));
        let vm = vms.iter().find(|vm| vm["name"] == "work").expect("the VM");
        assert_eq!(
            (&vm["copied_bytes"], vm["contents"].as_u64() > Some(0)),
            (&0.into(), true)
        );
        app.shell.run("kill $(pidof heraldry-plenty)");
        app.until("the proxy counts", |app| {
            let log = app.shell.run("cat /tmp/proxy.log");
            log.contains("contents=5 copied_bytes=61440 each=12288")
        });
    });
}
