// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMs that are paused and hidden: which one a key means, and that nothing but the user brings them back.

use std::path::Path;
use std::time::Duration;

use heraldry_compositor::desktop::outputs::Setup as ScreenSetup;
use heraldry_compositor::init::record::{Pause, Record};
use heraldry_compositor::input::{Axes, Stroke, Touch};
use heraldry_compositor::vms::booking::Booking;
use heraldry_compositor::vms::pause::PauseReason;
use heraldry_identity::VmName;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{CONFIG, Fixture, LEFT, Setup, Window};

const SUPER: u32 = 125;
const SHIFT: u32 = 42;
const ESCAPE: u32 = 1;
const LONG: Duration = Duration::from_secs(10);

fn chord(fixture: &mut Fixture, keys: &[u32]) {
    keys.iter().for_each(|key| fixture.key(*key, true));
    keys.iter().rev().for_each(|key| fixture.key(*key, false));
}

/// What the user holds a window with.
#[derive(Debug, Clone, Copy)]
enum Hand {
    Mouse,
    Finger,
    Pen,
}

/// The hand comes down, moves or goes up at a place.
fn hold(fixture: &mut Fixture, hand: Hand, stroke: Stroke, x: f64) {
    let at = (x, 200.0);
    match (hand, stroke) {
        (Hand::Mouse, Stroke::Hover) => fixture.motion(at.0, at.1),
        (Hand::Mouse, _) => fixture.button(LEFT, matches!(stroke, Stroke::Down)),
        (Hand::Finger, _) => {
            fixture.touch(match stroke {
                Stroke::Down => Touch::Down(0, at.into()),
                Stroke::Hover => Touch::Motion(0, at.into()),
                _ => Touch::Up(0),
            });
            fixture.touch(Touch::Frame);
        }
        (Hand::Pen, Stroke::Down) => {
            fixture.pen(at, Axes::default(), Stroke::Hover);
            fixture.pen(at, Axes::default(), stroke);
        }
        (Hand::Pen, _) => fixture.pen(at, Axes::default(), stroke),
    }
}

fn paused(fixture: &Fixture, vm: &str) -> bool {
    let mut vms = fixture.state.core.vms.iter();
    vms.any(|known| known.name.as_str() == vm && known.paused().is_some())
}

fn name(vm: &str) -> VmName {
    vm.parse().unwrap()
}

/// A window of `vm` that has been at a place for long.
fn settled(fixture: &mut Fixture, vm: &str, at: (i32, i32)) -> Window {
    let client = fixture.add_client(vm);
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.state.core.windows.layout.move_to(window.id, at.into());
    fixture.state.core.render.schedule();
    fixture.advance(LONG);
    window
}

fn vanish(fixture: &mut Fixture, window: &Window) {
    window.surface.attach(None, 0, 0);
    window.surface.commit();
    fixture.settle();
    fixture.advance(Duration::from_millis(50));
}

#[test]
fn a_window_that_goes_when_the_hand_comes_leaves_no_other_vm_to_be_hidden() {
    for below in [true, false] {
        let mut fixture = Fixture::default();
        // Without it, the pointer is over nothing then, and another VM has the keyboard.
        let place = if below { (100, 100) } else { (800, 500) };
        let work = settled(&mut fixture, "work", place);
        let culprit = settled(&mut fixture, "untrusted", (100, 100));
        fixture.focus(if below { &culprit } else { &work });
        fixture.motion(200.0, 200.0);
        fixture.advance(LONG);
        // The window sees the first key of the chord, or the pointer coming.
        fixture.key(SUPER, true);
        vanish(&mut fixture, &culprit);
        fixture.key(ESCAPE, true);
        assert!(!paused(&fixture, "work"), "below: {below}");
        assert!(paused(&fixture, "untrusted"), "below: {below}");
        for key in [ESCAPE, SUPER] {
            fixture.key(key, false);
        }
        // What has been seen there for a while is meant.
        fixture.advance(LONG);
        chord(&mut fixture, &[SUPER, ESCAPE]);
        assert!(paused(&fixture, "work"));
    }
}

