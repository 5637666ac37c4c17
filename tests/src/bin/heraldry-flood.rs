// SPDX-License-Identifier: MIT OR Apache-2.0
//! For tests in an app VM: asks the VM's cross-domain device for too much, and says nonsense to it. Prints what came of it.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a program of the tests, read by them"
)]

use std::os::fd::AsFd as _;
use std::path::Path;

use heraldry_virtio::guest::{Channel, Message, Outgoing, find_card};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The next message; nothing if none comes.
fn next(channel: &mut Channel) -> Option<Message> {
    let patience = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(&*channel, PollFlags::IN)], Some(&patience));
    ready.ok().filter(|count| *count > 0)?;
    channel.receive().expect("an event")
}

/// What cross-domain has no word for: the connection is over, and the program hears it.
fn nonsense(card: &Path) {
    let header = |number: u8, size: u16| {
        let [low, high] = size.to_le_bytes();
        vec![number, 0, low, high, 0, 0, 0, 0]
    };
    let mut many = header(4, 400);
    many.extend(29_u32.to_le_bytes());
    many.resize(400, 0);
    for bytes in [header(3, 0), header(3, 9), header(99, 8), vec![3; 5], many] {
        let mut channel = Channel::open(card).expect("a channel");
        channel.submit_anything(&bytes).expect("the card takes anything");
        match next(&mut channel) {
            Some(Message::End) => {}
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
    println!("nonsense ends connections");
}

/// Pieces of memory until there are no more.
fn mappings(card: &Path) {
    let mut channel = Channel::open(card).expect("a channel");
    let mut kept = Vec::new();
    while kept.len() < 600 {
        match channel.allocate(4096) {
            Ok(memory) => kept.push(memory),
            Err(_) => break,
        }
    }
    println!("{} pieces are mapped", kept.len());
    for memory in kept.drain(..) {
        channel.free(memory);
    }
    let again = channel.allocate(4096).is_ok();
    println!("again {again}");
    let large = channel.allocate(1 << 31).is_ok();
    println!("2 GiB {large}");
}

/// More contexts than there may be.
fn contexts(card: &Path) {
    let mut kept = Vec::new();
    while kept.len() < 300 {
        match Channel::open(card) {
            Ok(channel) => kept.push(channel),
            Err(_) => break,
        }
    }
    // Each answers, if only by its end, or waits for a compositor that has nothing to say.
    let mut ended = 0;
    for channel in &mut kept {
        let now = Timespec::default();
        let ready = poll(&mut [PollFd::new(&*channel, PollFlags::IN)], Some(&now));
        if matches!(ready, Ok(1..)) && matches!(channel.receive(), Ok(Some(Message::End))) {
            ended += 1;
        }
    }
    println!("{} contexts, {} over", kept.len(), ended);
}

/// A descriptor that is nobody's.
fn foreign(card: &Path) {
    let mut channel = Channel::open(card).expect("a channel");
    let file = std::fs::File::open("/init").expect("a file");
    let sent = channel.send(b"x", &[Outgoing::Memory(file.as_fd())], false);
    println!("a foreign descriptor is sent: {}", sent.is_ok());
}

fn main() {
    let card = find_card().expect("a card");
    nonsense(&card);
    mappings(&card);
    contexts(&card);
    foreign(&card);
}
