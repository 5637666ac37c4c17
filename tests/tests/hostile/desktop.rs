// SPDX-License-Identifier: MIT OR Apache-2.0
//! What clients ask of the desktop, as often as they can.

use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Arg::{Fd, I, New, U};
use heraldry_tests::client::raw::memory;
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::until;
use std::os::fd::AsFd;

use super::attack::{Attack, HONEST, assert_names};
use super::bystander::COLOURS;
use super::drawing::short_turns;

/// How long an attack goes on.
const LONG: Duration = Duration::from_millis(1500);
/// Lines that a VM's faults may add to the log in this time, with some room: five a second.
const LINES: usize = 30;

/// As many windows as may come, each as large as the screen, while the user works in another VM's.
pub(crate) fn windows(a: &mut Attack<'_>) {
    let content = a.rig.content_of(HONEST);
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            let window = a.raw.show((640, 440), MAGENTA);
            a.raw.send(window.toplevel, "set_maximized", &[]);
            a.raw.settle();
            let picture = a.rig.picture();
            let seen = picture
                .iter()
                .all(|(x, y, pixel)| !content.contains(x, y) || COLOURS.contains(&pixel));
            assert!(seen, "something covers the window that the user works in");
            if a.rig.windows().len() > 50 {
                break;
            }
        }
    });
}

/// Windows that become large and small again, many times in each turn.
pub(crate) fn modes(a: &mut Attack<'_>) {
    let windows: Vec<_> = (0..40).map(|_| a.raw.show((80, 60), MAGENTA)).collect();
    until("they are there", || a.rig.windows().len() > 40);
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            for request in [
                "set_maximized",
                "unset_maximized",
                "set_fullscreen",
                "unset_fullscreen",
                "set_minimized",
            ] {
                for window in &windows {
                    let output = [U(0)];
                    let args: &[_] = if request == "set_fullscreen" { &output } else { &[] };
                    a.raw.send(window.toplevel, request, args);
                }
            }
            a.raw.settle();
            for window in &windows {
                a.raw.ack(window.xdg);
                a.raw.send(window.surface, "commit", &[]);
            }
            a.raw.events.clear();
        }
    });
}

/// Buffers that no renderer takes, of which a library would complain each time; one client after the other.
pub(crate) fn odd_strides(a: &mut Attack<'_>) {
    let fd = memory(1 << 20);
    let before = a.log().lines().count();
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            let mut raw = a.another();
            let shm = raw.global("wl_shm");
            let pool = raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(1 << 20)]);
            let args = [New, I(0), I(80), I(60), I(321), U(1)];
            raw.send(pool, "create_buffer", &args);
            assert_names(&raw.end(), "buffer-bounds", "its error");
        }
    });
    let lines = a.log().lines().count() - before;
    assert!(lines < LINES, "{lines} lines in the log");
}
