// SPDX-License-Identifier: MIT OR Apache-2.0
//! One test for each request whose numbers or descriptors crash, hang or exhaust Smithay: the gate stops it. Those of trees and
//! floods are in files of their own.

use super::*;

#[test]
fn shm_pool_resize_to_nothing() {
    for size in [0, -1, i32::MIN, 4095] {
        let mut client = Client::new();
        let shm = client.bind("wl_shm");
        let pool = client.ok(shm, "create_pool", &[New, Memory(8192), I(4096)]);
        client.breaks(Rule::PoolSize, pool, "resize", &[I(size)]);
    }
}

#[test]
fn shm_pool_without_size() {
    for size in [0, -1] {
        let mut client = Client::new();
        let shm = client.bind("wl_shm");
        client.breaks(Rule::PoolSize, shm, "create_pool", &[New, Memory(4096), I(size)]);
    }
}

#[test]
fn window_geometry_without_a_size() {
    for size in [(0, 1), (1, 0), (-1, 1), (1, i32::MIN)] {
        let mut client = Client::new();
        let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
        let (_, xdg, _) = client.window(compositor, wm);
        client.passed();
        client.ok(
            xdg,
            "set_window_geometry",
            &[I(i32::MIN), I(3), I(i32::MAX), I(7)],
        );
        assert_eq!(
            client.passed(),
            [format!(
                "xdg_surface@{xdg}.set_window_geometry(-1048576,3,1048576,7)"
            )]
        );
        client.breaks(
            Rule::WindowSize,
            xdg,
            "set_window_geometry",
            &[I(0), I(0), I(size.0), I(size.1)],
        );
    }
}

#[test]
fn negative_smallest_and_largest_sizes() {
    for request in ["set_min_size", "set_max_size"] {
        for size in [(-1, 0), (0, -1), (i32::MIN, i32::MIN)] {
            let mut client = Client::new();
            let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
            let (_, _, toplevel) = client.window(compositor, wm);
            client.passed();
            client.ok(toplevel, request, &[I(0), I(i32::MAX)]);
            client.ok(toplevel, request, &[I(5), I(0)]);
            let said = |size| format!("xdg_toplevel@{toplevel}.{request}({size})");
            assert_eq!(client.passed(), ["0,1048576", "5,0"].map(said));
            client.breaks(Rule::WindowSize, toplevel, request, &[I(size.0), I(size.1)]);
        }
    }
}

#[test]
fn extreme_positioners() {
    let mut client = Client::new();
    let wm = client.bind("xdg_wm_base");
    let positioner = client.ok(wm, "create_positioner", &[New]);
    client.passed();
    client.ok(positioner, "set_size", &[I(i32::MAX), I(1)]);
    client.ok(
        positioner,
        "set_anchor_rect",
        &[I(i32::MIN), I(i32::MAX), I(0), I(i32::MAX)],
    );
    client.ok(positioner, "set_offset", &[I(i32::MIN), I(i32::MAX)]);
    client.ok(positioner, "set_anchor_rect", &[I(0), I(0), I(5), I(0)]);
    client.ok(positioner, "set_parent_size", &[I(i32::MAX), I(0)]);
    client.ok(positioner, "set_parent_size", &[I(0), I(1)]);
    let at = |what: &str| format!("xdg_positioner@{positioner}.{what}");
    assert_eq!(
        client.passed(),
        [
            at("set_size(1048576,1)"),
            at("set_anchor_rect(-1048576,1048576,1,1048576)"),
            at("set_offset(-1048576,1048576)"),
            at("set_anchor_rect(0,0,5,1)"),
            at("set_parent_size(1048576,0)"),
            at("set_parent_size(0,1)"),
        ]
    );
}

#[test]
fn positioners_without_a_size() {
    let rows: [(&str, &[A]); 7] = [
        ("set_size", &[I(0), I(1)]),
        ("set_size", &[I(1), I(0)]),
        ("set_size", &[I(1), I(-1)]),
        ("set_anchor_rect", &[I(0), I(0), I(-1), I(0)]),
        ("set_anchor_rect", &[I(0), I(0), I(0), I(-1)]),
        ("set_parent_size", &[I(-1), I(0)]),
        ("set_parent_size", &[I(0), I(i32::MIN)]),
    ];
    for (request, args) in rows {
        let mut client = Client::new();
        let wm = client.bind("xdg_wm_base");
        let positioner = client.ok(wm, "create_positioner", &[New]);
        client.breaks(Rule::PositionerSize, positioner, request, args);
    }
}

