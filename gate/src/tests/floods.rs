// SPDX-License-Identifier: MIT OR Apache-2.0
//! Objects without end: the gate bounds each kind.

use super::*;

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
