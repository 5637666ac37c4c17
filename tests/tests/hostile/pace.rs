// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast the honest client is while others do their worst, and how long a turn of the main loop gets.
//!
//! Rows that are about this run alone, and again if one was slow: what the compositor does for too long it does in each
//! try, and what the machine did meanwhile is seen by an honest client without anybody beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bystander::{Bystander, Report};

/// The longest turn, frame included, in processor time of the main thread.
pub(crate) const TURN: Duration = Duration::from_millis(30);
/// A round trip of the honest client, but for one of a hundred.
const ANSWER: Duration = Duration::from_millis(5);
/// Frames that it keeps, of a hundred.
const FRAMES: f64 = 95.0;
/// A row is tried so often.
pub(crate) const TRIES: usize = 4;
/// On a machine where a client has such round trips with nobody beside it, nothing can be said.
const BUSY: Duration = Duration::from_millis(2);

/// The honest client with nobody beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calm {
    /// Frames a second.
    rate: f64,
    p99: Duration,
}

impl Calm {
    /// Looks for a second.
    pub(crate) fn measure(bystander: &mut Bystander) -> Self {
        let stop = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let live = scope.spawn(|| bystander.live(&stop));
            std::thread::sleep(Duration::from_secs(1));
            stop.store(true, Ordering::SeqCst);
            live.join()
        });
        let report = report.expect("it lives").expect("it is served");
        Self {
            rate: report.rate(),
            p99: report.answer(990),
        }
    }

    /// Whether the machine does something else.
    pub(crate) fn is_busy(self) -> bool {
        self.p99 > BUSY
    }

    /// What an attack took from the honest client.
    pub(crate) fn lost(self, report: &Report) -> Vec<String> {
        let (rate, p99) = (report.rate(), report.answer(990));
        let mut lost = Vec::new();
        if rate * 100.0 < self.rate * FRAMES {
            lost.push(format!(
                "the honest client keeps {rate:.1} of {:.1} frames/s",
                self.rate
            ));
        }
        if p99 > ANSWER {
            lost.push(format!("its round trips take {p99:?} (p99)"));
        }
        lost
    }
}
