// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM may use up of the screen and of the user's attention.

use std::time::Duration;

use heraldry_compositor::desktop::layout::{Insets, Layout, WindowId};
use heraldry_compositor::vms::pause::PauseReason;
use heraldry_tests::colour::Area;
use heraldry_tests::colour::key::{CYAN, MAGENTA, YELLOW};
use heraldry_tests::fixture::{Fixture, Setup};
use smithay::utils::Rectangle;

use crate::idle::processor_time;

fn with(quota: &str) -> Fixture {
    Fixture::new(&Setup {
        config: format!(
            "schema 1\nvm \"work\" {{ color \"#2a5fb0\"; quota {{ {quota} }}; }}\nvm \"other\" {{ color \"#b3322e\"; }}\n"
        ),
        ..Setup::default()
    })
}

#[test]
fn popups_cover_no_more_than_their_share() {
    // 1280x800; each popup covers a tenth.
    let mut fixture = with("popup-coverage 25");
    let client = fixture.add_client("work");
    let window = fixture.window(client, (600, 400), MAGENTA);
    for (shown, at) in [(1, 0), (2, 20), (2, 40), (2, 60)] {
        let anchor = Area {
            x: at,
            y: at,
            w: 1,
            h: 1,
        };
        fixture.popup(&window, anchor, (400, 256), YELLOW);
        fixture.frame();
        let there = fixture.state.core.popups_of(window.id).count();
        assert_eq!(there, shown, "after the one at {at}");
    }
    let work = fixture
        .state
        .core
        .vms
        .iter()
        .find(|vm| vm.name.as_str() == "work");
    assert_eq!(work.unwrap().load.dismissed_popups, 2);
}

#[test]
fn popups_that_grow_into_view_count_too() {
    let mut fixture = with("popup-coverage 25");
    let client = fixture.add_client("work");
    let window = fixture.window(client, (300, 200), MAGENTA);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(window.id, (600, 300).into());
    fixture.focus(&window);
    window.toplevel.set_maximized();
    fixture.settle();
    fixture.draw(&window, (1268, 764), MAGENTA);
    // Almost all of it is beyond the edge of the screen.
    let anchor = Area {
        x: 1200,
        y: 10,
        w: 1,
        h: 1,
    };
    let popup = fixture.popup_anywhere(&window, anchor, (600, 600), YELLOW);
    let there = |fixture: &Fixture| {
        let popups = fixture.state.core.popups_of(window.id);
        popups.map(|popup| popup.content.size).collect::<Vec<_>>()
    };
    let shown = there(&fixture);
    assert!(shown.len() == 1 && shown[0].w < 100, "{shown:?}");
    window.toplevel.unset_maximized();
    fixture.settle();
    fixture.draw(&window, (1260, 700), MAGENTA);
    let layout = &mut fixture.state.core.windows.layout;
    layout.move_to(window.id, (-1190, 30).into());
    fixture.state.core.render.schedule();
    fixture.frame();
    assert_eq!(there(&fixture), [], "it would cover a third now");
    drop(popup);
}

#[test]
fn windows_appear_no_faster_than_allowed() {
    let mut fixture = with("maps-per-second 2");
    let (client, other) = (fixture.add_client("work"), fixture.add_client("other"));
    let shown = |fixture: &Fixture, vm: &str| {
        let windows = fixture.state.core.windows.iter();
        windows
            .filter(|window| window.vm.as_str() == vm && window.mapped.is_some())
            .count()
    };
    for _ in 0..4 {
        let window = fixture.toplevel(client);
        fixture.draw(&window, (100, 80), MAGENTA);
    }
    fixture.settle();
    assert_eq!(shown(&fixture, "work"), 2);
    let window = fixture.toplevel(other);
    fixture.draw(&window, (100, 80), CYAN);
    fixture.settle();
    assert_eq!(shown(&fixture, "other"), 1, "another VM's window does not wait");
    fixture.advance(Duration::from_millis(499));
    assert_eq!(shown(&fixture, "work"), 2);
    fixture.advance(Duration::from_millis(2));
    assert_eq!(shown(&fixture, "work"), 3);
    fixture.advance(Duration::from_millis(500));
    assert_eq!(shown(&fixture, "work"), 4, "nothing is lost");
}

