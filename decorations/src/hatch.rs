// SPDX-License-Identifier: MIT OR Apache-2.0
//! Colours of the arms and the engravers' hatching that says them again without colour.

use crate::spec::{Pattern, Rgb};

/// Distance of two lines, logical pixels.
pub(crate) const PERIOD: u32 = 6;
/// Width of a line, logical pixels.
pub(crate) const LINE: u32 = 2;

impl Rgb {
    /// This colour with `amount`/256 of `other`.
    pub(crate) fn mix(self, other: Self, amount: u16) -> Self {
        let amount = amount.min(256);
        let part = |a: u8, b: u8| {
            let sum = (u32::from(a) * u32::from(256 - amount) + u32::from(b) * u32::from(amount)) >> 8;
            u8::try_from(sum).unwrap_or(u8::MAX)
        };
        Self {
            r: part(self.r, other.r),
            g: part(self.g, other.g),
            b: part(self.b, other.b),
        }
    }

    /// Perceived brightness, 0 to 255.
    pub(crate) fn luma(self) -> u32 {
        (u32::from(self.r) * 54 + u32::from(self.g) * 183 + u32::from(self.b) * 19) >> 8
    }
}

pub(crate) const BLACK: Rgb = Rgb { r: 0, g: 0, b: 0 };
pub(crate) const WHITE: Rgb = Rgb {
    r: 255,
    g: 255,
    b: 255,
};

/// The two colours of a hatched field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// The tincture.
    pub(crate) ground: Rgb,
    /// Its lines.
    pub(crate) ink: Rgb,
}

impl Field {
    /// The field of a VM; fainter where the window has no focus.
    pub(crate) fn new(color: Rgb, focused: bool) -> Self {
        let ground = if focused {
            color
        } else {
            color.mix(
                Rgb {
                    r: 0x4a,
                    g: 0x4e,
                    b: 0x55,
                },
                104,
            )
        };
        let ink = if ground.luma() > 110 {
            ground.mix(BLACK, 118)
        } else {
            ground.mix(WHITE, 116)
        };
        Self { ground, ink }
    }
}

/// Whether the pixel lies on a line. `period` and `line` are physical pixels; coordinates count from the frame's
/// corner, so that the lines run on from side to side.
pub(crate) fn is_ink(pattern: Pattern, x: u32, y: u32, period: u32, line: u32) -> bool {
    let period = period.max(1);
    let on = |value: u32| value % period < line;
    match pattern {
        Pattern::Solid => false,
        Pattern::Horizontal => on(y),
        Pattern::Vertical => on(x),
        Pattern::AntiDiagonal => on(x.wrapping_add(y)),
        Pattern::Diagonal => on(x.wrapping_add(period - y % period)),
        Pattern::Cross => on(x) || on(y),
        Pattern::Dots => {
            // Doubled coordinates put the centre between pixels where the period is even.
            let centre = |value: u32| (2 * (value % period) + 1).abs_diff(period);
            let (dx, dy) = (centre(x), centre(y));
            dx * dx + dy * dy <= (line + 1) * (line + 1)
        }
    }
}
