// SPDX-License-Identifier: MIT OR Apache-2.0
//! Budgets of a VM: what each counts, what is given back, and the end of a client in slices.

use super::*;
use crate::Budget;

fn used(client: &Client, budget: Budget) -> u64 {
    client
        .session
        .state
        .account
        .budgets()
        .usage()
        .find(|usage| usage.budget == budget)
        .unwrap()
        .used
}

/// Found by fuzzing: Smithay asserts that a rectangle has a size.
#[test]
fn a_box_around_what_is_out_of_range_has_a_size() {
    let mut client = Client::with(Limits {
        region_rectangles: 0,
        ..Limits::default()
    });
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    client.passed();
    client.ok(region, "add", &[I(i32::MAX), I(0), I(i32::MAX), I(1)]);
    let end = 1 << 29;
    // What was there is taken out before.
    let both =
        |values: String| ["subtract", "add"].map(|name| format!("wl_region@{region}.{name}({values})"));
    assert_eq!(client.passed(), both(format!("{},0,1,1", end - 1)));
    client.ok(region, "add", &[I(i32::MIN), I(i32::MAX), I(1), I(i32::MAX)]);
    assert_eq!(client.passed(), both(format!("{},0,{},{end}", -end, 2 * end)));
}

/// One request over the limit of each kind of object.
#[test]
fn objects_of_every_kind_are_counted() {
    let tight = Limits {
        surfaces: 3,
        toplevels: 1,
        popups: 1,
        regions: 2,
        sources: 2,
        pools: 2,
        buffers: 2,
        ..Limits::default()
    };
    let mut client = Client::with(tight);
    let compositor = client.bind("wl_compositor");
    for _ in 0..3 {
        client.surface(compositor);
    }
    client.breaks(Rule::TooManySurfaces, compositor, "create_surface", &[New]);

    let mut client = Client::with(tight);
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    client.window(compositor, wm);
    let surface = client.surface(compositor);
    let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
    client.breaks(Rule::TooManyToplevels, xdg, "get_toplevel", &[New]);

    let mut client = Client::with(tight);
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (_, parent, _) = client.window(compositor, wm);
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let [one, two] = [0; 2].map(|_| {
        let surface = client.surface(compositor);
        client.ok(wm, "get_xdg_surface", &[New, U(surface)])
    });
    let popup = client.ok(one, "get_popup", &[New, U(parent), U(positioner)]);
    client.destroy(popup);
    client.ok(one, "get_popup", &[New, U(parent), U(positioner)]);
    client.breaks(
        Rule::TooManyPopups,
        two,
        "get_popup",
        &[New, U(parent), U(positioner)],
    );

    let mut client = Client::with(tight);
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    client.ok(compositor, "create_region", &[New]);
    client.ok(region, "destroy", &[]);
    client.ok(compositor, "create_region", &[New]);
    client.breaks(Rule::TooManyRegions, compositor, "create_region", &[New]);

    let mut client = Client::with(tight);
    let manager = client.bind("wl_data_device_manager");
    for _ in 0..2 {
        client.ok(manager, "create_data_source", &[New]);
    }
    client.breaks(Rule::TooManySources, manager, "create_data_source", &[New]);

    let mut client = Client::with(tight);
    let shm = client.bind("wl_shm");
    let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
    let buffer = [New, I(0), I(1), I(1), I(4), U(0)];
    client.ok(pool, "create_buffer", &buffer);
    client.ok(pool, "create_buffer", &buffer);
    client.breaks(Rule::TooManyBuffers, pool, "create_buffer", &buffer);

    let mut client = Client::with(tight);
    let shm = client.bind("wl_shm");
    for _ in 0..2 {
        client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
    }
    client.breaks(
        Rule::TooManyPools,
        shm,
        "create_pool",
        &[New, Memory(4096), I(4096)],
    );
}

#[test]
fn memory_is_counted_until_nothing_shows_it() {
    let mut client = Client::with(Limits {
        pool_bytes: 10_000,
        ..Limits::default()
    });
    let (compositor, shm) = (client.bind("wl_compositor"), client.bind("wl_shm"));
    let surface = client.surface(compositor);
    let make = |client: &mut Client| {
        let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
        let buffer = client.ok(pool, "create_buffer", &[New, I(0), I(1), I(1), I(4), U(0)]);
        client.ok(pool, "destroy", &[]);
        buffer
    };
    let (one, two) = (make(&mut client), make(&mut client));
    assert_eq!(
        used(&client, Budget::PoolBytes),
        8192,
        "the buffers keep their pools"
    );
    client.ok(surface, "attach", &[U(one), I(0), I(0)]);
    client.ok(one, "destroy", &[]);
    client.ok(surface, "commit", &[]);
    assert_eq!(used(&client, Budget::PoolBytes), 8192, "the surface shows it");
    client.ok(surface, "attach", &[U(two), I(0), I(0)]);
    client.ok(surface, "commit", &[]);
    assert_eq!(used(&client, Budget::PoolBytes), 4096);
    client.ok(two, "destroy", &[]);
    client.ok(surface, "destroy", &[]);
    assert_eq!(used(&client, Budget::PoolBytes), 0);
    assert_eq!(used(&client, Budget::Descriptors), 0);
    let pool = client.ok(shm, "create_pool", &[New, Memory(12_000), I(9_000)]);
    client.breaks(Rule::PoolBytes, pool, "resize", &[I(12_000)]);
}

