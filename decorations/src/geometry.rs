// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the parts of a frame are: physical pixels, origin at the frame's outer top-left corner.

use crate::spec::{Button, FrameKind, FrameSpec, Insets, Style};

/// Height of a fullscreen window's slim label, logical pixels.
const SLIM_LABEL: u32 = 22;

/// A rectangle in physical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PxRect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub w: u32,
    /// Height.
    pub h: u32,
}

impl PxRect {
    /// Whether the pixel lies inside.
    #[must_use]
    pub fn contains(&self, x: u32, y: u32) -> bool {
        x >= self.x && y >= self.y && x.saturating_sub(self.x) < self.w && y.saturating_sub(self.y) < self.h
    }
}

/// One of the four bitmaps that make up a frame; top and bottom include the corners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The label.
    Top,
    /// The band on the right.
    Right,
    /// The band below.
    Bottom,
    /// The band on the left.
    Left,
}

impl Side {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Top, Self::Right, Self::Bottom, Self::Left];
}

/// The parts of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    /// Space around the content.
    pub insets: Insets,
    /// Frame and content together.
    pub outer: (u32, u32),
    /// Buttons from left to right; none where they do not fit.
    pub buttons: Vec<(Button, PxRect)>,
}

impl Geometry {
    /// Rectangle of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> PxRect {
        let (w, h) = self.outer;
        let Insets {
            top,
            right,
            bottom,
            left,
        } = self.insets;
        let middle = h.saturating_sub(top).saturating_sub(bottom);
        match side {
            Side::Top => PxRect {
                x: 0,
                y: 0,
                w,
                h: top,
            },
            Side::Bottom => PxRect {
                x: 0,
                y: h.saturating_sub(bottom),
                w,
                h: bottom,
            },
            Side::Left => PxRect {
                x: 0,
                y: top,
                w: left,
                h: middle,
            },
            Side::Right => PxRect {
                x: w.saturating_sub(right),
                y: top,
                w: right,
                h: middle,
            },
        }
    }

    /// The button at a pixel of the frame.
    #[must_use]
    pub fn button_at(&self, x: u32, y: u32) -> Option<Button> {
        self.buttons
            .iter()
            .find(|(_, rect)| rect.contains(x, y))
            .map(|(button, _)| *button)
    }
}

impl Style {
    /// Rounds a logical length to physical pixels, at least one.
    #[must_use]
    pub fn px(&self, logical: u32) -> u32 {
        let value = (f64::from(logical) * self.scale).round().clamp(1.0, 65_535.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 1..=65535 above"
        )]
        let value = value as u32;
        value
    }

    /// Space around the content in logical pixels, as the layout needs it.
    #[must_use]
    pub fn logical_insets(&self, kind: FrameKind) -> Insets {
        let band = self.frame_width;
        match kind {
            FrameKind::Window => Insets {
                top: self.title_height,
                right: band,
                bottom: band,
                left: band,
            },
            FrameKind::Fullscreen => Insets {
                top: SLIM_LABEL,
                right: band,
                bottom: band,
                left: band,
            },
            FrameKind::Popup => {
                let band = band.min(3);
                Insets {
                    top: band,
                    right: band,
                    bottom: band,
                    left: band,
                }
            }
        }
    }

    /// Space around the content in physical pixels.
    #[must_use]
    pub fn insets(&self, kind: FrameKind) -> Insets {
        let logical = self.logical_insets(kind);
        Insets {
            top: self.px(logical.top),
            right: self.px(logical.right),
            bottom: self.px(logical.bottom),
            left: self.px(logical.left),
        }
    }
}

/// Lays a frame out.
#[must_use]
pub fn geometry(style: &Style, spec: &FrameSpec<'_>) -> Geometry {
    let insets = style.insets(spec.kind);
    let outer = (
        spec.content
            .0
            .saturating_add(insets.left)
            .saturating_add(insets.right),
        spec.content
            .1
            .saturating_add(insets.top)
            .saturating_add(insets.bottom),
    );
    let mut buttons = Vec::new();
    if spec.kind == FrameKind::Window {
        let size = insets.top.saturating_sub(style.px(2));
        let mut right = outer.0.saturating_sub(insets.right);
        for button in [Button::Close, Button::Maximize, Button::Minimize] {
            // The VM's name needs room first: no more buttons than leave half of the label to it.
            let Some(x) = right.checked_sub(size) else { break };
            let shield = insets.left.saturating_add(insets.top);
            if x < shield || (x < outer.0 / 2 && button != Button::Close) {
                break;
            }
            buttons.push((
                button,
                PxRect {
                    x,
                    y: style.px(1),
                    w: size,
                    h: size,
                },
            ));
            right = x;
        }
        buttons.reverse();
    }
    Geometry {
        insets,
        outer,
        buttons,
    }
}
