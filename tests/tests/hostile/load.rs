// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floods: requests, commits, connections, windows, and clients that do not read.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::Raw;
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::rig::{Usage, until};

use super::attack::Expect::{Host, Left, Lives, Rule};
use super::attack::{Attack, HOSTILE, Row, row};
use super::drawing::three;

pub(crate) const ROWS: &[Row] = &[
    row("A13 window mapped and unmapped without a pause", flicker, Lives),
    row(
        "A65a region of 200,000 rectangles on 200 surfaces",
        region_copies,
        Lives,
    ),
    row(
        "A65b rows and columns that cut each other",
        rows_and_columns,
        Lives,
    ),
    row("A65c regions in commits that wait", regions_that_wait, Lives),
    row(
        "A68a requests without answers for two seconds",
        |a| flood(a, 4, Flood::Damage),
        Lives,
    ),
    row(
        "A68b round trips without end for two seconds",
        |a| flood(a, 1, Flood::Sync),
        Lives,
    ),
    row(
        "A68c eight clients that flood together",
        |a| flood(a, 8, Flood::Sync),
        Lives,
    ),
    row(
        "A68e titles of 4000 bytes for two seconds",
        |a| flood(a, 1, Flood::Title),
        Lives,
    ),
    row(
        "A69a client that never reads",
        never_reads,
        Host("does not read what it is sent"),
    ),
    row("A69b eight clients that never read", eight_deaf, Left),
    row("A69c honest client that reads slowly", slow_reader, Lives),
    row(
        "A80a commits with full damage for two seconds",
        |a| storm(a, 1, (320, 240)),
        Lives,
    ),
    row(
        "A80b commits of four large windows for two seconds",
        |a| storm(a, 4, (600, 440)),
        Lives,
    ),
    row(
        "A90a connections that are opened and left open",
        open_connections,
        Lives,
    ),
    row("A90b connections that come and go", come_and_go, Lives),
    row(
        "A90c connections that leave before they are taken",
        leave_at_once,
        Lives,
    ),
    row(
        "A61v client with all that it may have disconnects",
        full_client_leaves,
        Lives,
    ),
    row(
        "A69d client that does not read while the pointer moves over it",
        deaf_under_the_pointer,
        Lives,
    ),
    row(
        "A61w clients with all that they may have break a rule",
        full_client_ended,
        Lives,
    ),
    row("A61x ids that only rise", ids_that_rise, Rule("bad-new-id")),
    row("D04e turned layers from three VMs at once", three, Lives),
    row(
        "A61y objects that nothing destroys",
        lasting_without_end,
        Rule("too-many-objects"),
    ),
    row("A03a windows without number", many_windows, Lives),
    row("A80c new buffer with every commit", new_buffers, Lives),
    row(
        "A68d pools made and destroyed for two seconds",
        |a| flood(a, 1, Flood::Pool),
        Lives,
    ),
];

const LONG: Duration = Duration::from_secs(2);

