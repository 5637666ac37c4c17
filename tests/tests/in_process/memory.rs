// SPDX-License-Identifier: MIT OR Apache-2.0
//! What drawing takes of memory and bandwidth for a VM, whatever its clients say of it.

use std::time::Duration;

use heraldry_compositor::backend::kms::RendererChoice;
use heraldry_tests::client::{buffer, clear, painted};
use heraldry_tests::fixture::{CONFIG, ClientId, Fixture, Setup, Window};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_shm::Format;
use wayland_client::protocol::wl_surface::WlSurface;

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const LARGE: (i32, i32) = (1024, 1024);
const MIB: u64 = 1 << 20;
/// Bytes of a line of [`LARGE`], which is what is fetched for one pixel.
const LINE: u64 = 4096;

/// A window of VM `untrusted`, drawn with GL where `gl` says so.
fn one(gl: bool, quota: &str) -> (Fixture, ClientId, Window) {
    let config = CONFIG.replace(
        "schema 1",
        &format!("schema 1\ndefaults {{ quota {{ {quota} }}; }}"),
    );
    let mut fixture = Fixture::new(&Setup {
        size: (640, 400),
        renderer: if gl {
            RendererChoice::Gles
        } else {
            RendererChoice::Pixman
        },
        config,
        ..Setup::default()
    });
    let client = fixture.add_client("untrusted");
    let window = fixture.window(client, (300, 200), BLUE);
    (fixture, client, window)
}

fn large(fixture: &Fixture, client: ClientId) -> WlBuffer {
    let this = fixture.client(client);
    buffer(&this.bound().shm, &this.handle(), LARGE, RED)
}

/// Shows a buffer and says that a part of it has changed.
fn put(surface: &WlSurface, buffer: Option<&WlBuffer>, damage: &[(i32, i32, i32, i32)]) {
    surface.attach(buffer, 0, 0);
    for (x, y, w, h) in damage {
        surface.damage_buffer(*x, *y, *w, *h);
    }
    surface.commit();
}

/// Bytes that count as uploaded by what a client does.
fn uploaded(fixture: &mut Fixture, client: ClientId, act: impl FnOnce()) -> u64 {
    fixture.frame();
    act();
    fixture.double_roundtrip(client);
    let vm = fixture.client(client).vm.clone();
    fixture.state.core.vms.get(&vm).map_or(0, |vm| vm.load.uploaded)
}

#[test]
fn what_gl_uploads_counts_whatever_is_said_to_have_changed() {
    let (mut fixture, client, window) = one(true, "");
    let surface = &window.surface;
    let shown = large(&fixture, client);
    put(surface, Some(&shown), &[(0, 0, i32::MAX, i32::MAX)]);
    fixture.double_roundtrip(client);
    let pixel = (5, 5, 1, 1);
    assert_eq!(
        uploaded(&mut fixture, client, || put(surface, Some(&shown), &[pixel])),
        LINE
    );
    let nothing: [&[_]; 4] = [
        &[],
        &[(2000, 0, 10, 10)],
        &[(-50, -50, 20, 20)],
        &[(1 << 29, 5, 1 << 29, 1)],
    ];
    for damage in nothing {
        let bytes = uploaded(&mut fixture, client, || put(surface, Some(&shown), damage));
        assert_eq!(bytes, 4 * MIB, "without damage all of it is uploaded: {damage:?}");
    }
    let often = uploaded(&mut fixture, client, || {
        (0..8).for_each(|_| put(surface, Some(&shown), &[pixel]));
    });
    assert_eq!(
        often,
        4 * MIB + 7 * LINE,
        "so is what changed more often than is remembered"
    );
    // With another alpha it has a texture of its own, which is made again each time.
    let this = fixture.client(client);
    let other = clear(&this.bound().shm, &this.handle(), LARGE);
    put(surface, Some(&other), &[pixel]);
    fixture.double_roundtrip(client);
    let bytes = uploaded(&mut fixture, client, || put(surface, Some(&other), &[pixel]));
    assert_eq!(bytes, 4 * MIB);
    put(surface, Some(&shown), &[pixel]);
    fixture.double_roundtrip(client);
    let bytes = uploaded(&mut fixture, client, || put(surface, Some(&shown), &[pixel]));
    assert_eq!(bytes, LINE);
}

