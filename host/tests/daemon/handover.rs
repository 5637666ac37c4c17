// SPDX-License-Identifier: MIT OR Apache-2.0
//! From a client's connect to a joined connection.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{CompositorRecord, HostRecord, RefuseReason, Way};
use rustix::process::Signal;

use crate::fixture::{Peer, TWO_VMS, World, memfd, until};

const BY_NAME: &str = "host { hand-over \"name\"; }\n";
const SOON: &str = "host { withdraw-after-ms 200; }\n";

fn by_name() -> World {
    World::new(&format!("{TWO_VMS}{BY_NAME}"))
}

#[test]
fn the_path_is_the_identity() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    for vm in ["work", "play", "work"] {
        let _client = world.client(vm);
        assert_eq!(display.announcement().vm.as_str(), vm);
        assert!(matches!(display.next(), HostRecord::Withdraw { .. }));
    }
}

#[test]
fn connections_of_one_start_share_a_boot_instance_and_those_of_the_next_do_not() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let one = world.client("work");
    let first = display.announcement();
    let two = world.client("work");
    let second = display.announcement();
    assert_eq!(first.boot, second.boot);
    assert_ne!(first.number, second.number);
    drop((one, two));
    until("the end", || world.is_idle());
    let _again = world.client("work");
    let third = loop {
        if let HostRecord::Announce(announcement) = display.next() {
            break announcement;
        }
    };
    assert_ne!(third.boot, first.boot);
}

#[test]
fn bytes_and_descriptors_pass_both_ways() {
    for world in [World::new(TWO_VMS), by_name()] {
        let mut display = world.display();
        let (client, compositor) = world.joined(&mut display, "work");
        let fds = (0..28u8).map(|number| memfd(&[number])).collect::<Vec<_>>();
        client.send(b"up", &fds);
        compositor.send(b"down", &[memfd(b"keymap")]);
        let (bytes, fds) = compositor.recv(2);
        assert_eq!((bytes.as_slice(), fds.len()), (&b"up"[..], 28));
        for (number, fd) in (0..28u8).zip(&fds) {
            let mut content = [0xff];
            assert_eq!(rustix::io::pread(fd, &mut content, 0).unwrap(), 1);
            assert_eq!(content, [number], "in their order");
            assert!(rustix::fs::ftruncate(fd, 0).is_err(), "sealed");
        }
        let (bytes, fds) = client.recv(4);
        assert_eq!((bytes.as_slice(), fds.len()), (&b"down"[..], 1));
        drop(client);
        assert_eq!(compositor.end(), b"");
        until("the end", || world.is_idle());
    }
}

#[test]
fn what_a_client_sends_before_it_is_taken_arrives_first() {
    for world in [World::new(TWO_VMS), by_name()] {
        let mut display = world.display();
        let client = world.client("play");
        client.send(b"early", &[]);
        let compositor = world.take(&display.announcement());
        assert_eq!(compositor.recv(5).0, b"early");
        assert_eq!(
            world.path("compositor").read_dir().unwrap().count(),
            4,
            "its own socket is gone"
        );
    }
}

#[test]
fn last_words_arrive_when_the_compositor_closes() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (mut client, compositor) = world.joined(&mut display, "work");
    client.flood();
    compositor.send(b"error", &[]);
    drop(compositor);
    assert_eq!(client.end(), b"error");
    until("the end", || world.is_idle());
}

#[test]
fn a_wrong_token_ends_its_own_connection_alone() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let client = world.client("work");
    let announcement = display.announcement();
    let Way::Token(mut token) = announcement.way else {
        panic!("not by token")
    };
    token[31] ^= 1;
    for (number, token) in [(announcement.number, token), (announcement.number + 1, [0; 32])] {
        let peer = Peer::connect(&world.path("compositor/connection"));
        peer.send(&TokenRecord { number, token }.encode(), &[]);
        assert_eq!(peer.end(), b"");
    }
    client.send(b"alive", &[]);
    let compositor = world.take(&announcement);
    assert_eq!(compositor.recv(5).0, b"alive");
    // It works once.
    assert_eq!(world.take(&announcement).end(), b"");
}

#[test]
fn a_client_that_leaves_is_withdrawn() {
    for world in [World::new(TWO_VMS), by_name()] {
        let mut display = world.display();
        let client = world.client("work");
        let announcement = display.announcement();
        drop(client);
        let number = announcement.number;
        assert_eq!(display.next(), HostRecord::Withdraw { number });
        match &announcement.way {
            Way::Token(_) => assert_eq!(world.take(&announcement).end(), b""),
            Way::Name(name) => {
                assert!(!world.path("compositor").join(name.as_str()).exists());
            }
        }
        until("the end", || world.is_idle());
    }
}

