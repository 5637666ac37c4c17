// SPDX-License-Identifier: MIT OR Apache-2.0
//! The quantum: how much a VM may send to the main thread, and when it may send again.
//!
//! The Wayland library reads one client until its socket is empty, so what a VM puts into its socket pairs in one turn of
//! the main loop is what the main loop has to work off before anybody else is served. The credit is in bytes, because the
//! gate can count bytes; how many bytes it is follows the *time* that they took last turn, because a commit costs a
//! thousand times what a `wl_region.add` does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heraldry_gate::Budgets;

/// The least credit: a few messages, so that every client gets somewhere.
const LEAST: usize = 256;

/// Bytes of a VM that its gate may drop in the time of a [`WHILE`]. Dropped bytes never reach the main thread, so they use up
/// no turn; but the relay that drops them keeps a processor busy, which others need.
const DROPPED: usize = 16 << 10;
const WHILE: Duration = Duration::from_millis(1);

/// Objects of clients that have left which are destroyed in the first turn of a teardown. How many there are in the next
/// follows the time too: a region is gone at once, but of pointers Smithay searches a list of all, for each.
const TEARDOWN: usize = 32;

/// The least and the most of such objects that are destroyed in a turn.
const GOODBYES_BETWEEN: (usize, usize) = (4, 256);

/// What main thread and relay of a VM share.
#[derive(Debug)]
pub(crate) struct Quantum {
    /// The number of the turn; a pause and its end count too.
    count: AtomicU64,
    /// The relay wants to be woken at the next turn.
    awaited: AtomicBool,
    /// The VM has used up its turn.
    used_up: AtomicBool,
    /// Clients have left, and what they had is still being destroyed.
    leaving: AtomicBool,
    /// Objects that may be destroyed in a turn.
    teardown: AtomicUsize,
    credit: AtomicUsize,
    paused: AtomicBool,
    /// Turns that the VM has used up.
    pub(crate) exhausted: AtomicU64,
    /// Clients that broke a rule.
    pub(crate) violations: AtomicU64,
    /// What the VM's clients use.
    pub(crate) budgets: Arc<Budgets>,
}

/// What became of a VM's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// It wanted more than it was given.
    pub exhausted: bool,
}

