// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the user does at a place goes to the VM that was seen there, whatever made another one appear.

use std::collections::VecDeque;
use std::time::Duration;

use heraldry_compositor::input::hit::Hit;
use heraldry_compositor::input::{Axes, Event, Stroke, Touch};
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::colour::{Area, Colour};
use heraldry_tests::fixture::{ClientId, Fixture, LEFT, Setup, Window};
use proptest::prelude::*;
use smithay::backend::input::{Axis, AxisSource};

/// A little less than the guard.
const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(10);

/// Every way to do something at a place, after the pointer has moved there by a pixel.
#[derive(Debug, Clone, Copy)]
enum Hand {
    Click,
    Wheel,
    Tap,
    Pen,
}

const HANDS: [Hand; 4] = [Hand::Click, Hand::Wheel, Hand::Tap, Hand::Pen];

fn act(fixture: &mut Fixture, hand: Hand, (x, y): (f64, f64)) {
    match hand {
        Hand::Click => fixture.click(x, y),
        Hand::Wheel => {
            fixture.motion(x, y);
            let wheel = Event::Scroll(Axis::Vertical, AxisSource::Wheel, 15.0, Some(120.0));
            fixture.state.input(wheel);
            fixture.settle();
        }
        Hand::Tap => {
            fixture.touch(Touch::Down(0, (x, y).into()));
            fixture.touch(Touch::Up(0));
        }
        Hand::Pen => {
            fixture.pen((x, y), Axes::default(), Stroke::Hover);
            fixture.pen((x, y), Axes::default(), Stroke::Down);
            fixture.pen((x, y), Axes::default(), Stroke::Up);
            fixture.pen((x, y), Axes::default(), Stroke::Away);
        }
    }
    fixture.settle();
}

/// What was done to a client, without where the pointer is.
fn done_to(log: &str) -> bool {
    let words = ["button", "axis", "finger", "pen down", "keyboard enters"];
    words.iter().any(|word| log.contains(word))
}

/// A client of each of two VMs that takes touches and pens.
fn two_vms() -> (Fixture, [ClientId; 2]) {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    fixture.offer_touch(true);
    fixture.offer_pen(true);
    let clients = ["work", "untrusted"].map(|vm| fixture.add_client(vm));
    for client in clients {
        let _seat = fixture.client(client).take_pens();
    }
    for client in clients {
        fixture.log(client);
    }
    (fixture, clients)
}

/// A window at a place, which has been there for long.
fn settled(fixture: &mut Fixture, client: ClientId, at: (i32, i32), size: (i32, i32)) -> Window {
    let window = fixture.window(client, size, MAGENTA);
    fixture.state.core.windows.layout.move_to(window.id, at.into());
    fixture.state.core.render.schedule();
    fixture.state.core.input.refresh_pointer = true;
    fixture.advance(LONG);
    window
}

fn nobody_got_it(fixture: &mut Fixture, clients: [ClientId; 2], what: impl std::fmt::Debug) {
    for client in clients {
        let log = fixture.log(client);
        assert!(!done_to(&log), "{what:?}: {log}");
    }
}

#[test]
fn a_window_that_grew_gets_nothing_by_a_pixel_of_motion() {
    for hand in HANDS {
        let (mut fixture, [work, untrusted]) = two_vms();
        settled(&mut fixture, work, (200, 200), (400, 300));
        let small = settled(&mut fixture, untrusted, (20, 40), (48, 24));
        // The one that grows lies above.
        fixture.focus(&small);
        fixture.motion(400.0, 300.0);
        fixture.advance(LONG);
        fixture.draw(&small, (1200, 700), CYAN);
        fixture.advance(Duration::from_millis(23));
        fixture.log(work);
        fixture.log(untrusted);
        act(&mut fixture, hand, (401.0, 300.0));
        nobody_got_it(&mut fixture, [work, untrusted], hand);
        fixture.advance(LONG);
        act(&mut fixture, hand, (402.0, 300.0));
        assert!(done_to(&fixture.log(untrusted)), "{hand:?}: it is seen now");
    }
}

