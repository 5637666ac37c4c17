// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commits that do not count yet: Smithay keeps every one of them, and all damage until there is new content.

use super::*;
use crate::budget::Budget;

/// A surface with a subsurface, and the `wl_subsurface`.
fn tree(client: &mut Client) -> (u32, u32, u32) {
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (root, child) = (client.surface(compositor), client.surface(compositor));
    let subsurface = client.ok(sub, "get_subsurface", &[New, U(child), U(root)]);
    client.passed();
    (root, child, subsurface)
}

fn commits(client: &mut Client, surface: u32, count: usize) -> usize {
    for _ in 0..count {
        client.ok(surface, "commit", &[]);
    }
    client.passed().len()
}

#[test]
fn few_commits_wait_for_a_parent() {
    let mut client = Client::new();
    let (root, child, subsurface) = tree(&mut client);
    assert_eq!(commits(&mut client, child, 100), 8);
    assert_eq!(commits(&mut client, root, 1), 1);
    assert_eq!(
        commits(&mut client, child, 100),
        8,
        "the parent's commit made room"
    );
    client.ok(subsurface, "set_desync", &[]);
    client.passed();
    assert_eq!(commits(&mut client, child, 100), 100, "nothing waits");
    client.ok(subsurface, "set_sync", &[]);
    client.ok(root, "destroy", &[]);
    client.passed();
    assert_eq!(commits(&mut client, child, 100), 8, "it still waits");
    client.ok(subsurface, "destroy", &[]);
    client.passed();
    assert_eq!(commits(&mut client, child, 100), 0);
}

#[test]
fn brothers_of_one_that_goes_go_on() {
    for goes in ["wl_surface", "wl_subsurface"] {
        let mut client = Client::new();
        let (root, child, subsurface) = tree(&mut client);
        let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
        let brother = client.surface(compositor);
        client.ok(sub, "get_subsurface", &[New, U(brother), U(root)]);
        client.passed();
        assert_eq!(commits(&mut client, brother, 100), 8);
        let (id, other) = if goes == "wl_surface" {
            (child, subsurface)
        } else {
            (subsurface, child)
        };
        client.ok(id, "destroy", &[]);
        client.passed();
        assert_eq!(commits(&mut client, root, 1), 1);
        assert_eq!(commits(&mut client, brother, 100), 8, "{goes}");
        client.ok(other, "destroy", &[]);
    }
}

/// A `wl_subsurface` outlives its surface, whose id comes again.
#[test]
fn what_was_a_subsurface_is_not_another() {
    let mut client = Client::new();
    let (root, child, stale) = tree(&mut client);
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    client.destroy(child);
    let next = std::mem::replace(&mut client.next, child);
    assert_eq!(client.surface(compositor), child);
    client.next = next;
    client.ok(sub, "get_subsurface", &[New, U(child), U(root)]);
    client.ok(stale, "set_desync", &[]);
    client.passed();
    client.ok(stale, "place_above", &[U(root)]);
    assert_eq!(client.passed(), [""; 0], "it is no one's neighbour");
    client.ok(stale, "destroy", &[]);
    client.passed();
    assert_eq!(commits(&mut client, child, 100), 8, "it waits for its parent");
    assert_eq!(commits(&mut client, root, 1), 1);
    assert_eq!(commits(&mut client, child, 100), 8, "and its parent knows it");
}

#[test]
fn subsurfaces_are_placed_beside_parents_and_brothers() {
    for request in ["place_above", "place_below"] {
        let mut client = Client::new();
        let (root, child, subsurface) = tree(&mut client);
        let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
        let brother = client.surface(compositor);
        client.ok(sub, "get_subsurface", &[New, U(brother), U(root)]);
        let nephew = client.surface(compositor);
        client.ok(sub, "get_subsurface", &[New, U(nephew), U(brother)]);
        client.passed();
        for beside in [root, brother] {
            client.ok(subsurface, request, &[U(beside)]);
            let said = format!("wl_subsurface@{subsurface}.{request}({beside})");
            assert_eq!(client.passed(), [said]);
        }
        let other = if request == "place_above" { child } else { nephew };
        let told = client.breaks(Rule::SubsurfaceSibling, subsurface, request, &[U(other)]);
        assert_eq!((told.interface, told.code), ("wl_subsurface", 0));
    }
}

