// SPDX-License-Identifier: MIT OR Apache-2.0
//! The wire format and the object map: what is not well-formed ends the client.

use super::*;

/// Sends raw bytes that break `rule`.
fn refused(client: &mut Client, rule: Rule, bytes: &[u8]) -> Violation {
    let violation = client
        .raw(bytes, &mut VecDeque::new())
        .expect_err("the bytes passed");
    assert_eq!(violation.rule, rule, "{violation}");
    assert_eq!(
        client.raw(&[], &mut VecDeque::new()),
        Err(violation.clone()),
        "a session stays ended"
    );
    violation
}

/// A header with any length.
fn header(object: u32, opcode: u32, len: u32) -> Vec<u8> {
    [object.to_le_bytes(), ((len << 16) | opcode).to_le_bytes()].concat()
}

#[test]
fn lengths_of_messages() {
    for len in [0, 4, 7, 9, 10, 4100, 65_532] {
        refused(&mut Client::new(), Rule::MessageLength, &header(1, 0, len));
    }
    let mut client = Client::new();
    let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
    let (_, _, toplevel) = client.window(compositor, wm);
    // The largest message passes: 4096 bytes with header, length and NUL.
    let title = "t".repeat(4096 - 8 - 4 - 1);
    let mut bytes = header(toplevel, 2, 4096);
    bytes.extend_from_slice(&(u32::try_from(title.len()).unwrap() + 1).to_le_bytes());
    bytes.extend_from_slice(title.as_bytes());
    bytes.push(0);
    client.passed();
    client.raw(&bytes, &mut VecDeque::new()).unwrap();
    assert_eq!(drain(&mut client.out).0, bytes);
}

#[test]
fn objects_and_requests_that_do_not_exist() {
    for object in [0, 3, 1000, 0xff00_0000, u32::MAX] {
        refused(&mut Client::new(), Rule::UnknownObject, &header(object, 0, 8));
    }
    for opcode in [2, 3, 0xffff] {
        refused(&mut Client::new(), Rule::UnknownRequest, &header(1, opcode, 12));
    }
}

#[test]
fn requests_newer_than_their_object() {
    let mut client = Client::new();
    let compositor = client.ok(
        2,
        "bind",
        &[U(global_name("wl_compositor")), S("wl_compositor"), U(3), New],
    );
    let surface = client.surface(compositor);
    client.ok(surface, "set_buffer_scale", &[I(2)]);
    client.breaks(
        Rule::UnknownRequest,
        surface,
        "damage_buffer",
        &[I(0), I(0), I(1), I(1)],
    );
}

#[test]
fn arguments_that_do_not_fill_their_message() {
    refused(&mut Client::new(), Rule::BadArguments, &header(1, 0, 8));
    refused(
        &mut Client::new(),
        Rule::BadArguments,
        &[header(1, 0, 16), vec![3, 0, 0, 0, 0, 0, 0, 0]].concat(),
    );
}

#[test]
fn texts_that_are_none() {
    let (missing, wrong, short) = (
        "a text is missing",
        "a text is not NUL-terminated UTF-8",
        "the message is shorter than its arguments",
    );
    let rows: [(u32, &[u8], &str); 8] = [
        (0, b"", missing),
        (4, b"abcd", wrong),
        (4, b"a\0b\0", wrong),
        (3, b"\xff\xfe\0\0", wrong),
        (5, b"abc\0", short),
        (u32::MAX, b"abc\0", short),
        (0xffff_fffc, b"abc\0", short),
        (4, b"abc\0abc\0", "the message is longer than its arguments"),
    ];
    for (len, text, why) in rows {
        let mut client = Client::new();
        let (compositor, wm) = (client.bind("wl_compositor"), client.bind("xdg_wm_base"));
        let (_, _, toplevel) = client.window(compositor, wm);
        let bytes = [
            header(toplevel, 2, 12 + u32::try_from(text.len()).unwrap()),
            len.to_le_bytes().to_vec(),
            text.to_vec(),
        ]
        .concat();
        let told = refused(&mut client, Rule::BadArguments, &bytes);
        assert_eq!(told.detail(), format!("xdg_toplevel@{toplevel}.set_title: {why}"));
    }
}

#[test]
fn ids_of_new_objects() {
    for id in [0, 1, 2, 4, 0xfeff_ffff, 0xff00_0000, u32::MAX] {
        refused(
            &mut Client::new(),
            Rule::BadNewId,
            &Writer::new(1, 0).uint(id).finish(),
        );
    }
    let mut client = Client::new();
    let callback = client.ok(1, "sync", &[New]);
    client.event(callback, "done", &[U(0)]);
    let again = Writer::new(1, 0).uint(callback).finish();
    let mut early = Client::new();
    early.ok(1, "sync", &[New]);
    early.event(callback, "done", &[U(0)]);
    refused(&mut early, Rule::BadNewId, &again);
    client.event(1, "delete_id", &[U(callback)]);
    client.raw(&again, &mut VecDeque::new()).unwrap();
}