#[test]
fn what_a_vanished_window_covered_gets_nothing_by_the_next_click() {
    for hand in HANDS {
        let (mut fixture, [work, untrusted]) = two_vms();
        settled(&mut fixture, work, (200, 200), (400, 300));
        let above = settled(&mut fixture, untrusted, (200, 200), (400, 300));
        act(&mut fixture, Hand::Click, (400.0, 300.0));
        fixture.advance(Duration::from_millis(20));
        above.surface.attach(None, 0, 0);
        above.surface.commit();
        fixture.settle();
        fixture.advance(SHORT);
        fixture.log(work);
        act(&mut fixture, hand, (401.0, 300.0));
        nobody_got_it(&mut fixture, [work, work], hand);
        fixture.advance(LONG);
        act(&mut fixture, hand, (402.0, 300.0));
        assert!(done_to(&fixture.log(work)), "{hand:?}: it is seen now");
    }
}

#[test]
fn what_the_user_raised_gets_the_click_at_once() {
    for hand in HANDS {
        let (mut fixture, [work, untrusted]) = two_vms();
        let below = settled(&mut fixture, work, (200, 200), (400, 300));
        settled(&mut fixture, untrusted, (250, 250), (400, 300));
        fixture.motion(400.0, 300.0);
        fixture.focus(&below);
        fixture.log(work);
        act(&mut fixture, hand, (401.0, 300.0));
        assert!(done_to(&fixture.log(work)), "{hand:?}");
    }
}

#[test]
fn what_had_the_keyboard_and_is_raised_by_its_label_gets_the_click_at_once() {
    for hand in HANDS {
        let (mut fixture, [work, untrusted]) = two_vms();
        settled(&mut fixture, untrusted, (200, 200), (400, 300));
        settled(&mut fixture, work, (300, 300), (400, 300));
        let other = settled(&mut fixture, untrusted, (800, 100), (100, 100));
        fixture.focus(&other);
        other.surface.attach(None, 0, 0);
        other.surface.commit();
        fixture.settle();
        fixture.advance(LONG);
        fixture.log(untrusted);
        // Nothing of this press is told: the window has the keyboard already.
        act(&mut fixture, Hand::Click, (400.0, 192.0));
        assert!(!done_to(&fixture.log(untrusted)), "{hand:?}");
        act(&mut fixture, hand, (500.0, 400.0));
        assert!(done_to(&fixture.log(untrusted)), "{hand:?}");
    }
}

#[test]
fn a_popup_of_the_focused_vm_over_another_vm_s_window_waits_too() {
    let (mut fixture, [work, untrusted]) = two_vms();
    settled(&mut fixture, work, (400, 200), (400, 300));
    let small = settled(&mut fixture, untrusted, (100, 200), (200, 100));
    fixture.focus(&small);
    fixture.advance(LONG);
    let anchor = Area {
        x: 190,
        y: 10,
        w: 1,
        h: 1,
    };
    fixture.popup(&small, anchor, (300, 200), YELLOW);
    fixture.log(untrusted);
    act(&mut fixture, Hand::Click, (450.0, 300.0));
    nobody_got_it(&mut fixture, [work, untrusted], "over another window");
    // Over nothing it is what the user opened.
    act(&mut fixture, Hand::Click, (350.0, 300.0));
    assert!(done_to(&fixture.log(untrusted)));
}

#[test]
fn a_click_on_our_notice_reaches_nobody_below() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    let window = settled(&mut fixture, client, (10, 60), (1200, 730));
    fixture.focus(&window);
    fixture.state.core.render.show_notice("VM untrusted is PAUSED");
    fixture.advance(LONG);
    fixture.log(client);
    for hand in [Hand::Click, Hand::Wheel] {
        act(&mut fixture, hand, (640.0, 785.0));
        assert!(!done_to(&fixture.log(client)), "{hand:?}");
    }
    assert_eq!(
        fixture.state.core.input.focus(),
        Some(window.id),
        "and moves no focus"
    );
    fixture.state.core.render.hide_notice("VM untrusted is PAUSED");
    fixture.advance(LONG);
    act(&mut fixture, Hand::Click, (640.0, 785.0));
    assert!(done_to(&fixture.log(client)));
}

