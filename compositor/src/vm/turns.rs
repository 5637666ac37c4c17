// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns: how much a VM may send to the main thread, and when it may send again.
//!
//! The Wayland library reads one client until its socket is empty, so what a VM puts into its socket pairs in one turn of
//! the main loop is what the main loop has to work off before anybody else is served. The credit is in bytes, because the
//! gate can count bytes; how many bytes it is follows the *time* that they took last turn, because a commit costs a
//! thousand times what a `wl_region.add` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use heraldry_gate::Budgets;

/// The least credit: a few messages, so that every client gets somewhere.
const LEAST: usize = 256;

/// What main thread and gate of a VM share.
#[derive(Debug)]
pub(super) struct Turns {
    count: AtomicU64,
    /// The VM has used up its turn and waits for the next.
    awaited: AtomicBool,
    credit: AtomicUsize,
    paused: AtomicBool,
    /// Turns that the VM has used up.
    pub(super) exhausted: AtomicU64,
    /// Clients that broke a rule.
    pub(super) violations: AtomicU64,
    /// What the VM's clients use.
    pub(super) budgets: Arc<Budgets>,
}

/// What became of a VM's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// It wanted more than it was given.
    pub(super) exhausted: bool,
}

impl Turns {
    pub(super) fn new(budgets: Arc<Budgets>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(1),
            awaited: AtomicBool::new(false),
            credit: AtomicUsize::new(most),
            paused: AtomicBool::new(false),
            exhausted: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            budgets,
        })
    }

    /// Main thread: a turn is over in which the VM's requests took `spent`. True if the gate waits for the next one and
    /// must be woken.
    pub(super) fn next(&self, spent: Duration, target: Duration, most: usize) -> (Outcome, bool) {
        let awaited = self.awaited.swap(false, Ordering::SeqCst);
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit
            .store(adapted(credit, spent, target, most, awaited), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::SeqCst);
        if awaited {
            self.exhausted.fetch_add(1, Ordering::Relaxed);
        }
        (Outcome { exhausted: awaited }, awaited)
    }

    /// Main thread: stops serving the VM, or goes on. True if the gate must be woken.
    pub(super) fn pause(&self, paused: bool) -> bool {
        self.paused.store(paused, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
        !paused
    }

    /// Main thread: whether the gate waits.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::SeqCst)
    }
}

/// The next turn's credit.
fn adapted(credit: usize, spent: Duration, target: Duration, most: usize, exhausted: bool) -> usize {
    let (spent, target) = (spent.as_micros().max(1), target.as_micros().max(1));
    let credit = u128::try_from(credit).unwrap_or(0);
    let next = if spent > target {
        credit * target / spent
    } else if exhausted && spent * 2 < target {
        credit + credit / 4 + 64
    } else {
        credit
    };
    usize::try_from(next).unwrap_or(most).clamp(LEAST.min(most), most)
}

/// What is left of a turn, on the gate's side.
#[derive(Debug)]
pub(super) struct Allowance {
    turns: Arc<Turns>,
    turn: u64,
    left: usize,
}

impl Allowance {
    pub(super) fn new(turns: Arc<Turns>) -> Self {
        Self {
            turns,
            turn: 0,
            left: 0,
        }
    }

    /// Takes note of a new turn.
    pub(super) fn refresh(&mut self) {
        let turn = self.turns.count.load(Ordering::SeqCst);
        if turn != self.turn {
            self.turn = turn;
            self.left = if self.turns.paused.load(Ordering::SeqCst) {
                0
            } else {
                self.turns.credit.load(Ordering::Relaxed)
            };
        }
    }

    /// The turn that it is.
    pub(super) fn turn(&self) -> u64 {
        self.turn
    }

    /// Bytes that may still be sent.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// So many bytes were sent.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Asks to be woken at the next turn. False if it has begun already.
    pub(super) fn wait(&self) -> bool {
        self.turns.awaited.store(true, Ordering::SeqCst);
        self.turns.count.load(Ordering::SeqCst) == self.turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_micros(300);

    fn after(credit: usize, micros: u64, exhausted: bool) -> usize {
        adapted(credit, Duration::from_micros(micros), TARGET, 16_384, exhausted)
    }

    #[test]
    fn what_took_too_long_gets_less_and_what_was_cheap_more() {
        assert_eq!(after(16_384, 3000, true), 1638);
        assert_eq!(after(1638, 300, true), 1638);
        assert_eq!(after(1638, 100, true), 1638 + 409 + 64);
        assert_eq!(after(1638, 100, false), 1638, "it did not want more");
        assert_eq!(after(400, 1_000_000, true), LEAST);
        assert_eq!(after(16_384, 1, true), 16_384);
    }

    #[test]
    fn a_paused_vm_has_nothing_to_spend() {
        let turns = Turns::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        let mut allowance = Allowance::new(Arc::clone(&turns));
        allowance.refresh();
        assert_eq!(allowance.left(), 1000);
        allowance.spend(1500);
        assert!(allowance.wait());
        turns.pause(true);
        allowance.refresh();
        assert_eq!(allowance.left(), 0);
        assert!(turns.pause(false));
        allowance.refresh();
        assert_eq!(allowance.left(), 1000);
    }
}
