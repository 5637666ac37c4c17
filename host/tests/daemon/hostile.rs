// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that mean harm: nothing blocks, spins, grows or is lost for others.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use heraldry_wire::display::HostRecord;

use crate::fixture::{Peer, TWO_VMS, World, until};

#[test]
fn garbage_on_every_socket_ends_that_connection_alone() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    // Any 232 bytes are a request for memory, on behalf of nobody.
    let peer = Peer::connect(&world.path("compositor/memfd"));
    peer.send(&[0xa5; 4096], &[]);
    assert_eq!(peer.recv(17).0, [1; 17]);
    drop(peer);
    for socket in ["connection", "display"] {
        let mut peer = Peer::connect(&world.path(&format!("compositor/{socket}")));
        // It may close before all of it is written.
        let _closed = peer.0.write_all(&[0xa5; 4096]);
        peer.end();
    }
    // To the host a client's bytes are bytes.
    client.send(&[0xa5; 4096], &[]);
    assert_eq!(compositor.recv(4096).0, [0xa5; 4096]);
    until("the last display socket", || world.stats()["compositor"] == false);
    world.joined(&mut world.display(), "play");
}

#[test]
fn connections_that_say_nothing_end() {
    let world = World::new(TWO_VMS);
    let silent = Peer::connect(&world.path("compositor/connection"));
    silent.send(b"HRDC", &[]);
    assert_eq!(silent.end(), b"", "after five seconds");
    world.assert_calm();
}

#[test]
fn a_slow_reader_costs_bounded_memory_and_slows_nobody_else() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let before = world.kibibytes();
    let mut slow: Vec<_> = (0..8).map(|_| world.joined(&mut display, "work")).collect();
    for (client, _) in &mut slow {
        let took = client.flood();
        assert!(took < 4 << 20, "{took}");
    }
    let grown = world.kibibytes() - before;
    assert!(grown < 8 * 1024, "{grown} KiB for eight connections");
    world.assert_calm();
    world.joined(&mut display, "play");
    // They hang up behind their full queues.
    let compositors: Vec<_> = slow.into_iter().map(|(_, compositor)| compositor).collect();
    world.assert_calm();
    drop(compositors);
    until("the end", || world.is_idle());
}

#[test]
fn one_byte_at_a_time_costs_no_more_than_many_at_once() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    // Fill the compositor's socket, then let single bytes queue in the daemon.
    client.0.set_nonblocking(true).unwrap();
    let before = world.kibibytes();
    for _ in 0..60_000 {
        if (&client.0).write_all(b"x").is_err() {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let grown = world.kibibytes().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
    drop(compositor);
}

#[test]
fn a_vm_has_its_limit_of_connections_and_takes_none_from_others() {
    let world = World::new(&format!("{TWO_VMS}host {{ connections-per-vm 3; }}"));
    let mut display = world.display();
    let open: Vec<_> = (0..3).map(|_| world.joined(&mut display, "work")).collect();
    assert_eq!(world.client("work").end(), b"");
    let one_more = world.joined(&mut display, "play");
    drop((open, one_more));
    until("the end", || world.is_idle());
    world.joined(&mut display, "work");
}

#[test]
fn many_that_wait_are_all_announced_to_a_compositor_that_reads_late() {
    let vms: String = ["1f5fbf", "2e8b57", "b22222", "daa520", "6a3d9a", "101010"]
        .iter()
        .enumerate()
        .map(|(number, color)| format!("vm \"vm{number}\" {{ color \"#{color}\"; glyph \"{number}\"; }}\n"))
        .collect();
    let world = World::new(&format!("schema 1\n{vms}host {{ withdraw-after-ms 60000; }}"));
    let clients: Vec<Peer> = (0..6 * 64)
        .map(|number| world.client(&format!("vm{}", number % 6)))
        .collect();
    until("all", || world.stats()["waiting"] == clients.len());
    let mut display = world.display();
    std::thread::sleep(Duration::from_millis(200));
    world.assert_calm();
    let mut numbers: Vec<u64> = (0..clients.len())
        .map(|_| display.announcement().number)
        .collect();
    numbers.dedup();
    assert_eq!(numbers.len(), clients.len());
    drop(clients);
    for _ in &numbers {
        assert!(matches!(display.next(), HostRecord::Withdraw { .. }));
    }
    until("the end", || world.is_idle());
}

#[test]
fn a_vm_that_connects_in_a_loop_stops_nobody_else() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let path = world.path("vm/work/wayland-0");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                // The queue may be full.
                let _full = UnixStream::connect(&path);
            }
        });
        std::thread::sleep(Duration::from_millis(500));
        let client = world.client("play");
        let announcement = loop {
            match display.next() {
                HostRecord::Announce(found) if found.vm.as_str() == "play" => break found,
                _ => {}
            }
        };
        let compositor = world.take(&announcement);
        compositor.send(b"here", &[]);
        assert_eq!(client.recv(4).0, b"here");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let accepted = world.stats()["accepted"].as_u64().unwrap();
    assert!(accepted < 2000, "{accepted}");
}

#[test]
fn a_daemon_without_free_descriptors_waits_for_some() {
    let mut world = World::prepared(TWO_VMS);
    let arguments = world.arguments();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .args(&arguments);
    world.start_as(&mut command);
    let mut clients: Vec<Peer> = (0..40).map(|_| world.client("work")).collect();
    until("the shortage", || world.log().contains("cannot be accepted now"));
    // The pace of a VM would hide a busy loop; this listener has none.
    let memory = Peer::connect(&world.path("compositor/memfd"));
    world.assert_calm();
    drop(memory);
    clients.truncate(5);
    until("the rest", || world.stats()["waiting"] == 5);
    let mut display = world.display();
    let _client = world.client("play");
    while !matches!(display.next(), HostRecord::Announce(found) if found.vm.as_str() == "play") {}
}

#[test]
fn nothing_is_left_of_many_clients() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let before = world.descriptors();
    for _ in 0..20 {
        let open: Vec<_> = ["work", "play", "work", "play"]
            .map(|vm| world.joined(&mut display, vm))
            .into();
        drop(open);
    }
    until("the end", || world.is_idle());
    assert_eq!(world.descriptors(), before);
    assert_eq!(world.stats()["accepted"], 80);
}
