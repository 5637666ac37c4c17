// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM can learn, or cost others, by only being there.

use std::time::Duration;

use heraldry_compositor::desktop::outputs::Setup as ScreenSetup;
use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, LEFT, Setup};
use wayland_client::protocol::wl_output::WlOutput;
use wayland_client::protocol::wl_seat::WlSeat;

/// Processor time of this thread, in which compositor and clients are: what else the machine does is not in it.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

fn blind() -> Fixture {
    Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    })
}

/// The least time of several for surfaces that come and go.
fn surfaces(fixture: &mut Fixture, client: ClientId) -> Duration {
    let run = |fixture: &mut Fixture| {
        let this = fixture.client(client);
        let start = processor_time();
        for _ in 0..300 {
            let surface = this.bound().compositor.create_surface(&this.handle(), ());
            surface.destroy();
        }
        fixture.roundtrip(client);
        processor_time() - start
    };
    (0..7).map(|_| run(fixture)).min().unwrap_or_default()
}

#[test]
fn objects_of_an_idle_vm_cost_others_nothing() {
    let mut fixture = blind();
    let (victim, idle) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    surfaces(&mut fixture, victim);
    let before = surfaces(&mut fixture, victim);
    // Past the gate, which lets through 64.
    for _ in 0..30 {
        for _ in 0..500 {
            let this = fixture.client(idle);
            let _output: WlOutput = this.bind();
            let seat: WlSeat = this.bind();
            seat.get_pointer(&this.handle(), ());
        }
        fixture.roundtrip(idle);
    }
    let after = surfaces(&mut fixture, victim);
    // 15,000 objects were looked through for each surface: three hundred times as long.
    assert!(after < before * 3, "{before:?} before, {after:?} with them");
}

/// The time of twenty round trips.
fn round_trips(fixture: &mut Fixture, client: ClientId) -> Duration {
    let start = processor_time();
    (0..20).for_each(|_| fixture.roundtrip(client));
    processor_time() - start
}

/// A client with a window beside an idle VM that has as many windows, popups and surfaces as it may, or none.
fn beside(windows: usize) -> (Fixture, ClientId) {
    let mut fixture = blind();
    let (victim, idle) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    fixture.window(victim, (300, 200), MAGENTA);
    for _ in 0..windows {
        let window = fixture.toplevel(idle);
        fixture.draw(&window, (60, 40), CYAN);
        fixture.advance(Duration::from_millis(100));
        let anchor = Area {
            x: 5,
            y: 5,
            w: 1,
            h: 1,
        };
        fixture.popup(&window, anchor, (20, 20), CYAN);
        for _ in 0..14 {
            fixture.plain_surface(idle);
        }
    }
    fixture.roundtrip(idle);
    fixture.advance(Duration::from_secs(1));
    (fixture, victim)
}

#[test]
fn windows_of_an_idle_vm_change_nobody_s_round_trip() {
    let (mut alone, mut beside) = (beside(0), beside(64));
    let (mut least, mut least_beside) = (Duration::MAX, Duration::MAX);
    // In turns, so that what else the machine does meets both alike.
    for _ in 0..60 {
        least = least.min(round_trips(&mut alone.0, alone.1));
        least_beside = least_beside.min(round_trips(&mut beside.0, beside.1));
    }
    let ratio = least_beside.as_secs_f64() / least.as_secs_f64();
    println!("round trips beside an idle VM with all its windows: {ratio:.2} times as long");
    assert!(
        ratio < 1.2,
        "{least:?} alone, {least_beside:?} beside: {ratio:.2}"
    );
}

/// How far apart a client is told that its frames are while it draws ten, and others draw in between or not.
fn told(others_draw: bool) -> Vec<u64> {
    let mut fixture = blind();
    let (spy, other) = (fixture.add_client("untrusted"), fixture.add_client("work"));
    let window = fixture.window(spy, (100, 80), CYAN);
    let busy = fixture.window(other, (100, 80), MAGENTA);
    fixture.advance(Duration::from_secs(1));
    fixture.log(spy);
    for frame in 0..10 {
        fixture.client(spy).ask_when_seen(&window.surface);
        fixture.draw(&window, (100 + frame, 80), CYAN);
        for keystroke in 0..5 {
            if others_draw {
                fixture.draw(&busy, (100 + frame, 80 + keystroke), MAGENTA);
            }
            fixture.frame();
        }
    }
    let log = fixture.log(spy);
    let numbers = log.lines().filter_map(|line| line.strip_prefix("presented "));
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    let apart = numbers.windows(2).map(|pair| pair[1] - pair[0]);
    // The first one may have had to wait for the end of a frame.
    apart.skip(1).collect()
}

