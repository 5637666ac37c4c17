// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user's hands do, with two VMs' clients: it goes to the VM that was seen there, and stays with it. The click guard's
//! time is real here, and as long as a configuration may have it.

use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, PenAction, Request, TouchAction};
use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{CONFIG, Options, Rig, Visitor, VisitorWindow, until};

const GUARD: Duration = Duration::from_secs(2);
/// Both windows are larger than half of the screen, so that they cover each other in its middle.
const SIZE: (i32, i32) = (900, 600);
const MIDDLE: (i32, i32) = (640, 420);
/// A round in which the machine was slower than the guard says nothing, and is made again.
const ROUNDS: usize = 5;

/// Every way to do something at a place.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hand {
    Click,
    Wheel,
    Tap,
    Pen,
}

const HANDS: [Hand; 4] = [Hand::Click, Hand::Wheel, Hand::Tap, Hand::Pen];

fn give(rig: &Rig, input: InputRequest) {
    rig.tell(&Request::Input(input));
}

fn button(rig: &Rig, action: KeyAction) {
    let name = "left".to_owned();
    give(rig, InputRequest::Button { name, action });
}

fn touch(rig: &Rig, action: TouchAction, at: (i32, i32)) {
    let (x, y) = (f64::from(at.0), f64::from(at.1));
    give(
        rig,
        InputRequest::Touch {
            action,
            finger: 0,
            x,
            y,
        },
    );
}

fn pen(rig: &Rig, action: PenAction, at: (i32, i32)) {
    let (x, y) = (f64::from(at.0), f64::from(at.1));
    let pressure = Some(0.5);
    give(
        rig,
        InputRequest::Pen {
            action,
            x,
            y,
            pressure,
        },
    );
}

fn press(rig: &Rig, hand: Hand, at: (i32, i32)) {
    let (x, y) = (f64::from(at.0), f64::from(at.1));
    match hand {
        Hand::Click => {
            give(rig, InputRequest::Motion { x, y });
            button(rig, KeyAction::Press);
        }
        Hand::Wheel => {
            give(rig, InputRequest::Motion { x, y });
            give(rig, InputRequest::Axis { clicks: 1.0 });
        }
        Hand::Tap => touch(rig, TouchAction::Down, at),
        Hand::Pen => {
            pen(rig, PenAction::Hover, at);
            pen(rig, PenAction::Down, at);
        }
    }
}

fn drag(rig: &Rig, hand: Hand, at: (i32, i32)) {
    let (x, y) = (f64::from(at.0), f64::from(at.1));
    match hand {
        Hand::Click | Hand::Wheel => give(rig, InputRequest::Motion { x, y }),
        Hand::Tap => touch(rig, TouchAction::Motion, at),
        Hand::Pen => pen(rig, PenAction::Hover, at),
    }
}

fn release(rig: &Rig, hand: Hand, at: (i32, i32)) {
    match hand {
        Hand::Click => button(rig, KeyAction::Release),
        Hand::Wheel => {}
        Hand::Tap => touch(rig, TouchAction::Up, at),
        Hand::Pen => {
            pen(rig, PenAction::Up, at);
            pen(rig, PenAction::Away, at);
        }
    }
}

fn act(rig: &Rig, hand: Hand, at: (i32, i32)) {
    press(rig, hand, at);
    release(rig, hand, at);
}

/// What a client has heard since the last look.
fn heard(visitor: &mut Visitor) -> String {
    visitor.roundtrip().unwrap();
    std::mem::take(&mut visitor.seen().log).join("\n")
}

/// What was done to a client, without where the pointer is.
fn done_to(log: &str) -> bool {
    let words = ["button", "axis", "finger", "pen down", "keyboard enters"];
    words.iter().any(|word| log.contains(word))
}

/// A client that takes touches and pens, of seats that have been touched and drawn on.
fn visitor(rig: &Rig, vm: &str) -> Visitor {
    let visitor = rig.visitor(vm);
    let _heard = (visitor.client().take_touch(), visitor.client().take_pens());
    visitor
}

fn start() -> Rig {
    let rig = Rig::start(Options {
        config: CONFIG.replace("click-guard-ms 0", "click-guard-ms 2000"),
        ..Options::default()
    });
    for hand in [Hand::Tap, Hand::Pen] {
        act(&rig, hand, (5, 5));
    }
    rig
}

/// What is seen beside a place, where the pointer does not cover it.
fn at(rig: &Rig, place: (i32, i32)) -> [u8; 3] {
    rig.picture().at(place.0 - 60, place.1 - 60)
}

