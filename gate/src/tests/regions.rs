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
        [
            format!("wl_region@{region}.subtract(0,0,1023,9)"),
            format!("wl_region@{region}.add(0,0,1023,9)"),
        ],
        "the box around everything, in its place"
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
    assert!(client.passed().len() < 80, "the box grows by doubling");
}

/// A region that is full, so that what is added becomes a box: (client, region).
fn boxed(limit: u32, first: [i32; 4]) -> (Client, u32) {
    let mut client = Client::with(Limits {
        region_rectangles: limit,
        ..Limits::default()
    });
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    client.ok(region, "add", &first.map(I));
    client.passed();
    (client, region)
}

#[test]
fn a_box_grows_where_it_must_and_by_its_whole_extent() {
    for (added, grown) in [
        // To the right, downwards, to the left, upwards; and to both sides.
        ([300, 100, 1, 1], "100,100,402,50"),
        ([100, 200, 1, 1], "100,100,200,202"),
        ([99, 100, 1, 1], "-102,100,402,50"),
        ([100, 99, 1, 1], "100,35,200,115"),
        ([0, 0, 400, 400], "-400,-400,1200,1200"),
        // It ends where coordinates do.
        ([-(1 << 29), 100, 1, 1], "-536870912,100,536871212,50"),
    ] {
        // 200 wide and 50 high; what is less than 64 grows by that.
        let (mut client, region) = boxed(0, [100, 100, 200, 50]);
        client.ok(region, "add", &[I(101), I(101), I(199), I(49)]);
        assert_eq!(client.passed(), [""; 0], "it is inside");
        client.ok(region, "add", &added.map(I));
        let (left, _) = grown.split_once(',').unwrap();
        let said = client.passed();
        assert!(
            said[0].starts_with(&format!("wl_region@{region}.subtract({left},")),
            "{said:?}"
        );
        assert_eq!(said[1], format!("wl_region@{region}.add({grown})"), "{added:?}");
    }
}

#[test]
fn rectangles_that_only_touch_are_as_many_as_there_may_be() {
    for backwards in [false, true] {
        let mut client = Client::new();
        let compositor = client.bind("wl_compositor");
        let region = client.ok(compositor, "create_region", &[New]);
        client.passed();
        for at in 0..1024 {
            let at = if backwards { 1023 - at } else { at };
            client.ok(region, "add", &[I(at % 32 * 5), I(at / 32 * 7), I(5), I(7)]);
        }
        let passed = client.passed();
        assert_eq!(passed.len(), 1024);
        assert!(
            passed
                .iter()
                .all(|said| said.contains(".add(") && said.ends_with(",5,7)"))
        );
    }
}

#[test]
fn sixteen_rectangles_may_overlap() {
    for request in ["add", "subtract"] {
        let mut client = Client::new();
        let compositor = client.bind("wl_compositor");
        let region = client.ok(compositor, "create_region", &[New]);
        client.ok(region, "add", &[I(0), I(0), I(1000), I(10)]);
        client.ok(region, "add", &[I(2000), I(0), I(1000), I(10)]);
        client.passed();
        // The first one counts, too; one beside it does not.
        for at in 0..15 {
            client.ok(region, request, &[I(at * 2), I(0), I(1), I(10)]);
        }
        assert_eq!(client.passed().len(), 15);
        client.ok(region, request, &[I(100), I(0), I(1), I(10)]);
        let whole = "(0,0,3000,10)";
        let expected = if request == "add" {
            ["subtract", "add"]
                .map(|name| format!("wl_region@{region}.{name}{whole}"))
                .to_vec()
        } else {
            Vec::new()
        };
        assert_eq!(client.passed(), expected, "{request}");
        // Two that overlap one another and no other count as two.
        let mut client = Client::new();
        let compositor = client.bind("wl_compositor");
        let region = client.ok(compositor, "create_region", &[New]);
        for at in 0..8 {
            client.ok(region, "add", &[I(at * 100), I(0), I(10), I(10)]);
            client.ok(region, "add", &[I(at * 100 + 5), I(5), I(10), I(10)]);
        }
        client.ok(region, "add", &[I(5000), I(0), I(10), I(10)]);
        client.passed();
        client.ok(region, "add", &[I(5005), I(0), I(10), I(10)]);
        assert_eq!(client.passed().len(), 2, "a box");
    }
}

