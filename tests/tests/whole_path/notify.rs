// SPDX-License-Identifier: MIT OR Apache-2.0
//! What service managers hear: that the compositor runs, that it lives, that it ends.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use heraldry_tests::rig::{CONFIG, program};
use rustix::process::{Pid, Signal, kill_process};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

fn heard(socket: &UnixDatagram) -> String {
    let mut bytes = [0; 4096];
    let count = socket.recv(&mut bytes).expect("a word in time");
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

#[test]
fn a_service_manager_hears_of_start_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let config = dir.path().join("heraldry.kdl");
    std::fs::write(&config, CONFIG).unwrap();
    let ready = dir.path().join("ready");
    // 3 is the descriptor that s6 names in notification-fd.
    let mut command = Command::new("sh");
    command
        .args(["-c", "exec \"$@\" 3>\"$READY\"", "sh"])
        .arg(program("heraldry"))
        .args([
            "supervise",
            "--backend",
            "headless",
            "--ready-fd",
            "3",
            "--config",
        ])
        .arg(&config)
        .arg("--control")
        .arg(dir.path().join("ctl"))
        .env("READY", &ready)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        // The supervisor's, as systemd would set it.
        .env("WATCHDOG_PID", "1")
        .stderr(Stdio::null());
    let mut child = Ended(command.spawn().unwrap());
    assert_eq!(heard(&socket).trim(), "READY=1");
    assert_eq!(std::fs::read(&ready).unwrap(), b"\n");
    for _ in 0..3 {
        assert_eq!(heard(&socket).trim(), "WATCHDOG=1");
    }
    let pid = Pid::from_child(&child.0);
    kill_process(pid, Signal::TERM).unwrap();
    while heard(&socket).trim() != "STOPPING=1" {}
    assert!(child.0.wait().unwrap().success());
}
