// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes that are no messages, and messages that come at the wrong time.

use heraldry_tests::client::raw::Arg::U;
use heraldry_tests::client::raw::{Raw, encoded};
use heraldry_tests::colour::key::MAGENTA;

use super::attack::Expect::{Left, Lives, Rule};
use super::attack::{Attack, Row, row};

pub(crate) const ROWS: &[Row] = &[
    row("A70a length 0", |a| header(a, 0), Rule("message-length")),
    row("A70b length 4", |a| header(a, 4), Rule("message-length")),
    row("A70c length 9", |a| header(a, 9), Rule("message-length")),
    row("A70d length 65535", |a| header(a, 65_535), Rule("message-length")),
    row("A70e length 4100", |a| header(a, 4100), Rule("message-length")),
    row(
        "A70f text without its end",
        |a| title(a, &[4, 0, 0, 0, b'o', b'p', b'e', b'n']),
        Rule("bad-arguments"),
    ),
    row(
        "A70g text with an end inside",
        |a| title(a, &[4, 0, 0, 0, b'a', 0, b'b', 0]),
        Rule("bad-arguments"),
    ),
    row(
        "A70h text longer than its message",
        |a| title(a, &[200, 0, 0, 0, b'a', 0, 0, 0]),
        Rule("bad-arguments"),
    ),
    row(
        "A70i text of almost 2^32 bytes",
        |a| title(a, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        Rule("bad-arguments"),
    ),
    row(
        "A70j text that is not UTF-8",
        |a| title(a, &[3, 0, 0, 0, 0xff, 0xfe, 0, 0]),
        Rule("bad-arguments"),
    ),
    row(
        "A70k no text where one must be",
        |a| title(a, &[0, 0, 0, 0]),
        Rule("bad-arguments"),
    ),
    row(
        "A70l arguments that are missing",
        |a| a.raw.message(1, 0, &[], &[]),
        Rule("bad-arguments"),
    ),
    row(
        "A70m arguments that are too many",
        too_many,
        Rule("bad-arguments"),
    ),
    row("A70n half a message, then nothing", half, Left),
    row("A70o half a message, then gone", half_and_gone, Left),
    row("A70p one byte at a time", byte_by_byte, Lives),
    row(
        "A70q every request of the display and the registry with every short body",
        fuzzed,
        Left,
    ),
    row("A70r four KiB of noise", noise, Left),
    row(
        "A72a configures that are never acknowledged",
        never_acknowledged,
        Lives,
    ),
    row(
        "A72b acknowledgement of a configure that never was",
        acknowledged_early,
        Rule("unsent-configure"),
    ),
    row(
        "A72c every acknowledgement again",
        acknowledged_twice,
        Rule("unsent-configure"),
    ),
    row("A72d other sizes than asked for", disobeyed, Lives),
    row("A72e modes that change a thousand times", ping_pong, Lives),
    row("A72f pings that are never answered", no_pong, Lives),
    row("A72g answer to a ping that never was", wrong_pong, Lives),
    row(
        "A73a version too high",
        |a| bind(a, "wl_compositor", 99),
        Rule("bad-bind"),
    ),
    row(
        "A73b version 0",
        |a| bind(a, "wl_compositor", 0),
        Rule("bad-bind"),
    ),
    row(
        "A73c another interface under a known name",
        |a| bind_as(a, "wl_compositor", "wl_shm"),
        Rule("bad-bind"),
    ),
    row("A73d every name that was not offered", guessed, Rule("bad-bind")),
    row(
        "A73e interface that nobody knows",
        |a| bind_as(a, "wl_shm", "heraldry_secret_v1"),
        Rule("bad-bind"),
    ),
];

/// A message of `wl_display` that says this length and has some bytes.
fn header(a: &mut Attack<'_>, length: u32) {
    let mut bytes = [1, length << 16].map(u32::to_ne_bytes).concat();
    bytes.resize(64, 0);
    a.raw.bytes(&bytes, &[]);
}

/// `xdg_toplevel.set_title` with this body.
fn title(a: &mut Attack<'_>, body: &[u8]) {
    let window = a.raw.window();
    a.raw.message(window.toplevel, 2, body, &[]);
}

fn too_many(a: &mut Attack<'_>) {
    let id = a.raw.next;
    a.raw
        .message(1, 0, &[id, 0, 0].map(u32::to_ne_bytes).concat(), &[]);
}

fn half(a: &mut Attack<'_>) {
    a.raw.bytes(&[1, 0, 0, 0, 0, 0], &[]);
    a.raw.flush();
    // The honest client goes on beside it meanwhile.
    a.another().settle();
}

fn half_and_gone(a: &mut Attack<'_>) {
    let message = [1_u32, 12 << 16, 3].map(u32::to_ne_bytes).concat();
    for cut in 0..message.len() {
        let mut other = a.another();
        other.bytes(&message[..cut], &[]);
        other.flush();
    }
    a.raw.settle();
}

fn byte_by_byte(a: &mut Attack<'_>) {
    let id = a.raw.next;
    let message = [1_u32, 12 << 16, id].map(u32::to_ne_bytes).concat();
    for byte in message {
        a.raw.bytes(&[byte], &[]);
        a.raw.flush();
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    a.raw.next += 1;
    a.raw.settle();
    assert!(a.raw.freed.contains(&id), "a slow request is a request");
}

/// Whether a client that sent this lives or not, it is told why it does not.
fn sent(a: &Attack<'_>, script: impl FnOnce(&mut Raw)) {
    let mut raw = a.another();
    script(&mut raw);
    if raw.roundtrip().is_err() {
        assert!(raw.error.is_some(), "ended without a word");
    }
}

fn fuzzed(a: &mut Attack<'_>) {
    for object in [1, 2] {
        for opcode in 0..3 {
            for words in 0..4_u32 {
                let body: Vec<u8> = (0..words)
                    .flat_map(|word| (word << 3 | 3).to_ne_bytes())
                    .collect();
                sent(a, |raw| raw.message(object, opcode, &body, &[]));
            }
        }
    }
}

fn noise(a: &mut Attack<'_>) {
    for seed in 0..8_u32 {
        let words = (0..1024_u32).map(|n| (n ^ seed).wrapping_mul(2_654_435_761));
        let bytes: Vec<u8> = words.flat_map(u32::to_ne_bytes).collect();
        let mut raw = a.another();
        raw.bytes(&bytes, &[]);
        assert!(raw.end().contains("(rule "), "it is told which rule");
    }
}

fn never_acknowledged(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let buffer = a.raw.buffer((64, 48), MAGENTA);
    a.raw.put(window.surface, buffer);
    a.raw.settle();
    a.raw.events.clear();
    for round in 0..2000 {
        let request = if round % 2 == 0 {
            "set_maximized"
        } else {
            "unset_maximized"
        };
        a.raw.send(window.toplevel, request, &[]);
        if round % 100 == 0 {
            a.raw.settle();
        }
    }
    a.raw.settle();
    let told = a.raw.told("xdg_surface.configure").len();
    assert!(told < 1000, "{told} configures wait for their acknowledgement");
}

fn acknowledged_early(a: &mut Attack<'_>) {
    let window = a.raw.window();
    for serial in [0, 1, 4711, u32::MAX] {
        a.raw.send(window.xdg, "ack_configure", &[U(serial)]);
    }
}

fn acknowledged_twice(a: &mut Attack<'_>) {
    let window = a.raw.window();
    let serial = a.raw.configured(window.xdg);
    a.raw.send(window.xdg, "ack_configure", &[U(serial)]);
}

fn disobeyed(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for size in [(1, 1), (2000, 10), (10, 2000), (64, 48), (300, 300)] {
        a.raw.send(window.toplevel, "set_maximized", &[]);
        a.raw.settle();
        a.raw.draw(window, size, MAGENTA);
        let (picture, content) = (a.picture(), a.content());
        assert!(
            picture
                .iter()
                .all(|(x, y, pixel)| pixel != MAGENTA || content.contains(x, y))
        );
        a.raw.send(window.toplevel, "unset_maximized", &[]);
        a.raw.settle();
    }
}

fn ping_pong(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    for round in 0..1000 {
        let requests = [
            "set_maximized",
            "set_fullscreen",
            "unset_maximized",
            "unset_fullscreen",
        ];
        let request = requests[round % 4];
        if request == "set_fullscreen" {
            a.raw.send(window.toplevel, request, &[U(0)]);
        } else {
            a.raw.send(window.toplevel, request, &[]);
        }
        if round % 50 == 0 {
            a.raw.settle();
            a.raw.ack(window.xdg);
        }
        a.raw.send(window.surface, "commit", &[]);
    }
    a.raw.settle();
}

fn no_pong(a: &mut Attack<'_>) {
    let window = a.raw.show((64, 48), MAGENTA);
    a.focus_attacker();
    a.raw.draw(window, (80, 60), MAGENTA);
    a.picture().assert_only_in(MAGENTA, a.content());
}

fn wrong_pong(a: &mut Attack<'_>) {
    let base = a.raw.global("xdg_wm_base");
    for serial in [0, 1, u32::MAX] {
        a.raw.send(base, "pong", &[U(serial)]);
    }
}

fn name_of(raw: &Raw, interface: &str) -> u32 {
    let mut globals = raw.globals.iter();
    *globals.find(|(_, (offered, _))| offered == interface).unwrap().0
}

fn bind(a: &mut Attack<'_>, interface: &str, version: u32) {
    let name = name_of(&a.raw, interface);
    a.raw.bind(name, interface, version);
}

fn bind_as(a: &mut Attack<'_>, interface: &str, other: &str) {
    let name = name_of(&a.raw, interface);
    a.raw.bind(name, other, 1);
}

fn guessed(a: &mut Attack<'_>) {
    let offered: Vec<u32> = a.raw.globals.keys().copied().collect();
    let guesses: Vec<u32> = (0..40)
        .chain([u32::MAX])
        .filter(|name| !offered.contains(name))
        .collect();
    a.each_breaks("bad-bind", &guesses, |raw, name| {
        raw.bind(name, "wl_seat", 1);
    });
    // By hand, with a text that no client would send.
    let id = a.raw.next;
    let mut body = 1_000_000_u32.to_ne_bytes().to_vec();
    body.extend(encoded("wl_seat"));
    body.extend([1, id].map(u32::to_ne_bytes).concat());
    a.raw.message(2, 0, &body, &[]);
}
