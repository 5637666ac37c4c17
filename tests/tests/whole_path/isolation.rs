// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM does with its connection is its own affair: its limits, its clipboard, its floods.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use heraldry_tests::client::Client;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{CONFIG, Options, Rig, Transport, Visitor, assert_no_wrong_descriptor, until};

/// A bystander's round trip, at worst. Generous: the machine is shared, and what is looked for takes for ever.
const PROMPT: Duration = Duration::from_secs(5);

#[track_caller]
fn assert_prompt(bystander: &mut Visitor, times: usize) {
    for _ in 0..times {
        let start = Instant::now();
        bystander.roundtrip().unwrap();
        assert!(start.elapsed() < PROMPT, "{:?}", start.elapsed());
    }
}

/// Requests that nobody has looked at yet wait in a socket, uncounted: with the ordinary limits a slow gate would find more
/// callbacks at once than a client may have, and end it for these.
fn unhurried() -> String {
    CONFIG.replace(
        "defaults {",
        "defaults { quota { callbacks 100000; objects 1000000; };",
    )
}

/// Sends requests whose answers it does not read, until nobody takes them any more.
fn flood_without_reading(rig: &Rig, vm: &str, patience: Duration, bystander: &mut Visitor) {
    let mut stream = rig.connect(vm);
    stream.set_write_timeout(Some(patience)).unwrap();
    // wl_display.sync with ids that rise: each costs 12 bytes and is answered by at least 24.
    for block in 0..2000_u32 {
        let ids = (block * 500..(block + 1) * 500).map(|n| n + 2);
        let bytes: Vec<u8> = ids
            .flat_map(|id| [1, 12 << 16, id].map(u32::to_le_bytes).concat())
            .collect();
        if stream.write_all(&bytes).is_err() {
            break;
        }
        assert_prompt(bystander, 1);
    }
    assert_prompt(bystander, 50);
    drop(stream);
    until("it is gone", || rig.stats().clients == 1);
    assert_prompt(bystander, 5);
}

#[test]
fn a_client_that_never_reads_ends_or_waits_alone() {
    let rig = Rig::start(Options {
        config: unhurried(),
        ..Options::default()
    });
    let mut bystander = rig.visitor("vault");
    // It is ended, however long that takes.
    flood_without_reading(&rig, "work", Duration::from_secs(30), &mut bystander);
    assert!(rig.host_log().contains("does not read what it is sent"));
}

#[test]
fn a_client_of_a_development_socket_that_never_reads_ends_or_waits_alone() {
    let rig = Rig::start(Options {
        transport: Transport::Dev,
        config: unhurried(),
        ..Options::default()
    });
    let mut bystander = rig.visitor("vault");
    flood_without_reading(&rig, "work", Duration::from_secs(30), &mut bystander);
    until("it is said why", || {
        rig.compositor_log().contains("it does not read what it is sent")
    });
}

#[test]
fn a_flood_of_requests_of_one_vm_does_not_stop_another() {
    let rig = Rig::default();
    let mut bystander = rig.visitor("vault");
    let mut busy = rig.visitor("work");
    let window = busy.show((400, 300), MAGENTA).unwrap();
    std::thread::scope(|scope| {
        let flood = scope.spawn(move || {
            let deadline = Instant::now() + Duration::from_secs(2);
            while Instant::now() < deadline {
                for _ in 0..500 {
                    window.surface.damage_buffer(0, 0, 400, 300);
                    window.surface.commit();
                }
                // It may be ended for this; that is its affair.
                if busy.roundtrip().is_err() {
                    break;
                }
            }
        });
        while !flood.is_finished() {
            assert_prompt(&mut bystander, 1);
        }
    });
    assert_prompt(&mut bystander, 5);
}

#[test]
fn a_vm_has_no_more_clients_than_its_limit_and_no_other_vm_fewer() {
    let rig = Rig::default();
    let mut clients: Vec<_> = (0..32).map(|_| rig.visitor("work")).collect();
    let mut refused = Visitor::bare(rig.connect("work"));
    assert!(
        refused.roundtrip().is_err(),
        "the 33rd client of a VM that may have 32"
    );
    rig.visitor("vault").roundtrip().unwrap();
    clients.pop();
    until("one is gone", || rig.stats().clients <= 31);
    rig.visitor("work").roundtrip().unwrap();
    for client in &mut clients {
        client.roundtrip().unwrap();
    }
}

