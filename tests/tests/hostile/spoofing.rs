// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on the screen, and whose it seems to be.

use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::{RawPopup, RawWindow, memory};

use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::colour::{Area, Colour, Pixels};

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, Row, area, row};
use super::bystander::COLOURS;
use super::fixture::frame;

pub(crate) const ROWS: &[Row] = &[
    row("A01 copy of another VM's window as content", copied_frame, Lives),
    row("A02a fullscreen", |a| fullscreen(a, true), Lives),
    row(
        "A02b fullscreen of a size that was not asked for",
        |a| fullscreen(a, false),
        Lives,
    ),
    row("A03b popups that tile the screen", tiles, Lives),
    row("A04 two hundred changes of state and role", random_walk, Lives),
    row(
        "A05 popups at every place that a number can say",
        popup_places,
        Lives,
    ),
    row("A06a subsurfaces outside their window", subsurfaces, Lives),
    row(
        "A06b eight levels of subsurfaces that walk away",
        walking_subsurfaces,
        Lives,
    ),
    row("A07a window geometry in every extreme", geometries, Lives),
    row(
        "A07b window geometry of no size",
        |a| geometry(a, 0),
        Rule("window-size"),
    ),
    row(
        "A07c window geometry of negative size",
        |a| geometry(a, i32::MIN),
        Rule("window-size"),
    ),
    row("A08 window of one pixel", one_pixel, Lives),
    row(
        "A09a buffer of 32,768 pixels in width",
        |a| wide(a, 32_768),
        Rule("buffer-bounds"),
    ),
    row("A09b buffer of 32,767 pixels in width", widest, Lives),
    row(
        "A09c window scaled to 2^31 pixels",
        |a| scaled(a, i32::MAX),
        Rule("viewport-size"),
    ),
    row("A09d window scaled to the largest size there is", largest, Lives),
    row(
        "A11 window that one can see through, above another VM's",
        see_through,
        Lives,
    ),
    row(
        "A24 prompt of the compositor's, imitated fullscreen",
        prompt,
        Lives,
    ),
];

/// Every pixel of these colours lies in the content of the attacker's windows.
#[track_caller]
pub(super) fn assert_inside(a: &Attack<'_>, picture: &Pixels, colours: &[Colour]) {
    let contents: Vec<Area> = a
        .windows()
        .into_iter()
        .filter(|window| window.content.is_some())
        .map(|window| area(window.content))
        .collect();
    let out = picture.iter().find(|(x, y, pixel)| {
        colours.contains(pixel) && !contents.iter().any(|content| content.contains(*x, *y))
    });
    assert_eq!(out, None, "outside of {contents:?}");
}

/// What lies right around an area, on the screen, is of a frame.
#[track_caller]
pub(super) fn assert_edged(picture: &Pixels, inner: Area, colours: &[Colour]) {
    let outer = Area {
        x: inner.x - 1,
        y: inner.y - 1,
        w: inner.w + 2,
        h: inner.h + 2,
    };
    let ring: Vec<_> = picture
        .iter()
        .filter(|(x, y, _)| outer.contains(*x, *y) && !inner.contains(*x, *y))
        .collect();
    assert_eq!(
        ring.len(),
        usize::try_from(2 * (outer.w + outer.h) - 4).unwrap(),
        "the edge is on the screen"
    );
    for (x, y, pixel) in ring {
        assert!(
            !colours.contains(&pixel) && pixel != BACKGROUND,
            "{pixel:02x?} at {x},{y}"
        );
    }
}

const BACKGROUND: Colour = [0x20, 0x24, 0x2b];

fn shown_frame(a: &Attack<'_>) -> Vec<Colour> {
    let window = a.only_window();
    frame(&a.picture(), area(window.outer), area(window.content))
}

fn copied_frame(a: &mut Attack<'_>) {
    // All that is seen of the honest window, as pixels.
    let windows = a.rig.windows();
    let outer = area(
        windows
            .iter()
            .find(|window| window.id == a.honest_window)
            .unwrap()
            .outer,
    );
    let picture = a.picture();
    let mut bytes = Vec::new();
    for (_, _, [r, g, b]) in picture.iter().filter(|(x, y, _)| outer.contains(*x, *y)) {
        bytes.extend([b, g, r, 0xff]);
    }
    let window = a.raw.show((outer.w, outer.h), MAGENTA);
    let own = shown_frame(a);
    let size = i32::try_from(bytes.len()).unwrap();
    let fd = memory(u64::try_from(size).unwrap());
    rustix::io::pwrite(&fd, &bytes, 0).unwrap();
    let buffer = a.raw.buffer_of(&fd, size, (outer.w, outer.h), 1);
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    assert_eq!(shown_frame(a), own, "the real frame is around it");
}

