// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each limit of a VM, set low: what happens at it, for one client and for all of a VM together.

use std::os::fd::AsFd as _;

use heraldry_compositor::control::protocol::VmStats;
use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::{Raw, memory};
use heraldry_tests::colour::key::{MAGENTA, YELLOW};
use heraldry_tests::rig::until;

use super::attack::Expect::{Left, Lives, Rule};
use super::attack::{Attack, HOSTILE, Row, row};

/// What the attacker's VM may have.
pub(crate) const QUOTA: &str = "clients 6; connections-per-second 500; toplevels 3; popups 3; popup-coverage 5; \
    surfaces 40; tree-surfaces 4; subsurface-depth 2; parent-depth 2; objects 400; buffers 10; pools 8; pool-mib 1; \
    descriptors 64; regions 8; region-rectangles 8; rectangles 32; damage-rectangles 4; buffer-dimension 256; \
    callbacks 16; registries 4; instances 8; listed 32; pending-configures 4; sources 3; mime-types 8; mime-bytes 1024; string-bytes 64; \
    serial-seconds 1; maps-per-second 2; transfers 1; log-lines-per-second 2;";

pub(crate) const ROWS: &[Row] = &[
    row(
        "Q01a toplevels",
        |a| fill(a, toplevel, 4),
        Rule("too-many-toplevels"),
    ),
    row(
        "Q01b toplevels of two clients",
        |a| share(a, toplevel, 2),
        Rule("too-many-toplevels"),
    ),
    row("Q02 popups", popups, Rule("too-many-popups")),
    row(
        "Q03a surfaces",
        |a| {
            fill(
                a,
                |raw| {
                    raw.surface();
                },
                41,
            )
        },
        Rule("too-many-surfaces"),
    ),
    row(
        "Q03b surfaces of two clients",
        |a| {
            share(
                a,
                |raw| {
                    raw.surface();
                },
                21,
            )
        },
        Rule("too-many-surfaces"),
    ),
    row(
        "Q04 objects of two clients",
        |a| share(a, positioner, 201),
        Rule("too-many-objects"),
    ),
    row("Q05 buffers of one pool", buffers, Rule("too-many-buffers")),
    row(
        "Q06 pools",
        |a| {
            fill(
                a,
                |raw| {
                    raw.pool(4096, 4096);
                },
                9,
            )
        },
        Rule("too-many-pools"),
    ),
    row(
        "Q07a bytes of pools",
        |a| {
            fill(
                a,
                |raw| {
                    raw.pool(600 << 10, 600 << 10);
                },
                2,
            )
        },
        Rule("pool-bytes"),
    ),
    row(
        "Q07b bytes of pools that are destroyed but shown",
        shown_bytes,
        Rule("pool-bytes"),
    ),
    row("Q07c bytes of a pool that grows", growing, Rule("pool-bytes")),
    row(
        "Q08 descriptors held by messages that wait",
        held_descriptors,
        Left,
    ),
    row(
        "Q09 regions",
        |a| {
            fill(
                a,
                |raw| {
                    raw.region();
                },
                9,
            )
        },
        Rule("too-many-regions"),
    ),
    row("Q10 rectangles beyond the limit become a box", rectangles, Lives),
    row("Q11 callbacks", callbacks, Rule("too-many-callbacks")),
    row(
        "Q12 registries",
        |a| {
            fill(
                a,
                |raw| {
                    raw.send(1, "get_registry", &[New]);
                },
                5,
            )
        },
        Rule("too-many-registries"),
    ),
    row(
        "Q13 data sources",
        |a| {
            fill(
                a,
                |raw| {
                    raw.source("t/x");
                },
                4,
            )
        },
        Rule("too-many-sources"),
    ),
    row(
        "Q30a pointers of one client",
        |a| fill(a, pointer, 9),
        Rule("too-many-instances"),
    ),
    row(
        "Q30b seats, pointers and keyboards of two clients",
        |a| share(a, pointer_and_keyboard, 8),
        Rule("too-many-instances"),
    ),
    row("Q14 types of a source", types, Rule("too-many-types")),
    row("Q15 bytes of types", type_bytes, Rule("mime-bytes")),
    row("Q16 length of a text", long_text, Rule("string-length")),
    row(
        "Q17 depth of subsurfaces",
        |a| nested(a, 3),
        Rule("subsurface-depth"),
    ),
    row("Q18 surfaces of a tree", wide, Rule("tree-surfaces")),
    row("Q19 parents of a window", parents, Rule("parent-depth")),
    row("Q20 side of a buffer", dimension, Rule("buffer-bounds")),
    row("Q21 clients", clients, Lives),
    row("Q22 windows that appear too fast wait", maps, Lives),
    row("Q23 popups that cover too much are dismissed", coverage, Lives),
    row(
        "Q24 configures of a window that is not shown yet",
        unseen_configures,
        Lives,
    ),
    row("Q25 what was destroyed counts no more", given_back, Lives),
    row(
        "Q24a configures that wait for their acknowledgement",
        configures,
        Lives,
    ),
];

