// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine slept. Nobody tells a program so, and what its graphics device shows after that is the driver's affair: some
//! give the screens back as they were, others dark. So every screen is set up and drawn again.
//!
//! The kernel sets the clock when it wakes, and ends timers that ask for it: nothing has to look at the time for this.

use std::os::fd::OwnedFd;
use std::time::Duration;

use calloop::generic::Generic;
use calloop::{Interest, LoopHandle, Mode, PostAction};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tracing::{info, warn};

use super::{KmsError, watch};
use crate::state::State;

/// Calls [`State::woke`] whenever the machine has slept.
pub(super) fn watch_sleep(handle: &LoopHandle<'static, State>) -> Result<(), KmsError> {
    let refused = |errno: rustix::io::Errno| KmsError::Watch("the clock", errno.to_string());
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    let timer = timerfd_create(TimerfdClockId::Realtime, flags).map_err(refused)?;
    arm(&timer).map_err(refused)?;
    let mut before = slept_so_far();
    let source = Generic::new(timer, Interest::READ, Mode::Level);
    handle
        .insert_source(source, move |_, timer, state: &mut State| {
            // It never runs out, so the clock was set; reading it fails with just that.
            let _canceled = rustix::io::read(&**timer, &mut [0_u8; 8]);
            if let Err(error) = arm(timer) {
                warn!(%error, "it will not be noticed when the machine sleeps");
                return Ok(PostAction::Remove);
            }
            let now = slept_so_far();
            let slept = now.saturating_sub(std::mem::replace(&mut before, now));
            state.woke(slept);
            Ok(PostAction::Continue)
        })
        .map_err(watch("the clock"))?;
    Ok(())
}

/// Sets a timer that runs out at the end of time, or when the clock is set.
fn arm(timer: &OwnedFd) -> Result<(), rustix::io::Errno> {
    const NEVER: Itimerspec = Itimerspec {
        it_interval: Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
        it_value: Timespec {
            tv_sec: i64::MAX / 1_000_000_000,
            tv_nsec: 0,
        },
    };
    let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
    match timerfd_settime(timer, flags, &NEVER) {
        // It was set once more before; the timer is armed all the same.
        Ok(_) | Err(rustix::io::Errno::CANCELED) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// How long the machine has slept since it was started.
fn slept_so_far() -> Duration {
    let reading = |clock| Duration::try_from(clock_gettime(clock)).unwrap_or_default();
    reading(ClockId::Boottime).saturating_sub(reading(ClockId::Monotonic))
}

impl State {
    /// Shows everything again. `slept` is nothing if the clock was set by hand, or after a sleep too short for the machine's
    /// own clock.
    fn woke(&mut self, slept: Duration) {
        info!(
            ?slept,
            "the clock was set or the machine slept; screens are set up again"
        );
        self.release_input();
        self.with_card(|_, card| card.resume());
        self.with_card(Self::scan);
        self.core.render.schedule();
    }
}
