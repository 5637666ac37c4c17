// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes of the clipboard: from program to program, and never to the compositor.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, fstat};

use crate::fixture::{Peer, TWO_VMS, World, until};

fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (read.into(), write)
}

/// What the compositor gets in place of a pipe that a client sends.
fn stand_in(client: &Peer, compositor: &Peer, write: OwnedFd) -> OwnedFd {
    client.send(b"r", &[write]);
    let (_, mut fds) = compositor.recv(1);
    let stand_in = fds.pop().unwrap();
    let kind = FileType::from_raw_mode(fstat(&stand_in).unwrap().st_mode);
    assert_eq!((kind, fds.len()), (FileType::RegularFile, 0));
    stand_in
}

/// What the source gets when the compositor asks it for data.
fn asked(compositor: &Peer, source: &Peer, stand_in: OwnedFd) -> File {
    compositor.send(b"s", &[stand_in]);
    source.recv(1).1.pop().unwrap().into()
}

fn kept(world: &World, vm: &str) -> serde_json::Value {
    world.stats()["vms"][vm]["pipes"].clone()
}

#[track_caller]
fn assert_ends_empty(mut read: File) {
    let mut rest = Vec::new();
    read.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn a_paste_goes_from_program_to_program() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (reader, at_reader) = world.joined(&mut display, "work");
    let (source, at_source) = world.joined(&mut display, "work");
    let ((mut read, write), content) = (pipe(), vec![0x5a; 4 << 20]);
    let inode = fstat(&write).unwrap().st_ino;
    let stand_in = stand_in(&reader, &at_reader, write);
    assert_eq!(kept(&world, "work"), 1);
    let mut out = asked(&at_source, &source, stand_in);
    assert_eq!(kept(&world, "work"), 0);
    assert_eq!(fstat(&out).unwrap().st_ino, inode);
    // Neither the host nor the compositor is needed for it.
    let mut world = world;
    world.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            out.write_all(&content).unwrap();
            drop(out);
        });
        let mut pasted = Vec::new();
        read.read_to_end(&mut pasted).unwrap();
        assert!(pasted == content);
    });
}

#[test]
fn a_pipe_ends_with_the_last_that_holds_its_stand_in() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (reader, at_reader) = world.joined(&mut display, "work");
    let before = world.descriptors();
    // The compositor lets go of it.
    let (read, write) = pipe();
    drop(stand_in(&reader, &at_reader, write));
    assert_ends_empty(read);
    // It goes back to the source that asked, who is gone: nobody takes it.
    let (read, write) = pipe();
    let page = stand_in(&reader, &at_reader, write);
    let (source, at_source) = world.joined(&mut display, "work");
    drop(source);
    assert_eq!(at_source.end(), b"");
    drop(page);
    assert_ends_empty(read);
    // The reader itself leaves.
    let (read, write) = pipe();
    let page = stand_in(&reader, &at_reader, write);
    drop(reader);
    assert_ends_empty(read);
    drop(page);
    until("the end", || world.is_idle());
    assert_eq!(
        world.descriptors(),
        before - 3,
        "the connection, in two processes"
    );
}

#[test]
fn a_compositor_that_dies_lets_go_of_all() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (reader, at_reader) = world.joined(&mut display, "work");
    let (read, write) = pipe();
    // It has not even looked.
    reader.send(b"r", &[write]);
    until("the pipe is kept", || kept(&world, "work") == 1);
    drop(at_reader);
    assert_ends_empty(read);
}

#[test]
fn another_vm_gets_no_pipe_of_a_vm() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (reader, at_reader) = world.joined(&mut display, "work");
    let (other, at_other) = world.joined(&mut display, "play");
    let (read, write) = pipe();
    let page = stand_in(&reader, &at_reader, write);
    at_other.send(b"s", &[page]);
    // Its connection ends with nothing said.
    assert_eq!(other.end(), b"");
    assert_eq!(at_other.end(), b"");
    assert_eq!(world.stats()["faults"], 1);
    assert_ends_empty(read);
    // The first VM's goes on.
    reader.send(b"x", &[]);
    assert_eq!(at_reader.recv(1).0, b"x");
}

#[test]
fn a_pipe_of_the_compositor_s_own_is_a_fault() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    let (_read, write) = pipe();
    compositor.send(b"s", &[write]);
    assert_eq!(client.end(), b"");
    until("the fault", || world.stats()["faults"] == 1);
}

#[test]
fn pipes_without_end_end_at_the_limit_of_their_vm() {
    let world = World::new(&format!("{TWO_VMS}defaults {{ quota {{ transfers 8; }}; }}"));
    let mut display = world.display();
    let (reader, at_reader) = world.joined(&mut display, "work");
    let (other, at_other) = world.joined(&mut display, "play");
    let (source, at_source) = world.joined(&mut display, "work");
    let before = world.descriptors();
    let mut reads = Vec::new();
    let mut pages = Vec::new();
    for _ in 0..60 {
        let (read, write) = pipe();
        pages.push(stand_in(&reader, &at_reader, write));
        reads.push(read);
    }
    assert_eq!(kept(&world, "work"), 8);
    assert!(
        world.descriptors() <= before + 10,
        "one for each, one spare, and what tells of their end"
    );
    for read in reads.drain(8..) {
        assert_ends_empty(read);
    }
    // What has no pipe any more is still a pipe for the source, and one that nobody reads.
    let mut out = asked(&at_source, &source, pages.pop().unwrap());
    let error = out.write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    // Another VM has its own.
    let (mut read, write) = pipe();
    let page = stand_in(&other, &at_other, write);
    let mut out = asked(&at_other, &other, page);
    out.write_all(b"mine").unwrap();
    drop(out);
    let mut pasted = String::new();
    read.read_to_string(&mut pasted).unwrap();
    assert_eq!(pasted, "mine");
}