fn fullscreen(a: &mut Attack<'_>, obey: bool) {
    let window = a.raw.show((300, 200), MAGENTA);
    a.raw.send(window.toplevel, "set_fullscreen", &[U(0)]);
    a.raw.settle();
    a.raw
        .draw(window, if obey { (640, 480) } else { (3000, 2000) }, MAGENTA);
    a.focus_attacker();
    let picture = a.picture();
    let screen = Area {
        x: 0,
        y: 0,
        w: 640,
        h: 480,
    };
    for (x, y, pixel) in picture.iter() {
        let edge = x == 0 || y == 0 || x == screen.w - 1 || y == screen.h - 1;
        assert!(
            !edge || (pixel != MAGENTA && pixel != BACKGROUND),
            "{pixel:02x?} at {x},{y}"
        );
    }
    assert_inside(a, &picture, &[MAGENTA]);
}

fn tiles(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    let content = a.content();
    let mut shown = 0;
    for at in 0..30 {
        let place = (at % 6 * 105 - content.x + 5, at / 6 * 95 - content.y + 5);
        let popup = a.raw.popup(window.xdg, place, (98, 88));
        a.raw.show_popup(popup, (98, 88), YELLOW);
        shown += 1;
    }
    assert_eq!(shown, 30);
    let covered = a.picture().iter().filter(|(.., pixel)| *pixel == YELLOW).count();
    let share = covered * 100 / (640 * 480);
    assert!(share <= 60, "popups cover {share} % of the screen");
    assert!(share > 10, "some may be shown");
    // They were closed when the picture was drawn, at the latest.
    a.raw.settle();
    assert!(
        !a.raw.told("xdg_popup.popup_done").is_empty(),
        "the others are dismissed"
    );
}

fn random_walk(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    let child = a.raw.surface();
    let subsurface = a.raw.subsurface(child, window.surface);
    let patch = a.raw.buffer((70, 50), CYAN);
    let mut state = 0x2545_f491_u32;
    for step in 0..200 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = i32::from((state >> 16).to_le_bytes()[0]) - 128;
        match (state >> 24) % 11 {
            0 => a.raw.send(window.toplevel, "set_fullscreen", &[U(0)]),
            1 => a.raw.send(window.toplevel, "unset_fullscreen", &[]),
            2 => a.raw.send(window.toplevel, "set_maximized", &[]),
            3 => a.raw.send(window.toplevel, "unset_maximized", &[]),
            4 => {
                let size = value.abs() + 1;
                a.raw.send(
                    window.xdg,
                    "set_window_geometry",
                    &[I(value), I(-value), I(size), I(size)],
                )
            }
            5 => a
                .raw
                .send(window.surface, "set_buffer_scale", &[I(1 + (value & 1))]),
            6 => a.raw.send(subsurface, "set_position", &[I(value), I(value)]),
            7 => a.raw.send(child, "attach", &[U(patch), I(0), I(0)]),
            8 => a
                .raw
                .send(subsurface, if value > 0 { "set_sync" } else { "set_desync" }, &[]),
            9 => a
                .raw
                .send(window.surface, "set_buffer_transform", &[I(value & 7)]),
            _ => a
                .raw
                .send(window.toplevel, "set_min_size", &[I(0), I(value.abs())]),
        };
        a.raw.send(child, "commit", &[]);
        let size = (2 + (value.abs() & !1) * 3, 60);
        a.raw.draw(window, size, MAGENTA);
        if step % 8 == 0 {
            assert_inside(a, &a.picture(), &[MAGENTA, CYAN]);
        }
    }
}

const PLACES: [i32; 9] = [i32::MIN, -100_000, -640, -30, 0, 200, 620, 100_000, i32::MAX];

fn popup_places(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for x in PLACES {
        for y in [i32::MIN, -480, 0, 470, i32::MAX] {
            let popup = a.raw.popup(window.xdg, (x, y), (40, 30));
            a.raw.show_popup(popup, (40, 30), YELLOW);
            let picture = a.picture();
            if let Some((shown, count)) = picture.find(YELLOW) {
                assert_eq!(count, shown.w * shown.h, "at {x},{y}");
                assert_edged(&picture, shown, &[YELLOW, CYAN]);
            }
            let RawPopup { surface, xdg, popup } = popup;
            for object in [popup, xdg, surface] {
                a.raw.send(object, "destroy", &[]);
            }
            a.raw.settle();
        }
    }
}

fn subsurfaces(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    a.raw
        .send(window.xdg, "set_window_geometry", &[I(0), I(0), I(80), I(60)]);
    let child = a.raw.surface();
    let subsurface = a.raw.subsurface(child, window.surface);
    let patch = a.raw.buffer((400, 300), CYAN);
    a.raw.put(child, patch);
    for x in PLACES {
        for y in [i32::MIN, -200, 30, i32::MAX] {
            a.raw.send(subsurface, "set_position", &[I(x), I(y)]);
            a.raw.draw(window, (80, 60), MAGENTA);
            assert_inside(a, &a.picture(), &[MAGENTA, CYAN]);
        }
    }
}