#[test]
fn extreme_subsurface_positions() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (parent, child) = (client.surface(compositor), client.surface(compositor));
    let subsurface = client.ok(sub, "get_subsurface", &[New, U(child), U(parent)]);
    client.passed();
    client.ok(subsurface, "set_position", &[I(i32::MIN), I(i32::MAX)]);
    assert_eq!(
        client.passed(),
        [format!(
            "wl_subsurface@{subsurface}.set_position(-1048576,1048576)"
        )]
    );
}

#[test]
fn extreme_offsets_of_content() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    client.passed();
    client.ok(surface, "offset", &[I(i32::MIN), I(i32::MAX)]);
    assert_eq!(
        client.passed(),
        [format!("wl_surface@{surface}.offset(-1048576,1048576)")]
    );
    let name = global_name("wl_compositor");
    let old = client.ok(2, "bind", &[U(name), S("wl_compositor"), U(4), New]);
    let surface = client.surface(old);
    client.passed();
    client.ok(surface, "attach", &[U(0), I(i32::MIN), I(7)]);
    assert_eq!(
        client.passed(),
        [format!("wl_surface@{surface}.attach(0,-1048576,7)")]
    );
}

#[test]
fn extreme_places_of_a_menu() {
    let mut client = Client::new();
    let (compositor, wm, seat) = (
        client.bind("wl_compositor"),
        client.bind("xdg_wm_base"),
        client.bind("wl_seat"),
    );
    let (_, _, toplevel) = client.window(compositor, wm);
    client.passed();
    client.ok(
        toplevel,
        "show_window_menu",
        &[U(seat), U(1), I(i32::MIN), I(i32::MAX)],
    );
    assert_eq!(
        client.passed(),
        [format!(
            "xdg_toplevel@{toplevel}.show_window_menu({seat},0,-1048576,1048576)"
        )]
    );
}

#[test]
fn viewports_that_are_no_rectangle() {
    let (zero, one) = (I(0), I(256));
    let most = I(32_767);
    let most_source = I(32_767 << 8);
    let rows: [(&str, &[A]); 12] = [
        ("set_source", &[I(-1), zero, one, one]),
        ("set_source", &[zero, I(-1), one, one]),
        ("set_source", &[I(-256), I(-256), I(-256), one]),
        ("set_source", &[zero, zero, zero, one]),
        ("set_source", &[zero, zero, one, zero]),
        ("set_source", &[zero, zero, one, I(i32::MAX)]),
        ("set_source", &[I((32_767 << 8) + 1), zero, one, one]),
        ("set_destination", &[I(0), I(1)]),
        ("set_destination", &[I(1), I(0)]),
        ("set_destination", &[I(1), I(32_768)]),
        ("set_destination", &[I(-1), I(1)]),
        ("set_destination", &[I(1), I(i32::MAX)]),
    ];
    for (request, args) in rows {
        let mut client = Client::new();
        let (compositor, viewporter) = (client.bind("wl_compositor"), client.bind("wp_viewporter"));
        let surface = client.surface(compositor);
        let viewport = client.ok(viewporter, "get_viewport", &[New, U(surface)]);
        client.ok(viewport, "set_source", &[I(-256), I(-256), I(-256), I(-256)]);
        client.ok(viewport, "set_destination", &[I(-1), I(-1)]);
        client.ok(viewport, "set_source", &[zero, zero, one, one]);
        client.ok(
            viewport,
            "set_source",
            &[most_source, most_source, most_source, most_source],
        );
        client.ok(viewport, "set_destination", &[most, I(1)]);
        client.breaks(Rule::ViewportSize, viewport, request, args);
    }
}

#[test]
fn buffer_scales_that_are_none() {
    for scale in [0, -1] {
        let mut client = Client::new();
        let compositor = client.bind("wl_compositor");
        let surface = client.surface(compositor);
        client.breaks(Rule::BufferScale, surface, "set_buffer_scale", &[I(scale)]);
    }
}

#[test]
fn unsolicited_descriptors() {
    let mut client = Client::new();
    let sync = Writer::new(1, 0).uint(client.next).finish();
    let mut fds: VecDeque<_> = (0..28).map(|_| pipe()).collect();
    client.raw(&sync, &mut fds).unwrap();
    let violation = client.raw(&[], &mut VecDeque::from([pipe()])).unwrap_err();
    assert_eq!(violation.rule, Rule::UnsolicitedDescriptors);
    assert!(client.session.client_fds.is_empty(), "they are closed at once");
}