#[test]
fn memory_of_a_subsurface_is_counted_until_its_parent_takes_the_next() {
    let mut client = Client::new();
    let (compositor, sub, shm) = (
        client.bind("wl_compositor"),
        client.bind("wl_subcompositor"),
        client.bind("wl_shm"),
    );
    let (root, child) = (client.surface(compositor), client.surface(compositor));
    client.ok(sub, "get_subsurface", &[New, U(child), U(root)]);
    let show = |client: &mut Client| {
        let pool = client.ok(shm, "create_pool", &[New, Memory(4096), I(4096)]);
        let buffer = client.ok(pool, "create_buffer", &[New, I(0), I(1), I(1), I(4), U(0)]);
        client.ok(child, "attach", &[U(buffer), I(0), I(0)]);
        client.ok(child, "commit", &[]);
        client.ok(buffer, "destroy", &[]);
        client.ok(pool, "destroy", &[]);
    };
    show(&mut client);
    client.ok(root, "commit", &[]);
    show(&mut client);
    show(&mut client);
    assert_eq!(
        used(&client, Budget::PoolBytes),
        3 * 4096,
        "the shown one and those that wait, which the library keeps"
    );
    client.ok(root, "commit", &[]);
    assert_eq!(used(&client, Budget::PoolBytes), 4096);
}

#[test]
fn a_session_can_be_shown() {
    let mut client = Client::new();
    client.bind("wl_compositor");
    let shown = format!("{:?}", client.session);
    assert!(shown.contains("wl_compositor v"), "{shown}");
}

#[test]
fn texts_and_types_have_an_end() {
    let mut client = Client::with(Limits {
        string_bytes: 500,
        ..Limits::default()
    });
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (_, _, toplevel) = client.window(compositor, wm);
    client.ok(toplevel, "set_title", &[S(&"x".repeat(500))]);
    client.breaks(Rule::StringLength, toplevel, "set_title", &[S(&"x".repeat(501))]);

    let mut client = Client::new();
    let manager = client.bind("wl_data_device_manager");
    let long = "x".repeat(2000);
    for _ in 0..50 {
        let source = client.ok(manager, "create_data_source", &[New]);
        client.ok(source, "offer", &[S(&long)]);
        client.destroy(source);
    }
    let source = client.ok(manager, "create_data_source", &[New]);
    for _ in 0..32 {
        client.ok(source, "offer", &[S(&long)]);
    }
    client.breaks(Rule::MimeBytes, source, "offer", &[S(&long)]);
}

#[test]
fn descriptors_that_wait_are_counted() {
    let mut client = Client::with(Limits {
        descriptors: 10,
        ..Limits::default()
    });
    let mut fds: VecDeque<OwnedFd> = (0..11).map(|_| memory(1)).collect();
    let violation = client.raw(&[], &mut fds).unwrap_err();
    assert_eq!(violation.rule, Rule::TooManyDescriptors);
}

#[test]
fn the_end_of_a_client_with_much_is_said_in_slices() {
    let mut client = Client::new();
    let (compositor, wm, sub) = (
        client.bind("wl_compositor"),
        client.bind("xdg_wm_base"),
        client.bind("wl_subcompositor"),
    );
    assert!(client.session.teardown().is_done(), "little is destroyed at once");
    let (window, xdg, toplevel) = client.window(compositor, wm);
    let children: Vec<(u32, u32)> = (0..200)
        .map(|_| {
            let child = client.surface(compositor);
            (
                child,
                client.ok(sub, "get_subsurface", &[New, U(child), U(window)]),
            )
        })
        .collect();
    client.passed();
    let mut teardown = client.session.teardown();
    let mut said = Vec::new();
    while !teardown.is_done() {
        let mut out = SendQueue::new();
        teardown.slice(50, &mut out);
        let part = words(&client.session, &drain(&mut out).0, false);
        assert!(part.len() <= 50);
        said.extend(part);
    }
    let place = |what: String| said.iter().position(|word| *word == what).unwrap();
    let mut order = vec![
        place(format!("xdg_toplevel@{toplevel}.destroy()")),
        place(format!("xdg_surface@{xdg}.destroy()")),
        place(format!("wl_surface@{window}.destroy()")),
    ];
    assert!(order.is_sorted(), "the role, then what it is of");
    for (surface, subsurface) in children {
        order = vec![
            place(format!("wl_subsurface@{subsurface}.destroy()")),
            place(format!("wl_surface@{surface}.destroy()")),
        ];
        assert!(order.is_sorted());
    }
    assert_eq!(said.len(), 2 + 201 + 200, "everything once");
}

