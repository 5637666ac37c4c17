// SPDX-License-Identifier: MIT OR Apache-2.0
//! `heraldry supervise`: runs the compositor, and starts it again when it ends unexpectedly.
//!
//! The compositor writes the VM that it is serving into a [`Record`], and which VMs are not to be served. A VM that was
//! being served at two crashes in a row, or at three of the last nine, is paused: whatever it does must not keep everybody
//! else from working, nor must up to four VMs that take turns. What is paused stays so at every later start, until the user
//! resumes it.
//!
//! A compositor that was taken over must not get at its supervisor: not by its memory, which nobody may look at, and not by a
//! signal. Where PID 1 is ours it is another user besides.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use calloop::EventLoop;
use calloop::signals::{Signal, Signals};
use heraldry_identity::VmName;
use heraldry_seccomp::FilterError;
use rustix::process::{
    DumpableBehavior, Pid, Signal as Kill, WaitId, WaitIdOptions, kill_process, set_dumpable_behavior, waitid,
};
use tracing::{error, info, warn};

use crate::filter;
use crate::record::{Pause, PauseReason, Record};

/// Why the compositor cannot be supervised.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The event loop failed.
    #[error("the event loop failed")]
    Loop(#[from] calloop::Error),
    /// The system refused something.
    #[error("a resource of the system is missing")]
    Io(#[from] std::io::Error),
    /// It can't be put out of the compositor's reach.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// No program is named.
    #[error("there is no program to supervise")]
    NoProgram,
    /// Signals cannot be watched.
    #[error("cannot watch signals: {0}")]
    Watch(String),
}

/// A compositor that lived this long is not in a loop of crashes.
const STABLE: Duration = Duration::from_secs(30);
/// First and longest wait before the next start after a crash, but for the first one, which has no wait.
const WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A compositor that has not turned for this long after its start is spoken of.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// One that has not ended for this long after it was asked to is killed. PID 1 waits a little longer for everybody.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What became of the compositor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It ended as it should, or because of what the user gave it: with this code.
    Final(u8),
    /// It crashed.
    Crash,
}

/// What an end means; `again` if there was a crash before. Who has run with what the user gave it does not fail to start
/// because of that, and its record must not be lost for what a crash left behind.
fn judge(status: ExitStatus, again: bool) -> End {
    match status.code() {
        // 70 is our own word for a bug of ours, 101 is Rust's for a panic.
        Some(70 | 101) | None => End::Crash,
        Some(code) if code != 0 && again => End::Crash,
        Some(code) => End::Final(u8::try_from(code).unwrap_or(1)),
    }
}

/// Crashes before the last one that are remembered, and at how many of them a VM was served that is to blame for the next.
const REMEMBERED: usize = 8;
const OFTEN: usize = 2;

/// What is remembered from one crash to the next.
#[derive(Debug, Default)]
struct History {
    /// Who was served at the last crashes, the newest last.
    served: VecDeque<Option<VmName>>,
    crashes: u32,
}

impl History {
    /// A crash after `lived`, while `served` was being served. Returns how long to wait before the next start, and whom to
    /// pause.
    fn crashed(&mut self, lived: Duration, served: Option<VmName>) -> (Duration, Option<VmName>) {
        if lived >= STABLE {
            // Who was being served last is not forgotten: a VM must not get away with a crash every minute.
            self.crashes = 0;
        }
        self.crashes = self.crashes.saturating_add(1);
        let last = self.served.back() == Some(&served);
        let often = self.served.iter().filter(|before| **before == served).count() >= OFTEN;
        let blamed = served.clone().filter(|_| last || often);
        self.served.push_back(served);
        if self.served.len() > REMEMBERED {
            self.served.pop_front();
        }
        let doublings = self.crashes.saturating_sub(2).min(10);
        let wait = if self.crashes < 2 {
            Duration::ZERO
        } else {
            (WAITS.0 * (1 << doublings)).min(WAITS.1)
        };
        (wait, blamed)
    }
}