fn flicker(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let start = Instant::now();
    let mut cycles = 0;
    // Twenty may come at once; some of these waited.
    while cycles < 1000 && (start.elapsed() < LONG || cycles < 30) {
        a.raw.send(window.surface, "attach", &[U(0), I(0), I(0)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        a.raw.draw(window, (64, 48), MAGENTA);
        cycles += 1;
    }
}

fn memory_of_compositor(a: &Attack<'_>) -> u64 {
    Usage::of(a.rig.compositor_pid()).memory
}

fn region_copies(a: &mut Attack<'_>) {
    let before = memory_of_compositor(a);
    let region = a.raw.region();
    for at in 0..200_000 {
        a.raw
            .send(region, "add", &[I(at % 1000), I(at / 1000), I(1), I(1)]);
    }
    for _ in 0..200 {
        let surface = a.raw.surface();
        a.raw.send(surface, "set_input_region", &[U(region)]);
        a.raw.send(surface, "set_opaque_region", &[U(region)]);
        a.raw.send(surface, "commit", &[]);
    }
    a.raw.settle();
    let grown = memory_of_compositor(a).saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB for one region");
}

/// 200 rows and 200 columns have 40,000 pieces, of which Smithay makes a list.
fn rows_and_columns(a: &mut Attack<'_>) {
    let window = a.raw.show((400, 400), MAGENTA);
    for above in [0, -3000] {
        let region = a.raw.region();
        for at in 0..200 {
            a.raw.send(region, "add", &[I(0), I(at * 2), I(400), I(1)]);
        }
        for at in 0..200 {
            // What begins above a surface is moved into it.
            let y = above * (at + 1);
            a.raw.send(region, "add", &[I(at * 2), I(y), I(1), I(400)]);
        }
        a.raw.send(window.surface, "set_opaque_region", &[U(region)]);
        for _ in 0..5 {
            a.raw.draw(window, (400, 400), MAGENTA);
            a.raw.settle();
        }
    }
}

/// What is set again in each commit is kept for each of them, until the parent's.
fn regions_that_wait(a: &mut Attack<'_>) {
    let before = memory_of_compositor(a);
    let parent = a.raw.surface();
    let subcompositor = a.raw.global("wl_subcompositor");
    let region = a.raw.region();
    for at in 0..1000 {
        a.raw.send(region, "add", &[I(at * 2), I(0), I(1), I(1)]);
    }
    for _ in 0..200 {
        let surface = a.raw.surface();
        a.raw
            .send(subcompositor, "get_subsurface", &[New, U(surface), U(parent)]);
        for _ in 0..8 {
            a.raw.send(surface, "set_input_region", &[U(region)]);
            a.raw.send(surface, "set_opaque_region", &[U(region)]);
            a.raw.send(surface, "commit", &[]);
            a.raw.send(surface, "set_input_region", &[U(0)]);
            a.raw.send(surface, "set_opaque_region", &[U(0)]);
        }
    }
    a.raw.settle();
    let grown = memory_of_compositor(a).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
}

/// Bindings that no request destroys: all of them go at once with their client.
/// Of what Smithay keeps in lists a client has few anyway; this is what it does not.
fn lasting_without_end(a: &mut Attack<'_>) {
    let found = a
        .raw
        .globals
        .iter()
        .find(|(_, (name, _))| name == "wl_compositor");
    let (name, version) = found.map(|(name, (_, version))| (*name, *version)).unwrap();
    for _ in 0..16_000 {
        if a.raw.ended {
            break;
        }
        a.raw.bind(name, "wl_compositor", version);
    }
}

#[derive(Clone, Copy)]
enum Flood {
    Damage,
    Sync,
    Pool,
    Title,
}

fn flood(a: &mut Attack<'_>, clients: usize, what: Flood) {
    std::thread::scope(|scope| {
        for _ in 0..clients {
            let mut raw = a.another();
            raw.thrifty = true;
            scope.spawn(move || {
                let window = raw.window();
                let title = "x".repeat(4000);
                let start = Instant::now();
                while start.elapsed() < LONG && !raw.ended {
                    for _ in 0..100 {
                        match what {
                            Flood::Damage => raw.send(window.surface, "damage", &[I(0), I(0), I(1), I(1)]),
                            Flood::Sync => raw.send(1, "sync", &[New]),
                            Flood::Pool => {
                                let pool = raw.pool(4096, 4096);
                                raw.send(pool, "destroy", &[])
                            }
                            Flood::Title => raw.send(window.toplevel, "set_title", &[S(&title)]),
                        };
                    }
                    // It may be ended for this; that is its affair.
                    let _ended = raw.roundtrip();
                    raw.events.clear();
                }
            });
        }
    });
}

/// Asks and does not read, until nobody takes what it asks.
fn ask_deaf(raw: &mut Raw) {
    raw.deaf = true;
    let mut asked = 0;
    while !raw.ended && asked < 2_000_000 {
        for _ in 0..500 {
            raw.send(1, "sync", &[New]);
        }
        asked += 500;
    }
}

fn never_reads(a: &mut Attack<'_>) {
    ask_deaf(&mut a.raw);
    a.raw.deaf = false;
}

fn eight_deaf(a: &mut Attack<'_>) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let mut raw = a.another();
            scope.spawn(move || {
                ask_deaf(&mut raw);
                std::thread::sleep(Duration::from_millis(500));
            });
        }
    });
    a.another().settle();
}

