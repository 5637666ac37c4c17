// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects: ids that cannot be, trees and lists that grow, and limits.

use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::Raw;
use heraldry_tests::colour::key::MAGENTA;

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "A61a request to an object that never was",
        |a| a.raw.message(4711, 0, &[], &[]),
        Rule("unknown-object"),
    ),
    row(
        "A61b request to object 0",
        |a| a.raw.message(0, 0, &[], &[]),
        Rule("unknown-object"),
    ),
    row(
        "A61c request to an object of the compositor's that never was",
        |a| a.raw.message(0xff00_0000, 0, &[], &[]),
        Rule("unknown-object"),
    ),
    row(
        "A61d request to a destroyed object",
        destroyed,
        Rule("unknown-object"),
    ),
    row(
        "A61e id that skips a million",
        |a| new_id(a, 1_000_000),
        Rule("bad-new-id"),
    ),
    row("A61f id that is in use", |a| new_id(a, 2), Rule("bad-new-id")),
    row("A61g id of the display", |a| new_id(a, 1), Rule("bad-new-id")),
    row("A61h id 0", |a| new_id(a, 0), Rule("bad-new-id")),
    row(
        "A61i id from the compositor's range",
        |a| new_id(a, 0xff00_0001),
        Rule("bad-new-id"),
    ),
    row(
        "A61j id again before its end is confirmed",
        reused_early,
        Rule("bad-new-id"),
    ),
    row(
        "A61k object of the wrong interface",
        wrong_interface,
        Rule("wrong-object"),
    ),
    row(
        "A61l no object where one must be",
        no_object,
        Rule("wrong-object"),
    ),
    row(
        "A61m request beyond the interface's last",
        |a| a.raw.message(2, 77, &[], &[]),
        Rule("unknown-request"),
    ),
    row(
        "A61n surfaces without end",
        |a| {
            many(a, 4097, |raw| {
                raw.surface();
            })
        },
        Rule("too-many-surfaces"),
    ),
    row(
        "A61o callbacks of a hidden surface without end",
        callbacks,
        Rule("too-many-callbacks"),
    ),
    row(
        "A61p registries without end",
        registries,
        Rule("too-many-registries"),
    ),
    row(
        "A61q regions without end",
        |a| {
            many(a, 4097, |raw| {
                raw.region();
            })
        },
        Rule("too-many-regions"),
    ),
    row(
        "A61r positioners without end",
        positioners,
        Rule("too-many-objects"),
    ),
    row("A61s ids used again a hundred thousand times", churn, Lives),
    row(
        "A61t surfaces up to the limit, then gone at once",
        surfaces_at_once,
        Lives,
    ),
    row("A43d objects of a seat without number", seats, Lives),
    row("A47g cursor shape that is none", wrong_shape, Lives),
    row(
        "A61u pointer used after the seat's release",
        after_release,
        Rule("unknown-object"),
    ),
    row(
        "A63a subsurfaces nested from the root",
        nested_from_root,
        Rule("subsurface-depth"),
    ),
    row(
        "A63b subsurfaces nested from the leaf",
        nested_from_leaf,
        Rule("subsurface-depth"),
    ),
    row(
        "A63c subsurfaces nested from both ends",
        nested_in_the_middle,
        Rule("subsurface-depth"),
    ),
    row("A63d tree that is too wide", wide, Rule("tree-surfaces")),
    row(
        "A63e deepest tree that may be, committed a thousand times",
        deep_commits,
        Lives,
    ),
    row(
        "A63f subsurface that is its own grandparent",
        circle,
        Rule("subsurface-parent"),
    ),
    row("A63g subsurface of itself", of_itself, Rule("subsurface-parent")),
    row(
        "A66a hundreds of thousands of damage rectangles",
        |a| damage(a, 1, 1),
        Lives,
    ),
    row("A66b damage of negative size", |a| damage(a, -1, i32::MIN), Lives),
    row("A66c damage that overflows", overflowing_damage, Lives),
];

