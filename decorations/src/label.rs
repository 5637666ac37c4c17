// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rest of a label: the owner's box, and the title in its own pill.

use heraldry_identity::Rgb;
use tiny_skia::Rect;

use crate::canvas::{Canvas, INK, color, px, rounded, shield, whole};
use crate::geometry::PxRect;
use crate::hatch::{BLACK, WHITE, luma, mix};
use crate::raster::Frame;
use crate::spec::FrameKind;
use crate::text::{Line, Weight, fit, layout};
use crate::title::safe_title;

/// The owner's box: parchment, so that it differs from every tincture.
const PARCHMENT: Rgb = Rgb {
    r: 0xf4,
    g: 0xf0,
    b: 0xe4,
};
const PARCHMENT_FAINT: Rgb = Rgb {
    r: 0xc4,
    g: 0xc2,
    b: 0xba,
};

/// Where a part of a label is, and for how long it is right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Extent {
    /// The part's place on the frame.
    pub rect: PxRect,
    /// Where the shape in it ends.
    right: f32,
    /// Where the label ended when it was laid out.
    end: f32,
    /// It looks the same on any label that ends here or later. If something was cut, it is right for one end only.
    needs: Option<f32>,
    whole: bool,
}

impl Extent {
    /// Whether the same frame in another size has the same part at the same place.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "it is the same number if nothing moved")]
    pub fn lasts(&self, frame: &Frame<'_>) -> bool {
        let end = frame.end();
        self.needs
            .map_or(self.end == end && !self.whole, |needs| needs <= end)
    }

    /// Whether other windows can have the same part: nothing was cut.
    #[must_use]
    pub fn is_common(&self) -> bool {
        self.needs.is_some()
    }

    /// Whether the label is so narrow that this is all of it, controls included.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.whole
    }
}

/// The owner's box laid out: shield with glyph, then the name.
#[derive(Debug)]
pub struct Owner {
    /// Where it is.
    pub extent: Extent,
    frame: Option<Rect>,
    shield: Option<Rect>,
    glyph: Line,
    name: Option<(Line, f32)>,
}

impl Owner {
    pub(crate) fn new(frame: &Frame<'_>) -> Self {
        let end = frame.end();
        // The slim label has no room to give away.
        let slim = frame.spec.kind == FrameKind::Fullscreen;
        let pad = frame.unit(if slim { 2 } else { 3 });
        let (top, height) = (pad, frame.height() - 2.0 * pad);
        let left = px(frame.insets.left).max(pad);
        let shield_width = height * 0.86;
        let inner = frame.unit(if slim { 1 } else { 2 });
        let name_left = left + inner + shield_width + frame.unit(5);
        let room = end - name_left - frame.unit(6);
        let (name, all) = fit(
            frame.spec.display_name,
            Weight::Bold,
            frame.font_size(),
            room.max(0.0),
        );
        let right = name.as_ref().map_or(left + shield_width + 2.0 * inner, |name| {
            name_left + name.width + frame.unit(7)
        });
        let rect = Rect::from_ltrb(left, top, right, top + height);
        let around = rect.and_then(|rect| rect.outset(frame.unit(1), frame.unit(1)));
        let to = around.map_or(0, |around| whole(around.right().ceil()));
        let controls = frame.controls().map_or(u32::MAX, |controls| controls.x);
        let edge = frame.hatching().edge();
        let narrow = to > controls || to.saturating_add(edge) > frame.outer_width();
        // A pixel more, so that rounding makes no difference.
        let needs = right + frame.unit(1) + 1.0;
        let box_height = height - 2.0 * inner;
        let mut glyph = [0; 4];
        let glyph = &*frame.spec.arms.glyph.encode_utf8(&mut glyph);
        Self {
            extent: Extent {
                rect: PxRect {
                    x: 0,
                    y: 0,
                    w: if narrow { frame.outer_width() } else { to },
                    h: frame.insets.top,
                },
                right: if rect.is_some() { right } else { left },
                end,
                needs: (all && !narrow && needs <= end).then_some(needs),
                whole: narrow,
            },
            frame: rect,
            shield: Rect::from_xywh(left + inner, top + inner, shield_width, box_height),
            glyph: layout(glyph, Weight::Bold, box_height * 0.72),
            name: name.map(|name| (name, name_left)),
        }
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
        let Some(rect) = self.frame else { return };
        let ground = frame.hatching().ground();
        // A dark rim keeps the box apart from a light tincture.
        let rim = frame.unit(1);
        if let Some(around) = rect.outset(rim, rim) {
            let dark = color(frame.hatching().rim(), 255);
            canvas.fill(rounded(around, frame.unit(4)).as_ref(), dark);
        }
        let parchment = if frame.spec.focused {
            PARCHMENT
        } else {
            PARCHMENT_FAINT
        };
        canvas.fill(rounded(rect, frame.unit(3)).as_ref(), color(parchment, 255));
        if let Some(rect) = self.shield {
            let shape = shield(rect);
            canvas.fill(shape.as_ref(), color(ground, 255));
            let light = luma(ground) > 150;
            if let Some(shape) = shape.filter(|_| light) {
                canvas.stroke(&shape, color(INK, 255), frame.unit(1));
            }
            let x = rect.left() + (rect.width() - self.glyph.width) / 2.0;
            let baseline = rect.top() + rect.height() * 0.44 + self.glyph.cap_height / 2.0;
            let on = if light { INK } else { WHITE };
            canvas.write(&self.glyph, x, baseline.round(), color(on, 255));
        }
        if let Some((name, left)) = &self.name {
            let baseline = rect.top() + f32::midpoint(rect.height(), name.cap_height);
            canvas.write(name, *left, baseline.round(), color(INK, 255));
        }
    }
}

