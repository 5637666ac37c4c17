// SPDX-License-Identifier: MIT OR Apache-2.0
//! The right end of a label: the compositor's word about the VM, and the buttons.

use heraldry_identity::Rgb;
use tiny_skia::{PathBuilder, Rect};

use crate::canvas::{AMBER, Canvas, INK, color, px, rounded, whole};
use crate::geometry::{Geometry, PxRect};
use crate::hatch::{BLACK, WHITE, mix};
use crate::raster::{Frame, font_size};
use crate::spec::{Badge, Button, FrameSpec, Style};
use crate::text::{Line, Weight, layout};

/// What controls look like depends on, besides what they are of: see [`Frame::controls_look`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlsLook {
    at: u32,
    width: u32,
    buttons: usize,
}

/// Badge and buttons.
#[derive(Debug)]
pub(crate) struct Controls {
    /// Where they are on the frame.
    pub(crate) rect: PxRect,
    /// Where the rest of the label ends.
    pub(crate) end: f32,
    /// From the corner of `rect`, so that they look the same wherever that is.
    buttons: Vec<(Button, PxRect)>,
    badge: Option<Pill>,
}

/// A badge laid out.
#[derive(Debug)]
struct Pill {
    badge: Badge,
    /// On the frame: a word's width is no whole number of pixels.
    rect: Rect,
    sign: f32,
    /// A narrow label gets the sign without the word.
    word: Option<Line>,
}

impl Controls {
    pub(crate) fn new(style: &Style, spec: &FrameSpec<'_>, geometry: &Geometry) -> Self {
        let unit = |logical| px(style.px(logical));
        let right = geometry.outer.0.saturating_sub(geometry.insets.right);
        let buttons_from = geometry.buttons.first().map_or(right, |(_, rect)| rect.x);
        let end = px(buttons_from) - unit(4);
        let mut x = buttons_from;
        let badge = spec.badge.and_then(|badge| {
            let pill = Pill::new(badge, style, geometry, end)?;
            x = whole(pill.rect.left() - unit(1));
            Some(pill)
        });
        let buttons = geometry.buttons.iter().map(|(button, rect)| {
            let x = rect.x.saturating_sub(x);
            (*button, PxRect { x, ..*rect })
        });
        Self {
            rect: PxRect {
                x,
                y: 0,
                w: right.saturating_sub(x),
                h: geometry.insets.top,
            },
            end: badge.as_ref().map_or(end, |pill| pill.rect.left() - unit(5)),
            buttons: buttons.collect(),
            badge,
        }
    }

    pub(crate) fn look(&self, period: u32) -> ControlsLook {
        let x = self.rect.x;
        ControlsLook {
            at: if self.badge.is_some() {
                x
            } else {
                x % period.max(1)
            },
            width: self.rect.w,
            buttons: self.buttons.len(),
        }
    }

    pub(crate) fn draw_badge(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
        if let Some(pill) = &self.badge {
            pill.draw(canvas, frame);
        }
    }

    pub(crate) fn draw_buttons(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
        for (button, rect) in &self.buttons {
            draw_button(canvas, frame, *button, *rect);
        }
    }
}

impl Pill {
    /// The badge before the buttons: in amber, which no owner's box has. `end` is where it must end on the frame.
    fn new(badge: Badge, style: &Style, geometry: &Geometry, end: f32) -> Option<Self> {
        let unit = |logical| px(style.px(logical));
        let (left, label) = (px(geometry.insets.left), px(geometry.insets.top));
        let pad = unit(4);
        let (top, height) = (pad, label - 2.0 * pad);
        let word = layout(
            badge.word(),
            Weight::Bold,
            font_size(style, geometry.insets) * 0.84,
        );
        let side = unit(5);
        let sign = height * 0.5;
        let all = sign + word.width + 3.0 * side;
        // The owner's box comes first: its shield and the beginning of a name must keep their place.
        let room = end - left - label * 3.0;
        let (width, word) = if all <= room {
            (all, Some(word))
        } else {
            (sign + 2.0 * side, None)
        };
        if width > end - left - label {
            return None;
        }
        let rect = Rect::from_xywh(end - width, top, width, height)?;
        Some(Self {
            badge,
            rect,
            sign,
            word,
        })
    }

