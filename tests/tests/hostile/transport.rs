// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptors, the hand-over, and what else is about the way rather than about Wayland.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Arg::{Fd, I, New, S, U};
use heraldry_tests::client::raw::{Raw, memory, pipe};
use heraldry_tests::rig::{Usage, until};
use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{CompositorRecord, WINDOW_FDS};
use heraldry_wire::memfd::MemfdRequest;
use heraldry_wire::virtwl::MAX_FDS;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Pid, Signal, kill_process};

use super::attack::Expect::{Host, Left, Lives, Rule};
use super::attack::{Attack, Expect, HONEST, HOSTILE, Row, row};

const UNSEALED: Expect = Host("memory that cannot be sealed against shrinking");

pub(crate) const ROWS: &[Row] = &[
    row("V01a memory that cannot be sealed", unsealed, UNSEALED),
    row(
        "V01b memory that is sealed against seals alone",
        sealed_open,
        UNSEALED,
    ),
    row(
        "V01c memory of no bytes",
        |a| pool_of(a, memory(0)),
        Host("memory of 0 bytes"),
    ),
    row(
        "V01d memory of 4 GiB",
        |a| pool_of(a, memory(1 << 32)),
        Host("memory of 4294967296 bytes"),
    ),
    row("V01e file of a disk, writable", file, UNSEALED),
    row(
        "A60a 28 descriptors that nobody asked for, again and again",
        unsolicited,
        Rule("unsolicited-descriptors"),
    ),
    row(
        "A60h as many as it can while the compositor stands still",
        unsolicited_and_late,
        Rule("unsolicited-descriptors"),
    ),
    row(
        "A60b 29 descriptors with one message",
        too_many,
        Host("more than 28 descriptors in one message"),
    ),
    row(
        "A60c descriptors that never come",
        missing,
        Rule("missing-descriptor"),
    ),
    row(
        "A60d descriptor with a request that takes none",
        |a| extra(a, 1),
        Lives,
    ),
    row(
        "A81a records of the hand-over as a client's first bytes",
        look_alike,
        Rule("message-length"),
    ),
    row(
        "A81b token of the hand-over as a client's first bytes",
        token,
        Left,
    ),
    row("V03a half a token, then nothing", |a| half_token(a, false), Lives),
    row("V03b half a token, then gone", |a| half_token(a, true), Lives),
    row("V03c a hundred wrong tokens", wrong_tokens, Lives),
    row("V04 connections that say nothing", silent, Lives),
    row(
        "A82b request of the memory server on a client's socket",
        memory_server,
        Lives,
    ),
    row(
        "A60e descriptors a few at a time",
        few_at_a_time,
        Rule("unsolicited-descriptors"),
    ),
    row("A60f 300 pools with their descriptors at once", pools, Lives),
    row(
        "A60g the same pipe sent for ever as a clipboard's reader",
        readers,
        Lives,
    ),
];

/// A pool of this descriptor.
pub(super) fn pool_of(a: &mut Attack<'_>, fd: OwnedFd) {
    let shm = a.raw.global("wl_shm");
    a.raw.send(shm, "create_pool", &[New, Fd(fd.as_fd()), I(4096)]);
}

fn unsealed(a: &mut Attack<'_>) {
    let fd = memfd_create("unsealed", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, 4096).unwrap();
    pool_of(a, fd);
}

fn sealed_open(a: &mut Attack<'_>) {
    let fd = memory(4096);
    fcntl_add_seals(&fd, SealFlags::SEAL).unwrap();
    pool_of(a, fd);
}

fn file(a: &mut Attack<'_>) {
    let path = a.rig.file("hostile");
    std::fs::write(&path, [0; 4096]).unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    pool_of(a, file.into());
}

/// Descriptors of compositor, device and host together.
fn descriptors(a: &Attack<'_>) -> usize {
    let [compositor, device] = [a.rig.compositor_pid(), a.rig.device_pid()].map(Usage::of);
    (compositor + device + a.rig.host_usage()).descriptors
}

/// The most descriptors of one client that are held at a time, however late each program comes to run. What waits in a
/// socket is its sender's.
fn in_flight() -> usize {
    // The host reads no more of a connection while so many wait: `descriptors-per-connection`.
    let host = 256;
    // And passes on no more than it was told to be taken. Each of these is the device's and the compositor's.
    let under_way = usize::try_from(WINDOW_FDS).unwrap();
    // What the gate has taken may be early for its message.
    let early = MAX_FDS;
    host + 2 * (under_way + early)
}

/// A request that takes no descriptor, with so many.
fn extra(a: &mut Attack<'_>, count: usize) {
    let (read, _write) = pipe();
    let fds: Vec<BorrowedFd<'_>> = (0..count).map(|_| read.as_fd()).collect();
    let id = a.raw.next;
    a.raw.next += 1;
    let body = id.to_ne_bytes();
    a.raw.message(1, 0, &body, &fds);
}

fn unsolicited(a: &mut Attack<'_>) {
    let bound = descriptors(a) + in_flight();
    let mut most = 0;
    // What is sent after its end goes nowhere.
    for sent in 0..4 * in_flight() / MAX_FDS {
        extra(a, MAX_FDS);
        if sent % 8 == 0 {
            most = most.max(descriptors(a));
        }
    }
    assert!(most <= bound, "{most} descriptors of at most {bound}");
}

