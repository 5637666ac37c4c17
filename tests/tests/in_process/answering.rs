// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that give no sign of life: what they are told of the pointer, and when.

use std::time::Duration;

use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, LEFT, Window};

/// A client under the pointer that owes a sign of life, and owes it for longer than it may.
fn late() -> (Fixture, ClientId, Window, Area) {
    let mut fixture = Fixture::default();
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    let content = fixture.content(&window);
    fixture.advance(Duration::from_secs(1));
    fixture.client_mut(client).seen.mute = true;
    move_to(&mut fixture, content, 1);
    move_to(&mut fixture, content, 2);
    assert_eq!(fixture.client(client).seen.pings.len(), 1, "it is asked once");
    fixture.advance(Duration::from_millis(501));
    fixture.log(client);
    (fixture, client, window, content)
}

fn move_to(fixture: &mut Fixture, content: Area, x: i32) {
    fixture.motion((content.x + x).into(), (content.y + 5).into());
}

fn answer(fixture: &mut Fixture, client: ClientId) {
    let serials = std::mem::take(&mut fixture.client_mut(client).seen.pings);
    for serial in serials {
        fixture.client(client).bound().wm_base.pong(serial);
    }
    fixture.roundtrip(client);
}

#[test]
fn a_client_that_does_not_answer_hears_the_last_place_when_it_does() {
    let (mut fixture, client, _window, content) = late();
    for x in 3..100 {
        move_to(&mut fixture, content, x);
    }
    assert_eq!(fixture.log(client), "");
    assert_eq!(fixture.client(client).seen.pings.len(), 1, "one is enough");
    answer(&mut fixture, client);
    assert_eq!(fixture.log(client), "pointer at 99,5");
    // It answers again, so it is told again.
    fixture.client_mut(client).seen.mute = false;
    move_to(&mut fixture, content, 100);
    assert_eq!(fixture.log(client), "pointer at 100,5");
}

#[test]
fn clicks_are_never_withheld_and_are_where_the_pointer_is() {
    let (mut fixture, client, _window, content) = late();
    for x in 3..50 {
        move_to(&mut fixture, content, x);
    }
    fixture.button(LEFT, true);
    for x in 50..80 {
        move_to(&mut fixture, content, x);
    }
    fixture.button(LEFT, false);
    let log = fixture.log(client);
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.starts_with("pointer at") || line.starts_with("button"))
        .collect();
    let expected = [
        "pointer at 49,5",
        "button 272 down",
        "pointer at 79,5",
        "button 272 up",
    ];
    assert!(told.starts_with(&expected), "{log}");
    assert!(told.len() <= expected.len() + 1, "{log}");
}

#[test]
fn a_client_that_does_not_answer_learns_that_the_pointer_has_left() {
    let (mut fixture, client, _window, _content) = late();
    let other = fixture.add_gated_client("personal");
    let window = fixture.window(other, (100, 80), CYAN);
    let elsewhere = fixture.content(&window);
    fixture.log(other);
    fixture.log(client);
    move_to(&mut fixture, elsewhere, 3);
    assert!(fixture.log(client).contains("pointer leaves"));
    assert!(fixture.log(other).contains("pointer enters"));
    answer(&mut fixture, client);
    assert_eq!(fixture.log(client), "", "it does not have the pointer");
}

#[test]
fn the_user_can_see_who_does_not_respond() {
    let (mut fixture, client, window, _content) = late();
    let lost = |fixture: &Fixture| {
        let key = fixture.state.core.windows.get(window.id).unwrap().client;
        fixture.state.core.is_lost(key)
    };
    fixture.advance(Duration::from_secs(9));
    assert!(!lost(&fixture));
    fixture.advance(Duration::from_secs(1));
    assert!(lost(&fixture));
    answer(&mut fixture, client);
    assert!(!lost(&fixture));
}
