// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server, over its socket.

use heraldry_wire::memfd::{MemfdFailure, MemfdRequest, decode_reply};

use crate::fixture::{Peer, TWO_VMS, World, until, vm};

const SMALL: &str = "host { memfd { bytes-per-vm 1048576; count-per-vm 3; }; }\n";

fn ask(peer: &Peer, name: &str, size: u64) -> Result<std::os::fd::OwnedFd, MemfdFailure> {
    peer.send(&MemfdRequest::new(&vm(name), "keymap", size).encode(), &[]);
    let (byte, mut fds) = peer.recv(1);
    decode_reply(byte[0]).map(|()| {
        assert_eq!(fds.len(), 1);
        fds.remove(0)
    })
}

#[test]
fn budgets_are_per_vm_and_end_with_the_vm() {
    let world = World::new(&format!("{TWO_VMS}{SMALL}"));
    let mut display = world.display();
    let (client, _compositor) = world.joined(&mut display, "work");
    let peer = Peer::connect(&world.path("compositor/memfd"));
    let memory = ask(&peer, "work", 5000).unwrap();
    assert_eq!(rustix::fs::fstat(&memory).unwrap().st_size, 8192);
    assert_eq!(ask(&peer, "work", 1 << 20).unwrap_err(), MemfdFailure::VmBudget);
    assert_eq!(
        ask(&peer, "work", (1 << 20) + 1).unwrap_err(),
        MemfdFailure::TooLarge
    );
    assert_eq!(ask(&peer, "nobody", 10).unwrap_err(), MemfdFailure::Malformed);
    for _ in 0..2 {
        ask(&peer, "work", 10).unwrap();
    }
    assert_eq!(ask(&peer, "work", 10).unwrap_err(), MemfdFailure::VmBudget);
    ask(&peer, "play", 10).unwrap();
    let used = &world.stats()["vms"]["work"]["memory"];
    assert_eq!((&used["bytes"], &used["count"]), (&(4 * 4096).into(), &3.into()));
    assert_eq!(used["refused"], 3);
    drop(client);
    until("the end", || world.stats()["vms"]["work"]["memory"]["count"] == 0);
    ask(&peer, "work", 1 << 20).unwrap();
}

#[test]
fn requests_may_come_in_pieces_and_together() {
    let world = World::new(TWO_VMS);
    let peer = Peer::connect(&world.path("compositor/memfd"));
    let request = MemfdRequest::new(&vm("work"), "keymap", 100).encode();
    let (head, tail) = request.split_at(99);
    peer.send(head, &[]);
    peer.send(&[tail, &request].concat(), &[]);
    for _ in 0..2 {
        let (byte, fds) = peer.recv(1);
        assert_eq!((byte[0], fds.len()), (0, 1));
    }
}