#[test]
fn copies_of_a_surface_are_what_is_set_and_what_is_in_force() {
    let mut client = Client::with(Limits {
        rectangles: 1000,
        ..Limits::default()
    });
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    for index in 0..100 {
        client.ok(region, "add", &[I(index), I(0), I(1), I(1)]);
    }
    let surface = client.surface(compositor);
    let used = |client: &Client| {
        let mut usage = client.session.state.account.budgets().usage();
        usage
            .find(|usage| usage.budget.name() == "rectangles")
            .unwrap()
            .used
    };
    // What is set is paid for twice, because its commit cannot be refused.
    for (request, args, kept) in [
        ("set_opaque_region", &[U(region)][..], 200),
        ("commit", &[], 200),
        ("set_opaque_region", &[U(0)], 100),
        ("set_input_region", &[U(region)], 300),
        ("commit", &[], 200),
        ("set_input_region", &[U(0)], 100),
        ("commit", &[], 0),
    ] {
        client.ok(surface, request, args);
        assert_eq!(used(&client), 100 + kept, "{request} {args:?}");
    }
    // A bound that was lowered takes nothing away that is there.
    client.ok(surface, "set_input_region", &[U(region)]);
    client.passed();
    client.session.state.account.budgets().set_limits(&Limits {
        rectangles: 50,
        ..Limits::default()
    });
    client.ok(surface, "set_input_region", &[U(region)]);
    assert_eq!(
        client.passed(),
        [format!("wl_surface@{surface}.set_input_region({region})")]
    );
    client.ok(surface, "destroy", &[]);
    client.ok(region, "destroy", &[]);
    assert_eq!(used(&client), 0);
}

