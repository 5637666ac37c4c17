// SPDX-License-Identifier: MIT OR Apache-2.0
//! Labels under hostile titles, and what floats above them: pointers, icons, windows that do not answer.

use heraldry_compositor::control::protocol::KeyAction;
use heraldry_tests::client::filled;
use heraldry_tests::client::raw::Arg::{I, New, S, U};
use heraldry_tests::client::raw::RawWindow;
use heraldry_tests::colour::key::{MAGENTA, YELLOW};
use heraldry_tests::colour::{Area, Pixels};

use super::attack::Expect::Lives;
use super::attack::{Attack, Row, area, middle, row, wait_out_the_guard};
use super::spoofing::{assert_edged, assert_inside};

pub(crate) const ROWS: &[Row] = &[
    row("A15a titles that turn, stack, break and hide", titles, Lives),
    row(
        "A15b title that begins as another VM's label",
        imitated_label,
        Lives,
    ),
    row(
        "A15c title of 4000 bytes",
        |a| titled(a, &"W".repeat(4000)),
        Lives,
    ),
    row(
        "A17a picture of a pointer as large as the screen",
        large_cursor,
        Lives,
    ),
    row("A17b pointer's picture far from the pointer", far_cursor, Lives),
    row("A18 drag icon as large as the screen", large_icon, Lives),
    row(
        "A21a content before the first configure is acknowledged",
        never_acknowledged,
        Lives,
    ),
    row("A21b window that never answers again", never_answers, Lives),
    row(
        "A21c null buffers and empty commits between frames",
        null_buffers,
        Lives,
    ),
];

fn title(a: &mut Attack<'_>, window: RawWindow, text: &str) -> Pixels {
    a.raw.send(window.toplevel, "set_title", &[S(text)]);
    a.raw.draw(window, (300, 60), MAGENTA);
    a.picture()
}

/// The first column of the label in which two pictures differ.
fn differs_from(label: Area, one: &Pixels, other: &Pixels) -> i32 {
    let pairs = one.iter().zip(other.iter());
    let columns = pairs.filter(|(old, new)| label.contains(old.0, old.1) && old.2 != new.2);
    columns.map(|(old, _)| old.0).min().unwrap_or(i32::MAX)
}

/// Each of these titles leaves the owner's box as it is.
fn leave_the_owner(a: &mut Attack<'_>, titles: &[String]) {
    let window = a.raw.show((300, 60), MAGENTA);
    a.focus_attacker();
    let shown = a.only_window();
    let (outer, content) = (area(shown.outer), area(shown.content));
    let label = Area {
        h: content.y - outer.y,
        ..outer
    };
    let plain = title(a, window, "");
    let simple = title(a, window, "mm");
    let start = differs_from(label, &plain, &simple);
    assert!(start > outer.x + 20, "there is an owner's box before the title");
    for text in titles {
        let picture = title(a, window, text);
        let first = differs_from(label, &plain, &picture);
        assert!(
            first >= start,
            "{} changes the owner's box at {first}",
            text.escape_debug()
        );
        assert_inside(a, &picture, &[MAGENTA]);
    }
}

fn titles(a: &mut Attack<'_>) {
    let texts = [
        "\u{202e}tluav",
        "\u{2066}vault\u{2069}",
        "\u{200b}\u{200b}",
        "a\nb\r\nc",
        "\u{7}\u{8}\u{1b}[31m",
        "\t\t\t\t",
        "\u{feff}x",
        "\u{fdfd}\u{fdfd}\u{fdfd}",
        "e\u{300}\u{301}\u{302}\u{303}\u{304}",
        "\u{1f3f4}\u{e0067}\u{e007f}",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{e000}",
        "\u{ad}\u{34f}",
        "\u{115f}\u{1160}",
        "  x",
    ];
    let mut titles: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    titles.push(format!("z{}", "\u{336}".repeat(500)));
    leave_the_owner(a, &titles);
}

fn imitated_label(a: &mut Attack<'_>) {
    let titles = ["vault", "V vault", "[vault] Passwords", "] vault [", "heraldry"];
    leave_the_owner(a, &titles.map(ToOwned::to_owned));
}

fn titled(a: &mut Attack<'_>, text: &str) {
    leave_the_owner(a, &[text.to_owned()]);
}

