// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions: Smithay keeps every rectangle, and copies the whole list into each surface that uses the region, and again
//! at each commit. For a picture it cuts rectangles that overlap into pieces: 200 rows and 200 columns become 40,000.
//!
//! So rectangles are counted, and so are those that overlap others. A region with too many becomes a box around them, which
//! the client's own windows alone can feel. The box grows by doubling, so that a client which adds rectangles for ever adds
//! a few dozen to the list; what lies within is taken out first, so that nothing cuts the box.

use wayland_server::protocol::wl_region;

use crate::budget::{Account, Budget};
use crate::rules::{Action, Context, Patches, Request, State, sizes};
use crate::wire::Writer;

/// One region.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// Rectangles in Smithay's list.
    pub(crate) passed: u64,
    /// Rectangles that the account was charged for.
    charged: u64,
    /// Around everything that was added.
    bounds: Option<Bounds>,
    /// What was passed on instead of single rectangles.
    boxed: Option<Bounds>,
    /// What was passed on, and whether it overlaps something else of it.
    pieces: Vec<(Bounds, bool)>,
    /// How many of these overlap something.
    overlapping: u32,
}

/// Left, top, right, bottom.
type Bounds = [i64; 4];

/// Rectangles of a region that may overlap others of it. With that many, at most some hundred pieces are cut.
const MOST_OVERLAPPING: u32 = 16;

/// Coordinates of regions end here; see [`sizes::area`].
const END: i64 = 1 << 29;

fn around([l, t, r, b]: Bounds, other: Bounds) -> Bounds {
    [l.min(other[0]), t.min(other[1]), r.max(other[2]), b.max(other[3])]
}

fn overlaps(a: Bounds, b: Bounds) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Where Smithay puts a rectangle that begins left of a surface or above it: moved, not cut.
fn moved([l, t, r, b]: Bounds) -> Bounds {
    let (x, y) = (l.max(0), t.max(0));
    let (width, height) = (r.saturating_sub(l), b.saturating_sub(t));
    [x, y, x.saturating_add(width), y.saturating_add(height)]
}

impl Region {
    /// Notes a rectangle that is to be passed on, unless it is one too many.
    fn fits(&mut self, rectangle: Bounds, most: u32) -> bool {
        if self.boxed.is_some() || self.passed >= u64::from(most) {
            return false;
        }
        let rectangle = moved(rectangle);
        let meets: Vec<usize> = self
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, (other, _))| overlaps(*other, rectangle))
            .map(|(index, _)| index)
            .collect();
        let known = |index: &&usize| self.pieces.get(**index).is_some_and(|(_, overlaps)| *overlaps);
        let new = meets.len().saturating_sub(meets.iter().filter(known).count());
        let new = new.saturating_add(usize::from(!meets.is_empty()));
        let overlapping = self
            .overlapping
            .saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        if overlapping > MOST_OVERLAPPING {
            return false;
        }
        self.overlapping = overlapping;
        for index in &meets {
            if let Some((_, overlaps)) = self.pieces.get_mut(*index) {
                *overlaps = true;
            }
        }
        self.pieces.push((rectangle, !meets.is_empty()));
        true
    }
}

/// A rectangle of a request, within the coordinates of regions.
fn rectangle(request: &Request<'_>) -> Bounds {
    let value = |index| i64::from(request.args.int(index));
    let near = |value: i64| value.clamp(-END, END);
    // The last place has room for one: what begins there or beyond must not become a box of no size.
    let place = |value: i64| near(value).min(END.saturating_sub(1));
    let (x, y) = (place(value(0)), place(value(1)));
    [
        x,
        y,
        near(x.saturating_add(value(2))),
        near(y.saturating_add(value(3))),
    ]
}

/// The messages that put a box in the place of all that it covers.
fn messages(region: u32, boxed: Bounds) -> Vec<u8> {
    let word = |value: i64| i32::try_from(value).unwrap_or(0);
    let message = |opcode| {
        Writer::new(region, opcode)
            .int(word(boxed[0]))
            .int(word(boxed[1]))
            .int(word(boxed[2].saturating_sub(boxed[0])))
            .int(word(boxed[3].saturating_sub(boxed[1])))
            .finish()
    };
    let mut all = message(wl_region::REQ_SUBTRACT_OPCODE);
    all.extend(message(wl_region::REQ_ADD_OPCODE));
    all
}

/// `inner` with every side that exceeds `before` moved out by the whole extent at least.
fn doubled(inner: Bounds, before: Bounds) -> Bounds {
    let span = |from: i64, to: i64| to.saturating_sub(from).max(64);
    let (width, height) = (span(inner[0], inner[2]), span(inner[1], inner[3]));
    let low = |new: i64, old: i64, by: i64| {
        if new < old {
            new.saturating_sub(by).max(-END)
        } else {
            old
        }
    };
    let high = |new: i64, old: i64, by: i64| {
        if new > old {
            new.saturating_add(by).min(END)
        } else {
            old
        }
    };
    [
        low(inner[0], before[0], width),
        low(inner[1], before[1], height),
        high(inner[2], before[2], width),
        high(inner[3], before[3], height),
    ]
}