/// What is said when a client leaves, in so many slices of one request.
fn said_at_the_end(client: &Client) -> Vec<String> {
    let mut teardown = client.session.teardown();
    let mut out = SendQueue::new();
    let mut count = 0;
    while !teardown.is_done() {
        count += teardown.slice(1, &mut out);
    }
    assert_eq!(teardown.slice(1, &mut out), 0);
    let said = words(&client.session, &drain(&mut out).0, false);
    assert_eq!(count, said.len());
    said
}

#[test]
fn what_is_of_others_goes_before_them() {
    let mut client = Client::new();
    let managers: Vec<u32> = tables::GLOBALS
        .iter()
        .map(|interface| client.bind(interface().name))
        .collect();
    let of = |interface: &str| managers[usize::try_from(global_name(interface)).unwrap() - 1];
    let (compositor, wm) = (of("wl_compositor"), of("xdg_wm_base"));
    let pool = client.ok(of("wl_shm"), "create_pool", &[New, Memory(4096), I(4096)]);
    let buffer = client.ok(pool, "create_buffer", &[New, I(0), I(1), I(1), I(4), U(0)]);
    let (surface, xdg, toplevel) = client.window(compositor, wm);
    let child = client.surface(compositor);
    let subsurface = client.ok(
        of("wl_subcompositor"),
        "get_subsurface",
        &[New, U(child), U(surface)],
    );
    let positioner = client.ok(wm, "create_positioner", &[New]);
    let mut popup = |parent| {
        let surface = client.surface(compositor);
        let xdg = client.ok(wm, "get_xdg_surface", &[New, U(surface)]);
        let popup = client.ok(xdg, "get_popup", &[New, U(parent), U(positioner)]);
        (surface, xdg, popup)
    };
    let (menu, menu_xdg, popup_of_menu) = popup(xdg);
    let (upper, upper_xdg, upper_popup) = popup(menu_xdg);
    let viewport = client.ok(of("wp_viewporter"), "get_viewport", &[New, U(surface)]);
    client.ok(surface, "frame", &[New]);
    client.ok(of("wp_presentation"), "feedback", &[U(surface), New]);
    let few = said_at_the_end(&client);
    assert_eq!(few, [""; 0], "little goes at once, and no device is kept");
    let gone = client.surface(compositor);
    client.ok(gone, "destroy", &[]);
    let mut regions = Vec::new();
    while client.session.object_count() < 255 {
        regions.push(client.ok(compositor, "create_region", &[New]));
    }
    assert_eq!(said_at_the_end(&client), [""; 0], "255 are little");
    regions.push(client.ok(compositor, "create_region", &[New]));
    let said = said_at_the_end(&client);
    let from = said
        .iter()
        .position(|word| word.starts_with("xdg_popup"))
        .unwrap();
    let destroyed = |interface: &str, id| format!("{interface}@{id}.destroy()");
    assert_eq!(
        said[from..],
        [
            destroyed("xdg_popup", upper_popup),
            destroyed("xdg_popup", popup_of_menu),
            destroyed("xdg_toplevel", toplevel),
            destroyed("xdg_surface", upper_xdg),
            destroyed("xdg_surface", menu_xdg),
            destroyed("xdg_surface", xdg),
            destroyed("wl_subsurface", subsurface),
            destroyed("wl_surface", upper),
            destroyed("wl_surface", menu),
            destroyed("wl_surface", child),
            destroyed("wl_surface", surface),
            destroyed("wl_buffer", buffer),
            destroyed("wl_shm_pool", pool),
        ],
        "children before parents, roles before surfaces, buffers before pools"
    );
    // Before these, what nothing depends on.
    let first = &said[..from];
    assert!(first.contains(&destroyed("wp_viewport", viewport)));
    assert!(
        regions
            .iter()
            .all(|id| first.contains(&destroyed("wl_region", *id)))
    );
    assert_eq!(first.iter().find(|word| lasts(word)), None);
}

