// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clipboard, primary selection and drags: nothing of another VM's, and no harm with one's own.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use heraldry_compositor::control::protocol::KeyAction;
use heraldry_tests::client::raw::Arg::{Fd, New, S, U};
use heraldry_tests::client::raw::{Raw, RawWindow, Value, pipe};
use heraldry_tests::colour::key::{MAGENTA, YELLOW};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::attack::Expect::{Lives, Rule};
use super::attack::{Attack, HONEST, Row, area, middle, row, wait_out_the_guard};

pub(crate) const ROWS: &[Row] = &[
    row(
        "A26 focus taken to read another VM's clipboard",
        takes_focus,
        Lives,
    ),
    row("A27b events about another VM's copies", copies, Lives),
    row(
        "A28a clipboard without end",
        |a| transfer(a, Source::Endless),
        Lives,
    ),
    row(
        "A28b clipboard one byte at a time",
        |a| transfer(a, Source::Slow),
        Lives,
    ),
    row(
        "A28c clipboard whose source never answers",
        |a| transfer(a, Source::Silent),
        Lives,
    ),
    row("A28d clipboard whose reader never reads", reader_stalls, Lives),
    row(
        "A28i clipboard asked for in a type that nobody has",
        type_not_offered,
        Lives,
    ),
    row("A28j clipboard whose reader leaves", reader_leaves, Lives),
    row("A29 source destroyed while it is asked", source_gone, Lives),
    row("A32a selection set without a press", set_without_press, Lives),
    row(
        "A32b selection set in a loop beside another VM's",
        set_in_a_loop,
        Lives,
    ),
    row(
        "A32c selection with another's source",
        foreign_source,
        Rule("wrong-object"),
    ),
    row("A33 pipe of one VM handed to another", pipes_stay, Lives),
    row("A34a drag from the attacker over another VM", drag_out, Lives),
    row("A34b drag from another VM over the attacker", drag_in, Lives),
    row("A34c drag without a button", drag_without_press, Lives),
    row(
        "A35 focus taken to read another VM's primary selection",
        takes_primary,
        Lives,
    ),
    row(
        "A28f types of a source without end",
        types,
        Rule("too-many-types"),
    ),
    row("A28g sources without end", sources, Rule("too-many-sources")),
    row("A28h types of 4000 bytes", long_types, Rule("mime-bytes")),
    row(
        "A28e clipboard asked for a hundred times at once",
        many_readers,
        Lives,
    ),
];

/// A client of the honest VM with a window that has been clicked and a selection of its own.
struct Owner {
    raw: Raw,
    window: RawWindow,
    source: u32,
    device: u32,
}

#[track_caller]
fn owner(a: &mut Attack<'_>) -> Owner {
    a.honest_may_see(&[
        "wl_pointer.",
        "wl_data_device.",
        "wl_data_offer.",
        "zwp_primary_selection",
    ]);
    let mut raw = a.honest();
    raw.pointer();
    raw.keyboard();
    let device = raw.data_device();
    let window = raw.show((90, 60), YELLOW);
    click(a, &mut raw);
    let source = raw.source("text/secret");
    let serial = raw.pressed();
    raw.send(device, "set_selection", &[U(source), U(serial)]);
    raw.wait("its own offer", |raw| offer(raw).is_some()).unwrap();
    Owner {
        raw,
        window,
        source,
        device,
    }
}

/// The user clicks the newest window of the honest VM.
#[track_caller]
fn click(a: &Attack<'_>, raw: &mut Raw) {
    let windows = a.rig.windows();
    let own = windows
        .iter()
        .find(|window| window.vm == HONEST && window.id != a.honest_window);
    let (x, y) = middle(area(own.unwrap().content));
    a.rig.click(x, y);
    raw.wait("a click", |raw| raw.pressed() != 0).unwrap();
}

/// The newest offer of the clipboard.
fn offer(raw: &Raw) -> Option<u32> {
    raw.told("wl_data_device.selection")
        .last()
        .map(|event| event.uint(0))
        .filter(|id| *id != 0)
}

/// Whether a client heard of a selection that is not its own.
#[track_caller]
fn assert_heard_nothing(raw: &mut Raw) {
    raw.settle();
    let heard: Vec<_> = raw
        .events
        .iter()
        .filter(|event| {
            let offers = event.name.ends_with(".data_offer")
                || event.name.ends_with("_offer_v1.offer")
                || event.name.ends_with("data_offer.offer");
            let selection = event.name.ends_with(".selection") && event.args != [Value::Uint(0)];
            let drag = ["enter", "motion", "drop", "leave"].map(|name| format!("wl_data_device.{name}"));
            offers || selection || drag.contains(&event.name)
        })
        .collect();
    assert!(heard.is_empty(), "{heard:?}");
}

