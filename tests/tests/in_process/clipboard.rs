// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copy and paste: at home inside a VM, unknown outside of it.

use std::io::Read as _;
use std::os::fd::AsFd as _;

use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::fixture::{ClientId, Fixture, Setup, Window};
use insta::assert_snapshot;

/// Copies `text` in the focused window.
fn copy(fixture: &mut Fixture, client: ClientId, window: &Window, text: &str) {
    fixture.focus(window);
    // A key press, for its serial.
    fixture.key(30, true);
    fixture.key(30, false);
    let this = fixture.client_mut(client);
    this.seen.clipboard = text.to_owned();
    let handle = this.handle();
    let source = this.bound().data.create_data_source(&handle, ());
    source.offer("text/plain".to_owned());
    let serial = this.seen.press_serial;
    this.bound().data_device.set_selection(Some(&source), serial);
    fixture.settle();
}

fn paste(fixture: &mut Fixture, client: ClientId) -> Option<String> {
    let offer = fixture.client(client).seen.offer.clone()?;
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    offer.receive("text/plain".to_owned(), write.as_fd());
    // The request must be on its way before our end is closed.
    fixture.roundtrip(client);
    drop(write);
    fixture.settle();
    let mut text = String::new();
    std::fs::File::from(read).read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn inside_a_vm_copy_and_paste_just_work_and_no_other_vm_hears_of_it() {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    let from = fixture.add_client("work");
    let to = fixture.add_client("work");
    let other = fixture.add_client("personal");
    let source = fixture.window(from, (300, 200), MAGENTA);
    let target = fixture.window(to, (300, 200), CYAN);
    let foreign = fixture.window(other, (300, 200), CYAN);

    copy(&mut fixture, from, &source, "secret of work");
    fixture.focus(&target);
    assert_eq!(paste(&mut fixture, to).as_deref(), Some("secret of work"));
    assert_snapshot!(fixture.log(to), @r"
    keyboard enters w1 []
    offer of text/plain
    selection
    ");

    fixture.focus(&foreign);
    assert_eq!(paste(&mut fixture, other), None);
    assert_snapshot!(fixture.log(other), @r"
    keyboard enters w1 []
    no selection
    ");
    assert_snapshot!(fixture.log(from), @r"
    keyboard enters w1 []
    no selection
    key 30 down
    key 30 up
    offer of text/plain
    selection
    keyboard leaves w1
    asked for text/plain
    ");
}

#[test]
fn a_copy_in_one_vm_leaves_the_clipboard_of_another_alone() {
    let mut fixture = Fixture::new(&Setup {
        pixels: false,
        ..Setup::default()
    });
    let (work, personal) = (fixture.add_client("work"), fixture.add_client("personal"));
    let first = fixture.window(work, (300, 200), MAGENTA);
    let second = fixture.window(personal, (300, 200), CYAN);
    copy(&mut fixture, work, &first, "of work");
    copy(&mut fixture, personal, &second, "of personal");
    fixture.focus(&first);
    assert_eq!(paste(&mut fixture, work).as_deref(), Some("of work"));
    fixture.focus(&second);
    assert_eq!(paste(&mut fixture, personal).as_deref(), Some("of personal"));
    assert!(!fixture.log(work).contains("cancelled"));
}
