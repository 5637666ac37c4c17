// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM that nobody looks at costs others or learns of them, and memory that is fetched only when it is drawn.

use std::os::fd::AsFd as _;
use std::time::Duration;

use super::idle::processor_time;
use heraldry_compositor::backend::kms::RendererChoice;
use heraldry_compositor::system::clock::Clock;
use heraldry_compositor::vms::pause::PauseReason;
use heraldry_tests::client::buffer;
use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{CONFIG, ClientId, Fixture, LEFT, Setup, Window};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use wayland_client::protocol::wl_buffer::WlBuffer;
use wayland_client::protocol::wl_output::Transform;
use wayland_client::protocol::wl_shm::Format;

fn quota(quota: &str) -> String {
    CONFIG.replace(
        "schema 1",
        &format!("schema 1\ndefaults {{ quota {{ {quota} }}; }}"),
    )
}

/// A scaled window.
fn scaled(fixture: &mut Fixture, client: ClientId, size: (i32, i32)) -> Window {
    let window = fixture.toplevel(client);
    let this = fixture.client(client);
    let handle = this.handle();
    let small = buffer(&this.bound().shm, &handle, (10, 10), CYAN);
    let viewport = this.bound().viewporter.get_viewport(&window.surface, &handle, ());
    viewport.set_destination(size.0, size.1);
    window.surface.attach(Some(&small), 0, 0);
    window.surface.commit();
    fixture.double_roundtrip(client);
    window
}

#[test]
fn a_silent_window_without_a_picture_draws_no_frames() {
    for paused in [false, true] {
        let mut fixture = Fixture::new(&Setup {
            config: quota("picture-mib 8"),
            ..Setup::default()
        });
        let client = fixture.add_gated_client("untrusted");
        scaled(&mut fixture, client, (1800, 1400));
        for _ in 0..100 {
            fixture.frame();
        }
        if paused {
            fixture
                .state
                .pause(&"untrusted".parse().unwrap(), PauseReason::User, false);
        }
        for _ in 0..20 {
            fixture.advance(Duration::from_millis(17));
        }
        let before = fixture.frames();
        for _ in 0..60 {
            fixture.advance(Duration::from_millis(17));
        }
        let drawn = fixture.frames() - before;
        assert!(drawn < 5, "{drawn} frames of nothing, paused: {paused}");
    }
}

#[test]
fn popups_that_are_closed_do_not_tell_where_their_window_is() {
    let told = |x: i32| {
        let mut fixture = Fixture::default();
        let client = fixture.add_client("untrusted");
        let window = fixture.window(client, (100, 80), CYAN);
        fixture
            .state
            .core
            .windows
            .layout
            .move_to(window.id, (x, 60).into());
        fixture.state.core.render.schedule();
        fixture.advance(Duration::from_secs(1));
        fixture.log(client);
        let anchor = Area {
            x: 0,
            y: 0,
            w: 1,
            h: 1,
        };
        fixture.popup_anywhere(&window, anchor, (1200, 740), MAGENTA);
        fixture.frame();
        fixture.log(client)
    };
    assert_eq!(told(20), told(900));
}

/// An attacker's window that grows while its edge is dragged, or it is moved, and what is done next to it at once.
#[test]
fn a_window_that_grows_while_it_is_dragged_is_seen_where_the_user_put_it_only() {
    for drag in ["edge", "label"] {
        let mut fixture = Fixture::new(&Setup {
            pixels: false,
            ..Setup::default()
        });
        let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
        let lower = fixture.window(work, (400, 300), MAGENTA);
        let upper = fixture.window(untrusted, (300, 100), CYAN);
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(lower.id, (500, 200).into());
        layout.move_to(upper.id, (20, 40).into());
        fixture.state.core.render.schedule();
        fixture.advance(Duration::from_secs(10));
        let content = fixture.content(&upper);
        let at = match drag {
            "edge" => (content.x + content.w + 1, content.y + 50),
            _ => (content.x + content.w / 2, content.y - 8),
        };
        fixture.motion(f64::from(at.0), f64::from(at.1));
        fixture.button(LEFT, true);
        fixture.motion(f64::from(at.0 + 3), f64::from(at.1));
        fixture.frame();
        fixture.draw(&upper, (1200, 700), CYAN);
        fixture.frame();
        fixture.button(LEFT, false);
        fixture.draw(&upper, (1200, 700), CYAN);
        fixture.advance(Duration::from_millis(40));
        assert!(fixture.content(&upper).w > 1000);
        fixture.log(untrusted);
        fixture.click(700.0, 350.0);
        let log = fixture.log(untrusted);
        assert!(!log.contains("button"), "{drag}: {log}");
    }
}

#[test]
fn a_new_window_does_not_tell_on_which_screen_the_pointer_is() {
    let told = |x: f64| {
        let mut fixture = Fixture::new(&Setup {
            pixels: false,
            ..Setup::default()
        });
        let (work, spy) = (fixture.add_client("work"), fixture.add_client("untrusted"));
        let other = heraldry_compositor::desktop::outputs::Setup::plain((1600, 1200).into(), 2.0);
        fixture.state.plug(other);
        fixture.settle();
        let used = fixture.window(work, (300, 200), MAGENTA);
        fixture.focus(&used);
        fixture.motion(x, 300.0);
        fixture.advance(Duration::from_secs(1));
        let window = fixture.window(spy, (100, 80), CYAN);
        fixture.state.core.screen_of_window(window.id) == fixture.state.core.outputs.first().id()
    };
    assert_eq!(told(400.0), told(1900.0));
}

