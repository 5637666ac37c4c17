// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pens of graphics tablets: who is told of them, and what they do to windows.

use std::time::Duration;

use heraldry_compositor::input::{Axes, Stroke};
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, Window};
use insta::assert_snapshot;
use smithay::backend::input::ButtonState;

const BTN_STYLUS: u32 = 0x14b;

/// A client that takes tablets with its window, which has been there for a while.
fn artist(fixture: &mut Fixture, vm: &str) -> (ClientId, Window) {
    let client = fixture.add_gated_client(vm);
    let _seat = fixture.client(client).take_pens();
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    (client, window)
}

fn inside(fixture: &Fixture, window: &Window, x: i32, y: i32) -> (f64, f64) {
    let area = fixture.content(window);
    (f64::from(area.x + x), f64::from(area.y + y))
}

fn pressed(pressure: f64) -> Axes {
    Axes {
        pressure: Some(pressure),
        ..Axes::default()
    }
}

fn hover(fixture: &mut Fixture, at: (f64, f64)) {
    fixture.pen(at, Axes::default(), Stroke::Hover);
}

fn two_vms() -> (Fixture, [ClientId; 2], [Window; 2]) {
    let mut fixture = Fixture::default();
    fixture.offer_pen(true);
    let (work, first) = artist(&mut fixture, "work");
    let (personal, second) = artist(&mut fixture, "personal");
    fixture.log(work);
    fixture.log(personal);
    (fixture, [work, personal], [first, second])
}

