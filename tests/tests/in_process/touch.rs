// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fingers: who is told of them, and what they do to windows.

use std::time::Duration;

use heraldry_compositor::input::Touch;
use heraldry_tests::colour::Colour;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, Window};
use insta::assert_snapshot;

/// A client that takes touches with its window, which has been there for a while.
fn touchable(fixture: &mut Fixture, vm: &str) -> (ClientId, Window) {
    let client = fixture.add_gated_client(vm);
    let _touch = fixture.client(client).take_touch();
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    fixture.log(client);
    (client, window)
}

/// A place in a window's content.
fn inside(fixture: &Fixture, window: &Window, x: i32, y: i32) -> (f64, f64) {
    let area = fixture.content(window);
    (f64::from(area.x + x), f64::from(area.y + y))
}

fn down(fixture: &mut Fixture, finger: u32, at: (f64, f64)) {
    fixture.touch(Touch::Down(finger, at.into()));
}

fn moves(fixture: &mut Fixture, finger: u32, at: (f64, f64)) {
    fixture.touch(Touch::Motion(finger, at.into()));
}

fn two_vms() -> (Fixture, [ClientId; 2], [Window; 2]) {
    let mut fixture = Fixture::default();
    fixture.offer_touch(true);
    let (work, first) = touchable(&mut fixture, "work");
    let (personal, second) = touchable(&mut fixture, "personal");
    fixture.log(work);
    (fixture, [work, personal], [first, second])
}

#[test]
fn seats_can_be_touched_while_there_is_a_device() {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    assert_eq!(fixture.log(client), "", "no device");
    fixture.offer_touch(true);
    assert_eq!(fixture.log(client), "can touch");
    let _touch = fixture.client(client).take_touch();
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    fixture.log(client);
    let at = inside(&fixture, &window, 10, 10);
    down(&mut fixture, 0, at);
    fixture.touch(Touch::Cancel);
    fixture.offer_touch(false);
    assert_snapshot!(fixture.log(client), @r"
    keyboard enters w1 []
    finger 0 on w1 10,10
    touch frame
    finger 0 at 10,10
    touch cancelled
    can touch no more
    ");
}

#[test]
fn a_finger_is_its_client_s_until_it_is_lifted_wherever_it_goes() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let (start, over) = (inside(&fixture, &first, 10, 20), inside(&fixture, &second, 5, 5));
    down(&mut fixture, 7, start);
    moves(&mut fixture, 7, (start.0 + 3.0, start.1 + 4.0));
    moves(&mut fixture, 7, over);
    fixture.touch(Touch::Up(7));
    assert_snapshot!(fixture.log(work), @r"
    keyboard enters w1 []
    finger 0 on w1 10,20
    touch frame
    finger 0 at 13,24
    touch frame
    finger 0 at 333,5
    touch frame
    finger 0 up
    touch frame
    ");
    assert_eq!(fixture.log(personal), "", "another VM hears nothing of it");
}

#[test]
fn fingers_elsewhere_show_neither_as_events_nor_as_gaps() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let own = inside(&fixture, &first, 10, 20);
    let foreign = inside(&fixture, &second, 5, 5);
    down(&mut fixture, 0, own);
    fixture.log(work);
    down(&mut fixture, 1, foreign);
    down(&mut fixture, 2, (own.0 + 50.0, own.1));
    moves(&mut fixture, 1, (foreign.0 + 1.0, foreign.1));
    fixture.touch(Touch::Up(1));
    fixture.touch(Touch::Up(2));
    fixture.touch(Touch::Up(0));
    assert_eq!(fixture.log(personal), "");
    assert_snapshot!(fixture.log(work), @r"
    finger 1 on w1 60,20
    touch frame
    finger 1 up
    touch frame
    finger 0 up
    touch frame
    ");
}

#[test]
fn a_window_that_came_under_the_finger_a_moment_ago_gets_no_tap() {
    let mut fixture = Fixture::default();
    fixture.offer_touch(true);
    let (work, first) = touchable(&mut fixture, "work");
    fixture.focus(&first);
    let other = fixture.add_gated_client("personal");
    let _touch = fixture.client(other).take_touch();
    let popped_up = fixture.window(other, (300, 200), CYAN);
    let at = inside(&fixture, &popped_up, 100, 100);
    fixture.advance(Duration::from_millis(250));
    fixture.log(other);
    fixture.log(work);
    down(&mut fixture, 0, at);
    fixture.touch(Touch::Up(0));
    assert_eq!(fixture.log(other), "", "neither the tap nor the keyboard");
    assert_eq!(fixture.log(work), "");
    fixture.advance(Duration::from_millis(100));
    down(&mut fixture, 0, at);
    assert_snapshot!(fixture.log(other), @r"
    keyboard enters w1 []
    finger 0 on w1 100,100
    touch frame
    ");
}

#[test]
fn a_window_that_grew_under_the_finger_gets_no_tap_either() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    fixture.focus(&first);
    let edge = inside(&fixture, &second, 350, 100);
    fixture.draw(&second, (400, 200), CYAN);
    fixture.focus(&first);
    fixture.log(work);
    fixture.log(personal);
    let owner = fixture.state.core.owner_at(edge.into());
    assert_eq!(owner.map(|vm| vm.to_string()).as_deref(), Some("personal"));
    fixture.frame();
    fixture.advance(Duration::from_millis(290));
    down(&mut fixture, 0, edge);
    fixture.touch(Touch::Up(0));
    assert_eq!(fixture.log(personal), "");
    fixture.advance(Duration::from_millis(11));
    down(&mut fixture, 0, edge);
    assert!(fixture.log(personal).contains("finger 0 on"));
}

#[test]
fn a_finger_moves_a_window_by_its_label() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let content = fixture.content(&first);
    let label = inside(&fixture, &first, 150, -10);
    down(&mut fixture, 0, label);
    moves(&mut fixture, 0, (label.0 + 30.0, label.1 + 40.0));
    fixture.touch(Touch::Up(0));
    moves(&mut fixture, 0, (label.0 + 300.0, label.1 + 300.0));
    let moved = fixture.content(&first);
    assert_eq!((moved.x - content.x, moved.y - content.y), (30, 40));
    assert!(!fixture.log(work).contains("finger"));
}