fn listen(a: &mut Attack<'_>) -> RawWindow {
    a.raw.keyboard();
    a.raw.pointer();
    a.raw.data_device();
    a.raw.primary_device();
    a.raw.show((90, 60), MAGENTA)
}

fn takes_focus(a: &mut Attack<'_>) {
    listen(a);
    let mut owner = owner(a);
    a.focus_attacker();
    a.raw
        .wait("the keyboard", |raw| !raw.told("wl_keyboard.enter").is_empty())
        .unwrap();
    assert_heard_nothing(&mut a.raw);
    owner.raw.settle();
    let asked = owner.raw.told("wl_data_source.send").len();
    assert_eq!(asked, 0, "nobody asked for it");
}

fn copies(a: &mut Attack<'_>) {
    listen(a);
    let mut owner = owner(a);
    a.focus_attacker();
    a.raw.settle();
    let before = a.raw.events.len();
    for _ in 0..20 {
        let source = owner.raw.source("text/secret");
        let serial = owner.raw.pressed();
        owner
            .raw
            .send(owner.device, "set_selection", &[U(source), U(serial)]);
    }
    owner.raw.settle();
    a.raw.settle();
    assert_eq!(a.raw.events.len(), before, "{:?}", a.raw.events);
}

#[derive(Clone, Copy, PartialEq)]
enum Source {
    Endless,
    Slow,
    Silent,
}

/// The attacker's own clipboard, offered by one client and asked for by another.
fn own_offer(a: &mut Attack<'_>) -> (Raw, u32) {
    a.clicked_window((90, 60));
    let device = a.raw.data_device();
    let source = a.raw.source("text/plain");
    let serial = a.raw.pressed();
    a.raw.send(device, "set_selection", &[U(source), U(serial)]);
    a.raw.settle();
    let mut reader = a.another();
    reader.keyboard();
    reader.data_device();
    reader.show((60, 40), YELLOW);
    let newest = a.windows().iter().map(|window| window.id).max().unwrap();
    a.focus(newest);
    reader.wait("an offer", |raw| offer(raw).is_some()).unwrap();
    let id = offer(&reader).unwrap();
    (reader, id)
}

/// The pipe that the source was asked to write into.
fn asked(raw: &mut Raw) -> std::fs::File {
    raw.wait("being asked", |raw| !raw.told("wl_data_source.send").is_empty())
        .unwrap();
    let event = raw.told("wl_data_source.send").pop().unwrap().clone();
    let Some(Value::Fd(index)) = event.args.get(1) else {
        panic!("no descriptor: {event:?}");
    };
    let fd = raw.descriptors[*index].try_clone().unwrap();
    fcntl_setfl(&fd, fcntl_getfl(&fd).unwrap() | OFlags::NONBLOCK).unwrap();
    fd.into()
}

fn transfer(a: &mut Attack<'_>, what: Source) {
    let (mut reader, offer) = own_offer(a);
    let (read, write) = pipe();
    reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    reader.settle();
    drop(write);
    let mut out = asked(&mut a.raw);
    let mut read = std::fs::File::from(read);
    fcntl_setfl(&read, OFlags::NONBLOCK).unwrap();
    let start = Instant::now();
    let (mut sent, mut got) = (0, 0);
    let mut room = vec![0; 64 << 10];
    while start.elapsed() < Duration::from_millis(1500) {
        match what {
            Source::Endless => sent += out.write(&room).unwrap_or(0),
            Source::Slow => {
                sent += out.write(&room[..1]).unwrap_or(0);
                std::thread::sleep(Duration::from_millis(20));
            }
            Source::Silent => std::thread::sleep(Duration::from_millis(50)),
        }
        got += read.read(&mut room).unwrap_or(0);
    }
    assert!(
        got <= sent && (sent == 0) == (what == Source::Silent),
        "{got} of {sent}"
    );
}

