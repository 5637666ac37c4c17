// SPDX-License-Identifier: MIT OR Apache-2.0
//! For how long a turn of the main loop has been watched, and when that is too long: pure, times in, findings out.
//!
//! A machine that sleeps, a virtual one that is stopped, or a process that is, wakes with a clock that went on. Nobody had time
//! to come back meanwhile. So a turn is looked at again and again while it takes long, and what passes between two looks
//! counts at most as the time that was to pass.

use std::time::Duration;

use heraldry_config::Watchdog as Limits;

/// What is to be done when it was looked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Look again after this time.
    Wait(Duration),
    /// It takes long, and nothing was said of it yet; look again after this time.
    Slow(Duration),
    /// It took too long.
    Stuck,
}

/// What is known of the turn that was looked at last.
#[derive(Debug, Default)]
pub(super) struct TurnTimer {
    turn: u64,
    /// For how long it was watched.
    lasted: Duration,
    /// Since when it is, at the last look, and after which time the next one was to be.
    looked: (Duration, Duration),
    warned: bool,
}

impl TurnTimer {
    /// Looks at a turn that began so long ago.
    pub(super) fn look(&mut self, turn: u64, began: Duration, limits: Limits) -> Finding {
        if self.turn != turn {
            *self = Self {
                turn,
                looked: (Duration::ZERO, limits.warn),
                ..Self::default()
            };
        }
        let (before, wait) = self.looked;
        self.lasted = self.lasted.saturating_add(began.saturating_sub(before).min(wait));
        let wait = if self.lasted < limits.warn {
            limits.warn.saturating_sub(self.lasted)
        } else {
            limits.abort.saturating_sub(self.lasted).min(limits.warn)
        };
        self.looked = (began, wait);
        if self.lasted < limits.warn {
            Finding::Wait(wait)
        } else if !std::mem::replace(&mut self.warned, true) {
            Finding::Slow(wait)
        } else if self.lasted < limits.abort {
            Finding::Wait(wait)
        } else {
            Finding::Stuck
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        warn: Duration::from_secs(1),
        abort: Duration::from_secs(10),
    };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks whenever it is time to, and `late` after that; returns when the turn is stuck, and how often was looked.
    fn until_stuck(turn_timer: &mut TurnTimer, mut began: Duration, late: Duration) -> (Duration, u32) {
        for looks in 1.. {
            match turn_timer.look(1, began, LIMITS) {
                Finding::Wait(after) | Finding::Slow(after) => began += after + late,
                Finding::Stuck => return (began, looks),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_turn_is_slow_once_and_then_stuck_in_time() {
        let mut turn_timer = TurnTimer::default();
        assert_eq!(turn_timer.look(1, ms(400), LIMITS), Finding::Wait(ms(600)));
        assert_eq!(turn_timer.look(1, ms(1000), LIMITS), Finding::Slow(ms(1000)));
        assert_eq!(turn_timer.look(1, ms(2000), LIMITS), Finding::Wait(ms(1000)));
        assert_eq!(until_stuck(&mut turn_timer, ms(3000), ms(0)).0, ms(10_000));
        // Another one is told of again, and its time begins again.
        assert_eq!(turn_timer.look(3, ms(1000), LIMITS), Finding::Slow(ms(1000)));
        let late = until_stuck(&mut TurnTimer::default(), ms(1000), ms(20)).0;
        assert!((ms(10_000)..ms(10_500)).contains(&late), "{late:?}");
    }

    #[test]
    fn what_the_machine_slept_is_no_time_in_which_a_turn_could_end() {
        const NIGHT: Duration = Duration::from_secs(30_000);
        // Before the first look, and between two.
        let mut turn_timer = TurnTimer::default();
        assert_eq!(turn_timer.look(1, NIGHT, LIMITS), Finding::Slow(ms(1000)));
        assert_eq!(turn_timer.look(1, NIGHT * 2, LIMITS), Finding::Wait(ms(1000)));
        assert_eq!(
            until_stuck(&mut turn_timer, NIGHT * 2 + ms(1000), ms(0)).0,
            NIGHT * 2 + ms(8000)
        );
    }

    #[test]
    fn a_limit_that_ends_a_turn_before_it_is_slow_is_told_first() {
        let limits = Limits {
            warn: ms(1000),
            abort: ms(500),
        };
        let mut turn_timer = TurnTimer::default();
        assert_eq!(turn_timer.look(1, ms(1000), limits), Finding::Slow(ms(0)));
        assert_eq!(turn_timer.look(1, ms(1000), limits), Finding::Stuck);
    }
}
