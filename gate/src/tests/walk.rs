// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole honest session passes unchanged, in both directions.

use super::*;

#[test]
fn a_window_with_a_popup_and_a_clipboard() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let shm = client.bind("wl_shm");
    let wm = client.bind("xdg_wm_base");
    let seat = client.bind("wl_seat");
    let decorations = client.bind("zxdg_decoration_manager_v1");
    let (surface, xdg, toplevel) = client.window(compositor, wm);
    let decoration = client.ok(decorations, "get_toplevel_decoration", &[New, U(toplevel)]);
    client.ok(decoration, "set_mode", &[U(2)]);
    client.ok(toplevel, "set_title", &[S("Größe: 中文")]);
    client.ok(toplevel, "set_app_id", &[S("org.example.App")]);
    client.ok(surface, "commit", &[]);
    // Configured, with an array of states.
    let configure = Writer::new(toplevel, 0)
        .int(640)
        .int(480)
        .uint(8)
        .uint(4)
        .uint(1)
        .finish();
    client
        .session
        .from_server(&configure, &mut VecDeque::new(), &mut client.back)
        .unwrap();
    assert_eq!(drain(&mut client.back).0, configure);
    client.event(xdg, "configure", &[U(77)]);
    client.ok(xdg, "ack_configure", &[U(1)]);
    let pool = client.ok(
        shm,
        "create_pool",
        &[New, Memory(640 * 480 * 4), I(640 * 480 * 4)],
    );
    let buffer = client.ok(pool, "create_buffer", &[New, I(0), I(640), I(480), I(2560), U(1)]);
    client.destroy(pool);
    let region = client.ok(compositor, "create_region", &[New]);
    client.ok(region, "add", &[I(0), I(0), I(640), I(480)]);
    client.ok(surface, "set_opaque_region", &[U(region)]);
    client.destroy(region);
    let frame = client.ok(surface, "frame", &[New]);
    client.ok(surface, "attach", &[U(buffer), I(0), I(0)]);
    client.ok(surface, "damage_buffer", &[I(0), I(0), I(640), I(480)]);
    client.ok(surface, "commit", &[]);
    assert_eq!(client.event(frame, "done", &[U(16)]).len(), 1);
    client.event(1, "delete_id", &[U(frame)]);
    assert_eq!(client.event(buffer, "release", &[]).len(), 1);
    // A popup.
    let positioner = client.ok(wm, "create_positioner", &[New]);
    client.ok(positioner, "set_size", &[I(100), I(200)]);
    client.ok(positioner, "set_anchor_rect", &[I(0), I(0), I(1), I(1)]);
    let menu = client.surface(compositor);
    let menu_xdg = client.ok(wm, "get_xdg_surface", &[New, U(menu)]);
    let popup = client.ok(menu_xdg, "get_popup", &[New, U(xdg), U(positioner)]);
    client.ok(popup, "grab", &[U(seat), U(5)]);
    for id in [popup, menu_xdg, menu, positioner] {
        client.destroy(id);
    }
    let keyboard = client.ok(seat, "get_keyboard", &[New]);
    client.event(keyboard, "keymap", &[U(1), Memory(4096), U(4096)]);
    for id in [decoration, toplevel, xdg, surface, buffer] {
        client.destroy(id);
    }
    let (bytes, fds) = drain(&mut client.out);
    assert_eq!(fds, 1);
    assert!(bytes.len() > 500);
    // Only bound globals, the registry, the keyboard and the display are left.
    assert_eq!(client.session.object_count(), 8);
}
