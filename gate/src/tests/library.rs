// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Smithay would end a client for is a rule of the gate, or does not reach it.

use super::*;

/// A window that is there, with (compositor, wm_base) and (surface, xdg_surface, toplevel).
fn window(client: &mut Client) -> ((u32, u32), (u32, u32, u32)) {
    let globals = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let window = client.window(globals.0, globals.1);
    client.ok(window.0, "commit", &[]);
    client.passed();
    (globals, window)
}

/// A configure comes; the client's number for it.
fn configure(client: &mut Client, xdg: u32, serial: u32) -> u32 {
    let told = client.event(xdg, "configure", &[U(serial)]);
    let number = told[0].trim_end_matches(')').rsplit('(').next().unwrap();
    number.parse().unwrap()
}

fn acknowledged(client: &mut Client, xdg: u32, number: u32) -> Vec<String> {
    client.passed();
    client.ok(xdg, "ack_configure", &[U(number)]);
    client.passed()
}

#[test]
fn configures_are_acknowledged_with_the_compositors_serial() {
    let mut client = Client::new();
    let (_, (_, xdg, _)) = window(&mut client);
    let numbers = [700, 800, 900].map(|serial| configure(&mut client, xdg, serial));
    let passed = acknowledged(&mut client, xdg, numbers[0]);
    assert_eq!(passed, [format!("xdg_surface@{xdg}.ack_configure(700)")]);
    // One may be left out.
    let passed = acknowledged(&mut client, xdg, numbers[2]);
    assert_eq!(passed, [format!("xdg_surface@{xdg}.ack_configure(900)")]);
}

#[test]
fn configures_that_were_never_sent_or_are_acknowledged_already() {
    type Script = fn(&mut Client, u32) -> u32;
    let scripts: [Script; 4] = [
        |_, _| 1,
        |client, xdg| configure(client, xdg, 70) + 1,
        |client, xdg| {
            let number = configure(client, xdg, 70);
            client.ok(xdg, "ack_configure", &[U(number)]);
            number
        },
        |client, xdg| {
            let (first, last) = (configure(client, xdg, 70), configure(client, xdg, 80));
            client.ok(xdg, "ack_configure", &[U(last)]);
            first
        },
    ];
    for script in scripts {
        let mut client = Client::new();
        let (_, (_, xdg, _)) = window(&mut client);
        let number = script(&mut client, xdg);
        let told = client.breaks(Rule::UnsentConfigure, xdg, "ack_configure", &[U(number)]);
        assert_eq!(told.code, 4);
    }
}

#[test]
fn a_configure_of_another_surface_is_not_passed_on() {
    let mut client = Client::new();
    let ((compositor, wm), (_, one, _)) = window(&mut client);
    let (_, two, _) = client.window(compositor, wm);
    configure(&mut client, one, 70);
    let other = configure(&mut client, two, 80);
    configure(&mut client, one, 90);
    assert_eq!(acknowledged(&mut client, one, other), [""; 0]);
}

#[test]
fn configures_of_a_role_object_that_is_gone_are_not_passed_on() {
    let mut client = Client::new();
    let (_, (_, xdg, toplevel)) = window(&mut client);
    let before = configure(&mut client, xdg, 70);
    client.ok(toplevel, "destroy", &[]);
    assert_eq!(acknowledged(&mut client, xdg, before), [""; 0]);
    // The compositor did not know yet.
    let under_way = configure(&mut client, xdg, 80);
    client.ok(xdg, "get_toplevel", &[New]);
    assert_eq!(acknowledged(&mut client, xdg, under_way), [""; 0]);
    client.event(1, "delete_id", &[U(toplevel)]);
    let after = configure(&mut client, xdg, 90);
    assert_eq!(
        acknowledged(&mut client, xdg, after),
        [format!("xdg_surface@{xdg}.ack_configure(90)")]
    );
}

#[test]
fn a_configure_is_good_however_much_came_since() {
    let mut client = Client::new();
    let (_, (_, xdg, _)) = window(&mut client);
    let number = configure(&mut client, xdg, 70);
    let seat = client.bind("wl_seat");
    let pointer = client.ok(seat, "get_pointer", &[New]);
    for serial in 1000..6000 {
        client.event(pointer, "button", &[U(serial), U(1), U(272), U(1)]);
    }
    assert_eq!(
        acknowledged(&mut client, xdg, number),
        [format!("xdg_surface@{xdg}.ack_configure(70)")]
    );
}

#[test]
fn configures_that_nobody_acknowledges_are_forgotten_at_last() {
    let mut client = Client::new();
    let (_, (_, xdg, _)) = window(&mut client);
    let first = configure(&mut client, xdg, 1);
    for serial in 2..3000 {
        configure(&mut client, xdg, serial);
    }
    assert_eq!(acknowledged(&mut client, xdg, first), [""; 0]);
}