fn walking_subsurfaces(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    a.raw
        .send(window.xdg, "set_window_geometry", &[I(0), I(0), I(80), I(60)]);
    let mut parent = window.surface;
    for step in [i32::MAX, -50, i32::MIN, 50, 1 << 20, -(1 << 20), 7, -90] {
        let child = a.raw.surface();
        let subsurface = a.raw.subsurface(child, parent);
        a.raw.send(subsurface, "set_position", &[I(step), I(step / 2)]);
        let patch = a.raw.buffer((300, 300), CYAN);
        a.raw.put(child, patch);
        parent = child;
    }
    a.raw.draw(window, (80, 60), MAGENTA);
    assert_inside(a, &a.picture(), &[MAGENTA, CYAN]);
}

fn geometries(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    for (x, y, w, h) in [
        (0, 0, i32::MAX, i32::MAX),
        (i32::MIN, i32::MIN, i32::MAX, i32::MAX),
        (i32::MAX, i32::MAX, 1, 1),
        (-500, -500, 100, 100),
        (79, 59, 500, 500),
        (40, 30, 1, 1),
        (-10, -10, 20, 20),
    ] {
        a.raw
            .send(window.xdg, "set_window_geometry", &[I(x), I(y), I(w), I(h)]);
        a.raw.draw(window, (80, 60), MAGENTA);
        let content = a.content();
        assert!(content.w <= 4096 && content.h <= 4096, "{content:?}");
        assert_inside(a, &a.picture(), &[MAGENTA]);
    }
}

fn geometry(a: &mut Attack<'_>, size: i32) {
    let window = a.raw.show((80, 60), MAGENTA);
    a.raw
        .send(window.xdg, "set_window_geometry", &[I(0), I(0), I(size), I(10)]);
}

fn one_pixel(a: &mut Attack<'_>) {
    a.raw.show((1, 1), MAGENTA);
    a.focus_attacker();
    let window = a.only_window();
    let (outer, content) = (area(window.outer), area(window.content));
    assert!(outer.w >= 48 && outer.h >= 24, "a plate around it: {outer:?}");
    let picture = a.picture();
    assert_inside(a, &picture, &[MAGENTA]);
    assert_edged(&picture, content, &COLOURS);
}

fn wide(a: &mut Attack<'_>, width: i32) {
    let pool = a.raw.pool(1 << 20, 1 << 20);
    a.raw.send(
        pool,
        "create_buffer",
        &[New, I(0), I(width), I(1), I(width * 4), U(1)],
    );
}

fn widest(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    for size in [(32_767, 1), (1, 32_767), (32_767, 64)] {
        a.raw.draw(window, size, MAGENTA);
        assert_inside(a, &a.picture(), &[MAGENTA]);
    }
}

fn viewport(a: &mut Attack<'_>, window: RawWindow) -> u32 {
    let viewporter = a.raw.global("wp_viewporter");
    a.raw.send(viewporter, "get_viewport", &[New, U(window.surface)])
}

fn scaled(a: &mut Attack<'_>, size: i32) {
    let window = a.raw.show((80, 60), MAGENTA);
    let viewport = viewport(a, window);
    a.raw.send(viewport, "set_destination", &[I(size), I(size)]);
}

fn largest(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    let viewport = viewport(a, window);
    a.raw.send(viewport, "set_destination", &[I(32_767), I(32_767)]);
    a.raw.draw(window, (80, 60), MAGENTA);
    assert_inside(a, &a.picture(), &[MAGENTA]);
}

fn see_through(a: &mut Attack<'_>) {
    let window = a.raw.show((80, 60), MAGENTA);
    a.raw.send(window.toplevel, "set_maximized", &[]);
    a.raw.settle();
    a.raw.ack(window.xdg);
    let buffer = a.raw.clear((640, 480));
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    a.focus_attacker();
    let picture = a.picture();
    let content = a.content();
    let through = picture
        .iter()
        .find(|(x, y, pixel)| content.contains(*x, *y) && COLOURS.contains(pixel));
    assert_eq!(through, None, "the other VM's pixels");
    let honest = a.honest_content();
    assert!(content.contains(honest.x, honest.y), "it lies above");
}

fn prompt(a: &mut Attack<'_>) {
    let window = a.raw.show((640, 480), MAGENTA);
    a.raw.send(
        window.toplevel,
        "set_title",
        &[S("Heraldry: enter your password")],
    );
    fullscreen(a, true);
}
