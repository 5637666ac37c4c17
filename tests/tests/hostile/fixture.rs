// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs rows: the programs, the honest client, and what is looked at before and after.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::Request;
use heraldry_compositor::vms::clients::LET_THROUGH;
use heraldry_tests::client::raw::Arg::New;
use heraldry_tests::client::raw::Raw;
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::colour::{Area, Colour, Pixels};
use heraldry_tests::rig::{Options, Rig, Usage, descriptors, until};

use super::attack::{Attack, HONEST, HOSTILE, Row, area, content_of};
use super::bystander::{Bystander, COLOURS};
use super::pace::{Calm, Machine, TRIES};

const CONFIG: &str = r##"schema 1
defaults { focus { on-map #true; }; }
vm "work" { color "#2a5fb0"; pattern "horizontal"; }
vm "personal" { color "#2f7d4f"; pattern "diagonal"; }
vm "untrusted" { color "#b3322e"; pattern "vertical"; glyph "!"; quota { QUOTA }; }
vm "vault" { color "#7a5b9c"; pattern "cross"; glyph "V"; focus { click-guard-ms 0; }; }
host { withdraw-after-ms 3000; }
"##;

/// Many rows take a fresh client for each case, so the attacker may connect often.
pub(crate) const ORDINARY: &str = "connections-per-second 500;";

/// Small, so that many pictures are cheap.
const SCREEN: (i32, i32) = (640, 480);
/// Memory that a row may leave with the compositor's or the host's allocator, in KiB.
const SLACK: u64 = 48 << 10;
/// The most that everything takes to be as before.
const SETTLE: Duration = Duration::from_secs(30);

/// What the programs hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// Descriptors and threads of compositor, device and host.
    usage: [(usize, usize); 3],
    clients: usize,
    windows: usize,
    connections: u64,
    /// Pieces of the host's memory on the attacker's account.
    memory: u64,
    /// Everything that the attacker's quota counts.
    used: u64,
}

/// Rows whose speed is judged run while no others do.
static ALONE: RwLock<()> = RwLock::new(());

struct Stage {
    rig: Rig,
    bystander: Bystander,
    window: u64,
    frame: Vec<Colour>,
    /// How fast the honest client is alone, where rows are about that.
    calm: Option<Calm>,
    before: Held,
    memory: [u64; 3],
}

impl Stage {
    fn start(quota: &str) -> Self {
        let rig = Rig::start(Options {
            config: CONFIG.replace("QUOTA", quota),
            size: SCREEN,
            ..Options::default()
        });
        let bystander = Bystander::new(Raw::new(rig.connect(HONEST)));
        rig.content_of(HONEST);
        let window = rig.windows().first().unwrap().id;
        // Whatever is made once for a VM is made now.
        for vm in [HOSTILE, "work", "personal"] {
            let mut warm = Raw::new(rig.connect(vm));
            warm.keyboard();
            let old_seat = warm.another_global("wl_seat", 1);
            warm.send(old_seat, "get_keyboard", &[New]);
            warm.show((64, 48), MAGENTA);
        }
        let mut stage = Self {
            before: held(&rig),
            memory: usage(&rig).map(|usage| usage.memory),
            frame: Vec::new(),
            calm: None,
            rig,
            bystander,
            window,
        };
        until("the warm-up is over", || stage.rig.stats().clients == 1);
        stage.before = steady(&stage.rig);
        stage.rig.tell(&Request::Focus { id: window });
        stage.look_away();
        stage.frame = frame(
            &stage.rig.picture(),
            stage.outer(),
            content_of(&stage.rig, window),
        );
        stage
    }

    fn outer(&self) -> Area {
        let windows = self.rig.windows();
        area(
            windows
                .iter()
                .find(|window| window.id == self.window)
                .unwrap()
                .outer,
        )
    }

    /// Puts the pointer where it covers nothing.
    fn look_away(&self) {
        let to = heraldry_compositor::control::protocol::InputRequest::Motion { x: 639.0, y: 479.0 };
        self.rig.tell(&Request::Input(to));
    }

    /// One row; what is wrong, and what was slow.
    fn row(&mut self, row: &Row) -> (Vec<String>, Vec<String>) {
        let stop = AtomicBool::new(false);
        let (rig, window) = (&self.rig, self.window);
        let (outcome, report) = std::thread::scope(|scope| {
            let bystander = &mut self.bystander;
            let honest = scope.spawn(|| bystander.live(&stop));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut attack = Attack::new(rig, window);
                (row.attack)(&mut attack);
                attack.judge(row.expect);
                attack
            }));
            stop.store(true, Ordering::SeqCst);
            let report = honest.join();
            (
                outcome,
                report.unwrap_or_else(|_| Err("the honest client panicked".to_owned())),
            )
        });
        // The attacker is still there when the picture is taken, unless its script failed.
        let allowed = outcome
            .as_ref()
            .map(|attack| attack.allowed.clone())
            .unwrap_or_default();
        let (mut faults, mut slow) = (Vec::new(), Vec::new());
        match report {
            Ok(report) => {
                if report.tells() {
                    println!("            the honest client beside it: {}", report.fared());
                    slow.extend(self.calm.map(|calm| calm.lost(&report)).unwrap_or_default());
                }
                faults.extend(report.faults(&allowed));
            }
            Err(why) => faults.push(why),
        }
        match outcome {
            Ok(mut attack) => {
                faults.extend(guarded(|| self.look()));
                slow.append(&mut attack.slow);
                drop(attack);
            }
            Err(panic) => faults.push(text_of(panic.as_ref())),
        }
        faults.extend(guarded(|| self.left_over()));
        faults.extend(guarded(|| self.let_through()));
        (faults, slow)
    }

    /// One row, tried again while all that is wrong is that it was slow; what is wrong.
    fn tried(&mut self, row: &Row) -> Vec<String> {
        let mut counted = Vec::new();
        let mut judged = false;
        for _ in 0..TRIES {
            let machine = Machine::now();
            let (faults, slow) = self.row(row);
            let busy = machine.was_busy();
            if !faults.is_empty() || slow.is_empty() || self.calm.is_none() {
                return faults;
            }
            let but = if busy {
                ", but the machine did something else"
            } else {
                ""
            };
            println!("            slow: {}{but}", slow.join(", "));
            if !busy {
                judged = true;
                counted = slow;
            }
        }
        if !judged {
            // Past what captures the output of tests that pass.
            let _shown = writeln!(
                std::io::stderr(),
                "SPEED NOT JUDGED, the machine is too busy: {}",
                row.name
            );
        }
        // Nothing is counted on a machine that is too busy to tell.
        counted
    }

    /// Clients that Smithay ended: whatever it would refuse, the gate refuses before.
    fn let_through(&self) -> Vec<String> {
        let stats = self.rig.stats();
        let counted = stats.vms.iter().filter(|vm| vm.ended_by_smithay > 0);
        let mut faults: Vec<_> = counted
            .map(|vm| format!("the library ended {} clients of {}", vm.ended_by_smithay, vm.name))
            .collect();
        if let Some(line) = self
            .rig
            .compositor_log()
            .lines()
            .find(|line| line.contains(LET_THROUGH))
        {
            faults.push(line.to_owned());
        }
        faults
    }

    /// The honest window, raised, is as it should be.
    fn look(&self) -> Vec<String> {
        self.rig.tell(&Request::Focus { id: self.window });
        self.look_away();
        let (picture, content, outer) = (
            self.rig.picture(),
            content_of(&self.rig, self.window),
            self.outer(),
        );
        let mut faults = Vec::new();
        let first = picture.at(content.x, content.y);
        let whole = picture
            .iter()
            .all(|(x, y, pixel)| !content.contains(x, y) || pixel == first);
        if !whole || !COLOURS.contains(&first) {
            faults.push("the honest client's pixels are not its own".to_owned());
        }
        if frame(&picture, outer, content) != self.frame {
            faults.push("the honest client's frame has changed".to_owned());
        }
        faults
    }

    /// What did not come back to where it was.
    fn left_over(&self) -> Vec<String> {
        let start = Instant::now();
        let mut now = held(&self.rig);
        while now != self.before && start.elapsed() < SETTLE {
            std::thread::sleep(Duration::from_millis(5));
            now = held(&self.rig);
        }
        let mut faults = Vec::new();
        if now != self.before {
            let kinds = [
                self.rig.compositor_pid(),
                self.rig.device_pid(),
                self.rig.host_pid(),
            ]
            .map(descriptors);
            faults.push(format!(
                "left over: {now:?}, before: {:?}; descriptors now: {kinds:?}",
                self.before
            ));
        }
        for ((now, before), name) in usage(&self.rig)
            .map(|usage| usage.memory)
            .into_iter()
            .zip(self.memory)
            .zip(["compositor", "device", "host"])
        {
            if now > before + SLACK {
                faults.push(format!("the {name} holds {now} KiB, before: {before} KiB"));
            }
        }
        faults
    }
}

