// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several screens: windows stay framed on each, come up where the user is, and come back when one goes.

use heraldry_compositor::desktop::outputs::{ScreenId, Setup};
use heraldry_tests::colour::Pixels;
use heraldry_tests::colour::key::MAGENTA;
use heraldry_tests::fixture::{ClientId, Fixture, LEFT};

/// Twice as many pixels as logical ones, right of the first screen.
fn second(fixture: &mut Fixture) -> ScreenId {
    let screen = fixture.state.plug(Setup::plain((1600, 1200).into(), 2.0));
    fixture.settle();
    screen
}

fn count(picture: &Pixels) -> usize {
    picture.iter().filter(|(_, _, colour)| *colour == MAGENTA).count()
}

fn outputs(fixture: &Fixture, client: ClientId) -> usize {
    let globals = &fixture.client(client).seen.globals;
    globals.values().filter(|(name, _)| name == "wl_output").count()
}

#[test]
fn a_screen_comes_and_goes_as_a_global() {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    assert_eq!(outputs(&fixture, client), 1);
    let before = fixture.client(client).seen.globals.clone();
    let screen = second(&mut fixture);
    fixture.roundtrip(client);
    assert_eq!(outputs(&fixture, client), 2);
    // None that goes again at once: who binds it would be killed.
    let seen = &fixture.client(client).seen;
    assert!(seen.removed.is_empty(), "{:?}", seen.removed);
    assert_eq!(seen.globals.len(), before.len() + 1);
    assert!(fixture.state.unplug(screen));
    fixture.roundtrip(client);
    assert_eq!(outputs(&fixture, client), 1);
    let last = fixture.state.core.outputs.first().id();
    assert!(!fixture.state.unplug(last), "the last one stays for clients");
    fixture.roundtrip(client);
    assert_eq!(outputs(&fixture, client), 1);
}

#[test]
fn a_window_between_two_screens_is_drawn_on_each_at_its_scale() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    let screen = second(&mut fixture);
    let first = fixture.state.core.outputs.first().id();
    let window = fixture.window(client, (300, 200), MAGENTA);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(window.id, (1180, 100).into());
    fixture.frame();
    // 100 logical pixels of its width are on the first screen, 200 on the other, which has four pixels for each.
    let (left, right) = (fixture.picture_of(first), fixture.picture_of(screen));
    assert_eq!(count(&left), 100 * 200);
    // Scaling up blends the outermost pixels with what is under them.
    let (least, most) = (398 * 396, 400 * 400);
    assert!((least..=most).contains(&count(&right)), "{}", count(&right));
    // The frame goes on there: its lower band is not the desktop's colour.
    let desktop = right.at(1500, 1100);
    assert_ne!(right.at(100, (100 + 200) * 2 + 2), desktop);
    assert_ne!(right.at(200 * 2 + 2, 300), desktop);
}

#[test]
fn who_asks_for_the_scale_gets_that_of_the_screen_the_window_is_on() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    second(&mut fixture);
    let window = fixture.window(client, (300, 200), MAGENTA);
    let sub = fixture.subsurface(&window, (10, 10), (8, 8), MAGENTA);
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(window.id, (1400, 100).into());
    fixture.frame();
    for surface in [&window.surface, &sub.surface] {
        fixture.client(client).ask_for_scale(surface);
        let log = fixture.log(client);
        assert!(log.contains("scale 240/120"), "{log}");
    }
    // Of a surface without a window nothing is known.
    let this = fixture.client(client);
    let bare = this.bound().compositor.create_surface(&this.handle(), ());
    this.ask_for_scale(&bare);
    assert!(fixture.log(client).contains("scale 120/120"));
}

#[test]
fn the_pointer_reaches_the_other_screen_and_clicks_there() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    second(&mut fixture);
    let window = fixture.window(client, (300, 200), MAGENTA);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(window.id, (1400, 100).into());
    fixture.frame();
    let content = fixture.content(&window);
    fixture.advance(std::time::Duration::from_secs(1));
    let _before = fixture.log(client);
    let middle = (f64::from(content.x) + 20.0, f64::from(content.y) + 30.0);
    fixture.motion(middle.0, middle.1);
    fixture.button(LEFT, true);
    fixture.button(LEFT, false);
    fixture.roundtrip(client);
    let log = fixture.log(client);
    assert!(log.contains("20,30"), "{log}");
    // Below the second screen there is nothing to point at.
    fixture.motion(1400.0, 700.0);
    assert_eq!(fixture.state.core.input.pointer.y, 599.0);
}

#[test]
fn a_new_window_comes_up_where_the_user_is_with_its_vm() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    second(&mut fixture);
    let first = fixture.window(client, (300, 200), MAGENTA);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(first.id, (1400, 100).into());
    fixture.frame();
    // Beside the topmost window of its VM, which has the keyboard.
    fixture.motion(20.0, 20.0);
    let second = fixture.window(client, (100, 100), MAGENTA);
    assert!(fixture.content(&second).x >= 1280);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(first.id, (100, 100).into());
    fixture.frame();
    fixture.advance(std::time::Duration::from_secs(1));
    // Where the pointer is on a window of its VM.
    fixture.motion(150.0, 150.0);
    let third = fixture.window(client, (100, 100), MAGENTA);
    assert!(fixture.content(&third).x < 1280);
}

#[test]
fn a_new_window_does_not_tell_on_which_screen_the_pointer_is() {
    let told = |pointer: (f64, f64), far: bool| {
        let mut fixture = Fixture::default();
        let victim = fixture.add_client("work");
        let spy = fixture.add_client("untrusted");
        second(&mut fixture);
        let theirs = fixture.window(victim, (300, 200), MAGENTA);
        let layout = &mut fixture.state.core.windows.layout;
        layout.move_to(theirs.id, (1400, 100).into());
        let first = far.then(|| fixture.window(spy, (100, 100), MAGENTA));
        if let Some(first) = &first {
            let layout = &mut fixture.state.core.windows.layout;
            layout.move_to(first.id, (1700, 100).into());
        }
        fixture.frame();
        fixture.advance(std::time::Duration::from_secs(1));
        fixture.motion(pointer.0, pointer.1);
        fixture.frame();
        let _before = fixture.log(spy);
        let window = fixture.window(spy, (100, 100), MAGENTA);
        fixture.frame();
        fixture.client(spy).ask_for_scale(&window.surface);
        fixture.log(spy)
    };
    // Beside its own windows, else on the first screen.
    for (far, scale) in [(false, "scale 120/120"), (true, "scale 240/120")] {
        let (nothing, victim) = (told((20.0, 20.0), far), told((1450.0, 150.0), far));
        assert!(nothing.contains(scale), "{nothing}");
        assert_eq!(nothing, victim);
    }
}

#[test]
fn windows_of_a_screen_that_goes_come_back_framed() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    let screen = second(&mut fixture);
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(window.id, (1700, 300).into());
    fixture.motion(1800.0, 400.0);
    fixture.frame();
    assert_eq!(count(&fixture.picture()), 0);
    assert!(fixture.state.unplug(screen));
    fixture.settle();
    fixture.frame();
    let shown = fixture.picture();
    assert!(count(&shown) > 0, "it is seen again");
    let content = fixture.content(&window);
    // Its label is on the screen, above what is seen of it.
    let label = shown.at(content.x, content.y - 10);
    assert_ne!(label, shown.at(5, 790));
    assert!(
        fixture.state.core.input.pointer.x < 1280.0,
        "the pointer is back too"
    );
}