impl State {
    pub(super) fn region(&mut self, request: &Request<'_>, context: &Context<'_>) -> Action {
        match request.opcode {
            wl_region::REQ_DESTROY_OPCODE => {
                if let Some(region) = self.regions.remove(&request.id) {
                    self.account.give(Budget::Rectangles, region.charged);
                }
                Action::Pass
            }
            wl_region::REQ_ADD_OPCODE => self.add(request, context),
            wl_region::REQ_SUBTRACT_OPCODE => {
                let action = sizes::area(request);
                let Some(region) = self.regions.get_mut(&request.id) else {
                    return action;
                };
                let most = context.limits.region_rectangles;
                if action == Action::Drop
                    || !region.fits(rectangle(request), most)
                    || self.account.take(Budget::Rectangles, 1).is_err()
                {
                    return Action::Drop;
                }
                region.charged = region.charged.saturating_add(1);
                region.passed = region.passed.saturating_add(1);
                action
            }
            _ => Action::Pass,
        }
    }

    fn add(&mut self, request: &Request<'_>, context: &Context<'_>) -> Action {
        let action = sizes::area(request);
        let Some(region) = self.regions.get_mut(&request.id) else {
            return action;
        };
        if action == Action::Drop {
            return action;
        }
        let added = rectangle(request);
        let bounds = region.bounds.map_or(added, |bounds| around(bounds, added));
        region.bounds = Some(bounds);
        let most = context.limits.region_rectangles;
        if region.fits(added, most) && self.account.take(Budget::Rectangles, 1).is_ok() {
            region.charged = region.charged.saturating_add(1);
            region.passed = region.passed.saturating_add(1);
            return action;
        }
        let boxed = match region.boxed {
            Some(boxed) if around(boxed, added) == boxed => return Action::Drop,
            Some(boxed) => doubled(around(boxed, added), boxed),
            None => bounds,
        };
        region.boxed = Some(boxed);
        region.pieces = Vec::new();
        region.passed = region.passed.saturating_add(2);
        Action::Instead(messages(request.id, boxed))
    }

    /// A surface takes a copy of a region: opaque (0) or input (1). Without room for the copies the surface gets none: it
    /// is opaque nowhere, and takes input everywhere.
    pub(super) fn copy_region(&mut self, request: &Request<'_>, which: usize) -> Action {
        let wanted = self
            .regions
            .get(&request.args.uint(0))
            .map_or(0, |region| region.passed);
        let Some(copies) = self
            .surfaces
            .get_mut(request.id)
            .and_then(|surface| surface.region_copies.get_mut(which))
        else {
            return Action::Pass;
        };
        if copies.set(wanted, &mut self.account) {
            Action::Pass
        } else {
            Patches::default().with(0, 0).action()
        }
    }
}

/// The copies of one region that Smithay keeps for a surface: of what was set, of what each commit that waits for the
/// parent's has of it, and of what is in force.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    set: u64,
    waiting: Vec<u64>,
    in_force: u64,
    charged: u64,
}

impl Copies {
    /// What is kept, with room for the commit that puts in force what is set: that cannot be refused.
    fn kept(&self) -> u64 {
        let waiting = self
            .waiting
            .iter()
            .fold(0, |sum: u64, copy| sum.saturating_add(*copy));
        let in_force = self
            .waiting
            .iter()
            .fold(self.in_force, |most, copy| most.max(*copy));
        self.set
            .saturating_add(waiting)
            .saturating_add(in_force.max(self.set))
    }

    /// Pays for more, or gets back what is too much; false if there is not enough to pay with.
    fn settle(&mut self, account: &mut Account) -> bool {
        let kept = self.kept();
        let more = kept.saturating_sub(self.charged);
        if more > 0 && account.take(Budget::Rectangles, more).is_err() {
            return false;
        }
        account.give(Budget::Rectangles, self.charged.saturating_sub(kept));
        self.charged = kept;
        true
    }

    /// A region of so many rectangles is set; without room for it none is.
    fn set(&mut self, rectangles: u64, account: &mut Account) -> bool {
        self.set = rectangles;
        let room = self.settle(account);
        if !room {
            self.set = 0;
            // Nothing is more than was there before.
            let _less = self.settle(account);
        }
        room
    }

    /// A commit that waits takes copies of both along; false if there is no room for them.
    pub(crate) fn wait_both(one: &mut Self, other: &mut Self, account: &mut Account) -> bool {
        if !one.wait(account) {
            return false;
        }
        let room = other.wait(account);
        if !room {
            one.waiting.pop();
            let _less = one.settle(account);
        }
        room
    }

    fn wait(&mut self, account: &mut Account) -> bool {
        self.waiting.push(self.set);
        let room = self.settle(account);
        if !room {
            self.waiting.pop();
        }
        room
    }

    /// Commits count: those that waited, or `own`, of what is set.
    pub(crate) fn commit(&mut self, own: bool, account: &mut Account) {
        let last = self.waiting.last().copied();
        self.waiting.clear();
        self.in_force = if own {
            self.set
        } else {
            last.unwrap_or(self.in_force)
        };
        let _less = self.settle(account);
    }

    /// The surface is destroyed.
    pub(crate) fn forget(self, account: &mut Account) {
        account.give(Budget::Rectangles, self.charged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_that_is_pushed_outwards_grows_by_doubling() {
        let mut boxed = [0, 0, 1, 1];
        let mut grown = 0;
        for step in 1..100_000_i64 {
            let added = [step * 3, step, step * 3 + 1, step + 1];
            if around(boxed, added) != boxed {
                boxed = doubled(around(boxed, added), boxed);
                grown += 1;
            }
            assert_eq!(around(boxed, added), boxed, "what is added is inside");
        }
        assert!(grown < 40, "{grown} rectangles");
        let all = doubled([-END, -END, END, END], boxed);
        assert_eq!(all, [-END, -END, END, END]);
    }
}
