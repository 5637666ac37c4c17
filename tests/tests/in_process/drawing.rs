// SPDX-License-Identifier: MIT OR Apache-2.0
//! Content that lies about itself: what is left on the screen after frame upon frame is what a fresh drawing shows, and
//! no pixel of one VM is seen in another's frame.

use heraldry_compositor::backend::kms::RendererChoice;
use heraldry_compositor::desktop::layout::Mode;
use heraldry_compositor::desktop::outputs::Setup as Screen;
use heraldry_tests::client::painted;
use heraldry_tests::fixture::{ClientId, Fixture, Setup, Window};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::Format;
use wayland_client::protocol::wl_surface::WlSurface;

/// As bright as each VM paints.
const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

/// Asserts that the screen tells the truth, as it is and drawn afresh.
#[track_caller]
fn assert_true(fixture: &mut Fixture) {
    assert_eq!(fixture.fault(), None);
}

/// A window of VM `work` with another of VM `untrusted` in front of it, and the attacker.
fn stacked() -> (Fixture, ClientId, Window) {
    stacked_with(RendererChoice::Pixman)
}

fn stacked_with(renderer: RendererChoice) -> (Fixture, ClientId, Window) {
    let mut fixture = Fixture::new(&Setup {
        size: (640, 400),
        renderer,
        ..Setup::default()
    });
    let (victim, attacker) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let lower = fixture.window(victim, (300, 200), RED);
    let upper = fixture.window(attacker, (200, 100), BLUE);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(lower.id, (60, 60).into());
    layout.move_to(upper.id, (120, 100).into());
    fixture.state.core.windows.layout.raise(upper.id);
    fixture.state.core.render.schedule();
    fixture.frame();
    assert_true(&mut fixture);
    (fixture, attacker, upper)
}

/// Says that all of a surface is opaque.
fn claim_opaque(fixture: &Fixture, client: ClientId, surface: &WlSurface) {
    let this = fixture.client(client);
    let region = this.bound().compositor.create_region(&this.handle(), ());
    region.add(-1000, -1000, 10_000, 10_000);
    surface.set_opaque_region(Some(&region));
    region.destroy();
}

