// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VM that has all that it may have, and does nothing with it.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{BudgetInfo, InputRequest, Request};
use heraldry_tests::client::raw::Arg::{Fd, I, New, S, U};
use heraldry_tests::client::raw::{Raw, memory};
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::until;

use super::attack::{Attack, HOSTILE};

/// Clients that share what there is.
const CLIENTS: usize = 30;
/// Windows, and the surfaces of each.
const WINDOWS: usize = 60;
const TREE: usize = 16;
/// What others see of it at most: so many times what they had before.
const RATIO: f64 = 1.2;
/// Each thing is tried so often.
const ROUNDS: usize = 400;

/// Descriptors that a client may send before their message.
const EARLY: usize = 28;
/// The budgets that are used up side by side. The budget of objects has no room for more of these at once.
const USED_UP: &[&str] = &[
    "objects",
    "lasting-objects",
    "surfaces",
    "toplevels",
    "popups",
    "pools",
    "pool-bytes",
    "regions",
    "rectangles",
    "sources",
    "listed",
];

/// What an honest client does, and how long that takes.
type Measured = [(&'static str, Duration); 3];

/// What an honest client does, and how long each takes.
struct Honest {
    raw: Raw,
    /// A place in the honest window.
    at: (f64, f64),
}

impl Honest {
    fn measure(&mut self, a: &Attack<'_>) -> Measured {
        let (x, y) = self.at;
        let mut step = 0.0;
        let motion = typical(|| {
            step = 1.0 - step;
            a.rig
                .tell(&Request::Input(InputRequest::Motion { x: x + step, y }));
        });
        let trip = typical(|| self.raw.settle());
        let surface = typical(|| {
            let surface = self.raw.surface();
            self.raw.send(surface, "destroy", &[]);
            self.raw.settle();
        });
        [
            ("a round trip", trip),
            ("a surface", surface),
            ("a motion of the pointer", motion),
        ]
    }
}

/// What an act takes when nothing else of the machine comes between: a quarter of all take less.
fn typical(mut act: impl FnMut()) -> Duration {
    let mut took: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed()
        })
        .collect();
    took.sort_unstable();
    took.get(ROUNDS / 4).copied().unwrap_or_default()
}

/// Takes everything, is silent, and looks what that is to others.
pub(crate) fn everything(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    let content = a.rig.content_of(super::attack::HONEST);
    let at = (f64::from(content.x) + 8.0, f64::from(content.y) + 8.0);
    let mut honest = Honest { raw: a.honest(), at };
    let before = honest.measure(a);
    let mut clients: Vec<_> = (1..CLIENTS).map(|_| a.another()).collect();
    windows(&mut a.raw);
    for raw in clients.iter_mut().chain([&mut a.raw]) {
        listed(raw);
    }
    let mut fill = |fill: fn(&mut Raw)| {
        let mut raw = clients.pop().expect("there are enough clients");
        fill(&mut raw);
        raw.settle();
        raw
    };
    let filled = fill(regions);
    let _others = [fill(sources), fill(memory_of_pools)];
    let (some, more) = (fill(callbacks), fill(buffers));
    // The last that these clients say: a message that never comes whole, with all descriptors that may come before it.
    for raw in &mut clients {
        unasked(raw);
    }
    USED_UP.iter().for_each(|name| is_used_up(a, name));
    let held = u64::try_from(EARLY * clients.len()).unwrap() + 1000;
    until("their descriptors are there", || {
        budget(a, "descriptors").used >= held
    });
    until("its windows are there", || a.rig.stats().windows > WINDOWS);
    compare(a, &before, &honest.measure(a));

    // Callbacks instead of regions, and then buffers instead of callbacks.
    drop((filled, more));
    until("its regions are gone", || budget(a, "regions").used == 0);
    let mut raw = a.another();
    callbacks(&mut raw);
    raw.settle();
    is_used_up(a, "callbacks");
    compare(a, &before, &honest.measure(a));
    drop((raw, some));
    until("its callbacks are gone", || budget(a, "callbacks").used == 0);
    let full: Vec<_> = (0..3)
        .map(|_| {
            let mut raw = a.another();
            buffers(&mut raw);
            raw.settle();
            raw
        })
        .collect();
    is_used_up(a, "buffers");
    compare(a, &before, &honest.measure(a));
    drop((full, clients));
}

