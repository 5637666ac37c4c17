// SPDX-License-Identifier: MIT OR Apache-2.0
//! Contexts: names, bytes, descriptors, ends.

use std::os::fd::AsFd as _;

use heraldry_virtio::guest::{Context, NewError, RecvError, SendError};
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::fixture::{Inbox, both, memfd, read_at_start, ready, with_options};

#[test]
fn names_choose_the_socket() {
    let stats = both(
        "contexts::names_choose_the_socket",
        |host| {
            let (one, two) = (host.accept(), host.accept_other());
            assert_eq!((one.recv(3).0, two.recv(3).0), (b"one".to_vec(), b"two".to_vec()));
            one.end();
            two.end();
        },
        |device| {
            assert!(matches!(device.context("unknown"), Err(NewError::Refused)));
            assert!(matches!(device.context("deaf"), Err(NewError::Refused)));
            let (one, two) = (
                device.context("wayland").unwrap(),
                device.context("other").unwrap(),
            );
            two.send(b"two", &[]).unwrap();
            one.send(b"one", &[]).unwrap();
        },
    );
    assert!(stats.contains("\"refused_sends\":0,"), "{stats}");
    assert!(
        stats.contains("\"refused_news\":2,\"refused_news_by\":{\"ENODEV\":2}"),
        "{stats}"
    );
    assert!(stats.contains("\"live_vfds\":0,"), "{stats}");
}

#[test]
fn names_made_at_run_time_are_looked_up_in_their_folder() {
    let stats = both(
        "contexts::names_made_at_run_time_are_looked_up_in_their_folder",
        |host| {
            let late = host.accept_made_later();
            assert_eq!(late.recv(4).0, b"late");
            late.end();
        },
        |device| {
            let out_of_bounds = [
                "wl-conn-",
                "wl-conn-1",
                "wl-conn-1x",
                "wl-conn-/../../wl-conn-1",
                "plain",
            ];
            for name in out_of_bounds {
                let refused = device.context(name);
                assert!(matches!(refused, Err(NewError::Refused)), "{name}");
            }
            let late = device.context("wl-conn-18446744073709551615").unwrap();
            late.send(b"late", &[]).unwrap();
        },
    );
    assert!(stats.contains("\"refused_news_by\":{\"ENODEV\":5}"), "{stats}");
}

#[test]
fn bytes_and_descriptors_go_both_ways() {
    both(
        "contexts::bytes_and_descriptors_go_both_ways",
        |host| {
            let peer = host.accept();
            let (data, fds) = peer.recv(6);
            assert_eq!((data.as_slice(), fds.len()), (b"memory".as_slice(), 1));
            assert_eq!(read_at_start(&fds[0], 5), b"guest");
            let many: Vec<_> = (0..40u8).map(|index| memfd(&[index], 4096)).collect();
            let fds: Vec<_> = many.iter().map(|fd| fd.as_fd()).collect();
            peer.send(b"first", &fds[..28]);
            peer.send(b"second", &fds[28..]);
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let memory = device.alloc(5).unwrap();
            assert_eq!(memory.size(), 4096);
            memory.fill(b"guest").unwrap();
            context.send(b"memory", &[memory.as_fd()]).unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 11, 40);
            assert_eq!(inbox.data, b"firstsecond");
            for (index, fd) in inbox.fds.iter().enumerate() {
                assert_eq!(usize::from(read_at_start(fd, 1)[0]), index);
            }
        },
    );
}

/// The host says something and leaves; the guest reads it and finds the end.
fn ends(options: &[&str], name: &str, end: PollFlags) {
    with_options(
        options,
        name,
        |host| {
            let peer = host.accept();
            peer.send(b"last words", &[]);
            drop(peer);
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 10, 0);
            // POLLOUT may be there before the end is.
            let asked = PollFlags::IN | end;
            until_polled(&context, asked, end);
            assert!(inbox.once(&context).eof);
            assert!(matches!(context.send(b"x", &[]), Err(SendError::Gone)));
            until_polled(&context, asked, end);
        },
    );
}

/// Polls until the answer is `expected`.
fn until_polled(context: &Context, asked: PollFlags, expected: PollFlags) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let got = ready(context, asked);
        if got == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{got:?}");
        std::thread::yield_now();
    }
}

#[test]
fn the_end_is_a_hangup() {
    let end = PollFlags::IN | PollFlags::OUT | PollFlags::HUP;
    ends(&[], "contexts::the_end_is_a_hangup", end);
}

