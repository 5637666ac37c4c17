// SPDX-License-Identifier: MIT OR Apache-2.0
//! Errors of the protocols, for which Smithay would end a client at once: the gate finds each of them first.

use std::os::fd::AsFd as _;

use heraldry_compositor::control::protocol::KeyAction;
use heraldry_tests::client::raw::Arg::{Fd, I, New, S, U};
use heraldry_tests::client::raw::{Raw, RawPopup, RawWindow, memory};
use heraldry_tests::colour::key::{MAGENTA, YELLOW};
use rustix::fs::{SealFlags, fcntl_add_seals};

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, middle, row, wait_out_the_guard};

pub(crate) const ROWS: &[Row] = &[
    row(
        "L11a role object gone last",
        early_xdg_surface,
        Rule("object-order"),
    ),
    row(
        "L11b shell gone before its surfaces",
        early_base,
        Rule("object-order"),
    ),
    row(
        "L11c geometry without a role",
        |a| bare(a, "set_window_geometry", &[I(0), I(0), I(5), I(5)]),
        Rule("object-order"),
    ),
    row(
        "L11d acknowledgement without a role",
        |a| bare(a, "ack_configure", &[U(1)]),
        Rule("object-order"),
    ),
    row(
        "L12a window that becomes a popup",
        |a| other_role(a, Becomes::Popup),
        Rule("surface-role"),
    ),
    row(
        "L12b popup that becomes a window",
        popup_to_window,
        Rule("surface-role"),
    ),
    row(
        "L12c window that becomes a pointer's picture",
        |a| other_role(a, Becomes::Cursor),
        Rule("surface-role"),
    ),
    row(
        "L12d window that becomes the picture of a drag",
        |a| other_role(a, Becomes::Icon),
        Rule("surface-role"),
    ),
    row("L13a buffer with an offset", offset, Rule("attach-offset")),
    row("L13b anchor of no size", empty_anchor, Lives),
    row(
        "L13c every format that is offered, with lines as short as they may be",
        formats,
        Lives,
    ),
    row(
        "L13d pool of memory that cannot be written",
        sealed,
        Rule("pool-memory"),
    ),
    row(
        "L14a second viewport",
        |a| twice(a, "wp_viewporter", "get_viewport"),
        Rule("second-extension"),
    ),
    row(
        "L14b second fractional scale",
        |a| twice(a, "wp_fractional_scale_manager_v1", "get_fractional_scale"),
        Rule("second-extension"),
    ),
    row(
        "L14c second decoration",
        |a| twice(a, "zxdg_decoration_manager_v1", "get_toplevel_decoration"),
        Rule("second-extension"),
    ),
    row(
        "L14d viewport of a destroyed surface",
        viewport_of_nothing,
        Rule("viewport-surface"),
    ),
    row(
        "L14e viewport source of no whole size",
        uneven_source,
        Rule("viewport-size"),
    ),
    row(
        "L14f viewport sources beyond buffers that come and go in a tree",
        sources_in_a_tree,
        Lives,
    ),
    row(
        "L15a configures of a role object that is gone",
        stale_configures,
        Lives,
    ),
    row(
        "L15b acknowledgement of an older configure",
        older_configure,
        Rule("unsent-configure"),
    ),
    row("L16a grab of a menu that is shown", shown_grab, Lives),
    row("L16b grab below the menu on top", grab_below, Lives),
    row(
        "L16c grab after the window of a menu is gone",
        grab_after_window,
        Lives,
    ),
    row(
        "L17a drag that is finished before its drop",
        |a| drag(a, false, &[]),
        Rule("drag-offer"),
    ),
    row(
        "L17b drop that is finished twice",
        |a| drag(a, true, &[Finish]),
        Rule("drag-offer"),
    ),
    row(
        "L17c drop that is finished without a type",
        |a| drag(a, true, &[Accept("")]),
        Lives,
    ),
    row(
        "L17d drop that is finished without an action",
        |a| drag(a, true, &[Actions(0, 0)]),
        Lives,
    ),
    row(
        "L17e drop that is finished with a type that was not offered",
        |a| drag(a, true, &[Accept("text/other")]),
        Lives,
    ),
    row(
        "L17f offer with two actions at once",
        |a| drag(a, false, &[Actions(3, 3)]),
        Rule("drag-offer"),
    ),
    row(
        "L17g source with an action that is none",
        |a| {
            let source = a.raw.source("text/plain");
            a.raw.send(source, "set_actions", &[U(8)]);
        },
        Rule("drag-offer"),
    ),
];

