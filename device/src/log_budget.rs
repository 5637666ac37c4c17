// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many lines of the log a peer may cause.

use std::time::{Duration, Instant};

/// Allows a few log lines in ten seconds and counts the rest, so that no VM can fill the log.
#[derive(Debug)]
pub(crate) struct LogBudget {
    since: Instant,
    used: u32,
    dropped: u64,
}

impl LogBudget {
    const LINES: u32 = 10;
    const SPAN: Duration = Duration::from_secs(10);

    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            used: 0,
            dropped: 0,
        }
    }

    /// Whether a line may be written, and how many were not since the last.
    pub(crate) fn allow(&mut self) -> Option<u64> {
        let now = Instant::now();
        if now.duration_since(self.since) >= Self::SPAN {
            self.since = now;
            self.used = 0;
        }
        if self.used >= Self::LINES {
            self.dropped += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}