/// Of compositor, device and host.
fn usage(rig: &Rig) -> [Usage; 3] {
    let (compositor, device) = (rig.compositor_pid(), rig.device_pid());
    let mut of_device = Usage::of(device);
    // The emulator keeps one for each thread that it has looked at once, as they come.
    let of_threads = descriptors(device).remove("anon_inode:[pidfd]").unwrap_or(0);
    of_device.descriptors = of_device.descriptors.saturating_sub(of_threads);
    [Usage::of(compositor), of_device, rig.host_usage()]
}

fn held(rig: &Rig) -> Held {
    let (stats, host) = (rig.stats(), rig.host_stats());
    Held {
        usage: usage(rig).map(|usage| (usage.descriptors, usage.threads)),
        clients: stats.clients,
        windows: stats.windows,
        connections: host["connections"].as_u64().unwrap(),
        memory: host["vms"][HOSTILE]["memory"]["count"].as_u64().unwrap(),
        used: stats
            .vms
            .iter()
            .filter(|vm| vm.name == HOSTILE)
            .flat_map(|vm| &vm.budgets)
            .map(|budget| budget.used)
            .sum(),
    }
}

/// What is held once it has stopped changing.
fn steady(rig: &Rig) -> Held {
    let (mut last, mut same) = (held(rig), 0);
    until("it has settled", || {
        let now = held(rig);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        same >= 20
    });
    last
}