impl Quantum {
    pub(crate) fn new(budgets: Arc<Budgets>, most: usize) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(1),
            awaited: AtomicBool::new(false),
            used_up: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            teardown: AtomicUsize::new(TEARDOWN),
            credit: AtomicUsize::new(most),
            paused: AtomicBool::new(false),
            exhausted: AtomicU64::new(0),
            violations: AtomicU64::new(0),
            budgets,
        })
    }

    /// Main thread: a turn is over in which the VM's requests took `spent`. True if the relay waits for the next one and
    /// must be woken.
    pub(crate) fn next(&self, spent: Duration, target: Duration, most: usize) -> (Outcome, bool) {
        let exhausted = self.used_up.swap(false, Ordering::SeqCst);
        let credit = self.credit.load(Ordering::Relaxed);
        self.credit
            .store(adapted(credit, spent, target, most, exhausted), Ordering::Relaxed);
        self.pace_teardown(spent, target);
        if exhausted {
            self.exhausted.fetch_add(1, Ordering::Relaxed);
        }
        (Outcome { exhausted }, self.begin())
    }

    /// Main thread: a turn is over in which the VM was not served. What its clients left behind is taken apart all the
    /// same. True if the relay must be woken.
    pub(crate) fn next_unserved(&self, spent: Duration, target: Duration) -> bool {
        self.pace_teardown(spent, target);
        self.leaving.load(Ordering::SeqCst) && self.begin()
    }

    fn pace_teardown(&self, spent: Duration, target: Duration) {
        let next = if self.leaving.load(Ordering::SeqCst) {
            paced(self.teardown.load(Ordering::Relaxed), spent, target)
        } else {
            TEARDOWN
        };
        self.teardown.store(next, Ordering::Relaxed);
    }

    /// The next turn begins. True if the relay waits for it.
    fn begin(&self) -> bool {
        // In this order: a relay that asks meanwhile sees the new turn, or is seen here.
        self.count.fetch_add(1, Ordering::SeqCst);
        self.awaited.swap(false, Ordering::SeqCst)
    }

    /// Main thread: stops serving the VM, or goes on. True if the relay must be woken.
    pub(crate) fn pause(&self, paused: bool) -> bool {
        self.paused.store(paused, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
        !paused
    }

    /// Main thread: whether the VM wants more than its turn gave.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::SeqCst)
    }

    /// Relay: whether clients have left that are still being taken apart. To be said before anything is sent for them.
    pub(crate) fn set_leaving(&self, leaving: bool) {
        self.leaving.store(leaving, Ordering::SeqCst);
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

/// How many objects are destroyed in the next turn.
fn paced(teardown: usize, spent: Duration, target: Duration) -> usize {
    let (spent, target) = (spent.as_micros().max(1), target.as_micros().max(1));
    let next = if spent > target {
        let teardown = u128::try_from(teardown).unwrap_or(0);
        usize::try_from(teardown * target / spent).unwrap_or(0)
    } else if spent * 2 < target {
        teardown * 2
    } else {
        teardown
    };
    let (least, most) = GOODBYES_BETWEEN;
    next.clamp(least, most)
}

/// What is left of a turn, on the relay's side.
#[derive(Debug)]
pub(crate) struct Allowance {
    quantum: Arc<Quantum>,
    turn: u64,
    left: usize,
    teardown: usize,
    /// Bytes that may still be dropped before `until`, when there are [`DROPPED`] again.
    droppable: usize,
    until: Instant,
}

impl Allowance {
    pub(crate) fn new(quantum: Arc<Quantum>) -> Self {
        Self {
            quantum,
            turn: 0,
            left: 0,
            teardown: 0,
            droppable: DROPPED,
            until: Instant::now(),
        }
    }

    /// Takes note of a new turn, and of the time.
    pub(crate) fn refresh(&mut self) {
        if self.droppable < DROPPED {
            self.refresh_at(Instant::now());
        }
        let turn = self.quantum.count.load(Ordering::SeqCst);
        if turn != self.turn {
            self.turn = turn;
            self.teardown = self.quantum.teardown.load(Ordering::Relaxed);
            self.left = if self.quantum.paused.load(Ordering::SeqCst) {
                0
            } else {
                self.quantum.credit.load(Ordering::Relaxed)
            };
        }
    }

    /// Objects of clients that have left which may still be destroyed.
    pub(crate) fn teardown(&self) -> usize {
        self.teardown
    }

    /// So many were destroyed.
    pub(crate) fn take_teardown(&mut self, objects: usize) {
        self.teardown = self.teardown.saturating_sub(objects);
    }

    fn refresh_at(&mut self, now: Instant) {
        if now >= self.until {
            self.droppable = DROPPED;
        }
    }

    /// Bytes that may still be taken from clients.
    pub(crate) fn left(&self) -> usize {
        if self.droppable == 0 { 0 } else { self.left }
    }

    /// So many bytes were dropped.
    pub(crate) fn drop_bytes(&mut self, bytes: usize) {
        if self.droppable == DROPPED && bytes > 0 {
            self.until = Instant::now() + WHILE;
        }
        self.droppable = self.droppable.saturating_sub(bytes);
    }

    /// How long the relay rests, if it has dropped all that it may for now.
    pub(crate) fn rest(&self) -> Option<Duration> {
        (self.droppable == 0).then(|| self.until.saturating_duration_since(Instant::now()))
    }

    /// So many bytes were sent.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    /// Asks to be woken at the next turn. False if it has begun already.
    pub(crate) fn wait(&self) -> bool {
        if self.left() == 0 {
            self.quantum.used_up.store(true, Ordering::SeqCst);
        }
        self.quantum.awaited.store(true, Ordering::SeqCst);
        self.quantum.count.load(Ordering::SeqCst) == self.turn
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
    fn a_teardown_that_takes_long_takes_small_steps() {
        let after = |teardown, micros| paced(teardown, Duration::from_micros(micros), TARGET);
        assert_eq!(after(32, 3000), 4);
        assert_eq!(after(32, 600), 16);
        assert_eq!(after(32, 200), 32);
        assert_eq!([after(32, 10), after(200, 10)], [64, 256]);
    }

    #[test]
    fn who_sends_what_is_dropped_rests_now_and_then() {
        let quantum = Quantum::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        let mut allowance = Allowance::new(Arc::clone(&quantum));
        allowance.refresh();
        allowance.drop_bytes(0);
        assert_eq!((allowance.left(), allowance.rest()), (1000, None));
        allowance.drop_bytes(DROPPED);
        assert_eq!(allowance.left(), 0);
        assert!(allowance.rest().is_some_and(|rest| rest <= WHILE));
        assert!(allowance.wait() && quantum.is_used_up(), "and is marked for it");
        let end = allowance.until;
        allowance.refresh_at(end - Duration::from_micros(1));
        assert_eq!(allowance.left(), 0);
        allowance.refresh_at(end);
        assert_eq!((allowance.left(), allowance.rest()), (1000, None));
    }

    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: usize = 50_000;
        let quantum = Quantum::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        // Both sides meet before and after each round, as close as two threads can.
        let arrived = AtomicUsize::new(0);
        let meet = |times: usize| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * times {
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            let main = scope.spawn(|| {
                let mut woken = Vec::new();
                for round in 0..ROUNDS {
                    meet(2 * round + 1);
                    woken.push(quantum.next(Duration::ZERO, TARGET, 1000).1);
                    meet(2 * round + 2);
                }
                woken
            });
            let mut allowance = Allowance::new(Arc::clone(&quantum));
            let mut slept = Vec::new();
            for round in 0..ROUNDS {
                allowance.refresh();
                allowance.spend(1000);
                meet(2 * round + 1);
                for _ in 0..round % 16 {
                    std::hint::spin_loop();
                }
                slept.push(allowance.wait());
                meet(2 * round + 2);
            }
            let woken = main.join().unwrap();
            let lost = slept
                .iter()
                .zip(&woken)
                .filter(|(slept, woken)| **slept && !**woken);
            assert_eq!(lost.count(), 0);
        });
    }

    #[test]
    fn what_clients_left_behind_goes_on_without_credit() {
        let quantum = Quantum::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        let mut allowance = Allowance::new(Arc::clone(&quantum));
        quantum.pause(true);
        allowance.refresh();
        allowance.take_teardown(TEARDOWN);
        assert!(!quantum.next_unserved(TARGET, TARGET), "nobody has left");
        quantum.set_leaving(true);
        assert!(allowance.wait());
        assert!(quantum.next_unserved(TARGET, TARGET));
        allowance.refresh();
        assert_eq!((allowance.left(), allowance.teardown()), (0, TEARDOWN));
    }

    #[test]
    fn nobody_spends_more_in_a_turn_than_the_most() {
        let quantum = Quantum::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        let mut allowance = Allowance::new(Arc::clone(&quantum));
        // However cheap it was, and however much it wants; less as soon as the limit is lower.
        for most in [1000, 1000, 300, 1000] {
            let _woken = quantum.next(Duration::ZERO, TARGET, most);
            allowance.refresh();
            assert!((1..=most).contains(&allowance.left()), "{most}");
            // It sends in pieces, and the rest of the last one waits for the next turn.
            while allowance.left() > 0 {
                allowance.spend(250);
            }
            allowance.refresh();
            assert_eq!(allowance.left(), 0, "the turn goes on");
            assert!(allowance.wait() && quantum.is_used_up());
        }
    }

    #[test]
    fn a_paused_vm_has_nothing_to_spend() {
        let quantum = Quantum::new(Budgets::new(&heraldry_gate::Limits::default()), 1000);
        let mut allowance = Allowance::new(Arc::clone(&quantum));
        allowance.refresh();
        assert_eq!(allowance.left(), 1000);
        allowance.spend(1500);
        assert!(allowance.wait());
        quantum.pause(true);
        allowance.refresh();
        assert_eq!(allowance.left(), 0);
        assert!(quantum.pause(false));
        allowance.refresh();
        assert_eq!(allowance.left(), 1000);
    }
}
