// SPDX-License-Identifier: MIT OR Apache-2.0
//! A window that the user drags: where the hand put it counts as put there by the user, and nothing that its client makes of it.

use std::time::Duration;

use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, LEFT, Setup, Window};

const LONG: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_millis(17);

/// A place that shows "work" while "untrusted" is dragged elsewhere.
const THERE: (f64, f64) = (900.0, 450.0);

/// A window of "work" and one of "untrusted", which has the keyboard.
fn two_windows() -> (Fixture, [ClientId; 2], Window) {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    let clients = ["work", "untrusted"].map(|vm| fixture.add_client(vm));
    let ours = fixture.window(clients[0], (400, 300), MAGENTA);
    let theirs = fixture.window(clients[1], (200, 150), CYAN);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(ours.id, (700, 300).into());
    layout.move_to(theirs.id, (100, 100).into());
    fixture.state.core.render.schedule();
    fixture.focus(&theirs);
    fixture.advance(LONG);
    (fixture, clients, theirs)
}

fn outer(fixture: &Fixture, window: &Window) -> Area {
    let outer = fixture.state.core.windows.layout.outer(window.id).unwrap();
    Area {
        x: outer.loc.x,
        y: outer.loc.y,
        w: outer.size.w,
        h: outer.size.h,
    }
}

/// The user takes hold of a window and moves the hand by some pixels.
fn hold(fixture: &mut Fixture, window: &Window, resize: bool) {
    let at = outer(fixture, window);
    let (x, y) = if resize {
        (at.x + at.w - 2, at.y + at.h - 2)
    } else {
        (at.x + 40, at.y + 12)
    };
    let at = (f64::from(x), f64::from(y));
    fixture.motion(at.0, at.1);
    fixture.button(LEFT, true);
    fixture.motion(at.0 + 8.0, at.1 + 8.0);
    fixture.advance(FRAME);
}

/// The user lets go and clicks where "work" was seen until a moment ago.
fn let_go_and_click(fixture: &mut Fixture, clients: [ClientId; 2], what: &str) {
    fixture.settle();
    fixture.advance(FRAME);
    fixture.button(LEFT, false);
    fixture.advance(FRAME);
    for client in clients {
        fixture.log(client);
    }
    fixture.click(THERE.0, THERE.1);
    fixture.settle();
    for client in clients {
        let log = fixture.log(client);
        assert!(!log.contains("button"), "{what}: {log}");
    }
}

#[test]
fn a_window_that_fills_the_screen_while_it_is_dragged_was_not_put_everywhere() {
    for resize in [true, false] {
        let (mut fixture, clients, theirs) = two_windows();
        hold(&mut fixture, &theirs, resize);
        theirs.toplevel.set_maximized();
        fixture.settle();
        fixture.draw(&theirs, (1268, 764), CYAN);
        assert!(outer(&fixture, &theirs).w > 1000, "it covers the other one");
        let_go_and_click(&mut fixture, clients, &format!("resize: {resize}"));
    }
}

#[test]
fn a_least_size_that_a_client_declares_is_not_what_the_user_dragged() {
    let (mut fixture, clients, theirs) = two_windows();
    hold(&mut fixture, &theirs, true);
    theirs.toplevel.set_min_size(1150, 700);
    fixture.draw(&theirs, (200, 150), CYAN);
    let at = fixture.state.core.input.pointer;
    fixture.motion(at.x + 1.0, at.y + 1.0);
    fixture.draw(&theirs, (1150, 700), CYAN);
    fixture.settle();
    assert!(outer(&fixture, &theirs).w > 1000, "it covers the other one");
    let_go_and_click(&mut fixture, clients, "least size");
}

#[test]
fn where_the_hand_puts_a_window_it_takes_the_next_click() {
    for resize in [true, false] {
        let (mut fixture, clients, theirs) = two_windows();
        hold(&mut fixture, &theirs, resize);
        let (x, y) = if resize { (1000.0, 600.0) } else { (850.0, 400.0) };
        fixture.motion(x, y);
        fixture.settle();
        if resize {
            let size = fixture.state.core.windows.layout.wanted_size(theirs.id).unwrap();
            fixture.draw(&theirs, (size.w, size.h), CYAN);
        }
        fixture.advance(FRAME);
        fixture.button(LEFT, false);
        fixture.log(clients[1]);
        fixture.click(THERE.0, THERE.1);
        let log = fixture.log(clients[1]);
        assert!(log.contains("button"), "resize: {resize}: {log}");
    }
}
