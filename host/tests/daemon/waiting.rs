// SPDX-License-Identifier: MIT OR Apache-2.0
//! Clients that come while no compositor is there, or one that goes again: they wait, and their time does not run.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use heraldry_wire::display::{CompositorRecord, HostRecord};
use rustix::process::Signal;

use crate::fixture::{Display, Peer, TWO_VMS, World, until};

/// For how long a client may wait for a compositor that knows of it.
const TIME: Duration = Duration::from_millis(600);

fn world(way: &str) -> World {
    let millis = TIME.as_millis();
    World::new(&format!("{TWO_VMS}host {{ withdraw-after-ms {millis}; {way} }}"))
}

/// Both ways in which the compositor can come for a client.
fn worlds() -> [World; 2] {
    [world(""), world("hand-over \"name\";")]
}

/// Nothing happens to a client for longer than a compositor would have time for it.
fn stays(client: &mut Peer) {
    client.0.set_read_timeout(Some(TIME * 2)).unwrap();
    let read = client.0.read(&mut [0]);
    assert_eq!(
        read.expect_err("it ended, or heard something").kind(),
        ErrorKind::WouldBlock
    );
    client.0.set_read_timeout(Some(crate::fixture::PATIENCE)).unwrap();
}

/// The compositor goes, and the host knows.
fn lose(world: &World, display: Display) {
    drop(display);
    until("the loss", || world.stats()["compositor"] == false);
}

/// The compositor that is there now comes for the client.
fn taken(world: &World, display: &mut Display, client: &Peer) {
    let compositor = world.take(&display.announcement());
    client.send(b"up", &[]);
    assert_eq!(compositor.recv(2).0, b"up");
    compositor.send(b"down", &[]);
    assert_eq!(client.recv(4).0, b"down");
}

#[test]
fn a_client_that_comes_first_waits_for_the_compositor() {
    for world in worlds() {
        let mut client = world.client("work");
        stays(&mut client);
        let stats = world.stats();
        assert_eq!(
            (&stats["waiting"], &stats["waiting_for_compositor"]),
            (&1.into(), &1.into())
        );
        // One that has not said who it is might be anything.
        let silent = Peer::connect(&world.path("compositor/display"));
        stays(&mut client);
        drop(silent);
        taken(&world, &mut world.display(), &client);
        assert_eq!(world.stats()["waiting_for_compositor"], 0);
    }
}

#[test]
fn the_time_of_a_client_that_waited_begins_when_the_compositor_hears_of_it() {
    let world = world("");
    let mut client = world.client("work");
    stays(&mut client);
    let begin = Instant::now();
    let mut display = world.display();
    let number = display.announcement().number;
    assert_eq!(display.next(), HostRecord::Withdraw { number });
    assert!(begin.elapsed() >= TIME, "{:?}", begin.elapsed());
    assert_eq!(client.end(), b"");
}

#[test]
fn compositors_that_come_and_go_cost_a_client_nothing() {
    for world in worlds() {
        let mut client = world.client("work");
        for _ in 0..4 {
            let mut display = world.display();
            let announcement = display.announcement();
            // The last of them was on its way.
            display.send(&CompositorRecord::Take {
                number: announcement.number,
            });
            lose(&world, display);
            stays(&mut client);
        }
        assert_eq!(world.stats()["withdrawn"], 0);
        taken(&world, &mut world.display(), &client);
    }
}

#[test]
fn a_compositor_that_is_replaced_stops_the_time() {
    let world = world("");
    let mut client = world.client("work");
    let mut old = world.display();
    old.announcement();
    // The next one is there and has not said Hello yet.
    let next = Peer::connect(&world.path("compositor/display"));
    assert_eq!(old.peer.end(), b"");
    stays(&mut client);
    let mut next = Display { peer: next };
    assert_eq!(next.next(), HostRecord::Hello);
    next.send(&CompositorRecord::Hello);
    taken(&world, &mut next, &client);
}

#[test]
fn a_compositor_that_dies_on_its_way_takes_no_client_along() {
    for world in worlds() {
        let mut client = world.client("work");
        let mut display = world.display();
        let announcement = display.announcement();
        // It has come, and is gone, before the host looks.
        world.signal_all(Signal::STOP);
        drop(world.take(&announcement));
        drop(display);
        world.signal_all(Signal::CONT);
        until("the loss", || world.stats()["compositor"] == false);
        stays(&mut client);
        taken(&world, &mut world.display(), &client);
    }
}

#[test]
fn a_client_that_leaves_while_there_is_no_compositor_is_never_announced() {
    for world in worlds() {
        let gone = world.client("work");
        let client = world.client("play");
        until("both", || world.stats()["waiting_for_compositor"] == 2);
        drop(gone);
        until("the end of one", || world.stats()["waiting"] == 1);
        assert_eq!(world.stats()["withdrawn"], 1);
        let mut display = world.display();
        taken(&world, &mut display, &client);
    }
}

#[test]
fn a_vm_has_no_more_clients_that_wait_than_its_limit() {
    let world = world("connections-per-vm 3;");
    let mut waiting: Vec<Peer> = (0..3).map(|_| world.client("work")).collect();
    assert_eq!(world.client("work").end(), b"");
    let other = world.client("play");
    stays(&mut waiting[0]);
    assert_eq!(world.stats()["waiting_for_compositor"], 4);
    // Nor is anything kept of what they say.
    let before = world.kibibytes();
    for client in &mut waiting {
        client.flood();
    }
    assert!(world.kibibytes() - before < 1024);
    world.assert_calm();
    drop((waiting, other));
    until("the end", || world.is_idle());
}

#[test]
fn a_compositor_that_reads_nothing_has_no_time_to_lose_for_who_it_cannot_know_of() {
    let vms: String = ["1f5fbf", "2e8b57", "b22222", "daa520", "6a3d9a", "101010"]
        .iter()
        .enumerate()
        .map(|(number, color)| format!("vm \"vm{number}\" {{ color \"#{color}\"; glyph \"{number}\"; }}\n"))
        .collect();
    let millis = TIME.as_millis();
    let world = World::new(&format!("schema 1\n{vms}host {{ withdraw-after-ms {millis}; }}"));
    // More than the display socket holds: a record takes hundreds of bytes of its buffer.
    let clients: Vec<Peer> = (0..6 * 64)
        .map(|number| world.client(&format!("vm{}", number % 6)))
        .collect();
    until("all", || world.stats()["waiting"] == clients.len());
    let mut display = world.display();
    let untold = |stats: &serde_json::Value| stats["waiting_for_compositor"].as_u64().unwrap();
    until("some that were announced", || {
        untold(&world.stats()) < clients.len() as u64
    });
    until("their end", || {
        let stats = world.stats();
        stats["waiting"].as_u64().unwrap() == untold(&stats)
    });
    assert!(untold(&world.stats()) > 0, "{}", world.stats());
    world.assert_calm();
    // When it reads, it hears of all of them, each in its own time.
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < clients.len() {
        if let HostRecord::Announce(announcement) = display.next() {
            assert!(heard.insert(announcement.number));
        }
    }
    until("the rest", || world.is_idle());
}