/// Pages that this thread had to fetch so far.
fn fetched() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').nth(7).unwrap().parse().unwrap()
}

/// The most pages that were fetched in a turn of so many, and what the longest one took, while the clock runs.
fn turns(fixture: &mut Fixture, count: usize) -> (u64, Duration) {
    fixture.state.core.clock = Clock::system();
    let mut most = (0, Duration::ZERO);
    for _ in 0..count {
        let (pages, start) = (fetched(), processor_time());
        fixture.turn();
        most = (
            most.0.max(fetched() - pages),
            most.1.max(processor_time() - start),
        );
        std::thread::sleep(Duration::from_millis(4));
    }
    most
}

/// A buffer of memory that nobody has touched.
fn untouched(fixture: &Fixture, client: ClientId, (w, h): (i32, i32), stride: i32) -> WlBuffer {
    let this = fixture.client(client);
    let fd = memfd_create("pixels", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, u64::try_from(stride * h).unwrap()).unwrap();
    let pool = this
        .bound()
        .shm
        .create_pool(fd.as_fd(), stride * h, &this.handle(), ());
    let buffer = pool.create_buffer(0, w, h, stride, Format::Argb8888, &this.handle(), ());
    pool.destroy();
    buffer
}

#[test]
fn layers_whose_memory_must_be_fetched_do_not_hold_everybody_up() {
    for (layers, size, at, turned) in [
        (250, (31_900, 64), (64, 64), true),
        (60, (31_900, 250), (128, 128), true),
        (3, (31_900, 5000), (256, 256), false),
        (1, (31_900, 16_000), (256, 256), true),
    ] {
        let mut fixture = Fixture::new(&Setup::default());
        let client = fixture.add_client("untrusted");
        let window = fixture.window(client, at, CYAN);
        let handle = fixture.client(client).handle();
        for _ in 0..layers {
            let memory = untouched(&fixture, client, size, size.0 * 4);
            let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
            inner.role.set_sync();
            let this = fixture.client(client);
            let viewport = this.bound().viewporter.get_viewport(&inner.surface, &handle, ());
            viewport.set_destination(at.0, at.1);
            if turned {
                inner.surface.set_buffer_transform(Transform::_90);
            }
            inner.surface.attach(Some(&memory), 0, 0);
            inner.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            inner.surface.commit();
        }
        fixture.frame();
        fixture.frame();
        window.surface.commit();
        let (pages, longest) = turns(&mut fixture, 100);
        println!("{layers} layers of {size:?}: {pages} pages and {longest:?} in a turn");
        assert!(
            pages < 6000,
            "{layers} layers of {size:?}: {pages} pages in a turn"
        );
    }
}

/// With GL a buffer is uploaded whole, so what counts is the memory that is fetched and not the texture that it makes.
#[test]
fn gl_fetches_no_more_memory_for_a_buffer_than_may_be_uploaded() {
    let mut fixture = Fixture::new(&Setup {
        renderer: RendererChoice::Gles,
        config: quota("upload-mib-per-frame 3"),
        ..Setup::default()
    });
    let client = fixture.add_client("untrusted");
    let window = fixture.window(client, (64, 64), CYAN);
    let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
    inner.role.set_desync();
    let mut fetched = Vec::new();
    for lines in [500, 1500] {
        let memory = untouched(&fixture, client, (16, lines), 4096);
        inner.surface.attach(Some(&memory), 0, 0);
        inner.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        inner.surface.commit();
        fetched.push(turns(&mut fixture, 20).0);
    }
    assert!(fetched[0] >= 500, "a page for each line: {fetched:?}");
    assert!(fetched[1] < 500, "more than may be uploaded: {fetched:?}");
}

/// Narrow windows whose rows are each in a page of their own; all change in one turn.
#[test]
fn rows_that_lie_far_apart_do_not_hold_everybody_up() {
    let mut fixture = Fixture::new(&Setup {
        size: (1920, 1080),
        config: quota("maps-per-second 1000"),
        ..Setup::default()
    });
    let client = fixture.add_client("untrusted");
    let mut surfaces = Vec::new();
    for at in 0..24 {
        let window = fixture.toplevel(client);
        fixture.draw(&window, (64, 1000), CYAN);
        let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(window.id, (10 + at * 78, 40).into());
        surfaces.extend([inner.surface, window.surface]);
    }
    fixture.frame();
    for _ in 0..2 {
        for surface in &surfaces {
            let memory = untouched(&fixture, client, (64, 1000), 4096);
            surface.attach(Some(&memory), 0, 0);
            surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            surface.commit();
        }
        let (pages, longest) = turns(&mut fixture, 100);
        println!("{pages} pages and {longest:?} in a turn");
        assert!(pages < 6000, "{pages} pages in a turn");
    }
}
