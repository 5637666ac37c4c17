// SPDX-License-Identifier: MIT OR Apache-2.0
//! `make soak`: random hostile sessions from eight VMs against the release build, and a ninth VM that works.
//!
//! Prints, every minute, what the processes use and how the honest client fares. Fails if anything dies, if the honest client
//! loses an answer or a pixel, if memory, descriptors or threads grow, or if Smithay ends a client, which is the gate's.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a measuring program"
)]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use heraldry_compositor::vms::clients::LET_THROUGH;
use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::Raw;
use heraldry_tests::client::raw::random::Dice;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{Options, Rig, Usage, Visitor, VisitorWindow};

const VMS: [&str; 8] = [
    "work",
    "personal",
    "untrusted",
    "vault",
    "five",
    "six",
    "seven",
    "eight",
];
const CONFIG: &str = r##"schema 1
vm "work" { display-name "Work"; color "#2a5fb0"; pattern "horizontal"; glyph "W"; }
vm "personal" { display-name "Personal"; color "#2f7d4f"; pattern "diagonal"; glyph "P"; }
vm "untrusted" { display-name "Untrusted"; color "#b3322e"; pattern "vertical"; glyph "!"; }
vm "vault" { display-name "Vault"; color "#7a5b9c"; pattern "cross"; glyph "V"; }
vm "five" { color "#c07a10"; pattern "anti-diagonal"; glyph "5"; }
vm "six" { color "#107a90"; pattern "solid"; glyph "6"; }
vm "seven" { color "#303030"; pattern "dots"; glyph "7"; }
vm "eight" { color "#a02070"; pattern "horizontal"; glyph "8"; }
vm "honest" { color "#e8e8e0"; pattern "cross"; glyph "H"; }
"##;

const ATTACKER: &str = "attacker";

/// Sessions and requests so far.
#[derive(Default)]
struct Done {
    sessions: AtomicU64,
    requests: AtomicU64,
}

/// Something that is dear to draw: layers upon layers, scaled and turned, titles that change, regions in pieces, and many
/// questions when it is seen.
fn dear_to_draw(raw: &mut Raw, dice: &mut Dice) -> Result<(), String> {
    let window = raw.show((600, 440), MAGENTA);
    let region = raw.region();
    for at in 0..200 {
        raw.send(region, "add", &[I(0), I(2 * at), I(600), I(1)]);
        raw.send(region, "add", &[I(3 * at), I(0), I(1), I(440)]);
    }
    let viewporter = raw.global("wp_viewporter");
    let presentation = raw.global("wp_presentation");
    let buffer = raw.clear((64, 64));
    let layers: Vec<_> = (0..dice.below(200))
        .map(|_| {
            let surface = raw.surface();
            let role = raw.subsurface(surface, window.surface);
            raw.send(role, "set_desync", &[]);
            let viewport = raw.send(viewporter, "get_viewport", &[New, U(surface)]);
            raw.send(viewport, "set_destination", &[I(600), I(440)]);
            raw.send(
                surface,
                "set_buffer_transform",
                &[I(i32::from(dice.any().to_le_bytes()[0] % 8))],
            );
            raw.send(surface, "set_opaque_region", &[U(region)]);
            raw.put(surface, buffer);
            surface
        })
        .collect();
    raw.send(window.surface, "commit", &[]);
    for round in 0..dice.below(60) {
        for surface in &layers {
            raw.put(*surface, buffer);
        }
        for _ in 0..dice.below(200) {
            raw.send(presentation, "feedback", &[U(window.surface), New]);
        }
        raw.send(window.toplevel, "set_title", &[S(&format!("window {round}"))]);
        raw.send(window.surface, "commit", &[]);
        raw.roundtrip()?;
    }
    Ok(())
}

/// One session of one hostile client.
fn session(stream: std::os::unix::net::UnixStream, dice: &mut Dice, done: &Done) {
    done.sessions.fetch_add(1, Ordering::Relaxed);
    if dice.below(12) == 0 {
        let mut raw = Raw::silent(stream);
        let noise: Vec<u8> = (0..dice.below(6000))
            .map(|_| dice.any().to_le_bytes()[0])
            .collect();
        raw.bytes(&noise, &[]);
        raw.flush();
        return;
    }
    let mut raw = Raw::silent(stream);
    raw.send(1, "get_registry", &[New]);
    if raw.roundtrip().is_err() {
        return;
    }
    raw.bind_everything();
    if dice.below(2) == 0 {
        raw.random_window(dice);
    }
    raw.deaf = dice.below(8) == 0;
    if dice.below(4) == 0 && dear_to_draw(&mut raw, dice).is_err() {
        return;
    }
    let length = if dice.below(20) == 0 {
        20_000
    } else {
        dice.below(400)
    };
    for _ in 0..length {
        if raw.ended {
            break;
        }
        let sent = u64::from(raw.random_request(dice));
        done.requests.fetch_add(sent, Ordering::Relaxed);
    }
    raw.flush();
    if !raw.deaf && dice.below(2) == 0 {
        // It may have been ended meanwhile.
        let _ended = raw.roundtrip();
    }
}

