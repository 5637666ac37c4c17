// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of the machine: everything is asked to end, then made to, then the kernel restarts or switches off. And
//! what PID 1 does when it cannot go on: it must never end.

use std::io::{self, BufRead as _};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};
use rustix::system::{RebootCommand, reboot};

use super::log_ring::LogRing;
use super::mounts;

/// How the machine ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It starts again.
    Reboot,
    /// It is off.
    PowerOff,
}

impl Ending {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Reboot => "restarting",
            Self::PowerOff => "switching off",
        }
    }

    fn command(self) -> RebootCommand {
        match self {
            Self::Reboot => RebootCommand::Restart,
            Self::PowerOff => RebootCommand::PowerOff,
        }
    }
}

/// Sends a signal to every process but this one. Returns how many there were.
pub(super) fn signal_all(signal: Signal) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    let numbers = entries.flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse::<i32>().ok()?;
        // The kernel's own threads have no command line. Nor have dead processes, which need no signal.
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        (number > 1 && !command.is_empty()).then_some(number)
    });
    let mut count = 0;
    for pid in numbers.filter_map(Pid::from_raw) {
        // One that has just ended is what was wanted.
        let _gone = kill_process(pid, signal);
        count += 1;
    }
    count
}

/// Takes note of all processes that have ended or stand still.
pub(super) fn reap(mut changed: impl FnMut(Pid, WaitStatus)) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        changed(pid, status);
    }
}

/// Whether any process is left.
pub(super) fn has_children() -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    // Looks without taking note of an end.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

/// The last step, when all programs had their time.
pub(super) fn finish(ending: Ending, log: &LogRing) -> ! {
    signal_all(Signal::KILL);
    // A moment for their memory and descriptors to go, so that nothing is busy.
    std::thread::sleep(Duration::from_millis(20));
    reap(|_, _| {});
    rustix::fs::sync();
    log.line(format!("heraldry init: {}", ending.text()).as_bytes());
    mounts::unmount_all();
    let failed = reboot(ending.command());
    let why = match failed {
        Ok(()) => "the kernel did nothing".to_owned(),
        Err(errno) => errno.to_string(),
    };
    emergency(log, &format!("{} failed: {why}", ending.text()))
}

/// Stays alive, says why, and still restarts or switches off when told to on the console or by Ctrl-Alt-Del.
pub(super) fn emergency(log: &LogRing, why: &str) -> ! {
    log.line(format!("heraldry init: {why}").as_bytes());
    log.line(
        b"heraldry init: this machine cannot go on. Ctrl-Alt-Del restarts it; on this console so does `reboot`, and \
          `power-off` switches it off",
    );
    // From now on the kernel itself restarts the machine at Ctrl-Alt-Del.
    let _refused = reboot(RebootCommand::CadOn);
    let mut input = io::stdin().lock();
    loop {
        reap(|_, _| {});
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(1..) => {}
            // No console: only Ctrl-Alt-Del is left.
            Ok(0) | Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
        let ending = match line.trim() {
            "reboot" => Ending::Reboot,
            "power-off" => Ending::PowerOff,
            _ => continue,
        };
        rustix::fs::sync();
        if let Err(errno) = reboot(ending.command()) {
            log.line(format!("heraldry init: {}: {errno}", ending.text()).as_bytes());
        }
    }
}
