// SPDX-License-Identifier: MIT OR Apache-2.0
//! The daemon's processes: one that is over takes nobody along, and another takes its place.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use heraldry_wire::display::{CompositorRecord, HostRecord, WINDOW_BYTES};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{PATIENCE, Peer, TWO_VMS, World, until};

const COMPOSITOR: &str = "part-compositor";
const WORK: &str = "part-vm work";

/// The process with this at the end of its command line.
fn find(world: &World, part: &str) -> Option<Pid> {
    world.pids().into_iter().find_map(|pid| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let line = line.replace('\0', " ");
        line.trim_end().ends_with(part).then(|| Pid::from_raw(pid))?
    })
}

fn signal(world: &World, part: &str, signal: Signal) -> Pid {
    let pid = find(world, part).unwrap();
    kill_process(pid, signal).unwrap();
    pid
}

/// Another process has taken the place of one.
fn is_replaced(world: &World, part: &str, pid: Pid) {
    until("another process", || {
        find(world, part).is_some_and(|found| found != pid)
    });
}

/// A program of a VM connects, when there is somebody to connect to.
fn client(world: &World, vm: &str) -> Peer {
    let path = world.path(&format!("vm/{vm}/wayland-0"));
    until("the VM's socket", || {
        std::os::unix::net::UnixStream::connect(&path).is_ok()
    });
    world.client(vm)
}

/// Both ends still pass what they get.
fn passes(client: &Peer, compositor: &Peer) {
    client.send(b"up", &[]);
    assert_eq!(compositor.recv(2).0, b"up");
    compositor.send(b"down", &[]);
    assert_eq!(client.recv(4).0, b"down");
}

/// A socket whose last holder waits for two minutes.
fn lingering() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, 2048).unwrap();
    let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    socket.set_nonblocking(true).unwrap();
    set_socket_send_buffer_size(&socket, 1 << 16).unwrap();
    while socket.write(&[0; 65536]).is_ok() {}
    set_socket_linger(&socket, Some(Duration::from_secs(120))).unwrap();
    (socket.into(), far)
}

#[test]
fn the_process_of_a_vm_that_does_not_turn_is_replaced() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (_work, at_work) = world.joined(&mut display, "work");
    let (play, at_play) = world.joined(&mut display, "play");
    let _waits = world.client("work");
    let number = display.announcement().number;
    let boot = world.stats()["vms"]["work"]["boot"].clone();
    let pid = signal(&world, WORK, Signal::STOP);
    passes(&play, &at_play);
    let begin = Instant::now();
    let stats = world.stats();
    assert_eq!(stats["vms"]["play"]["connections"], 1);
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    // The compositor learns of the end of everything that the process had, though it closes nothing.
    assert_eq!(at_work.end(), b"");
    assert_eq!(display.next(), HostRecord::Withdraw { number });
    assert!(world.log().contains("it has not turned for five seconds"));
    is_replaced(&world, WORK, pid);
    drop(client(&world, "work"));
    let (work, at_work) = loop {
        let client = world.client("work");
        match display.next() {
            HostRecord::Announce(found) => {
                assert_eq!(found.vm.as_str(), "work");
                break (client, world.take(&found));
            }
            HostRecord::Withdraw { .. } => {}
            HostRecord::Hello => panic!("once is enough"),
        }
    };
    until("a boot instance of its own", || {
        world.stats()["vms"]["work"]["boot"] != boot
    });
    drop((work, at_work));
    passes(&play, &at_play);
}

#[test]
fn the_process_of_a_vm_that_dies_is_replaced_at_once() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (work, at_work) = world.joined(&mut display, "work");
    let (play, at_play) = world.joined(&mut display, "play");
    std::thread::sleep(Duration::from_secs(1));
    let accepted = world.stats()["accepted"].clone();
    let pid = signal(&world, WORK, Signal::KILL);
    assert_eq!((work.end(), at_work.end()), (vec![], vec![]));
    is_replaced(&world, WORK, pid);
    passes(&play, &at_play);
    assert_eq!(
        world.stats()["accepted"],
        accepted,
        "what it has counted still counts"
    );
}

