// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys, clicks, serials and grabs: who gets what the user does.

use heraldry_compositor::control::protocol::{InputRequest, KeyAction, Request};
use heraldry_tests::client::raw::Arg::{I, S, U};
use heraldry_tests::client::raw::{Raw, RawWindow, Value};
use heraldry_tests::colour::key::{MAGENTA, YELLOW};
use heraldry_tests::rig::until;

use super::attack::Expect::Lives;
use super::attack::{Attack, Row, middle, row, wait_out_the_guard};

pub(crate) const ROWS: &[Row] = &[
    row("A14 window that appears under a click", under_a_click, Lives),
    row(
        "A43a keys held in the attacker's window at a switch",
        held_here,
        Lives,
    ),
    row(
        "A43b keys held in another VM's window at a switch",
        held_there,
        Lives,
    ),
    row(
        "A43c keyboard taken while another VM's key is down",
        taken_while_down,
        Lives,
    ),
    row("A45 key that repeats at a switch by click", repeats, Lives),
    row(
        "A46b twenty windows while somebody types elsewhere",
        steals_focus,
        Lives,
    ),
    row(
        "A46c windows mapped, unmapped and mapped again for the focus",
        maps_again,
        Lives,
    ),
    row("A46d parents and modes for the focus", tricks_for_focus, Lives),
    row("A47a 65,536 serials for a move", |a| guess(a, "move"), Lives),
    row("A47b 65,536 serials for a resize", |a| guess(a, "resize"), Lives),
    row(
        "A47c 65,536 serials for a drag",
        |a| guess(a, "start_drag"),
        Lives,
    ),
    row(
        "A47d 65,536 serials for the clipboard",
        |a| guess(a, "set_selection"),
        Lives,
    ),
    row(
        "A47e 65,536 serials for the pointer's picture",
        |a| guess(a, "set_cursor"),
        Lives,
    ),
    row("A47f popups that guess their grab", guessed_grabs, Lives),
    row(
        "A48a click on another VM while a menu has the input",
        |a| grab(a, false),
        Lives,
    ),
    row(
        "A48b keys for another VM while a menu has the input",
        keys_past_a_grab,
        Lives,
    ),
    row("A51a move without a press", |a| without_press(a, "move"), Lives),
    row(
        "A51b resize without a press",
        |a| without_press(a, "resize"),
        Lives,
    ),
    row(
        "A51c menu of the window without a press",
        |a| without_press(a, "show_window_menu"),
        Lives,
    ),
    row("A52a pointer over another VM's window", hover, Lives),
    row(
        "A52b pointer with a button that the attacker got",
        implicit_grab,
        Lives,
    ),
    row("A52c scrolling over another VM's window", scroll, Lives),
    row(
        "A56 client that stops reading with a menu open",
        |a| grab(a, true),
        Lives,
    ),
    row("A12 click through an empty input region", empty_region, Lives),
];

/// What of the attacker's input events begins with one of these.
fn told(raw: &Raw, names: &[&str]) -> Vec<String> {
    let mut events: Vec<String> = raw.events.iter().map(|event| event.name.clone()).collect();
    events.retain(|name| names.contains(&name.as_str()));
    events
}

#[track_caller]
fn assert_told_nothing(raw: &mut Raw, names: &[&str]) {
    raw.settle();
    let events = told(raw, names);
    assert!(events.is_empty(), "the attacker was told {events:?}");
}

/// A window with keyboard and pointer, and the keyboard's attention if wanted.
fn window(a: &mut Attack<'_>, focused: bool) -> RawWindow {
    a.raw.pointer();
    a.raw.keyboard();
    let window = a.raw.show((120, 80), MAGENTA);
    if focused {
        a.focus_attacker();
        a.raw
            .wait("the keyboard", |raw| !raw.told("wl_keyboard.enter").is_empty())
            .unwrap();
    } else {
        a.focus(a.honest_window);
    }
    a.raw.settle();
    a.raw.events.clear();
    window
}