/// The pixels of a frame, row by row.
pub(crate) fn frame(picture: &Pixels, outer: Area, content: Area) -> Vec<Colour> {
    picture
        .iter()
        .filter(|(x, y, _)| outer.contains(*x, *y) && !content.contains(*x, *y))
        .map(|(_, _, pixel)| pixel)
        .collect()
}

fn guarded(look: impl FnOnce() -> Vec<String>) -> Vec<String> {
    catch_unwind(AssertUnwindSafe(look)).unwrap_or_else(|panic| vec![text_of(panic.as_ref())])
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}

/// The last lines of a log.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines
        .get(lines.len().saturating_sub(30)..)
        .unwrap_or_default()
        .join("\n")
}

/// Runs the rows of a theme through one set of programs.
pub(crate) fn run(theme: &str, rows: &[Row], quota: &str) {
    let _beside = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    rows_of(theme, rows, quota, false);
}

/// The same for rows that are about speed.
pub(crate) fn run_timed(theme: &str, rows: &[Row], quota: &str) {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    rows_of(theme, rows, quota, true);
}

fn rows_of(theme: &str, rows: &[Row], quota: &str, timed: bool) {
    let wanted = std::env::var("HERALDRY_ROWS").unwrap_or_default();
    let chosen = |row: &&Row| wanted.is_empty() || wanted.split(',').any(|start| row.name.starts_with(start));
    let rows: Vec<_> = rows.iter().filter(chosen).collect();
    if rows.is_empty() {
        return;
    }
    let start_stage = || {
        let mut stage = Stage::start(quota);
        stage.calm = timed.then(|| Calm::measure(&mut stage.bystander));
        stage
    };
    let mut stage = start_stage();
    let mut failed = Vec::new();
    for row in rows {
        let start = Instant::now();
        let faults = stage.tried(row);
        let verdict = if faults.is_empty() { "ok    " } else { "FAILED" };
        println!(
            "{theme:>10}  {verdict} {:>6} ms  {}",
            start.elapsed().as_millis(),
            row.name
        );
        if !faults.is_empty() {
            let logs = [stage.rig.compositor_log(), stage.rig.host_log()].map(|log| tail(&log));
            println!("compositor:\n{}\nhost:\n{}", logs[0], logs[1]);
            failed.push(format!("{}:\n    {}", row.name, faults.join("\n    ")));
            stage = start_stage();
        }
    }
    let faults = guarded(|| stage.let_through());
    if !faults.is_empty() {
        failed.push(format!("at the end:\n    {}", faults.join("\n    ")));
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}
