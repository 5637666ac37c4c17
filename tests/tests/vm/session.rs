// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows of VMs on a real screen: what is shown, after a crash too, and what it costs to show nothing new.

use std::time::{Duration, Instant};

use heraldry_tests::rig::{CONFIG, Rig};
use heraldry_tests::vm::{Files, Machine, Setup, attempt};

/// A terminal whose picture does not change by itself.
pub(crate) const FOOT: &str = "foot --config=/dev/null --override=font=monospace:size=10 --override=cursor.blink=no \
                    --override=dpi-aware=no --override=initial-window-size-pixels=620x300";

pub(crate) fn setup() -> Setup {
    Setup {
        files: Files::default().with("/etc/heraldry/heraldry.kdl", CONFIG),
        ..Setup::default()
    }
}

/// Lines of `ctl windows` with a content rectangle.
pub(crate) fn windows(machine: &mut Machine) -> Vec<String> {
    let (code, text) = machine.shell.try_run("ctl windows");
    let shown = |line: &&str| code == 0 && line.contains(" floating ") && !line.contains("not shown");
    text.lines().filter(shown).map(ToOwned::to_owned).collect()
}

pub(crate) fn wait_for_windows(machine: &mut Machine, count: usize) {
    machine.until("windows", |machine| windows(machine).len() == count);
}

/// Waits until two looks at the screen are the same: clients draw when they have the time.
pub(crate) fn settled(machine: &mut Machine) -> heraldry_tests::colour::Pixels {
    let mut before = machine.screen();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let now = machine.screen();
        if now.first_difference(&before).is_none() {
            return now;
        }
        assert!(Instant::now() < deadline, "the screen does not come to rest");
        before = now;
    }
}

pub(crate) fn counters(machine: &mut Machine) -> (u64, u64) {
    let stats: serde_json::Value =
        serde_json::from_str(&machine.shell.run("ctl --json stats")).expect("counters");
    let frames = stats
        .pointer("/stats/frames")
        .or_else(|| stats.pointer("/frames"));
    let frames = frames
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_else(|| panic!("{stats}"));
    // The compositor is the child of its supervisor.
    let pid = compositor(machine);
    let text = machine.shell.run(&format!("cat /proc/{pid}/task/*/status"));
    let switches = text
        .lines()
        .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))
        .filter_map(|count| count.trim().parse::<u64>().ok())
        .sum();
    (frames, switches)
}

/// The process that draws.
fn compositor(machine: &mut Machine) -> u32 {
    let script = "for p in $(busybox pidof heraldry); do tr '\\0' ' ' </proc/$p/cmdline | grep -q ' run ' && echo $p; done; true";
    let text = machine.shell.run(script);
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("one compositor: {text:?}"))
}

/// The compositor crashes. Returns how long it took until another one ran.
fn crash(machine: &mut Machine) -> Duration {
    let pid = compositor(machine);
    let start = Instant::now();
    // Not SEGV: Rust's runtime lets the first pass, and a second that comes before the first was seen is lost.
    machine.shell.run(&format!("kill -ABRT {pid}"));
    machine.wait_for("the compositor crashed");
    machine.wait_for("running backend=\"kms\"");
    let back = start.elapsed();
    assert!(back < Duration::from_secs(10), "{back:?}");
    back
}

/// Starts a terminal in a VM in which nothing moves.
pub(crate) fn start_still(machine: &mut Machine, vm: &str) {
    machine
        .shell
        .start(vm, &format!("exec vm {vm} {FOOT} sh -c 'sleep 1000'"));
}

/// The content of a VM's window as `ctl windows` has it: left, top, width, height; and whether it has the keyboard.
pub(crate) fn window(machine: &mut Machine, vm: &str) -> Option<([i32; 4], bool)> {
    let lines = windows(machine);
    let line = lines.iter().find(|line| line.contains(&format!(" {vm} ")))?;
    let place = line.split_whitespace().find(|word| word.contains('+'))?;
    let numbers: Vec<i32> = place
        .split(['x', '+'])
        .filter_map(|number| number.parse().ok())
        .collect();
    let [w, h, x, y] = *numbers.as_slice() else {
        return None;
    };
    Some(([x, y, w, h], line.starts_with('*')))
}

