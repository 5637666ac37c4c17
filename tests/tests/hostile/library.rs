// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests that end, hang or confuse Smithay.

use heraldry_tests::client::raw::Arg::{I, New, U};
use heraldry_tests::client::raw::{Raw, RawPopup};
use heraldry_tests::colour::key::{MAGENTA, YELLOW};

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row(
        "L01a subsurface above itself",
        |a| next_to(a, "place_above", Next::Itself),
        Rule("subsurface-sibling"),
    ),
    row(
        "L01b subsurface below itself",
        |a| next_to(a, "place_below", Next::Itself),
        Rule("subsurface-sibling"),
    ),
    row(
        "L01c subsurface above a stranger",
        |a| next_to(a, "place_above", Next::Stranger),
        Rule("subsurface-sibling"),
    ),
    row(
        "L01d subsurface whose parent has gone",
        |a| next_to(a, "place_above", Next::Orphan),
        Lives,
    ),
    row(
        "L02a popup that is its own parent",
        popup_of_itself,
        Rule("popup-parent"),
    ),
    row(
        "L02b popup without a parent",
        popup_without_parent,
        Rule("popup-parent"),
    ),
    row(
        "L02c popup of a surface that is no window",
        popup_of_nothing,
        Rule("popup-parent"),
    ),
    row("L02d popups in a circle", popup_circle, Rule("popup-parent")),
    row("L02e chain of popups", popup_chain, Rule("parent-depth")),
    row("L02f parent of a popup destroyed first", popup_orphan, Lives),
    row("L03a windows in a circle", window_circle, Rule("window-parent")),
    row("L03b chain of windows", window_chain, Rule("parent-depth")),
    row("L04a two roles for one surface", two_roles, Rule("surface-role")),
    row(
        "L04b role object for a dead surface",
        dead_surface,
        Rule("surface-role"),
    ),
    row(
        "L04c window that becomes a subsurface",
        role_changes,
        Rule("surface-role"),
    ),
    row("L04d buffer before any configure", buffer_first, Lives),
    row("L05a region of 200,000 empty rectangles", |a| region(a, 0), Lives),
    row(
        "L06a negative damage, geometry and limits",
        |a| sizes(a, "set_min_size", -1),
        Rule("window-size"),
    ),
    row("L06b largest size below the smallest", crossed_limits, Lives),
    row(
        "L06c negative largest size",
        |a| sizes(a, "set_max_size", i32::MIN),
        Rule("window-size"),
    ),
    row(
        "L07a positioner without size",
        |a| positioner(a, "set_size", 0),
        Rule("positioner-size"),
    ),
    row(
        "L07b positioner of negative size",
        |a| positioner(a, "set_size", i32::MIN),
        Rule("positioner-size"),
    ),
    row(
        "L07c anchor of negative size",
        |a| positioner(a, "set_anchor_rect", -1),
        Rule("positioner-size"),
    ),
    row(
        "L07d parent of negative size",
        |a| positioner(a, "set_parent_size", -1),
        Rule("positioner-size"),
    ),
    row("L07e popups from extreme positioners", extreme_popups, Lives),
    row("L07f popup that moves to every extreme", repositioned, Lives),
    row("L08a buffer scale 0", |a| scale(a, 0), Rule("buffer-scale")),
    row(
        "L08b negative buffer scale",
        |a| scale(a, i32::MIN),
        Rule("buffer-scale"),
    ),
    row("L08c largest buffer scale", largest_scale, Lives),
    row("L08d transform that is none", |a| transform(a, 77), Lives),
    row("L09a viewport source beyond the buffer", viewport_beyond, Lives),
    row(
        "L09b viewport of negative size",
        |a| viewport(a, -5),
        Rule("viewport-size"),
    ),
    row(
        "L09c viewport of no size",
        |a| viewport(a, 0),
        Rule("viewport-size"),
    ),
    row(
        "L10 every object destroyed in the wrong order",
        wrong_order,
        Lives,
    ),
];

enum Next {
    Itself,
    Stranger,
    Orphan,
}

fn next_to(a: &mut Attack<'_>, request: &str, next: Next) {
    let (parent, child, stranger) = (a.raw.surface(), a.raw.surface(), a.raw.surface());
    let subsurface = a.raw.subsurface(child, parent);
    let sibling = match next {
        Next::Itself => child,
        Next::Stranger => stranger,
        Next::Orphan => {
            a.raw.send(parent, "destroy", &[]);
            child
        }
    };
    a.raw.send(subsurface, request, &[U(sibling)]);
}

