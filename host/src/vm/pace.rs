// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast a VM may connect.

use std::time::{Duration, Instant};

/// Counts what a VM may still connect now.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    since: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            left: u32::MAX,
            since: Instant::now(),
        }
    }

    /// Takes one of `per_second`, of which twice as many may come at once after a pause. If there is none, the time to
    /// wait; the connection waits in the kernel's queue.
    pub(super) fn take(&mut self, now: Instant, per_second: u32) -> Result<(), Duration> {
        let at_once = per_second.saturating_mul(2);
        self.left = self.left.min(at_once);
        let one = Duration::from_secs(1) / per_second.max(1);
        let earned = now.saturating_duration_since(self.since).as_micros() / one.as_micros().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(at_once);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            // A tenth of a second's worth, so that a loop of a VM costs few wake-ups.
            None => Err(Duration::from_millis(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vm_that_connects_in_a_loop_is_slowed_down() {
        let start = Instant::now();
        let mut pace = Pace::new();
        pace.since = start;
        let (mut now, mut accepted) = (start, 0);
        while now < start + Duration::from_secs(2) {
            match pace.take(now, 200) {
                Ok(()) => accepted += 1,
                Err(wait) => now += wait,
            }
        }
        assert!((400..=800).contains(&accepted), "{accepted}");
    }

    #[test]
    fn a_vm_that_rested_may_connect_at_once_again() {
        let mut pace = Pace::new();
        let mut now = pace.since;
        while pace.take(now, 50).is_ok() {}
        now += Duration::from_secs(60);
        let burst = (0..1000).take_while(|_| pace.take(now, 50).is_ok()).count();
        assert_eq!(burst, 100);
    }
}