const BUTTONS: &[&str] = &["wl_pointer.button", "wl_pointer.axis"];
const KEYS: &[&str] = &["wl_keyboard.key"];
const MOTION: &[&str] = &["wl_pointer.enter", "wl_pointer.motion", "wl_pointer.button"];

fn under_a_click(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    a.raw.pointer();
    a.raw.keyboard();
    // Where the window will be, found out with one like it.
    let first = a.raw.show((120, 80), MAGENTA);
    let (x, y) = middle(a.content());
    a.raw.send(first.surface, "attach", &[U(0), I(0), I(0)]);
    a.raw.send(first.surface, "commit", &[]);
    a.raw.settle();
    until("it is gone", || {
        a.windows().iter().all(|window| window.content.is_none())
    });
    a.focus(a.honest_window);
    a.point((x, y));
    a.raw.show((120, 80), MAGENTA);
    let content = a.windows().iter().find_map(|window| window.content).unwrap();
    assert!(
        (content.x..content.x + content.w).contains(&x),
        "it lies under the pointer"
    );
    a.rig.click(x, y);
    assert_told_nothing(&mut a.raw, BUTTONS);
    assert_told_nothing(&mut a.raw, &["wl_keyboard.enter"]);
}

fn held_here(a: &mut Attack<'_>) {
    window(a, true);
    a.key("Shift_L", KeyAction::Press);
    a.key("x", KeyAction::Press);
    a.focus(a.honest_window);
    a.key("x", KeyAction::Release);
    a.key("Shift_L", KeyAction::Release);
    a.raw.settle();
    let releases = a
        .raw
        .told("wl_keyboard.key")
        .iter()
        .filter(|event| event.uint(3) == 0)
        .count();
    assert_eq!(releases, 0, "what happens after the switch is nobody's");
}

fn held_there(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    window(a, false);
    a.key("Shift_L", KeyAction::Press);
    a.key("x", KeyAction::Press);
    a.focus_attacker();
    a.raw
        .wait("the keyboard", |raw| !raw.told("wl_keyboard.enter").is_empty())
        .unwrap();
    a.key("x", KeyAction::Release);
    a.key("Shift_L", KeyAction::Release);
    assert_told_nothing(&mut a.raw, KEYS);
    let enter = a.raw.told("wl_keyboard.enter").pop().unwrap().clone();
    assert_eq!(
        enter.args.get(2),
        Some(&Value::Bytes(Vec::new())),
        "no key is down for it"
    );
    let modifiers = a
        .raw
        .told("wl_keyboard.modifiers")
        .iter()
        .any(|event| event.uint(1) != 0);
    assert!(!modifiers, "nor a modifier");
}

fn taken_while_down(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    window(a, false);
    a.key("x", KeyAction::Press);
    a.focus_attacker();
    a.raw.settle();
    a.raw.events.clear();
    a.raw.keyboard();
    a.raw.settle();
    for enter in a.raw.told("wl_keyboard.enter") {
        assert_eq!(
            enter.args.get(2),
            Some(&Value::Bytes(Vec::new())),
            "no key is down for it"
        );
    }
    a.key("x", KeyAction::Release);
    assert_told_nothing(&mut a.raw, KEYS);
}

fn repeats(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key", "wl_pointer."]);
    window(a, false);
    a.key("Return", KeyAction::Press);
    wait_out_the_guard();
    let (x, y) = middle(a.content());
    a.rig.click(x, y);
    a.raw.wait("a click", |raw| raw.pressed() != 0).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    a.key("Return", KeyAction::Release);
    assert_told_nothing(&mut a.raw, KEYS);
}

fn steals_focus(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    a.raw.keyboard();
    a.focus(a.honest_window);
    let mut typist = a.honest();
    typist.keyboard();
    let own = typist.show((60, 40), YELLOW);
    typist.events.clear();
    for _ in 0..20 {
        a.rig.type_text("ab");
        a.raw.show((60, 40), MAGENTA);
        a.rig.type_text("c");
    }
    typist.settle();
    let arrived = typist.told("wl_keyboard.key").len();
    assert_eq!(
        arrived,
        2 * 60,
        "each key, pressed and released, arrives where it was typed"
    );
    assert_told_nothing(&mut a.raw, &["wl_keyboard.key", "wl_keyboard.enter"]);
    typist.send(own.toplevel, "destroy", &[]);
    typist.settle();
}