#[test]
fn the_end_is_a_hangup_without_input_if_that_is_wanted() {
    let name = "contexts::the_end_is_a_hangup_without_input_if_that_is_wanted";
    ends(&["--hup-alone"], name, PollFlags::HUP);
}

/// What programs built on tokio wait for before each SEND, by an epoll that tells of changes only.
#[test]
fn a_context_can_be_written_to_before_and_after_each_message() {
    use rustix::event::{Timespec, epoll};
    both(
        "contexts::a_context_can_be_written_to_before_and_after_each_message",
        |host| {
            let peer = host.accept();
            for _ in 0..3 {
                peer.recv(4);
                peer.send(b"pong", &[]);
            }
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            assert_eq!(ready(&context, PollFlags::OUT), PollFlags::OUT);
            let watch = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&watch, &context, epoll::EventData::new_u64(0), flags).unwrap();
            let mut inbox = Inbox::default();
            for round in 1..=3 {
                assert_eq!(
                    ready(&context, PollFlags::OUT),
                    PollFlags::OUT,
                    "nothing is to be read"
                );
                context.send(b"ping", &[]).unwrap();
                while inbox.data.len() < 4 * round {
                    let mut events = Vec::with_capacity(4);
                    let limit = Timespec {
                        tv_sec: 20,
                        tv_nsec: 0,
                    };
                    epoll::wait(&watch, rustix::buffer::spare_capacity(&mut events), Some(&limit)).unwrap();
                    assert!(!events.is_empty(), "no event of message {round}");
                    while !inbox.once(&context).would_block {}
                }
            }
        },
    );
}

#[test]
fn poll_follows_the_queue() {
    both(
        "contexts::poll_follows_the_queue",
        |host| {
            let peer = host.accept();
            peer.send(b"data", &[]);
            peer.recv(1);
            peer.send(b"more", &[]);
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            assert_eq!(ready(&context, PollFlags::IN), PollFlags::IN);
            let mut inbox = Inbox::default();
            inbox.wait(&context, 4, 0);
            assert!(inbox.once(&context).would_block);
            context.send(b"x", &[]).unwrap();
            // A duplicate is the same vfd.
            let twin = context.as_fd().try_clone_to_owned().unwrap();
            assert_eq!(ready(&twin, PollFlags::IN), PollFlags::IN);
            inbox.wait(&context, 8, 0);
            // Cleared for all duplicates, RECV waits: here for nothing, because the host answers.
            fcntl_setfl(&twin, OFlags::RDWR).unwrap();
            assert_eq!(
                fcntl_getfl(&context).unwrap() & (OFlags::ACCMODE | OFlags::NONBLOCK),
                OFlags::RDWR
            );
            fcntl_setfl(&twin, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        },
    );
}

#[test]
fn a_blocking_receive_waits() {
    both(
        "contexts::a_blocking_receive_waits",
        |host| {
            let (peer, trigger) = (host.accept(), host.accept_other());
            trigger.recv(2);
            peer.send(b"late", &[]);
            peer.end();
        },
        |device| {
            let (context, trigger) = (
                device.context("wayland").unwrap(),
                device.context("other").unwrap(),
            );
            fcntl_setfl(&context, OFlags::RDWR).unwrap();
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| {
                    trigger.send(b"1", &[]).unwrap();
                    let mut inbox = Inbox::default();
                    assert_eq!(inbox.once(&context).bytes, 4);
                });
                trigger.send(b"2", &[]).unwrap();
                waiter.join().unwrap();
            });
            fcntl_setfl(&context, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        },
    );
}

#[test]
fn only_descriptors_of_the_device_are_sent() {
    let stats = both(
        "contexts::only_descriptors_of_the_device_are_sent",
        |host| host.accept().end(),
        |device| {
            let context = device.context("wayland").unwrap();
            let foreign = memfd(b"", 4096);
            let refused = context.send(b"x", &[foreign.as_fd()]);
            assert!(
                matches!(refused, Err(SendError::ForeignDescriptor)),
                "{refused:?}"
            );
            let refused = context.send(b"x", &[device.fd().unwrap()]);
            assert!(matches!(refused, Err(SendError::Gone)), "{refused:?}");
            let refused = rustix::net::send(&context, b"x", rustix::net::SendFlags::NOSIGNAL);
            assert_eq!(refused, Err(Errno::PIPE));
        },
    );
    assert!(
        stats.contains("\"refused_sends\":2,\"refused_sends_by\":{\"EBADFD\":1,\"EINVAL\":1}"),
        "{stats}"
    );
}

