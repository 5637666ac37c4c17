// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a toplevel is told of its size, states and decoration.

use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{Fixture, LEFT, Setup, Window};
use insta::assert_snapshot;

fn blind() -> Fixture {
    Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    })
}

/// A focused window of 400x300, its configures so far forgotten.
fn focused(fixture: &mut Fixture, vm: &str) -> Window {
    let client = fixture.add_client(vm);
    let window = fixture.window(client, (400, 300), MAGENTA);
    fixture.focus(&window);
    fixture.configures(&window);
    fixture.draw(&window, (400, 300), MAGENTA);
    window
}

#[test]
fn the_first_configure_leaves_the_size_to_the_client_and_tells_the_bounds() {
    let mut fixture = blind();
    let client = fixture.add_client("work");
    let window = fixture.toplevel(client);
    assert_snapshot!(fixture.configures(&window), @"bounds 1268x764, capabilities [2 3 4], size 0x0 []");
    fixture.draw(&window, (400, 300), MAGENTA);
    assert_snapshot!(fixture.configures(&window), @"");
}

#[test]
fn a_focused_window_is_activated_and_the_one_before_no_longer() {
    let mut fixture = blind();
    let first = focused(&mut fixture, "work");
    let client = fixture.add_client("personal");
    let second = fixture.window(client, (300, 200), CYAN);
    fixture.configures(&second);
    fixture.focus(&second);
    assert_snapshot!(fixture.configures(&second), @"size 0x0 [Activated]");
    assert_snapshot!(fixture.configures(&first), @"size 0x0 []");
}

#[test]
fn maximise_and_back() {
    let mut fixture = blind();
    let window = focused(&mut fixture, "work");
    window.toplevel.set_maximized();
    assert_snapshot!(fixture.configures(&window), @"size 1268x764 [Activated Maximized]");
    let content = fixture.content(&window);
    fixture.draw(&window, (content.w, content.h), MAGENTA);
    window.toplevel.unset_maximized();
    assert_snapshot!(fixture.configures(&window), @"size 400x300 [Activated]");
}

#[test]
fn fullscreen_keeps_a_frame_and_is_only_maximised_where_the_policy_says_so() {
    let mut fixture = blind();
    let window = focused(&mut fixture, "work");
    window.toplevel.set_fullscreen(None);
    assert_snapshot!(fixture.configures(&window), @"size 1268x772 [Activated Fullscreen]");
    window.toplevel.unset_fullscreen();
    assert_snapshot!(fixture.configures(&window), @"size 400x300 [Activated]");
    let window = focused(&mut fixture, "untrusted");
    window.toplevel.set_fullscreen(None);
    assert_snapshot!(fixture.configures(&window), @"size 1268x764 [Activated Maximized]");
}

#[test]
fn an_edge_that_is_dragged_asks_for_sizes_until_it_is_let_go() {
    let mut fixture = blind();
    let window = focused(&mut fixture, "work");
    let content = fixture.content(&window);
    let (x, y) = (f64::from(content.x + content.w + 2), f64::from(content.y + 100));
    fixture.motion(x, y);
    fixture.button(LEFT, true);
    fixture.motion(x + 30.0, y + 500.0);
    assert_snapshot!(fixture.configures(&window), @r"
    size 400x300 [Activated Resizing]
    size 430x300 [Activated Resizing]
    ");
    fixture.draw(&window, (430, 300), MAGENTA);
    fixture.button(LEFT, false);
    assert_snapshot!(fixture.configures(&window), @"size 430x300 [Activated]");
    assert_eq!(fixture.content(&window).x, content.x, "the other edge stays");
    assert_eq!(fixture.content(&window).w, 430);
}

#[test]
fn decorations_are_the_servers_whatever_a_client_asks_for() {
    use wayland_protocols::xdg::decoration::zv1::client::zxdg_toplevel_decoration_v1::Mode;
    use wayland_protocols_misc::server_decoration::client::org_kde_kwin_server_decoration::Mode as KdeMode;

    let mut fixture = blind();
    let client = fixture.add_client("work");
    let window = fixture.toplevel(client);
    fixture.configures(&window);
    let this = fixture.client(client);
    let decoration = this.bound().decoration.get_toplevel_decoration(
        &window.toplevel,
        &this.handle(),
        window.name.clone(),
    );
    decoration.set_mode(Mode::ClientSide);
    assert_snapshot!(fixture.configures(&window), @"decoration ServerSide, size 0x0 []");
    decoration.unset_mode();
    assert_snapshot!(fixture.configures(&window), @"size 0x0 []");
    let this = fixture.client(client);
    let kde = this
        .bound()
        .kde_decoration
        .create(&window.surface, &this.handle(), window.name.clone());
    kde.request_mode(KdeMode::Client);
    kde.request_mode(KdeMode::None);
    assert_snapshot!(fixture.log(client), @r"
    w1: kde decoration Server
    w1: kde decoration Server
    ");
}

#[test]
fn a_thousand_wishes_in_a_turn_bring_one_configure() {
    let mut fixture = blind();
    let window = focused(&mut fixture, "work");
    let before = fixture.frames();
    for _ in 0..100 {
        window.toplevel.set_maximized();
        window.toplevel.unset_maximized();
    }
    window.toplevel.set_maximized();
    let told = fixture.configures(&window);
    // The client's messages may come in more than one piece.
    assert!(told.lines().count() <= 4, "{told}");
    assert!(told.ends_with("size 1268x764 [Activated Maximized]"), "{told}");
    assert_eq!(fixture.frames(), before);
}