fn stats(a: &Attack<'_>) -> VmStats {
    a.rig
        .stats()
        .vms
        .into_iter()
        .find(|vm| vm.name == HOSTILE)
        .unwrap()
}

/// Makes so many; the last is one too many.
fn fill(a: &mut Attack<'_>, make: fn(&mut Raw), count: usize) {
    for _ in 0..count {
        make(&mut a.raw);
    }
}

fn toplevel(raw: &mut Raw) {
    let surface = raw.surface();
    let base = raw.global("xdg_wm_base");
    let xdg = raw.send(base, "get_xdg_surface", &[New, U(surface)]);
    raw.send(xdg, "get_toplevel", &[New]);
}

fn pointer(raw: &mut Raw) {
    let seat = raw.global("wl_seat");
    raw.send(seat, "get_pointer", &[New]);
}

fn pointer_and_keyboard(raw: &mut Raw) {
    pointer(raw);
    let seat = raw.global("wl_seat");
    raw.send(seat, "get_keyboard", &[New]);
}

/// Two clients make so many each: together one too many.
fn share(a: &mut Attack<'_>, make: fn(&mut Raw), each: usize) {
    let mut other = a.another();
    for _ in 0..each {
        make(&mut other);
    }
    other.settle();
    fill(a, make, each);
    a.raw.end();
    // What was too much is told to who asked for it.
    other.settle();
}

fn positioner(raw: &mut Raw) {
    let base = raw.global("xdg_wm_base");
    raw.send(base, "create_positioner", &[New]);
}

fn popups(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for _ in 0..4 {
        a.raw.popup(window.xdg, (0, 0), (10, 10));
    }
}

fn buffers(a: &mut Attack<'_>) {
    let pool = a.raw.pool(4096, 4096);
    for _ in 0..11 {
        a.raw
            .send(pool, "create_buffer", &[New, I(0), I(8), I(8), I(32), U(1)]);
    }
}

fn shown_bytes(a: &mut Attack<'_>) {
    // 150 x 1000 pixels are more than half of the limit; buffer and pool are gone, the window shows them.
    let window = a.raw.window();
    let fd = memory(600 << 10);
    let buffer = a.raw.buffer_of(&fd, 600 << 10, (150, 200), 1);
    a.raw.put(window.surface, buffer);
    a.raw.send(buffer, "destroy", &[]);
    a.raw.settle();
    a.raw.pool(600 << 10, 600 << 10);
}

fn growing(a: &mut Attack<'_>) {
    let pool = a.raw.pool(2 << 20, 4096);
    a.raw.send(pool, "resize", &[I(2 << 20)]);
}

fn held_descriptors(a: &mut Attack<'_>) {
    // Descriptors of messages that are never whole.
    let mut clients: Vec<_> = (0..4).map(|_| a.another()).collect();
    let fd = memory(4096);
    let fds = vec![fd.as_fd(); 20];
    for client in &mut clients {
        client.bytes(&[1], &fds);
    }
    a.honest().settle();
    let descriptors = stats(a)
        .budgets
        .into_iter()
        .find(|budget| budget.name == "descriptors")
        .unwrap();
    assert!(descriptors.peak <= descriptors.limit, "{descriptors:?}");
}

fn rectangles(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for _ in 0..4 {
        let region = a.raw.region();
        for at in 0..1000 {
            a.raw.send(region, "add", &[I(at * 2), I(0), I(1), I(1)]);
        }
        a.raw.send(window.surface, "set_opaque_region", &[U(region)]);
        a.raw.send(window.surface, "commit", &[]);
    }
    a.raw.settle();
    let used = stats(a)
        .budgets
        .into_iter()
        .find(|budget| budget.name == "rectangles")
        .unwrap();
    assert!(used.used <= used.limit, "{used:?}");
}

fn callbacks(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    for _ in 0..17 {
        a.raw.send(surface, "frame", &[New]);
    }
}

fn types(a: &mut Attack<'_>) {
    let source = a.raw.source("t/x");
    for _ in 0..8 {
        a.raw.send(source, "offer", &[S("t/y")]);
    }
}

