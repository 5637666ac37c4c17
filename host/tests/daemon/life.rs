// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start, reload, end.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use crate::fixture::{Peer, TWO_VMS, World, is_root, until};

const ONE_VM: &str = "schema 1\nvm \"work\" { color \"#1f5fbf\" }\n";

fn mode(world: &World, path: &str) -> u32 {
    world.path(path).metadata().unwrap().permissions().mode() & 0o7777
}

/// What a daemon says that does not start.
fn refused(world: &World) -> String {
    let arguments = world.arguments();
    let output = Command::new(&arguments[0])
        .args(&arguments[1..])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refuses_a_second(world: &World) {
    let text = refused(world);
    assert!(text.contains("another heraldry-host serves"), "{text}");
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
    if !is_root() {
        return;
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
    if !is_root() {
        return;
    }
    let world = World::prepared(TWO_VMS);
    std::fs::create_dir(world.dir()).unwrap();
    std::os::unix::fs::chown(world.dir(), Some(4242), None).unwrap();
    let text = refused(&world);
    assert!(text.contains("belongs to user 4242"), "{text}");
}

#[test]
fn a_folder_that_others_can_put_another_in_the_place_of_is_refused() {
    let mut world = World::prepared(TWO_VMS);
    let above = world.dir().parent().unwrap().to_owned();
    let open_to = |mode| std::fs::set_permissions(&above, Permissions::from_mode(mode)).unwrap();
    open_to(0o777);
    let text = refused(&world);
    assert!(text.contains("others may rename"), "{text}");
    if is_root() {
        open_to(0o755);
        std::os::unix::fs::chown(&above, Some(4242), None).unwrap();
        let text = refused(&world);
        assert!(text.contains("others may rename"), "{text}");
        std::os::unix::fs::chown(&above, Some(0), Some(4242)).unwrap();
        open_to(0o775);
        let text = refused(&world);
        assert!(text.contains("others may rename"), "{text}");
        // A group that may not write renames nothing, and the daemon's own may.
        open_to(0o755);
        world.start();
        world.kill();
        std::os::unix::fs::chown(&above, Some(0), Some(0)).unwrap();
    }
    open_to(0o775);
    world.start();
    world.kill();
    // Where the sticky bit is, nobody renames what is another's.
    open_to(0o1777);
    world.start();
    world.joined(&mut world.display(), "work");
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let world = World::new(TWO_VMS);
    refuses_a_second(&world);
    assert_eq!(mode(&world, ""), 0o711);
    world.joined(&mut world.display(), "work");
}

/// A process of another user, which keeps what it got as long as it lives.
struct Stranger(Child);

impl Stranger {
    fn new(script: &str, path: &Path) -> Self {
        let mut child = Command::new("setpriv")
            .args(["--reuid", "4242", "--regid", "4242", "--clear-groups", "sh", "-c"])
            .arg(format!("({script}) && echo done || echo refused; exec cat"))
            .arg("sh")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(["done\n", "refused\n"].contains(&line.as_str()), "{line:?}");
        let stranger = Self(child);
        assert_eq!(line == "done\n", script == LOCKS, "{script}");
        stranger
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// Another user can open and lock the file.
const LOCKS: &str = "exec 9<\"$1\" && flock -n 9";
/// The same, where it is expected that he cannot.
const CANNOT_LOCK: &str = "flock -n \"$1\" true";

/// A folder that other users get to.
fn reachable() -> World {
    let world = World::prepared(TWO_VMS);
    std::fs::set_permissions(world.temp.path(), Permissions::from_mode(0o755)).unwrap();
    world
}

#[test]
fn another_user_cannot_keep_the_daemon_from_starting_again() {
    if !is_root() {
        return;
    }
    let mut world = reachable();
    world.start();
    let _refused = Stranger::new(CANNOT_LOCK, &world.path("lock"));
    let _refused = Stranger::new(CANNOT_LOCK, &world.path("compositor"));
    world.kill();
    let _refused = Stranger::new(CANNOT_LOCK, &world.path("lock"));
    world.start();
    world.joined(&mut world.display(), "work");
}

#[test]
fn a_lock_that_others_could_open_is_replaced_whoever_holds_it() {
    if !is_root() {
        return;
    }
    for held in [false, true] {
        for open in [0o644, 0o666, 0o604] {
            let mut world = reachable();
            std::fs::create_dir(world.dir()).unwrap();
            std::fs::set_permissions(world.dir(), Permissions::from_mode(0o777)).unwrap();
            std::fs::write(world.path("lock"), "").unwrap();
            std::fs::set_permissions(world.path("lock"), Permissions::from_mode(open)).unwrap();
            let _holder = held.then(|| Stranger::new(LOCKS, &world.path("lock")));
            world.start();
            assert_eq!((mode(&world, ""), mode(&world, "lock")), (0o711, 0o600));
            refuses_a_second(&world);
            world.kill();
            world.start();
            world.joined(&mut world.display(), "work");
        }
    }
}

#[test]
fn what_others_put_in_the_locks_place_is_replaced() {
    if !is_root() {
        return;
    }
    type Make = fn(&Path);
    let makes: [Make; 4] = [
        |path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap(),
        |path| {
            std::fs::write(path, "").unwrap();
            std::os::unix::fs::chown(path, Some(4242), None).unwrap();
        },
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        |path| {
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        },
    ];
    for make in makes {
        let mut world = reachable();
        std::fs::create_dir(world.dir()).unwrap();
        make(&world.path("lock"));
        world.start();
        assert!(world.path("lock").symlink_metadata().unwrap().is_file());
        assert_eq!(mode(&world, "lock"), 0o600);
        refuses_a_second(&world);
    }
    let world = reachable();
    std::fs::create_dir_all(world.path("lock")).unwrap();
    let text = refused(&world);
    assert!(text.contains("cannot make the lock"), "{text}");
}

#[test]
fn folders_that_are_there_get_their_modes() {
    let mut world = World::prepared(TWO_VMS);
    for folder in ["", "vm", "vm/work", "compositor"] {
        std::fs::create_dir_all(world.path(folder)).unwrap();
        std::fs::set_permissions(world.path(folder), Permissions::from_mode(0o777)).unwrap();
    }
    world.start();
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
        heraldry_wire::display::HostRecord::Withdraw { number }
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
fn open_connections_follow_a_reload_that_refuses_memory_which_can_shrink() {
    let allows = TWO_VMS.replacen("color", "unsealed-memory \"allow\"; color", 1);
    let world = World::new(&allows);
    let mut display = world.display();
    let memory = || {
        let fd = memfd_create("unsealed", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        fd
    };
    let (has, has_end) = world.joined(&mut display, "work");
    has.send(b"x", &[memory()]);
    assert_eq!(has_end.recv(1).1.len(), 1);
    let (later, later_end) = world.joined(&mut display, "work");
    let (other, other_end) = world.joined(&mut display, "play");
    world.reload(TWO_VMS);
    assert_eq!(
        (has.end(), has_end.end()),
        (vec![], vec![]),
        "it can shrink what is mapped"
    );
    later.send(b"still", &[]);
    assert_eq!(later_end.recv(5).0, b"still");
    later.send(b"x", &[memory()]);
    assert_eq!(later_end.end(), b"");
    let refusals = || {
        world
            .log()
            .lines()
            .filter(|line| line.contains("cannot be sealed"))
            .count()
    };
    until("both refusals in the log", || refusals() >= 2);
    assert_eq!(refusals(), 2, "{}", world.log());
    other.send(b"y", &[]);
    assert_eq!(other_end.recv(1).0, b"y");
    assert_eq!(world.stats()["faults"], 2);
}

#[test]
fn memory_that_the_device_cannot_announce_ends_with_a_line_in_the_log() {
    let world = World::new(TWO_VMS);
    let mut display = world.display();
    for (size, passes) in [(0xffff_f000, true), (0xffff_f001, false), (0xffff_ffff, false)] {
        let (client, compositor) = world.joined(&mut display, "work");
        let fd = memfd_create("large", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, size).unwrap();
        client.send(b"x", &[fd]);
        if passes {
            assert_eq!(compositor.recv(1).1.len(), 1);
        } else {
            assert_eq!(compositor.end(), b"");
            until("the log says why", || {
                world.log().contains(&format!("memory of {size} bytes"))
            });
        }
    }
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
    assert!(refused(&world).contains("config.kdl:2:"));
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