#[test]
fn a_client_that_knows_only_pointers_gets_one() {
    let mut fixture = Fixture::default();
    fixture.offer_touch(true);
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.advance(Duration::from_secs(10));
    fixture.log(client);
    let at = inside(&fixture, &window, 10, 20);
    down(&mut fixture, 0, at);
    down(&mut fixture, 1, (at.0 + 30.0, at.1));
    moves(&mut fixture, 0, (at.0 + 5.0, at.1));
    fixture.touch(Touch::Up(1));
    fixture.touch(Touch::Up(0));
    assert_snapshot!(fixture.log(client), @r"
    pointer enters w1 10,20
    keyboard enters w1 []
    pointer at 10,20
    button 272 down
    pointer at 15,20
    button 272 up
    pointer leaves w1
    ");
}

#[test]
fn a_client_moves_its_window_with_the_finger_that_is_on_it() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let content = fixture.content(&first);
    let at = inside(&fixture, &first, 40, 40);
    down(&mut fixture, 0, at);
    fixture.settle();
    let client = fixture.client(work);
    first
        .toplevel
        ._move(&client.bound().seat, client.seen.press_serial);
    fixture.log(work);
    moves(&mut fixture, 0, (at.0 + 25.0, at.1 + 15.0));
    let moved = fixture.content(&first);
    assert_eq!((moved.x - content.x, moved.y - content.y), (25, 15));
    fixture.touch(Touch::Up(0));
    moves(&mut fixture, 0, (at.0 + 250.0, at.1));
    assert_eq!(fixture.content(&first).x, moved.x);
    assert_eq!(fixture.log(work), "", "the finger is not its own any more");
    // A serial of a finger that is up moves nothing.
    let client = fixture.client(work);
    first
        .toplevel
        ._move(&client.bound().seat, client.seen.press_serial);
    fixture.settle();
    fixture.motion(at.0 + 400.0, at.1);
    assert_eq!(fixture.content(&first).x, moved.x);
}

#[test]
fn a_client_that_does_not_answer_hears_the_last_place_only() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let at = inside(&fixture, &first, 10, 10);
    fixture.client_mut(work).seen.mute = true;
    down(&mut fixture, 0, at);
    moves(&mut fixture, 0, (at.0 + 1.0, at.1));
    fixture.advance(Duration::from_millis(600));
    fixture.log(work);
    for step in 2..100 {
        moves(&mut fixture, 0, (at.0 + f64::from(step), at.1));
    }
    assert_eq!(fixture.log(work), "");
    fixture.touch(Touch::Up(0));
    assert_snapshot!(fixture.log(work), @r"
    finger 0 at 109,10
    finger 0 up
    touch frame
    ");
}

#[test]
fn the_pointer_is_not_drawn_for_fingers() {
    let (mut fixture, _, [first, second]) = two_vms();
    let (x, y) = inside(&fixture, &second, 100, 100);
    fixture.motion(x, y);
    let with = fixture.picture();
    let at = inside(&fixture, &first, 10, 10);
    down(&mut fixture, 0, at);
    fixture.touch(Touch::Up(0));
    fixture.focus(&second);
    let without = fixture.picture();
    assert!(with != without, "it was there");
    fixture.motion(x, y);
    assert!(fixture.picture() != without, "and is there again");
}

/// What is dragged is at the finger that drags it, in the frame of its VM, and not where a mouse was left.
#[test]
fn a_picture_that_is_dragged_goes_with_the_finger() {
    let (mut fixture, [work, _], [window, _]) = two_vms();
    fixture.motion(1200.0, 700.0);
    let from = inside(&fixture, &window, 20, 20);
    down(&mut fixture, 0, from);
    fixture.touch(Touch::Frame);
    fixture.roundtrip(work);
    let icon = fixture.plain_surface(work);
    let this = fixture.client(work);
    let source = this.bound().data.create_data_source(&this.handle(), ());
    let (device, serial) = (&this.bound().data_device, this.seen.press_serial);
    device.start_drag(Some(&source), &window.surface, Some(&icon), serial);
    fixture.fill(work, &icon, (32, 32), CYAN);
    icon.commit();
    fixture.settle();
    for to in [(from.0 + 100.0, from.1 + 60.0), (900.0, 500.0)] {
        moves(&mut fixture, 0, to);
        fixture.touch(Touch::Frame);
        fixture.frame();
        let picture = fixture.shown();
        let near = |(x, y, colour): &(i32, i32, Colour)| {
            *colour == CYAN && (f64::from(*x) - to.0).abs() < 100.0 && (f64::from(*y) - to.1).abs() < 100.0
        };
        assert_eq!(picture.iter().filter(near).count(), 32 * 32);
        assert_eq!(
            picture.iter().filter(|(_, _, colour)| *colour == CYAN).count(),
            32 * 32
        );
    }
    fixture.touch(Touch::Up(0));
    fixture.frame();
    assert_eq!(
        fixture
            .shown()
            .iter()
            .filter(|(_, _, colour)| *colour == CYAN)
            .count(),
        0
    );
}
