// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions and damage: lists of rectangles that a client may make long, empty or extreme.

use super::*;

#[test]
fn many_rectangles_in_a_region_become_one() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    for index in 0..1024 {
        let request = if index % 2 == 0 { "add" } else { "subtract" };
        client.ok(region, request, &[I(index), I(0), I(1), I(1)]);
    }
    client.passed();
    client.ok(region, "add", &[I(5), I(8), I(1), I(1)]);
    assert_eq!(
        client.passed(),
        [format!("wl_region@{region}.add(0,0,1023,9)")],
        "the box around everything"
    );
    client.ok(region, "add", &[I(7), I(3), I(9), I(2)]);
    client.ok(region, "subtract", &[I(7), I(3), I(9), I(2)]);
    assert_eq!(
        client.passed(),
        [""; 0],
        "what lies within, and what cannot be cut out"
    );
    for step in 0..5000 {
        client.ok(region, "add", &[I(step * 100), I(-step), I(1), I(1)]);
    }
    assert!(client.passed().len() < 40, "the box grows by doubling");
}

#[test]
fn copies_of_a_region_are_counted() {
    let mut client = Client::with(Limits {
        rectangles: 2500,
        ..Limits::default()
    });
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    for index in 0..1000 {
        client.ok(region, "add", &[I(index), I(0), I(1), I(1)]);
    }
    let (one, two) = (client.surface(compositor), client.surface(compositor));
    client.passed();
    client.ok(one, "set_input_region", &[U(region)]);
    client.ok(two, "set_input_region", &[U(region)]);
    client.ok(one, "destroy", &[]);
    client.ok(two, "set_opaque_region", &[U(region)]);
    assert_eq!(
        client.passed(),
        [
            format!("wl_surface@{one}.set_input_region({region})"),
            format!("wl_surface@{two}.set_input_region(0)"),
            format!("wl_surface@{one}.destroy()"),
            format!("wl_surface@{two}.set_opaque_region({region})"),
        ]
    );
}

#[test]
fn many_damage_rectangles_become_one() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    client.passed();
    for request in ["damage", "damage_buffer"] {
        for index in 0..70 {
            client.ok(surface, request, &[I(index), I(-index), I(10), I(20)]);
        }
    }
    assert_eq!(client.passed().len(), 64 + 64);
    client.content(surface);
    client.ok(surface, "commit", &[]);
    assert_eq!(
        client.passed(),
        [
            format!("wl_surface@{surface}.damage(64,-69,15,25)"),
            format!("wl_surface@{surface}.damage_buffer(64,-69,15,25)"),
            format!("wl_surface@{surface}.commit()"),
        ]
    );
    client.ok(surface, "commit", &[]);
    assert_eq!(
        client.passed().len(),
        1,
        "damage is counted from the last new content"
    );
}

#[test]
fn damage_and_regions_without_a_size_are_dropped() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    let region = client.ok(compositor, "create_region", &[New]);
    client.passed();
    for (width, height) in [(0, 5), (5, 0), (-1, 5), (5, i32::MIN)] {
        for (id, request) in [
            (surface, "damage"),
            (surface, "damage_buffer"),
            (region, "add"),
            (region, "subtract"),
        ] {
            client.ok(id, request, &[I(0), I(0), I(width), I(height)]);
        }
    }
    assert_eq!(client.passed(), [""; 0]);
}

#[test]
fn extreme_damage_and_regions_are_brought_into_range() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    client.passed();
    client.ok(
        surface,
        "damage",
        &[I(i32::MIN), I(i32::MAX), I(i32::MAX), I(i32::MAX)],
    );
    let most = 1 << 29;
    assert_eq!(
        client.passed(),
        [format!(
            "wl_surface@{surface}.damage({},{most},{most},{most})",
            -most
        )]
    );
}