#[test]
fn a_texture_counts_until_its_surface_is_gone() {
    let (mut fixture, client, window) = one(true, "texture-mib 8");
    let shown = large(&fixture, client);
    let this = fixture.client(client);
    let pixel =
        this.bound()
            .single_pixel
            .create_u32_rgba_buffer(0, 0, u32::MAX, u32::MAX, &this.handle(), ());
    for instead in [None, Some(pixel)] {
        let first = fixture.subsurface(&window, (0, 0), (4, 4), BLUE);
        put(&first.surface, Some(&shown), &[]);
        fixture.double_roundtrip(client);
        fixture.frame();
        put(&first.surface, instead.as_ref(), &[]);
        fixture.double_roundtrip(client);
        fixture.frame();
        let second = fixture.subsurface(&window, (0, 0), (4, 4), BLUE);
        put(&second.surface, Some(&shown), &[]);
        fixture.double_roundtrip(client);
        fixture.frame();
        fixture.frame();
        let red = fixture.shown().find(RED).map_or(0, |(_, count)| count);
        assert_eq!(red, 0, "the library keeps the first one's texture");
        first.surface.destroy();
        fixture.double_roundtrip(client);
        fixture.frame();
        fixture.frame();
        let red = fixture.shown().find(RED).map_or(0, |(_, count)| count);
        assert!(red > 0, "now there is room");
        second.surface.destroy();
        fixture.double_roundtrip(client);
    }
}

#[test]
fn nothing_is_remembered_of_surfaces_that_are_gone() {
    let (mut fixture, client, window) = one(true, "");
    for _ in 0..400 {
        let inner = fixture.subsurface(&window, (0, 0), (4, 4), BLUE);
        fixture.state.core.clock.advance(Duration::from_millis(17));
        fixture.double_roundtrip(client);
        inner.role.destroy();
        inner.surface.destroy();
        fixture.roundtrip(client);
    }
    let remembered = format!("{:?}", fixture.state.core.render);
    assert!(remembered.matches("wl_surface").count() < 100);
}

/// Pictures that windows are composed into.
fn pictures(fixture: &Fixture) -> usize {
    let remembered = format!("{:?}", fixture.state.core.render);
    remembered.matches("Picture {").count()
}

#[test]
fn pictures_of_windows_that_are_not_seen_count() {
    let (mut fixture, client, _) = one(false, "picture-mib 8; maps-per-second 1000");
    let mut most = 0;
    // Each takes a little more than half a mebibyte.
    for _ in 0..40 {
        let window = fixture.toplevel(client);
        let this = fixture.client(client);
        let handle = this.handle();
        let small = buffer(&this.bound().shm, &handle, (10, 10), BLUE);
        let viewport = this.bound().viewporter.get_viewport(&window.surface, &handle, ());
        viewport.set_destination(500, 300);
        put(&window.surface, Some(&small), &[]);
        fixture.double_roundtrip(client);
        fixture.frame();
        fixture.frame();
        most = most.max(pictures(&fixture));
        window.toplevel.set_minimized();
        fixture.double_roundtrip(client);
        fixture.frame();
        assert!(pictures(&fixture) <= 14, "{}", pictures(&fixture));
    }
    assert!(most > 8, "what may stay stays: {most}");
}

#[test]
fn many_layers_that_are_blended_are_composed_once() {
    for (layers, composed) in [(2, 0), (6, 1)] {
        let (mut fixture, client, window) = one(false, "");
        let this = fixture.client(client);
        let half = painted(
            &this.bound().shm,
            &this.handle(),
            (300, 200),
            Format::Argb8888,
            |_, _| [60, 0, 0, 128],
        );
        for _ in 0..layers {
            let inner = fixture.subsurface(&window, (0, 0), (4, 4), BLUE);
            put(&inner.surface, Some(&half), &[]);
        }
        fixture.double_roundtrip(client);
        fixture.frame();
        fixture.frame();
        assert_eq!(pictures(&fixture), composed, "{layers} layers");
        assert_eq!(fixture.fault(), None);
    }
}

/// What is blended where the screen is has a bound for the whole screen; the rest is composed, within what its VM may spend.
#[test]
fn layers_over_a_large_screen_are_not_all_blended_in_each_frame() {
    let mut fixture = Fixture::new(&Setup {
        size: (3840, 2160),
        pixels: true,
        ..Setup::default()
    });
    let client = fixture.add_client("untrusted");
    let size = (1800, 950);
    for windows in 1..=4 {
        let window = fixture.window(client, size, BLUE);
        let this = fixture.client(client);
        let (shm, handle) = (&this.bound().shm, this.handle());
        let half = painted(shm, &handle, size, Format::Argb8888, |_, _| [60, 0, 0, 128]);
        for _ in 0..2 {
            let inner = fixture.subsurface(&window, (0, 0), (4, 4), BLUE);
            put(&inner.surface, Some(&half), &[]);
        }
        fixture.double_roundtrip(client);
        for _ in 0..10 {
            fixture.frame();
        }
        assert_eq!(pictures(&fixture), windows - 1);
        assert_eq!(fixture.fault(), None);
    }
}
