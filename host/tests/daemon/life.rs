// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start, reload, end.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::geteuid;

use crate::fixture::{Peer, TWO_VMS, World, until};

const ONE_VM: &str = "schema 1\nvm \"work\" { color \"#1f5fbf\" }\n";

fn mode(world: &World, path: &str) -> u32 {
    world.path(path).metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn sockets_let_in_their_owner_alone() {
    let world = World::new(TWO_VMS);
    for socket in [
        "admin",
        "vm/work/wayland-0",
        "compositor/display",
        "compositor/connection",
        "compositor/memfd",
    ] {
        assert_eq!(mode(&world, socket), 0o600, "{socket}");
    }
    for (folder, wanted) in [
        ("", 0o711),
        ("vm", 0o711),
        ("vm/work", 0o700),
        ("compositor", 0o700),
    ] {
        assert_eq!(mode(&world, folder), wanted, "{folder}");
    }
}

#[test]
fn an_owner_gets_the_socket_and_not_the_folder() {
    if !geteuid().is_root() {
        return; // Only root can give files away.
    }
    let owned = "schema 1\nvm \"work\" { color \"#1f5fbf\"; owner 4242; }\n";
    let mut world = World::new(owned);
    let uid = |world: &World, path: &str| world.path(path).metadata().unwrap().uid();
    for again in [false, true] {
        if again {
            world.kill();
            world.start();
        }
        assert_eq!(uid(&world, "vm/work/wayland-0"), 4242);
        assert_eq!((uid(&world, "vm/work"), mode(&world, "vm/work")), (0, 0o711));
    }
    // Another owner is another VM: what the first has open ends.
    let client = world.client("work");
    world.reload(&owned.replace("4242", "4243"));
    assert_eq!(client.end(), b"");
    assert_eq!(uid(&world, "vm/work/wayland-0"), 4243);
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    if !geteuid().is_root() {
        return; // Only root can give files away.
    }
    let world = World::prepared(TWO_VMS);
    std::fs::create_dir(world.dir()).unwrap();
    std::os::unix::fs::chown(world.dir(), Some(4242), None).unwrap();
    let arguments = world.arguments();
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("belongs to user 4242"), "{text}");
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let world = World::new(TWO_VMS);
    let arguments = world.arguments();
    let second = Command::new(&arguments[0])
        .args(&arguments[1..])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.contains("another heraldry-host serves"), "{text}");
    assert_eq!(mode(&world, ""), 0o711);
    world.joined(&mut world.display(), "work");
}

#[test]
fn a_killed_daemon_leaves_nothing_that_stops_the_next() {
    let mut world = World::new(TWO_VMS);
    world.kill();
    assert!(world.path("vm/work/wayland-0").exists());
    world.start();
    world.joined(&mut world.display(), "work");
}

#[test]
fn a_daemon_that_is_asked_to_end_removes_its_sockets() {
    let mut world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    assert_eq!(world.stop().code(), Some(0));
    assert_eq!((client.end(), compositor.end()), (vec![], vec![]));
    for socket in ["admin", "vm/work/wayland-0", "compositor/display"] {
        assert!(!world.path(socket).exists(), "{socket}");
    }
}

#[test]
fn a_reload_adds_and_removes_vms_and_touches_no_other() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (work, work_end) = world.joined(&mut display, "work");
    let (play, _play_end) = world.joined(&mut display, "play");
    let waiting = world.client("play");
    let number = display.announcement().number;
    world.reload(ONE_VM);
    assert_eq!((play.end(), waiting.end()), (vec![], vec![]));
    assert_eq!(
        display.next(),
        heraldry_virtio::wire::display::HostRecord::Withdraw { number }
    );
    assert!(!world.path("vm/play").exists());
    assert!(world.stats()["vms"].get("play").is_none());
    work.send(b"still", &[]);
    assert_eq!(work_end.recv(5).0, b"still");
    world.reload(TWO_VMS);
    world.joined(&mut display, "play");
    assert_eq!(world.stats()["connections"], 1);
}

#[test]
fn a_broken_configuration_changes_nothing() {
    let world = World::new(TWO_VMS);
    world.reload("schema 1\nvm \"work\" { colour 1 }");
    assert!(world.log().contains("the old one stays in force"));
    world.joined(&mut world.display(), "play");
}

#[test]
fn a_vm_that_cannot_be_served_does_not_stop_the_others_at_a_reload() {
    let world = World::new(ONE_VM);
    // Something is in the way of the first new VM.
    std::fs::write(world.path("vm/a-broken"), "").unwrap();
    world.reload(&format!(
        "{TWO_VMS}vm \"a-broken\" {{ color \"#b22222\"; pattern \"dots\" }}"
    ));
    assert!(world.log().contains("a-broken"), "{}", world.log());
    let (_client, _compositor) = world.joined(&mut world.display(), "play");
}

#[test]
fn errors_of_the_configuration_are_shown_at_the_start() {
    let world = World::prepared("schema 1\nvm \"work\" { colour 1 }");
    let arguments = world.arguments();
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("config.kdl:2:"));
}

#[test]
fn statistics_count_what_happens() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    let (client, compositor) = world.joined(&mut display, "work");
    drop(world.client("play"));
    until("the withdrawal", || world.stats()["withdrawn"] == 1);
    let (socket, _other) = UnixStream::pair().unwrap();
    let stats = world.stats();
    assert_eq!(stats["compositor"], true);
    assert_eq!(
        (&stats["accepted"], &stats["connections"]),
        (&2.into(), &1.into())
    );
    client.send(b"x", &[socket.into()]);
    assert_eq!(compositor.end(), b"");
    until("the fault", || world.stats()["faults"] == 1 && world.is_idle());
}

#[test]
fn someone_who_asks_for_statistics_and_does_not_read_stops_nobody() {
    let world = World::new(TWO_VMS);
    let silent: Vec<Peer> = (0..50).map(|_| Peer::connect(&world.path("admin"))).collect();
    world.joined(&mut world.display(), "work");
    drop(silent);
    world.stats();
}
