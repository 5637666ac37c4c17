// SPDX-License-Identifier: MIT OR Apache-2.0
//! Edges of a window that a hand drags.

use smithay::utils::{Logical, Point, Rectangle};

bitflags::bitflags! {
    /// Edges that an interactive resize moves.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Edges: u8 {
        /// The upper edge.
        const TOP = 1;
        /// The lower edge.
        const BOTTOM = 2;
        /// The left edge.
        const LEFT = 4;
        /// The right edge.
        const RIGHT = 8;
    }
}

impl Edges {
    /// A content rectangle with these edges moved by `by`, at least a pixel large.
    #[must_use]
    pub fn dragged(
        self,
        content: Rectangle<i32, Logical>,
        by: Point<i32, Logical>,
    ) -> Rectangle<i32, Logical> {
        // Where the side starts, how long it is, whether its first edge is dragged, or its second.
        let side = |start: i32, length: i32, first: bool, second: bool, by: i32| {
            let longer = match (second, first) {
                (true, _) => length.saturating_add(by),
                (false, true) => length.saturating_sub(by),
                (false, false) => length,
            }
            .max(1);
            let stays = second || !first;
            let start = if stays {
                start
            } else {
                start.saturating_add(length).saturating_sub(longer)
            };
            (start, longer)
        };
        let (left, right) = (self.contains(Self::LEFT), self.contains(Self::RIGHT));
        let (top, bottom) = (self.contains(Self::TOP), self.contains(Self::BOTTOM));
        let (x, w) = side(content.loc.x, content.size.w, left, right, by.x);
        let (y, h) = side(content.loc.y, content.size.h, top, bottom, by.y);
        Rectangle::new((x, y).into(), (w, h).into())
    }
}
