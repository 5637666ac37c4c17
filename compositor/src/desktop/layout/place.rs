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

    let mut best = (u64::MAX, i64::MAX, Point::from((area.loc.x, area.loc.y)));
    for &y in &ys {
        for &x in &xs {
            let spot = Rectangle::new(Point::from((x, y)), size);
            let covered = others
                .iter()
                .filter_map(|other| spot.intersection(**other))
                .map(surface)
                .sum();
            let distance = i64::from(x) + 2 * i64::from(y);
            if (covered, distance) < (best.0, best.1) {
                best = (covered, distance, spot.loc);
            }
        }
    }
    // Where everything is covered alike, a cascade keeps the labels of all windows readable.
    if best.0 > 0 && others.iter().any(|other| other.loc == best.2) {
        let step = i32::try_from(others.len() % 8).unwrap_or(0) * 32;
        let spot =
            Point::<i32, Logical>::from((best.2.x.saturating_add(step), best.2.y.saturating_add(step)));
        return Point::from((spot.x.clamp(area.loc.x, max_x), spot.y.clamp(area.loc.y, max_y)));
    }
    best.2
}

fn surface(rect: Rectangle<i32, Logical>) -> u64 {
    u64::try_from(rect.size.w).unwrap_or(0) * u64::try_from(rect.size.h).unwrap_or(0)
}
