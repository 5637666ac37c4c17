// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host daemon alone; the test plays the compositor.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;

use heraldry_tests::client::filled;
use heraldry_tests::colour::key::CYAN;
use heraldry_tests::rig::{Host, PATIENCE, until};
use heraldry_wire::Record as _;
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, RECORD_LEN, Way};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// The compositor's display socket.
struct Display(UnixStream);

impl Display {
    fn open(host: &Host) -> Self {
        let stream = host.connect("compositor/display");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut display = Self(stream);
        assert_eq!(display.next(), HostRecord::Hello);
        display.say(&CompositorRecord::Hello);
        display
    }

    fn say(&mut self, record: &CompositorRecord) {
        self.0.write_all(&record.encode()).unwrap();
    }

    fn next(&mut self) -> HostRecord {
        let mut bytes = [0; RECORD_LEN];
        self.0.read_exact(&mut bytes).unwrap();
        HostRecord::decode(&bytes).unwrap()
    }

    fn announcement(&mut self) -> Announcement {
        match self.next() {
            HostRecord::Announce(announcement) => announcement,
            other => panic!("not an announcement: {other:?}"),
        }
    }
}

fn redeem(host: &Host, number: u64, token: [u8; 32]) -> UnixStream {
    let mut stream = host.connect("compositor/connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&TokenRecord { number, token }.encode()).unwrap();
    stream
}

fn token(announcement: &Announcement) -> [u8; 32] {
    match &announcement.way {
        Way::Token(token) => *token,
        Way::Name(name) => panic!("by the name {name}"),
    }
}

fn take(host: &Host, announcement: &Announcement) -> UnixStream {
    redeem(host, announcement.number, token(announcement))
}

fn client(host: &Host, vm: &str) -> UnixStream {
    let stream = host.connect(&format!("vm/{vm}/wayland-0"));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send_with(stream: &UnixStream, bytes: &[u8], fd: BorrowedFd<'_>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}

#[track_caller]
fn assert_passes(from: &mut UnixStream, to: &mut UnixStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    let mut got = vec![0; bytes.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes);
}

#[track_caller]
fn assert_ended(stream: &mut UnixStream) {
    let mut rest = Vec::new();
    // Reset is an end too.
    let _reset = stream.read_to_end(&mut rest);
    assert_eq!(rest, b"", "nothing but the end");
}

#[test]
fn a_connection_is_taken_by_its_token_and_named_by_its_socket() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let mut work = client(&host, "work");
    let announced = display.announcement();
    assert_eq!(announced.vm.as_str(), "work");
    let mut vault = client(&host, "vault");
    let other = display.announcement();
    assert_eq!(other.vm.as_str(), "vault");
    assert_ne!(announced.number, other.number);
    assert_ne!(token(&announced), token(&other));
    // What a client says before it is taken is kept.
    work.write_all(b"early").unwrap();
    let mut taken = take(&host, &announced);
    let mut early = [0; 5];
    taken.read_exact(&mut early).unwrap();
    assert_eq!(&early, b"early");
    assert_passes(&mut work, &mut taken, b"up");
    assert_passes(&mut taken, &mut work, b"down");
    let mut taken = take(&host, &other);
    assert_passes(&mut vault, &mut taken, b"of vault");
}

#[test]
fn a_wrong_token_gets_nothing_and_costs_nothing() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let mut work = client(&host, "work");
    let announced = display.announcement();
    let mut wrong = token(&announced);
    if let Some(byte) = wrong.last_mut() {
        *byte ^= 1;
    }
    assert_ended(&mut redeem(&host, announced.number, wrong));
    assert_ended(&mut redeem(&host, announced.number + 1, token(&announced)));
    until("the log says so", || {
        host.program.log().contains("wrong or outdated token")
    });
    let mut taken = take(&host, &announced);
    assert_passes(&mut work, &mut taken, b"still there");
    // A token is good once.
    assert_ended(&mut take(&host, &announced));
    assert_passes(&mut work, &mut taken, b"and still");
}

#[test]
fn a_client_that_leaves_before_it_is_taken_is_withdrawn() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let work = client(&host, "work");
    let announced = display.announcement();
    drop(work);
    let number = announced.number;
    assert_eq!(display.next(), HostRecord::Withdraw { number });
    assert_ended(&mut take(&host, &announced));
    let stats = host.stats();
    assert_eq!(stats["withdrawn"], 1, "{stats}");
    assert_eq!(stats["waiting"], 0, "{stats}");
}

#[test]
fn a_descriptor_of_a_wrong_kind_ends_its_connection_and_no_other() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let mut bystander = client(&host, "work");
    let mut taken_bystander = take(&host, &display.announcement());
    let (socket, _end) = UnixStream::pair().unwrap();
    let device = std::fs::File::open("/dev/null").unwrap();
    let folder = std::fs::File::open("/tmp").unwrap();
    let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let wrong = [socket.as_fd(), device.as_fd(), folder.as_fd(), event.as_fd()];
    for (fd, faults) in wrong.into_iter().zip(1_u64..) {
        let mut bad = client(&host, "work");
        let mut taken = take(&host, &display.announcement());
        send_with(&bad, b"message", fd);
        assert_ended(&mut bad);
        let mut rest = Vec::new();
        let _reset = taken.read_to_end(&mut rest);
        until("the fault is counted", || host.stats()["faults"] == faults);
        assert_passes(&mut bystander, &mut taken_bystander, b"goes on");
    }
    until("the log says so", || {
        host.program.log().contains("neither memory nor a pipe")
    });
    // Memory and pipes pass.
    let (memory, _) = filled((8, 8), CYAN);
    let (read, _write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    for fd in [memory.as_fd(), read.as_fd()] {
        send_with(&bystander, b"message", fd);
        let mut got = [0; 7];
        taken_bystander.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"message");
    }
    assert_eq!(host.stats()["faults"], wrong.len());
}

#[test]
fn a_refused_client_is_disconnected() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let mut work = client(&host, "work");
    let announced = display.announcement();
    display.say(&CompositorRecord::Refuse {
        number: announced.number,
        reason: heraldry_wire::display::RefuseReason::Limit,
    });
    assert_ended(&mut work);
}

#[test]
fn a_compositor_that_comes_back_is_told_of_everyone_who_waits() {
    let host = Host::start();
    let early = client(&host, "work");
    let mut display = Display::open(&host);
    let first = display.announcement();
    drop(display);
    until("the host has noticed", || host.stats()["compositor"] == false);
    let mut display = Display::open(&host);
    let again = display.announcement();
    assert_eq!(again.vm, first.vm);
    let mut taken = take(&host, &again);
    let mut early = early;
    assert_passes(&mut early, &mut taken, b"patient");
}

#[test]
fn the_first_connection_after_none_is_a_new_boot() {
    let host = Host::start();
    let mut display = Display::open(&host);
    let boot_of_next = |display: &mut Display| {
        let stream = client(&host, "work");
        (stream, display.announcement())
    };
    let (one, first) = boot_of_next(&mut display);
    let (two, second) = boot_of_next(&mut display);
    assert_eq!(first.boot, second.boot);
    drop((one, two));
    for _ in 0..2 {
        assert!(matches!(display.next(), HostRecord::Withdraw { .. }));
    }
    let (_three, third) = boot_of_next(&mut display);
    assert_ne!(first.boot, third.boot);
}