#[test]
fn shell_objects_before_they_have_a_role() {
    for (name, args) in [
        ("ack_configure", &[U(1)][..]),
        ("set_window_geometry", &[I(0), I(0), I(1), I(1)][..]),
    ] {
        let mut client = Client::new();
        let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
        let surface = client.surface(compositor);
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
        let told = client.breaks(Rule::ObjectOrder, xdg, name, args);
        assert_eq!(told.code, 1, "not constructed");
    }
}

#[test]
fn geometry_of_a_destroyed_surface_is_not_passed_on() {
    let mut client = Client::new();
    let (_, (surface, xdg, _)) = window(&mut client);
    client.ok(surface, "destroy", &[]);
    client.passed();
    client.ok(xdg, "set_window_geometry", &[I(0), I(0), I(1), I(1)]);
    assert_eq!(client.passed(), [""; 0]);
}

#[test]
fn shell_objects_that_go_too_early() {
    let mut client = Client::new();
    let ((_, wm), (_, xdg, _)) = window(&mut client);
    let told = client.breaks(Rule::ObjectOrder, xdg, "destroy", &[]);
    assert_eq!(told.code, 6, "its role object is there");
    let mut client = Client::new();
    assert_eq!(window(&mut client).0.1, wm);
    let told = client.breaks(Rule::ObjectOrder, wm, "destroy", &[]);
    assert_eq!(told.code, 1, "it has an xdg_surface");
}

#[test]
fn a_base_stays_while_one_of_its_surfaces_is_there() {
    let mut client = Client::new();
    let ((compositor, wm), _) = window(&mut client);
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    client.destroy(xdg);
    client.breaks(Rule::ObjectOrder, wm, "destroy", &[]);
}

#[test]
fn shell_objects_that_go_in_order_or_after_their_surface() {
    for surface_first in [false, true] {
        let mut client = Client::new();
        let ((compositor, wm), (surface, xdg, toplevel)) = window(&mut client);
        // Another wm_base does not mind.
        let other = client.bind("xdg_wm_base");
        client.destroy(other);
        let order = if surface_first {
            [surface, xdg, toplevel]
        } else {
            [toplevel, xdg, surface]
        };
        for id in order {
            client.destroy(id);
        }
        let bare = client.surface(compositor);
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(bare)]);
        client.destroy(xdg);
        client.destroy(wm);
    }
}

#[test]
fn a_surface_keeps_its_role() {
    type Script = fn(&mut Client, u32, (u32, u32));
    let (sub, cursor, icon): (Script, Script, Script) = (
        |client, surface, (compositor, _)| {
            let (sub, parent) = (client.bind("wl_subcompositor"), client.surface(compositor));
            client.breaks(
                Rule::SurfaceRole,
                sub,
                "get_subsurface",
                &[New, U(surface), U(parent)],
            );
        },
        |client, surface, _| {
            let seat = client.bind("wl_seat");
            let pointer = client.ok(seat, "get_pointer", &[New]);
            let args = [U(1), U(surface), I(0), I(0)];
            client.breaks(Rule::SurfaceRole, pointer, "set_cursor", &args);
        },
        |client, surface, (compositor, _)| {
            let (manager, seat) = (client.bind("wl_data_device_manager"), client.bind("wl_seat"));
            let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
            let origin = client.surface(compositor);
            client.breaks(
                Rule::SurfaceRole,
                device,
                "start_drag",
                &[U(0), U(origin), U(surface), U(1)],
            );
        },
    );
    for becomes in [sub, cursor, icon] {
        let mut client = Client::new();
        let (globals, (surface, ..)) = window(&mut client);
        becomes(&mut client, surface, globals);
    }
    // A window does not become a popup, nor a popup a window.
    let mut client = Client::new();
    let ((compositor, wm), (_, parent, _)) = window(&mut client);
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    let popup = client.ok(xdg, "get_popup", &[New, U(parent), U(positioner)]);
    client.destroy(popup);
    let told = client.breaks(Rule::SurfaceRole, xdg, "get_toplevel", &[New]);
    assert_eq!((told.interface, told.object, told.code), ("xdg_wm_base", wm, 0));
    let mut client = Client::new();
    let ((compositor, wm), (_, xdg, toplevel)) = window(&mut client);
    let (_, parent, _) = client.window(compositor, wm);
    let positioner = client.ok(wm, "create_positioner", &[New]);
    client.destroy(toplevel);
    client.breaks(
        Rule::SurfaceRole,
        xdg,
        "get_popup",
        &[New, U(parent), U(positioner)],
    );
}