fn slow_reader(a: &mut Attack<'_>) {
    let mut honest = a.honest();
    let callbacks: Vec<u32> = (0..2000).map(|_| honest.send(1, "sync", &[New])).collect();
    honest.deaf = true;
    for _ in 0..40 {
        honest.pump(Duration::from_millis(1));
        std::thread::sleep(Duration::from_millis(25));
    }
    honest.deaf = false;
    honest.settle();
    let answered = callbacks
        .iter()
        .filter(|callback| honest.is_done(**callback))
        .count();
    assert_eq!(answered, callbacks.len(), "it was slow and lost nothing");
}

fn deaf_under_the_pointer(a: &mut Attack<'_>) {
    a.raw.pointer();
    a.raw.show((300, 200), MAGENTA);
    let content = a.content();
    let at = |x: i32| (content.x + x % 290, content.y + 5);
    a.point(at(1));
    a.point(at(2));
    a.raw
        .wait("a ping", |raw| !raw.told("xdg_wm_base.ping").is_empty())
        .unwrap();
    a.raw.deaf = true;
    // Longer than a sign of life may take.
    std::thread::sleep(Duration::from_millis(600));
    a.raw.events.retain(|event| event.name == "xdg_wm_base.ping");
    for x in 0..2000 {
        a.point(at(x));
    }
    a.honest().settle();
    a.raw.deaf = false;
    a.raw.settle();
    assert!(a.raw.told("wl_pointer.motion").is_empty(), "it was told later");
    let base = a.raw.global("xdg_wm_base");
    let serial = a.raw.told("xdg_wm_base.ping").pop().unwrap().uint(0);
    for wrong in [0, serial.wrapping_add(1), u32::MAX, serial, serial] {
        a.raw.send(base, "pong", &[U(wrong)]);
    }
    a.raw
        .wait("the last place", |raw| !raw.told("wl_pointer.motion").is_empty())
        .unwrap();
    a.raw.settle();
    assert_eq!(a.raw.told("wl_pointer.motion").len(), 1);
}

fn storm(a: &mut Attack<'_>, windows: usize, size: (i32, i32)) {
    let windows: Vec<_> = (0..windows).map(|_| a.raw.show(size, MAGENTA)).collect();
    let buffer = a.raw.buffer(size, MAGENTA);
    let start = Instant::now();
    let mut commits = 0;
    while start.elapsed() < LONG || commits <= 100 {
        for _ in 0..50 {
            for window in &windows {
                a.raw.put(window.surface, buffer);
                commits += 1;
            }
        }
        a.raw.settle();
        a.raw.events.clear();
    }
}

fn open_connections(a: &mut Attack<'_>) {
    let path = a.rig.socket(HOSTILE);
    // The kernel's queue is finite, too: who cannot connect has reached its own limit.
    let connect = || {
        let socket = rustix::net::socket_with(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC,
            None,
        );
        let address = rustix::net::SocketAddrUnix::new(&path).unwrap();
        let socket = socket.unwrap();
        rustix::net::connect(&socket, &address)
            .ok()
            .map(|()| UnixStream::from(socket))
    };
    let open: Vec<_> = (0..2000).filter_map(|_| connect()).collect();
    assert!(open.len() >= 64, "{} connections", open.len());
    for _ in 0..5 {
        a.honest().settle();
    }
    let clients = a
        .rig
        .vms()
        .into_iter()
        .find(|vm| vm.name == HOSTILE)
        .unwrap()
        .clients;
    assert!(clients <= 32, "{clients} clients of a VM that may have 32");
}