/// Makes many of something.
fn many(a: &mut Attack<'_>, count: usize, make: fn(&mut Raw)) {
    for _ in 0..count {
        make(&mut a.raw);
    }
}

fn destroyed(a: &mut Attack<'_>) {
    let region = a.raw.region();
    a.raw.send(region, "destroy", &[]);
    a.raw.send(region, "add", &[I(0), I(0), I(1), I(1)]);
}

/// `wl_display.sync` with this id.
fn new_id(a: &mut Attack<'_>, id: u32) {
    a.raw.message(1, 0, &id.to_ne_bytes(), &[]);
}

fn reused_early(a: &mut Attack<'_>) {
    let region = a.raw.region();
    a.raw.send(region, "destroy", &[]);
    new_id(a, region);
}

fn wrong_interface(a: &mut Attack<'_>) {
    let (surface, region) = (a.raw.surface(), a.raw.region());
    let base = a.raw.global("xdg_wm_base");
    a.raw.send(surface, "set_opaque_region", &[U(region)]);
    a.raw.send(base, "get_xdg_surface", &[New, U(region)]);
}

fn no_object(a: &mut Attack<'_>) {
    let base = a.raw.global("xdg_wm_base");
    a.raw.send(base, "get_xdg_surface", &[New, U(0)]);
}

fn callbacks(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    for _ in 0..8193 {
        a.raw.send(surface, "frame", &[New]);
    }
}

fn registries(a: &mut Attack<'_>) {
    for _ in 0..65 {
        a.raw.send(1, "get_registry", &[New]);
    }
}

fn positioners(a: &mut Attack<'_>) {
    let base = a.raw.global("xdg_wm_base");
    for _ in 0..60_001 {
        a.raw.send(base, "create_positioner", &[New]);
    }
}

fn churn(a: &mut Attack<'_>) {
    // The compositor lets go of an id, and the very next request takes it again.
    let compositor = a.raw.global("wl_compositor");
    for _ in 0..100 {
        let first = a.raw.next;
        for _ in 0..1000 {
            let region = a.raw.send(compositor, "create_region", &[New]);
            a.raw.send(region, "destroy", &[]);
        }
        a.raw.settle();
        assert!(a.raw.freed.len() > 1000, "the ids come back");
        a.raw.freed.clear();
        // The callback of the round trip took the one after them.
        a.raw.next = first;
    }
}

fn surfaces_at_once(a: &mut Attack<'_>) {
    let mut other = a.another();
    for _ in 0..1000 {
        other.surface();
    }
    other.settle();
    drop(other);
    a.raw.settle();
}

fn nested_from_root(a: &mut Attack<'_>) {
    let mut parent = a.raw.surface();
    for _ in 0..9 {
        let child = a.raw.surface();
        a.raw.subsurface(child, parent);
        parent = child;
    }
}

fn nested_from_leaf(a: &mut Attack<'_>) {
    let mut child = a.raw.surface();
    for _ in 0..9 {
        let parent = a.raw.surface();
        a.raw.subsurface(child, parent);
        child = parent;
    }
}

fn nested_in_the_middle(a: &mut Attack<'_>) {
    // Two chains of five, then the leaf of one above the root of the other.
    let mut chain = || {
        let root = a.raw.surface();
        let mut leaf = root;
        for _ in 0..5 {
            let child = a.raw.surface();
            a.raw.subsurface(child, leaf);
            leaf = child;
        }
        (root, leaf)
    };
    let (upper, lower) = (chain(), chain());
    a.raw.subsurface(lower.0, upper.1);
}

fn wide(a: &mut Attack<'_>) {
    let root = a.raw.surface();
    for _ in 0..256 {
        let child = a.raw.surface();
        a.raw.subsurface(child, root);
    }
}

