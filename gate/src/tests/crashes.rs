// SPDX-License-Identifier: MIT OR Apache-2.0
//! One test for each request that crashes, hangs or exhausts the compositor's library: the gate stops it.

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
fn subsurface_placed_next_to_itself() {
    for request in ["place_above", "place_below"] {
        let mut client = Client::new();
        let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
        let (parent, child) = (client.surface(compositor), client.surface(compositor));
        let subsurface = client.ok(sub, "get_subsurface", &[New, U(child), U(parent)]);
        client.ok(subsurface, request, &[U(parent)]);
        client.breaks(Rule::SubsurfaceSibling, subsurface, request, &[U(child)]);
    }
}

#[test]
fn subsurface_placed_next_to_a_stranger() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (parent, one, two) = (
        client.surface(compositor),
        client.surface(compositor),
        client.surface(compositor),
    );
    let first = client.ok(sub, "get_subsurface", &[New, U(one), U(parent)]);
    let second = client.ok(sub, "get_subsurface", &[New, U(two), U(parent)]);
    client.ok(first, "place_above", &[U(two)]);
    client.ok(second, "destroy", &[]);
    client.breaks(Rule::SubsurfaceSibling, first, "place_below", &[U(two)]);
}

#[test]
fn subsurface_without_a_parent_any_more() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (parent, child) = (client.surface(compositor), client.surface(compositor));
    let subsurface = client.ok(sub, "get_subsurface", &[New, U(child), U(parent)]);
    client.ok(parent, "destroy", &[]);
    client.passed();
    client.ok(subsurface, "place_above", &[U(child)]);
    assert_eq!(client.passed(), [""; 0]);
    client.ok(child, "destroy", &[]);
    client.ok(subsurface, "destroy", &[]);
    assert_eq!(client.passed().len(), 2);
}

#[test]
fn popup_whose_parent_is_itself() {
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    let told = client.breaks(Rule::PopupParent, xdg, "get_popup", &[New, U(xdg), U(positioner)]);
    assert_eq!((told.interface, told.object, told.code), ("xdg_wm_base", wm, 3));
}

#[test]
fn popup_without_a_parent_or_with_one_that_is_nothing() {
    for with_parent in [false, true] {
        let mut client = Client::new();
        let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
        let positioner = client.ok(wm, "create_positioner", &[New]);
        let (one, two) = (client.surface(compositor), client.surface(compositor));
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(one)]);
        let bare = client.ok(wm, "get_xdg_surface", &[New, U(two)]);
        let parent = if with_parent { bare } else { 0 };
        client.breaks(
            Rule::PopupParent,
            xdg,
            "get_popup",
            &[New, U(parent), U(positioner)],
        );
    }
}

/// A window, a popup on it, and a popup on that: (wm, compositor, positioner, then surface, xdg_surface and popup of both).
fn two_popups(client: &mut Client) -> (u32, u32, u32, [u32; 3], [u32; 3]) {
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let (_, mut parent, _) = client.window(compositor, wm);
    let mut popups = [[0; 3]; 2];
    for popup in &mut popups {
        let surface = client.surface(compositor);
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
        *popup = [
            surface,
            xdg,
            client.ok(xdg, "get_popup", &[New, U(parent), U(positioner)]),
        ];
        parent = xdg;
    }
    (wm, compositor, positioner, popups[0], popups[1])
}

#[test]
fn popup_cycle() {
    let mut client = Client::new();
    let (_, _, positioner, [_, upper, popup], [_, lower, _]) = two_popups(&mut client);
    client.destroy(popup);
    client.breaks(
        Rule::PopupParent,
        upper,
        "get_popup",
        &[New, U(lower), U(positioner)],
    );
}

#[test]
fn popup_cycle_through_a_new_xdg_surface() {
    let mut client = Client::new();
    let (wm, _, positioner, [surface, upper, popup], [_, lower, _]) = two_popups(&mut client);
    client.destroy(popup);
    client.destroy(upper);
    let again = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    client.breaks(
        Rule::PopupParent,
        again,
        "get_popup",
        &[New, U(lower), U(positioner)],
    );
}

