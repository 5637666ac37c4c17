// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a VM may spend on the pictures of its windows in a frame: weighted pixels, time and memory.
//!
//! Pixels are known before they are composed, time is measured while they are. What one step took beyond its VM's share,
//! the VM pays back in the next frames; what a VM could not have because others were first, it has then. So the share of
//! each is the same in the end.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::utils::{Physical, Size};

use crate::system::clock::processor_time;

/// Weighted pixels that are composed in a frame for all VMs together. A graphics processor tells nobody what they take.
const PIXELS: u64 = 16_000_000;

/// Weighted pixels of contents that are blended where the screen is, in a frame for all VMs together, each of which has the same
/// share: a screen of 1280x800 four times. Plain copies count for nothing: each pixel of the screen is copied to once at most.
const BLENDED: u64 = PIXELS;

/// What composing and writing titles may take in a frame, of this thread's processor time.
pub(super) const TIME: Duration = Duration::from_millis(5);

/// The most that a VM pays back, so that one that was slow once is not still for long; and the most that it saves.
const CARRIED: std::ops::RangeInclusive<i64> = -100_000_000..=20_000_000;

/// What a pixel of a new picture costs: its memory is fetched, filled with the plate, and given back.
const FRESH: u64 = 3;

/// Bytes of a picture.
pub(super) fn bytes(size: Size<i32, Physical>) -> u64 {
    let side = |value: i32| u64::try_from(value).unwrap_or(0);
    side(size.w).saturating_mul(side(size.h)).saturating_mul(4)
}

/// What is left of the time of the last frame to those that still wanted it, and less than nothing to those that took more
/// than they had; nanoseconds.
pub(super) type Balances = HashMap<VmName, i64>;

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// What all VMs together may still spend in a frame of one screen.
#[derive(Debug, Clone)]
pub(super) struct SharedBudget {
    pixels: Rc<Cell<u64>>,
    /// Of each VM.
    blended: u64,
    time: Rc<Cell<Duration>>,
    frame: u64,
}

impl SharedBudget {
    /// For the frame of this number, on one of `screens`, whose frames may all be due in the same turn and share `time`. So many
    /// VMs have windows.
    pub(super) fn new(frame: u64, screens: usize, showing: usize, time: Duration) -> Self {
        let showing = u64::try_from(showing).unwrap_or(u64::MAX).max(1);
        let screens = u32::try_from(screens).unwrap_or(u32::MAX).max(1);
        Self {
            pixels: Rc::new(Cell::new(PIXELS / u64::from(screens))),
            blended: BLENDED / u64::from(screens) / showing,
            time: Rc::new(Cell::new(time / screens)),
            frame,
        }
    }
}

/// What a VM may still spend in this frame.
#[derive(Debug, Clone)]
pub(super) struct ComposeBudget {
    /// Weighted pixels.
    pixels: u64,
    /// Of contents that are drawn without a picture.
    blended: u64,
    /// Nanoseconds.
    time: i64,
    all: SharedBudget,
    /// Bytes of pictures.
    bytes: u64,
    /// Something was left undone.
    exhausted: bool,
    /// Something was composed.
    used: bool,
    /// One step may be done though there is no time left.
    granted: bool,
}

impl ComposeBudget {
    /// `megapixels` weighted pixels to compose, if there are so many for each of `composing` VMs; `mebibytes` of pictures to
    /// keep. Who composes is known from the last frames only, so what all spend together comes out of one shared budget.
    pub(super) fn new(
        megapixels: u64,
        mebibytes: u64,
        composing: u64,
        carried: i64,
        all: &SharedBudget,
    ) -> Self {
        let sharing = u32::try_from(composing).unwrap_or(u32::MAX).max(1);
        let time = all.time.get() / sharing;
        let pixels = all.pixels.get() / u64::from(sharing);
        Self {
            pixels: megapixels.saturating_mul(1_000_000).min(pixels),
            blended: all.blended,
            time: nanos(time).saturating_add(carried),
            all: all.clone(),
            bytes: mebibytes.saturating_mul(1 << 20),
            exhausted: false,
            used: false,
            granted: false,
        }
    }

