// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a new window goes: the spot that covers the least of the windows already there.

use smithay::utils::{Logical, Point, Rectangle, Size};

/// Gap that is left between windows where there is room, in logical pixels.
const GAP: i32 = 16;
/// More windows than this are not looked at, so that placing stays cheap.
const MAX_CONSIDERED: usize = 64;

/// Top-left corner of an outer rectangle of `size` inside `area` with the least overlap with `others`; of equal
/// spots the one nearest to the top left.
pub(super) fn least_covering(
    area: Rectangle<i32, Logical>,
    others: &[Rectangle<i32, Logical>],
    size: Size<i32, Logical>,
) -> Point<i32, Logical> {
    let others: Vec<_> = others.iter().rev().take(MAX_CONSIDERED).collect();
    let right = |rect: &Rectangle<i32, Logical>| rect.loc.x.saturating_add(rect.size.w);
    let bottom = |rect: &Rectangle<i32, Logical>| rect.loc.y.saturating_add(rect.size.h);
    let (max_x, max_y) = (
        right(&area).saturating_sub(size.w).max(area.loc.x),
        bottom(&area).saturating_sub(size.h).max(area.loc.y),
    );

    let mut xs = vec![area.loc.x.saturating_add(GAP), max_x.saturating_sub(GAP)];
    let mut ys = vec![area.loc.y.saturating_add(GAP), max_y.saturating_sub(GAP)];
    for other in &others {
        xs.extend([
            right(other).saturating_add(GAP),
            other.loc.x,
            other.loc.x.saturating_sub(size.w + GAP),
        ]);
        ys.extend([
            bottom(other).saturating_add(GAP),
            other.loc.y,
            other.loc.y.saturating_sub(size.h + GAP),
        ]);
    }
    // Near an edge of the area the gap is kept too, where the window leaves room for it.
    let inset = |min: i32, max: i32| {
        if max.saturating_sub(min) >= 2 * GAP {
            (min + GAP, max - GAP)
        } else {
            (min, max)
        }
    };
    for (list, (min, max)) in [
        (&mut xs, inset(area.loc.x, max_x)),
        (&mut ys, inset(area.loc.y, max_y)),
    ] {
        for value in list.iter_mut() {
            *value = (*value).clamp(min, max);
        }
        list.sort_unstable();
        list.dedup();
    }

    let best = least(&corners(&others, size), &xs, &ys, size.h).unwrap_or((0, area.loc));
    // Where everything is covered alike, a cascade keeps the labels of all windows readable.
    if best.0 > 0 && others.iter().any(|other| other.loc == best.1) {
        let step = i32::try_from(others.len() % 8).unwrap_or(0) * 32;
        let spot =
            Point::<i32, Logical>::from((best.1.x.saturating_add(step), best.1.y.saturating_add(step)));
        return Point::from((spot.x.clamp(area.loc.x, max_x), spot.y.clamp(area.loc.y, max_y)));
    }
    best.1
}

/// Where what a spot covers of another window begins or ceases to grow or to shrink, as the spot moves to the right.
#[derive(Debug, Clone, Copy)]
struct Corner {
    x: i32,
    /// 1: from here on more is covered with each pixel, or no less any more. -1: the other way round.
    sign: i64,
    top: i32,
    bottom: i32,
}

/// All corners, from left to right.
fn corners(others: &[&Rectangle<i32, Logical>], size: Size<i32, Logical>) -> Vec<Corner> {
    let mut corners = Vec::with_capacity(4 * others.len());
    for other in others {
        let (left, right) = (other.loc.x, other.loc.x.saturating_add(other.size.w));
        let (touches, inside) = (left.saturating_sub(size.w), right.saturating_sub(size.w));
        for (x, sign) in [
            (touches, 1),
            (left.min(inside), -1),
            (left.max(inside), -1),
            (right, 1),
        ] {
            corners.push(Corner {
                x,
                sign,
                top: other.loc.y,
                bottom: other.loc.y.saturating_add(other.size.h),
            });
        }
    }
    corners.sort_unstable_by_key(|corner| corner.x);
    corners
}

/// The spot that covers least, and how much. A VM may place many windows in a turn among many: so no spot is compared with
/// every window. In a row what is covered grows and shrinks with the place, and changes how fast at the corners only.
fn least(corners: &[Corner], xs: &[i32], ys: &[i32], height: i32) -> Option<(i128, Point<i32, Logical>)> {
    let mut best: Option<(i128, i64, Point<i32, Logical>)> = None;
    let mut heights = Vec::with_capacity(corners.len());
    for &y in ys {
        let below = y.saturating_add(height);
        heights.clear();
        heights.extend(corners.iter().map(|corner| {
            let high = below.min(corner.bottom).saturating_sub(y.max(corner.top));
            corner.sign * i64::from(high.max(0))
        }));
        // What is covered at x is `slope` times x, less `offset`.
        let (mut slope, mut offset) = (0_i64, 0_i128);
        let mut passed = corners.iter().zip(&heights).peekable();
        for &x in xs {
            while let Some((corner, high)) = passed.next_if(|(corner, _)| corner.x <= x) {
                slope += high;
                offset += i128::from(*high) * i128::from(corner.x);
            }
            let covered = i128::from(slope) * i128::from(x) - offset;
            let distance = i64::from(x) + 2 * i64::from(y);
            if best.is_none_or(|best| (covered, distance) < (best.0, best.1)) {
                best = Some((covered, distance, (x, y).into()));
            }
        }
    }
    best.map(|(covered, _, spot)| (covered, spot))
}