#[test]
fn no_hand_reaches_what_lies_below_our_notice_also_while_its_text_changes() {
    let mut fixture = Fixture::default();
    fixture.offer_touch(true);
    fixture.offer_pen(true);
    let client = fixture.add_client("work");
    let _seat = fixture.client(client).take_pens();
    let window = settled(&mut fixture, client, (10, 60), (1200, 730));
    fixture.focus(&window);
    let below = (640.0, 785.0);
    let draw = |fixture: &mut Fixture| {
        for _ in 0..2 {
            fixture.state.core.render.schedule();
            fixture.frame();
        }
    };
    for hand in HANDS {
        fixture.state.core.render.show_notice("VM untrusted is PAUSED");
        fixture.advance(LONG);
        fixture.log(client);
        act(&mut fixture, hand, below);
        assert!(!done_to(&fixture.log(client)), "{hand:?}");
        // The next frame is not due yet: the screen shows the old text.
        draw(&mut fixture);
        fixture
            .state
            .core
            .render
            .show_notice("VM personal has a new window");
        act(&mut fixture, hand, below);
        assert!(!done_to(&fixture.log(client)), "{hand:?}, the text changes");
        draw(&mut fixture);
        fixture
            .state
            .core
            .render
            .hide_notice("VM personal has a new window");
        fixture.state.core.render.hide_notice("VM untrusted is PAUSED");
        act(&mut fixture, hand, below);
        let log = fixture.log(client);
        assert!(!done_to(&log), "{hand:?}, it is seen until the next frame: {log}");
        fixture.advance(LONG);
        act(&mut fixture, hand, below);
        assert!(done_to(&fixture.log(client)), "{hand:?}, it is gone");
    }
}

#[test]
fn a_window_that_comes_under_a_resting_pointer_does_not_learn_where_it_rests() {
    let (mut fixture, [work, untrusted]) = two_vms();
    fixture.motion(640.0, 400.0);
    fixture.log(work);
    let window = settled(&mut fixture, untrusted, (400, 200), (600, 400));
    fixture.log(untrusted);
    fixture.draw(&window, (601, 400), CYAN);
    fixture.advance(LONG);
    assert_eq!(fixture.log(untrusted), "");
    fixture.motion(641.0, 400.0);
    assert_eq!(fixture.log(untrusted), "pointer enters w1 241,200");
    // Who loses it is told, and what is below hears nothing.
    settled(&mut fixture, work, (400, 200), (600, 400));
    assert_eq!(fixture.log(untrusted), "pointer leaves w1");
    assert_eq!(fixture.log(work), "");
}

#[test]
fn the_wheel_goes_to_what_is_seen_after_a_window_was_hidden_or_raised() {
    let (mut fixture, [work, untrusted]) = two_vms();
    settled(&mut fixture, work, (200, 200), (400, 300));
    let above = settled(&mut fixture, untrusted, (200, 200), (400, 300));
    fixture.focus(&above);
    fixture.motion(400.0, 300.0);
    fixture.log(untrusted);
    fixture
        .state
        .perform(heraldry_compositor::input::Effect::Minimize(above.id));
    fixture.settle();
    assert!(fixture.log(untrusted).contains("pointer leaves"), "at once");
    assert_eq!(fixture.log(work), "", "the user has not pointed at it yet");
    let wheel = || Event::Scroll(Axis::Vertical, AxisSource::Wheel, 15.0, Some(120.0));
    fixture.state.input(wheel());
    fixture.settle();
    nobody_got_it(&mut fixture, [work, untrusted], "uncovered a moment ago");
    fixture.advance(LONG);
    fixture.state.input(wheel());
    let log = fixture.log(work);
    assert!(log.starts_with("pointer enters") && log.contains("axis"), "{log}");
    // What the user raises has the pointer at once.
    fixture.focus(&above);
    assert!(fixture.log(untrusted).contains("pointer enters"));
    assert!(fixture.log(work).contains("pointer leaves"));
}

/// What happens to windows and by the user's hand.
#[derive(Debug, Clone, Copy)]
enum Step {
    Map(usize, (i32, i32)),
    Grow(usize, (i32, i32)),
    Vanish(usize),
    Popup(usize, (i32, i32)),
    Mode(usize, bool),
    Minimize(usize),
    Raise(usize),
    Drag(usize, (i32, i32)),
    Wait(u64),
    /// It grows just before the hand comes.
    Lure(usize, (i32, i32), Hand, (i32, i32)),
    Hand(Hand, (i32, i32)),
}