#[test]
fn a_cursor_or_a_part_of_another_is_no_window() {
    for role in ["set_cursor", "get_subsurface"] {
        let mut client = Client::new();
        let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
        let (seat, sub) = (client.bind("wl_seat"), client.bind("wl_subcompositor"));
        let (surface, parent) = (client.surface(compositor), client.surface(compositor));
        if role == "set_cursor" {
            let pointer = client.ok(seat, "get_pointer", &[New]);
            client.ok(pointer, role, &[U(1), U(surface), I(0), I(0)]);
        } else {
            client.ok(sub, role, &[New, U(surface), U(parent)]);
        }
        let told = client.breaks(Rule::SurfaceRole, wm, "get_xdg_surface", &[New, U(surface)]);
        let detail =
            format!("xdg_wm_base@{wm}.get_xdg_surface: surface {surface} has another role or xdg_surface");
        assert_eq!((told.code, told.detail()), (0, detail.as_str()));
    }
    // One that had a cursor's role while its xdg_surface was made is no window either.
    let mut client = Client::new();
    let (compositor, wm, seat) = (
        client.bind("wl_compositor"),
        client.bind("xdg_wm_base"),
        client.bind("wl_seat"),
    );
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    let pointer = client.ok(seat, "get_pointer", &[New]);
    client.ok(pointer, "set_cursor", &[U(1), U(surface), I(0), I(0)]);
    let size = [I(0), I(0), I(1), I(1)];
    client.breaks(Rule::ObjectOrder, xdg, "set_window_geometry", &size);
}

#[test]
fn a_cursor_is_set_again_and_again() {
    let mut client = Client::new();
    let (compositor, seat) = (client.bind("wl_compositor"), client.bind("wl_seat"));
    let (surface, pointer) = (client.surface(compositor), client.ok(seat, "get_pointer", &[New]));
    for _ in 0..3 {
        client.ok(pointer, "set_cursor", &[U(1), U(surface), I(0), I(0)]);
    }
    client.ok(pointer, "set_cursor", &[U(1), U(0), I(0), I(0)]);
}

#[test]
fn a_second_of_what_there_is_once() {
    for (manager, request) in [
        ("wp_viewporter", "get_viewport"),
        ("wp_fractional_scale_manager_v1", "get_fractional_scale"),
        ("zxdg_decoration_manager_v1", "get_toplevel_decoration"),
    ] {
        let mut client = Client::new();
        let (_, (surface, _, toplevel)) = window(&mut client);
        let manager = client.bind(manager);
        let of = if request == "get_toplevel_decoration" {
            toplevel
        } else {
            surface
        };
        let first = client.ok(manager, request, &[New, U(of)]);
        client.destroy(first);
        client.ok(manager, request, &[New, U(of)]);
        client.breaks(Rule::SecondExtension, manager, request, &[New, U(of)]);
    }
}

#[test]
fn extensions_of_a_surface_whose_id_comes_again() {
    for (manager, request) in [
        ("wp_viewporter", "get_viewport"),
        ("wp_fractional_scale_manager_v1", "get_fractional_scale"),
    ] {
        let mut client = Client::new();
        let (compositor, manager) = (client.bind("wl_compositor"), client.bind(manager));
        let surface = client.surface(compositor);
        let first = client.ok(manager, request, &[New, U(surface)]);
        client.destroy(surface);
        let next = std::mem::replace(&mut client.next, surface);
        assert_eq!(client.surface(compositor), surface);
        client.next = next;
        client.ok(manager, request, &[New, U(surface)]);
        // The old one is not the new one's.
        client.destroy(first);
        client.breaks(Rule::SecondExtension, manager, request, &[New, U(surface)]);
    }
}

#[test]
fn decorations_of_a_window_whose_id_comes_again() {
    let mut client = Client::new();
    let (_, (_, xdg, toplevel)) = window(&mut client);
    let manager = client.bind("zxdg_decoration_manager_v1");
    let request = "get_toplevel_decoration";
    let first = client.ok(manager, request, &[New, U(toplevel)]);
    client.destroy(toplevel);
    let next = std::mem::replace(&mut client.next, toplevel);
    assert_eq!(client.ok(xdg, "get_toplevel", &[New]), toplevel);
    client.next = next;
    client.ok(manager, request, &[New, U(toplevel)]);
    // The old one is not the new window's.
    client.destroy(first);
    client.breaks(Rule::SecondExtension, manager, request, &[New, U(toplevel)]);
}