/// An `xdg_surface` on a new surface, and a positioner.
fn bare(raw: &mut Raw) -> (u32, u32) {
    let surface = raw.surface();
    let base = raw.global("xdg_wm_base");
    let positioner = raw.send(base, "create_positioner", &[New]);
    raw.send(positioner, "set_size", &[I(10), I(10)]);
    raw.send(positioner, "set_anchor_rect", &[I(0), I(0), I(1), I(1)]);
    (raw.send(base, "get_xdg_surface", &[New, U(surface)]), positioner)
}

fn popup_of_itself(a: &mut Attack<'_>) {
    let (xdg, positioner) = bare(&mut a.raw);
    a.raw.send(xdg, "get_popup", &[New, U(xdg), U(positioner)]);
}

fn popup_without_parent(a: &mut Attack<'_>) {
    let (xdg, positioner) = bare(&mut a.raw);
    a.raw.send(xdg, "get_popup", &[New, U(0), U(positioner)]);
}

fn popup_of_nothing(a: &mut Attack<'_>) {
    let (nothing, _) = bare(&mut a.raw);
    let (xdg, positioner) = bare(&mut a.raw);
    a.raw.send(xdg, "get_popup", &[New, U(nothing), U(positioner)]);
}

fn popup_circle(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let upper = a.raw.popup(window.xdg, (0, 0), (10, 10));
    let lower = a.raw.popup(upper.xdg, (0, 0), (10, 10));
    a.raw.send(upper.popup, "destroy", &[]);
    let (_, positioner) = bare(&mut a.raw);
    a.raw
        .send(upper.xdg, "get_popup", &[New, U(lower.xdg), U(positioner)]);
}

fn popup_chain(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let mut parent = window.xdg;
    for _ in 0..33 {
        parent = a.raw.popup(parent, (1, 1), (10, 10)).xdg;
    }
}

fn popup_orphan(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let upper = a.raw.popup(window.xdg, (0, 0), (10, 10));
    a.raw.show_popup(upper, (10, 10), YELLOW);
    let lower = a.raw.popup(upper.xdg, (0, 0), (10, 10));
    a.raw.show_popup(lower, (10, 10), YELLOW);
    a.raw.send(upper.popup, "destroy", &[]);
}

fn window_circle(a: &mut Attack<'_>) {
    let [one, two, three] = [a.raw.window(), a.raw.window(), a.raw.window()];
    a.raw.send(one.toplevel, "set_parent", &[U(two.toplevel)]);
    a.raw.send(two.toplevel, "set_parent", &[U(three.toplevel)]);
    a.raw.send(three.toplevel, "set_parent", &[U(one.toplevel)]);
}

fn window_chain(a: &mut Attack<'_>) {
    let windows: Vec<_> = (0..40).map(|_| a.raw.window()).collect();
    for pair in windows.windows(2) {
        a.raw.send(pair[1].toplevel, "set_parent", &[U(pair[0].toplevel)]);
    }
}

fn two_roles(a: &mut Attack<'_>) {
    let window = a.raw.window();
    a.raw.send(window.xdg, "get_toplevel", &[New]);
}

fn dead_surface(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    let base = a.raw.global("xdg_wm_base");
    let xdg = a.raw.send(base, "get_xdg_surface", &[New, U(surface)]);
    a.raw.send(surface, "destroy", &[]);
    a.raw.send(xdg, "get_toplevel", &[New]);
}

fn role_changes(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let parent = a.raw.surface();
    a.raw.subsurface(window.surface, parent);
}

fn buffer_first(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    let base = a.raw.global("xdg_wm_base");
    let buffer = a.raw.buffer((64, 48), MAGENTA);
    a.raw.put(surface, buffer);
    a.raw.send(base, "get_xdg_surface", &[New, U(surface)]);
}

fn region(a: &mut Attack<'_>, size: i32) {
    let region = a.raw.region();
    for at in 0..200_000 {
        a.raw.send(region, "add", &[I(at), I(at), I(size), I(1)]);
    }
}

fn sizes(a: &mut Attack<'_>, request: &str, size: i32) {
    let window = a.raw.window();
    a.raw.send(window.toplevel, request, &[I(10), I(size)]);
    a.raw.send(window.surface, "commit", &[]);
}

fn crossed_limits(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.raw.send(window.toplevel, "set_min_size", &[I(500), I(500)]);
    a.raw.send(window.toplevel, "set_max_size", &[I(100), I(100)]);
    a.raw.send(window.surface, "commit", &[]);
}