/// The device of the stage waits while a pipe is full, and everybody with it.
fn reader_stalls(a: &mut Attack<'_>) {
    let (mut reader, offer) = own_offer(a);
    let (_read, write) = pipe();
    reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    reader.settle();
    let mut out = asked(&mut a.raw);
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(1) {
        sent += out.write(&[0; 16 << 10]).unwrap_or(0);
    }
    assert!(
        sent < 1 << 20,
        "{sent} bytes wait for a reader that does not read"
    );
    // Whoever else of the VM copies and pastes does so meanwhile.
    let (read, write) = pipe();
    a.raw.events.clear();
    reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    drop(write);
    reader.settle();
    let mut out = asked(&mut a.raw);
    out.write_all(b"pasted").unwrap();
    drop(out);
    a.raw.descriptors.clear();
    let mut pasted = String::new();
    std::fs::File::from(read).read_to_string(&mut pasted).unwrap();
    assert_eq!(pasted, "pasted");
}

/// A pipe that the compositor lets go of is closed, though it never had it.
fn type_not_offered(a: &mut Attack<'_>) {
    let (mut reader, offer) = own_offer(a);
    let (read, write) = pipe();
    reader.send(offer, "receive", &[S("text/never-offered"), Fd(write.as_fd())]);
    reader.settle();
    drop(write);
    let mut pasted = Vec::new();
    std::fs::File::from(read).read_to_end(&mut pasted).unwrap();
    assert!(pasted.is_empty() && a.raw.told("wl_data_source.send").is_empty());
}

/// Who asked for a paste is gone before it comes.
fn reader_leaves(a: &mut Attack<'_>) {
    let (mut reader, offer) = own_offer(a);
    let pipes: Vec<_> = (0..20).map(|_| pipe()).collect();
    for (_, write) in &pipes {
        reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    }
    drop(reader);
    a.raw.settle();
    for (read, write) in pipes {
        drop(write);
        drop(read);
    }
    a.raw.descriptors.clear();
}

fn source_gone(a: &mut Attack<'_>) {
    let (mut reader, offer) = own_offer(a);
    let (read, write) = pipe();
    let device = a.raw.data_device();
    let serial = a.raw.pressed();
    a.raw.send(device, "set_selection", &[U(0), U(serial)]);
    reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    a.raw.settle();
    reader.settle();
    drop((read, write));
}

fn set_without_press(a: &mut Attack<'_>) {
    listen(a);
    a.focus_attacker();
    let device = a.raw.data_device();
    let source = a.raw.source("text/plain");
    for serial in [0, 1, 4711, u32::MAX] {
        a.raw.send(device, "set_selection", &[U(source), U(serial)]);
    }
    assert_heard_nothing(&mut a.raw);
}

fn set_in_a_loop(a: &mut Attack<'_>) {
    let mut owner = owner(a);
    a.clicked_window((90, 60));
    let device = a.raw.data_device();
    let serial = a.raw.pressed();
    for _ in 0..500 {
        let source = a.raw.source("text/owned");
        a.raw.send(device, "set_selection", &[U(source), U(serial)]);
        a.raw.send(source, "destroy", &[]);
    }
    a.raw.settle();
    owner.raw.settle();
    assert!(
        owner.raw.told("wl_data_source.cancelled").is_empty(),
        "the other VM's selection stays"
    );
    // And it is what its programs get.
    let newest = a
        .rig
        .windows()
        .into_iter()
        .filter(|window| window.vm == HONEST)
        .map(|window| window.id)
        .max();
    a.focus(newest.unwrap());
    owner.raw.settle();
    let id = offer(&owner.raw).unwrap();
    let (_read, write) = pipe();
    owner
        .raw
        .send(id, "receive", &[S("text/secret"), Fd(write.as_fd())]);
    owner
        .raw
        .wait("being asked", |raw| !raw.told("wl_data_source.send").is_empty())
        .unwrap();
    owner.raw.send(owner.source, "destroy", &[]);
    owner.raw.send(owner.window.toplevel, "destroy", &[]);
    owner.raw.settle();
}

fn foreign_source(a: &mut Attack<'_>) {
    let device = a.raw.data_device();
    let source = a.raw.surface();
    a.raw.send(device, "set_selection", &[U(source), U(1)]);
}

fn pipes_stay(a: &mut Attack<'_>) {
    listen(a);
    let mut owner = owner(a);
    // Inside one VM the source writes into the reader's own pipe. It goes by no other VM.
    let id = offer(&owner.raw).unwrap();
    let (read, write) = pipe();
    owner
        .raw
        .send(id, "receive", &[S("text/secret"), Fd(write.as_fd())]);
    let out = asked(&mut owner.raw);
    let inode = |fd: &dyn std::os::fd::AsFd| rustix::fs::fstat(fd.as_fd()).unwrap().st_ino;
    assert_eq!(inode(&out), inode(&read), "nobody copies");
    assert!(
        a.raw.descriptors.len() <= 1,
        "the attacker has its keymap and nothing else"
    );
    assert_heard_nothing(&mut a.raw);
}