#[test]
fn a_viewport_of_a_destroyed_surface() {
    for (name, args) in [
        ("set_source", &[I(0), I(0), I(256), I(256)][..]),
        ("set_destination", &[I(1), I(1)][..]),
    ] {
        let mut client = Client::new();
        let (compositor, manager) = (client.bind("wl_compositor"), client.bind("wp_viewporter"));
        let surface = client.surface(compositor);
        let viewport = client.ok(manager, "get_viewport", &[New, U(surface)]);
        client.ok(viewport, name, args);
        client.destroy(surface);
        let told = client.breaks(Rule::ViewportSurface, viewport, name, args);
        assert_eq!(told.code, 3);
        let mut again = Client::new();
        let (compositor, manager) = (again.bind("wl_compositor"), again.bind("wp_viewporter"));
        let surface = again.surface(compositor);
        let viewport = again.ok(manager, "get_viewport", &[New, U(surface)]);
        again.destroy(surface);
        again.destroy(viewport);
    }
}

#[test]
fn a_source_of_no_whole_size_wants_a_destination() {
    let mut client = Client::new();
    let (compositor, manager) = (client.bind("wl_compositor"), client.bind("wp_viewporter"));
    let surface = client.surface(compositor);
    let viewport = client.ok(manager, "get_viewport", &[New, U(surface)]);
    let odd = [I(0), I(0), I(300), I(256)];
    client.ok(viewport, "set_source", &odd);
    client.ok(viewport, "set_destination", &[I(5), I(5)]);
    client.ok(surface, "commit", &[]);
    // Places may be anywhere, and without a viewport nothing is asked.
    client.ok(viewport, "set_source", &[I(7), I(7), I(512), I(256)]);
    client.ok(viewport, "set_destination", &[I(-1), I(-1)]);
    client.ok(surface, "commit", &[]);
    client.ok(viewport, "set_source", &odd);
    client.destroy(viewport);
    client.ok(surface, "commit", &[]);
    let viewport = client.ok(manager, "get_viewport", &[New, U(surface)]);
    client.ok(surface, "commit", &[]);
    client.ok(viewport, "set_source", &odd);
    let told = client.breaks(Rule::ViewportSize, surface, "commit", &[]);
    assert_eq!(
        (told.interface, told.object, told.code),
        ("wp_viewport", viewport, 1)
    );
}

#[test]
fn a_buffer_with_an_offset() {
    for version in [4, 5] {
        let mut client = Client::new();
        let bind = [
            U(global_name("wl_compositor")),
            S("wl_compositor"),
            U(version),
            New,
        ];
        let compositor = client.ok(2, "bind", &bind);
        let surface = client.surface(compositor);
        client.ok(surface, "attach", &[U(0), I(0), I(0)]);
        let args = [U(0), I(0), I(-1)];
        if version < 5 {
            client.ok(surface, "attach", &args);
        } else {
            let told = client.breaks(Rule::AttachOffset, surface, "attach", &args);
            assert_eq!(told.code, 3);
        }
    }
}

#[test]
fn formats_that_were_not_offered() {
    const RGB565: u32 = 0x3631_4752;
    for (format, stride, rule) in [
        (RGB565, 128, Some(Rule::BufferFormat)),
        (u32::MAX, 128, Some(Rule::BufferFormat)),
        (0x3432_5258, 128, Some(Rule::BufferFormat)),
        (0, 128, None),
        (1, 127, Some(Rule::BufferBounds)),
    ] {
        let mut client = Client::new();
        let shm = client.bind("wl_shm");
        let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
        let args = [New, I(0), I(32), I(8), I(stride), U(format)];
        if let Some(rule) = rule {
            client.breaks(rule, pool, "create_buffer", &args);
        } else {
            client.ok(pool, "create_buffer", &args);
        }
    }
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
    assert_eq!(client.event(shm, "format", &[U(RGB565)]).len(), 1);
    let unknown = client.event(shm, "format", &[U(0x3231_564e)]);
    assert_eq!(unknown, [""; 0], "a format whose lines the gate cannot check");
    let buffer = |stride| [New, I(0), I(32), I(8), I(stride), U(RGB565)];
    client.ok(pool, "create_buffer", &buffer(64));
    client.breaks(Rule::BufferBounds, pool, "create_buffer", &buffer(63));
}

#[test]
fn an_empty_anchor_is_one_pixel() {
    let mut client = Client::new();
    let wm = client.bind("xdg_wm_base");
    let positioner = client.ok(wm, "create_positioner", &[New]);
    client.passed();
    client.ok(positioner, "set_anchor_rect", &[I(5), I(6), I(0), I(0)]);
    assert_eq!(
        client.passed(),
        [format!("xdg_positioner@{positioner}.set_anchor_rect(5,6,1,1)")]
    );
}
