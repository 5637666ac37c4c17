// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commits that do not count yet: the library keeps every one of them, and all damage until there is new content.

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