fn early_xdg_surface(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.raw.send(window.xdg, "destroy", &[]);
}

fn early_base(a: &mut Attack<'_>) {
    a.raw.show((64, 48), MAGENTA);
    let base = a.raw.global("xdg_wm_base");
    a.raw.send(base, "destroy", &[]);
}

fn bare(a: &mut Attack<'_>, request: &str, args: &[heraldry_tests::client::raw::Arg<'_>]) {
    let (surface, base) = (a.raw.surface(), a.raw.global("xdg_wm_base"));
    let xdg = a.raw.send(base, "get_xdg_surface", &[New, U(surface)]);
    a.raw.send(xdg, request, args);
}

enum Becomes {
    Popup,
    Cursor,
    Icon,
}

fn positioner(raw: &mut Raw) -> u32 {
    let base = raw.global("xdg_wm_base");
    let positioner = raw.send(base, "create_positioner", &[New]);
    raw.send(positioner, "set_size", &[I(10), I(10)]);
    raw.send(positioner, "set_anchor_rect", &[I(0), I(0), I(1), I(1)]);
    positioner
}

fn other_role(a: &mut Attack<'_>, becomes: Becomes) {
    let window = a.raw.show((64, 48), MAGENTA);
    match becomes {
        Becomes::Popup => {
            let (parent, positioner) = (a.raw.window(), positioner(&mut a.raw));
            a.raw.send(window.toplevel, "destroy", &[]);
            a.raw
                .send(window.xdg, "get_popup", &[New, U(parent.xdg), U(positioner)]);
        }
        Becomes::Cursor => {
            let pointer = a.raw.pointer();
            a.raw
                .send(pointer, "set_cursor", &[U(1), U(window.surface), I(0), I(0)]);
        }
        Becomes::Icon => {
            let (device, origin) = (a.raw.data_device(), a.raw.surface());
            let args = [U(0), U(origin), U(window.surface), U(1)];
            a.raw.send(device, "start_drag", &args);
        }
    }
}

fn popup_to_window(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let popup = a.raw.popup(window.xdg, (0, 0), (10, 10));
    a.raw.send(popup.popup, "destroy", &[]);
    a.raw.send(popup.xdg, "get_toplevel", &[New]);
}

fn offset(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let buffer = a.raw.buffer((64, 48), MAGENTA);
    a.raw.send(window.surface, "attach", &[U(buffer), I(0), I(1)]);
}

fn empty_anchor(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let positioner = positioner(&mut a.raw);
    a.raw
        .send(positioner, "set_anchor_rect", &[I(3), I(3), I(0), I(0)]);
    let (surface, base) = (a.raw.surface(), a.raw.global("xdg_wm_base"));
    let xdg = a.raw.send(base, "get_xdg_surface", &[New, U(surface)]);
    let popup = a.raw.send(xdg, "get_popup", &[New, U(window.xdg), U(positioner)]);
    a.raw
        .show_popup(RawPopup { surface, xdg, popup }, (10, 10), YELLOW);
    assert!(a.picture().find(YELLOW).is_some(), "the popup is there");
}

fn formats(a: &mut Attack<'_>) {
    const RGB565: u32 = 0x3631_4752;
    let shm = a.raw.global("wl_shm");
    a.raw.settle();
    let offered: Vec<u32> = a
        .raw
        .told("wl_shm.format")
        .iter()
        .map(|event| event.uint(0))
        .collect();
    assert!(offered.len() > 2 && offered.contains(&RGB565), "{offered:x?}");
    let window = a.raw.window();
    for format in offered {
        let fd = memory(4096);
        let pool = a.raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(4096)]);
        let stride = if format == RGB565 { 32 } else { 64 };
        let args = [New, I(0), I(16), I(16), I(stride), U(format)];
        let buffer = a.raw.send(pool, "create_buffer", &args);
        a.raw.put(window.surface, buffer);
        a.raw.settle();
    }
}

fn sealed(a: &mut Attack<'_>) {
    let fd = memory(4096);
    fcntl_add_seals(&fd, SealFlags::WRITE).unwrap();
    let shm = a.raw.global("wl_shm");
    a.raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(4096)]);
}

fn twice(a: &mut Attack<'_>, manager: &str, request: &str) {
    let window = a.raw.show((64, 48), MAGENTA);
    let manager = a.raw.global(manager);
    let of = if request == "get_toplevel_decoration" {
        window.toplevel
    } else {
        window.surface
    };
    let first = a.raw.send(manager, request, &[New, U(of)]);
    a.raw.send(first, "destroy", &[]);
    a.raw.send(manager, request, &[New, U(of)]);
    a.raw.settle();
    a.raw.send(manager, request, &[New, U(of)]);
}

