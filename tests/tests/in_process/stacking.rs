// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where windows come up that the user did not ask for, and how the user gets rid of a VM.

use std::time::Duration;

use heraldry_compositor::desktop::layout::{Mode, WindowId};
use heraldry_compositor::desktop::outputs::Setup;
use heraldry_compositor::input::Event;
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::fixture::{Fixture, Window};
use smithay::backend::input::{KeyState, Keycode};

const SUPER: u32 = 125;
const SHIFT: u32 = 42;
const ESCAPE: u32 = 1;
const LONG: Duration = Duration::from_secs(10);

fn order(fixture: &Fixture) -> Vec<WindowId> {
    fixture.state.core.windows.layout.visible().collect()
}

fn middle(fixture: &Fixture, window: &Window) -> (f64, f64) {
    let area = fixture.content(window);
    (f64::from(area.x + area.w / 2), f64::from(area.y + area.h / 2))
}

/// Amber is the compositor's own colour: a badge on a label, or a notice.
fn amber(fixture: &mut Fixture, rows: std::ops::Range<i32>) -> usize {
    let picture = fixture.picture();
    let rows = rows.flat_map(|y| (0..1280).map(move |x| (x, y)));
    rows.filter(|(x, y)| picture.at(*x, *y) == [0xff, 0xc0, 0x30])
        .count()
}

/// Presses and releases keys. Nobody is waited for: a paused VM does not answer.
fn chord(fixture: &mut Fixture, keys: &[u32]) {
    let pressed = keys.iter().map(|key| (key, KeyState::Pressed));
    let released = keys.iter().rev().map(|key| (key, KeyState::Released));
    for (key, state) in pressed.chain(released) {
        fixture.state.input(Event::Key(Keycode::new(key + 8), state));
    }
    fixture.advance(Duration::from_millis(17));
}

#[test]
fn a_window_whose_screen_goes_comes_up_over_no_fullscreen_one() {
    let mut fixture = Fixture::default();
    let [work, personal, untrusted] = ["work", "personal", "untrusted"].map(|vm| fixture.add_client(vm));
    let beside = fixture.state.plug(Setup::plain((1280, 800).into(), 1.0));
    let full = fixture.window(work, (300, 200), MAGENTA);
    fixture
        .state
        .core
        .windows
        .layout
        .set_mode(full.id, Mode::Fullscreen);
    let upper = fixture.window(untrusted, (300, 200), CYAN);
    let focused = fixture.window(personal, (300, 200), YELLOW);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(upper.id, (1400, 100).into());
    layout.raise(upper.id);
    layout.move_to(focused.id, (1800, 400).into());
    fixture.focus(&focused);
    assert!(fixture.state.unplug(beside));
    let order = order(&fixture);
    let place = |window: &Window| order.iter().position(|id| *id == window.id).unwrap();
    assert!(place(&focused) < place(&full), "the user works in it: {order:?}");
    assert!(place(&full) < place(&upper), "{order:?}");
}

#[test]
fn every_click_reaches_the_window_that_the_user_raises_whatever_opens_beside() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let windows = [
        fixture.window(work, (300, 200), MAGENTA),
        fixture.window(work, (300, 200), MAGENTA),
    ];
    fixture.advance(LONG);
    let mut got = 0;
    for click in 0..21 {
        let raised = &windows[click % 2];
        fixture.focus(raised);
        // Twenty a second.
        let large = fixture.toplevel(untrusted);
        fixture.draw(&large, (1268, 764), CYAN);
        fixture.advance(Duration::from_millis(50));
        fixture.log(work);
        let (x, y) = middle(&fixture, raised);
        fixture.click(x, y);
        got += usize::from(fixture.log(work).contains("button 272 down"));
        assert_eq!(fixture.state.core.input.focus(), Some(raised.id));
    }
    assert_eq!(got, 21);
}

#[test]
fn a_window_of_a_vm_without_the_keyboard_comes_below_and_says_so() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let focused = fixture.window(work, (1200, 400), MAGENTA);
    fixture.focus(&focused);
    fixture.advance(LONG);
    assert_eq!(amber(&mut fixture, 0..800), 0);
    let new = fixture.window(untrusted, (300, 200), CYAN);
    assert_eq!(order(&fixture), [focused.id, new.id]);
    fixture.frame();
    let content = fixture.content(&new);
    assert!(content.y > 440, "where there is room: {content:?}");
    let label = content.y - 26..content.y - 2;
    assert!(amber(&mut fixture, label.clone()) > 20, "its label is marked");
    fixture.focus(&new);
    fixture.frame();
    assert_eq!(amber(&mut fixture, label), 0, "until the user raises it");
}