/// Writes down that a VM is to blame, if it is not paused already.
fn blame(record: &Record, vm: VmName) {
    if record.pauses().iter().any(|pause| pause.vm == vm) {
        return;
    }
    warn!(%vm, "is paused: {}", PauseReason::Crashes.as_str());
    let pause = Pause {
        vm,
        reason: PauseReason::Crashes,
        hidden: false,
    };
    if let Err(error) = record.pause(&pause) {
        error!(%error, "the pause cannot be written down");
    }
}

/// The event loop's state: the child and what is known of it.
struct Supervisor {
    child: Option<Child>,
    ended: Option<ExitStatus>,
    stopping: bool,
    /// When the child is spoken of if it has not turned.
    slow_at: Option<Instant>,
    /// When the child is killed.
    kill_at: Option<Instant>,
}

impl Supervisor {
    fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::SIGCHLD => {
                let status = self
                    .child
                    .as_mut()
                    .and_then(|child| child.try_wait().ok().flatten());
                if status.is_some() {
                    self.ended = status;
                    self.child = None;
                } else if self.is_stopped() {
                    warn!("the compositor was stopped by a signal; it goes on");
                    self.forward(Kill::CONT);
                }
            }
            Signal::SIGHUP => self.forward(Kill::HUP),
            _ => {
                self.stopping = true;
                self.kill_at.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                self.forward(Kill::TERM);
            }
        }
    }

    /// How long there is nothing to do but wait for signals.
    fn wait(&self) -> Option<Duration> {
        let due = self.slow_at.into_iter().chain(self.kill_at).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Looks at a child that may take too long.
    fn look(&mut self, record: &Record) {
        let now = Instant::now();
        if self.slow_at.take_if(|due| *due <= now).is_some() && !record.turns() {
            warn!("the compositor was started {START_PATIENCE:?} ago and does not turn yet");
        }
        if self.kill_at.take_if(|due| *due <= now).is_some() {
            warn!("the compositor was asked to end {STOP_PATIENCE:?} ago; it is killed");
            self.forward(Kill::KILL);
        }
    }

    fn pid(&self) -> Option<Pid> {
        let child = self.child.as_ref()?;
        Pid::from_raw(i32::try_from(child.id()).ok()?)
    }

    fn is_stopped(&self) -> bool {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let stopped = |pid| matches!(waitid(WaitId::Pid(pid), options), Ok(Some(_)));
        self.pid().is_some_and(stopped)
    }

    fn forward(&self, signal: Kill) {
        if let Some(pid) = self.pid() {
            // A child that is already gone is seen at the next turn.
            let _gone = kill_process(pid, signal);
        }
    }
}

/// Puts this process out of the reach of others of its user, the compositor above all.
fn withdraw() -> Result<(), SuperviseError> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(std::io::Error::from)?;
    Ok(filter::enter()?)
}

