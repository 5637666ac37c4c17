// SPDX-License-Identifier: MIT OR Apache-2.0
//! Throw-away: other cases of the kinds that are called closed.

use std::time::Duration;

use heraldry_compositor::vm::pause::PauseReason;
use heraldry_tests::client::{buffer, painted};
use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{CONFIG, ClientId, Fixture, LEFT, Setup, Window};
use wayland_client::protocol::wl_shm::Format;

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// Processor time of five frames in which another window moves, beside so many silent subsurfaces that nobody sees.
fn frames_beside(silent: i32) -> impl FnMut() -> Duration {
    let mut fixture = Fixture::new(&Setup::default());
    let (victim, idle) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let window = fixture.toplevel(idle);
    window.xdg.set_window_geometry(0, 0, 400, 300);
    fixture.draw(&window, (400, 300), CYAN);
    for at in 0..silent {
        fixture.subsurface(&window, (500 + at % 40 * 10, at / 40 * 10), (8, 8), CYAN);
    }
    assert_eq!(fixture.content(&window).w, 400);
    let moving = fixture.window(victim, (100, 80), MAGENTA);
    for _ in 0..100 {
        fixture.state.core.render.schedule();
        fixture.frame();
    }
    let mut at = 0;
    move || {
        let start = processor_time();
        for _ in 0..5 {
            at = (at + 7) % 300;
            let layout = &mut fixture.state.core.windows.layout;
            layout.move_to(moving.id, (500 + at, 300).into());
            fixture.state.core.render.schedule();
            fixture.frame();
        }
        processor_time() - start
    }
}

#[test]
fn silent_surfaces_outside_their_window_cost_others_little() {
    let (mut few, mut many) = (frames_beside(10), frames_beside(1000));
    let (mut least_few, mut least_many) = (Duration::MAX, Duration::MAX);
    for _ in 0..20 {
        least_few = least_few.min(few());
        least_many = least_many.min(many());
    }
    let each = least_many.saturating_sub(least_few) / 5 / 1000;
    println!("{least_few:?} with ten, {least_many:?} with a thousand: {each:?} each");
    assert!(least_many < least_few * 6, "{least_few:?} with ten, {least_many:?} with a thousand");
}