/// Uses a place until a client hears of it, which it does as soon as the guard's time is over.
fn until_it_is_heard(rig: &Rig, hand: Hand, client: &mut Visitor) {
    let mut further = 0;
    heard(client);
    until("what was seen long enough gets it", || {
        further = (further + 1) % 20;
        act(rig, hand, (MIDDLE.0 + further, MIDDLE.1));
        done_to(&heard(client))
    });
}

/// A window that was clicked vanishes before the second click. How long that took, and what the window below got of it.
fn vanish(rig: &Rig, hand: Hand) -> (Duration, String) {
    let (mut below, mut above) = (visitor(rig, "work"), visitor(rig, "untrusted"));
    let _under = below.show(SIZE, CYAN).unwrap();
    let window = above.show(SIZE, MAGENTA).unwrap();
    // It came up below the one that the user works in, and the user wants to see it.
    let windows = rig.windows();
    let own = windows.iter().find(|window| window.vm == "untrusted");
    rig.tell(&Request::Focus {
        id: own.expect("a window").id,
    });
    until("the other window is above", || at(rig, MIDDLE) == MAGENTA);
    until_it_is_heard(rig, hand, &mut above);
    act(rig, Hand::Click, MIDDLE);
    heard(&mut above);
    heard(&mut below);
    let vanished = Instant::now();
    window.surface.attach(None, 0, 0);
    window.surface.commit();
    above.roundtrip().unwrap();
    until("the window below is seen", || at(rig, MIDDLE) == CYAN);
    act(rig, hand, (MIDDLE.0 + 1, MIDDLE.1));
    let (log, took) = (heard(&mut below), vanished.elapsed());
    assert!(!done_to(&heard(&mut above)), "a window that is gone");
    // It is no window that would never get anything.
    until_it_is_heard(rig, hand, &mut below);
    (took, log)
}

#[test]
fn a_window_that_vanishes_between_two_clicks_leaves_none_for_the_one_below() {
    let rig = start();
    for hand in HANDS {
        let judged = (0..ROUNDS)
            .map(|_| vanish(&rig, hand))
            .find(|(took, _)| *took < GUARD);
        let (_, log) = judged.expect("a machine that is quicker than the guard");
        assert!(!done_to(&log), "{hand:?}: {log}");
    }
}

fn place(rig: &Rig, vm: &str) -> Area {
    rig.content_of(vm)
}

fn middle(area: Area) -> (i32, i32) {
    (area.x + area.w / 2, area.y + area.h / 2)
}

/// A client and its window.
fn small(rig: &Rig, vm: &str, colour: [u8; 3]) -> (Visitor, VisitorWindow, Area) {
    let mut client = visitor(rig, vm);
    let window = client.show((300, 200), colour).unwrap();
    let area = place(rig, vm);
    until("it is drawn", || at(rig, middle(area)) == colour);
    (client, window, area)
}

#[test]
fn a_move_that_is_asked_for_late_takes_no_press_of_another_vm() {
    let rig = Rig::default();
    for hand in [Hand::Tap, Hand::Pen] {
        act(&rig, hand, (5, 5));
    }
    let (mut attacker, taker, from) = small(&rig, "untrusted", MAGENTA);
    let (mut victim, _other, to) = small(&rig, "work", CYAN);
    for hand in [Hand::Click, Hand::Tap, Hand::Pen] {
        // The press that it has: over when it makes use of it.
        act(&rig, hand, middle(from));
        assert!(done_to(&heard(&mut attacker)), "{hand:?}");
        heard(&mut victim);
        press(&rig, hand, middle(to));
        let serial = attacker.seen().press_serial;
        taker.toplevel._move(&attacker.client().bound().seat, serial);
        attacker.roundtrip().unwrap();
        let (x, y) = middle(to);
        drag(&rig, hand, (x + 40, y + 30));
        release(&rig, hand, (x + 40, y + 30));
        let log = heard(&mut victim);
        let up = match hand {
            Hand::Click | Hand::Wheel => "button 272 up",
            Hand::Tap => "finger 0 up",
            Hand::Pen => "pen up",
        };
        assert!(
            log.contains(up),
            "{hand:?}: the press is the victim's to its end: {log}"
        );
        assert!(!done_to(&heard(&mut attacker)), "{hand:?}");
        let now = [place(&rig, "untrusted"), place(&rig, "work")];
        assert_eq!(now, [from, to], "{hand:?}: no window has moved");
    }
}
