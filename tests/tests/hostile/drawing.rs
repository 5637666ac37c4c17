// SPDX-License-Identifier: MIT OR Apache-2.0
//! Content that is dear to draw, and content that lies about itself. What a VM's windows cost, that VM pays: no turn of the
//! main loop, frame included, is long.

use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::{Raw, RawWindow};
use heraldry_tests::colour::key::MAGENTA;

use super::attack::Expect::Lives;
use super::attack::{Attack, HOSTILE, Row, row};
use super::pace::TURN;
use super::{desktop, idle};

pub(crate) const ROWS: &[Row] = &[
    row(
        "D01a pixels without alpha that call themselves opaque",
        |a| opaque(a, true),
        Lives,
    ),
    row("D01b alpha that calls itself opaque", |a| opaque(a, false), Lives),
    row(
        "D02a opaque region of 400 rectangles that becomes 40,000",
        |a| region(a, 200, false),
        Lives,
    ),
    row(
        "D02b the same as an input region, under the pointer",
        |a| region(a, 200, true),
        Lives,
    ),
    row("D02c fourteen subsurfaces with a thousand dots each", dots, Lives),
    row(
        "D03a buffer of 30000x16 shown as 20x20",
        |a| odd(a, (30_000, 16), (20, 20)),
        Lives,
    ),
    row(
        "D03b buffer of 1x32767 shown as 300x200",
        |a| odd(a, (1, 32_767), (300, 200)),
        Lives,
    ),
    row(
        "D04a sixty translucent layers scaled to the window",
        |a| layers(a, 60, 0, (64, 64)),
        Lives,
    ),
    row(
        "D04b two hundred turned layers",
        |a| layers(a, 200, 1, (64, 64)),
        Lives,
    ),
    row(
        "D04c two hundred large layers as they are",
        |a| layers(a, 200, 0, LARGE),
        Lives,
    ),
    row("D04d sixty-three changes in a hundred layers", changes, Lives),
    row(
        "D05a sixty windows with a new title in each frame",
        |a| labels(a, true),
        Lives,
    ),
    row(
        "D05b sixty windows with a new size in each frame",
        |a| labels(a, false),
        Lives,
    ),
    row(
        "D06a two thousand questions when a frame is seen",
        |a| questions(a, true),
        Lives,
    ),
    row(
        "D06b two thousand frame callbacks",
        |a| questions(a, false),
        Lives,
    ),
    row(
        "D07 two hundred subsurfaces, each committed in each turn",
        commits,
        Lives,
    ),
    row(
        "D09 windows as large as the screen, without end",
        desktop::windows,
        Lives,
    ),
    row(
        "D11 buffers of which libraries complain",
        desktop::odd_strides,
        Lives,
    ),
    row("D13 modes without end", desktop::modes, Lives),
    row("D17 a million requests that the gate drops", dropped, Lives),
    row(
        "D08 all that a VM may have, and nothing done with it",
        idle::everything,
        Lives,
    ),
];

/// Most of the screen.
const LARGE: (i32, i32) = (600, 440);
/// How long an attack goes on.
const LONG: Duration = Duration::from_millis(1500);

/// However busy the machine is, no turn is longer than this.
const STUCK: Duration = Duration::from_millis(150);

/// What is seen where a client shows nothing.
const PLATE: [u8; 3] = [0x19, 0x1c, 0x1e];

/// Runs an attack, and looks whether a turn was long meanwhile.
#[track_caller]
pub(crate) fn short_turns(a: &mut Attack<'_>, attack: impl FnOnce(&mut Attack<'_>)) {
    a.rig.stats();
    attack(a);
    let stats = a.rig.stats();
    let longest = Duration::from_micros(stats.longest_turn_us);
    let drawing = stats.vms.iter().find(|vm| vm.name == HOSTILE);
    let drawing = drawing.map(|vm| (vm.drawing_ms, vm.partial_frames));
    println!("            longest turn {longest:?}; ms of drawing and partial frames so far {drawing:?}");
    assert!(longest < STUCK, "a turn took {longest:?}");
    if longest > TURN {
        a.slow.push(format!("a turn took {longest:?}"));
    }
}

fn viewport(raw: &mut Raw, surface: u32, size: (i32, i32)) {
    let viewporter = raw.global("wp_viewporter");
    let viewport = raw.send(viewporter, "get_viewport", &[New, U(surface)]);
    raw.send(viewport, "set_destination", &[I(size.0), I(size.1)]);
}