#[test]
fn a_slow_host_stops_one_sender_and_no_other() {
    const BIG: usize = 6 << 20;
    both(
        "contexts::a_slow_host_stops_one_sender_and_no_other",
        |host| {
            let (slow, quick) = (host.accept(), host.accept_other());
            quick.recv(2);
            assert!(
                slow.recv(BIG)
                    .0
                    .iter()
                    .enumerate()
                    .all(|(index, byte)| usize::from(*byte) == index % 251)
            );
            slow.end();
            quick.end();
        },
        |device| {
            let (slow, quick) = (
                device.context("wayland").unwrap(),
                device.context("other").unwrap(),
            );
            let data: Vec<u8> = (0..BIG).map(|index| u8::try_from(index % 251).unwrap()).collect();
            std::thread::scope(|scope| {
                let sender = scope.spawn(|| slow.send(&data, &[]).unwrap());
                quick.send(b"go", &[]).unwrap();
                sender.join().unwrap();
            });
        },
    );
}

#[test]
fn what_nobody_reads_stops_the_host_and_arrives_in_order() {
    const BIG: usize = 4 << 20;
    both(
        "contexts::what_nobody_reads_stops_the_host_and_arrives_in_order",
        |host| {
            let peer = host.accept();
            let data: Vec<u8> = (0..BIG).map(|index| u8::try_from(index % 251).unwrap()).collect();
            peer.send(&data, &[]);
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, BIG, 0);
            assert!(
                inbox
                    .data
                    .iter()
                    .enumerate()
                    .all(|(index, byte)| usize::from(*byte) == index % 251)
            );
        },
    );
}

#[test]
fn a_socket_from_the_host_ends_its_connection_alone() {
    both(
        "contexts::a_socket_from_the_host_ends_its_connection_alone",
        |host| {
            let (bad, good) = (host.accept(), host.accept_other());
            let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
            bad.send(b"bad", &[socket.as_fd()]);
            good.recv(1);
            good.send(b"good", &[]);
            good.end();
        },
        |device| {
            let (bad, good) = (
                device.context("wayland").unwrap(),
                device.context("other").unwrap(),
            );
            assert!(ready(&bad, PollFlags::IN).contains(PollFlags::HUP));
            good.send(b"x", &[]).unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&good, 4, 0);
            assert_eq!(inbox.data, b"good");
        },
    );
}

#[test]
fn a_broken_host_socket_is_an_end() {
    both(
        "contexts::a_broken_host_socket_is_an_end",
        |host| {
            let (peer, trigger) = (host.accept(), host.accept_other());
            trigger.recv(1);
            // Closed with unread data: the other side's receive fails instead of ending.
            drop(peer);
            trigger.end();
        },
        |device| {
            let (context, trigger) = (
                device.context("wayland").unwrap(),
                device.context("other").unwrap(),
            );
            context.send(b"unread", &[]).unwrap();
            trigger.send(b"x", &[]).unwrap();
            assert!(ready(&context, PollFlags::IN).contains(PollFlags::HUP));
            assert!(Inbox::default().once(&context).eof);
        },
    );
}

#[test]
fn without_room_for_descriptors_a_message_is_lost_and_nothing_else() {
    let stats = both(
        "contexts::without_room_for_descriptors_a_message_is_lost_and_nothing_else",
        |host| {
            let peer = host.accept();
            let memories: Vec<_> = (0..28).map(|_| memfd(b"", 4096)).collect();
            let fds: Vec<_> = memories.iter().map(|fd| fd.as_fd()).collect();
            peer.send(b"lost", &fds);
            peer.recv(1);
            peer.send(b"kept", &[]);
            peer.end();
        },
        |device| {
            let context = device.context("wayland").unwrap();
            let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
            ready(&context, PollFlags::IN);
            let tight = rustix::process::Rlimit {
                current: Some(20),
                maximum: before.maximum,
            };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, tight).unwrap();
            let (mut data, mut fds) = (Vec::new(), std::collections::VecDeque::new());
            let refused = context.recv(&mut data, &mut fds);
            assert!(matches!(refused, Err(RecvError::NoDescriptors)), "{refused:?}");
            rustix::process::setrlimit(rustix::process::Resource::Nofile, before).unwrap();
            context.send(b"x", &[]).unwrap();
            let mut inbox = Inbox::default();
            inbox.wait(&context, 4, 0);
            assert_eq!(inbox.data, b"kept");
        },
    );
    assert!(stats.contains("\"live_vfds\":0,"), "{stats}");
}
