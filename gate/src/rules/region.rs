// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions: the library keeps every rectangle, and copies the whole list into each surface that uses the region.
//!
//! A region with too many rectangles becomes a box around them, which the client's own windows alone can feel. The box
//! grows by doubling, so that a client which adds rectangles for ever adds a few dozen to the list.

use wayland_server::protocol::wl_region;

use crate::budget::Budget;
use crate::rules::{Action, Context, Patches, Request, State, sizes};

/// One region.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// Rectangles in the library's list.
    pub(crate) passed: u64,
    /// Rectangles that the account was charged for.
    charged: u64,
    /// Around everything that was added.
    bounds: Option<Bounds>,
    /// What was passed on instead of single rectangles.
    boxed: Option<Bounds>,
}

/// Left, top, right, bottom.
type Bounds = [i64; 4];

/// Coordinates of regions end here; see [`sizes::area`].
const END: i64 = 1 << 29;

fn around([l, t, r, b]: Bounds, other: Bounds) -> Bounds {
    [l.min(other[0]), t.min(other[1]), r.max(other[2]), b.max(other[3])]
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
                let room =
                    region.boxed.is_none() && region.passed < u64::from(context.limits.region_rectangles);
                if action == Action::Drop || !room || self.account.take(Budget::Rectangles, 1).is_err() {
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
        let value = |index| i64::from(request.args.int(index));
        let near = |value: i64| value.clamp(-END, END);
        // The last place has room for one: what begins there or beyond must not become a box of no size.
        let place = |value: i64| near(value).min(END.saturating_sub(1));
        let (x, y) = (place(value(0)), place(value(1)));
        let added = [
            x,
            y,
            near(x.saturating_add(value(2))),
            near(y.saturating_add(value(3))),
        ];
        let bounds = region.bounds.map_or(added, |bounds| around(bounds, added));
        region.bounds = Some(bounds);
        let room = region.boxed.is_none() && region.passed < u64::from(context.limits.region_rectangles);
        if room && self.account.take(Budget::Rectangles, 1).is_ok() {
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
        region.passed = region.passed.saturating_add(1);
        let word = |value: i64| i32::try_from(value).unwrap_or(0);
        Patches::default()
            .with(0, word(boxed[0]))
            .with(1, word(boxed[1]))
            .with(2, word(boxed[2].saturating_sub(boxed[0])))
            .with(3, word(boxed[3].saturating_sub(boxed[1])))
            .action()
    }

    /// A surface takes a copy of a region: opaque (0) or input (1). Without room for the copy the surface gets none: it
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
        // The old copy stays until the commit, so the two may both be there; the list of one is counted.
        self.account.give(Budget::Rectangles, std::mem::take(copies));
        if self.account.take(Budget::Rectangles, wanted).is_ok() {
            *copies = wanted;
            Action::Pass
        } else {
            Patches::default().with(0, 0).action()
        }
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
