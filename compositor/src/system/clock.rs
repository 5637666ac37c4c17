// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one source of time, so that tests can hold it still.

use std::time::Duration;

use smithay::utils::{Clock as SystemClock, Monotonic};

/// Processor time that this thread has used. What others on the machine take is not in it.
pub(crate) fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Time since an arbitrary start (`CLOCK_MONOTONIC` when it runs by itself).
#[derive(Debug)]
pub enum Clock {
    /// The system's monotonic clock.
    System(SystemClock<Monotonic>),
    /// A clock that only [`Clock::advance`] moves.
    Manual(Duration),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::System(SystemClock::new())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Duration {
        match self {
            Self::System(clock) => clock.now().into(),
            Self::Manual(now) => *now,
        }
    }

    /// Milliseconds for Wayland events; wraps after 49 days, as the protocol allows.
    #[must_use]
    pub fn millis(&self) -> u32 {
        u32::try_from(self.now().as_millis() & u128::from(u32::MAX)).unwrap_or(0)
    }

    /// Moves a manual clock; a system clock moves by itself and ignores this.
    pub fn advance(&mut self, by: Duration) {
        if let Self::Manual(now) = self {
            *now += by;
        }
    }

    /// Whether timers of the event loop follow this clock.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::System(_))
    }
}