fn step() -> impl Strategy<Value = Step> {
    let size = || (40..280_i32, 30..180_i32);
    let place = || (4..316_i32, 4..196_i32);
    prop_oneof![
        2 => (0..3_usize, size()).prop_map(|(vm, size)| Step::Map(vm, size)),
        2 => (0..6_usize, size()).prop_map(|(window, size)| Step::Grow(window, size)),
        1 => (0..6_usize).prop_map(Step::Vanish),
        1 => (0..6_usize, size()).prop_map(|(window, size)| Step::Popup(window, size)),
        1 => (0..6_usize, any::<bool>()).prop_map(|(window, large)| Step::Mode(window, large)),
        1 => (0..6_usize).prop_map(Step::Minimize),
        1 => (0..6_usize).prop_map(Step::Raise),
        1 => (0..6_usize, place()).prop_map(|(window, to)| Step::Drag(window, to)),
        3 => (5..200_u64).prop_map(Step::Wait),
        4 => (0..6_usize, size(), 0..4_usize, place())
            .prop_map(|(window, size, hand, at)| Step::Lure(window, size, HANDS[hand], at)),
        6 => ((0..4_usize).prop_map(|hand| HANDS[hand]), place()).prop_map(|(hand, at)| Step::Hand(hand, at)),
    ]
}

const COLOURS: [Colour; 3] = [MAGENTA, CYAN, YELLOW];
const GUARD: Duration = Duration::from_millis(300);

/// A small screen, a client of each of three VMs, and what was drawn in the last moments.
struct World {
    fixture: Fixture,
    clients: [ClientId; 3],
    windows: Vec<(usize, Window)>,
    drawn: VecDeque<(Duration, heraldry_tests::colour::Pixels)>,
    /// When the user last put a window of each VM somewhere.
    put: [Duration; 3],
}

impl World {
    fn new() -> Self {
        let mut fixture = Fixture::new(&Setup {
            size: (320, 200),
            ..Setup::default()
        });
        fixture.offer_touch(true);
        fixture.offer_pen(true);
        let clients = ["work", "personal", "untrusted"].map(|vm| fixture.add_client(vm));
        for client in clients {
            let _seat = fixture.client(client).take_pens();
        }
        fixture.settle();
        Self {
            fixture,
            clients,
            windows: Vec::new(),
            drawn: VecDeque::new(),
            put: [Duration::ZERO; 3],
        }
    }

    /// Lets time pass frame by frame, and looks at each.
    fn pass(&mut self, time: u64) {
        let end = self.fixture.state.core.clock.now() + Duration::from_millis(time);
        while self.fixture.state.core.clock.now() < end {
            self.fixture.advance(Duration::from_millis(17));
            let now = self.fixture.state.core.clock.now();
            let picture = self.fixture.picture();
            self.drawn.push_back((now, picture));
            while self.drawn.len() > 40 {
                self.drawn.pop_front();
            }
        }
    }

