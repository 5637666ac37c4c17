// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a stranger sends to the host makes whoever gets it wait, for as long as the stranger likes. Nobody but the
//! stranger's own VM is to notice: an honest client of another VM draws beside, and the daemon starts again at once.
//!
//! The rows run one after the other, in a program of their own, because they are about time.
#![cfg(test)]

#[path = "../hostile/bystander.rs"]
#[expect(dead_code, reason = "the hostile suite looks at more")]
mod bystander;
#[path = "../hostile/pace.rs"]
#[expect(dead_code, reason = "the hostile suite looks at more")]
mod pace;

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heraldry_tests::client::raw::Raw;
use heraldry_tests::rig::{CONFIG, Options, Program, Rig, until};
use heraldry_tests::stuck::{CANNOT, DONE, Kind, Way, command};

use bystander::{Bystander, Report};
use pace::{Calm, TRIES};

/// The stranger's VM, and the honest one.
const HOSTILE: &str = "untrusted";
const HONEST: &str = "vault";
/// How long the honest client is looked at: until the process that waits has been given up, and another one serves.
const WATCHED: Duration = Duration::from_millis(7500);
/// In this time the daemon serves again after it was killed.
const RESTART: Duration = Duration::from_secs(1);

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start() -> (Rig, Bystander) {
    let rig = Rig::start(Options {
        config: CONFIG.to_owned(),
        size: (640, 480),
        ..Options::default()
    });
    let bystander = Bystander::new(Raw::new(rig.connect(HONEST)));
    rig.content_of(HONEST);
    (rig, bystander)
}

/// Sends it, and waits until it is there. Where the system does not let a user do this, it is said, also by a test that
/// passes.
fn attack(rig: &Rig, kind: Kind, way: Way) -> Option<Program> {
    let name = format!("stuck-{kind:?}-{way:?}");
    let folder = rig.file("");
    let mut stranger = Program::start(&name, &mut command(kind, way, &rig.socket(HOSTILE)), &folder);
    until("the stranger is done", || {
        stranger.log().contains(DONE) || !stranger.runs()
    });
    let log = stranger.log();
    if log.contains(DONE) {
        return Some(stranger);
    }
    let reason = log.lines().last().unwrap_or_default();
    let not_here = log.contains(CANNOT) || log.contains("unshare");
    assert!(not_here, "the stranger could not: {log}");
    let _shown = writeln!(
        std::io::stderr(),
        "NOT TESTED on this machine: {kind:?}, {way:?}: {reason}"
    );
    None
}

/// Stops the honest client, whatever comes of the stranger.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How the honest client fares while the stranger does this.
fn beside(rig: &Rig, bystander: &mut Bystander, kind: Kind, way: Way) -> Option<(Report, Program)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        let live = scope.spawn(|| bystander.live(&stop));
        let stranger = attack(rig, kind, way);
        if stranger.is_some() {
            std::thread::sleep(WATCHED);
        }
        drop(stopper);
        let report = live.join().expect("it lives").expect("it is served");
        stranger.map(|stranger| (report, stranger))
    })
}

/// How the honest client fares with nobody beside it.
fn alone_for_as_long(bystander: &mut Bystander) -> Report {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopper = Stop(&stop);
        let live = scope.spawn(|| bystander.live(&stop));
        std::thread::sleep(WATCHED);
        drop(stopper);
        live.join().expect("it lives").expect("it is served")
    })
}

/// Somebody of a VM is served.
fn is_served(rig: &Rig, vm: &str) {
    until("the VM is served", || {
        rig.socket(vm).exists()
            && std::os::unix::net::UnixStream::connect(rig.socket(vm))
                .is_ok_and(|stream| Raw::new(stream).roundtrip().is_ok())
    });
}

