// SPDX-License-Identifier: MIT OR Apache-2.0
//! When one screen draws: pure, times in, decisions out.
//!
//! A screen rests until something asks for a frame. A drawn frame that differs from the last waits for its vertical
//! blank; one that does not is followed by a pause of the same length, so that clients that commit nothing new are not
//! called again and again. A device without real blanks reports them at once: then half an interval is the least.

use std::time::Duration;

/// A blank that has not come after this long never will.
const LOST: Duration = Duration::from_secs(1);
/// The first and the longest pause after a frame that the device did not take.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What the screen waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Nothing.
    #[default]
    Idle,
    /// The vertical blank of the frame that was handed over.
    Blank,
    /// The timer.
    Timer,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, or an event that will come tells when.
    Rest,
    /// Draw.
    Draw,
    /// Call [`Pace::timer`] after this time.
    Arm(Duration),
}

/// The state of one screen.
#[derive(Debug)]
pub(super) struct Pace {
    phase: Phase,
    wanted: bool,
    last: Option<Duration>,
    interval: Duration,
    failures: u32,
}

impl Pace {
    /// At rest. `interval` is the time from one blank to the next.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            phase: Phase::Idle,
            wanted: false,
            last: None,
            interval,
            failures: 0,
        }
    }

    /// The time from one blank to the next.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Another mode.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Something may look different.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whatever was waited for will not come: the device was away.
    pub(super) fn forget(&mut self) {
        self.phase = Phase::Idle;
        self.failures = 0;
        self.wanted = true;
    }

    /// What to do at `now`.
    pub(super) fn step(&mut self, now: Duration) -> Step {
        let since = |last: Option<Duration>| last.map_or(Duration::MAX, |last| now.saturating_sub(last));
        if self.phase == Phase::Blank && since(self.last) >= LOST {
            self.phase = Phase::Idle;
        }
        if !self.wanted || self.phase != Phase::Idle {
            return Step::Rest;
        }
        let least = self.interval / 2;
        let passed = since(self.last);
        if passed < least {
            self.phase = Phase::Timer;
            return Step::Arm(least - passed);
        }
        self.wanted = false;
        Step::Draw
    }

    /// The frame was handed over, and its blank will come.
    pub(super) fn flips(&mut self, now: Duration) {
        self.last = Some(now);
        self.failures = 0;
        self.phase = Phase::Blank;
    }

    /// The frame was the same as the last. Returns when to call [`Pace::timer`].
    pub(super) fn same(&mut self, now: Duration) -> Duration {
        self.last = Some(now);
        self.failures = 0;
        self.phase = Phase::Timer;
        self.interval
    }

    /// The frame could not be drawn or was not taken. Returns when to call [`Pace::timer`].
    pub(super) fn failed(&mut self, now: Duration) -> Duration {
        self.last = Some(now);
        self.wanted = true;
        self.phase = Phase::Timer;
        let pause = RETRY.0.saturating_mul(1 << self.failures.min(6)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    /// How many frames in a row failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The blank came.
    pub(super) fn blank(&mut self) {
        if self.phase == Phase::Blank {
            self.phase = Phase::Idle;
        }
    }

    /// The timer has run out.
    pub(super) fn timer(&mut self) {
        if self.phase == Phase::Timer {
            self.phase = Phase::Idle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(16);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(1000 + ms)
    }

    #[test]
    fn nothing_is_drawn_unless_asked_for() {
        let mut pace = Pace::new(FRAME);
        assert_eq!(pace.step(at(0)), Step::Rest);
        pace.want();
        assert_eq!(pace.step(at(0)), Step::Draw);
        pace.flips(at(0));
        pace.blank();
        assert_eq!(pace.step(at(100)), Step::Rest);
    }

    #[test]
    fn one_frame_a_blank_however_often_it_is_asked_for() {
        let mut pace = Pace::new(FRAME);
        pace.want();
        assert_eq!(pace.step(at(0)), Step::Draw);
        pace.flips(at(0));
        pace.want();
        pace.want();
        assert_eq!(pace.step(at(15)), Step::Rest);
        pace.blank();
        assert_eq!(pace.step(at(16)), Step::Draw);
        pace.flips(at(16));
        assert_eq!(pace.step(at(17)), Step::Rest);
    }

    #[test]
    fn a_frame_without_change_is_followed_by_a_pause_and_then_rest() {
        let mut pace = Pace::new(FRAME);
        pace.want();
        assert_eq!(pace.step(at(0)), Step::Draw);
        assert_eq!(pace.same(at(0)), FRAME);
        pace.want();
        assert_eq!(pace.step(at(1)), Step::Rest);
        pace.timer();
        assert_eq!(pace.step(at(16)), Step::Draw);
        pace.same(at(16));
        pace.timer();
        assert_eq!(pace.step(at(32)), Step::Rest);
    }

    #[test]
    fn blanks_that_come_at_once_do_not_make_a_busy_loop() {
        let mut pace = Pace::new(FRAME);
        pace.want();
        pace.step(at(0));
        pace.flips(at(0));
        pace.blank();
        pace.want();
        assert_eq!(pace.step(at(3)), Step::Arm(Duration::from_millis(5)));
        assert_eq!(pace.step(at(4)), Step::Rest);
        pace.timer();
        assert_eq!(pace.step(at(8)), Step::Draw);
    }

    #[test]
    fn a_lost_blank_does_not_stop_the_screen_and_failures_are_tried_more_and_more_seldom() {
        let mut pace = Pace::new(FRAME);
        pace.want();
        pace.step(at(0));
        pace.flips(at(0));
        pace.want();
        assert_eq!(pace.step(at(999)), Step::Rest);
        assert_eq!(pace.step(at(1000)), Step::Draw);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(pace.failed(at(1000)));
        }
        assert!(
            pauses.is_sorted() && pauses.last() == Some(&RETRY.1),
            "{pauses:?}"
        );
        pace.timer();
        assert_eq!(pace.step(at(5000)), Step::Draw, "a failed frame stays wanted");
    }
}