fn viewport(raw: &mut Raw, surface: u32) -> u32 {
    let viewporter = raw.global("wp_viewporter");
    raw.send(viewporter, "get_viewport", &[New, U(surface)])
}

fn viewport_of_nothing(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    let viewport = viewport(&mut a.raw, surface);
    a.raw.send(surface, "destroy", &[]);
    a.raw.send(viewport, "set_destination", &[I(10), I(10)]);
}

fn uneven_source(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let viewport = viewport(&mut a.raw, window.surface);
    a.raw.send(
        viewport,
        "set_source",
        &[I(0), I(0), I(10 * 256 + 1), I(10 * 256)],
    );
    a.raw.send(window.surface, "commit", &[]);
}

fn sources_in_a_tree(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let (child, grandchild) = (a.raw.surface(), a.raw.surface());
    let subsurfaces = [
        a.raw.subsurface(child, window.surface),
        a.raw.subsurface(grandchild, child),
    ];
    let surfaces = [window.surface, child, grandchild];
    let viewports = surfaces.map(|surface| viewport(&mut a.raw, surface));
    let large = a.raw.buffer((64, 48), MAGENTA);
    let small = a.raw.buffer((8, 8), MAGENTA);
    for step in 0..240_usize {
        let at = step % 3;
        let whole = 256 * [4, 16, 64, 1000][step / 3 % 4];
        let source = [I(0), I(0), I(whole), I(whole)];
        a.raw.send(viewports[at], "set_source", &source);
        let buffer = [large, small, 0][step / 5 % 3];
        a.raw.send(surfaces[at], "attach", &[U(buffer), I(0), I(0)]);
        let scale = [1, 2, 4][step / 7 % 3];
        a.raw.send(surfaces[at], "set_buffer_scale", &[I(scale)]);
        let transform = I([0, 1, 5][step / 11 % 3]);
        a.raw.send(surfaces[at], "set_buffer_transform", &[transform]);
        let request = ["set_sync", "set_desync"][step / 13 % 2];
        a.raw.send(subsurfaces[step % 2], request, &[]);
        // In every order: what waits for what changes from step to step.
        for surface in [surfaces[at], surfaces[step / 2 % 3]] {
            a.raw.send(surface, "commit", &[]);
        }
        a.raw.settle();
        a.raw.ack(window.xdg);
    }
}