    /// The user put a window of a VM somewhere: for it, what was drawn before says nothing of what the user means.
    fn put(&mut self, vm: usize) {
        self.put[vm] = self.fixture.state.core.clock.now();
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let alive = |world: &Self, window: usize| world.windows.get(window).cloned();
        match step {
            Step::Map(vm, size) if self.windows.len() < 6 => {
                let window = self.fixture.toplevel(self.clients[vm]);
                self.fixture.draw(&window, size, COLOURS[vm]);
                self.windows.push((vm, window));
            }
            Step::Map(..) => {}
            Step::Grow(window, size) => {
                if let Some((vm, window)) = alive(self, window) {
                    self.fixture.draw(&window, size, COLOURS[vm]);
                }
            }
            Step::Vanish(window) => {
                if let Some((_, gone)) = alive(self, window) {
                    gone.toplevel.destroy();
                    gone.xdg.destroy();
                    gone.surface.destroy();
                    self.windows.remove(window);
                    self.fixture.settle();
                }
            }
            Step::Popup(window, size) => {
                if let Some((vm, window)) = alive(self, window) {
                    let anchor = Area {
                        x: size.0 % 40,
                        y: size.1 % 30,
                        w: 1,
                        h: 1,
                    };
                    self.fixture
                        .popup(&window, anchor, (size.0 / 2, size.1 / 2), COLOURS[vm]);
                }
            }
            Step::Mode(window, large) => {
                if let Some((vm, window)) = alive(self, window) {
                    if large {
                        window.toplevel.set_maximized();
                    } else {
                        window.toplevel.unset_maximized();
                    }
                    self.fixture.settle();
                    let content = self.fixture.content(&window);
                    self.fixture.draw(&window, (content.w, content.h), COLOURS[vm]);
                }
            }
            Step::Minimize(window) => {
                if let Some((_, window)) = alive(self, window) {
                    window.toplevel.set_minimized();
                    self.fixture.settle();
                }
            }
            Step::Raise(window) => {
                if let Some((vm, window)) = alive(self, window) {
                    self.fixture.focus(&window);
                    self.put(vm);
                }
            }
            Step::Drag(window, (x, y)) => {
                if let Some((_, window)) = alive(self, window) {
                    // By its label, which may lie under another window: then that one is raised or nothing happens.
                    let content = self.fixture.content(&window);
                    let label = (f64::from(content.x + content.w / 2), f64::from(content.y - 8));
                    self.fixture.motion(label.0, label.1);
                    self.fixture.button(LEFT, true);
                    self.fixture.motion(x.into(), y.into());
                    self.fixture.button(LEFT, false);
                    (0..3).for_each(|vm| self.put(vm));
                }
            }
            Step::Wait(time) => self.pass(time),
            Step::Lure(window, size, hand, at) => {
                self.pass(50);
                self.step(Step::Grow(window, size))?;
                self.pass(20);
                self.judge(hand, at)?;
            }
            Step::Hand(hand, at) => self.judge(hand, at)?,
        }
        Ok(())
    }

    /// Does something at a place; who got it was seen there, in every picture of the guard's time.
    fn judge(&mut self, hand: Hand, at: (i32, i32)) -> Result<(), TestCaseError> {
        for client in self.clients {
            self.fixture.log(client);
        }
        let place = (f64::from(at.0), f64::from(at.1));
        let frame = match self.fixture.state.core.hit(place.into()) {
            Hit::Label(id) | Hit::Button(id, _) => Some(id),
            Hit::Band(id, edges) if !edges.is_empty() => Some(id),
            _ => None,
        };
        act(&mut self.fixture, hand, place);
        let now = self.fixture.state.core.clock.now();
        let logs = self.clients.map(|client| self.fixture.log(client));
        for (vm, log) in logs.iter().enumerate().filter(|(_, log)| done_to(log)) {
            let since = now.saturating_sub(GUARD).max(self.put[vm]);
            let pictures = self.drawn.iter().filter(|(drawn, _)| *drawn > since);
            for (drawn, picture) in pictures {
                let seen = picture.at(at.0, at.1);
                let other = (0..3).find(|other| *other != vm && COLOURS[*other] == seen);
                prop_assert_eq!(
                    other,
                    None,
                    "VM {} got {:?} at {:?}, where another VM was seen {:?} before: {}",
                    vm,
                    hand,
                    at,
                    now.saturating_sub(*drawn),
                    log
                );
            }
        }
        // A press has raised what it was on, also by its frame, of which no client is told.
        let core = &self.fixture.state.core;
        let raised = frame.filter(|id| core.input.focus() == Some(*id) && !matches!(hand, Hand::Wheel));
        let raised = raised.and_then(|id| core.windows.get(id));
        let of = |vm: &ClientId| raised.is_some_and(|window| window.vm == self.fixture.client(*vm).vm);
        if let Some(vm) = self.clients.iter().position(of) {
            self.put(vm);
        }
        (0..3)
            .filter(|vm| done_to(&logs[*vm]))
            .for_each(|vm| self.put(vm));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_hand_reaches_another_vm_than_the_one_that_was_seen(steps in proptest::collection::vec(step(), 10..50)) {
        let mut world = World::new();
        world.pass(400);
        for step in steps {
            world.step(step)?;
        }
    }
}