#[test]
fn keys_and_pointer_reach_windows_and_a_crash_costs_nobody_but_the_windows() {
    attempt(&setup(), |machine| {
        machine.wait_for("running backend=\"kms\"");
        machine.shell.start("work", &format!("exec vm work {FOOT} sh"));
        wait_for_windows(machine, 1);
        let before = settled(machine);

        // Keys, which a login prompt on a virtual terminal must not hear.
        machine
            .shell
            .run("(busybox timeout 600 cat /dev/tty1 > /tmp/overheard 2>&1 &)");
        machine.qmp.type_text("cd\necho heraldry > typed\n");
        machine.until("the typed command has run", |machine| {
            machine.shell.try_run("cat /tmp/typed").1 == "heraldry\n"
        });
        assert_eq!(
            machine.shell.run("cat /tmp/overheard"),
            "",
            "what else heard the keys"
        );
        let after = settled(machine);
        let changed = before
            .iter()
            .zip(after.iter())
            .filter(|(old, new)| old != new)
            .count();
        assert!(changed > 100, "the typed text is on the screen: {changed} pixels");

        // A window is moved by its title.
        let ([x, y, w, h], _) = window(machine, "work").expect("a window");
        machine.point((x + w / 2, y - 12));
        machine.qmp.button("left", true);
        machine.point((x + w / 2 + 100, y - 12 + 50));
        machine.point((x + w / 2 + 200, y - 12 + 100));
        machine.qmp.button("left", false);
        machine.until("the window has moved", |machine| {
            window(machine, "work").is_some_and(|(place, _)| place == [x + 200, y + 100, w, h])
        });

        // A key of the compositor's own.
        start_still(machine, "vault");
        wait_for_windows(machine, 2);
        let focused = |machine: &mut Machine, vm| window(machine, vm).is_some_and(|(_, focused)| focused);
        let first = if focused(machine, "work") { "work" } else { "vault" };
        let other = if first == "work" { "vault" } else { "work" };
        machine.qmp.chord(&["alt", "tab"]);
        machine.until("the other window has the keyboard", |machine| {
            focused(machine, other)
        });

        // A crash.
        let back = crash(machine);
        println!("back {} ms after a crash", back.as_millis());
        machine.until("the old clients have ended", |machine| {
            machine.shell.try_run("busybox pidof foot").0 != 0
        });
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let (place, _) = window(machine, "work").expect("a window");
        assert_framed(&settled(machine), place, WORK);
    });
}

/// The colour of the VM `work` in the configuration.
const WORK: [u8; 3] = [0x2a, 0x5f, 0xb0];

/// Asserts that a window's content has its VM's colour on each side.
#[track_caller]
fn assert_framed(screen: &heraldry_tests::colour::Pixels, [x, y, w, h]: [i32; 4], colour: [u8; 3]) {
    let near = |sides: &mut dyn Iterator<Item = (i32, i32)>| {
        let count = sides.filter(|(x, y)| screen.at(*x, *y) == colour).count();
        assert!(count > 0, "no frame at {x},{y} {w}x{h}");
    };
    // The frame is hatched, so that not every pixel of it has the colour.
    near(&mut (1..6).flat_map(|d| (0..h).map(move |at| (x - d, y + at))));
    near(&mut (0..6).flat_map(|d| (0..h).map(move |at| (x + w + d, y + at))));
    near(&mut (1..20).flat_map(|d| (0..w).map(move |at| (x + at, y - d))));
    near(&mut (0..6).flat_map(|d| (0..w).map(move |at| (x + at, y + h + d))));
}