fn opaque(a: &mut Attack<'_>, single: bool) {
    let window = a.raw.show((200, 150), MAGENTA);
    let region = a.raw.region();
    a.raw.send(region, "add", &[I(0), I(0), I(i32::MAX), I(i32::MAX)]);
    a.raw.send(window.surface, "set_opaque_region", &[U(region)]);
    let buffer = if single {
        let manager = a.raw.global("wp_single_pixel_buffer_manager_v1");
        viewport(&mut a.raw, window.surface, (200, 150));
        a.raw
            .send(manager, "create_u32_rgba_buffer", &[New, U(0), U(0), U(0), U(0)])
    } else {
        a.raw.clear((200, 150))
    };
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    let content = a.rig.content_of(HOSTILE);
    let picture = a.rig.picture();
    for (x, y, pixel) in picture.iter() {
        assert!(
            !content.contains(x, y) || pixel == PLATE,
            "{pixel:02x?} at {x},{y} is not the plate"
        );
    }
}

/// A comb of rows and a comb of columns, which cut each other into pieces.
fn region(a: &mut Attack<'_>, teeth: i32, input: bool) {
    let window = a.raw.show(LARGE, MAGENTA);
    let region = a.raw.region();
    for at in 0..teeth {
        a.raw.send(region, "add", &[I(0), I(2 * at), I(600), I(1)]);
        a.raw.send(region, "add", &[I(3 * at), I(0), I(1), I(440)]);
    }
    let set = if input {
        "set_input_region"
    } else {
        "set_opaque_region"
    };
    let buffer = a.raw.clear((64, 48));
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            a.raw.send(window.surface, set, &[U(region)]);
            a.raw.put(window.surface, buffer);
            a.raw.settle();
        }
    });
}

fn dots(a: &mut Attack<'_>) {
    let window = a.raw.show(LARGE, MAGENTA);
    let region = a.raw.region();
    for at in 0..1020 {
        a.raw
            .send(region, "add", &[I(2 * (at % 200)), I(2 * (at / 200)), I(1), I(1)]);
    }
    short_turns(a, |a| {
        for _ in 0..14 {
            let surface = a.raw.surface();
            let role = a.raw.subsurface(surface, window.surface);
            a.raw.send(role, "set_desync", &[]);
            a.raw.send(surface, "set_opaque_region", &[U(region)]);
            let buffer = a.raw.clear((450, 400));
            a.raw.put(surface, buffer);
        }
        a.raw.send(window.surface, "commit", &[]);
        busy(a, window);
    });
}

/// Shows something else in one corner, again and again, so that frames are drawn.
fn busy(a: &mut Attack<'_>, window: RawWindow) {
    let start = Instant::now();
    while start.elapsed() < LONG {
        a.raw
            .send(window.surface, "damage_buffer", &[I(0), I(0), I(8), I(8)]);
        let callback = a.raw.send(window.surface, "frame", &[New]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.wait("a frame", |raw| raw.is_done(callback)).unwrap();
    }
}

fn odd(a: &mut Attack<'_>, size: (i32, i32), shown: (i32, i32)) {
    let window = a.raw.show((64, 48), MAGENTA);
    short_turns(a, |a| {
        viewport(&mut a.raw, window.surface, shown);
        let buffer = a.raw.buffer(size, MAGENTA);
        a.raw.put(window.surface, buffer);
        a.raw.settle();
    });
    // Frames go on: another window appears.
    let mut other = a.another();
    other.show((80, 60), MAGENTA);
    let windows = a.rig.windows();
    assert_eq!(windows.iter().filter(|window| window.vm == HOSTILE).count(), 2);
}

/// Layers that one can see through, over all of a window: surfaces with their buffers.
fn pile(raw: &mut Raw, window: RawWindow, count: usize, transform: i32, size: (i32, i32)) -> Vec<(u32, u32)> {
    let mut surfaces = Vec::new();
    for _ in 0..count {
        let surface = raw.surface();
        let role = raw.subsurface(surface, window.surface);
        raw.send(role, "set_desync", &[]);
        viewport(raw, surface, LARGE);
        raw.send(surface, "set_buffer_transform", &[I(transform)]);
        let buffer = raw.clear(size);
        raw.put(surface, buffer);
        surfaces.push((surface, buffer));
    }
    raw.send(window.surface, "commit", &[]);
    raw.settle();
    surfaces
}

fn layers(a: &mut Attack<'_>, count: usize, transform: i32, size: (i32, i32)) {
    let window = a.raw.show(LARGE, MAGENTA);
    let surfaces = pile(&mut a.raw, window, count, transform, size);
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            for (surface, buffer) in &surfaces {
                a.raw.put(*surface, *buffer);
            }
            a.raw.settle();
        }
    });
    // The cost must not come back when others draw: nothing is committed any more.
    short_turns(a, |_| std::thread::sleep(Duration::from_millis(300)));
}

/// VMs that compose at the same time share what there is. Their clients want processors too, so the honest one's speed says
/// nothing here.
pub(crate) fn three(a: &mut Attack<'_>) {
    let raws: Vec<_> = ["untrusted", "work", "personal"]
        .iter()
        .map(|vm| Raw::new(a.rig.connect(vm)))
        .collect();
    short_turns(a, |_| {
        std::thread::scope(|scope| {
            for mut raw in raws {
                scope.spawn(move || {
                    let window = raw.show(LARGE, MAGENTA);
                    let surfaces = pile(&mut raw, window, 150, 1, (64, 64));
                    let start = Instant::now();
                    while start.elapsed() < LONG {
                        for (surface, buffer) in &surfaces {
                            raw.put(*surface, *buffer);
                        }
                        raw.settle();
                    }
                });
            }
        });
    });
}

