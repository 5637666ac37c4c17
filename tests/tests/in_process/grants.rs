// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client is given what its press grants it, and nothing for the press of another VM that came meanwhile.

use std::time::Duration;

use heraldry_compositor::input::{Axes, Event, Pen, Stroke, Tool, Touch};
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, LEFT, Setup, Window};
use smithay::backend::input::{ButtonState, TabletToolCapabilities, TabletToolType};
use wayland_protocols::xdg::shell::client::xdg_toplevel::ResizeEdge;

/// What the user presses with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Hand {
    Mouse,
    Finger,
    Pen,
}

const HANDS: [Hand; 3] = [Hand::Mouse, Hand::Finger, Hand::Pen];

#[derive(Debug, Clone, Copy)]
enum Does {
    Down,
    Moves,
    Up,
}

/// What a hand does, before the compositor's turn ends.
fn act(fixture: &mut Fixture, hand: Hand, does: Does, at: (f64, f64)) {
    let button = |state| Event::Button(LEFT, state);
    let touch = |touch| vec![Event::Touch(touch), Event::Touch(Touch::Frame)];
    let pen = |stroke| {
        vec![Event::Pen(Pen {
            tool: Tool {
                device: 0,
                kind: TabletToolType::Pen,
                capabilities: TabletToolCapabilities::PRESSURE,
            },
            at: at.into(),
            axes: Axes::default(),
            stroke,
        })]
    };
    let moves = Event::Motion(at.into());
    let events = match (hand, does) {
        (Hand::Mouse, Does::Down) => vec![moves, button(ButtonState::Pressed)],
        (Hand::Mouse, Does::Moves) => vec![moves],
        (Hand::Mouse, Does::Up) => vec![button(ButtonState::Released)],
        (Hand::Finger, Does::Down) => touch(Touch::Down(0, at.into())),
        (Hand::Finger, Does::Moves) => touch(Touch::Motion(0, at.into())),
        (Hand::Finger, Does::Up) => touch(Touch::Up(0)),
        (Hand::Pen, Does::Down) => pen(Stroke::Down),
        (Hand::Pen, Does::Moves) => pen(Stroke::Hover),
        (Hand::Pen, Does::Up) => pen(Stroke::Up),
    };
    for event in events {
        fixture.state.input(event);
    }
}

fn two_vms() -> (Fixture, [ClientId; 2], [Window; 2]) {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    fixture.offer_touch(true);
    fixture.offer_pen(true);
    let clients = ["untrusted", "work"].map(|vm| fixture.add_client(vm));
    let windows = clients.map(|client| {
        let _touch = fixture.client(client).take_touch();
        let _pens = fixture.client(client).take_pens();
        let colour = if client == clients[0] { MAGENTA } else { CYAN };
        fixture.window(client, (300, 200), colour)
    });
    fixture.advance(Duration::from_secs(10));
    fixture.settle();
    (fixture, clients, windows)
}

fn middle(fixture: &Fixture, window: &Window) -> (f64, f64) {
    let area = fixture.content(window);
    (f64::from(area.x + 150), f64::from(area.y + 100))
}

/// The client wants its window dragged by its last press; the compositor has served it, and its turn goes on.
fn asks(fixture: &mut Fixture, client: ClientId, window: &Window, resizes: bool) {
    let asking = fixture.client(client);
    let (seat, serial) = (&asking.bound().seat, asking.seen.press_serial);
    if resizes {
        window.toplevel.resize(seat, serial, ResizeEdge::BottomRight);
    } else {
        window.toplevel._move(seat, serial);
    }
    fixture.serve(client);
}

#[test]
fn no_press_of_another_vm_is_taken_whatever_it_is_made_with() {
    for first in HANDS {
        for second in HANDS {
            for resizes in [false, true] {
                let case = format!("{first:?} {second:?} {resizes}");
                let (mut fixture, [attacker, victim], [taker, other]) = two_vms();
                let (from, to) = (middle(&fixture, &taker), middle(&fixture, &other));
                act(&mut fixture, first, Does::Down, from);
                fixture.settle();
                fixture.log(victim);
                asks(&mut fixture, attacker, &taker, resizes);
                // The user's hand is quicker than the turn.
                act(&mut fixture, first, Does::Up, from);
                act(&mut fixture, second, Does::Down, to);
                fixture.settle();
                let before = [fixture.content(&taker), fixture.content(&other)];
                act(&mut fixture, second, Does::Moves, (to.0 + 60.0, to.1 + 40.0));
                act(&mut fixture, second, Does::Up, (to.0 + 60.0, to.1 + 40.0));
                fixture.settle();
                assert_eq!(
                    [fixture.content(&taker), fixture.content(&other)],
                    before,
                    "{case}"
                );
                let log = fixture.log(victim);
                let (down, up) = match second {
                    Hand::Mouse => ("button 272 down", "button 272 up"),
                    Hand::Finger => ("finger 0", "finger 0 up"),
                    Hand::Pen => ("pen down", "pen up"),
                };
                let (at, until) = (log.find(down), log.rfind(up));
                let its_own = at.zip(until).and_then(|(at, until)| log.get(at..until));
                assert!(
                    its_own.is_some_and(|log| !log.contains("leaves")),
                    "{case}: {log}"
                );
            }
        }
    }
}

#[test]
fn a_press_that_is_held_beside_another_does_not_get_that_one() {
    for (first, second) in [(Hand::Finger, Hand::Mouse), (Hand::Pen, Hand::Mouse)] {
        let (mut fixture, [attacker, _], [taker, other]) = two_vms();
        let (from, to) = (middle(&fixture, &taker), middle(&fixture, &other));
        act(&mut fixture, first, Does::Down, from);
        fixture.settle();
        asks(&mut fixture, attacker, &taker, false);
        act(&mut fixture, second, Does::Down, to);
        fixture.settle();
        let before = fixture.content(&taker);
        act(&mut fixture, second, Does::Moves, (to.0 + 60.0, to.1 + 40.0));
        fixture.settle();
        assert_eq!(fixture.content(&taker), before, "{first:?} {second:?}");
    }
}

#[test]
fn a_later_press_of_its_own_is_not_the_one_that_was_named() {
    for hand in HANDS {
        let (mut fixture, [attacker, _], [taker, _]) = two_vms();
        let at = middle(&fixture, &taker);
        act(&mut fixture, hand, Does::Down, at);
        fixture.settle();
        asks(&mut fixture, attacker, &taker, false);
        act(&mut fixture, hand, Does::Up, at);
        act(&mut fixture, hand, Does::Down, at);
        fixture.settle();
        let before = fixture.content(&taker);
        act(&mut fixture, hand, Does::Moves, (at.0 + 60.0, at.1 + 40.0));
        fixture.settle();
        assert_eq!(fixture.content(&taker), before, "{hand:?}");
        // Named while it is held, it does.
        asks(&mut fixture, attacker, &taker, false);
        fixture.settle();
        act(&mut fixture, hand, Does::Moves, (at.0 + 90.0, at.1 + 40.0));
        fixture.settle();
        assert_eq!(fixture.content(&taker).x, before.x + 30, "{hand:?}");
    }
}
