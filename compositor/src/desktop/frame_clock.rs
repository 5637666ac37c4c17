// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a screen is drawn: pure, times in, decisions out.
//!
//! A screen rests until something asks for a frame. A frame that differs from the last one waits for its vertical blank, if
//! the screen has blanks. Where it has none, or the frame was the same, the next one is drawn an interval later, so that
//! clients that commit nothing new are not called again and again. A device may report blanks at once: then half an interval
//! is the least.
//!
//! A frame that took long is not followed by another in the same turn: requests are served for at least half as long.

use std::time::Duration;

/// A blank that has not come after this long never will.
const LOST: Duration = Duration::from_secs(1);
/// The first and the longest pause after a frame that the device did not take.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// When one frame was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Drawing began.
    pub start: Duration,
    /// Drawing was over.
    pub end: Duration,
}

impl Drawn {
    /// From when on requests have been served for long enough.
    fn rested(self) -> Duration {
        self.end.saturating_add(self.end.saturating_sub(self.start) / 2)
    }
}

/// The state of one screen.
#[derive(Debug)]
pub struct FrameClock {
    interval: Duration,
    /// Something may look different.
    wanted: bool,
    /// When the frame was handed over whose blank has not come.
    flipped: Option<Duration>,
    /// Nothing is drawn before.
    not_before: Duration,
    /// Frames in a row that failed.
    failures: u32,
}

impl FrameClock {
    /// At rest. `interval` is the time from one frame, or blank, to the next.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            wanted: false,
            flipped: None,
            not_before: Duration::ZERO,
            failures: 0,
        }
    }

    /// The time from one frame, or blank, to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The screen has another mode.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Something may look different.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// No blank that was waited for will come: the device was away.
    pub fn forget(&mut self) {
        self.flipped = None;
        self.not_before = Duration::ZERO;
        self.failures = 0;
        self.wanted = true;
    }

    /// When to ask again whether a frame is due; `None` if an event will tell.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let lost = self.flipped.map(|flipped| flipped.saturating_add(LOST));
        self.wanted.then(|| lost.unwrap_or(self.not_before))
    }

    /// Whether a frame is to be drawn at `now`. What becomes of it is to be told.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            self.flipped = None;
            self.wanted = false;
        }
        due
    }

    /// The frame was handed over, and its blank will come.
    pub fn flips(&mut self, drawn: Drawn) {
        self.flipped = Some(drawn.start);
        self.follow(drawn, self.interval / 2);
    }

    /// The frame is shown at once, or it was the same as the last: there will be no blank.
    pub fn shown(&mut self, drawn: Drawn) {
        self.follow(drawn, self.interval);
    }

    fn follow(&mut self, drawn: Drawn, least: Duration) {
        self.not_before = drawn.start.saturating_add(least).max(drawn.rested());
        self.failures = 0;
    }

    /// The frame could not be drawn or was not taken.
    pub fn failed(&mut self, drawn: Drawn) {
        let pause = RETRY.0.saturating_mul(1 << self.failures.min(6)).min(RETRY.1);
        self.not_before = drawn.start.saturating_add(pause).max(drawn.rested());
        self.failures = self.failures.saturating_add(1);
        self.wanted = true;
    }

    /// How many frames in a row failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The blank came.
    pub fn blank(&mut self) {
        self.flipped = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(16);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(1000 + ms)
    }

    /// A frame that took no time.
    fn quick(ms: u64) -> Drawn {
        Drawn {
            start: at(ms),
            end: at(ms),
        }
    }

    #[test]
    fn nothing_is_drawn_unless_asked_for() {
        let mut clock = FrameClock::new(FRAME);
        assert!(!clock.is_due(at(0)) && clock.deadline().is_none());
        clock.want();
        assert!(clock.is_due(at(0)));
        clock.flips(quick(0));
        clock.blank();
        assert!(!clock.is_due(at(100)) && clock.deadline().is_none());
    }

    #[test]
    fn one_frame_a_blank_however_often_it_is_asked_for() {
        let mut clock = FrameClock::new(FRAME);
        clock.want();
        assert!(clock.is_due(at(0)));
        clock.flips(quick(0));
        clock.want();
        clock.want();
        assert!(!clock.is_due(at(15)));
        clock.blank();
        assert!(clock.is_due(at(16)));
        clock.flips(quick(16));
        assert!(!clock.is_due(at(17)));
    }

    #[test]
    fn a_frame_without_a_blank_is_followed_by_a_pause_and_then_rest() {
        let mut clock = FrameClock::new(FRAME);
        clock.want();
        assert!(clock.is_due(at(0)));
        clock.shown(quick(0));
        assert_eq!(clock.deadline(), None, "nothing is waited for");
        clock.want();
        assert!(!clock.is_due(at(15)));
        assert_eq!(clock.deadline(), Some(at(16)));
        assert!(clock.is_due(at(16)));
        clock.shown(quick(16));
        assert!(!clock.is_due(at(64)));
    }

    #[test]
    fn blanks_that_come_at_once_do_not_make_a_busy_loop() {
        let mut clock = FrameClock::new(FRAME);
        clock.want();
        assert!(clock.is_due(at(0)));
        clock.flips(quick(0));
        clock.blank();
        clock.want();
        assert!(!clock.is_due(at(7)));
        assert_eq!(clock.deadline(), Some(at(8)));
        assert!(clock.is_due(at(8)));
    }

    #[test]
    fn requests_are_served_after_a_long_frame_also_where_its_blank_comes_at_once() {
        let long = Drawn {
            start: at(0),
            end: at(40),
        };
        let tellings: [fn(&mut FrameClock, Drawn); 3] =
            [FrameClock::flips, FrameClock::shown, FrameClock::failed];
        for tell in tellings {
            let mut clock = FrameClock::new(FRAME);
            clock.want();
            assert!(clock.is_due(at(0)));
            tell(&mut clock, long);
            clock.blank();
            clock.want();
            assert!(!clock.is_due(at(59)));
            assert!(clock.is_due(at(60)));
        }
    }

    #[test]
    fn a_lost_blank_does_not_stop_the_screen_and_failures_are_tried_more_and_more_seldom() {
        let mut clock = FrameClock::new(FRAME);
        clock.want();
        assert!(clock.is_due(at(0)));
        clock.flips(quick(0));
        clock.want();
        assert!(!clock.is_due(at(999)));
        assert_eq!(clock.deadline(), Some(at(1000)));
        let (mut pauses, mut now) = (Vec::new(), 1000);
        for _ in 0..8 {
            assert!(clock.is_due(at(now)), "a failed frame stays wanted");
            clock.failed(quick(now));
            let pause = clock.deadline().unwrap() - at(now);
            now += u64::try_from(pause.as_millis()).unwrap();
            pauses.push(pause);
        }
        assert!(
            pauses.is_sorted() && pauses.first() == Some(&RETRY.0),
            "{pauses:?}"
        );
        assert_eq!(pauses.last(), Some(&RETRY.1));
        clock.forget();
        assert!(clock.is_due(at(0)), "whatever happened before it was away");
    }
}
