// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows of VMs on a real screen: what is shown, after a crash too, and what it costs to show nothing new.

use std::time::{Duration, Instant};

use heraldry_tests::path::{CONFIG, Rig};
use heraldry_tests::vm::{Files, Machine, Setup, attempt};

/// A terminal whose picture does not change by itself.
const FOOT: &str = "foot --config=/dev/null --override=font=monospace:size=10 --override=cursor.blink=no \
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

fn counters(machine: &mut Machine) -> (u64, u64) {
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
        std::thread::sleep(Duration::from_secs(1));
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
        println!(
            "30 s idle: {} frames, {} wake-ups; {}",
            later - frames,
            more - switches,
            memory.trim()
        );
    });
}