#[test]
fn a_compositor_that_freezes_its_process_ends_nobodys_connection() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (work, at_work) = world.joined(&mut display, "work");
    let waits = world.client("play");
    let number = display.announcement().number;
    // It can do this to nobody but itself.
    let pid = find(&world, COMPOSITOR).unwrap();
    let mut sent = Vec::new();
    for _ in 0..8 {
        let (socket, far) = lingering();
        let peer = Peer::connect(&world.path("compositor/connection"));
        // Whoever has it last waits; if that is we and not the daemon, this thread waits alone.
        let again = Peer(peer.0.try_clone().unwrap());
        std::thread::spawn(move || again.send(b"HRDC", &[socket]));
        sent.push((peer, far));
    }
    passes(&work, &at_work);
    is_replaced(&world, COMPOSITOR, pid);
    assert!(world.log().contains("the compositor's process is killed"));
    passes(&work, &at_work);
    until("the display socket", || {
        std::os::unix::net::UnixStream::connect(world.path("compositor/display")).is_ok()
    });
    let mut display = world.display();
    let again = display.announcement();
    assert_eq!((again.number, again.vm.as_str()), (number, "play"));
    let at_waits = world.take(&again);
    passes(&waits, &at_waits);
    // What the compositor says of a connection that it had before is still heard.
    let work_number = world_number(&world, "work");
    let window = usize::try_from(WINDOW_BYTES).unwrap();
    let sender = std::thread::spawn({
        let work = work.0.try_clone().unwrap();
        move || (&work).write_all(&vec![7; 3 * window]).unwrap()
    });
    let mut read = 2;
    for _ in 0..3 {
        read += at_work.recv(window - 8).0.len();
        display.send(&CompositorRecord::Credit {
            number: work_number,
            bytes: u64::try_from(read).unwrap() + 3,
            descriptors: 0,
        });
    }
    at_work.recv(3 * window - (read - 2));
    sender.join().unwrap();
    // And the new process can end what the old one has joined.
    signal(&world, WORK, Signal::STOP);
    assert_eq!(at_work.end(), b"");
}

/// The number of a VM's only connection, from the log.
fn world_number(world: &World, vm: &str) -> u64 {
    let log = world.log();
    let line = log
        .lines()
        .find(|line| line.contains("client connected") && line.contains(vm))
        .unwrap();
    line.rsplit("number=").next().unwrap().trim().parse().unwrap()
}

#[test]
fn a_compositor_process_that_dies_is_replaced_and_clients_stay() {
    let world = World::new(TWO_VMS);
    let display = world.display();
    let waits = world.client("work");
    std::thread::sleep(Duration::from_secs(1));
    let pid = signal(&world, COMPOSITOR, Signal::KILL);
    assert_eq!(display.peer.0.set_read_timeout(Some(PATIENCE)).ok(), Some(()));
    is_replaced(&world, COMPOSITOR, pid);
    until("the display socket", || {
        std::os::unix::net::UnixStream::connect(world.path("compositor/display")).is_ok()
    });
    let mut display = world.display();
    let at_waits = world.take(&display.announcement());
    passes(&waits, &at_waits);
}

#[test]
fn parts_have_no_rights_and_a_filter() {
    let world = World::new(TWO_VMS);
    world.joined(&mut world.display(), "work");
    for part in [COMPOSITOR, WORK] {
        let pid = find(&world, part).unwrap().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{part}: {line} is not in {status}");
        }
    }
}

#[test]
fn all_processes_end_with_the_daemon_however_it_ends() {
    for (end, stopped) in [(Signal::TERM, true), (Signal::TERM, false), (Signal::KILL, false)] {
        let mut world = World::new(TWO_VMS);
        let (work, at_work) = world.joined(&mut world.display(), "work");
        let pids = world.pids();
        assert_eq!(pids.len(), 4);
        if stopped {
            signal(&world, WORK, Signal::STOP);
        }
        let begin = Instant::now();
        world.signal(end);
        world.wait();
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!((work.end(), at_work.end()), (vec![], vec![]));
        until("the end of all", || {
            pids.iter().all(|pid| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            })
        });
    }
}

#[test]
fn a_service_manager_hears_of_start_life_and_end() {
    let mut world = World::prepared(TWO_VMS);
    let path = world.temp.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut bytes = [0; 4096];
        let count = socket.recv(&mut bytes).expect("a word in time");
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    let arguments = world.arguments();
    world.start_as(
        Command::new(&arguments[0])
            .args(&arguments[1..])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "200000"),
    );
    while heard() != "READY=1" {}
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    // A VM whose process does not turn is no reason to end the daemon.
    signal(&world, WORK, Signal::STOP);
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    world.signal(Signal::TERM);
    while heard() != "STOPPING=1" {}
}
