// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sync round trip and the compositor's CPU time per frame of an animated 1200x680 window.
//!
//! Everything runs on one core, because waking another core costs more than all of the work measured. Rounds are
//! interleaved and the median counts.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::client::{Window, connect};
use crate::subjects::{DIRECT, Subject, WHOLE_PATH, cpu, direct, local, pin, weston, whole_path};

const SIZE: (i32, i32) = (1200, 680);
const SYNCS: usize = 3000;
const FRAMES: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// Rounds of two builds beside each other: a tenth is what one round differs from the next.
const ROUNDS_BESIDE: usize = 15;
const DIRECT_BEFORE: &str = "before, development socket";
const WHOLE_BEFORE: &str = "before, whole path";

/// Measures the programs in `bin`, and beside them those of another build in `before`.
pub(crate) fn run(bin: &Path, before: Option<&Path>) {
    let dir = tempfile::tempdir().unwrap();
    pin();
    let mut subjects = vec![
        weston(dir.path()),
        direct(DIRECT, bin, dir.path()),
        whole_path(WHOLE_PATH, bin, dir.path()),
    ];
    let rounds = if let Some(before) = before {
        subjects.push(direct(DIRECT_BEFORE, before, dir.path()));
        subjects.push(whole_path(WHOLE_BEFORE, before, dir.path()));
        ROUNDS_BESIDE
    } else {
        subjects.push(local(bin, dir.path()));
        ROUNDS
    };
    let mut results: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (subject, rounds) in subjects.iter().zip(&mut results) {
            rounds.push(measure(subject));
        }
    }
    println!("one core, median of {rounds} interleaved rounds; CPU of all processes but the client");
    println!(
        "{:<34} {:>12} {:>8} {:>14} {:>8} {:>8}",
        "", "sync p50 us", "ratio", "CPU/frame us", "ratio", "frames/s"
    );
    let base = median(results.first().unwrap());
    for (subject, rounds) in subjects.iter().zip(&results) {
        let m = median(rounds);
        println!(
            "{:<34} {:>12.1} {:>8.2} {:>14.0} {:>8.2} {:>8.0}",
            subject.name,
            m.sync,
            m.sync / base.sync,
            m.cpu,
            m.cpu / base.cpu,
            m.rate
        );
        for (name, cpu) in subject.names.iter().zip(&m.parts) {
            println!("    of which {name:<21} {:>12} {:>8} {cpu:>14.0}", "", "");
        }
    }
    let cpu_of = |name: &str| {
        let mut with_name = subjects
            .iter()
            .zip(&results)
            .filter(|(subject, _)| subject.name == name);
        with_name.next().map(|(_, rounds)| least(rounds))
    };
    for (now, before) in [(DIRECT, DIRECT_BEFORE), (WHOLE_PATH, WHOLE_BEFORE)] {
        if let (Some(now_cpu), Some(before_cpu)) = (cpu_of(now), cpu_of(before)) {
            println!(
                "{now}: {:.3} of the CPU per frame before, quarters of the rounds",
                now_cpu / before_cpu
            );
        }
    }
    subjects.clear();
}

/// One measurement of one subject.
#[derive(Clone, Default)]
struct Round {
    sync: f64,
    cpu: f64,
    parts: Vec<f64>,
    rate: f64,
}

fn median(rounds: &[Round]) -> Round {
    let middle = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let parts = rounds.first().map_or(0, |round| round.parts.len());
    Round {
        sync: middle(rounds.iter().map(|round| round.sync).collect()),
        cpu: middle(rounds.iter().map(|round| round.cpu).collect()),
        parts: (0..parts)
            .map(|at| {
                middle(
                    rounds
                        .iter()
                        .filter_map(|round| round.parts.get(at).copied())
                        .collect(),
                )
            })
            .collect(),
        rate: middle(rounds.iter().map(|round| round.rate).collect()),
    }
}

/// The CPU per frame that a quarter of the rounds stayed below: what else runs makes a frame dearer, never cheaper.
fn least(rounds: &[Round]) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round.cpu).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 4).copied().unwrap_or(0.0)
}

fn measure(subject: &Subject) -> Round {
    let (mut client, mut queue) = connect(&subject.socket).unwrap();
    let mut times: Vec<f64> = (0..SYNCS)
        .map(|_| {
            let start = Instant::now();
            queue.roundtrip(&mut client).unwrap();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let sync = times.get(SYNCS / 2).copied().unwrap_or(0.0);

    let mut window = Window::open(&mut client, &mut queue, SIZE);
    let before: Vec<u64> = subject.children.iter().map(|child| cpu(child.id())).collect();
    let start = Instant::now();
    let mut frames = 0_u32;
    while start.elapsed() < FRAMES {
        window.draw(&mut client, &mut queue, frames);
        frames += 1;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let parts: Vec<f64> = subject
        .children
        .iter()
        .zip(before)
        .map(|(child, before)| (cpu(child.id()) - before) as f64 / 1e3 / f64::from(frames))
        .collect();
    let total = parts.iter().sum();
    Round {
        sync,
        cpu: total,
        parts: if parts.len() > 1 { parts } else { vec![] },
        rate: f64::from(frames) / elapsed,
    }
}
