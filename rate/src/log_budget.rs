// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many lines of the log a peer may cause.

use std::time::{Duration, Instant};

/// Lets a few log lines pass in a span of time and counts the rest, so that no VM can fill the log.
#[derive(Debug, Clone)]
pub struct LogBudget {
    lines: u32,
    span: Duration,
    since: Option<Instant>,
    passed: u32,
    dropped: u64,
}

impl Default for LogBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl LogBudget {
    /// Ten lines in ten seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(10, Duration::from_secs(10))
    }

    /// At most `lines` a second.
    #[must_use]
    pub const fn per_second(lines: u32) -> Self {
        Self::of(lines, Duration::from_secs(1))
    }

    const fn of(lines: u32, span: Duration) -> Self {
        Self {
            lines,
            span,
            since: None,
            passed: 0,
            dropped: 0,
        }
    }

    /// Whether a line may be written now, and how many were dropped since the last one.
    pub fn allow(&mut self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    /// Whether a line may be written at the time `now`, and how many were dropped since the last one.
    pub fn allow_at(&mut self, now: Instant) -> Option<u64> {
        let over = |since| now.saturating_duration_since(since) >= self.span;
        if self.since.is_none_or(over) {
            self.since = Some(now);
            self.passed = 0;
        }
        if self.passed >= self.lines {
            self.dropped = self.dropped.saturating_add(1);
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.dropped))
    }

    /// Calls `line` if a line may be written at the time `now`, and before it `more` with the number of dropped ones, if
    /// there are any.
    pub fn log(&mut self, now: Instant, more: impl FnOnce(u64), line: impl FnOnce()) {
        if let Some(dropped) = self.allow_at(now) {
            if dropped > 0 {
                more(dropped);
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
        let mut limit = LogBudget::per_second(2);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(limit.allow_at(at(0)), Some(0));
        assert_eq!(limit.allow_at(at(1)), Some(0));
        assert_eq!(limit.allow_at(at(2)), None);
        assert_eq!(limit.allow_at(at(999)), None);
        assert_eq!(limit.allow_at(at(1000)), Some(2));
        assert_eq!(limit.allow_at(at(1001)), Some(0));
        let mut seen = (0, 0);
        limit.log(at(1002), |_| seen.0 += 1, || panic!("limited"));
        limit.log(at(2001), |more| seen.0 = more, || seen.1 = 1);
        assert_eq!(seen, (1, 1));
        limit.log(at(2002), |_| panic!("none was dropped"), || seen.1 = 2);
        assert_eq!(seen.1, 2);
    }

    #[test]
    fn so_many_in_ten_seconds() {
        let start = Instant::now();
        let mut limit = LogBudget::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        let passed = (0..1000).filter(|_| limit.allow_at(at(9)).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.allow_at(at(18)), None);
        assert_eq!(limit.allow_at(at(19)), Some(991));
    }
}