/// A pointer over the attacker's window, with a picture of this client's.
fn cursor(a: &mut Attack<'_>, hotspot: (i32, i32)) {
    let pointer = a.raw.pointer();
    a.raw.show((120, 80), MAGENTA);
    a.focus_attacker();
    a.point(middle(a.content()));
    a.raw
        .wait("the pointer", |raw| !raw.told("wl_pointer.enter").is_empty())
        .unwrap();
    let serial = a.raw.told("wl_pointer.enter").pop().unwrap().uint(0);
    let picture = a.raw.surface();
    let args = [U(serial), U(picture), I(hotspot.0), I(hotspot.1)];
    a.raw.send(pointer, "set_cursor", &args);
    let buffer = a.raw.buffer((640, 480), YELLOW);
    a.raw.put(picture, buffer);
    a.raw.settle();
    assert_eq!(
        a.picture().find(YELLOW),
        None,
        "no client's picture is the pointer"
    );
}

fn large_cursor(a: &mut Attack<'_>) {
    cursor(a, (0, 0));
}

fn far_cursor(a: &mut Attack<'_>) {
    for hotspot in [(i32::MIN, i32::MIN), (i32::MAX, i32::MAX), (-300, -200)] {
        cursor(a, hotspot);
        a.raw = a.another();
    }
}

fn large_icon(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    a.raw.pointer();
    let window = a.raw.show((120, 80), MAGENTA);
    let device = a.raw.data_device();
    let (source, icon) = (a.raw.source("text/plain"), a.raw.surface());
    a.point(middle(a.content()));
    wait_out_the_guard();
    a.button(KeyAction::Press);
    a.raw.wait("a press", |raw| raw.pressed() != 0).unwrap();
    let serial = a.raw.pressed();
    let args = [U(source), U(window.surface), U(icon), U(serial)];
    a.raw.send(device, "start_drag", &args);
    let buffer = a.raw.buffer((1000, 1000), YELLOW);
    a.raw.put(icon, buffer);
    a.raw.settle();
    a.point((300, 200));
    let picture = a.picture();
    let (shown, count) = picture.find(YELLOW).expect("the icon");
    assert!(
        shown.w <= 128 && shown.h <= 128 && count > shown.w * shown.h * 9 / 10,
        "{shown:?}"
    );
    assert_edged(&picture, shown, &[YELLOW, MAGENTA]);
    a.button(KeyAction::Release);
    a.raw.settle();
    assert_eq!(a.picture().find(YELLOW), None, "it is gone with the button");
}

fn never_acknowledged(a: &mut Attack<'_>) {
    let surface = a.raw.surface();
    let base = a.raw.global("xdg_wm_base");
    let xdg = a.raw.send(base, "get_xdg_surface", &[New, U(surface)]);
    a.raw.send(xdg, "get_toplevel", &[New]);
    a.raw.send(surface, "commit", &[]);
    a.raw.settle();
    let (fd, bytes) = filled((120, 80), MAGENTA);
    let buffer = a.raw.buffer_of(&fd, bytes, (120, 80), 1);
    a.raw.put(surface, buffer);
    // It may be ended for it; if not, its frame is there from the first picture on.
    if a.raw.roundtrip().is_err() {
        assert!(a.raw.error.is_some());
        a.raw = a.another();
        return;
    }
    let picture = a.picture();
    assert_inside(a, &picture, &[MAGENTA]);
    if picture.find(MAGENTA).is_some() {
        a.focus_attacker();
        assert_edged(&a.picture(), a.content(), &[MAGENTA]);
    }
}

fn never_answers(a: &mut Attack<'_>) {
    a.raw.show((120, 80), MAGENTA);
    let id = a.only_window().id;
    for _ in 0..3 {
        a.focus(id);
        assert_edged(&a.picture(), a.content(), &[MAGENTA]);
        for _ in 0..2 {
            // The user maximises and restores; the client says nothing.
            a.key("Super_L", KeyAction::Press);
            a.key("Up", KeyAction::Tap);
            a.key("Super_L", KeyAction::Release);
            let picture = a.picture();
            assert_inside(a, &picture, &[MAGENTA]);
            assert_edged(&picture, a.content(), &[MAGENTA]);
        }
    }
}

fn null_buffers(a: &mut Attack<'_>) {
    let window = a.raw.show((120, 80), MAGENTA);
    for _ in 0..10 {
        a.raw.send(window.surface, "commit", &[]);
        a.raw.send(window.surface, "attach", &[U(0), I(0), I(0)]);
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        assert_eq!(a.picture().find(MAGENTA), None, "no content, no pixels");
        a.raw.send(window.surface, "commit", &[]);
        a.raw.settle();
        a.raw.draw(window, (120, 80), MAGENTA);
        assert_inside(a, &a.picture(), &[MAGENTA]);
    }
}