#[test]
fn popup_cycle_through_a_dead_surface() {
    let mut client = Client::new();
    let (wm, compositor, positioner, [_, upper, popup], [surface, lower, _]) = two_popups(&mut client);
    // A third popup below the second, whose surface then goes: Smithay still knows its parent.
    let third = client.surface(compositor);
    let third_xdg = client.ok(wm, "get_xdg_surface", &[New, U(third)]);
    client.ok(third_xdg, "get_popup", &[New, U(lower), U(positioner)]);
    client.destroy(surface);
    client.destroy(popup);
    client.breaks(
        Rule::PopupParent,
        upper,
        "get_popup",
        &[New, U(third_xdg), U(positioner)],
    );
}

#[test]
fn role_object_for_a_dead_surface() {
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    client.destroy(surface);
    client.breaks(Rule::SurfaceRole, xdg, "get_toplevel", &[New]);
}

#[test]
fn two_roles_at_once() {
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (surface, xdg, toplevel) = client.window(compositor, wm);
    client.destroy(toplevel);
    client.ok(xdg, "get_toplevel", &[New]);
    let mut copy = Client::new();
    let (compositor, wm) = (copy.bind("wl_compositor"), copy.bind("xdg_wm_base"));
    assert_eq!(copy.window(compositor, wm).0, surface);
    copy.breaks(Rule::SurfaceRole, wm, "get_xdg_surface", &[New, U(surface)]);
    client.breaks(Rule::SurfaceRole, xdg, "get_toplevel", &[New]);
}

#[test]
fn long_popup_chain() {
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let (_, mut parent, _) = client.window(compositor, wm);
    for level in 0..100 {
        let surface = client.surface(compositor);
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
        if level == 32 {
            client.breaks(
                Rule::ParentDepth,
                xdg,
                "get_popup",
                &[New, U(parent), U(positioner)],
            );
            return;
        }
        client.ok(xdg, "get_popup", &[New, U(parent), U(positioner)]);
        parent = xdg;
    }
}

#[test]
fn window_cycle() {
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (_, _, one) = client.window(compositor, wm);
    let (_, _, two) = client.window(compositor, wm);
    client.ok(one, "set_parent", &[U(two)]);
    client.ok(one, "set_parent", &[U(0)]);
    client.ok(two, "set_parent", &[U(one)]);
    client.breaks(Rule::WindowParent, one, "set_parent", &[U(two)]);
}

#[test]
fn subsurfaces_nested_from_the_root() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let mut parent = client.surface(compositor);
    for level in 1..=9 {
        let child = client.surface(compositor);
        let args = [New, U(child), U(parent)];
        if level == 9 {
            client.breaks(Rule::SubsurfaceDepth, sub, "get_subsurface", &args);
        } else {
            client.ok(sub, "get_subsurface", &args);
        }
        parent = child;
    }
}

#[test]
fn subsurfaces_nested_from_the_leaf() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let mut child = client.surface(compositor);
    for level in 1..=9 {
        let parent = client.surface(compositor);
        let args = [New, U(child), U(parent)];
        if level == 9 {
            client.breaks(Rule::SubsurfaceDepth, sub, "get_subsurface", &args);
        } else {
            client.ok(sub, "get_subsurface", &args);
        }
        child = parent;
    }
}

#[test]
fn surface_that_is_its_own_ancestor() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (one, two) = (client.surface(compositor), client.surface(compositor));
    client.ok(sub, "get_subsurface", &[New, U(two), U(one)]);
    client.breaks(
        Rule::SubsurfaceParent,
        sub,
        "get_subsurface",
        &[New, U(one), U(two)],
    );
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let one = client.surface(compositor);
    client.breaks(
        Rule::SubsurfaceParent,
        sub,
        "get_subsurface",
        &[New, U(one), U(one)],
    );
}