#[test]
fn damage_waits_for_content_and_stays_within_range() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    for _ in 0..64 {
        client.ok(surface, "damage", &[I(0), I(0), I(1), I(1)]);
    }
    client.passed();
    client.ok(
        surface,
        "damage",
        &[I(i32::MIN), I(i32::MAX), I(i32::MAX), I(i32::MAX)],
    );
    // A commit without content, and one that takes the content away.
    client.ok(surface, "commit", &[]);
    client.ok(surface, "attach", &[U(0), I(0), I(0)]);
    client.passed();
    client.ok(surface, "commit", &[]);
    let commit = format!("wl_surface@{surface}.commit()");
    assert_eq!(client.passed(), std::slice::from_ref(&commit));
    client.content(surface);
    client.ok(surface, "commit", &[]);
    let far = 1 << 29;
    let rest = format!(
        "wl_surface@{surface}.damage({},{far},{},{})",
        -far,
        2 * far,
        2 * far
    );
    assert_eq!(client.passed(), [rest, commit]);
}

#[test]
fn what_is_below_a_subsurface_that_waits_waits_too() {
    let mut client = Client::new();
    let (root, child, _) = tree(&mut client);
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let leaf = client.surface(compositor);
    let subsurface = client.ok(sub, "get_subsurface", &[New, U(leaf), U(child)]);
    client.ok(subsurface, "set_desync", &[]);
    client.passed();
    assert_eq!(commits(&mut client, leaf, 100), 8);
    assert_eq!(commits(&mut client, child, 100), 8);
    assert_eq!(commits(&mut client, leaf, 100), 0, "the root is not committed");
    assert_eq!(commits(&mut client, root, 1), 1);
    assert_eq!(commits(&mut client, leaf, 100), 8);
}

#[test]
fn damage_without_content_is_kept_once() {
    let mut client = Client::new();
    let (root, child, _) = tree(&mut client);
    for surface in [root, child] {
        for _ in 0..100 {
            client.ok(surface, "damage", &[I(1), I(2), I(3), I(4)]);
            client.ok(surface, "damage_buffer", &[I(1), I(2), I(3), I(4)]);
            client.ok(surface, "commit", &[]);
        }
        let damage = |passed: Vec<String>| passed.iter().filter(|said| said.contains("damage")).count();
        assert_eq!(damage(client.passed()), 64 + 64);
        client.content(surface);
    }
    client.ok(root, "commit", &[]);
    let box_of = |surface| {
        [
            format!("wl_surface@{surface}.damage(1,2,3,4)"),
            format!("wl_surface@{surface}.damage_buffer(1,2,3,4)"),
        ]
    };
    let mut said = [box_of(root), box_of(child)].concat();
    said.push(format!("wl_surface@{root}.commit()"));
    assert_eq!(
        client.passed(),
        said,
        "the child's content comes with its parent's"
    );
    client.ok(child, "damage", &[I(1), I(2), I(3), I(4)]);
    assert_eq!(client.passed().len(), 1, "counted from the start");
}

#[test]
fn memory_of_commits_that_wait_is_counted() {
    let mut client = Client::new();
    let (root, child, _) = tree(&mut client);
    let shm = client.bind("wl_shm");
    for _ in 0..5 {
        let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
        let buffer = client.ok(pool, "create_buffer", &[New, I(0), I(1), I(1), I(4), U(0)]);
        client.ok(child, "attach", &[U(buffer), I(0), I(0)]);
        client.ok(child, "commit", &[]);
        client.ok(buffer, "destroy", &[]);
        client.ok(pool, "destroy", &[]);
    }
    let used = |client: &Client| {
        let mut usage = client.session.state.account.budgets().usage();
        usage
            .find(|usage| usage.budget == Budget::PoolBytes)
            .unwrap()
            .used
    };
    assert_eq!(used(&client), 5 * 4096);
    client.ok(root, "commit", &[]);
    assert_eq!(used(&client), 4096, "the last one is shown");
    client.ok(child, "destroy", &[]);
    assert_eq!(used(&client), 0);
}