fn stale_configures(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let mut toplevel = window.toplevel;
    for _ in 0..30 {
        // A configure that is under way when the role object goes.
        a.raw.send(toplevel, "set_maximized", &[]);
        a.raw.send(toplevel, "destroy", &[]);
        toplevel = a.raw.send(window.xdg, "get_toplevel", &[New]);
        a.raw.send(window.surface, "attach", &[U(0), I(0), I(0)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        // Every one that came, in order, as programs do.
        let all = a.raw.told("xdg_surface.configure");
        let serials: Vec<u32> = all.iter().map(|event| event.uint(0)).collect();
        a.raw.events.clear();
        for serial in serials {
            a.raw.send(window.xdg, "ack_configure", &[U(serial)]);
        }
        a.raw.settle();
    }
    let shown = RawWindow { toplevel, ..window };
    let buffer = a.raw.buffer((64, 48), MAGENTA);
    a.raw.put(shown.surface, buffer);
    a.raw.settle();
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn older_configure(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let first = a.raw.configured(window.xdg);
    for request in ["set_maximized", "unset_maximized"] {
        a.raw.send(window.toplevel, request, &[]);
        a.raw.settle();
    }
    assert_ne!(a.raw.configured(window.xdg), first);
    a.raw.ack(window.xdg);
    a.raw.send(window.xdg, "ack_configure", &[U(first)]);
}

/// A menu that has the input, on a window that was clicked.
fn menu(a: &mut Attack<'_>) -> (RawWindow, RawPopup) {
    let window = a.clicked_window((120, 80));
    let popup = a.raw.popup(window.xdg, (10, 10), (40, 40));
    grab(a, popup);
    a.raw.show_popup(popup, (40, 40), YELLOW);
    assert!(a.raw.told("xdg_popup.popup_done").is_empty(), "the menu is open");
    (window, popup)
}

fn grab(a: &mut Attack<'_>, popup: RawPopup) {
    let (seat, serial) = (a.raw.global("wl_seat"), a.raw.pressed());
    a.raw.send(popup.popup, "grab", &[U(seat), U(serial)]);
}

#[track_caller]
fn assert_done(a: &mut Attack<'_>, popup: RawPopup) {
    a.raw.settle();
    let told = a.raw.told("xdg_popup.popup_done");
    assert!(
        told.iter().any(|event| event.object == popup.popup),
        "it is closed"
    );
}

fn shown_grab(a: &mut Attack<'_>) {
    let window = a.clicked_window((120, 80));
    // One that was committed and shows nothing may have the input.
    let early = a.raw.popup(window.xdg, (10, 10), (40, 40));
    a.raw.send(early.surface, "commit", &[]);
    a.raw.settle();
    grab(a, early);
    a.raw.settle();
    assert!(a.raw.told("xdg_popup.popup_done").is_empty(), "the menu is open");
    for id in [early.popup, early.xdg, early.surface] {
        a.raw.send(id, "destroy", &[]);
    }
    let popup = a.raw.popup(window.xdg, (10, 10), (40, 40));
    a.raw.show_popup(popup, (40, 40), YELLOW);
    grab(a, popup);
    assert_done(a, popup);
}

fn grab_below(a: &mut Attack<'_>) {
    let (window, _) = menu(a);
    let below = a.raw.popup(window.xdg, (60, 10), (20, 20));
    grab(a, below);
    assert_done(a, below);
}

fn grab_after_window(a: &mut Attack<'_>) {
    let (window, popup) = menu(a);
    for id in [window.surface, window.toplevel, window.xdg] {
        a.raw.send(id, "destroy", &[]);
    }
    a.raw.settle();
    let seen = a.raw.events.len();
    let other = a.another();
    let before = std::mem::replace(&mut a.raw, other);
    // Another client's menu is not to blame for the one that is still there.
    let (_, _) = menu(a);
    assert!(before.events.len() >= seen && popup.popup != 0);
    drop(before);
}

/// What is asked of the offer of a drag.
#[derive(Clone, Copy)]
enum Ask {
    Accept(&'static str),
    Actions(u32, u32),
    Finish,
}
use Ask::{Accept, Actions, Finish};

impl Ask {
    fn send(self, raw: &mut Raw, offer: u32) {
        match self {
            Accept("") => {
                // No text at all.
                raw.message(offer, 0, &[0_u8; 8], &[]);
                0
            }
            Accept(text) => raw.send(offer, "accept", &[U(0), S(text)]),
            Actions(all, one) => raw.send(offer, "set_actions", &[U(all), U(one)]),
            Finish => raw.send(offer, "finish", &[]),
        };
    }
}

/// A drag of a window over itself: what is asked before it is finished, and whether it is dropped before that.
fn drag(a: &mut Attack<'_>, drops: bool, asks: &[Ask]) {
    a.raw.pointer();
    let window = a.raw.show((90, 60), MAGENTA);
    let (device, source) = (a.raw.data_device(), a.raw.source("text/plain"));
    a.raw.send(source, "set_actions", &[U(3)]);
    let (x, y) = middle(a.content());
    a.point((x, y));
    wait_out_the_guard();
    a.raw.events.clear();
    a.button(KeyAction::Press);
    a.raw.wait("a press", |raw| raw.pressed() != 0).unwrap();
    let serial = a.raw.pressed();
    let args = [U(source), U(window.surface), U(0), U(serial)];
    a.raw.send(device, "start_drag", &args);
    a.raw.settle();
    a.point((x + 5, y + 5));
    let entered = |raw: &Raw| raw.told("wl_data_device.enter").last().map(|event| event.uint(4));
    a.raw
        .wait("an offer", |raw| entered(raw).is_some_and(|id| id != 0))
        .unwrap();
    let offer = entered(&a.raw).unwrap();
    Accept("text/plain").send(&mut a.raw, offer);
    Actions(3, 1).send(&mut a.raw, offer);
    a.raw.settle();
    if drops {
        a.button(KeyAction::Release);
        a.raw
            .wait("a drop", |raw| !raw.told("wl_data_device.drop").is_empty())
            .unwrap();
    }
    for ask in asks {
        ask.send(&mut a.raw, offer);
    }
    Finish.send(&mut a.raw, offer);
    if drops {
        // It may be ended for it.
        if a.raw.roundtrip().is_ok() {
            a.raw.send(offer, "destroy", &[]);
            a.raw
                .wait("the end of the drag", |raw| {
                    !raw.told("wl_data_source.cancelled").is_empty()
                })
                .unwrap();
        }
    } else {
        // It comes before the drop; the client is ended for it.
        let _ended = a.raw.roundtrip();
        a.button(KeyAction::Release);
    }
    a.point((639, 479));
}