fn type_bytes(a: &mut Attack<'_>) {
    let text = "x".repeat(60);
    let full = |raw: &mut Raw| {
        let source = raw.source(&text);
        for _ in 0..7 {
            raw.send(source, "offer", &[S(&text)]);
        }
    };
    let mut other = a.another();
    full(&mut other);
    other.settle();
    full(&mut a.raw);
    full(&mut a.raw);
    a.raw.end();
    other.settle();
}

fn long_text(a: &mut Attack<'_>) {
    let window = a.raw.window();
    a.raw.send(window.toplevel, "set_title", &[S(&"x".repeat(65))]);
}

fn nested(a: &mut Attack<'_>, levels: usize) {
    let mut parent = a.raw.surface();
    for _ in 0..levels {
        let child = a.raw.surface();
        a.raw.subsurface(child, parent);
        parent = child;
    }
}

fn wide(a: &mut Attack<'_>) {
    let root = a.raw.surface();
    for _ in 0..4 {
        let child = a.raw.surface();
        a.raw.subsurface(child, root);
    }
}

fn parents(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let mut parent = window.xdg;
    for _ in 0..3 {
        parent = a.raw.popup(parent, (0, 0), (10, 10)).xdg;
    }
}

fn dimension(a: &mut Attack<'_>) {
    let pool = a.raw.pool(4096, 4096);
    a.raw
        .send(pool, "create_buffer", &[New, I(0), I(257), I(1), I(1028), U(1)]);
}

fn clients(a: &mut Attack<'_>) {
    let mut open: Vec<Raw> = (0..5).map(|_| a.another()).collect();
    let before = stats(a).refused_connections;
    let mut refused = Raw::silent(a.rig.connect(HOSTILE));
    refused.send(1, "get_registry", &[New]);
    refused.end();
    assert!(stats(a).refused_connections > before);
    for client in &mut open {
        client.settle();
    }
    a.honest().settle();
}

fn maps(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let buffer = a.raw.buffer((64, 48), MAGENTA);
    let before = stats(a).delayed_maps;
    for _ in 0..12 {
        a.raw.send(window.surface, "attach", &[U(0), I(0), I(0)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        a.raw.ack(window.xdg);
        a.raw.put(window.surface, buffer);
        a.raw.settle();
    }
    until("some waited", || stats(a).delayed_maps > before);
    until("it is shown in the end", || {
        a.windows().iter().any(|window| window.content.is_some())
    });
}

fn coverage(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    // The rows before this one have used up the windows of this second.
    a.only_window();
    let popup = a.raw.popup(window.xdg, (80, 0), (200, 200));
    a.raw.show_popup(popup, (200, 200), YELLOW);
    a.picture();
    a.raw
        .wait("its end", |raw| !raw.told("xdg_popup.popup_done").is_empty())
        .unwrap();
    assert!(a.picture().find(YELLOW).is_none());
    assert!(stats(a).dismissed_popups > 0);
}

fn unseen_configures(a: &mut Attack<'_>) {
    let window = a.raw.window();
    for round in 0..200 {
        let request = if round % 2 == 0 {
            "set_maximized"
        } else {
            "unset_maximized"
        };
        a.raw.send(window.toplevel, request, &[]);
        a.raw.settle();
    }
    let told = a.raw.told("xdg_surface.configure").len();
    assert!(told <= 8, "{told} configures wait");
}

fn given_back(a: &mut Attack<'_>) {
    for _ in 0..100 {
        let surface = a.raw.surface();
        let region = a.raw.region();
        a.raw.send(region, "add", &[I(0), I(0), I(1), I(1)]);
        a.raw.send(surface, "set_opaque_region", &[U(region)]);
        a.raw.send(surface, "commit", &[]);
        let pool = a.raw.pool(200 << 10, 200 << 10);
        let buffer = a
            .raw
            .send(pool, "create_buffer", &[New, I(0), I(8), I(8), I(32), U(1)]);
        let source = a.raw.source("t/x");
        for object in [source, buffer, pool, region, surface] {
            a.raw.send(object, "destroy", &[]);
        }
        a.raw.settle();
    }
}

fn configures(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.only_window();
    a.raw.events.clear();
    for round in 0..200 {
        let request = if round % 2 == 0 {
            "set_maximized"
        } else {
            "unset_maximized"
        };
        a.raw.send(window.toplevel, request, &[]);
        a.raw.settle();
    }
    let told = a.raw.told("xdg_surface.configure").len();
    assert!(told <= 8, "{told} configures wait");
}
