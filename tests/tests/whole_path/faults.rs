// SPDX-License-Identifier: MIT OR Apache-2.0
//! Things that go wrong, by accident or on purpose: a clear line in the log, and nothing else affected.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use heraldry_compositor::control::protocol::Request;
use heraldry_tests::colour::key::{CYAN, MAGENTA};
use heraldry_tests::rig::{Rig, Visitor, assert_no_wrong_descriptor, until};

/// Bytes that are no message of anything, with what a terminal would obey.
fn garbage() -> Vec<u8> {
    let noise = (0_u32..1024).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
    b"\x1b]0;owned\x07\x1b[31m\r\n%s%n\0\xff\xfe"
        .iter()
        .copied()
        .chain(noise)
        .collect()
}

/// Writes garbage and waits until the other side hangs up or has had enough of waiting.
fn throw(mut stream: UnixStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // The other side may hang up before it has read everything.
    let _refused = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _refused = stream.read_to_end(&mut answer);
}

#[track_caller]
fn assert_clean(log: &str) {
    let raw = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(
        raw,
        None,
        "a control character in the log:\n{}",
        log.escape_debug()
    );
}

#[test]
fn garbage_on_every_socket_harms_nobody_else() {
    let rig = Rig::default();
    let mut bystander = rig.visitor("vault");
    let window = bystander.show((200, 150), CYAN).unwrap();
    let threw = garbage();

    throw(rig.connect("work"), &threw);
    bystander.roundtrip().unwrap();
    until("the compositor's log names the VM", || {
        rig.compositor_log()
            .lines()
            .any(|line| line.contains("WARN") && line.contains("work") && line.contains("client ended"))
    });

    for end in ["connection", "memfd", "display"] {
        let socket = rig.file("host/compositor").join(end);
        throw(UnixStream::connect(socket).unwrap(), &threw);
        bystander.roundtrip().unwrap();
    }
    throw(UnixStream::connect(rig.file("host/admin")).unwrap(), &threw);
    bystander.roundtrip().unwrap();
    throw(UnixStream::connect(rig.file("ctl")).unwrap(), &threw);
    bystander.draw(&window, (200, 150), MAGENTA).unwrap();

    for said in ["wrong or outdated token", "no record"] {
        assert!(rig.host_log().contains(said), "no {said:?} in the host's log");
    }
    assert_clean(&rig.host_log());
    assert_clean(&rig.compositor_log());

    // Whoever took the display socket away is gone; the compositor has its own again.
    until("the compositor is connected again", || {
        rig.host_knows_compositor()
    });
    let mut fresh = rig.visitor("work");
    fresh.roundtrip().unwrap();
    rig.picture().assert_only_in(MAGENTA, rig.content_of("vault"));
}

#[test]
fn a_connection_that_is_cut_half_way_through_a_message_ends_alone() {
    let rig = Rig::default();
    let mut bystander = rig.visitor("vault");
    // wl_display.get_registry(2), whole and in part; then a message whose length was never sent.
    let message = [1_u32, 12 << 16 | 1, 2].map(u32::to_le_bytes).concat();
    for cut in 0..=message.len() {
        let mut stream = rig.connect("work");
        stream.write_all(message.get(..cut).unwrap()).unwrap();
        drop(stream);
        bystander.roundtrip().unwrap();
    }
    until("nobody is left", || {
        let left = |vm: &str| {
            rig.vms()
                .iter()
                .find(|known| known.name == vm)
                .map_or(0, |known| known.clients)
        };
        left("work") == 0 && rig.host_stats()["connections"] == 1
    });
    assert_eq!(rig.host_stats()["faults"], 0, "to leave is no fault");
    bystander.roundtrip().unwrap();
}

