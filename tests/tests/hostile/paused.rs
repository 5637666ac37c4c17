// SPDX-License-Identifier: MIT OR Apache-2.0
//! A VM that is paused, or gets little, and what it has sent meanwhile.

use std::os::fd::AsFd as _;

use heraldry_compositor::control::protocol::Request;
use heraldry_tests::client::raw::Arg::{I, New};
use heraldry_tests::client::raw::{Raw, memory};
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::{Usage, until};
use heraldry_wire::display::WINDOW_FDS;

use super::attack::Expect::{Left, Lives};
use super::attack::{Attack, HOSTILE, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row("Q26 VM that is paused and goes on", paused, Lives),
    row(
        "Q27 VM that is paused with a flood on its way",
        paused_flood,
        Lives,
    ),
    row("Q28 client of a paused VM leaves", paused_leaves, Left),
    row(
        "Q29 clients of a paused VM send all that anybody takes",
        paused_and_full,
        Lives,
    ),
    row(
        "Q29a clients of a paused VM send all descriptors that anybody takes",
        paused_with_descriptors,
        Lives,
    ),
];

fn pause(a: &Attack<'_>, pause: bool) {
    let vm = HOSTILE.to_owned();
    let request = if pause {
        Request::Pause { vm }
    } else {
        Request::Resume { vm }
    };
    a.rig.tell(&request);
}

/// Whether a round trip comes back within a moment.
fn answers(raw: &mut Raw) -> bool {
    let callback = raw.send(1, "sync", &[New]);
    raw.flush();
    let start = std::time::Instant::now();
    while start.elapsed() < std::time::Duration::from_millis(500) && !raw.is_done(callback) {
        raw.pump(std::time::Duration::from_millis(20));
    }
    raw.is_done(callback)
}

fn paused(a: &mut Attack<'_>) {
    a.raw.show((64, 48), MAGENTA);
    pause(a, true);
    assert!(!answers(&mut a.raw), "it is not served");
    a.picture().assert_only_in(MAGENTA, a.content());
    a.honest().settle();
    pause(a, false);
    a.raw.settle();
}

fn paused_flood(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    pause(a, true);
    for _ in 0..2000 {
        a.raw.send(window.surface, "damage", &[I(0), I(0), I(1), I(1)]);
        a.raw.send(window.surface, "commit", &[]);
    }
    a.honest().settle();
    pause(a, false);
    a.raw.settle();
}

fn paused_leaves(a: &mut Attack<'_>) {
    a.raw.show((64, 48), MAGENTA);
    pause(a, true);
    let gone = std::mem::replace(&mut a.raw, Raw::silent(a.rig.connect(HOSTILE)));
    drop(gone);
    a.honest().settle();
    pause(a, false);
    until("its window is gone", || a.windows().is_empty());
}

/// Sends until nobody takes anything for a moment; how many it could.
fn fill(raw: &mut Raw, mut send: impl FnMut(&mut Raw) -> bool) -> usize {
    let (mut sent, mut refused) = (0, 0);
    while refused < 20 {
        if send(raw) {
            (sent, refused) = (sent + 1, 0);
        } else {
            refused += 1;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    sent
}

/// All buffers of the device together have a mebibyte. Each of these clients has 64 KiB under way, which the compositor
/// holds.
fn paused_and_full(a: &mut Attack<'_>) {
    a.raw.show((64, 48), MAGENTA);
    let mut others: Vec<_> = (0..24).map(|_| a.another()).collect();
    pause(a, true);
    for raw in &mut others {
        // wl_display.sync, which nobody is to read.
        let bytes = [1_u32, 12 << 16, 0].map(u32::to_ne_bytes).concat().repeat(341);
        assert!(
            fill(raw, |raw| raw.offer(&bytes, &[])) > 16,
            "more than is taken in"
        );
    }
    for _ in 0..20 {
        a.honest().settle();
    }
    pause(a, false);
    a.raw.settle();
}

fn paused_with_descriptors(a: &mut Attack<'_>) {
    let shm = a.raw.global("wl_shm");
    a.raw.settle();
    let held = |a: &Attack<'_>| Usage::of(a.rig.compositor_pid()).descriptors;
    pause(a, true);
    let before = held(a);
    let memory = memory(4096);
    let mut left = 400;
    let sent = fill(&mut a.raw, |raw| {
        // A VM that goes on may have 512 pools.
        left -= 1;
        if left < 0 {
            return false;
        }
        let create_pool = [shm, 16 << 16, raw.next, 4096].map(u32::to_ne_bytes).concat();
        let fits = raw.offer(&create_pool, &[memory.as_fd()]);
        raw.next += u32::from(fits);
        fits
    });
    let (window, now) = (usize::try_from(WINDOW_FDS).unwrap(), held(a));
    assert!(sent > window, "it could send: {sent}");
    assert!(now <= before + window, "{now} descriptors, {before} before");
    a.honest().settle();
    pause(a, false);
    a.raw.settle();
}