/// Runs `COMMAND run` with `args` until it ends by itself. Returns its exit code.
pub fn supervise(command: &[OsString], args: &[OsString]) -> Result<u8, SuperviseError> {
    let (program, before) = command.split_first().ok_or(SuperviseError::NoProgram)?;
    withdraw()?;
    let mut event_loop: EventLoop<'_, Supervisor> = EventLoop::try_new()?;
    let watched = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    event_loop
        .handle()
        .insert_source(Signals::new(&watched)?, |event, (), state: &mut Supervisor| {
            state.signalled(event.signal());
        })
        .map_err(|error| SuperviseError::Watch(error.to_string()))?;
    let mut state = Supervisor {
        child: None,
        ended: None,
        stopping: false,
        slow_at: None,
        kill_at: None,
    };
    let mut history = History::default();
    // Inherited by each child, which opens it again by its number.
    let mut record = Record::create()?;
    loop {
        let mut command = Command::new(program);
        // systemd asks for signs of life from whom it started; the compositor gives them.
        command.env_remove("WATCHDOG_PID");
        command.args(before).arg("run").args(args).arg("--served-record");
        command.arg(format!("/proc/self/fd/{}", record.number()));
        let start = Instant::now();
        state.child = Some(command.spawn()?);
        state.slow_at = Some(start + START_PATIENCE);
        while state.ended.is_none() {
            event_loop.dispatch(state.wait(), &mut state)?;
            state.look(&record);
        }
        let Some(status) = state.ended.take() else {
            continue;
        };
        let code = match judge(status, history.crashes > 0) {
            End::Final(code) => return Ok(code),
            End::Crash if state.stopping => return Ok(0),
            End::Crash => status.signal(),
        };
        match record.renew() {
            Ok(next) => record = next,
            Err(error) => error!(%error, "the next compositor gets the record of the last one"),
        }
        let vm = record.take_served();
        let (wait, blamed) = history.crashed(start.elapsed(), vm.clone());
        let serving = vm.map_or_else(|| "none".to_owned(), |vm| vm.to_string());
        error!(signal = code, serving, again_in = ?wait, "the compositor crashed");
        if let Some(vm) = blamed {
            blame(&record, vm);
        }
        // Signals end the wait early.
        event_loop.dispatch(wait, &mut state)?;
        if state.stopping {
            info!("stopped");
            return Ok(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    fn vm(name: &str) -> Option<VmName> {
        name.parse().ok()
    }

    #[test]
    fn the_same_vm_at_two_crashes_in_a_row_is_to_blame() {
        let mut history = History::default();
        for (lived, served, blamed) in [
            (SHORT, vm("work"), None),
            (SHORT, vm("vault"), None),
            (SHORT, None, None),
            (SHORT, vm("vault"), None),
            (SHORT, vm("vault"), vm("vault")),
            (STABLE, vm("work"), None),
            (STABLE, vm("work"), vm("work")),
        ] {
            assert_eq!(history.crashed(lived, served).1, blamed);
        }
    }

    #[test]
    fn vms_that_take_turns_at_crashing_are_found_out() {
        for turns in [&["a", "b"][..], &["a", "b", "c"], &["a", "b", "c", "d"]] {
            let mut history = History::default();
            let mut paused = Vec::new();
            let mut crashes = turns.iter().cycle();
            for _ in 0..3 * turns.len() {
                let blamed = history.crashed(SHORT, vm(crashes.next().unwrap())).1;
                paused.extend(blamed.map(|vm| vm.to_string()));
            }
            assert_eq!(paused, turns, "at the third of each");
        }
        // Who happens to be served now and then is not to blame, nor can five be told from that who take turns.
        let mut history = History::default();
        for crash in 0..40 {
            let served = vm("work").filter(|_| crash % 5 == 0);
            assert_eq!(history.crashed(SHORT, served).1, None);
        }
    }

    #[test]
    fn who_is_to_blame_stands_in_the_record_and_an_earlier_pause_is_not_changed() {
        let record = Record::create().unwrap();
        let vault = vm("vault").unwrap();
        let by_user = Pause {
            vm: vm("work").unwrap(),
            reason: PauseReason::User,
            hidden: true,
        };
        record.pause(&by_user).unwrap();
        blame(&record, vault.clone());
        blame(&record, by_user.vm.clone());
        let pauses = record.pauses();
        assert_eq!(pauses[0], by_user);
        assert_eq!((&pauses[1].vm, pauses[1].reason), (&vault, PauseReason::Crashes));
        assert_eq!(pauses.len(), 2);
    }

    #[test]
    fn crashes_that_follow_each_other_wait_longer_and_longer() {
        let mut history = History::default();
        let waits: Vec<_> = (0..10)
            .map(|_| history.crashed(SHORT, None).0.as_millis())
            .collect();
        assert_eq!(waits[..5], [0, 100, 200, 400, 800]);
        assert_eq!(waits[9], 10_000);
        assert_eq!(history.crashed(STABLE, None).0, Duration::ZERO);
    }

    #[test]
    fn what_the_user_did_wrong_is_not_tried_again() {
        assert_eq!(judge(ExitStatus::from_raw(1 << 8), false), End::Final(1));
        for again in [false, true] {
            assert_eq!(judge(ExitStatus::from_raw(0), again), End::Final(0));
            assert_eq!(judge(ExitStatus::from_raw(70 << 8), again), End::Crash);
            assert_eq!(judge(ExitStatus::from_raw(11), again), End::Crash);
        }
    }

    #[test]
    fn what_fails_after_a_crash_is_tried_again() {
        assert_eq!(judge(ExitStatus::from_raw(1 << 8), true), End::Crash);
    }
}