#[test]
fn surface_with_two_parents() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (one, two, three) = (
        client.surface(compositor),
        client.surface(compositor),
        client.surface(compositor),
    );
    let subsurface = client.ok(sub, "get_subsurface", &[New, U(three), U(one)]);
    client.destroy(subsurface);
    client.ok(sub, "get_subsurface", &[New, U(three), U(two)]);
    client.breaks(
        Rule::SubsurfaceParent,
        sub,
        "get_subsurface",
        &[New, U(three), U(one)],
    );
}

#[test]
fn wide_trees_and_trees_that_are_joined() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let roots = [client.surface(compositor), client.surface(compositor)];
    for root in roots {
        for _ in 0..127 {
            let child = client.surface(compositor);
            client.ok(sub, "get_subsurface", &[New, U(child), U(root)]);
        }
    }
    // 256 together are as many as there may be.
    let joined = client.ok(sub, "get_subsurface", &[New, U(roots[0]), U(roots[1])]);
    client.destroy(joined);
    let child = client.surface(compositor);
    client.ok(sub, "get_subsurface", &[New, U(child), U(roots[0])]);
    client.breaks(
        Rule::TreeSurfaces,
        sub,
        "get_subsurface",
        &[New, U(roots[0]), U(roots[1])],
    );
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

#[test]
fn floods_of_objects() {
    let limits = Limits {
        objects: 100,
        ..Limits::default()
    };
    let mut client = Client::with(limits);
    let wm = client.bind("xdg_wm_base");
    while client.session.object_count() < 100 {
        client.ok(wm, "create_positioner", &[New]);
    }
    client.breaks(Rule::TooManyObjects, wm, "create_positioner", &[New]);
}

#[test]
fn ids_that_only_rise() {
    let limits = Limits {
        ids: 50,
        ..Limits::default()
    };
    let mut client = Client::with(limits);
    let compositor = client.bind("wl_compositor");
    while client.session.object_count() < 50 {
        client.ok(compositor, "create_region", &[New]);
    }
    client.breaks(Rule::BadNewId, compositor, "create_region", &[New]);
}

#[test]
fn floods_of_each_kind() {
    let limits = Limits {
        callbacks: 5,
        registries: 5,
        surfaces: 5,
        pools: 5,
        regions: 5,
        mime_types: 5,
        ..Limits::default()
    };
    let rows: [(Rule, &str, &str, &[A]); 5] = [
        (Rule::TooManyCallbacks, "wl_display", "sync", &[New]),
        (Rule::TooManyRegistries, "wl_display", "get_registry", &[New]),
        (Rule::TooManySurfaces, "wl_compositor", "create_surface", &[New]),
        (Rule::TooManyRegions, "wl_compositor", "create_region", &[New]),
        (
            Rule::TooManyPools,
            "wl_shm",
            "create_pool",
            &[New, Memory(1), I(1)],
        ),
    ];
    for (rule, interface, request, args) in rows {
        let mut client = Client::with(limits);
        let (id, there) = if interface == "wl_display" {
            (1, 0)
        } else {
            (client.bind(interface), 0)
        };
        let there = there + u32::from(rule == Rule::TooManyRegistries);
        for _ in there..5 {
            client.ok(id, request, args);
        }
        client.breaks(rule, id, request, args);
    }
    let mut client = Client::with(limits);
    let manager = client.bind("wl_data_device_manager");
    let source = client.ok(manager, "create_data_source", &[New]);
    for _ in 0..5 {
        client.ok(source, "offer", &[S("text/plain")]);
    }
    client.breaks(Rule::TooManyTypes, source, "offer", &[S("text/plain")]);
}

#[test]
fn callbacks_that_came_back_are_not_counted() {
    let mut client = Client::with(Limits {
        callbacks: 2,
        ..Limits::default()
    });
    for _ in 0..10 {
        let callback = client.ok(1, "sync", &[New]);
        client.event(callback, "done", &[U(0)]);
        client.event(1, "delete_id", &[U(callback)]);
    }
}