fn show(fixture: &mut Fixture, client: ClientId, surface: &WlSurface, buffer: &WlBuffer) {
    surface.attach(Some(buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
    fixture.double_roundtrip(client);
    fixture.frame();
}

#[test]
fn what_calls_itself_opaque_and_is_not_shows_its_plate() {
    for alpha in [0, 1, 128, 254] {
        let (mut fixture, attacker, window) = stacked();
        claim_opaque(&fixture, attacker, &window.surface);
        let this = fixture.client(attacker);
        let seen = painted(
            &this.bound().shm,
            &this.handle(),
            (200, 100),
            Format::Argb8888,
            |_, _| [alpha, 0, 0, alpha],
        );
        show(&mut fixture, attacker, &window.surface, &seen);
        assert_true(&mut fixture);
        // A window below that changes, moves and goes is not seen either.
        let ids: Vec<_> = fixture
            .state
            .core
            .windows
            .iter()
            .map(|window| window.id)
            .collect();
        fixture
            .state
            .core
            .windows
            .layout
            .move_to(ids[0], (100, 90).into());
        fixture.state.core.render.schedule();
        fixture.frame();
        assert_true(&mut fixture);
        fixture.state.core.windows.layout.set_minimized(ids[0], true);
        fixture.state.core.render.schedule();
        fixture.frame();
        assert_true(&mut fixture);
    }
}

#[test]
fn a_single_pixel_that_calls_itself_opaque_shows_its_plate() {
    for alpha in [0, u32::MAX / 2, u32::MAX - 1] {
        let (mut fixture, attacker, window) = stacked();
        claim_opaque(&fixture, attacker, &window.surface);
        let this = fixture.client(attacker);
        let handle = this.handle();
        let pixel = this
            .bound()
            .single_pixel
            .create_u32_rgba_buffer(0, 0, alpha, alpha, &handle, ());
        let viewport = this.bound().viewporter.get_viewport(&window.surface, &handle, ());
        viewport.set_destination(200, 100);
        show(&mut fixture, attacker, &window.surface, &pixel);
        assert_true(&mut fixture);
    }
}

#[test]
fn a_buffer_beyond_the_renderers_numbers_takes_no_frame_and_no_label_away() {
    // Wide and flat, tall and thin, as large as can be, each shrunk to a few pixels right of where 16 bits end.
    for size in [(30_000, 16), (16, 30_000), (32_767, 1), (8_000, 100)] {
        for shown_as in [(20, 20), (1, 1), (200, 100)] {
            let (mut fixture, attacker, window) = stacked();
            let this = fixture.client(attacker);
            let handle = this.handle();
            let buffer = painted(&this.bound().shm, &handle, size, Format::Xrgb8888, |_, _| {
                [255, 0, 0, 255]
            });
            let viewport = this.bound().viewporter.get_viewport(&window.surface, &handle, ());
            viewport.set_destination(shown_as.0, shown_as.1);
            show(&mut fixture, attacker, &window.surface, &buffer);
            assert_true(&mut fixture);
            let frames = fixture.frames();
            let other = fixture.add_client("personal");
            fixture.window(other, (50, 50), [0, 255, 0]);
            assert!(fixture.frames() > frames, "frames go on");
            assert_true(&mut fixture);
        }
    }
}

#[test]
fn a_buffer_whose_predecessor_had_another_format_is_drawn_as_what_it_is() {
    let formats = [
        (Format::Argb8888, Format::Xrgb8888),
        (Format::Xrgb8888, Format::Argb8888),
    ];
    for (before, after) in formats {
        let (mut fixture, attacker, window) = stacked_with(RendererChoice::Gles);
        for format in [before, after] {
            let this = fixture.client(attacker);
            // Without alpha the last byte means nothing.
            let buffer = painted(&this.bound().shm, &this.handle(), (200, 100), format, |_, _| {
                [90, 0, 0, 100]
            });
            show(&mut fixture, attacker, &window.surface, &buffer);
            assert_true(&mut fixture);
        }
        let area = fixture.content_pixels(&window);
        let expected = if after == Format::Xrgb8888 {
            [0, 0, 90]
        } else {
            [16, 17, 109]
        };
        assert_eq!(fixture.shown().at(area.x + 5, area.y + 5), expected, "{after:?}");
    }
}

#[test]
fn what_is_composed_later_shows_its_plate_until_then_and_not_what_was_there_before() {
    let config = heraldry_tests::fixture::CONFIG.replace(
        "schema 1",
        "schema 1\ndefaults { quota { composed-megapixels 1; }; }",
    );
    let mut fixture = Fixture::new(&Setup {
        size: (1000, 700),
        config,
        ..Setup::default()
    });
    let client = fixture.add_client("untrusted");
    let size = (900, 600);
    let window = fixture.window(client, size, BLUE);
    let count = |fixture: &mut Fixture, colour| fixture.shown().find(colour).map_or(0, |(_, count)| count);
    assert_eq!(count(&mut fixture, BLUE), 900 * 600);
    // The same size, but scaled: more than may be composed in a frame.
    let this = fixture.client(client);
    let handle = this.handle();
    let viewport = this.bound().viewporter.get_viewport(&window.surface, &handle, ());
    viewport.set_destination(size.0, size.1);
    let buffer = painted(
        &this.bound().shm,
        &handle,
        (450, 300),
        Format::Xrgb8888,
        |_, _| [100, 0, 0, 255],
    );
    window.surface.attach(Some(&buffer), 0, 0);
    window.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    window.surface.commit();
    fixture.double_roundtrip(client);
    let mut frames = 0;
    fixture.frame();
    while count(&mut fixture, [0, 0, 100]) < 890 * 590 {
        assert_eq!(
            count(&mut fixture, BLUE),
            0,
            "frame {frames} shows what was there before"
        );
        frames += 1;
        assert!(frames < 50, "it is never done");
        fixture.frame();
    }
    assert!(frames > 0, "it was done at once, so this test shows nothing");
    assert_eq!(fixture.fault(), None);
}

#[test]
fn with_gl_a_vm_has_no_more_textures_than_it_may() {
    // Room for one buffer of four MiB beside the window's own, and not for two.
    let config = heraldry_tests::fixture::CONFIG
        .replace("schema 1", "schema 1\ndefaults { quota { texture-mib 8; }; }");
    let mut fixture = Fixture::new(&Setup {
        size: (640, 400),
        renderer: RendererChoice::Gles,
        config,
        ..Setup::default()
    });
    let (greedy, other) = (fixture.add_client("untrusted"), fixture.add_client("work"));
    let window = fixture.window(greedy, (300, 200), BLUE);
    let this = fixture.client(greedy);
    let handle = this.handle();
    let buffer = painted(
        &this.bound().shm,
        &handle,
        (1024, 1024),
        Format::Xrgb8888,
        |_, _| [255, 0, 0, 255],
    );
    let mut inner = Vec::new();
    for at in 0..4 {
        let surface = fixture.subsurface(&window, (10 + 60 * at, 10), (8, 8), BLUE);
        let this = fixture.client(greedy);
        let viewport = this
            .bound()
            .viewporter
            .get_viewport(&surface.surface, &handle, ());
        viewport.set_destination(50, 150);
        show(&mut fixture, greedy, &surface.surface, &buffer);
        inner.push(surface);
    }
    fixture.draw(&window, (300, 200), [0, 0, 128]);
    fixture.frame();
    let theirs = fixture.window(other, (100, 80), RED);
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(theirs.id, (440, 260).into());
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(window.id, (40, 60).into());
    fixture.state.core.render.schedule();
    fixture.frame();
    assert_true(&mut fixture);
    let shown = fixture.shown();
    let count = |colour| shown.find(colour).map_or(0, |(_, count)| count);
    assert_eq!(count(BLUE) / (50 * 150), 1, "one of four is drawn");
    assert_eq!(
        count(RED),
        100 * 80,
        "the other VM's are not counted together with these"
    );
}

#[test]
fn with_gl_nothing_is_uploaded_that_everybody_would_have_to_wait_for() {
    let config = heraldry_tests::fixture::CONFIG.replace(
        "schema 1",
        "schema 1\ndefaults { quota { upload-mib-per-frame 3; }; }",
    );
    let mut fixture = Fixture::new(&Setup {
        size: (640, 400),
        renderer: RendererChoice::Gles,
        config,
        ..Setup::default()
    });
    let greedy = fixture.add_client("untrusted");
    let window = fixture.window(greedy, (300, 200), [0, 0, 128]);
    let surface = fixture.subsurface(&window, (10, 10), (8, 8), [0, 0, 128]);
    let this = fixture.client(greedy);
    let handle = this.handle();
    let viewport = this
        .bound()
        .viewporter
        .get_viewport(&surface.surface, &handle, ());
    viewport.set_destination(50, 150);
    for (side, seen) in [(1024, 0), (512, 50 * 150)] {
        let shm = &fixture.client(greedy).bound().shm;
        let buffer = painted(shm, &handle, (side, side), Format::Xrgb8888, |_, _| {
            [255, 0, 0, 255]
        });
        show(&mut fixture, greedy, &surface.surface, &buffer);
        fixture.draw(&window, (300, 200), [0, 0, 128]);
        // Too much at once waits for the frame after this one.
        fixture.frame();
        fixture.frame();
        assert_true(&mut fixture);
        let seen_of_it = fixture.shown().find(BLUE).map_or(0, |(_, count)| count);
        assert_eq!(seen_of_it, seen, "a buffer of {side} x {side}");
    }
}

/// 160 rows of pixels are 53 and a third logical ones of three pixels each.
#[test]
fn what_is_seen_only_in_a_row_beyond_the_last_whole_logical_pixel_is_drawn() {
    let mut fixture = Fixture::new(&Setup {
        size: (240, 160),
        ..Setup::default()
    });
    let (victim, attacker) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    fixture.window(victim, (60, 60), RED);
    let upper = fixture.window(attacker, (60, 60), BLUE);
    let layout = &mut fixture.state.core.windows.layout;
    layout.set_mode(upper.id, Mode::Fullscreen);
    layout.raise(upper.id);
    let screen = fixture.state.core.outputs.first();
    let (id, setup) = (
        screen.id(),
        Screen {
            scale: 3.0,
            ..*screen.setup()
        },
    );
    fixture.state.set_up(id, setup);
    fixture.frame();
    assert_true(&mut fixture);
}

/// A window whose buffer has alpha, all of one colour.
fn blended(fixture: &mut Fixture, client: ClientId, surface: &WlSurface, size: (i32, i32), pixel: [u8; 4]) {
    let this = fixture.client(client);
    let buffer = painted(
        &this.bound().shm,
        &this.handle(),
        size,
        Format::Argb8888,
        |_, _| pixel,
    );
    surface.attach(Some(&buffer), 0, 0);
    surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
    surface.commit();
    fixture.double_roundtrip(client);
}

/// Windows in front that are now one layer deep and now three, which is more than may be blended in a frame.
#[test]
fn what_others_draw_does_not_decide_whether_a_vm_is_composed() {
    let config = heraldry_tests::fixture::CONFIG.replace(
        "schema 1",
        "schema 1\ndefaults { quota { composed-megapixels 1; }; }",
    );
    let mut fixture = Fixture::new(&Setup {
        size: (1280, 800),
        config,
        ..Setup::default()
    });
    let (victim, attacker) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let size = (600, 700);
    let (mut layers, mut ids) = (Vec::new(), Vec::new());
    for at in 0..4 {
        let upper = fixture.window(attacker, size, BLUE);
        blended(&mut fixture, attacker, &upper.surface, size, [100, 0, 0, 100]);
        for _ in 0..2 {
            let layer = fixture.subsurface(&upper, (0, 0), size, BLUE);
            layers.push(layer);
        }
        upper.surface.commit();
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(upper.id, (630 + 10 * at, 40).into());
        ids.push(upper.id);
    }
    let lower = fixture.window(victim, size, RED);
    blended(&mut fixture, victim, &lower.surface, size, [0, 0, 200, 255]);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(lower.id, (10, 40).into());
    ids.iter().for_each(|id| layout.raise(*id));
    fixture.state.core.render.schedule();
    fixture.frame();
    let shown = |fixture: &mut Fixture| fixture.shown().find([200, 0, 0]).map_or(0, |(_, count)| count);
    assert_eq!(shown(&mut fixture), 600 * 700);
    for round in 0..40 {
        for layer in &layers {
            if round % 2 == 0 {
                blended(&mut fixture, attacker, &layer.surface, size, [100, 0, 0, 100]);
            } else {
                layer.surface.attach(None, 0, 0);
                layer.surface.commit();
            }
        }
        fixture.double_roundtrip(attacker);
        fixture.frame();
        assert_eq!(shown(&mut fixture), 600 * 700, "round {round}");
    }
    // The attacker's own are composed in the end.
    for _ in 0..100 {
        fixture.frame();
    }
    assert_true(&mut fixture);
}
