// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who gets the keyboard and the pointer.

use std::time::Duration;

use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{CONFIG, ClientId, Fixture, LEFT, Setup, Window};
use insta::assert_snapshot;

const KEY_A: u32 = 30;
const KEY_SHIFT: u32 = 42;

fn two_vms() -> (Fixture, [ClientId; 2], [Window; 2]) {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    let (work, personal) = (fixture.add_client("work"), fixture.add_client("personal"));
    let first = fixture.window(work, (300, 200), MAGENTA);
    let second = fixture.window(personal, (300, 200), CYAN);
    fixture.advance(Duration::from_secs(10));
    for client in [work, personal] {
        fixture.log(client);
    }
    (fixture, [work, personal], [first, second])
}

fn middle(fixture: &Fixture, window: &Window) -> (f64, f64) {
    let area = fixture.content(window);
    (f64::from(area.x + area.w / 2), f64::from(area.y + area.h / 2))
}

#[test]
fn keys_that_are_held_at_a_switch_never_reach_the_new_vm() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    fixture.focus(&first);
    fixture.key(KEY_SHIFT, true);
    fixture.key(KEY_A, true);
    fixture.focus(&second);
    fixture.key(KEY_A, false);
    fixture.key(KEY_SHIFT, false);
    assert_snapshot!(fixture.log(work), @r"
    keyboard enters w1 []
    no selection
    key 42 down
    modifiers 1
    key 30 down
    keyboard leaves w1
    ");
    assert_snapshot!(fixture.log(personal), @r"
    keyboard enters w1 []
    no selection
    ");
    // Back home nothing is stuck.
    fixture.focus(&first);
    assert_snapshot!(fixture.log(work), @r"
    keyboard enters w1 []
    no selection
    ");
}

#[test]
fn a_window_that_appears_takes_no_focus_from_another_vm() {
    let (mut fixture, [work, personal], [first, _]) = two_vms();
    fixture.focus(&first);
    fixture.log(work);
    fixture.window(personal, (200, 100), CYAN);
    assert_snapshot!(fixture.log(work), @"");
    assert_snapshot!(fixture.log(personal), @"");
    // A dialog of the same VM may have it.
    let dialog = fixture.window(work, (200, 100), CYAN);
    assert_snapshot!(fixture.log(work), @r"
    keyboard leaves w1
    keyboard enters w2 []
    ");
    assert_eq!(fixture.state.core.input.focus(), Some(dialog.id));
}

#[test]
fn without_a_focus_a_new_window_takes_it_only_if_the_configuration_says_so() {
    let (fixture, ..) = two_vms();
    assert_eq!(fixture.state.core.input.focus(), None);

    let mut fixture = Fixture::new(&Setup {
        config: CONFIG.replace("schema 1", "schema 1\ndefaults { focus { on-map #true; }; }"),
        pixels: false,
        ..Setup::default()
    });
    let (work, personal) = (fixture.add_client("work"), fixture.add_client("personal"));
    let first = fixture.window(work, (300, 200), MAGENTA);
    fixture.window(personal, (300, 200), CYAN);
    assert_eq!(fixture.state.core.input.focus(), Some(first.id));
}

#[test]
fn a_click_on_a_fresh_window_of_another_vm_reaches_nobody() {
    let (mut fixture, [work, personal], [first, _]) = two_vms();
    fixture.focus(&first);
    fixture.log(work);
    let fresh = fixture.window(personal, (200, 100), CYAN);
    let (x, y) = middle(&fixture, &fresh);
    fixture.click(x, y);
    assert_eq!(fixture.state.core.input.focus(), Some(first.id));
    let told = fixture.log(personal);
    assert!(!told.contains("button") && !told.contains("keyboard"), "{told}");
    assert_eq!(fixture.log(work), "");
    fixture.advance(Duration::from_millis(400));
    fixture.click(x, y);
    assert_eq!(fixture.state.core.input.focus(), Some(fresh.id));
    assert_snapshot!(fixture.log(personal), @r"
    pointer at 100,50
    keyboard enters w2 []
    no selection
    pointer at 100,50
    button 272 down
    button 272 up
    pointer at 100,50
    ");
}

#[test]
fn a_click_through_an_empty_input_region_reaches_nobody_below() {
    let (mut fixture, [work, personal], [lower, upper]) = two_vms();
    let at = fixture.content(&lower);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(upper.id, (at.x, at.y).into());
    fixture.focus(&upper);
    let this = fixture.client(personal);
    let empty = this.bound().compositor.create_region(&this.handle(), ());
    upper.surface.set_input_region(Some(&empty));
    upper.surface.commit();
    fixture.settle();
    fixture.log(work);
    fixture.log(personal);
    let (x, y) = middle(&fixture, &upper);
    fixture.click(x, y);
    assert_eq!(fixture.log(work), "", "the lower window");
    assert_eq!(fixture.log(personal), "", "the upper window wants no input");
    assert_eq!(fixture.state.core.input.focus(), Some(upper.id));
}

#[test]
fn a_button_that_is_held_keeps_the_pointer_with_its_vm() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    let (x, y) = middle(&fixture, &first);
    fixture.motion(x, y);
    fixture.button(LEFT, true);
    let (x, y) = middle(&fixture, &second);
    fixture.motion(x, y);
    assert_eq!(fixture.log(personal), "", "while the button is held");
    fixture.button(LEFT, false);
    let told = fixture.log(work);
    assert!(told.contains("button 272 up"), "{told}");
    assert_snapshot!(fixture.log(personal), @"pointer enters w1 150,100");
}

#[test]
fn the_keyboard_goes_to_nobody_rather_than_to_another_vm() {
    let (mut fixture, [work, personal], [first, _]) = two_vms();
    fixture.focus(&first);
    fixture.log(personal);
    fixture.disconnect(work);
    fixture.settle();
    fixture.key(KEY_A, true);
    fixture.key(KEY_A, false);
    assert_eq!(fixture.log(personal), "");
    assert_eq!(fixture.state.core.input.focus(), None);
}

#[test]
fn a_client_that_is_let_go_outside_learns_that_the_pointer_left() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let (x, y) = middle(&fixture, &first);
    fixture.motion(x, y);
    fixture.button(LEFT, true);
    fixture.motion(1270.0, 790.0);
    fixture.log(work);
    fixture.button(LEFT, false);
    let log = fixture.log(work);
    assert!(log.contains("pointer leaves w1"), "{log}");
}

#[test]
fn a_window_that_grows_under_a_resting_pointer_gets_no_click_at_once() {
    let (mut fixture, [work, personal], [first, second]) = two_vms();
    fixture.focus(&second);
    let area = fixture.content(&first);
    // Below the first window, where nothing is yet.
    fixture.motion(f64::from(area.x + 50), f64::from(area.y + area.h + 150));
    fixture.draw(&first, (area.w, area.h + 300), MAGENTA);
    fixture.log(work);
    fixture.button(LEFT, true);
    fixture.button(LEFT, false);
    let log = fixture.log(work);
    assert!(
        !log.contains("button") && !log.contains("keyboard enters"),
        "{log}"
    );
    let log = fixture.log(personal);
    assert!(
        !log.contains("keyboard leaves"),
        "the keyboard stays where it was: {log}"
    );
    fixture.advance(Duration::from_secs(1));
    fixture.button(LEFT, true);
    fixture.button(LEFT, false);
    let log = fixture.log(work);
    assert!(log.contains("button"), "a deliberate click arrives: {log}");
}

#[test]
fn a_window_moves_only_with_a_button_that_is_held() {
    let (mut fixture, [work, _], [first, _]) = two_vms();
    let (x, y) = middle(&fixture, &first);
    fixture.click(x, y);
    let before = fixture.content(&first);
    let ask = |fixture: &mut Fixture| {
        let client = fixture.client(work);
        first
            .toplevel
            ._move(&client.bound().seat, client.seen.press_serial);
        fixture.roundtrip(work);
    };
    ask(&mut fixture);
    fixture.motion(x + 100.0, y + 50.0);
    assert_eq!(fixture.content(&first), before, "the button is up");
    fixture.motion(x, y);
    fixture.button(LEFT, true);
    fixture.settle();
    ask(&mut fixture);
    fixture.motion(x + 100.0, y + 50.0);
    assert_eq!(fixture.content(&first).x, before.x + 100, "the button is down");
    fixture.button(LEFT, false);
    fixture.motion(x, y);
    assert_eq!(
        fixture.content(&first).x,
        before.x + 100,
        "the button is up again"
    );
}
