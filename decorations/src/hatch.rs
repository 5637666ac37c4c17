// SPDX-License-Identifier: MIT OR Apache-2.0
//! Colours of the arms and the engravers' hatching that says them again without colour.

use heraldry_identity::{Arms, Pattern, Rgb};

use crate::canvas::to_bgra;
use crate::geometry::PxRect;
use crate::spec::Style;

/// Distance of two lines, logical pixels.
const PERIOD: u32 = 6;
/// Width of a line, logical pixels.
const LINE: u32 = 2;

/// `color` with `amount`/256 of `other`.
pub(crate) fn mix(color: Rgb, other: Rgb, amount: u16) -> Rgb {
    let amount = amount.min(256);
    let part = |a: u8, b: u8| {
        let sum = (u32::from(a) * u32::from(256 - amount) + u32::from(b) * u32::from(amount)) >> 8;
        u8::try_from(sum).unwrap_or(u8::MAX)
    };
    Rgb {
        r: part(color.r, other.r),
        g: part(color.g, other.g),
        b: part(color.b, other.b),
    }
}

/// Perceived brightness, 0 to 255.
pub(crate) fn luma(color: Rgb) -> u32 {
    (u32::from(color.r) * 54 + u32::from(color.g) * 183 + u32::from(color.b) * 19) >> 8
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
            mix(
                color,
                Rgb {
                    r: 0x4a,
                    g: 0x4e,
                    b: 0x55,
                },
                104,
            )
        };
        let ink = if luma(ground) > 110 {
            mix(ground, BLACK, 118)
        } else {
            mix(ground, WHITE, 116)
        };
        Self { ground, ink }
    }
}

/// Whether the pixel lies on a line. `period` and `line` are physical pixels; coordinates count from the frame's
/// corner, so that the lines run on from side to side.
fn is_ink(pattern: Pattern, x: u32, y: u32, period: u32, line: u32) -> bool {
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

/// The hatched field that all of a VM's frames are cut from.
#[derive(Debug, Clone, Copy)]
pub struct Hatching {
    pub(crate) field: Field,
    pattern: Pattern,
    period: u32,
    line: u32,
    edge: u32,
}

impl Hatching {
    /// The field of a VM's frames; fainter where the window has no focus.
    #[must_use]
    pub fn new(style: &Style, arms: &Arms, focused: bool) -> Self {
        Self {
            field: Field::new(arms.color, focused),
            pattern: arms.pattern,
            period: style.px(PERIOD),
            line: style.px(LINE),
            edge: style.px(1),
        }
    }

    /// After so many pixels the field repeats, to the right and down.
    #[must_use]
    pub fn period(&self) -> u32 {
        self.period
    }

    /// Width of the dark line at a frame's outer edge, which parts it from any neighbour.
    #[must_use]
    pub fn edge(&self) -> u32 {
        self.edge
    }

    /// Colour of that line.
    #[must_use]
    pub fn rim(&self) -> Rgb {
        mix(self.field.ground, BLACK, 150)
    }

    /// The field without its lines.
    #[must_use]
    pub fn ground(&self) -> Rgb {
        self.field.ground
    }

    /// Fills `pixels` with the field from a frame's corner on, as if the frame had no rim: as [`draw`](crate::draw) does,
    /// `width` pixels a row.
    pub fn draw(&self, width: u32, pixels: &mut [u8]) {
        let far = (u32::MAX, u32::MAX);
        // Coordinates that are whole periods away from the corner look the same, and are not at the rim.
        let away = self.period.saturating_mul(self.edge.saturating_add(1));
        let rect = PxRect {
            x: away,
            y: away,
            w: width,
            h: 0,
        };
        self.fill(rect, far, pixels);
        to_bgra(pixels);
    }

    /// The field and the rim in a part of a frame that is as large as `outer`, R G B A.
    pub(crate) fn fill(&self, part: PxRect, outer: (u32, u32), pixels: &mut [u8]) {
        let opaque = |color: Rgb| [color.r, color.g, color.b, 255];
        let (rim, ink, ground) = (
            opaque(self.rim()),
            opaque(self.field.ink),
            opaque(self.field.ground),
        );
        let edge = self.edge;
        let width = usize::try_from(part.w).unwrap_or(1).max(1);
        for (y, row) in (part.y..).zip(pixels.chunks_exact_mut(width.saturating_mul(4))) {
            for (x, pixel) in (part.x..).zip(row.chunks_exact_mut(4)) {
                let at_rim = x < edge
                    || y < edge
                    || outer.0.saturating_sub(x) <= edge
                    || outer.1.saturating_sub(y) <= edge;
                let color = if at_rim {
                    rim
                } else if is_ink(self.pattern, x, y, self.period, self.line) {
                    ink
                } else {
                    ground
                };
                pixel.copy_from_slice(&color);
            }
        }
    }
}