#[test]
fn what_the_user_has_just_raised_is_hidden_and_not_what_it_covers() {
    let mut fixture = Fixture::default();
    let below = settled(&mut fixture, "untrusted", (100, 100));
    settled(&mut fixture, "work", (150, 150));
    fixture.motion(200.0, 200.0);
    fixture.focus(&below);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(paused(&fixture, "untrusted") && !paused(&fixture, "work"));
}

#[test]
fn who_breaks_a_rule_does_not_come_back_in_the_place_of_what_the_user_hid() {
    let mut fixture = Fixture::default();
    settled(&mut fixture, "work", (100, 100));
    settled(&mut fixture, "untrusted", (500, 100));
    fixture.motion(200.0, 200.0);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(paused(&fixture, "work"));
    fixture
        .state
        .pause(&name("untrusted"), PauseReason::Violation, true);
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    assert!(!paused(&fixture, "work") && paused(&fixture, "untrusted"));
}

#[test]
fn a_pause_outlives_a_start_with_a_configuration_that_does_not_know_the_vm() {
    let record = Record::create().unwrap();
    let path = format!("/proc/self/fd/{}", record.number());
    record
        .pause(&Pause {
            vm: name("untrusted"),
            reason: PauseReason::User,
            hidden: true,
        })
        .unwrap();
    // The built-in configuration, because the user's is broken.
    let mut fixture = Fixture::new(&Setup {
        config: "schema 1\n".to_owned(),
        ..Setup::default()
    });
    fixture.state.core.books = Booking::with_record(Some(Path::new(&path))).unwrap();
    fixture.state.restore_pauses();
    fixture.state.pause_once_known(Pause {
        vm: name("personal"),
        reason: PauseReason::User,
        hidden: false,
    });
    assert_eq!(record.pauses().len(), 2, "also for the next start");
    let mended = heraldry_config::parse("test.kdl", CONFIG).unwrap();
    fixture.state.adopt(mended.clone());
    assert!(paused(&fixture, "untrusted") && paused(&fixture, "personal"));
    // A client may come; what it shows does not appear.
    let client = fixture.add_client("untrusted");
    fixture.window(client, (300, 200), CYAN);
    fixture.frame();
    assert_eq!(fixture.picture().find(CYAN), None);
    assert!(fixture.state.resume(&name("untrusted")));
    fixture.state.adopt(mended);
    fixture.frame();
    assert!(fixture.picture().find(CYAN).is_some());
    assert_eq!(record.pauses().len(), 1);
}

#[test]
fn what_is_hidden_stays_so_whatever_is_done_to_it_and_comes_back_where_it_was() {
    const ALT: u32 = 56;
    const TAB: u32 = 15;
    let mut fixture = Fixture::default();
    let below = settled(&mut fixture, "work", (100, 100));
    let above = settled(&mut fixture, "untrusted", (200, 150));
    fixture.focus(&below);
    fixture.focus(&above);
    fixture.motion(350.0, 250.0);
    fixture.advance(LONG);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(paused(&fixture, "untrusted"));
    let hidden = |fixture: &Fixture| !fixture.state.core.windows.layout.is_visible(above.id);
    assert!(hidden(&fixture));
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    let stack: Vec<_> = fixture.state.core.windows.layout.top_to_bottom().collect();
    assert_eq!(stack, [above.id, below.id]);
    assert!(!hidden(&fixture) && !paused(&fixture, "untrusted"));
    fixture.advance(LONG);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(hidden(&fixture));
    fixture.key(ALT, true);
    for _ in 0..3 {
        fixture.key(TAB, true);
        fixture.key(TAB, false);
        assert!(hidden(&fixture), "Alt+Tab does not choose it");
    }
    fixture.key(ALT, false);
    fixture.focus(&above);
    assert!(hidden(&fixture) && fixture.state.core.input.focus() != Some(above.id));
    // The window that is seen there now is another VM's.
    fixture.advance(LONG);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    assert!(paused(&fixture, "work") && hidden(&fixture));
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    assert!(!hidden(&fixture) && !paused(&fixture, "untrusted") && !paused(&fixture, "work"));
}