    fn draw(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
        let Self {
            badge,
            rect: pill,
            sign,
            ref word,
        } = *self;
        let (rim, side) = (frame.unit(1), frame.unit(5));
        if let Some(around) = pill.outset(rim, rim) {
            canvas.fill(rounded(around, frame.unit(5)).as_ref(), color(INK, 255));
        }
        canvas.fill(rounded(pill, frame.unit(4)).as_ref(), color(AMBER, 255));
        let (x, y) = (pill.left() + side, pill.top() + (pill.height() - sign) / 2.0);
        let mut path = PathBuilder::new();
        match badge {
            Badge::Paused => {
                for bar in [0.12, 0.58] {
                    if let Some(bar) = Rect::from_xywh(x + sign * bar, y, sign * 0.3, sign) {
                        path.push_rect(bar);
                    }
                }
            }
            // A pennon on its pole.
            Badge::WantsYou => {
                if let Some(pole) = Rect::from_xywh(x + sign * 0.1, y, sign * 0.16, sign) {
                    path.push_rect(pole);
                }
                path.move_to(x + sign * 0.26, y);
                path.line_to(x + sign, y + sign * 0.28);
                path.line_to(x + sign * 0.26, y + sign * 0.56);
                path.close();
            }
            // An hourglass.
            Badge::Throttled => {
                path.move_to(x, y);
                path.line_to(x + sign, y);
                path.line_to(x, y + sign);
                path.line_to(x + sign, y + sign);
                path.close();
            }
        }
        canvas.fill(path.finish().as_ref(), color(INK, 255));
        if let Some(word) = word {
            let baseline = pill.top() + f32::midpoint(pill.height(), word.cap_height);
            canvas.write(word, x + sign + side, baseline.round(), color(INK, 255));
        }
    }
}

fn draw_button(canvas: &mut Canvas<'_>, frame: &Frame<'_>, button: Button, rect: PxRect) {
    let hover = frame.spec.hover == Some(button);
    let ground = frame.hatching().ground();
    let pad = frame.unit(3);
    let (x, y, size) = (
        px(rect.x) + pad,
        px(rect.y) + pad - frame.unit(1) / 2.0,
        px(rect.w) - 2.0 * pad,
    );
    let Some(area) = Rect::from_xywh(x, y, size, size) else {
        return;
    };
    let back = match (hover, button) {
        (true, Button::Close) => Rgb {
            r: 0xd0,
            g: 0x2f,
            b: 0x2f,
        },
        (true, _) => mix(ground, WHITE, 60),
        (false, _) => mix(ground, BLACK, 168),
    };
    canvas.fill(rounded(area, frame.unit(4)).as_ref(), color(back, 255));
    let inset = size * 0.30;
    let (l, t, r, b) = (x + inset, y + inset, x + size - inset, y + size - inset);
    let mut path = PathBuilder::new();
    match button {
        Button::Close => {
            path.move_to(l, t);
            path.line_to(r, b);
            path.move_to(r, t);
            path.line_to(l, b);
        }
        Button::Minimize => {
            path.move_to(l, b);
            path.line_to(r, b);
        }
        Button::Maximize => {
            let shift = if frame.spec.maximized { size * 0.10 } else { 0.0 };
            let front = Rect::from_ltrb(l, t + shift, r - shift, b);
            let behind = Rect::from_ltrb(l + shift, t, r, b - shift).filter(|_| shift > 0.0);
            for rect in [front, behind].into_iter().flatten() {
                path.push_rect(rect);
            }
        }
    }
    if let Some(path) = path.finish() {
        let white = color(WHITE, if frame.spec.focused || hover { 255 } else { 190 });
        canvas.stroke(&path, white, (frame.unit(3) / 2.0).max(1.0));
    }
}
