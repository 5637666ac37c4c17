// SPDX-License-Identifier: MIT OR Apache-2.0
//! Frames: one when something changed, none otherwise.

use std::time::Duration;

use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::Fixture;

#[test]
fn nothing_changes_nothing_is_drawn() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    fixture.window(client, (300, 200), MAGENTA);
    fixture.frame();
    let before = fixture.frames();
    for _ in 0..100 {
        fixture.advance(Duration::from_millis(17));
    }
    fixture.settle();
    assert_eq!(fixture.frames(), before);
}

#[test]
fn a_frame_callback_comes_with_a_frame_and_not_before() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    fixture.frame();
    let done = |fixture: &Fixture| {
        let frames = &fixture.client(client).seen.frames;
        frames.get(&window.name).copied().unwrap_or(0)
    };
    let mut expected = done(&fixture);
    for colour in [CYAN, MAGENTA, CYAN] {
        let drawn = fixture.frames();
        fixture.ask_frame(&window);
        fixture.draw(&window, (300, 200), colour);
        fixture.settle();
        if fixture.frames() == drawn {
            assert_eq!(done(&fixture), expected, "no frame, no callback");
        }
        fixture.frame();
        expected += 1;
        assert_eq!(done(&fixture), expected);
        assert!(fixture.frames() > drawn);
    }
}

#[test]
fn a_covered_window_gets_its_callbacks_like_any_other() {
    let mut fixture = Fixture::default();
    let (work, personal) = (fixture.add_client("work"), fixture.add_client("personal"));
    let below = fixture.window(work, (300, 200), MAGENTA);
    let above = fixture.window(personal, (1000, 600), CYAN);
    let at = fixture.content(&below);
    fixture
        .state
        .core
        .windows
        .layout
        .move_to(above.id, (at.x, at.y).into());
    fixture.focus(&above);
    fixture.frame();
    fixture.ask_frame(&below);
    fixture.draw(&below, (300, 200), CYAN);
    fixture.frame();
    assert_eq!(fixture.client(work).seen.frames.get(&below.name), Some(&1));
}

#[test]
fn surfaces_that_are_gone_are_forgotten() {
    let mut fixture = Fixture::default();
    let client = fixture.add_client("work");
    // What the output keeps is Smithay's own affair; how much it is can be seen of what it shows of itself.
    let kept = |fixture: &Fixture| format!("{:?}", fixture.state.core.outputs).len();
    let before = kept(&fixture);
    for _ in 0..20 {
        let surfaces: Vec<_> = (0..50)
            .map(|_| {
                let client = fixture.client(client);
                client.bound().compositor.create_surface(&client.handle(), ())
            })
            .collect();
        fixture.roundtrip(client);
        for surface in surfaces {
            surface.destroy();
        }
        fixture.roundtrip(client);
    }
    assert!(kept(&fixture) < before + 1000, "{} of {before}", kept(&fixture));
}