/// The client's title laid out: after the owner, smaller, in its own pill, cut first.
#[derive(Debug)]
pub struct Title {
    /// Where it is; empty if nothing is shown.
    pub extent: Extent,
    shape: Option<(Rect, Line)>,
}

impl Title {
    pub(crate) fn new(frame: &Frame<'_>, owner: &Extent) -> Self {
        let end = frame.end();
        let title = safe_title(frame.spec.untrusted_title, frame.spec.title_rule);
        let mut needs = title.is_empty().then_some(f32::MIN);
        let mut shape = None;
        let side = frame.unit(7);
        let from = owner.right + frame.unit(6);
        let (room, least) = (end - from - 2.0 * side, frame.unit(24));
        if !title.is_empty() && room >= least {
            let (line, all) = fit(&title, Weight::Regular, frame.font_size() * 0.92, room);
            shape = line.and_then(|line| {
                // A pixel more, so that rounding makes no difference.
                let all = all.then(|| from + 2.0 * side + line.width.max(least) + 1.0);
                needs = all.filter(|needs| *needs <= end);
                let pad = frame.unit(4);
                let right = from + line.width + 2.0 * side;
                Some((Rect::from_ltrb(from, pad, right, frame.height() - pad)?, line))
            });
        }
        let rect = shape.as_ref().map_or_else(PxRect::default, |(pill, _)| {
            let (x, y) = (whole(pill.left()), whole(pill.top()));
            PxRect {
                x,
                y,
                w: whole(pill.right().ceil()).saturating_sub(x),
                h: whole(pill.bottom().ceil()).saturating_sub(y),
            }
        });
        Self {
            extent: Extent {
                rect,
                right: end,
                end,
                needs,
                whole: false,
            },
            shape,
        }
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
        let Some((pill, line)) = &self.shape else { return };
        let ground = frame.hatching().ground();
        canvas.fill(
            rounded(*pill, frame.unit(8)).as_ref(),
            color(mix(ground, BLACK, 168), 255),
        );
        let baseline = f32::midpoint(frame.height(), line.cap_height);
        let alpha = if frame.spec.focused { 235 } else { 190 };
        let x = pill.left() + frame.unit(7);
        canvas.write_within(line, x, baseline.round(), color(WHITE, alpha), *pill);
    }
}