fn maps_again(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    let window = window(a, false);
    for _ in 0..10 {
        a.raw.send(window.surface, "attach", &[U(0), I(0), I(0)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        a.raw.draw(window, (120, 80), MAGENTA);
        a.rig.type_text("x");
    }
    assert_told_nothing(&mut a.raw, &["wl_keyboard.key", "wl_keyboard.enter"]);
}

fn tricks_for_focus(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    let first = window(a, false);
    let second = a.raw.show((60, 40), MAGENTA);
    a.raw.send(second.toplevel, "set_parent", &[U(first.toplevel)]);
    for request in ["set_maximized", "unset_maximized", "set_minimized"] {
        a.raw.send(second.toplevel, request, &[]);
        a.raw.send(first.toplevel, request, &[]);
        a.raw.settle();
        a.rig.type_text("x");
    }
    a.raw.send(first.toplevel, "set_fullscreen", &[U(0)]);
    a.raw.send(first.toplevel, "set_app_id", &[S("vault")]);
    a.raw.draw(first, (640, 480), MAGENTA);
    a.rig.type_text("x");
    assert_told_nothing(&mut a.raw, &["wl_keyboard.key", "wl_keyboard.enter"]);
}

/// Every serial of 16 bits, and what comes of it: nothing.
fn guess(a: &mut Attack<'_>, request: &str) {
    let window = window(a, false);
    let seat = a.raw.global("wl_seat");
    let (device, pointer) = (a.raw.data_device(), a.raw.pointer());
    let (source, icon) = (a.raw.source("text/plain"), a.raw.surface());
    let before = a.only_window().content;
    for serial in 0..1 << 16 {
        match request {
            "move" => a.raw.send(window.toplevel, request, &[U(seat), U(serial)]),
            "resize" => a.raw.send(window.toplevel, request, &[U(seat), U(serial), U(10)]),
            "start_drag" => {
                let args = [U(0), U(window.surface), U(0), U(serial)];
                a.raw.send(device, request, &args)
            }
            "set_selection" => a.raw.send(device, request, &[U(0), U(serial)]),
            _ => a.raw.send(pointer, request, &[U(serial), U(icon), I(0), I(0)]),
        };
    }
    a.raw.settle();
    a.honest_may_see(&["wl_pointer."]);
    for at in [(600, 30), (30, 400), (320, 240)] {
        a.point(at);
    }
    assert_eq!(a.only_window().content, before, "nothing hangs on the pointer");
    assert_told_nothing(
        &mut a.raw,
        &[
            "wl_data_device.enter",
            "wl_data_source.cancelled",
            "wl_data_device.data_offer",
        ],
    );
    a.raw.send(source, "destroy", &[]);
}

fn guessed_grabs(a: &mut Attack<'_>) {
    let window = window(a, true);
    let seat = a.raw.global("wl_seat");
    for serial in 0..64 {
        let popup = a.raw.popup(window.xdg, (10, 10), (30, 30));
        a.raw.send(popup.popup, "grab", &[U(seat), U(serial)]);
        a.raw.send(popup.surface, "commit", &[]);
        a.raw.settle();
        a.raw.send(popup.popup, "destroy", &[]);
        a.raw.send(popup.xdg, "destroy", &[]);
        a.raw.send(popup.surface, "destroy", &[]);
    }
    let refused = a.raw.told("xdg_popup.popup_done").len();
    assert_eq!(refused, 64, "no serial opens a menu that takes the input");
}

/// A menu that has the input, and its window.
fn menu(a: &mut Attack<'_>) -> RawWindow {
    let window = a.clicked_window((120, 80));
    let seat = a.raw.global("wl_seat");
    let popup = a.raw.popup(window.xdg, (10, 10), (40, 40));
    let serial = a.raw.pressed();
    a.raw.send(popup.popup, "grab", &[U(seat), U(serial)]);
    a.raw.show_popup(popup, (40, 40), YELLOW);
    assert!(a.raw.told("xdg_popup.popup_done").is_empty(), "the menu is open");
    window
}

fn grab(a: &mut Attack<'_>, deaf: bool) {
    a.honest_may_see(&["wl_pointer."]);
    menu(a);
    let mut honest = a.honest();
    honest.pointer();
    honest.show((60, 40), YELLOW);
    let id = a
        .rig
        .windows()
        .into_iter()
        .find(|window| window.vm == super::attack::HONEST && window.id != a.honest_window);
    let (x, y) = middle(super::attack::area(id.unwrap().content));
    a.raw.deaf = deaf;
    a.rig.click(x, y);
    honest.wait("the click", |raw| raw.pressed() != 0).unwrap();
    a.raw.deaf = false;
    a.raw
        .wait("the menu's end", |raw| {
            !raw.told("xdg_popup.popup_done").is_empty()
        })
        .unwrap();
}

fn keys_past_a_grab(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_keyboard.key"]);
    menu(a);
    a.raw.events.clear();
    a.focus(a.honest_window);
    a.rig.type_text("secret");
    assert_told_nothing(&mut a.raw, KEYS);
}

fn without_press(a: &mut Attack<'_>, request: &str) {
    let window = a.clicked_window((120, 80));
    let seat = a.raw.global("wl_seat");
    let before = a.only_window().content;
    let enter = a.raw.told("wl_pointer.enter").pop().unwrap().uint(0);
    for serial in [enter, a.raw.pressed(), a.raw.configured(window.xdg)] {
        match request {
            "move" => a.raw.send(window.toplevel, request, &[U(seat), U(serial)]),
            "resize" => a.raw.send(window.toplevel, request, &[U(seat), U(serial), U(10)]),
            _ => a
                .raw
                .send(window.toplevel, request, &[U(seat), U(serial), I(5), I(5)]),
        };
    }
    a.raw.settle();
    a.point((600, 400));
    a.raw.settle();
    assert_eq!(a.only_window().content, before, "nothing hangs on the pointer");
}

fn hover(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    window(a, true);
    let honest = a.honest_content();
    for step in 0..50 {
        a.point((honest.x + step, honest.y + step));
    }
    a.point((630, 470));
    assert_told_nothing(&mut a.raw, MOTION);
}

fn implicit_grab(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    window(a, true);
    let (x, y) = middle(a.content());
    a.point((x, y));
    wait_out_the_guard();
    a.button(KeyAction::Press);
    a.point(middle(a.honest_content()));
    a.button(KeyAction::Release);
    a.raw.settle();
    a.raw.events.clear();
    let honest = a.honest_content();
    a.point((honest.x + 5, honest.y + 5));
    assert_told_nothing(&mut a.raw, MOTION);
}

fn scroll(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    window(a, true);
    a.point(middle(a.honest_content()));
    for _ in 0..5 {
        a.rig.tell(&Request::Input(InputRequest::Axis { clicks: 1.0 }));
    }
    assert_told_nothing(&mut a.raw, BUTTONS);
}

fn empty_region(a: &mut Attack<'_>) {
    let window = window(a, true);
    let empty = a.raw.region();
    a.raw.send(window.surface, "set_input_region", &[U(empty)]);
    a.raw.send(window.toplevel, "set_maximized", &[]);
    a.raw.settle();
    a.raw.draw(window, (628, 444), MAGENTA);
    a.focus_attacker();
    wait_out_the_guard();
    let (x, y) = middle(a.honest_content());
    assert_eq!(a.picture().at(x, y), MAGENTA, "the attacker's window lies above");
    a.rig.click(x, y);
    // The honest client is told of no pointer at all, or its report says so.
    assert_told_nothing(&mut a.raw, BUTTONS);
    a.point((639, 479));
}