fn changes(a: &mut Attack<'_>) {
    let window = a.raw.show(LARGE, MAGENTA);
    let mut surfaces = Vec::new();
    for _ in 0..100 {
        let surface = a.raw.surface();
        let role = a.raw.subsurface(surface, window.surface);
        a.raw.send(role, "set_desync", &[]);
        let buffer = a.raw.clear(LARGE);
        a.raw.put(surface, buffer);
        surfaces.push((surface, buffer));
    }
    a.raw.send(window.surface, "commit", &[]);
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            for (surface, buffer) in &surfaces {
                a.raw.send(*surface, "attach", &[U(*buffer), I(0), I(0)]);
                for at in 0..63 {
                    let (x, y) = (60 * (at % 9), 50 * (at / 9));
                    a.raw.send(*surface, "damage_buffer", &[I(x), I(y), I(30), I(30)]);
                }
                a.raw.send(*surface, "commit", &[]);
            }
            a.raw.settle();
        }
    });
}

fn labels(a: &mut Attack<'_>, title: bool) {
    let windows: Vec<_> = (0..60).map(|_| a.raw.show((120, 90), MAGENTA)).collect();
    let buffers: Vec<_> = (0..40).map(|at| a.raw.clear((100 + 7 * at, 90))).collect();
    a.raw.settle();
    short_turns(a, |a| {
        let start = Instant::now();
        let mut round = 0;
        while start.elapsed() < LONG {
            round += 1;
            for window in &windows {
                if title {
                    let text = format!("window number {round} of very many");
                    a.raw.send(window.toplevel, "set_title", &[S(&text)]);
                    a.raw.send(window.surface, "commit", &[]);
                } else {
                    a.raw.put(window.surface, buffers[round % buffers.len()]);
                }
            }
            a.raw.settle();
        }
    });
}

/// Asks thousands of times, on a client with many outputs, each of which is named in each answer.
fn questions(a: &mut Attack<'_>, seen: bool) {
    let window = a.raw.show((120, 90), MAGENTA);
    let presentation = a.raw.global("wp_presentation");
    let outputs: Vec<_> = a
        .raw
        .globals
        .iter()
        .filter(|(_, (interface, _))| interface == "wl_output")
        .collect();
    let (name, version) = outputs
        .first()
        .map(|(name, (_, version))| (**name, *version))
        .expect("an output");
    for _ in 0..40 {
        a.raw.bind(name, "wl_output", version);
    }
    let buffer = a.raw.clear((120, 90));
    a.raw.settle();
    short_turns(a, |a| {
        let mut last = 0;
        for _ in 0..2000 {
            last = if seen {
                a.raw.send(presentation, "feedback", &[U(window.surface), New])
            } else {
                a.raw.send(window.surface, "frame", &[New])
            };
        }
        a.raw.put(window.surface, buffer);
        // Each is answered in the end.
        a.raw.wait("the last answer", |raw| raw.is_done(last)).unwrap();
    });
}

fn commits(a: &mut Attack<'_>) {
    let window = a.raw.show(LARGE, MAGENTA);
    let buffer = a.raw.clear((8, 8));
    let mut surfaces = Vec::new();
    for _ in 0..200 {
        let surface = a.raw.surface();
        let role = a.raw.subsurface(surface, window.surface);
        a.raw.send(role, "set_desync", &[]);
        a.raw.put(surface, buffer);
        surfaces.push(surface);
    }
    a.raw.send(window.surface, "commit", &[]);
    a.raw.settle();
    short_turns(a, |a| {
        let start = Instant::now();
        while start.elapsed() < LONG {
            for surface in &surfaces {
                a.raw.send(*surface, "commit", &[]);
            }
            a.raw.settle();
        }
    });
}

/// Each of these changes nothing, and never reaches the main thread.
fn dropped(a: &mut Attack<'_>) {
    let region = a.raw.region();
    for at in 0..1100 {
        a.raw.send(region, "add", &[I(3 * at), I(0), I(1), I(2)]);
    }
    a.raw.settle();
    let turns = |a: &Attack<'_>| {
        let stats = a.rig.stats();
        let vm = stats.vms.into_iter().find(|vm| vm.name == HOSTILE);
        vm.expect("it is there").exhausted_turns
    };
    let before = turns(a);
    short_turns(a, |a| {
        for _ in 0..1_000_000 {
            a.raw.send(region, "add", &[I(9), I(0), I(1), I(1)]);
        }
        a.raw.settle();
    });
    let marked = turns(a) - before;
    println!("            turns in which it wanted more than its share: {marked}");
    assert!(marked > 0, "nobody notices");
}
