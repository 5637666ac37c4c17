// SPDX-License-Identifier: MIT OR Apache-2.0
//! One channel for everything that the compositor connects for.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use heraldry_streams::{ROLE, Socket, Streams};
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, Way};
use heraldry_wire::memfd::MemfdRequest;
use heraldry_wire::{CONNECTION_CONTEXT, ContextName, DISPLAY_CONTEXT, MEMFD_CONTEXT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fixture::{Display, PATIENCE, Peer, TWO_VMS, World, until, vm};

/// The compositor's end of a channel, which a thread serves until it is dropped.
struct Channel(Arc<Mutex<Option<Streams<Socket>>>>);

impl Channel {
    fn connect(world: &World) -> Self {
        let peer = Peer::connect(&world.path("compositor/channel"));
        // In two pieces.
        let role = ContextName::new(ROLE).unwrap().to_role();
        let (head, tail) = role.split_at(7);
        peer.send(head, &[]);
        peer.send(tail, &[]);
        peer.0.set_nonblocking(true).unwrap();
        let streams = Streams::opener(Socket::new(peer.0)).unwrap();
        let shared = Arc::new(Mutex::new(Some(streams)));
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                let mut streams = own.lock().unwrap();
                let Some(there) = streams.as_mut() else { return };
                if there.serve(&mut Vec::new()).is_err() {
                    *streams = None;
                    return;
                }
                let events = rustix::io::dup(&*there).unwrap();
                drop(streams);
                // Dropping it wakes nobody.
                let wait = Timespec {
                    tv_sec: 0,
                    tv_nsec: 20_000_000,
                };
                let _ready = poll(&mut [PollFd::new(&events, PollFlags::IN)], Some(&wait));
            }
        });
        Self(shared)
    }

    fn open(&self, name: &str) -> Peer {
        let name = ContextName::new(name).unwrap();
        let socket = self.0.lock().unwrap().as_mut().unwrap().open(name).unwrap();
        patient(socket)
    }

    fn display(&self) -> Display {
        let peer = self.open(DISPLAY_CONTEXT);
        let mut display = Display { peer };
        display.send(&CompositorRecord::Hello);
        assert_eq!(display.next(), HostRecord::Hello);
        display
    }

    fn take(&self, announcement: &Announcement) -> Peer {
        let Way::Token(token) = announcement.way else {
            panic!("a token");
        };
        let number = announcement.number;
        let peer = self.open(CONNECTION_CONTEXT);
        peer.send(&TokenRecord { number, token }.encode(), &[]);
        peer
    }

    fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = None;
    }
}

fn patient(socket: UnixStream) -> Peer {
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    Peer(socket)
}

#[test]
fn each_stream_is_as_a_connection_to_a_socket_of_its_name() {
    let world = World::new(TWO_VMS);
    let channel = Channel::connect(&world);
    let mut display = channel.display();
    let client = world.client("work");
    let compositor = channel.take(&display.announcement());
    compositor.send(b"down", &[]);
    assert_eq!(client.recv(4).0, b"down");
    client.send(b"up", &[]);
    assert_eq!(compositor.recv(2).0, b"up");
    // Memory of the host, which the client gets as it is.
    let request = MemfdRequest::new(&vm("work"), "keymap", 100).encode();
    let memory = channel.open(MEMFD_CONTEXT);
    memory.send(&request, &[]);
    let (byte, fds) = memory.recv(1);
    assert_eq!((byte[0], fds.len()), (0, 1));
    compositor.send(b"map", &fds);
    let (bytes, got) = client.recv(3);
    let number = |fd| rustix::fs::fstat(fd).unwrap().st_ino;
    assert_eq!((bytes.as_slice(), got.len()), (&b"map"[..], 1));
    assert_eq!(number(&got[0]), number(&fds[0]));
    // The last word of either comes before its end.
    compositor.send(b"error", &[]);
    drop(compositor);
    assert_eq!(client.end(), b"error");
    let other = world.client("play");
    let compositor = channel.take(&display.announcement());
    other.send(b"here", &[]);
    assert_eq!(compositor.recv(4).0, b"here");
    other.send(b"bye", &[]);
    drop(other);
    assert_eq!(compositor.end(), b"bye");
    until("nothing is left", || world.is_idle());
}