fn attacker(
    rig: &Rig,
    vm: &'static str,
    seed: u64,
    stop: &Arc<AtomicBool>,
    done: &Arc<Done>,
) -> JoinHandle<()> {
    let (socket, stop, done) = (rig.socket(vm), Arc::clone(stop), Arc::clone(done));
    let thread = std::thread::Builder::new().name(ATTACKER.to_owned());
    let attack = move || {
        let mut dice = Dice::new(seed);
        while !stop.load(Ordering::Relaxed) {
            if let Ok(stream) = std::os::unix::net::UnixStream::connect(&socket) {
                // A client of ours that gives up is no finding.
                let _gave_up =
                    std::panic::catch_unwind(AssertUnwindSafe(|| session(stream, &mut dice, &done)));
            }
        }
    };
    thread.spawn(attack).expect("a thread")
}

fn total(rig: &Rig) -> (u64, [Usage; 3]) {
    let [compositor, device] = [rig.compositor_pid(), rig.device_pid()].map(Usage::of);
    let usage = [compositor, device, rig.host_usage()];
    (usage.iter().map(|usage| usage.memory).sum(), usage)
}

/// A minute of the honest client's work; the memory of all processes at its end, in KiB.
fn minute(number: u32, rig: &Rig, honest: &mut Visitor, window: &VisitorWindow, done: &Done) -> u64 {
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let sent = Instant::now();
        let colour = if times.len() % 2 == 0 { CYAN } else { MAGENTA };
        honest
            .draw(window, (200, 150), colour)
            .expect("the honest client is served");
        times.push(sent.elapsed().as_secs_f64() * 1e6);
        std::thread::sleep(Duration::from_millis(16));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: usize| {
        times
            .get((times.len() - 1) * share / 1000)
            .copied()
            .unwrap_or(0.0)
    };
    let (sum, [compositor, device, host]) = total(rig);
    let ended: u64 = rig.stats().vms.iter().map(|vm| vm.ended_by_smithay).sum();
    assert_eq!(ended, 0, "{LET_THROUGH}");
    println!(
        "{number:>6} {:>10} {:>12} {:>8.0} {:>9.0} {:>9.0} {:>9.0} {sum:>12} {:>12} {:>9}",
        done.sessions.load(Ordering::Relaxed),
        done.requests.load(Ordering::Relaxed),
        times.len() as f64 / start.elapsed().as_secs_f64(),
        at(500),
        at(990),
        at(1000),
        compositor.memory,
        compositor.descriptors + device.descriptors + host.descriptors
    );
    sum
}

fn main() {
    let minutes = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_u32);
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() != Some(ATTACKER) {
            hook(info);
        }
    }));
    println!(
        "{minutes} minutes of random sessions from {} VMs, seed {seed}",
        VMS.len()
    );
    let rig = Rig::start(Options {
        config: CONFIG.to_owned(),
        ..Options::default()
    });
    let pid = rig.compositor_pid();
    let mut honest = rig.visitor("honest");
    let window = honest
        .show((200, 150), CYAN)
        .expect("the honest client has a window");
    rig.content_of("honest");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(Done::default()));
    let attackers: Vec<_> = (0..)
        .zip(VMS)
        .map(|(number, vm)| attacker(&rig, vm, seed + number, &stop, &done))
        .collect();
    println!(
        "{:>6} {:>10} {:>12} {:>8} {:>9} {:>9} {:>9} {:>12} {:>12} {:>9}",
        "minute",
        "sessions",
        "requests",
        "trips/s",
        "p50 us",
        "p99 us",
        "worst us",
        "memory KiB",
        "compositor",
        "fds"
    );
    let mut memory = Vec::new();
    for number in 1..=minutes {
        memory.push(minute(number, &rig, &mut honest, &window, &done));
        assert_eq!(rig.compositor_pid(), pid, "the compositor is the same process");
    }
    stop.store(true, Ordering::Relaxed);
    for attacker in attackers {
        attacker.join().expect("an attacker of ours panicked");
    }
    honest
        .draw(&window, (200, 150), CYAN)
        .expect("the honest client is served to the end");
    let (first, last) = (memory.get(memory.len() / 3), memory.last());
    if let (Some(first), Some(last)) = (first, last) {
        println!(
            "memory at the end: {:.2} of that after a third",
            *last as f64 / *first as f64
        );
        assert!(*last < first + first / 4 + 8192, "memory grows");
    }
    for vm in rig
        .stats()
        .vms
        .iter()
        .filter(|vm| VMS.contains(&vm.name.as_str()))
    {
        println!(
            "{:>10}: {} rules broken, {} turns used up",
            vm.name, vm.violations, vm.exhausted_turns
        );
    }
}