#[test]
fn a_client_draws_with_pressure_and_tilt() {
    let mut fixture = Fixture::default();
    let (client, window) = artist(&mut fixture, "work");
    assert_eq!(fixture.log(client), "", "there is no tablet");
    fixture.offer_pen(true);
    let at = inside(&fixture, &window, 10, 20);
    hover(&mut fixture, at);
    let tilted = Axes {
        tilt: Some((10.0, -5.0)),
        ..pressed(0.5)
    };
    fixture.pen(at, tilted, Stroke::Down);
    fixture.pen((at.0 + 5.0, at.1 + 6.0), pressed(1.0), Stroke::Hover);
    fixture.pen((at.0 + 5.0, at.1 + 6.0), pressed(0.0), Stroke::Up);
    fixture.pen(at, Axes::default(), Stroke::Away);
    assert_snapshot!(fixture.log(client), @r#"
    a tablet
    tablet: Name { name: "tablet" }
    a tool
    tool: Pen
    tool: Capability { capability: Value(Pressure) }
    tool: Capability { capability: Value(Tilt) }
    pen over w1
    pen at 10,20
    pen at 10,20
    pressure 32768
    tilt 10,-5
    keyboard enters w1 []
    pen down
    pen at 15,26
    pressure 65535
    pen at 15,26
    pressure 0
    pen up
    pen away
    "#);
}

#[test]
fn who_the_tip_is_on_has_the_pen_until_it_is_lifted() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let (start, over) = (inside(&fixture, &first, 10, 20), inside(&fixture, &second, 5, 5));
    hover(&mut fixture, start);
    fixture.pen(start, pressed(0.5), Stroke::Down);
    fixture.log(work);
    fixture.pen(over, pressed(0.5), Stroke::Hover);
    assert_eq!(
        fixture.log(personal),
        "",
        "another VM hears nothing, not even of a tool"
    );
    fixture.pen(over, pressed(0.0), Stroke::Up);
    assert_snapshot!(fixture.log(work), @r"
    pen at 333,5
    pressure 32768
    pen at 333,5
    pressure 0
    pen up
    ");
    hover(&mut fixture, over);
    assert_snapshot!(fixture.log(personal), @r"
    a tool
    tool: Pen
    tool: Capability { capability: Value(Pressure) }
    tool: Capability { capability: Value(Tilt) }
    pen over w1
    pen at 5,5
    ");
    assert_eq!(fixture.log(work), "pen away");
}

#[test]
fn a_pen_s_button_is_released_where_it_was_pressed() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let (start, over) = (inside(&fixture, &first, 10, 20), inside(&fixture, &second, 5, 5));
    hover(&mut fixture, start);
    fixture.log(work);
    fixture.pen(
        start,
        Axes::default(),
        Stroke::Button(BTN_STYLUS, ButtonState::Pressed),
    );
    fixture.pen(
        over,
        Axes::default(),
        Stroke::Button(BTN_STYLUS, ButtonState::Released),
    );
    assert_eq!(fixture.log(personal), "");
    assert_snapshot!(fixture.log(work), @r"
    pen at 10,20
    keyboard enters w1 []
    pen's button 331 Pressed
    pen at 333,5
    pen's button 331 Released
    ");
}

#[test]
fn a_window_that_has_just_come_gets_neither_tip_nor_keyboard() {
    let mut fixture = Fixture::default();
    fixture.offer_pen(true);
    let (_, first) = artist(&mut fixture, "work");
    fixture.focus(&first);
    let other = fixture.add_gated_client("personal");
    let _seat = fixture.client(other).take_pens();
    let window = fixture.window(other, (300, 200), CYAN);
    fixture.advance(Duration::from_millis(250));
    let at = inside(&fixture, &window, 100, 100);
    fixture.log(other);
    fixture.pen(at, pressed(0.5), Stroke::Down);
    fixture.pen(at, pressed(0.0), Stroke::Up);
    let log = fixture.log(other);
    assert!(
        log.contains("pen over") && !log.contains("pen down") && !log.contains("keyboard"),
        "{log}"
    );
    fixture.advance(Duration::from_millis(100));
    fixture.pen(at, pressed(0.5), Stroke::Down);
    let log = fixture.log(other);
    assert!(
        log.contains("pen down") && log.contains("keyboard enters"),
        "{log}"
    );
}

#[test]
fn elsewhere_a_pen_is_the_pointer() {
    let mut fixture = Fixture::default();
    fixture.offer_pen(true);
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    fixture.log(client);
    let at = inside(&fixture, &window, 10, 20);
    fixture.pen(at, pressed(0.5), Stroke::Down);
    fixture.pen(at, pressed(0.0), Stroke::Up);
    fixture.pen(
        at,
        Axes::default(),
        Stroke::Button(BTN_STYLUS, ButtonState::Pressed),
    );
    fixture.pen(at, Axes::default(), Stroke::Away);
    assert_snapshot!(fixture.log(client), @r"
    pointer enters w1 10,20
    keyboard enters w1 []
    pointer at 10,20
    button 272 down
    pointer at 10,20
    button 272 up
    pointer at 10,20
    pointer at 10,20
    pointer at 10,20
    button 273 down
    button 273 up
    pointer at 10,20
    ");
    // And drags a window by its label.
    let content = fixture.content(&window);
    let label = inside(&fixture, &window, 150, -10);
    fixture.pen(label, pressed(0.5), Stroke::Down);
    fixture.pen((label.0 + 30.0, label.1 + 40.0), pressed(0.5), Stroke::Hover);
    fixture.pen((label.0 + 30.0, label.1 + 40.0), pressed(0.0), Stroke::Up);
    let moved = fixture.content(&window);
    assert_eq!((moved.x - content.x, moved.y - content.y), (30, 40));
}

#[test]
fn a_client_moves_its_window_with_the_pen_that_is_on_it() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let content = fixture.content(&first);
    let at = inside(&fixture, &first, 40, 40);
    fixture.pen(at, pressed(0.5), Stroke::Down);
    let client = fixture.client(work);
    first
        .toplevel
        ._move(&client.bound().seat, client.seen.press_serial);
    assert!(fixture.log(work).ends_with("pen up\npen away"));
    fixture.pen((at.0 + 25.0, at.1 + 15.0), pressed(0.5), Stroke::Hover);
    let moved = fixture.content(&first);
    assert_eq!((moved.x - content.x, moved.y - content.y), (25, 15));
    fixture.pen((at.0 + 25.0, at.1 + 15.0), pressed(0.0), Stroke::Up);
    let client = fixture.client(work);
    first
        .toplevel
        ._move(&client.bound().seat, client.seen.press_serial);
    fixture.settle();
    hover(&mut fixture, (at.0 + 200.0, at.1));
    assert_eq!(fixture.content(&first).x, moved.x, "the tip is up");
}

#[test]
fn the_mouse_has_the_pointer_while_a_pen_lies_on_the_tablet() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let at = inside(&fixture, &first, 40, 40);
    hover(&mut fixture, at);
    fixture.log(work);
    fixture.motion(at.0 + 1.0, at.1);
    assert_snapshot!(fixture.log(work), @r"
    pen away
    pointer enters w1 41,40
    ");
    hover(&mut fixture, at);
    assert_snapshot!(fixture.log(work), @r"
    pointer leaves w1
    pen over w1
    pen at 40,40
    ");
}

#[test]
fn a_pen_is_a_cross_where_a_client_has_it() {
    let (mut fixture, _, [first, _]) = two_vms();
    let at = inside(&fixture, &first, 100, 100);
    fixture.motion(at.0, at.1);
    let arrow = fixture.picture();
    hover(&mut fixture, at);
    assert!(fixture.picture() != arrow);
}

#[test]
fn a_second_pen_does_not_mix_into_the_stroke_of_the_first() {
    let (mut fixture, [work, _], [first, second]) = two_vms();
    let (at, other) = (
        inside(&fixture, &first, 40, 40),
        inside(&fixture, &second, 40, 40),
    );
    fixture.pen_on(1, at, pressed(0.5), Stroke::Down);
    fixture.log(work);
    fixture.pen_on(2, other, pressed(0.5), Stroke::Down);
    fixture.pen_on(2, other, pressed(0.0), Stroke::Up);
    fixture.pen_on(2, other, Axes::default(), Stroke::Away);
    assert_eq!(fixture.log(work), "", "the first draws on");
    fixture.pen_on(1, (at.0 + 1.0, at.1), pressed(0.5), Stroke::Hover);
    assert!(fixture.log(work).contains("pen at 41,40"));
    fixture.pen_on(1, at, pressed(0.0), Stroke::Up);
    assert!(fixture.log(work).contains("pen up"));
}

#[test]
fn a_button_that_a_pen_and_the_mouse_hold_is_down_until_both_let_go() {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    let at = inside(&fixture, &window, 40, 40);
    fixture.motion(at.0, at.1);
    fixture.button(0x110, true);
    fixture.log(client);
    fixture.pen(at, pressed(0.5), Stroke::Down);
    fixture.pen(at, pressed(0.0), Stroke::Up);
    assert!(
        !fixture.log(client).contains("button"),
        "the mouse still holds it"
    );
    fixture.button(0x110, false);
    assert!(fixture.log(client).contains("button 272 up"));
    // Two buttons of the pen are one of a mouse.
    for (code, state, says) in [
        (0x14c, ButtonState::Pressed, "button 274 down"),
        (0x149, ButtonState::Pressed, ""),
        (0x14c, ButtonState::Released, ""),
        (0x149, ButtonState::Released, "button 274 up"),
    ] {
        fixture.pen(at, Axes::default(), Stroke::Button(code, state));
        let log = fixture.log(client);
        let buttons: Vec<_> = log.lines().filter(|line| line.starts_with("button")).collect();
        assert_eq!(buttons.join(","), says);
    }
}

#[test]
fn a_pen_s_wheel_reaches_no_vm_that_came_under_it_a_moment_ago() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let at = inside(&fixture, &first, 10, 20);
    let place = fixture.content(&first);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(second.id, (place.x, place.y).into());
    fixture.focus(&second);
    fixture.advance(Duration::from_secs(10));
    let turned = Axes {
        wheel: Some((15.0, 1)),
        ..Axes::default()
    };
    hover(&mut fixture, at);
    fixture.pen(at, turned, Stroke::Hover);
    assert!(fixture.log(personal).contains("wheel"), "it is seen there");
    second.surface.attach(None, 0, 0);
    second.surface.commit();
    fixture.settle();
    fixture.advance(Duration::from_millis(250));
    fixture.log(work);
    // Smithay tells what a pen did as it came with its next motion.
    fixture.pen((at.0 + 1.0, at.1), turned, Stroke::Hover);
    hover(&mut fixture, at);
    let log = fixture.log(work);
    assert!(log.contains("pen over") && !log.contains("wheel"), "{log}");
    fixture.advance(Duration::from_secs(10));
    fixture.pen(at, turned, Stroke::Hover);
    assert!(fixture.log(work).contains("wheel"));
}
