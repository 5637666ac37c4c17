// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pens: tools that the compositor makes, and what their serials are good for.

use super::*;

const TOOL: u32 = 0xff00_0001;

/// A client with two windows and a pen over the first: the first's surface, and both windows' toplevels.
fn with_pen(client: &mut Client) -> (u32, [u32; 2]) {
    let (compositor, wm_base) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (seat, manager) = (client.bind("wl_seat"), client.bind("zwp_tablet_manager_v2"));
    let (surface, _, toplevel) = client.window(compositor, wm_base);
    let (_, _, other) = client.window(compositor, wm_base);
    let tablets = client.ok(manager, "get_tablet_seat", &[New, U(seat)]);
    client.event(tablets, "tablet_added", &[U(TOOL - 1)]);
    client.event(tablets, "tool_added", &[U(TOOL)]);
    client.event(TOOL, "proximity_in", &[U(500), U(TOOL - 1), U(surface)]);
    (surface, [toplevel, other])
}

#[test]
fn a_pen_on_a_window_moves_that_window() {
    let mut client = Client::new();
    let (_, [own, other]) = with_pen(&mut client);
    let seat = client.bind("wl_seat");
    assert_eq!(
        client.event(TOOL, "down", &[U(900)]),
        ["zwp_tablet_tool_v2@4278190081.down(2)"]
    );
    let mut moves = |toplevel, serial| {
        client.passed();
        client.ok(toplevel, "move", &[U(seat), U(serial)]);
        client.passed().concat()
    };
    assert!(moves(own, 2).ends_with(",900)"), "the tip that is on it");
    assert!(moves(other, 2).ends_with(",0)"), "it is not on this one");
    assert!(moves(own, 1).ends_with(",0)"), "it only came over it");
}

#[test]
fn the_picture_of_a_pen_is_a_cursor_and_nothing_else() {
    let mut client = Client::new();
    let (surface, _) = with_pen(&mut client);
    let compositor = client.bind("wl_compositor");
    let picture = client.surface(compositor);
    client.passed();
    client.ok(TOOL, "set_cursor", &[U(1), U(picture), I(3), I(i32::MAX)]);
    let passed = client.passed().concat();
    assert!(passed.contains(&format!("(500,{picture},3,1048576)")), "{passed}");
    client.ok(TOOL, "set_cursor", &[U(1), U(picture), I(0), I(0)]);
    let told = client.breaks(
        Rule::SurfaceRole,
        TOOL,
        "set_cursor",
        &[U(1), U(surface), I(0), I(0)],
    );
    assert_eq!((told.interface, told.code), ("zwp_tablet_tool_v2", 0));
}
