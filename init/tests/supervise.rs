// SPDX-License-Identifier: MIT OR Apache-2.0
//! The supervisor with a program in the compositor's place that does nothing of what it is asked.
#![cfg(test)]

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing takes as long.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends with the test.
struct Supervised(Child);

impl Drop for Supervised {
    fn drop(&mut self) {
        // It has ended, if all is well.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < LIMIT, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_compositor_that_neither_turns_nor_ends_is_spoken_of_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // The compositor lies beside its supervisor.
    std::fs::copy(env!("CARGO_BIN_EXE_heraldry-init"), at("heraldry-init")).unwrap();
    let script = "#!/bin/sh\ntrap '' TERM\necho $$\nexec sleep 1000\n";
    std::fs::write(at("heraldry"), script).unwrap();
    std::fs::set_permissions(at("heraldry"), Permissions::from_mode(0o755)).unwrap();
    let child = Command::new(at("heraldry-init"))
        .arg("supervise")
        .stdout(File::create(at("out")).unwrap())
        .stderr(File::create(at("log")).unwrap())
        .spawn()
        .unwrap();
    let mut supervisor = Supervised(child);
    let log = || std::fs::read_to_string(at("log")).unwrap();
    until("a word about it", || {
        log().contains("does not turn yet").then_some(())
    });
    let compositor = std::fs::read_to_string(at("out")).unwrap();
    let compositor = Pid::from_raw(compositor.trim().parse().unwrap()).unwrap();
    rustix::process::test_kill_process(compositor).unwrap();
    kill_process(Pid::from_child(&supervisor.0), Signal::TERM).unwrap();
    let status: ExitStatus = until("the end", || supervisor.0.try_wait().unwrap());
    assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", log());
    assert!(log().contains("it is killed"), "{}", log());
    assert!(
        rustix::process::test_kill_process(compositor).is_err(),
        "it is gone"
    );
}