fn come_and_go(a: &mut Attack<'_>) {
    for round in 0..300 {
        let mut raw = Raw::silent(a.rig.connect(HOSTILE));
        if round % 2 == 0 {
            raw.send(1, "get_registry", &[New]);
            raw.flush();
        }
        if round % 50 == 0 {
            a.honest().settle();
        }
    }
    until("they are gone", || a.rig.stats().clients <= 2);
}

fn leave_at_once(a: &mut Attack<'_>) {
    for _ in 0..300 {
        drop(a.rig.connect(HOSTILE));
    }
    a.honest().settle();
}

fn full_client_leaves(a: &mut Attack<'_>) {
    let mut other = a.another();
    for _ in 0..1000 {
        let surface = other.surface();
        other.send(surface, "frame", &[New]);
    }
    let region = other.region();
    other.send(region, "add", &[I(0), I(0), I(1), I(1)]);
    other.settle();
    drop(other);
    a.raw.settle();
}

/// The most that a neighbour waits for an answer meanwhile; the programs share their machine with other tests.
const SHORT: Duration = Duration::from_millis(100);

/// Who breaks a rule is taken apart in slices, and answers to others come in between.
fn full_client_ended(a: &mut Attack<'_>) {
    let surfaces: fn(&mut Raw) = |raw| {
        for _ in 0..1000 {
            let surface = raw.surface();
            raw.send(surface, "frame", &[New]);
            raw.send(surface, "commit", &[]);
        }
    };
    let objects: fn(&mut Raw) = |raw| {
        let base = raw.global("xdg_wm_base");
        for _ in 0..16_000 {
            raw.send(base, "create_positioner", &[New]);
        }
    };
    let pools: fn(&mut Raw) = |raw| {
        for _ in 0..480 {
            raw.pool(4096, 4096);
        }
    };
    let mut honest = a.honest();
    // 16,000 objects are at least 63 slices; the others are gone after a few. Of what Smithay keeps in lists nobody has many.
    for (build, turns) in [(surfaces, 0), (objects, 3), (pools, 0)] {
        let mut raw = a.another();
        let window = raw.window();
        build(&mut raw);
        raw.settle();
        raw.send(window.xdg, "ack_configure", &[U(4711)]);
        let told = raw.end();
        assert!(told.contains("(rule unsent-configure of"), "{told}");
        let (mut trips, mut worst) = (0, Duration::ZERO);
        let ended = Instant::now();
        while a.rig.stats().clients > 3 {
            assert!(ended.elapsed() < LONG, "its place is not free");
            let start = Instant::now();
            honest.settle();
            worst = worst.max(start.elapsed());
            trips += 1;
        }
        println!("            {trips} answers while it was taken apart, {worst:?} at worst");
        assert!(trips >= turns, "{trips} answers: it was taken apart at once");
        assert!(worst < SHORT, "an answer took {worst:?}");
    }
}

fn ids_that_rise(a: &mut Attack<'_>) {
    while a.raw.roundtrip().is_ok() {
        for _ in 0..1000 {
            a.raw.send(1, "sync", &[New]);
        }
    }
}

fn many_windows(a: &mut Attack<'_>) {
    let mut shown = 0;
    for _ in 0..70 {
        let window = a.raw.surface();
        let base = a.raw.global("xdg_wm_base");
        let xdg = a.raw.send(base, "get_xdg_surface", &[New, U(window)]);
        a.raw.send(xdg, "get_toplevel", &[New]);
        a.raw.send(window, "commit", &[]);
        if a.raw.roundtrip().is_err() {
            break;
        }
        shown += 1;
    }
    assert_eq!(shown, 64, "windows of a VM that may have 64");
    assert!(a.raw.error.as_ref().unwrap().contains("(rule too-many-toplevels"));
    a.raw = a.another();
}

fn new_buffers(a: &mut Attack<'_>) {
    let window = a.raw.show((320, 240), MAGENTA);
    for _ in 0..300 {
        let buffer = a.raw.buffer((320, 240), MAGENTA);
        a.raw.put(window.surface, buffer);
        a.raw.send(buffer, "destroy", &[]);
    }
    a.raw.settle();
}