    /// The number of the frame.
    pub(super) fn frame(&self) -> u64 {
        self.all.frame
    }

    /// Whether the VM composed anything.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether the VM wanted more than it may.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// What the VM takes along into the next frame.
    pub(super) fn carried(&self) -> i64 {
        let wanted = self.exhausted || self.time < 0;
        let carried = if wanted { self.time } else { 0 };
        carried.clamp(*CARRIED.start(), *CARRIED.end())
    }

    /// Whether the VM may go on.
    pub(super) fn has_time(&self) -> bool {
        self.time > 0 && !self.all.time.get().is_zero()
    }

    /// Whether there is memory for one more picture. If not, there is none in the next frame either, unless something
    /// changes: so the VM waits for none.
    pub(super) fn has_memory(&self, size: Size<i32, Physical>) -> bool {
        bytes(size) <= self.bytes
    }

    /// Whether there is memory for one more picture, and takes what it costs to make one.
    pub(super) fn room_for(&mut self, size: Size<i32, Physical>) -> bool {
        self.has_memory(size) && self.pay((bytes(size) / 4).saturating_mul(FRESH))
    }

    /// A picture is kept.
    pub(super) fn keep(&mut self, size: Size<i32, Physical>) {
        self.bytes = self.bytes.saturating_sub(bytes(size));
    }

    /// Whether the VM has no time left, and takes note that it would have needed some.
    pub(super) fn must_wait(&mut self) -> bool {
        let waits = !self.has_time();
        self.exhausted |= waits;
        waits
    }

    /// What leads to a step was begun `in_time`, so one step follows however long that took, or nothing would ever come of it.
    pub(super) fn grant(&mut self, in_time: bool) {
        self.granted = in_time;
    }

    /// Whether a content of this cost may be drawn where the screen is, without a picture in between. The windows in front are
    /// asked first, in each frame in the same order, and what those of other VMs cost is of no account: else one VM could have
    /// all others composed, and pay for it, in every second frame.
    pub(super) fn draws_at_once(&mut self, cost: u64) -> bool {
        let left = self.blended.checked_sub(cost);
        left.inspect(|left| self.blended = *left).is_some()
    }

