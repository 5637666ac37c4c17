// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is on the screen: a client's pixels in its content rectangle, exactly, and nowhere else.

use heraldry_tests::client::clear;
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::colour::{Area, Pixels};
use heraldry_tests::fixture::{Fixture, Setup};

fn at_scale(scale: f64) -> Fixture {
    let pixels = |logical: f64| format!("{:.0}", logical * scale).parse().unwrap();
    Fixture::new(&Setup {
        size: (pixels(1000.0), pixels(700.0)),
        scale,
        ..Setup::default()
    })
}

/// The pixels right outside of an area.
fn ring(area: Area) -> impl Iterator<Item = (i32, i32)> {
    let (right, bottom) = (area.x + area.w, area.y + area.h);
    let across = (area.x - 1..=right).flat_map(move |x| [(x, area.y - 1), (x, bottom)]);
    let down = (area.y - 1..=bottom).flat_map(move |y| [(area.x - 1, y), (right, y)]);
    across.chain(down)
}

fn assert_framed(picture: &Pixels, area: Area, background: [u8; 3], colours: &[[u8; 3]]) {
    for (x, y) in ring(area) {
        let pixel = picture.at(x, y);
        assert_ne!(pixel, background, "no frame at {x},{y}");
        assert!(!colours.contains(&pixel), "a client's colour at {x},{y}");
    }
}

const BACKGROUND: [u8; 3] = [0x20, 0x24, 0x2b];

#[test]
fn a_windows_pixels_are_exact_inside_its_frame_at_every_scale() {
    for scale in [1.0, 1.5, 2.0] {
        let mut fixture = at_scale(scale);
        let client = fixture.add_client("work");
        let window = fixture.window(client, (300, 204), MAGENTA);
        let area = fixture.content_pixels(&window);
        // As a client does that knows the scale: a buffer with a pixel for each of the screen's.
        let this = fixture.client(client);
        let viewport = this
            .bound()
            .viewporter
            .get_viewport(&window.surface, &this.handle(), ());
        viewport.set_destination(300, 204);
        fixture.draw(&window, (area.w, area.h), MAGENTA);
        fixture.frame();
        assert_eq!(fixture.content_pixels(&window), area);
        let picture = fixture.picture();
        picture.assert_only_in(MAGENTA, area);
        assert_framed(&picture, area, BACKGROUND, &[MAGENTA]);
    }
}

#[test]
fn pixels_that_are_scaled_up_stay_inside_the_frame() {
    for scale in [1.25, 1.5, 1.75, 2.0] {
        for size in [(301, 203), (300, 200), (127, 33)] {
            let mut fixture = at_scale(scale);
            let client = fixture.add_client("work");
            let window = fixture.window(client, size, MAGENTA);
            let area = fixture.content_pixels(&window);
            let picture = fixture.picture();
            for (x, y, pixel) in picture.iter() {
                assert!(
                    pixel != MAGENTA || area.contains(x, y),
                    "{size:?} at {scale}: {x},{y} is outside of {area:?}"
                );
            }
            assert_framed(&picture, area, BACKGROUND, &[MAGENTA]);
        }
    }
}

#[test]
fn what_is_on_the_screen_is_what_a_screenshot_shows() {
    // The screenshot draws everything again; the size that a client commits later must be in it too.
    let mut fixture = at_scale(1.0);
    let client = fixture.add_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.draw(&window, (150, 100), CYAN);
    fixture.frame();
    let area = fixture.content_pixels(&window);
    assert_eq!((area.w, area.h), (150, 100));
    let picture = fixture.picture();
    picture.assert_only_in(CYAN, area);
    assert_eq!(picture.find(MAGENTA), None);
}

#[test]
fn a_subsurface_never_leaves_the_content_rectangle() {
    for scale in [1.0, 1.5] {
        for at in [
            (-50, -40),
            (250, 150),
            (-100_000, -100_000),
            (100_000, 0),
            (0, 100_000),
            (-250, 100),
        ] {
            let mut fixture = at_scale(scale);
            let client = fixture.add_client("work");
            let window = fixture.window(client, (300, 200), MAGENTA);
            // The client says that its window is the toplevel's own surface, whatever hangs on it.
            window.xdg.set_window_geometry(0, 0, 300, 200);
            window.surface.commit();
            fixture.subsurface(&window, at, (260, 180), CYAN);
            fixture.frame();
            let area = fixture.content_pixels(&window);
            let picture = fixture.picture();
            for (x, y, pixel) in picture.iter() {
                assert!(
                    area.contains(x, y) || ![MAGENTA, CYAN].contains(&pixel),
                    "subsurface at {at:?}, scale {scale}: {pixel:02x?} at {x},{y}, outside of {area:?}"
                );
            }
            assert_framed(&picture, area, BACKGROUND, &[MAGENTA, CYAN]);
        }
    }
}

#[test]
fn a_subsurface_without_a_geometry_makes_a_larger_window_with_its_frame_around_everything() {
    let mut fixture = at_scale(1.0);
    let client = fixture.add_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.subsurface(&window, (280, 20), (100, 100), CYAN);
    fixture.frame();
    let area = fixture.content_pixels(&window);
    assert_eq!((area.w, area.h), (380, 200));
    assert_framed(&fixture.picture(), area, BACKGROUND, &[MAGENTA, CYAN]);
}

#[test]
fn no_vm_shines_through_another() {
    let mut fixture = at_scale(1.0);
    let (below, above) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let lower = fixture.window(below, (500, 400), MAGENTA);
    let upper = fixture.toplevel(above);
    let serial = fixture.client_mut(above).seen.take_serial(&upper.name).unwrap();
    upper.xdg.ack_configure(serial);
    let this = fixture.client(above);
    let buffer = clear(&this.bound().shm, &this.handle(), (200, 150));
    upper.surface.attach(Some(&buffer), 0, 0);
    upper.surface.commit();
    fixture.double_roundtrip(above);
    let at = fixture.content(&lower);
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(upper.id, (at.x + 100, at.y + 100).into());
    fixture.focus(&upper);
    fixture.frame();
    let area = fixture.content_pixels(&upper);
    assert_eq!((area.x, area.y), (at.x + 100, at.y + 100));
    let picture = fixture.picture();
    for (x, y, pixel) in picture.iter() {
        assert!(
            pixel != MAGENTA || !area.contains(x, y),
            "the lower window shines through at {x},{y}"
        );
    }
    assert_framed(&picture, area, BACKGROUND, &[MAGENTA]);
}

#[test]
fn a_popup_has_an_edge_of_its_own_and_stays_on_the_screen() {
    for scale in [1.0, 1.5, 2.0] {
        let mut fixture = at_scale(scale);
        let client = fixture.add_client("work");
        let window = fixture.window(client, (300, 200), MAGENTA);
        fixture
            .state
            .core
            .windows
            .layout
            .move_to(window.id, (690, 480).into());
        fixture.focus(&window);
        let anchor = Area {
            x: 280,
            y: 180,
            w: 10,
            h: 10,
        };
        fixture.popup(&window, anchor, (120, 90), YELLOW);
        let picture = fixture.picture();
        let (area, count) = picture.find(YELLOW).unwrap();
        assert_eq!(count, area.w * area.h, "scale {scale}: the popup is whole");
        // The ring is looked up in the picture, so it is on the screen.
        assert_framed(&picture, area, BACKGROUND, &[MAGENTA, YELLOW]);
        let window = fixture.content_pixels(&window);
        assert!(
            !window.contains(area.x + area.w - 1, area.y),
            "the popup reaches beyond its window, or this test shows nothing"
        );
    }
}