/// A drag from a window that was pressed, of this client; the button is down.
fn start_drag(a: &Attack<'_>, raw: &mut Raw, window: RawWindow, at: (i32, i32)) {
    let device = raw.data_device();
    let source = raw.source("text/secret");
    a.point(at);
    wait_out_the_guard();
    raw.events.clear();
    a.button(KeyAction::Press);
    raw.wait("a press", |raw| raw.pressed() != 0).unwrap();
    let serial = raw.pressed();
    raw.send(
        device,
        "start_drag",
        &[U(source), U(window.surface), U(0), U(serial)],
    );
    raw.settle();
}

fn drag_out(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer."]);
    let mut raw = a.another();
    raw.pointer();
    let window = raw.show((90, 60), MAGENTA);
    let from = middle(a.content());
    start_drag(a, &mut raw, window, from);
    let to = a.honest_content();
    for step in 0..20 {
        a.point((to.x + step, to.y + step));
    }
    a.button(KeyAction::Release);
    raw.settle();
    // That the honest client was told of no drag is in its report.
    assert!(raw.told("wl_data_source.dnd_finished").is_empty());
    a.point((639, 479));
}

fn drag_in(a: &mut Attack<'_>) {
    a.honest_may_see(&["wl_pointer.", "wl_data_device."]);
    listen(a);
    let mut honest = a.honest();
    honest.pointer();
    let window = honest.show((90, 60), YELLOW);
    let windows = a.rig.windows();
    let own = windows
        .iter()
        .find(|window| window.vm == HONEST && window.id != a.honest_window);
    let from = middle(area(own.unwrap().content));
    start_drag(a, &mut honest, window, from);
    let to = a.content();
    for step in 0..20 {
        a.point((to.x + step, to.y + step));
    }
    assert_heard_nothing(&mut a.raw);
    a.button(KeyAction::Release);
    assert_heard_nothing(&mut a.raw);
    a.point((639, 479));
}

fn drag_without_press(a: &mut Attack<'_>) {
    let window = a.clicked_window((90, 60));
    let device = a.raw.data_device();
    let (source, icon) = (a.raw.source("text/plain"), a.raw.surface());
    let serial = a.raw.pressed();
    let args = [U(source), U(window.surface), U(icon), U(serial)];
    a.raw.send(device, "start_drag", &args);
    let buffer = a.raw.buffer((100, 100), YELLOW);
    a.raw.put(icon, buffer);
    a.raw.settle();
    assert_eq!(a.picture().find(YELLOW), None, "no icon");
    assert!(a.raw.told("wl_data_device.enter").is_empty());
}

fn takes_primary(a: &mut Attack<'_>) {
    listen(a);
    let mut owner = owner(a);
    let manager = owner.raw.global("zwp_primary_selection_device_manager_v1");
    let device = owner.raw.primary_device();
    let source = owner.raw.send(manager, "create_source", &[New]);
    owner.raw.send(source, "offer", &[S("text/secret")]);
    let serial = owner.raw.pressed();
    owner.raw.send(device, "set_selection", &[U(source), U(serial)]);
    owner.raw.settle();
    let own = owner.raw.told("zwp_primary_selection_device_v1.selection");
    assert!(own.iter().any(|event| event.uint(0) != 0), "it has one");
    a.focus_attacker();
    assert_heard_nothing(&mut a.raw);
}

fn types(a: &mut Attack<'_>) {
    let source = a.raw.source("text/plain");
    for number in 0..257 {
        a.raw.send(source, "offer", &[S(&format!("t/{number}"))]);
    }
}

fn sources(a: &mut Attack<'_>) {
    for _ in 0..65 {
        a.raw.source("text/plain");
    }
}

fn long_types(a: &mut Attack<'_>) {
    let source = a.raw.source("text/plain");
    for _ in 0..17 {
        a.raw.send(source, "offer", &[S(&"x".repeat(4000))]);
    }
}

fn many_readers(a: &mut Attack<'_>) {
    let (mut reader, offer) = own_offer(a);
    let pipes: Vec<_> = (0..100).map(|_| pipe()).collect();
    for (_, write) in &pipes {
        reader.send(offer, "receive", &[S("text/plain"), Fd(write.as_fd())]);
    }
    reader.settle();
    a.raw.settle();
    assert!(a.raw.told("wl_data_source.send").len() <= 100);
}
