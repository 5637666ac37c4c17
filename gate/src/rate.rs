// SPDX-License-Identifier: MIT OR Apache-2.0
//! Log lines that a VM causes, so many a second.

use std::time::{Duration, Instant};

/// Lets a number of log lines pass each second and counts the rest. The clock is the caller's.
#[derive(Debug, Clone)]
pub struct RateLimited {
    per_second: u32,
    window: Option<Instant>,
    passed: u32,
    dropped: u64,
}

/// Whether a line is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Log it. If the number is not 0, log first that so many more were dropped.
    Log {
        /// Lines that were dropped since the last one.
        dropped_before: u64,
    },
    /// Drop it.
    Drop,
}

impl RateLimited {
    /// At most `per_second` lines a second.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self {
            per_second,
            window: None,
            passed: 0,
            dropped: 0,
        }
    }

    /// Asks for one line at the time `now`.
    pub fn admit(&mut self, now: Instant) -> Admission {
        let fresh = self
            .window
            .is_none_or(|start| now.saturating_duration_since(start) >= Duration::from_secs(1));
        if fresh {
            self.window = Some(now);
            self.passed = 0;
        }
        if self.passed < self.per_second {
            self.passed = self.passed.saturating_add(1);
            Admission::Log {
                dropped_before: std::mem::take(&mut self.dropped),
            }
        } else {
            self.dropped = self.dropped.saturating_add(1);
            Admission::Drop
        }
    }

    /// Calls `line` if a line may be logged at the time `now`, and before it `more` with the number of dropped ones, if
    /// there are any.
    pub fn log(&mut self, now: Instant, more: impl FnOnce(u64), line: impl FnOnce()) {
        if let Admission::Log { dropped_before } = self.admit(now) {
            if dropped_before > 0 {
                more(dropped_before);
            }
            line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second() {
        let start = Instant::now();
        let mut limit = RateLimited::new(2);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(limit.admit(at(0)), Admission::Log { dropped_before: 0 });
        assert_eq!(limit.admit(at(1)), Admission::Log { dropped_before: 0 });
        assert_eq!(limit.admit(at(2)), Admission::Drop);
        assert_eq!(limit.admit(at(999)), Admission::Drop);
        assert_eq!(limit.admit(at(1000)), Admission::Log { dropped_before: 2 });
        assert_eq!(limit.admit(at(1001)), Admission::Log { dropped_before: 0 });
        let mut seen = (0, 0);
        limit.log(at(1002), |_| seen.0 += 1, || panic!("limited"));
        limit.log(at(2001), |more| seen.0 = more, || seen.1 = 1);
        assert_eq!(seen, (1, 1));
        limit.log(at(2002), |_| panic!("none was dropped"), || seen.1 = 2);
        assert_eq!(seen.1, 2);
    }
}