/// What ends by itself or makes others, and is left to Smithay.
fn lasts(word: &str) -> bool {
    let (interface, _) = word.split_once('@').unwrap();
    [
        "wl_display",
        "wl_registry",
        "wl_callback",
        "wp_presentation_feedback",
        "wl_compositor",
        "wl_shm",
        "wl_subcompositor",
        "xdg_wm_base",
        "wl_data_device_manager",
        "zwp_primary_selection_device_manager_v1",
    ]
    .contains(&interface)
}

#[test]
fn a_client_that_leaves_releases_what_the_library_would_keep() {
    for version in 1..=3 {
        let mut client = Client::new();
        let seat = client.bind("wl_seat");
        let name = global_name("wl_data_device_manager");
        let manager = client.ok(
            2,
            "bind",
            &[U(name), S("wl_data_device_manager"), U(version), New],
        );
        let device = client.ok(manager, "get_data_device", &[New, U(seat)]);
        let bound = client.passed();
        assert!(
            bound
                .iter()
                .any(|word| word.contains("\"wl_data_device_manager\"")
                    && word.contains(&format!(",{},", version.max(2)))),
            "{bound:?}"
        );
        let mut out = SendQueue::new();
        let mut teardown = client.session.teardown();
        teardown.slice(50, &mut out);
        assert!(teardown.is_done());
        let said = words(&client.session, &drain(&mut out).0, false);
        assert_eq!(said, [format!("wl_data_device@{device}.release()")]);
    }
    let mut client = Client::new();
    let (seat, manager) = (
        client.bind("wl_seat"),
        client.bind("zwp_primary_selection_device_manager_v1"),
    );
    let device = client.ok(manager, "get_device", &[New, U(seat)]);
    client.ok(seat, "get_pointer", &[New]);
    assert_eq!(
        said_at_the_end(&client),
        [format!("zwp_primary_selection_device_v1@{device}.destroy()")]
    );
}

#[test]
fn what_nothing_destroys_is_counted_for_good() {
    let limits = Limits {
        lasting: 20,
        instances: 1000,
        listed: 1000,
        ..Limits::default()
    };
    let bind = |client: &mut Client, interface: &str, version: u32| {
        let name = global_name(interface);
        client.ok(2, "bind", &[U(name), S(interface), U(version), New])
    };
    let rows: [(&str, u32, &str); 3] = [
        ("wl_seat", 1, "get_pointer"),
        ("wl_seat", 2, "get_keyboard"),
        ("wl_seat", 2, "get_touch"),
    ];
    for (interface, version, request) in rows {
        let mut client = Client::with(limits);
        bind(&mut client, "wl_seat", 4);
        let id = bind(&mut client, interface, version);
        let args: &[A] = &[New];
        let mut made = 0;
        // Beside the display, which nobody makes.
        while client.session.object_count() < 1 + 20 {
            client.ok(id, request, args);
            made += 1;
        }
        assert!(made > 10, "{interface} {request}: {made}");
        client.breaks(Rule::TooManyObjects, id, request, args);
        // All are left for Smithay, and they are few.
        assert!(client.session.teardown().is_done());
    }
    // Newer ones can be destroyed, one after the other.
    let mut client = Client::with(limits);
    let seat = client.bind("wl_seat");
    for _ in 0..100 {
        client.ok(seat, "get_pointer", &[New]);
    }
    // Outputs of old versions, too.
    let mut client = Client::with(limits);
    for _ in 0..19 {
        bind(&mut client, "wl_output", 2);
    }
    for _ in 0..100 {
        bind(&mut client, "wl_output", 3);
    }
}

#[test]
fn objects_that_the_library_lists_are_few() {
    let tight = Limits {
        instances: 3,
        listed: 6,
        ..Limits::default()
    };
    let mut client = Client::with(tight);
    let seat = client.bind("wl_seat");
    for request in ["get_pointer", "get_keyboard"] {
        let first = client.ok(seat, request, &[New]);
        client.ok(seat, request, &[New]);
        // What is given back does not count.
        client.ok(first, "release", &[]);
        client.ok(seat, request, &[New]);
    }
    client.ok(seat, "get_pointer", &[New]);
    // All interfaces together: a seat, three pointers, two keyboards.
    client.breaks(Rule::TooManyInstances, seat, "get_touch", &[New]);

    let mut client = Client::with(tight);
    let seat = client.bind("wl_seat");
    for _ in 0..3 {
        client.ok(seat, "get_keyboard", &[New]);
    }
    client.breaks(Rule::TooManyInstances, seat, "get_keyboard", &[New]);
}
