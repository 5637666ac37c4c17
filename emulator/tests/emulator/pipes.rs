// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pipes, for data that goes from client to client.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;

use heraldry_virtio::guest::SendError;
use rustix::event::PollFlags;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::fixture::{Inbox, both, ready, with_options};

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

/// A guest that fills a pipe of the host's, and what its connections do meanwhile.
fn fill(name: &str, options: &[&str], blocks: bool) {
    const MUCH: usize = 1 << 20;
    with_options(
        options,
        name,
        |host| {
            let (peer, other) = (host.accept(), host.accept());
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
            peer.send(b"w", &[write.as_fd()]);
            drop(write);
            assert_eq!(peer.recv(1).0, b"f", "it has begun to fill the pipe");
            // The kernel's pipe is full when it takes no more.
            let mut full = 0;
            while full < 1 << 16 {
                full = rustix::io::ioctl_fionread(&read).unwrap();
            }
            other.send(b"?", &[]);
            let mut fds = [rustix::event::PollFd::new(&other, PollFlags::IN)];
            let soon = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: 500_000_000,
            };
            let answers = rustix::event::poll(&mut fds, Some(&soon)).unwrap() == 1;
            assert_eq!(answers, !blocks);
            let mut got = Vec::new();
            File::from(read).read_to_end(&mut got).unwrap();
            assert!(got.len() == MUCH && got.iter().all(|byte| *byte == 7));
            assert_eq!(other.recv(1).0, b"!");
            peer.end();
            other.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let other = device.context("wayland").unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 1, 1);
            let mut pipe = File::from(inbox.fds.pop_front().unwrap());
            let writer = std::thread::spawn(move || pipe.write_all(&vec![7; MUCH]).unwrap());
            context.send(b"f", &[]).unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&other, 1, 0);
            other.send(b"!", &[]).unwrap();
            writer.join().unwrap();
        },
    );
}

#[test]
fn a_full_pipe_of_the_host_waits_alone() {
    fill("pipes::a_full_pipe_of_the_host_waits_alone", &[], false);
}

#[test]
fn a_full_pipe_of_the_host_holds_up_everything_as_crosvm_s_do() {
    fill(
        "pipes::a_full_pipe_of_the_host_holds_up_everything_as_crosvm_s_do",
        &["--blocking-pipes"],
        true,
    );
}