#[test]
fn who_is_hidden_while_the_user_holds_it_learns_nothing_more_of_the_hand() {
    for hand in [Hand::Mouse, Hand::Finger, Hand::Pen] {
        let mut fixture = Fixture::default();
        fixture.offer_touch(true);
        fixture.offer_pen(true);
        let work = settled(&mut fixture, "work", (700, 300));
        let theirs = settled(&mut fixture, "untrusted", (100, 100));
        let _touch = fixture.client(theirs.client).take_touch();
        let _pens = fixture.client(theirs.client).take_pens();
        fixture.focus(&theirs);
        fixture.motion(200.0, 200.0);
        fixture.advance(LONG);
        hold(&mut fixture, hand, Stroke::Down, 200.0);
        fixture.settle();
        chord(&mut fixture, &[SUPER, ESCAPE]);
        assert!(paused(&fixture, "untrusted"));
        fixture.settle();
        fixture.log(theirs.client);
        for x in [300.0, 800.0, 810.0] {
            hold(&mut fixture, hand, Stroke::Hover, x);
        }
        assert_eq!(fixture.log(theirs.client), "", "{hand:?}");
        hold(&mut fixture, hand, Stroke::Up, 810.0);
        fixture.settle();
        assert_eq!(fixture.log(theirs.client), "", "{hand:?}");
        fixture.advance(LONG);
        fixture.log(work.client);
        fixture.click(800.0, 400.0);
        let log = fixture.log(work.client);
        assert!(log.contains("button"), "others go on after {hand:?}: {log}");
    }
}

#[test]
fn a_window_that_is_hidden_while_it_is_dragged_stays_where_it_was() {
    let mut fixture = Fixture::default();
    let theirs = settled(&mut fixture, "untrusted", (100, 100));
    let place = |fixture: &Fixture| fixture.state.core.windows.layout.outer(theirs.id).unwrap();
    let at = place(&fixture).loc;
    fixture.motion(f64::from(at.x + 40), f64::from(at.y + 12));
    fixture.button(LEFT, true);
    fixture.motion(f64::from(at.x + 50), f64::from(at.y + 12));
    fixture.advance(LONG);
    let before = place(&fixture);
    assert_ne!(before.loc, at);
    chord(&mut fixture, &[SUPER, ESCAPE]);
    fixture.motion(900.0, 500.0);
    assert_eq!(place(&fixture), before);
    fixture.button(LEFT, false);
    chord(&mut fixture, &[SUPER, SHIFT, ESCAPE]);
    assert_eq!(place(&fixture), before);
}

#[test]
fn what_comes_back_after_its_screen_went_lies_over_no_window_that_the_user_is_at() {
    let mut fixture = Fixture::default();
    let screen = fixture.state.plug(ScreenSetup::plain((1280, 800).into(), 1.0));
    fixture.settle();
    let film = settled(&mut fixture, "work", (100, 100));
    let theirs = settled(&mut fixture, "untrusted", (1500, 100));
    fixture.focus(&film);
    film.toplevel.set_fullscreen(None);
    fixture.settle();
    fixture.focus(&theirs);
    fixture.focus(&film);
    fixture.state.core.windows.layout.raise(theirs.id);
    fixture
        .state
        .pause(&name("untrusted"), PauseReason::Violation, true);
    assert!(fixture.state.unplug(screen));
    fixture.settle();
    assert!(fixture.state.resume(&name("untrusted")));
    fixture.settle();
    let stack: Vec<_> = fixture.state.core.windows.layout.visible().collect();
    assert_eq!(stack, [film.id, theirs.id]);
}
