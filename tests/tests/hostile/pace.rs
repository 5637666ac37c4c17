// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast the honest client is while others do their worst, and how long a turn of the main loop gets.
//!
//! Rows that are about this run alone, and again if one was slow: what the compositor does for too long it does in each
//! try. A try in which other programs kept the machine busy says nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bystander::{Bystander, Report};

/// The longest turn, frame included, in processor time of the main thread.
pub(crate) const TURN: Duration = Duration::from_millis(30);
/// A round trip of the honest client, but for one of a hundred.
const ANSWER: Duration = Duration::from_millis(5);
/// Frames that it keeps, of a hundred.
const FRAMES: f64 = 95.0;
/// Frames a second of the screen.
const REFRESH: f64 = 60.0;
/// A row is tried so often.
pub(crate) const TRIES: usize = 5;
/// A try counts if other programs of the machine had no more of its processors than this, in processors.
const OTHERS: f64 = 0.15;

/// The honest client with nobody beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calm {
    /// Frames a second.
    rate: f64,
}

impl Calm {
    /// Looks for a second.
    pub(crate) fn measure(bystander: &mut Bystander) -> Self {
        let stop = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let live = scope.spawn(|| bystander.live(&stop));
            std::thread::sleep(Duration::from_secs(1));
            stop.store(true, Ordering::SeqCst);
            live.join()
        });
        let report = report.expect("it lives").expect("it is served");
        // A frame more fits in a second that begins at the right time.
        Self {
            rate: report.rate().min(REFRESH),
        }
    }

    /// What an attack took from the honest client.
    pub(crate) fn lost(self, report: &Report) -> Vec<String> {
        let (rate, p99) = (report.rate(), report.answer(990));
        let mut lost = Vec::new();
        if rate * 100.0 < self.rate * FRAMES {
            lost.push(format!(
                "the honest client keeps {rate:.1} of {:.1} frames/s",
                self.rate
            ));
        }
        if p99 > ANSWER {
            lost.push(format!("its round trips take {p99:?} (p99)"));
        }
        lost
    }
}

/// Hundredths of a second that processors have worked, as the kernel counts them.
const TICKS: f64 = 100.0;

/// What the machine had done at some time.
#[derive(Debug)]
pub(crate) struct Machine {
    at: Instant,
    /// All of it, what was taken from it included.
    all: u64,
    /// This test and the programs that it has started.
    ours: u64,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").expect("the kernel's counters");
        let first = stat.lines().next().unwrap_or_default();
        let times: Vec<u64> = first
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let busy = [0, 1, 2, 5, 6, 7].map(|index| times.get(index).copied().unwrap_or(0));
        Self {
            at: Instant::now(),
            all: busy.iter().sum(),
            ours: ours(),
        }
    }

    /// Whether others have kept the machine busy since then.
    pub(crate) fn was_busy(&self) -> bool {
        let now = Self::now();
        let others = (now.all - self.all).saturating_sub(now.ours.saturating_sub(self.ours));
        #[expect(clippy::cast_precision_loss, reason = "a few thousand ticks")]
        let others = others as f64 / TICKS / now.at.duration_since(self.at).as_secs_f64();
        others > OTHERS
    }
}

/// Ticks of this process, and of all that came from it.
fn ours() -> u64 {
    let mut processes = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended meanwhile is counted by its parent.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let parent = number(1)
            .and_then(|parent| u32::try_from(parent).ok())
            .unwrap_or(0);
        // Its own, and what its children had that have ended.
        let ticks = (11..15).filter_map(number).sum::<u64>();
        processes.insert(pid, (parent, ticks));
    }
    let is_ours = |pid: u32| {
        let mut at = pid;
        while at != std::process::id() {
            match processes.get(&at) {
                Some((parent, _)) if *parent != 0 => at = *parent,
                _ => return false,
            }
        }
        true
    };
    let all = processes.iter().filter(|(pid, _)| is_ours(**pid));
    all.map(|(_, (_, ticks))| ticks).sum()
}