#[test]
fn the_clipboard_of_a_vm_works_for_its_programs_and_no_other_vm_hears_of_it() {
    let mut rig = Rig::default();
    let mut source = rig.visitor("work");
    let _window = source.show((200, 150), MAGENTA).unwrap();
    let mut foreign = rig.visitor("vault");
    let _window = foreign.show((200, 150), CYAN).unwrap();
    until("the first window has the keyboard", || {
        rig.windows()
            .iter()
            .any(|window| window.focused && window.vm == "work")
    });
    rig.type_text("a");
    source
        .wait("a key", |client| client.seen.press_serial != 0)
        .unwrap();
    // More than a pipe holds.
    let secret = "of work ".repeat(100_000);
    source.seen().clipboard.clone_from(&secret);
    let client = source.client();
    let offered = client.bound().data.create_data_source(&client.handle(), ());
    offered.offer("text/plain".to_owned());
    client
        .bound()
        .data_device
        .set_selection(Some(&offered), client.seen.press_serial);
    source.roundtrip().unwrap();

    // A new window of the same VM takes the keyboard, and with it learns of the clipboard.
    let mut target = rig.visitor("work");
    let _window = target.show((200, 150), MAGENTA).unwrap();
    target
        .wait("an offer", |client| client.seen.offer.is_some())
        .unwrap();
    let offer = target.seen().offer.clone().unwrap();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    offer.receive("text/plain".to_owned(), write.as_fd());
    target.roundtrip().unwrap();
    drop(write);
    let mut got = String::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Writes the clipboard when it is asked for.
            source
                .wait("being asked", |client| {
                    client.seen.log.iter().any(|line| line.starts_with("asked"))
                })
                .unwrap();
        });
        std::fs::File::from(read).read_to_string(&mut got).unwrap();
    });
    assert!(
        got == secret,
        "{} of {} bytes came through",
        got.len(),
        secret.len()
    );
    foreign.roundtrip().unwrap();
    assert!(foreign.seen().offer.is_none());
    assert!(!foreign.seen().log.join("\n").contains("offer"));
    assert_no_wrong_descriptor(&rig.quit());
}

#[test]
fn a_reader_of_the_clipboard_that_never_reads_stops_no_other_vm() {
    let rig = Rig::default();
    let mut bystander = rig.visitor("vault");
    let mut source = rig.visitor("work");
    let _window = source.show((200, 150), MAGENTA).unwrap();
    until("the window has the keyboard", || {
        rig.windows().iter().any(|window| window.focused)
    });
    rig.type_text("a");
    source
        .wait("a key", |client| client.seen.press_serial != 0)
        .unwrap();
    source.seen().clipboard = "of work ".repeat(1_000_000);
    let client = source.client();
    let offered = client.bound().data.create_data_source(&client.handle(), ());
    offered.offer("text/plain".to_owned());
    client
        .bound()
        .data_device
        .set_selection(Some(&offered), client.seen.press_serial);
    source
        .wait("its own offer", |client| client.seen.offer.is_some())
        .unwrap();
    let offer = source.seen().offer.clone().unwrap();
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    offer.receive("text/plain".to_owned(), write.as_fd());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It is asked for its clipboard and waits in its write until the reader is gone.
            let asked = |client: &Client| client.seen.log.iter().any(|line| line.starts_with("asked"));
            source.wait("being asked", asked).unwrap();
        });
        // What the VM's other clients send piles up behind it.
        let mut other = rig.visitor("work");
        let surface = other
            .client()
            .bound()
            .compositor
            .create_surface(&other.client().handle(), ());
        for _ in 0..1000 {
            for _ in 0..200 {
                surface.damage_buffer(0, 0, 1, 1);
            }
            other.push();
            assert_prompt(&mut bystander, 1);
        }
        drop((read, write));
    });
}