#[test]
fn a_broken_rule_ends_its_client_with_a_protocol_error() {
    let rig = Rig::default();
    let mut bystander = rig.visitor("work");
    let mut stream = rig.connect("work");
    // Request 77 of wl_display.
    let message = [1_u32, 8 << 16 | 77].map(u32::to_le_bytes).concat();
    stream.write_all(&message).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // wl_display.error of wl_display, code 1: invalid_method.
    let words: Vec<_> = answer
        .chunks_exact(4)
        .filter_map(|word| word.try_into().ok().map(u32::from_le_bytes))
        .collect();
    assert_eq!(words.first(), Some(&1), "{answer:02x?}");
    assert_eq!(words.get(1).map(|word| word & 0xffff), Some(0), "{answer:02x?}");
    assert_eq!(words.get(2..4), Some(&[1, 1][..]), "{answer:02x?}");
    // The same VM's other client goes on.
    bystander.roundtrip().unwrap();
}

#[test]
fn a_host_that_is_killed_and_started_again_takes_clients_again() {
    let mut rig = Rig::default();
    let pid = rig.compositor_pid();
    let mut clients: Vec<Visitor> = ["work", "personal"].map(|vm| rig.visitor(vm)).into();
    for client in &mut clients {
        client.show((100, 80), CYAN).unwrap();
    }
    rig.content_of("work");
    rig.content_of("personal");
    rig.restart_host();
    // What went through the old host is over, and the compositor knows.
    for client in &mut clients {
        client.end();
    }
    until("their windows are gone", || {
        let stats = rig.stats();
        stats.windows == 0 && stats.clients == 0
    });
    until("the compositor is connected again", || {
        rig.host_knows_compositor()
    });
    for vm in ["work", "vault"] {
        let mut client = rig.visitor(vm);
        client.show((120, 90), MAGENTA).unwrap();
        rig.picture().assert_only_in(MAGENTA, rig.content_of(vm));
        drop(client);
        until("its window is gone", || rig.windows().is_empty());
    }
    assert_eq!(rig.compositor_pid(), pid, "it is the same compositor");
    assert_no_wrong_descriptor(&rig.quit());
}

#[test]
fn clients_that_come_before_the_compositor_is_ready_again_are_served_then() {
    let mut rig = Rig::default();
    rig.restart_host();
    // The compositor may not have noticed yet; the announcement waits for it.
    let mut client = rig.visitor("work");
    client.roundtrip().unwrap();
}

#[test]
fn a_compositor_that_is_killed_and_started_again_takes_clients_again() {
    let mut rig = Rig::default();
    let mut clients: Vec<Visitor> = ["work", "personal"].map(|vm| rig.visitor(vm)).into();
    for client in &mut clients {
        client.show((100, 80), CYAN).unwrap();
    }
    rig.restart_compositor();
    for client in &mut clients {
        client.end();
    }
    until("the host has forgotten them", || {
        rig.host_stats()["connections"] == 0
    });
    let mut client = rig.visitor("work");
    client.show((120, 90), MAGENTA).unwrap();
    rig.picture().assert_only_in(MAGENTA, rig.content_of("work"));
    // Memory that the dead compositor had asked for is no longer on the VM's account.
    assert_eq!(rig.host_stats()["vms"]["work"]["memory"]["count"], 1);
}

#[test]
fn killing_a_vm_ends_its_clients_alone() {
    let rig = Rig::default();
    let mut killed: Vec<Visitor> = (0..3).map(|_| rig.visitor("work")).collect();
    let mut bystander = rig.visitor("vault");
    rig.tell(&Request::Kill {
        vm: "work".to_owned(),
    });
    for client in &mut killed {
        client.end();
    }
    bystander.roundtrip().unwrap();
    assert_eq!(rig.stats().clients, 1);
    rig.visitor("work").roundtrip().unwrap();
}

#[test]
fn sigterm_ends_the_compositor_in_order() {
    let rig = Rig::default();
    let mut visitor = rig.visitor("work");
    visitor.roundtrip().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(rig.compositor_pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the compositor says that it stopped", || {
        rig.compositor_log().contains("stopped")
    });
}