fn positioner(a: &mut Attack<'_>, request: &str, size: i32) {
    let (_, positioner) = bare(&mut a.raw);
    match request {
        "set_anchor_rect" => a.raw.send(positioner, request, &[I(0), I(0), I(size), I(1)]),
        _ => a.raw.send(positioner, request, &[I(size), I(10)]),
    };
}

const EXTREMES: [i32; 6] = [i32::MIN, -1_000_000, -1, 1, 1_000_000, i32::MAX];

fn extreme_popups(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for x in EXTREMES {
        for y in EXTREMES {
            let popup = a.raw.popup(window.xdg, (x, y), (x.max(1), y.max(1)));
            a.raw.send(popup.surface, "commit", &[]);
            a.raw.settle();
            a.raw.send(popup.popup, "destroy", &[]);
        }
    }
}

fn repositioned(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let RawPopup { popup, .. } = {
        let popup = a.raw.popup(window.xdg, (0, 0), (20, 20));
        a.raw.show_popup(popup, (20, 20), YELLOW);
        popup
    };
    for token in 0..900_u32 {
        let (_, positioner) = bare(&mut a.raw);
        let at = EXTREMES[usize::try_from(token).unwrap() % EXTREMES.len()];
        a.raw
            .send(positioner, "set_offset", &[I(at), I(at.wrapping_add(1))]);
        a.raw
            .send(positioner, "set_constraint_adjustment", &[U(token & 63)]);
        a.raw.send(popup, "reposition", &[U(positioner), U(token)]);
        a.raw.send(positioner, "destroy", &[]);
    }
    a.raw.settle();
    let told = a.raw.told("xdg_popup.repositioned").len();
    assert!(told < 600, "{told} configures wait for their acknowledgement");
}

fn scale(a: &mut Attack<'_>, scale: i32) {
    let surface = a.raw.surface();
    a.raw.send(surface, "set_buffer_scale", &[I(scale)]);
}

fn largest_scale(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for scale in [2, 1000, i32::MAX] {
        a.raw.send(window.surface, "set_buffer_scale", &[I(scale)]);
        let buffer = a.raw.buffer((64, 48), MAGENTA);
        a.raw.put(window.surface, buffer);
        if a.raw.roundtrip().is_err() {
            // A buffer whose size is no multiple of the scale may be refused.
            a.raw = a.another();
            return;
        }
    }
}

fn transform(a: &mut Attack<'_>, transform: i32) {
    let surface = a.raw.surface();
    a.raw.send(surface, "set_buffer_transform", &[I(transform)]);
    a.raw.send(surface, "commit", &[]);
}

fn viewport_of(raw: &mut Raw) -> (u32, u32) {
    let window = raw.show((64, 48), MAGENTA);
    let viewporter = raw.global("wp_viewporter");
    let viewport = raw.send(viewporter, "get_viewport", &[New, U(window.surface)]);
    (window.surface, viewport)
}

fn viewport_beyond(a: &mut Attack<'_>) {
    // It shows the whole buffer.
    let (surface, viewport) = viewport_of(&mut a.raw);
    let far = 30_000 * 256;
    a.raw
        .send(viewport, "set_source", &[I(far), I(far), I(256), I(256)]);
    a.raw.send(surface, "commit", &[]);
    a.raw.settle();
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn viewport(a: &mut Attack<'_>, size: i32) {
    let (_, viewport) = viewport_of(&mut a.raw);
    a.raw.send(viewport, "set_destination", &[I(size), I(10)]);
}

fn wrong_order(a: &mut Attack<'_>) {
    for order in 0..6 {
        let mut other = a.another();
        let window = other.show((64, 48), MAGENTA);
        let child = other.surface();
        let subsurface = other.subsurface(child, window.surface);
        let popup = other.popup(window.xdg, (0, 0), (10, 10));
        other.show_popup(popup, (10, 10), YELLOW);
        let all = [
            window.surface,
            subsurface,
            popup.surface,
            popup.popup,
            child,
            window.toplevel,
            window.xdg,
        ];
        for index in 0..all.len() {
            let object = all[(index + order) % all.len()];
            other.send(object, "destroy", &[]);
            // It may be ended for it, with a reason.
            if let Err(told) = other.roundtrip() {
                assert!(
                    !told.is_empty() && told != "closed without a word",
                    "it is told why"
                );
                break;
            }
        }
    }
}