#[test]
fn the_numbers_of_frames_tell_nothing_of_what_others_draw() {
    let (quiet, busy) = (told(false), told(true));
    assert_eq!(quiet.len(), 8);
    assert_eq!(quiet, busy);
}

#[test]
fn a_picture_of_a_pointer_does_not_tell_on_which_screen_it_is() {
    let told = |x: f64| {
        let mut fixture = blind();
        let client = fixture.add_client("work");
        fixture.state.plug(ScreenSetup::plain((1600, 1200).into(), 2.0));
        fixture.settle();
        let window = fixture.window(client, (300, 200), MAGENTA);
        let picture = fixture.plain_surface(client);
        fixture.advance(Duration::from_secs(1));
        let at = fixture.content(&window);
        fixture.motion(f64::from(at.x + 5), f64::from(at.y + 5));
        fixture.button(LEFT, true);
        let this = fixture.client(client);
        let serial = this.seen.press_serial;
        this.bound().pointer.set_cursor(serial, Some(&picture), 0, 0);
        fixture.roundtrip(client);
        fixture.motion(x, 300.0);
        fixture.log(client);
        fixture.client(client).ask_when_seen(&picture);
        fixture.fill(client, &picture, (16, 16), CYAN);
        picture.commit();
        fixture.frame();
        fixture.frame();
        let log = fixture.log(client);
        assert!(log.contains("presented") || log.contains("discarded"), "{log}");
        log
    };
    assert_eq!(told(400.0), told(1900.0));
}

#[test]
fn a_popup_does_not_tell_where_its_window_is_unless_the_user_has_to_do_with_it() {
    let told = |x: i32, focused: bool| {
        let mut fixture = blind();
        let client = fixture.add_client("untrusted");
        let window = fixture.window(client, (300, 200), CYAN);
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(window.id, (x, 300).into());
        if focused {
            fixture.focus(&window);
        }
        let anchor = Area {
            x: 290,
            y: 10,
            w: 1,
            h: 1,
        };
        fixture.popup(&window, anchor, (200, 100), MAGENTA);
        let core = &fixture.state.core;
        let mut popups = core.popups_of(window.id);
        popups.next().map(|popup| popup.origin.x - x)
    };
    assert_eq!(told(100, false), told(900, false));
    assert_eq!(told(100, true), Some(291));
    assert_eq!(told(900, true), Some(180), "it slides");
}

/// Where the subsurfaces of a window lie.
#[derive(Debug, Clone, Copy)]
enum Lie {
    /// In the window.
    Inside,
    /// In the same tree, and outside of what its client calls the window.
    Outside,
}

/// Processor time of five frames in which another window moves, beside a window with so many silent subsurfaces.
fn frames_beside(silent: i32, lie: Lie) -> impl FnMut() -> Duration {
    let mut fixture = Fixture::new(&Setup::default());
    let (victim, idle) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let window = fixture.toplevel(idle);
    window.xdg.set_window_geometry(0, 0, 400, 300);
    fixture.draw(&window, (400, 300), CYAN);
    let from = match lie {
        Lie::Inside => 0,
        Lie::Outside => 500,
    };
    for at in 0..silent {
        fixture.subsurface(&window, (from + at % 40 * 10, at / 40 * 10), (8, 8), CYAN);
    }
    assert_eq!(fixture.content(&window).w, 400);
    let moving = fixture.window(victim, (100, 80), MAGENTA);
    // Its VM composes what it may in a frame.
    for _ in 0..100 {
        fixture.state.core.render.schedule();
        fixture.frame();
    }
    let mut at = 0;
    move || {
        let start = processor_time();
        for _ in 0..5 {
            at = (at + 7) % 300;
            fixture
                .state
                .core
                .windows
                .layout
                .move_to(moving.id, (500 + at, 300).into());
            fixture.state.core.render.schedule();
            fixture.frame();
        }
        processor_time() - start
    }
}

fn assert_a_thousand_cost_little(lie: Lie) {
    let (mut few, mut many) = (frames_beside(10, lie), frames_beside(1000, lie));
    let (mut least_few, mut least_many) = (Duration::MAX, Duration::MAX);
    for _ in 0..40 {
        least_few = least_few.min(few());
        least_many = least_many.min(many());
    }
    let each = least_many.saturating_sub(least_few) / 5 / 1000;
    println!("{lie:?}: a silent surface costs {each:?} in a frame of others");
    // They were gathered again in each frame: eight and fourteen times as long as with ten.
    assert!(
        least_many < least_few * 6,
        "{least_few:?} with ten, {least_many:?} with a thousand"
    );
}

#[test]
fn a_thousand_silent_surfaces_cost_others_little_in_a_frame() {
    assert_a_thousand_cost_little(Lie::Inside);
}

#[test]
fn silent_surfaces_outside_their_window_cost_others_little() {
    assert_a_thousand_cost_little(Lie::Outside);
}