fn unsolicited_and_late(a: &mut Attack<'_>) {
    let bound = descriptors(a) + in_flight();
    let compositor = Pid::from_raw(a.rig.compositor_pid().cast_signed()).unwrap();
    let (read, _write) = pipe();
    let fds = [read.as_fd(); MAX_FDS];
    kill_process(compositor, Signal::STOP).unwrap();
    // It sends until host and device take no more; far more than they may hold would fit.
    let (mut sent, mut last, mut most) = (0, Instant::now(), 0);
    while sent < 4 * in_flight() && last.elapsed() < Duration::from_millis(300) {
        let sync = [1, 12 << 16, a.raw.next].map(u32::to_ne_bytes).concat();
        if a.raw.offer(&sync, &fds) {
            a.raw.next += 1;
            sent += fds.len();
            last = Instant::now();
        } else {
            std::thread::sleep(Duration::from_millis(5));
        }
        most = most.max(descriptors(a));
    }
    kill_process(compositor, Signal::CONT).unwrap();
    assert!(sent > 256, "it could send: {sent}");
    assert!(
        most <= bound,
        "{most} descriptors of at most {bound}, {sent} sent"
    );
}

fn too_many(a: &mut Attack<'_>) {
    extra(a, 29);
}

fn missing(a: &mut Attack<'_>) {
    let shm = a.raw.global("wl_shm");
    let id = a.raw.next;
    a.raw
        .message(shm, 0, &[id, 4096].map(u32::to_ne_bytes).concat(), &[]);
    for _ in 0..2000 {
        a.raw.message(1, 0, &id.to_ne_bytes(), &[]);
    }
}

fn look_alike(a: &mut Attack<'_>) {
    let bytes = CompositorRecord::Hello.encode();
    a.raw.bytes(&bytes, &[]);
    for number in 0..10 {
        a.raw.bytes(&CompositorRecord::Take { number }.encode(), &[]);
    }
    until("its VM is the one of its socket", || {
        a.rig.vms().iter().any(|vm| vm.name == HOSTILE)
    });
}

fn token(a: &mut Attack<'_>) {
    let mut other = Raw::silent(a.rig.connect(HOSTILE));
    let token = TokenRecord {
        number: 1,
        token: [7; 32],
    };
    other.bytes(&token.encode(), &[]);
    other.flush();
    other.bytes(&[0xff; 64], &[]);
    assert!(other.end().contains("(rule "), "it is a client like any other");
}

/// A connection to the socket where the compositor takes clients.
fn door(a: &Attack<'_>) -> UnixStream {
    UnixStream::connect(a.rig.file("host/compositor/connection")).unwrap()
}

fn half_token(a: &mut Attack<'_>, gone: bool) {
    let mut doors: Vec<_> = (0..8).map(|_| door(a)).collect();
    let record = TokenRecord {
        number: 1,
        token: [7; 32],
    };
    let bytes = record.encode();
    for (door, cut) in doors.iter_mut().zip(0..) {
        door.write_all(&bytes[..bytes.len() - 1 - cut]).unwrap();
    }
    if gone {
        doors.clear();
    }
    // Others are handed over meanwhile.
    a.another().settle();
    a.honest().settle();
}

fn wrong_tokens(a: &mut Attack<'_>) {
    for number in 0..100 {
        let mut door = door(a);
        door.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let record = TokenRecord {
            number,
            token: [7; 32],
        };
        door.write_all(&record.encode()).unwrap();
        let mut rest = Vec::new();
        // Reset is an end too.
        let _reset = door.read_to_end(&mut rest);
        assert!(rest.is_empty(), "nothing but the end");
    }
    assert!(a.host_log().len() < 64 << 10, "the host's log is not filled");
}

fn silent(a: &mut Attack<'_>) {
    let _silent: Vec<_> = (0..16).map(|_| a.rig.connect(HOSTILE)).collect();
    a.another().settle();
    a.honest().settle();
}

fn memory_server(a: &mut Attack<'_>) {
    let vm = HONEST.parse().unwrap();
    let mut other = Raw::silent(a.rig.connect(HOSTILE));
    other.bytes(&MemfdRequest::new(&vm, "keymap", 1 << 20).encode(), &[]);
    assert!(other.end().contains("(rule "), "it is a client like any other");
    assert!(other.descriptors.is_empty());
}

fn few_at_a_time(a: &mut Attack<'_>) {
    for _ in 0..100 {
        extra(a, 1);
    }
}

fn pools(a: &mut Attack<'_>) {
    let before = descriptors(a);
    for _ in 0..300 {
        let pool = a.raw.pool(4096, 4096);
        a.raw.send(pool, "destroy", &[]);
    }
    a.raw.settle();
    until("the descriptors are gone", || descriptors(a) < before + 16);
}

fn readers(a: &mut Attack<'_>) {
    // Offers come to those who have the keyboard.
    let window = a.clicked_window((64, 48));
    let device = a.raw.data_device();
    let source = a.raw.source("text/plain");
    let serial = a.raw.pressed();
    a.raw.send(device, "set_selection", &[U(source), U(serial)]);
    a.raw
        .wait("its own offer", |raw| {
            !raw.told("wl_data_device.data_offer").is_empty()
        })
        .unwrap();
    let offer = a.raw.told("wl_data_device.data_offer").pop().unwrap().uint(0);
    let (_read, write) = pipe();
    let before = descriptors(a);
    for _ in 0..2000 {
        let args = [S("text/plain"), Fd(write.as_fd())];
        a.raw.send(offer, "receive", &args);
    }
    a.raw.settle();
    let now = descriptors(a);
    // `transfers` pipes are kept at the host, and as many stand-ins and again as many are at the device and the compositor.
    let bound = before + 33 * 5 + 2 * usize::try_from(WINDOW_FDS).unwrap();
    assert!(now <= bound, "{now} descriptors of at most {bound}");
    let _shown = window;
}
