// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes, for data that goes from client to client.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use heraldry_virtio::guest::SendError;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::fixture::{Inbox, both, ready};

#[test]
fn the_guest_reads_what_the_host_writes() {
    both(
        "pipes::the_guest_reads_what_the_host_writes",
        |host| {
            let peer = host.accept();
            let (_, mut fds) = peer.recv(1);
            File::from(fds.remove(0)).write_all(b"pasted").unwrap();
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let pipe = device.pipe_read().unwrap();
            context.send(b"x", &[pipe.as_fd()]).unwrap();
            assert!(
                matches!(context.send(b"x", &[pipe.as_fd()]), Err(SendError::Gone)),
                "sent twice"
            );
            let (mut got, mut buffer) = (Vec::new(), [0; 4]);
            loop {
                match pipe.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => got.extend_from_slice(&buffer[..count]),
                    Err(Errno::AGAIN) => drop(ready(&pipe, PollFlags::IN)),
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(got, b"pasted");
        },
    );
}

#[test]
fn the_host_reads_what_the_guest_sends() {
    const BIG: usize = 1 << 20;
    both(
        "pipes::the_host_reads_what_the_guest_sends",
        |host| {
            let peer = host.accept();
            let (_, mut fds) = peer.recv(1);
            let mut got = Vec::new();
            File::from(fds.remove(0)).read_to_end(&mut got).unwrap();
            assert!(got.len() == BIG && got.iter().all(|byte| *byte == 7));
            // A reader that goes away is a hang-up.
            let (_, fds) = peer.recv(1);
            drop(fds);
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let pipe = device.pipe_write().unwrap();
            context.send(b"x", &[pipe.as_fd()]).unwrap();
            pipe.write(&vec![7; BIG]).unwrap();
            assert_eq!(rustix::io::write(&pipe, b"x"), Err(Errno::BADF));
            drop(pipe);
            let pipe = device.pipe_write().unwrap();
            context.send(b"x", &[pipe.as_fd()]).unwrap();
            assert_eq!(ready(&pipe, PollFlags::IN), PollFlags::HUP);
        },
    );
}

#[test]
fn a_pipe_from_the_host_works_and_cannot_be_sent_on() {
    both(
        "pipes::a_pipe_from_the_host_works_and_cannot_be_sent_on",
        |host| {
            let peer = host.accept();
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            peer.send(b"w", &[write.as_fd()]);
            drop(write);
            let mut got = Vec::new();
            File::from(read).read_to_end(&mut got).unwrap();
            assert_eq!(got, b"copied");
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 1, 1);
            let pipe = inbox.fds.pop_front().unwrap();
            assert!(matches!(
                context.send(b"x", &[pipe.as_fd()]),
                Err(SendError::Gone)
            ));
            let flags = rustix::fs::fcntl_getfl(&pipe).unwrap();
            assert_eq!(flags & OFlags::ACCMODE, OFlags::WRONLY);
            File::from(pipe).write_all(b"copied").unwrap();
        },
    );
}
