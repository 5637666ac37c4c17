// SPDX-License-Identifier: MIT OR Apache-2.0
//! A compositor that was taken over, under a supervisor of the same user: what it can do is what SECURITY.md says.
//! `tests/tests/vm/escape.rs` does this where it matters most, with another user and real devices.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use heraldry_tests::escape::{Outcome, SAYS, documented, said};
use heraldry_tests::rig::{CONFIG, program, until};

struct Supervisor(Child);

impl Supervisor {
    /// Starts one that takes the escaping program for the compositor.
    fn start(folder: &Path) -> Self {
        let file = |name: &str| folder.join(name);
        for name in ["bin", "etc", "run"] {
            std::fs::create_dir(file(name)).unwrap();
        }
        std::fs::copy(program("heraldry-init"), file("bin/heraldry-init")).unwrap();
        std::fs::copy(program("heraldry-escape"), file("bin/heraldry")).unwrap();
        std::fs::write(file("etc/heraldry.kdl"), CONFIG).unwrap();
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(file("log"))
                .unwrap()
        };
        let mut command = Command::new(file("bin/heraldry-init"));
        command.args(["supervise", "--backend", "headless", "--seccomp", "--config"]);
        command.arg(file("etc/heraldry.kdl"));
        command.arg("--control").arg(file("run/ctl"));
        command.env("XDG_RUNTIME_DIR", file("run"));
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_compositor_that_was_taken_over_does_not_get_out() {
    let folder = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::start(folder.path());
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    until("everything was tried", || log().contains(&format!("{SAYS}done")));
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../SECURITY.md")).unwrap();
    let (said, documented) = (said(&log()), documented(&document));
    let names: Vec<_> = said.keys().collect();
    assert_eq!(names, documented.keys().collect::<Vec<_>>());
    // Without Landlock files are a matter of users alone, and here there is only one.
    let without_landlock = said.get("file-root-list") == Some(&Outcome::Possible);
    for (name, outcome) in &said {
        let fits = match documented[name] {
            Outcome::Refused => {
                matches!(outcome, Outcome::Refused | Outcome::Absent)
                    || without_landlock && (name.starts_with("file-") || name == "socket-without-file")
            }
            Outcome::Possible => matches!(outcome, Outcome::Possible | Outcome::Absent),
            other => *outcome == other,
        };
        assert!(fits, "{name}: {outcome}, and not {}", documented[name]);
    }
    drop(supervisor);
}