fn budget(a: &Attack<'_>, name: &str) -> BudgetInfo {
    let stats = a.rig.stats();
    let of_it = stats.vms.into_iter().find(|vm| vm.name == HOSTILE);
    let mut budgets = of_it.expect("it is there").budgets.into_iter();
    budgets.find(|budget| budget.name == name).expect("it is counted")
}

fn is_used_up(a: &Attack<'_>, name: &str) {
    let budget = budget(a, name);
    assert!(budget.used * 10 >= budget.limit * 9, "not used up: {budget:?}");
}

/// What others see of it.
fn compare(a: &mut Attack<'_>, before: &Measured, after: &Measured) {
    let mut told = Vec::new();
    for ((what, before), (_, after)) in before.iter().zip(after) {
        let ratio = after.as_secs_f64() / before.as_secs_f64();
        told.push(format!("{what} {before:?} -> {after:?} ({ratio:.2})"));
        if ratio > RATIO {
            a.slow
                .push(format!("{what} takes {ratio:.2} of what it took before"));
        }
    }
    println!("            beside an idle VM: {}", told.join(", "));
}

/// Windows whose content is composed, each with a popup.
fn windows(raw: &mut Raw) {
    let viewporter = raw.global("wp_viewporter");
    let small = raw.clear((8, 8));
    for at in 0..WINDOWS {
        let window = raw.show((200, 150), MAGENTA);
        for _ in 1..TREE {
            let surface = raw.surface();
            let role = raw.subsurface(surface, window.surface);
            raw.send(role, "set_desync", &[]);
            let viewport = raw.send(viewporter, "get_viewport", &[New, U(surface)]);
            raw.send(viewport, "set_destination", &[I(100), I(75)]);
            raw.put(surface, small);
        }
        raw.send(window.surface, "commit", &[]);
        let popup = raw.popup(window.xdg, (5 + i32::try_from(at).unwrap() % 40, 5), (6, 6));
        raw.show_popup(popup, (6, 6), MAGENTA);
    }
}

/// Pointers, keyboards and outputs, in versions without an end.
fn listed(raw: &mut Raw) {
    for _ in 0..6 {
        raw.another_global("wl_output", 2);
    }
    let seat = raw.another_global("wl_seat", 1);
    for _ in 0..13 {
        raw.send(seat, "get_pointer", &[New]);
        raw.send(seat, "get_keyboard", &[New]);
    }
    raw.settle();
}

fn regions(raw: &mut Raw) {
    for at in 0..3800 {
        let region = raw.region();
        if at < 16 {
            for x in 0..1000 {
                raw.send(region, "add", &[I(2 * x), I(0), I(1), I(1)]);
            }
        }
    }
}

fn sources(raw: &mut Raw) {
    for _ in 0..63 {
        let source = raw.source("text/plain");
        for at in 0..40 {
            raw.send(source, "offer", &[S(&format!("text/x-{at}"))]);
        }
    }
}

fn memory_of_pools(raw: &mut Raw) {
    // As large as pools can be, and nothing in them.
    for _ in 0..8 {
        raw.pool(2000 << 20, 2000 << 20);
    }
    for _ in 0..500 {
        raw.pool(4096, 4096);
    }
}

fn unasked(raw: &mut Raw) {
    let fd = memory(4096);
    raw.bytes(&[1, 0, 0, 0], &[fd.as_fd(); EARLY]);
    raw.flush();
}

fn callbacks(raw: &mut Raw) {
    // A surface that is never shown gets no answer.
    let surface = raw.surface();
    for _ in 0..4000 {
        raw.send(surface, "frame", &[New]);
    }
    raw.send(surface, "commit", &[]);
}

fn buffers(raw: &mut Raw) {
    let fd = memory(4096);
    let shm = raw.global("wl_shm");
    let pool = raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(4096)]);
    for _ in 0..2500 {
        raw.send(pool, "create_buffer", &[New, I(0), I(4), I(4), I(16), U(1)]);
    }
}