#[test]
fn a_window_that_cannot_be_seen_is_told_of_for_a_moment() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let focused = fixture.window(work, (300, 200), MAGENTA);
    fixture.focus(&focused);
    focused.toplevel.set_maximized();
    fixture.settle();
    fixture.draw(&focused, (1268, 764), MAGENTA);
    fixture.advance(LONG);
    assert_eq!(amber(&mut fixture, 770..800), 0);
    for _ in 0..10 {
        fixture.window(untrusted, (300, 200), CYAN);
    }
    fixture.frame();
    let notice = amber(&mut fixture, 770..800);
    assert!(notice > 1000, "a notice: {notice}");
    assert!(notice < 12_000, "and no more than one: {notice}");
    fixture.advance(Duration::from_secs(4));
    fixture.frame();
    assert_eq!(amber(&mut fixture, 770..800), 0);
    fixture.window(untrusted, (300, 200), CYAN);
    assert_eq!(amber(&mut fixture, 770..800), 0, "not again and again");
}

#[test]
fn nothing_comes_over_a_fullscreen_window_though_it_lost_the_keyboard() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let film = fixture.window(work, (300, 200), MAGENTA);
    fixture.focus(&film);
    film.toplevel.set_fullscreen(None);
    fixture.settle();
    assert_eq!(
        fixture.state.core.windows.layout.mode(film.id),
        Some(Mode::Fullscreen)
    );
    fixture.state.set_focus(None);
    let new = fixture.window(untrusted, (300, 200), CYAN);
    assert_eq!(order(&fixture), [film.id, new.id]);
}

#[test]
fn windows_of_one_vm_cannot_bury_the_screen() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let windows = [
        fixture.window(work, (500, 300), MAGENTA),
        fixture.window(work, (500, 300), MAGENTA),
        fixture.window(work, (500, 300), MAGENTA),
    ];
    fixture.advance(LONG);
    for count in 0..32 {
        let size = [(300, 200), (600, 400), (1268, 764)][count % 3];
        fixture.window(untrusted, size, CYAN);
        fixture.advance(Duration::from_millis(125));
    }
    let covered = order(&fixture)
        .into_iter()
        .take_while(|id| !windows.iter().any(|window| window.id == *id))
        .count();
    // 50 percent of 1280 x 800.
    assert!(covered <= 2, "{covered} windows lie above");
    let picture = fixture.picture();
    let seen = picture.iter().filter(|(_, _, colour)| *colour == MAGENTA).count();
    assert!(seen > 300_000, "{seen} of 450000 pixels are seen");
}

#[test]
fn a_window_that_grows_by_itself_counts_as_one_that_comes() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (fixture.add_client("work"), fixture.add_client("untrusted"));
    let ours = fixture.window(work, (500, 300), MAGENTA);
    let small = [
        fixture.window(untrusted, (60, 40), CYAN),
        fixture.window(untrusted, (60, 40), YELLOW),
    ];
    assert_eq!(order(&fixture).last(), Some(&ours.id));
    fixture.draw(&small[0], (1200, 700), CYAN);
    assert_eq!(order(&fixture), [small[1].id, ours.id, small[0].id]);
    small[1].toplevel.set_maximized();
    fixture.settle();
    assert_eq!(order(&fixture).first(), Some(&ours.id));
    // What the user raises stays until it grows again.
    fixture.focus(&small[0]);
    fixture.focus(&ours);
    fixture.draw(&small[0], (1100, 700), CYAN);
    assert_eq!(order(&fixture)[..2], [ours.id, small[0].id]);
}

#[test]
fn a_key_hides_and_pauses_the_vm_under_the_pointer_and_another_brings_it_back() {
    let mut fixture = Fixture::default();
    let (work, untrusted) = (
        fixture.add_gated_client("work"),
        fixture.add_gated_client("untrusted"),
    );
    let ours = fixture.window(work, (300, 200), MAGENTA);
    let theirs = fixture.window(untrusted, (300, 200), CYAN);
    fixture.focus(&ours);
    let (x, y) = middle(&fixture, &theirs);
    fixture.motion(x, y);
    let paused = |fixture: &Fixture, name: &str| {
        let mut vms = fixture.state.core.vms.iter();
        vms.any(|vm| vm.name.as_str() == name && vm.paused().is_some())
    };
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(paused(&fixture, "untrusted") && !paused(&fixture, "work"));
    assert_eq!(order(&fixture), [ours.id]);
    assert!(fixture.picture().find(CYAN).is_none());
    assert!(
        amber(&mut fixture, 770..800) > 1000,
        "a notice says how to undo it"
    );
    assert_eq!(
        fixture.state.core.input.focus(),
        Some(ours.id),
        "the keyboard stays"
    );
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    assert!(!paused(&fixture, "untrusted"));
    fixture.frame();
    assert!(fixture.picture().find(CYAN).is_some());
}