#[test]
fn copies_of_a_region_are_counted() {
    let mut client = Client::with(Limits {
        rectangles: 3500,
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

/// The pieces that Smithay makes of what was passed for a region, as it does for a surface of this size (smithay 0.7,
/// renderer/utils/wayland.rs).
fn pieces(passed: &[String], size: i64) -> usize {
    type Rectangle = [i64; 4];
    let cut = |pieces: Vec<Rectangle>, hole: Rectangle| -> Vec<Rectangle> {
        let mut rest = Vec::new();
        for [l, t, r, b] in pieces {
            let inner = [l.max(hole[0]), t.max(hole[1]), r.min(hole[2]), b.min(hole[3])];
            if inner[0] >= inner[2] || inner[1] >= inner[3] {
                rest.push([l, t, r, b]);
                continue;
            }
            let around = [
                [l, t, r, inner[1]],
                [l, inner[1], inner[0], inner[3]],
                [inner[2], inner[1], r, inner[3]],
                [l, inner[3], r, b],
            ];
            rest.extend(around.into_iter().filter(|[l, t, r, b]| l < r && t < b));
        }
        rest
    };
    passed
        .iter()
        .fold(Vec::new(), |pieces, line| {
            let (_, request) = line.split_once('.').unwrap();
            let (name, values) = request.split_once('(').unwrap();
            let values: Vec<i64> = values
                .trim_end_matches(')')
                .split(',')
                .map(|value| value.parse().unwrap())
                .collect();
            // Moved into the surface, and then cut to it.
            let (x, y) = (values[0].clamp(0, size), values[1].clamp(0, size));
            let (right, bottom) = ((x + values[2]).min(size), (y + values[3]).min(size));
            let added = [x, y, right, bottom];
            match name {
                "add" => {
                    let new = pieces.iter().fold(vec![added], |new, piece| cut(new, *piece));
                    [pieces, new].concat()
                }
                "subtract" => cut(pieces, added),
                _ => pieces,
            }
        })
        .len()
}

#[test]
fn rectangles_that_overlap_do_not_multiply() {
    let row = |at: i32| [I(0), I(at * 2), I(2000), I(1)];
    let column = |at: i32| [I(at * 2), I(0), I(1), I(2000)];
    // Smithay moves what begins above a surface into it.
    let above = |at: i32| [I(at * 2), I(-5000 - at * 3000), I(1), I(2000)];
    let left = |at: i32| [I(-5000 - at * 3000), I(at * 2), I(2000), I(1)];
    let shapes: [[&dyn Fn(i32) -> [A<'static>; 4]; 2]; 4] =
        [[&row, &column], [&column, &row], [&row, &above], [&left, &column]];
    for (number, shapes) in shapes.into_iter().enumerate() {
        for second in ["add", "subtract"] {
            let mut client = Client::new();
            let compositor = client.bind("wl_compositor");
            let region = client.ok(compositor, "create_region", &[New]);
            client.passed();
            for at in 0..200 {
                client.ok(region, "add", &shapes[0](at));
            }
            for at in 0..200 {
                client.ok(region, second, &shapes[1](at));
            }
            let pieces = pieces(&client.passed(), 2000);
            assert!(pieces <= 1200, "{number} {second}: {pieces}");
        }
    }
}

#[test]
fn what_a_box_stands_for_does_not_cut_it() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let region = client.ok(compositor, "create_region", &[New]);
    client.passed();
    // Short ones at many heights, tall ones beside them, and one too many.
    for at in 0..500 {
        client.ok(region, "add", &[I(at * 2), I(at * 4), I(1), I(2)]);
    }
    for at in 0..523 {
        client.ok(region, "add", &[I(2000 + at * 2), I(0), I(1), I(2000)]);
    }
    client.ok(region, "add", &[I(-50), I(-50), I(10), I(10)]);
    client.ok(region, "add", &[I(10_000), I(10_000), I(10), I(10)]);
    let passed = client.passed();
    assert!(passed.len() > 1000);
    assert_eq!(pieces(&passed, 4000), 1);
}

/// What Smithay keeps of one region of a surface: as set, as each commit that waits took it along, as it is in force.
#[derive(Debug, Default)]
struct Kept {
    set: u64,
    waiting: Vec<u64>,
    in_force: u64,
}

#[test]
fn copies_of_a_region_are_counted_until_nothing_keeps_them() {
    const LIMIT: u64 = 2000;
    let mut client = Client::with(Limits {
        rectangles: LIMIT,
        ..Limits::default()
    });
    let compositor = client.bind("wl_compositor");
    let subcompositor = client.bind("wl_subcompositor");
    let region = client.ok(compositor, "create_region", &[New]);
    for index in 0..100 {
        client.ok(region, "add", &[I(index), I(0), I(1), I(1)]);
    }
    let parent = client.surface(compositor);
    let mut surfaces: Vec<(u32, Kept)> = (0..40)
        .map(|_| {
            let surface = client.surface(compositor);
            client.ok(subcompositor, "get_subsurface", &[New, U(surface), U(parent)]);
            (surface, Kept::default())
        })
        .collect();
    client.passed();
    let mut most = 0;
    for round in 0..30 {
        for (at, (surface, _)) in surfaces.iter().enumerate() {
            let named = if (at + round) % 3 == 0 { 0 } else { region };
            client.ok(*surface, "set_opaque_region", &[U(named)]);
            for _ in 0..(at + round) % 5 {
                client.ok(*surface, "commit", &[]);
            }
        }
        if round % 4 == 3 {
            client.ok(parent, "commit", &[]);
        }
        // What reaches Smithay, and what it keeps of it.
        for line in client.passed() {
            let id: u32 = line.split(['@', '.']).nth(1).unwrap().parse().unwrap();
            if line.ends_with(".commit()") && id == parent {
                for (_, kept) in &mut surfaces {
                    let last = kept.waiting.pop();
                    kept.in_force = last.unwrap_or(kept.in_force);
                    kept.waiting.clear();
                }
            } else if let Some((_, kept)) = surfaces.iter_mut().find(|(surface, _)| *surface == id) {
                if line.ends_with(".commit()") {
                    kept.waiting.push(kept.set);
                } else {
                    kept.set = if line.ends_with("(0)") { 0 } else { 100 };
                }
            }
        }
        let of = |kept: &Kept| kept.set + kept.waiting.iter().sum::<u64>() + kept.in_force;
        let all = 100 + surfaces.iter().map(|(_, kept)| of(kept)).sum::<u64>();
        assert!(all <= LIMIT, "round {round}: {all} rectangles");
        most = most.max(all);
    }
    assert!(most > LIMIT / 3, "{most}: the test asks for enough");
    for (surface, _) in surfaces {
        client.ok(surface, "destroy", &[]);
    }
    client.ok(region, "destroy", &[]);
    let mut usage = client.session.state.account.budgets().usage();
    let used = usage
        .find(|usage| usage.budget.name() == "rectangles")
        .unwrap()
        .used;
    assert_eq!(used, 0, "all is given back");
}