#[test]
fn a_client_that_nobody_takes_is_withdrawn_in_time() {
    for way in ["", "hand-over \"name\";"] {
        let world = World::new(&format!("{TWO_VMS}host {{ withdraw-after-ms 200; {way} }}"));
        let mut display = world.display();
        let client = world.client("work");
        let number = display.announcement().number;
        assert_eq!(display.next(), HostRecord::Withdraw { number });
        assert_eq!(client.end(), b"");
        assert_eq!(world.path("compositor").read_dir().unwrap().count(), 4);
        assert!(world.is_idle());
    }
}

#[test]
fn a_refused_client_ends() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let client = world.client("work");
    let number = display.announcement().number;
    let reason = RefuseReason::Paused;
    display.send(&CompositorRecord::Refuse { number, reason });
    assert_eq!(client.end(), b"");
    until("the end", || world.is_idle());
}

#[test]
fn a_restarted_compositor_hears_of_those_that_wait_and_old_connections_live_on() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    let waiting = world.client("play");
    let first = display.announcement();
    drop(display);
    until("the loss", || world.stats()["compositor"] == false);
    let late = world.client("work");
    let mut display = world.display();
    let (again, new) = (display.announcement(), display.announcement());
    assert_eq!((again.number, new.vm.as_str()), (first.number, "work"));
    compositor.send(b"still here", &[]);
    assert_eq!(client.recv(10).0, b"still here");
    for (announcement, client) in [(again, waiting), (new, late)] {
        let compositor = world.take(&announcement);
        compositor.send(b"hello", &[]);
        assert_eq!(client.recv(5).0, b"hello");
    }
}

#[test]
fn a_new_display_socket_replaces_the_old() {
    let world = World::new(TWO_VMS);
    let old = world.display();
    let mut new = world.display();
    assert_eq!(old.peer.end(), b"");
    let _client = world.client("work");
    assert_eq!(new.announcement().vm.as_str(), "work");
}

#[test]
fn a_socket_made_for_one_client_is_private_and_takes_one_connection() {
    let world = by_name();
    let mut display = world.display();
    let one = world.client("work");
    let first = display.announcement();
    let two = world.client("play");
    let second = display.announcement();
    let (Way::Name(name), Way::Name(other)) = (&first.way, &second.way) else {
        panic!("not by name")
    };
    assert_ne!(name, other);
    let number = name.as_str().strip_prefix("wl-conn-").unwrap();
    assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{name}");
    let path = world.path("compositor").join(name.as_str());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let compositor = world.take(&first);
    compositor.send(b"one", &[]);
    assert_eq!(one.recv(3).0, b"one");
    assert!(!path.exists() && UnixStream::connect(&path).is_err());
    // A token does not open it.
    let peer = Peer::connect(&world.path("compositor/connection"));
    let record = TokenRecord {
        number: second.number,
        token: [0; 32],
    };
    peer.send(&record.encode(), &[]);
    assert_eq!(peer.end(), b"");
    let compositor = world.take(&second);
    compositor.send(b"two", &[]);
    assert_eq!(two.recv(3).0, b"two");
}

#[test]
fn a_name_of_a_killed_host_leads_nowhere() {
    let mut world = by_name();
    let mut display = world.display();
    let _old = world.client("work");
    let stale = display.announcement();
    world.kill();
    world.start();
    let mut display = world.display();
    let _new = world.client("play");
    let fresh = display.announcement();
    let (Way::Name(stale), Way::Name(fresh)) = (&stale.way, &fresh.way) else {
        panic!("not by name")
    };
    assert_ne!(stale, fresh);
    assert!(!world.path("compositor").join(stale.as_str()).exists());
}

#[test]
fn the_way_can_change_while_the_host_runs() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let _one = world.client("work");
    assert!(matches!(display.announcement().way, Way::Token(_)));
    world.reload(&format!("{TWO_VMS}{BY_NAME}"));
    let (client, compositor) = world.joined(&mut display, "work");
    compositor.send(b"x", &[]);
    assert_eq!(client.recv(1).0, b"x");
}

#[test]
fn a_paused_host_loses_no_client_that_joins_and_leaves_at_once() {
    let world = World::new(&format!("{TWO_VMS}{SOON}"));
    let mut display = world.display();
    let client = world.client("work");
    let announcement = display.announcement();
    // Both events are there before the host looks.
    world.signal_all(Signal::STOP);
    let compositor = world.take(&announcement);
    drop(client);
    world.signal_all(Signal::CONT);
    assert_eq!(compositor.end(), b"");
    until("the end", || world.is_idle());
    world.joined(&mut skip_withdrawals(display), "work");
}

fn skip_withdrawals(display: crate::fixture::Display) -> crate::fixture::Display {
    use std::time::Duration;
    display
        .peer
        .0
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut record = [0; heraldry_wire::display::RECORD_LEN];
    // There is one or none.
    let _none = std::io::Read::read(&mut &display.peer.0, &mut record);
    display
        .peer
        .0
        .set_read_timeout(Some(crate::fixture::PATIENCE))
        .unwrap();
    display
}