#[test]
fn many_clients_come_over_one_connection_and_none_waits_for_another() {
    let world = World::new(TWO_VMS);
    let channel = Channel::connect(&world);
    let mut display = channel.display();
    let joined: Vec<(Peer, Peer)> = (0..50)
        .map(|_| {
            let client = world.client("work");
            (client, channel.take(&display.announcement()))
        })
        .collect();
    // The first is full in both directions, and nobody reads it.
    let (mut client, compositor) = (world.client("play"), channel.take(&display.announcement()));
    compositor.send(b"?", &[]);
    client.recv(1);
    assert!(client.flood() > 0);
    compositor.send(&[1; 10_000], &[]);
    for (number, (client, compositor)) in joined.iter().enumerate() {
        let number = u8::try_from(number).unwrap();
        client.send(&[number; 1000], &[]);
        assert_eq!(compositor.recv(1000).0, vec![number; 1000]);
        compositor.send(&[number; 1000], &[]);
        assert_eq!(client.recv(1000).0, vec![number; 1000]);
    }
    assert_eq!(world.stats()["connections"], 51);
    drop(channel);
    // With the channel all of them end.
    for (client, _) in joined {
        client.end();
    }
    until("nothing is left", || world.is_idle());
}

#[test]
fn a_token_that_is_wrong_leads_nowhere_and_ends_nothing_else() {
    let world = World::new(TWO_VMS);
    let channel = Channel::connect(&world);
    let mut display = channel.display();
    let client = world.client("work");
    let mut announcement = display.announcement();
    let right = announcement.clone();
    announcement.way = Way::Token([0; 32]);
    assert_eq!(channel.take(&announcement).end(), b"");
    assert_eq!(channel.open("no-such-context").end(), b"");
    let compositor = channel.take(&right);
    compositor.send(b"x", &[]);
    assert_eq!(client.recv(1).0, b"x");
}

#[test]
fn the_channel_of_a_restarted_compositor_counts() {
    let world = World::new(TWO_VMS);
    let first = Channel::connect(&world);
    let mut display = first.display();
    let client = world.client("work");
    let compositor = first.take(&display.announcement());
    compositor.send(b"x", &[]);
    client.recv(1);
    let second = Channel::connect(&world);
    let mut display = second.display();
    let other = world.client("work");
    let taken = second.take(&display.announcement());
    taken.send(b"y", &[]);
    assert_eq!(other.recv(1).0, b"y");
    // What came over the old one lives on as long as that does: until there is another one.
    client.send(b"z", &[]);
    assert_eq!(compositor.recv(1).0, b"z");
    let third = Channel::connect(&world);
    third.display();
    until("the first is over", || first.is_over());
    assert_eq!(client.end(), b"");
    other.send(b"z", &[]);
    assert_eq!(taken.recv(1).0, b"z");
}

#[test]
fn who_is_no_channel_or_breaks_its_rules_is_not_served() {
    let world = World::new(TWO_VMS);
    let connect = |bytes: &[u8]| {
        let peer = Peer::connect(&world.path("compositor/channel"));
        peer.send(bytes, &[]);
        peer
    };
    let role = ContextName::new(ROLE).unwrap().to_role();
    // What a VMM asks that looks for a compositor, and waits for the answer: get_registry.
    let registry = [1, 0, 0, 0, 1, 0, 12, 0, 2, 0, 0, 0];
    let other = ContextName::new("no-such-role").unwrap().to_role();
    for nonsense in [&registry[..], &other, &[0; 32], &[&role[..], &[9; 12]].concat()] {
        let start = std::time::Instant::now();
        assert_eq!(connect(nonsense).end(), b"");
        assert!(start.elapsed().as_secs() < 4, "at once, not when its time is up");
    }
    // Others wait neither for who says nothing nor for who never reads.
    let _silent = connect(&role[..9]);
    let mut open = role.to_vec();
    for number in 1..=40_u32 {
        open.extend([1, 0, 0, 0]);
        open.extend(number.to_le_bytes());
        open.extend(32_u32.to_le_bytes());
        open.extend(ContextName::new(DISPLAY_CONTEXT).unwrap().to_role());
    }
    let _deaf = connect(&open);
    let channel = Channel::connect(&world);
    let mut display = channel.display();
    let client = world.client("work");
    let compositor = channel.take(&display.announcement());
    compositor.send(b"x", &[]);
    assert_eq!(client.recv(1).0, b"x");
    world.assert_calm();
}
