// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees of surfaces, popups and windows that Smithay walks: those that are cyclic, orphaned, too deep or too wide. The gate stops
//! each.

use super::*;

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