#[test]
fn objects_as_arguments() {
    let mut client = Client::new();
    let (compositor, sub) = (client.bind("wl_compositor"), client.bind("wl_subcompositor"));
    let (one, two) = (client.surface(compositor), client.surface(compositor));
    client.ok(one, "attach", &[U(0), I(0), I(0)]);
    client.ok(two, "destroy", &[]);
    for (subject, parent) in [
        (0, one),
        (one, 0),
        (one, two),
        (one, compositor),
        (one, 999),
        (999, one),
    ] {
        let mut again = Client::new();
        let (compositor, sub) = (again.bind("wl_compositor"), again.bind("wl_subcompositor"));
        again.surface(compositor);
        let dead = again.surface(compositor);
        again.ok(dead, "destroy", &[]);
        again.breaks(
            Rule::WrongObject,
            sub,
            "get_subsurface",
            &[New, U(subject), U(parent)],
        );
    }
    client.breaks(Rule::WrongObject, sub, "get_subsurface", &[New, U(two), U(one)]);
}

#[test]
fn requests_to_the_dead() {
    let mut client = Client::new();
    let compositor = client.bind("wl_compositor");
    let surface = client.surface(compositor);
    client.ok(surface, "destroy", &[]);
    refused(&mut client, Rule::UnknownObject, &header(surface, 6, 8));
}

#[test]
fn binds() {
    let seat = global_name("wl_seat");
    let rows = [
        (seat, "wl_seat", 0),
        (seat, "wl_seat", 1000),
        (seat, "wl_shm", 1),
        (seat, "", 1),
        (0, "wl_seat", 1),
        (99, "wl_seat", 1),
        (seat, "zwlr_layer_shell_v1", 1),
    ];
    for (name, interface, version) in rows {
        let mut client = Client::new();
        client.breaks(
            Rule::BadBind,
            2,
            "bind",
            &[U(name), S(interface), U(version), New],
        );
    }
}

