// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shapes on a part of a frame. Their coordinates are the frame's own or a part's; the canvas moves them by whole pixels,
//! so that a part shows what the whole would.

use heraldry_identity::Rgb;
use tiny_skia::{Color, FillRule, Mask, Paint, Path, PathBuilder, PixmapMut, Rect, Stroke, Transform};

use crate::text::Line;

/// The compositor's own colour, as in its notices.
pub(crate) const AMBER: Rgb = Rgb {
    r: 0xff,
    g: 0xc0,
    b: 0x30,
};
/// What is written and outlined with.
pub(crate) const INK: Rgb = Rgb {
    r: 0x16,
    g: 0x18,
    b: 0x1c,
};

/// Something to draw on, and where shapes come to lie on it.
pub(crate) struct Canvas<'a> {
    target: PixmapMut<'a>,
    /// Added to each coordinate.
    offset: (f32, f32),
}

impl<'a> Canvas<'a> {
    /// A canvas whose corner is the origin.
    pub(crate) fn new(target: PixmapMut<'a>) -> Self {
        Self {
            target,
            offset: (0.0, 0.0),
        }
    }

    /// Moves what is drawn from now on.
    pub(crate) fn shift(&mut self, x: f32, y: f32) {
        self.offset = (x, y);
    }

    fn place(&self) -> Transform {
        Transform::from_translate(self.offset.0, self.offset.1)
    }

    /// Fills a shape.
    pub(crate) fn fill(&mut self, path: Option<&Path>, with: Color) {
        let place = self.place();
        self.paint(path, with, place, None);
    }

    /// Draws along a path.
    pub(crate) fn stroke(&mut self, path: &Path, with: Color, width: f32) {
        let mut paint = Paint::default();
        paint.set_color(with);
        let stroke = Stroke {
            width,
            ..Stroke::default()
        };
        let place = self.place();
        self.target.stroke_path(path, &paint, &stroke, place, None);
    }

    /// Writes a line; `x` is its left end, `baseline` its base.
    pub(crate) fn write(&mut self, line: &Line, x: f32, baseline: f32, with: Color) {
        let place = self.place();
        self.paint(line.at(x, baseline).as_ref(), with, place, None);
    }

    /// The same, but nothing outside of `within`: what a client wrote may have marks that stand high above its letters.
    pub(crate) fn write_within(&mut self, line: &Line, x: f32, baseline: f32, with: Color, within: Rect) {
        let Some(mut mask) = Mask::new(self.target.width(), self.target.height()) else {
            return;
        };
        let place = self.place();
        let rect = PathBuilder::from_rect(within);
        mask.fill_path(&rect, FillRule::Winding, false, place);
        self.paint(line.at(x, baseline).as_ref(), with, place, Some(&mask));
    }

    fn paint(&mut self, path: Option<&Path>, with: Color, place: Transform, mask: Option<&Mask>) {
        let Some(path) = path else { return };
        let mut paint = Paint::default();
        paint.set_color(with);
        self.target
            .fill_path(path, &paint, FillRule::Winding, place, mask);
    }
}

pub(crate) fn color(rgb: Rgb, alpha: u8) -> Color {
    Color::from_rgba8(rgb.r, rgb.g, rgb.b, alpha)
}

/// tiny-skia has R G B A.
pub(crate) fn to_bgra(pixels: &mut [u8]) {
    for pixel in pixels.chunks_exact_mut(4) {
        if let [r, _, b, _] = pixel {
            std::mem::swap(r, b);
        }
    }
}

/// A number of pixels to compute with.
pub(crate) fn px(value: u32) -> f32 {
    f32::from(u16::try_from(value).unwrap_or(u16::MAX))
}

/// The pixel that a place between pixels lies in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
pub(crate) fn whole(value: f32) -> u32 {
    value.clamp(0.0, 65_535.0) as u32
}

pub(crate) fn rounded(rect: Rect, radius: f32) -> Option<Path> {
    let radius = radius.min(rect.width() / 2.0).min(rect.height() / 2.0);
    let (l, t, r, b) = (rect.left(), rect.top(), rect.right(), rect.bottom());
    let mut path = PathBuilder::new();
    path.move_to(l + radius, t);
    path.line_to(r - radius, t);
    path.quad_to(r, t, r, t + radius);
    path.line_to(r, b - radius);
    path.quad_to(r, b, r - radius, b);
    path.line_to(l + radius, b);
    path.quad_to(l, b, l, b - radius);
    path.line_to(l, t + radius);
    path.quad_to(l, t, l + radius, t);
    path.close();
    path.finish()
}

/// The heater shield that carries the glyph.
pub(crate) fn shield(rect: Rect) -> Option<Path> {
    let (l, t, r, b) = (rect.left(), rect.top(), rect.right(), rect.bottom());
    let (w, h) = (rect.width(), rect.height());
    let middle = l + w / 2.0;
    let mut path = PathBuilder::new();
    path.move_to(l, t);
    path.line_to(r, t);
    path.line_to(r, t + h * 0.45);
    path.cubic_to(r, t + h * 0.75, middle + w * 0.2, t + h * 0.9, middle, b);
    path.cubic_to(middle - w * 0.2, t + h * 0.9, l, t + h * 0.75, l, t + h * 0.45);
    path.close();
    path.finish()
}