fn quota(quota: &str) -> String {
    CONFIG.replace("schema 1", &format!("schema 1\ndefaults {{ quota {{ {quota} }}; }}"))
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
            fixture.state.pause(&"untrusted".parse().unwrap(), PauseReason::User, false);
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
        fixture.state.core.windows.layout.move_to(window.id, (x, 60).into());
        fixture.state.core.render.schedule();
        fixture.advance(Duration::from_secs(1));
        fixture.log(client);
        let anchor = Area { x: 0, y: 0, w: 1, h: 1 };
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
        let mut fixture = Fixture::new(&Setup { pixels: false, ..Setup::default() });
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

/// The time of a frame of a window with layers that are blended.
#[test]
fn probe_of_direct_drawing() {
    for (size, layers) in [((1920, 1080), 1), ((1920, 1080), 2), ((1920, 1080), 3), ((3840, 2160), 1), ((3840, 2160), 3)] {
        let mut fixture = Fixture::new(&Setup { size, ..Setup::default() });
        let client = fixture.add_client("untrusted");
        let window = fixture.window(client, size, CYAN);
        let this = fixture.client(client);
        let half = painted(&this.bound().shm, &this.handle(), size, Format::Argb8888, |_, _| [60, 0, 0, 128]);
        let mut inners = Vec::new();
        for _ in 0..layers {
            let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
            inner.surface.attach(Some(&half), 0, 0);
            inner.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            inner.surface.commit();
            inners.push(inner);
        }
        fixture.double_roundtrip(client);
        fixture.frame();
        fixture.frame();
        let mut least = Duration::MAX;
        for _ in 0..6 {
            let top = inners.last().unwrap();
            top.surface.attach(Some(&half), 0, 0);
            top.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            top.surface.commit();
            let start = processor_time();
            fixture.double_roundtrip(client);
            fixture.advance(Duration::from_millis(17));
            least = least.min(processor_time() - start);
        }
        println!("{size:?}, {layers} layers: {least:?} a frame");
    }
}

#[test]
fn a_new_window_does_not_tell_on_which_screen_the_pointer_is() {
    let told = |x: f64| {
        let mut fixture = Fixture::new(&Setup { pixels: false, ..Setup::default() });
        let (work, spy) = (fixture.add_client("work"), fixture.add_client("untrusted"));
        let other = heraldry_compositor::outputs::Setup::plain((1600, 1200).into(), 2.0);
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

/// Processor time of a frame of others beside as many silent surfaces in windows and popups that need no pictures.
fn frames_beside_windows(windows: i32, inner: i32) -> impl FnMut() -> Duration {
    let mut fixture = Fixture::new(&Setup { config: quota("maps-per-second 1000"), ..Setup::default() });
    let (victim, idle) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    for at in 0..windows {
        let window = fixture.toplevel(idle);
        fixture.draw(&window, (100, 24), CYAN);
        for at in 0..inner {
            fixture.subsurface(&window, (at * 10, 0), (8, 8), CYAN);
        }
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(window.id, (20 + at % 8 * 120, 40 + at / 8 * 60).into());
    }
    let moving = fixture.window(victim, (100, 80), MAGENTA);
    for _ in 0..100 {
        fixture.state.core.render.schedule();
        fixture.frame();
    }
    let mut at = 0;
    move || {
        let start = processor_time();
        for _ in 0..5 {
            at = (at + 7) % 200;
            let layout = &mut fixture.state.core.windows.layout;
            layout.move_to(moving.id, (1000 + at, 600).into());
            fixture.state.core.render.schedule();
            fixture.frame();
        }
        processor_time() - start
    }
}

#[test]
fn probe_of_silent_windows() {
    for (windows, inner) in [(1, 0), (64, 0), (64, 7)] {
        let mut frames = frames_beside_windows(windows, inner);
        let least = (0..20).map(|_| frames()).min().unwrap();
        println!("{windows} windows of {inner}: {:?} a frame", least / 5);
    }
}

/// The longest turn while layers are composed whose memory nobody has touched.
#[test]
fn probe_of_memory_that_is_fetched_anew() {
    use heraldry_compositor::clock::Clock;
    use heraldry_tests::client::clear;
    use wayland_client::protocol::wl_output::Transform;
    for (layers, buffer, at, turned) in [
        (250, (31_900, 64), (64, 64), true),
        (250, (31_900, 64), (64, 64), false),
        (60, (31_900, 250), (128, 128), true),
        (12, (31_900, 1300), (256, 128), false),
        (3, (31_900, 5000), (256, 256), false),
        (1, (31_900, 16_000), (256, 256), true),
    ] {
        let mut fixture = Fixture::new(&Setup::default());
        let client = fixture.add_client("untrusted");
        let window = fixture.window(client, at, CYAN);
        let this = fixture.client(client);
        let handle = this.handle();
        let mut inners = Vec::new();
        for _ in 0..layers {
            let memory = clear(&fixture.client(client).bound().shm, &handle, buffer);
            let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
            inner.role.set_sync();
            let viewport = fixture.client(client).bound().viewporter.get_viewport(&inner.surface, &handle, ());
            viewport.set_destination(at.0, at.1);
            if turned {
                inner.surface.set_buffer_transform(Transform::_90);
            }
            inner.surface.attach(Some(&memory), 0, 0);
            inner.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            inner.surface.commit();
            inners.push(inner);
        }
        fixture.frame();
        fixture.frame();
        window.surface.commit();
        fixture.state.core.clock = Clock::system();
        let mut longest = Vec::new();
        for _ in 0..200 {
            let start = processor_time();
            fixture.turn();
            longest.push(processor_time() - start);
            std::thread::sleep(Duration::from_millis(4));
        }
        longest.sort();
        println!("{layers} layers of {buffer:?}, turned {turned}: {:?}", &longest[195..]);
    }
}

/// Narrow windows whose rows are each in a page of their own that nobody has touched; all change in one turn.
#[test]
fn probe_of_rows_that_are_fetched_anew() {
    use heraldry_compositor::clock::Clock;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd as _;
    let mut fixture = Fixture::new(&Setup { size: (1920, 1080), config: quota("maps-per-second 1000"), ..Setup::default() });
    let client = fixture.add_client("untrusted");
    let (w, h, stride) = (64, 1000, 4096);
    let memory = |fixture: &Fixture| {
        let this = fixture.client(client);
        let fd = memfd_create("pixels", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, u64::try_from(stride * h).unwrap()).unwrap();
        let pool = this.bound().shm.create_pool(fd.as_fd(), stride * h, &this.handle(), ());
        let buffer = pool.create_buffer(0, w, h, stride, Format::Argb8888, &this.handle(), ());
        pool.destroy();
        buffer
    };
    let mut surfaces = Vec::new();
    for at in 0..24 {
        let window = fixture.toplevel(client);
        fixture.draw(&window, (w, h), CYAN);
        let inner = fixture.subsurface(&window, (0, 0), (4, 4), CYAN);
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(window.id, (10 + at * 78, 40).into());
        surfaces.extend([inner.surface, window.surface]);
    }
    fixture.frame();
    for round in 0..3 {
        for surface in &surfaces {
            surface.attach(Some(&memory(&fixture)), 0, 0);
            surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            surface.commit();
        }
        let start = processor_time();
        fixture.double_roundtrip(client);
        let served = processor_time() - start;
        let start = processor_time();
        fixture.frame();
        println!("{round}: {served:?} served, then {:?} a frame", processor_time() - start);
    }
    let _clock = Clock::system();
}
