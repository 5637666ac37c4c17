// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM may do a second.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;

/// So many a second, and a number of them at once after a pause. It is full at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenBucket {
    /// What was taken and has not run out, in nanoseconds of the rate's time.
    level: u128,
    last: Duration,
}

impl TokenBucket {
    /// Takes one at the time `now`, or says how long until there is one. What is let through at once is what `burst` seconds
    /// bring; a rate of 0 counts as 1. With a
    /// burst of 0 nothing ever passes.
    ///
    /// # Errors
    ///
    /// There is none before so much time has passed.
    pub fn take(&mut self, now: Duration, per_second: u64, burst: u32) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.last).as_nanos();
        self.last = self.last.max(now);
        self.level = self.level.saturating_sub(passed);
        let one = SECOND / u128::from(per_second.max(1));
        let full = SECOND.saturating_mul(burst.into());
        let over = self.level.saturating_add(one).saturating_sub(full);
        if over > 0 {
            return Err(Duration::from_nanos(u64::try_from(over).unwrap_or(u64::MAX)));
        }
        self.level += one;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_its_rate() {
        const fn at(ms: u64) -> Duration {
            Duration::from_millis(ms)
        }
        let mut bucket = TokenBucket::default();
        for _ in 0..20 {
            bucket.take(at(0), 20, 1).unwrap();
        }
        assert_eq!(bucket.take(at(0), 20, 1), Err(Duration::from_millis(50)));
        assert_eq!(bucket.take(at(49), 20, 1), Err(Duration::from_millis(1)));
        bucket.take(at(50), 20, 1).unwrap();
        bucket.take(at(50), 20, 1).unwrap_err();
        for _ in 0..20 {
            bucket.take(at(5000), 20, 1).unwrap();
        }
        bucket.take(at(5000), 20, 1).unwrap_err();
    }

    #[test]
    fn a_vm_that_acts_in_a_loop_is_slowed_down() {
        let mut bucket = TokenBucket::default();
        let (mut now, mut taken) = (Duration::ZERO, 0);
        while now <= Duration::from_secs(2) {
            match bucket.take(now, 200, 2) {
                Ok(()) => taken += 1,
                Err(wait) => now += wait,
            }
        }
        assert_eq!(taken, 800);
    }

    #[test]
    fn a_vm_that_rested_may_act_at_once_again() {
        let mut bucket = TokenBucket::default();
        let burst =
            |bucket: &mut TokenBucket, now| (0..1000).take_while(|_| bucket.take(now, 50, 2).is_ok()).count();
        assert_eq!(burst(&mut bucket, Duration::ZERO), 100);
        assert_eq!(burst(&mut bucket, Duration::from_secs(60)), 100);
        // A clock that goes back is no rest.
        assert_eq!(burst(&mut bucket, Duration::from_secs(1)), 0);
    }

    #[test]
    fn the_time_until_the_next_is_right() {
        let mut bucket = TokenBucket::default();
        assert_eq!(bucket.take(Duration::ZERO, 1, 1), Ok(()));
        assert_eq!(
            bucket.take(Duration::from_millis(250), 1, 1),
            Err(Duration::from_millis(750))
        );
        assert_eq!(bucket.take(Duration::from_secs(1), 1, 1), Ok(()));
        // No rate at all is one a second.
        assert!(bucket.take(Duration::from_secs(1), 0, 1).is_err());
    }
}