#[test]
fn outputs_come_and_go_and_windows_stay_framed_on_what_is_left() {
    let setup = Setup {
        outputs: 2,
        ..setup()
    };
    attempt(&setup, |machine| {
        machine.wait_for("running backend=\"kms\"");
        start_still(machine, "work");
        wait_for_windows(machine, 1);
        let screens = |machine: &mut Machine| machine.shell.run("ctl screens").lines().count();
        assert_eq!(screens(machine), 1);
        let (mut first, mut second) = (machine.head(0), machine.head(1));
        second.resize((1024, 768));
        machine.until("a second screen", |machine| screens(machine) == 2);

        // QEMU takes note of changes alone, and does not know of the first size.
        first.resize((1280, 800));
        // Its own screen goes: the window is on the other, framed.
        first.resize((0, 0));
        machine.until("one screen", |machine| screens(machine) == 1);
        machine.until("the window is within the screen that is left", |machine| {
            window(machine, "work")
                .is_some_and(|([x, y, w, h], _)| x > 0 && y > 0 && x + w < 1024 && y + h < 768)
        });
        let (place, _) = window(machine, "work").expect("a window");
        machine.until("it is framed there", |machine| {
            let screen = machine.output(1);
            std::panic::catch_unwind(|| assert_framed(&screen, place, WORK)).is_ok()
        });

        // All go, and one comes back.
        second.resize((0, 0));
        machine.wait_for("no screen is plugged in");
        machine.shell.run("ctl vms");
        first.resize((1280, 800));
        machine.wait_for("screen lit connector=\"Virtual-1\"");
        let (place, _) = window(machine, "work").expect("the window has stayed");
        machine.until("it is framed", |machine| {
            let screen = machine.output(0);
            std::panic::catch_unwind(|| assert_framed(&screen, place, WORK)).is_ok()
        });
    });
}

#[test]
fn a_broken_configuration_is_on_the_screen_and_no_vm_is_served() {
    let setup = Setup {
        append: "heraldry.config=/etc/heraldry/broken.kdl".to_owned(),
        files: setup()
            .files
            .with("/etc/heraldry/broken.kdl", "schema 1\nno-such-node\n")
            // As it is started where users have it: under no emulator.
            .with("/etc/heraldry/services", "shell 0 /usr/lib/heraldry-test/shell\n"),
        ..setup()
    };
    attempt(&setup, |machine| {
        machine.wait_for("broken.kdl:2:");
        machine.wait_for("running backend=\"kms\"");
        let screen = settled(machine);
        let background = screen.at(2, 2);
        let drawn = screen.iter().filter(|(.., colour)| *colour != background).count();
        assert!(drawn > 500, "a notice on the screen: {drawn} pixels");
        let back = crash(machine);
        println!("without an emulator: back {} ms after a crash", back.as_millis());
        assert_eq!(
            settled(machine).first_difference(&screen),
            None,
            "the notice is back"
        );
        machine.shell.run_last("ctl reboot");
        machine.wait_for_end();
    });
}

#[test]
fn a_vms_window_is_on_the_screen_as_it_is_without_one() {
    attempt(&setup(), |machine| {
        machine.wait_for("compositor started");
        machine
            .shell
            .start("work", &format!("exec vm work {FOOT} sh -c 'sleep 1000'"));
        wait_for_windows(machine, 1);
        println!("first window after {:.1} s of QEMU", machine.age().as_secs_f32());
        let real = settled(machine);

        let rig = Rig::default();
        let mut words = FOOT.split_whitespace();
        let mut foot = std::process::Command::new(words.next().unwrap());
        foot.args(words).args(["sh", "-c", "sleep 1000"]);
        let _foot = rig.run("work", "foot", &mut foot);
        let _area = rig.content_of("work");
        // A client that has just started draws its cursor last.
        let deadline = Instant::now() + Duration::from_secs(20);
        while real.first_difference(&rig.picture()).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(
            real.first_difference(&rig.picture()),
            None,
            "the screen and the headless picture"
        );

        // Nothing new to show costs nothing.
        let (frames, switches) = counters(machine);
        std::thread::sleep(Duration::from_secs(30));
        let (later, more) = counters(machine);
        let pid = compositor(machine);
        let memory = machine.shell.run(&format!("grep VmRSS /proc/{pid}/status"));
        let kilobytes: u64 = memory
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .expect("a size");
        println!(
            "30 s idle: {} frames, {} wake-ups; {} MB resident",
            later - frames,
            more - switches,
            kilobytes / 1000
        );
        assert!(later - frames <= 1, "frames without anything new");
        assert!(more - switches <= 10, "wake-ups without anything to do");
        assert!(kilobytes < 40_000, "{memory}");
    });
}