fn row(kind: Kind, way: Way) {
    let _alone = alone();
    let mut counted = Vec::new();
    let mut judged = false;
    for _ in 0..TRIES {
        let (mut rig, mut bystander) = start();
        let calm = Calm::measure(&mut bystander);
        let Some((report, stranger)) = beside(&rig, &mut bystander, kind, way) else {
            return;
        };
        println!("{kind:?}, {way:?}: {}", report.fared());
        let faults = report.faults(&[]);
        assert!(faults.is_empty(), "{faults:?}");
        // Its own VM is served again, and knows why it was not.
        is_served(&rig, HOSTILE);
        assert!(
            rig.host_log().contains("it has not turned for five seconds"),
            "nobody has waited: {}",
            rig.host_log()
        );
        // A daemon that is killed now leaves nothing that the next one needs.
        let begin = Instant::now();
        rig.restart_host();
        is_served(&rig, HONEST);
        let took = begin.elapsed();
        println!("{kind:?}, {way:?}: serves again after {took:?}");
        is_served(&rig, HOSTILE);
        drop((stranger, bystander));
        let mut slow = calm.lost(&report);
        if took > RESTART {
            slow.push(format!("the daemon serves again after {took:?}"));
        }
        if slow.is_empty() {
            return;
        }
        let alone = alone_for_as_long(&mut Bystander::new(Raw::new(rig.connect(HONEST))));
        println!("slow: {}; alone: {}", slow.join(", "), alone.fared());
        if calm.lost(&alone).is_empty() {
            judged = true;
            counted = slow;
        }
    }
    if !judged {
        // Past what captures the output of tests that pass.
        let _shown = writeln!(
            std::io::stderr(),
            "SPEED NOT JUDGED, the machine is too busy: {kind:?}, {way:?}"
        );
    }
    // Nothing is counted on a machine that is too busy to tell.
    assert!(counted.is_empty(), "{counted:?}");
}

#[test]
fn a_socket_that_lingers_when_it_is_refused() {
    row(Kind::Linger, Way::Sent);
}

#[test]
fn a_socket_that_lingers_left_behind_by_a_client_that_hangs_up() {
    row(Kind::Linger, Way::HangUp);
}

#[test]
fn sockets_that_linger_left_where_nobody_has_accepted_them() {
    row(Kind::Linger, Way::Backlog);
}

#[test]
fn a_file_of_the_stranger_s_own() {
    row(Kind::Fuse, Way::Sent);
}

#[test]
fn memory_that_somebody_writes_to_for_ever() {
    row(Kind::Memory, Way::Sent);
}

#[test]
fn a_pipe_that_somebody_writes_to_for_ever() {
    row(Kind::Pipe, Way::Sent);
}

#[test]
fn no_more_than_four_processes_of_a_vm_wait_for_ever() {
    let _alone = alone();
    let (rig, mut bystander) = start();
    let mut strangers = Vec::new();
    for number in 1..=4 {
        let Some(stranger) = attack(&rig, Kind::Fuse, Way::Sent) else {
            return;
        };
        strangers.push(stranger);
        until("it is given up", || {
            rig.host_log().matches("it has not turned").count() == number
        });
        if number < 4 {
            is_served(&rig, HOSTILE);
        }
    }
    assert!(
        rig.host_log()
            .contains("until one has nobody serves in its place")
    );
    assert!(!rig.socket(HOSTILE).exists());
    let stop = AtomicBool::new(true);
    bystander.live(&stop).expect("the other VM is served");
    // Nor when the VM is removed and comes back.
    let line = CONFIG.lines().find(|line| line.contains(HOSTILE));
    reload(
        &rig,
        &CONFIG.replace(line.expect("it is there"), ""),
        "VM removed",
    );
    reload(&rig, CONFIG, "cannot end: nobody serves it");
    assert!(!rig.socket(HOSTILE).exists());
    is_served(&rig, HONEST);
    // One of the four can end.
    drop(strangers.pop());
    is_served(&rig, HOSTILE);
}

/// The host takes another configuration, and says so.
fn reload(rig: &Rig, config: &str, said: &str) {
    let pid = i32::try_from(rig.host_pid()).expect("a process");
    let host = rustix::process::Pid::from_raw(pid).expect("a process");
    std::fs::write(rig.file("heraldry.kdl"), config).expect("a configuration");
    rustix::process::kill_process(host, rustix::process::Signal::HUP).expect("the host runs");
    until("the reload", || rig.host_log().contains(said));
}

#[test]
fn a_vm_is_removed_and_comes_back_while_its_process_waits() {
    let _alone = alone();
    let (rig, _bystander) = start();
    let Some(_stranger) = attack(&rig, Kind::Fuse, Way::Sent) else {
        return;
    };
    let line = CONFIG
        .lines()
        .find(|line| line.contains(HOSTILE))
        .expect("it is there");
    reload(&rig, &CONFIG.replace(line, ""), "VM removed");
    assert!(!rig.socket(HOSTILE).exists());
    is_served(&rig, HONEST);
    reload(&rig, CONFIG, "configuration reloaded");
    until("its socket", || rig.socket(HOSTILE).exists());
    is_served(&rig, HOSTILE);
    is_served(&rig, HONEST);
}