    /// Does something on the VM's account.
    pub(super) fn spend<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = processor_time();
        let done = work();
        self.took(processor_time().saturating_sub(start));
        done
    }

    /// Something took so much time.
    fn took(&mut self, time: Duration) {
        self.time = self.time.saturating_sub(nanos(time));
        self.all.time.set(self.all.time.get().saturating_sub(time));
    }

    /// Takes so many weighted pixels. The last step may take more than there are, so that each frame gets somewhere.
    pub(super) fn pay(&mut self, cost: u64) -> bool {
        self.used = true;
        let left = self.all.pixels.get();
        let granted = std::mem::take(&mut self.granted);
        if self.pixels == 0 || left == 0 || !(self.has_time() || granted) {
            self.exhausted = true;
            return false;
        }
        self.pixels = self.pixels.saturating_sub(cost);
        self.all.pixels.set(left.saturating_sub(cost));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(screens: usize) -> SharedBudget {
        SharedBudget::new(0, screens, 1, Duration::MAX)
    }

    #[test]
    fn what_is_blended_at_once_is_bounded_for_all_vms_together_and_each_has_its_share() {
        let shared = SharedBudget::new(0, 2, 2, Duration::MAX);
        let mut budgets = [(); 2].map(|()| ComposeBudget::new(1, 1, 1, 0, &shared));
        for budget in &mut budgets {
            assert!(!budget.draws_at_once(4_000_001) && budget.draws_at_once(3_000_000));
            assert!(!budget.draws_at_once(1_000_001) && budget.draws_at_once(1_000_000));
            assert!(!budget.draws_at_once(1) && budget.draws_at_once(0));
        }
    }

    #[test]
    fn a_budget_gives_what_is_in_it_and_the_last_one_more() {
        let mut budget = ComposeBudget::new(1, 1, 1, 0, &still(1));
        assert!(budget.pay(999_999) && budget.pay(5_000_000) && !budget.is_exhausted());
        assert!(!budget.pay(1) && budget.is_exhausted());
        let mut budget = ComposeBudget::new(10, 1, 1, 0, &still(1));
        assert!(budget.room_for((512, 512).into()));
        budget.keep((512, 512).into());
        assert!(!budget.room_for((1, 1).into()) && !budget.is_exhausted());
        let mut shared = ComposeBudget::new(100, 1, 48, 0, &still(1));
        assert!(
            shared.pay(500_000) && !shared.pay(1),
            "48 VMs share what there is"
        );
    }

    #[test]
    fn a_new_picture_costs_what_its_memory_does() {
        let mut budget = ComposeBudget::new(2, 1000, 1, 0, &still(1));
        let made = (0..10).filter(|_| budget.room_for((500, 500).into())).count();
        assert_eq!(made, 3, "a quarter of a megapixel three times over");
    }

    #[test]
    fn vms_that_did_not_compose_before_spend_no_more_than_there_is() {
        for screens in [1, 2] {
            let shared = still(screens);
            let mut budgets = vec![ComposeBudget::new(20, 1, 0, 0, &shared); 8];
            let paid = budgets
                .iter_mut()
                .map(|budget| (0..30).filter(|_| budget.pay(1_000_000)).count());
            assert_eq!(paid.sum::<usize>(), 16 / screens);
        }
    }

    /// Each step takes `step`; what eight VMs have composed after so many frames.
    fn frames(count: usize, step: Duration) -> Vec<u32> {
        let mut balances = [0; 8];
        let mut composed = vec![0; 8];
        for _ in 0..count {
            let shared = SharedBudget::new(0, 1, 1, TIME);
            let mut budgets = balances.map(|balance| ComposeBudget::new(20, 1, 8, balance, &shared));
            for (budget, composed) in budgets.iter_mut().zip(&mut composed) {
                while budget.pay(1) {
                    budget.took(step);
                    *composed += 1;
                }
            }
            balances = budgets.map(|budget| budget.carried());
        }
        composed
    }

    #[test]
    fn whoever_comes_first_gets_no_more_than_the_others() {
        let composed = frames(200, TIME / 2);
        let (least, most) = (composed.iter().min().unwrap(), composed.iter().max().unwrap());
        assert!(most - least <= 2, "{composed:?}");
        let all: u32 = composed.iter().sum();
        assert!(
            (380..=402).contains(&all),
            "two steps fit in a frame: {composed:?}"
        );
    }

    #[test]
    fn a_step_that_took_long_is_paid_back() {
        let shared = SharedBudget::new(0, 1, 1, TIME);
        let mut budget = ComposeBudget::new(20, 1, 1, 0, &shared);
        assert!(budget.pay(1));
        budget.took(3 * TIME);
        assert!(!budget.pay(1) && budget.is_exhausted() && !budget.has_time());
        assert_eq!(budget.carried(), -2 * nanos(TIME));
        let later = ComposeBudget::new(20, 1, 1, budget.carried(), &SharedBudget::new(1, 1, 1, TIME));
        assert!(!later.has_time());
        assert_eq!(later.carried(), -nanos(TIME), "also by who does nothing");
        let mut free = ComposeBudget::new(20, 1, 1, later.carried() / 2, &SharedBudget::new(2, 1, 1, TIME));
        assert!(free.pay(1));
        assert_eq!(free.carried(), 0, "who wanted nothing more saves nothing");
        free.took(1000 * TIME);
        assert_eq!(free.carried(), *CARRIED.start());
    }
}
