// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM sees of the compositor, and what it does not see of other VMs.

use heraldry_config::policy::globals::KNOWN;
use heraldry_tests::fixture::{ClientId, Fixture, Setup};
use insta::assert_snapshot;

fn blind() -> Fixture {
    Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    })
}

fn registry(fixture: &Fixture, client: ClientId) -> String {
    let mut list: Vec<_> = fixture
        .client(client)
        .seen
        .globals
        .values()
        .map(|(interface, version)| format!("{interface} {version}"))
        .collect();
    list.sort();
    list.join("\n")
}

#[test]
fn the_registry_is_what_the_policy_lists_and_nothing_else() {
    let mut fixture = blind();
    let client = fixture.add_bare_gated_client("work");
    fixture.roundtrip(client);
    let known = KNOWN.iter().map(|(name, version)| format!("{name} {version}"));
    assert_eq!(registry(&fixture, client), known.collect::<Vec<_>>().join("\n"));
}

#[test]
fn all_lists_of_globals_agree() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let documented = std::fs::read_to_string(path).unwrap();
    for (name, version) in KNOWN {
        let decoded = heraldry_gate::global(name).unwrap_or_else(|| panic!("the gate cannot decode {name}"));
        assert!(
            *version <= decoded.version,
            "the tables of {name} end at {}",
            decoded.version
        );
        let row = format!("| `{name}` | {version} |");
        assert!(documented.contains(&row), "{name} in configuration.md");
    }
    let rows = documented.lines().filter(|line| {
        let mut cells = line.split(" | ");
        line.starts_with("| `")
            && cells
                .nth(1)
                .is_some_and(|cell| cell.trim_end_matches(" |").parse::<u32>().is_ok())
    });
    let of_globals = rows.filter(|line| line.contains('_')).count();
    assert_eq!(of_globals, KNOWN.len(), "rows of configuration.md");
}

#[test]
fn the_gate_shows_what_the_compositor_offers_in_no_higher_version() {
    let mut fixture = blind();
    let direct = fixture.add_bare_client("work");
    let gated = fixture.add_bare_gated_client("work");
    fixture.roundtrip(direct);
    fixture.roundtrip(gated);
    let sorted = |client| {
        let mut list: Vec<_> = fixture.client(client).seen.globals.values().cloned().collect();
        list.sort();
        list
    };
    let (offered, shown) = (sorted(direct), sorted(gated));
    assert_eq!(offered.len(), shown.len());
    for (offered, shown) in offered.into_iter().zip(shown) {
        assert_eq!(offered.0, shown.0);
        assert!(shown.1 <= offered.1, "{shown:?} of {offered:?}");
    }
}

#[test]
fn a_vm_sees_only_the_globals_of_its_set() {
    let mut fixture = Fixture::new(&Setup {
        config: "schema 1\nglobal-set \"few\" { allow \"wl_compositor\" \"wl_shm\"; }\n\
                 vm \"work\" { display-name \"Work\"; color \"#2a5fb0\"; pattern \"horizontal\"; glyph \"W\"; \
                 globals \"few\"; }"
            .to_owned(),
        pixels: false,
        ..Setup::default()
    });
    for gated in [false, true] {
        let client = if gated {
            fixture.add_bare_gated_client("work")
        } else {
            fixture.add_bare_client("work")
        };
        fixture.roundtrip(client);
        let names: Vec<_> = fixture
            .client(client)
            .seen
            .globals
            .values()
            .map(|(interface, _)| interface.as_str())
            .collect();
        assert_eq!(names, ["wl_compositor", "wl_shm"], "gated: {gated}");
    }
}

#[test]
fn a_vm_learns_nothing_of_others_that_come_and_go() {
    for gated in [false, true] {
        let mut fixture = blind();
        let connect = |fixture: &mut Fixture, vm| {
            if gated {
                fixture.add_gated_client(vm)
            } else {
                fixture.add_client(vm)
            }
        };
        let work = connect(&mut fixture, "work");
        let before = fixture.client(work).seen.globals.clone();
        let personal = connect(&mut fixture, "personal");
        fixture.settle();
        let seats = |fixture: &Fixture, client: ClientId| {
            fixture
                .client(client)
                .seen
                .globals
                .values()
                .filter(|(interface, _)| interface == "wl_seat")
                .count()
        };
        assert_eq!((seats(&fixture, work), seats(&fixture, personal)), (1, 1));
        assert_eq!(
            registry(&fixture, work),
            registry(&fixture, personal),
            "both see the same"
        );
        fixture.disconnect(personal);
        fixture.settle();
        let seen = &fixture.client(work).seen;
        assert_eq!(seen.globals, before, "gated: {gated}");
        // Without the gate Smithay tells of globals that were never seen; with it, nothing.
        let never_seen = |name: &u32| !gated && !before.contains_key(name);
        assert!(
            seen.removed.iter().all(never_seen),
            "gated: {gated}: {:?}",
            seen.removed
        );
    }
}

#[test]
fn an_output_tells_nothing_of_the_hardware() {
    let mut fixture = blind();
    let client = fixture.add_client("work");
    fixture.settle();
    assert_snapshot!(fixture.client(client).seen.output.join("\n"), @r#"
    at 0,0, 0x0 mm, "Heraldry" "screen"
    mode 1280x800 60000
    name "screen-1"
    description "Heraldry - screen - screen-1"
    scale 1
    "#);
}
