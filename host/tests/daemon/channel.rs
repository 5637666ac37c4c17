// SPDX-License-Identifier: MIT OR Apache-2.0
//! One socket for everything that the compositor connects for: the first bytes say what it is.

use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{CompositorRecord, HostRecord, Way};
use heraldry_wire::memfd::MemfdRequest;
use heraldry_wire::{CONNECTION_CONTEXT, ContextName, DISPLAY_CONTEXT, MEMFD_CONTEXT};

use crate::fixture::{Display, Peer, TWO_VMS, World, vm};

/// A connection that says what it is for, in two pieces, and goes on at once.
fn connect(world: &World, role: &str, next: &[u8]) -> Peer {
    let peer = Peer::connect(&world.path("compositor/channel"));
    let role = ContextName::new(role).unwrap().to_role();
    let (head, tail) = role.split_at(7);
    peer.send(head, &[]);
    peer.send(&[tail, next].concat(), &[]);
    peer
}

#[test]
fn each_role_is_as_on_its_own_socket() {
    let world = World::new(TWO_VMS);
    let hello = CompositorRecord::Hello.encode();
    let mut display = Display {
        peer: connect(&world, DISPLAY_CONTEXT, &hello),
    };
    assert_eq!(display.next(), HostRecord::Hello);
    let client = world.client("work");
    let announcement = display.announcement();
    let Way::Token(token) = announcement.way else {
        panic!("a token");
    };
    let number = announcement.number;
    let record = TokenRecord { number, token }.encode();
    let compositor = connect(&world, CONNECTION_CONTEXT, &[&record[..], b"down"].concat());
    assert_eq!(client.recv(4).0, b"down");
    client.send(b"up", &[]);
    assert_eq!(compositor.recv(2).0, b"up");
    let request = MemfdRequest::new(&vm("work"), "keymap", 100).encode();
    let memory = connect(&world, MEMFD_CONTEXT, &request);
    let (byte, fds) = memory.recv(1);
    assert_eq!((byte[0], fds.len()), (0, 1));
}

#[test]
fn who_says_nothing_of_use_is_not_served() {
    let world = World::new(TWO_VMS);
    assert_eq!(connect(&world, "no-such-role", b"x").end(), b"");
    let nameless = Peer::connect(&world.path("compositor/channel"));
    nameless.send(&[0; 32], &[]);
    assert_eq!(nameless.end(), b"");
    let silent = Peer::connect(&world.path("compositor/channel"));
    silent.send(b"heraldry-di", &[]);
    // Others do not wait for it.
    let _display = world.display();
    drop(silent);
}