#[test]
fn what_a_client_says_is_escaped_in_the_log() {
    let mut client = Client::new();
    let nasty = "\u{1b}]0;owned\u{7}\n\u{202e}work\r".repeat(40);
    let violation = client.send(2, "bind", &[U(1), S(&nasty), U(1), New]).unwrap_err();
    let line = violation.to_string();
    assert!(line.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{line}");
    assert!(line.len() < 400, "{}", line.len());
    assert!(violation.error_event().len() < 600);
    assert!(
        violation
            .detail()
            .contains("\\u{1b}]0;owned\\u{7}\\n\\u{202e}work\\r"),
        "{}",
        violation.detail()
    );
    assert_eq!(line, format!("bad-bind: wl_display@1: {}", violation.detail()));
}

#[test]
fn details_are_cut_where_they_are_long() {
    for (long, shown) in [
        ("x".repeat(240), "x".repeat(240)),
        ("x".repeat(241), "x".repeat(240) + ".."),
        ("x".repeat(239) + "\n", "x".repeat(239) + ".."),
        ("x".repeat(238) + "\n", "x".repeat(238) + "\\n"),
        ("C:\\a \"b\" ~é".to_owned(), "C:\\a \"b\" ~\\u{e9}".to_owned()),
    ] {
        let violation = Violation::display(Rule::BadBind, 7, long);
        assert_eq!(violation.detail(), shown);
    }
}

#[test]
fn descriptors_may_be_early_or_late() {
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    client.passed();
    let create = |id| Writer::new(shm, 0).uint(id).int(64).finish();
    let id = client.next;
    // Late: the message waits, and so does what follows.
    let both = [create(id), Writer::new(1, 0).uint(id + 1).finish()].concat();
    let progress = client.raw(&both, &mut VecDeque::new()).unwrap();
    assert_eq!((progress.requests, progress.waits_for_descriptor), (0, true));
    assert!(client.out.is_empty());
    let progress = client.raw(&[], &mut VecDeque::from([memory(64)])).unwrap();
    assert_eq!(
        progress,
        Progress {
            requests: 2,
            waiting_bytes: 0,
            waits_for_descriptor: false
        }
    );
    assert_eq!((client.out.len(), client.out.descriptors()), (both.len(), 1));
    // Early: with a message that takes none, before its own.
    let sync = Writer::new(1, 0).uint(id + 2).finish();
    client.raw(&sync, &mut VecDeque::from([memory(64)])).unwrap();
    assert_eq!(client.out.descriptors(), 1);
    client.raw(&create(id + 3), &mut VecDeque::new()).unwrap();
    assert_eq!(client.out.descriptors(), 2);
}

#[test]
fn a_descriptor_that_never_comes() {
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    client
        .raw(
            &Writer::new(shm, 0).uint(client.next).int(64).finish(),
            &mut VecDeque::new(),
        )
        .unwrap();
    let filler = Writer::new(1, 0).uint(999).finish();
    let violation = (0..3000)
        .find_map(|_| client.raw(&filler, &mut VecDeque::new()).err())
        .unwrap();
    assert_eq!(violation.rule, Rule::MissingDescriptor);
    // With a pool's 16 bytes and 1364 times 12 there are as many as may wait.
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    let pool = Writer::new(shm, 0).uint(client.next).int(64).finish();
    let bytes = [pool, filler.repeat(1364)].concat();
    let waits = Ok(Progress {
        requests: 0,
        waiting_bytes: 16_384,
        waits_for_descriptor: true,
    });
    assert_eq!(client.raw(&bytes, &mut VecDeque::new()), waits);
    assert_eq!(refused(&mut client, Rule::MissingDescriptor, &filler).code, 1);
}

#[test]
fn descriptors_go_with_their_message() {
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    client.passed();
    for _ in 0..70 {
        client.ok(shm, "create_pool", &[New, Memory(64), I(64)]);
        client.ok(1, "sync", &[New]);
    }
    let (mut fds_seen, mut messages) = (0, 0);
    while !client.out.is_empty() {
        let sent = client.out.send(50, |chunk| {
            assert!(chunk.fds.len() <= 28);
            fds_seen += chunk.fds.len();
            Ok::<_, ()>(chunk.bytes.len().min(7))
        });
        messages += sent.unwrap();
        // 16 bytes a pool and 12 a sync: by the first byte of a pool's message its descriptor is sent.
        assert!(
            fds_seen >= messages.div_ceil(28).min(70),
            "{fds_seen} descriptors after {messages} bytes"
        );
    }
    assert_eq!((fds_seen, messages), (70, 70 * 28));
}

#[test]
fn no_chunk_has_more_than_28_descriptors() {
    let mut client = Client::new();
    let shm = client.bind("wl_shm");
    client.passed();
    for _ in 0..70 {
        client.ok(shm, "create_pool", &[New, Memory(64), I(64)]);
    }
    let mut sizes = Vec::new();
    while !client.out.is_empty() {
        client
            .out
            .send(1 << 20, |chunk| {
                sizes.push((chunk.bytes.len(), chunk.fds.len()));
                Ok::<_, ()>(chunk.bytes.len())
            })
            .unwrap();
    }
    assert_eq!(sizes, [(28 * 16, 28), (28 * 16, 28), (14 * 16, 14)]);
    assert!(client.out.send(1, |_| Err(())).is_ok(), "nothing waits");
}

#[test]
fn the_tables_have_what_the_gate_relies_on() {
    // Signature of wl_registry.bind, opcode of delete_id, names of rules, most arguments, one `wl_display`.
    let bind = wayland_server::protocol::__interfaces::WL_REGISTRY_INTERFACE.requests[0];
    assert_eq!(
        (bind.name, bind.signature.len(), bind.child_interface.is_none()),
        ("bind", 4, true)
    );
    assert_eq!(tables::display().events[1].name, "delete_id");
    let mut todo: Vec<_> = tables::GLOBALS.iter().map(|interface| interface()).collect();
    todo.push(tables::display());
    let mut seen: Vec<&str> = Vec::new();
    while let Some(interface) = todo.pop() {
        if seen.contains(&interface.name) {
            continue;
        }
        seen.push(interface.name);
        for desc in interface.requests.iter().chain(interface.events) {
            assert!(desc.signature.len() <= crate::wire::MAX_ARGS);
            assert!(
                desc.signature
                    .iter()
                    .filter(|kind| **kind == ArgumentType::NewId)
                    .count()
                    <= 1,
                "{}",
                desc.name
            );
            todo.extend(desc.child_interface);
            todo.extend(
                desc.arg_interfaces
                    .iter()
                    .filter(|interface| interface.version > 0),
            );
        }
        for desc in interface.requests {
            let bind = interface.name == "wl_registry";
            let makes = desc.signature.contains(&ArgumentType::NewId);
            assert!(
                !makes || bind || desc.child_interface.is_some(),
                "{}.{}",
                interface.name,
                desc.name
            );
        }
    }
    for name in tables::Kind::NAMES {
        assert!(seen.contains(name), "{name}");
    }
}

#[test]
fn the_documents_name_every_rule() {
    let docs = include_str!("../../../docs/gate.md");
    for rule in Rule::ALL {
        assert!(docs.contains(&format!("| `{}` |", rule.name())), "{rule}");
    }
    let globals = include_str!("../../../docs/configuration.md");
    for interface in tables::GLOBALS {
        assert!(
            globals.contains(&format!("`{}`", interface().name)),
            "{}",
            interface().name
        );
    }
}