#[test]
fn a_paused_vm_says_so_on_its_label_and_is_not_served() {
    let mut fixture = with("clients 8");
    let work = "work".parse().unwrap();
    let client = fixture.add_gated_client("work");
    let window = fixture.window(client, (400, 200), MAGENTA);
    fixture.frame();
    let content = fixture.content_pixels(&window);
    let label = |fixture: &mut Fixture| {
        let picture = fixture.picture();
        // Amber is the compositor's own colour.
        (content.x..content.x + content.w)
            .filter(|x| picture.at(*x, content.y - 15) == [0xff, 0xc0, 0x30])
            .count()
    };
    assert_eq!(label(&mut fixture), 0);
    assert!(fixture.state.pause(&work, PauseReason::User, false));
    fixture.advance(Duration::from_millis(17));
    assert!(label(&mut fixture) > 20, "the badge is there");
    fixture.fill(client, &window.surface, (400, 200), CYAN);
    window.surface.commit();
    for _ in 0..20 {
        fixture.advance(Duration::from_millis(17));
    }
    let none = fixture.picture().find(CYAN);
    assert!(none.is_none(), "what it draws is not shown");
    assert!(fixture.state.resume(&work));
    fixture.roundtrip(client);
    fixture.frame();
    assert_eq!(label(&mut fixture), 0);
    fixture
        .picture()
        .assert_only_in(CYAN, fixture.content_pixels(&window));
}

#[test]
fn a_vm_can_be_hidden_and_paused_for_a_broken_rule() {
    let mut fixture = Fixture::new(&Setup {
        config: "schema 1\nvm \"work\" { color \"#2a5fb0\"; on-violation \"hide-vm\"; }\n\
                 vm \"other\" { color \"#b3322e\"; on-violation \"end-client\"; }\n"
            .to_owned(),
        ..Setup::default()
    });
    let paused = |fixture: &Fixture, vm: &str| {
        let vms = fixture.state.core.vms.iter();
        vms.filter(|known| known.name.as_str() == vm)
            .any(|known| known.paused() == Some(PauseReason::Violation))
    };
    let shows = |fixture: &mut Fixture, colour| fixture.picture().find(colour).is_some();
    for (vm, colour) in [("other", CYAN), ("work", MAGENTA)] {
        let client = fixture.add_gated_client(vm);
        fixture.window(client, (300, 200), colour);
        let culprit = fixture.add_gated_client(vm);
        let surface = fixture
            .client(culprit)
            .bound()
            .compositor
            .create_surface(&fixture.client(culprit).handle(), ());
        surface.set_buffer_scale(0);
        fixture.until("the culprit is ended", |fixture| {
            fixture.client(culprit).ended.is_some()
        });
    }
    fixture.advance(Duration::from_millis(17));
    assert!(paused(&fixture, "work") && !paused(&fixture, "other"));
    assert!(!shows(&mut fixture, MAGENTA), "its windows are hidden");
    assert!(shows(&mut fixture, CYAN), "another VM's are not");
    assert!(fixture.state.resume(&"work".parse().unwrap()));
    fixture.frame();
    assert!(shows(&mut fixture, MAGENTA));
}

/// The least time of several to find a place for twenty windows, one after the other, among so many that lie everywhere.
fn places_among(windows: u64) -> Duration {
    let area = Rectangle::from_size((1920, 1080).into());
    let mut layout = Layout::new(vec![area], Insets::default(), Insets::default());
    let mut number = 1_u64;
    let mut any = |most: i32| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        i32::try_from(number >> 33).unwrap() % most
    };
    for id in (0..windows).map(WindowId) {
        layout.add(id, (100 + any(300), 80 + any(300)).into(), (0, 0).into());
        layout.move_to(id, (any(1700), any(900)).into());
    }
    let run = |layout: &mut Layout| {
        let start = processor_time();
        for _ in 0..20 {
            layout.add(WindowId(windows), (60, 50).into(), (0, 0).into());
            layout.remove(WindowId(windows));
        }
        processor_time() - start
    };
    (0..7).map(|_| run(&mut layout)).min().unwrap_or_default()
}

#[test]
fn finding_a_place_for_windows_among_many_holds_nobody_up() {
    let (few, many) = (places_among(16), places_among(64));
    // Each of two sides has places in proportion to the windows. Where all were looked at for each: 64 times as long.
    assert!(many < few * 32, "{few:?} among 16, {many:?} among 64");
}