fn deep_commits(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 64), MAGENTA);
    let mut parent = window.surface;
    for level in 0..8 {
        for _ in 0..if level == 7 { 200 } else { 1 } {
            let child = a.raw.surface();
            let subsurface = a.raw.subsurface(child, parent);
            a.raw.send(subsurface, "set_position", &[I(1), I(1)]);
            if level < 7 {
                parent = child;
            }
        }
    }
    for _ in 0..1000 {
        a.raw.send(window.surface, "commit", &[]);
    }
    a.raw.settle();
}

fn circle(a: &mut Attack<'_>) {
    let [one, two, three] = [a.raw.surface(), a.raw.surface(), a.raw.surface()];
    a.raw.subsurface(two, one);
    a.raw.subsurface(three, two);
    a.raw.subsurface(one, three);
}

fn of_itself(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    a.raw.subsurface(surface, surface);
}

fn damage(a: &mut Attack<'_>, width: i32, height: i32) {
    let window = a.raw.show((64, 64), MAGENTA);
    for at in 0..200_000 {
        let place = [I(at % 64), I(at / 64 % 64), I(width), I(height)];
        a.raw.send(window.surface, "damage_buffer", &place);
    }
    a.raw.send(window.surface, "commit", &[]);
    a.raw.settle();
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn overflowing_damage(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 64), MAGENTA);
    let odd = [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX];
    for request in ["damage", "damage_buffer"] {
        for x in odd {
            for width in odd {
                a.raw
                    .send(window.surface, request, &[I(x), I(width), I(width), I(x)]);
            }
            a.raw.send(window.surface, "commit", &[]);
        }
    }
    let region = a.raw.region();
    for request in ["add", "subtract"] {
        for x in odd {
            a.raw.send(region, request, &[I(x), I(x), I(i32::MAX), I(x)]);
        }
    }
    a.raw.send(window.surface, "set_opaque_region", &[U(region)]);
    a.raw.send(window.surface, "set_input_region", &[U(region)]);
    a.raw.send(window.toplevel, "set_title", &[S("after")]);
    a.raw.send(window.surface, "commit", &[]);
    a.raw.settle();
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn seats(a: &mut Attack<'_>) {
    let seat = a.raw.global("wl_seat");
    for _ in 0..200 {
        let (pointer, keyboard) = (a.raw.pointer(), a.raw.keyboard());
        a.raw.send(pointer, "release", &[]);
        a.raw.send(keyboard, "release", &[]);
    }
    let touch = a.raw.send(seat, "get_touch", &[New]);
    // A seat without one may say so.
    if a.raw.roundtrip().is_err() {
        assert!(a.raw.error.is_some());
        a.raw = a.another();
    } else {
        a.raw.send(touch, "release", &[]);
    }
}

fn wrong_shape(a: &mut Attack<'_>) {
    let manager = a.raw.global("wp_cursor_shape_manager_v1");
    let pointer = a.raw.pointer();
    let device = a.raw.send(manager, "get_pointer", &[New, U(pointer)]);
    a.raw.settle();
    let mut other = a.another();
    let (manager, pointer) = (other.global("wp_cursor_shape_manager_v1"), other.pointer());
    let wrong = other.send(manager, "get_pointer", &[New, U(pointer)]);
    for shape in [0, 35, 1000, u32::MAX] {
        other.send(wrong, "set_shape", &[U(0), U(shape)]);
    }
    if let Err(told) = other.roundtrip() {
        assert!(!told.is_empty(), "it is told why");
    }
    a.raw.send(device, "set_shape", &[U(0), U(1)]);
}

fn after_release(a: &mut Attack<'_>) {
    let seat = a.raw.global("wl_seat");
    let pointer = a.raw.pointer();
    a.raw.send(pointer, "release", &[]);
    a.raw.send(seat, "release", &[]);
    a.raw.send(pointer, "set_cursor", &[U(0), U(0), I(0), I(0)]);
}
