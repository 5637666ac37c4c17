// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame as it is drawn: tiles of the hatched field, the rim, and what lies on them.

use smithay::backend::renderer::{Color32F, Frame as _, Renderer};
use smithay::utils::{Physical, Point, Rectangle, Size, Transform};

use heraldry_identity::Rgb;

use super::painter::Painter;

/// A bitmap of ours and where it is on the frame.
pub(super) struct Part<R: Renderer> {
    pub(super) texture: R::TextureId,
    pub(super) rect: Rectangle<i32, Physical>,
}

/// A tile that a side is covered with.
pub(super) struct Tile<R: Renderer> {
    pub(super) texture: R::TextureId,
    pub(super) size: Size<i32, Physical>,
}

/// All that is drawn around a content. Places count from the frame's corner.
pub(super) struct Band<R: Renderer> {
    pub(super) outer: Size<i32, Physical>,
    /// The four sides: those above and below, then those beside the content.
    pub(super) sides: [Rectangle<i32, Physical>; 4],
    pub(super) across: Tile<R>,
    pub(super) down: Tile<R>,
    /// After so many pixels the field repeats.
    pub(super) period: i32,
    /// Width of the rim.
    pub(super) edge: i32,
    pub(super) rim: Rgb,
    pub(super) ground: Rgb,
    pub(super) parts: Vec<Part<R>>,
}

fn solid(rgb: Rgb) -> Color32F {
    let part = |value: u8| f32::from(value) / 255.0;
    Color32F::new(part(rgb.r), part(rgb.g), part(rgb.b), 1.0)
}

/// What of a list lies in a rectangle.
fn within(
    list: &[Rectangle<i32, Physical>],
    rect: Rectangle<i32, Physical>,
) -> Vec<Rectangle<i32, Physical>> {
    let parts = list.iter().filter_map(|part| part.intersection(rect));
    parts.filter(|part| !part.is_empty()).collect()
}

impl<R: Painter> Band<R> {
    /// Draws what is damaged. `corner` is where the frame's corner is; `damage` counts from there. Never fails: what a
    /// renderer refuses has the colour of the arms.
    pub(super) fn draw(
        &self,
        frame: &mut R::Frame<'_, '_>,
        corner: Point<i32, Physical>,
        damage: &[Rectangle<i32, Physical>],
    ) {
        let less = |side: i32| (side - 2 * self.edge).max(0);
        let inner = Size::from((less(self.outer.w), less(self.outer.h)));
        let inside = Rectangle::new((self.edge, self.edge).into(), inner);
        let [top, bottom, left, right] = self.sides;
        for (side, tile) in [
            (top, &self.across),
            (bottom, &self.across),
            (left, &self.down),
            (right, &self.down),
        ] {
            if let Some(field) = side.intersection(inside) {
                self.field(frame, tile, corner, &within(damage, field));
            }
        }
        let Size { w, h, .. } = self.outer;
        let edge = self.edge;
        let rim = [
            Rectangle::new((0, 0).into(), (w, edge).into()),
            Rectangle::new((0, h - edge).into(), (w, edge).into()),
            Rectangle::new((0, edge).into(), (edge, less(h)).into()),
            Rectangle::new((w - edge, edge).into(), (edge, less(h)).into()),
        ];
        let rim: Vec<_> = rim.into_iter().flat_map(|line| within(damage, line)).collect();
        self.fill(frame, corner, &rim, self.rim);
        for part in &self.parts {
            let rects = within(damage, part.rect);
            self.copy(frame, &part.texture, part.rect, corner, &rects);
        }
    }

    /// Covers parts of a side with tiles, each a whole number of periods from the frame's corner.
    fn field(
        &self,
        frame: &mut R::Frame<'_, '_>,
        tile: &Tile<R>,
        corner: Point<i32, Physical>,
        rects: &[Rectangle<i32, Physical>],
    ) {
        let Some(all) = rects.iter().copied().reduce(Rectangle::merge) else {
            return;
        };
        let from = |at: i32| at - at.rem_euclid(self.period.max(1));
        let end = all.loc + all.size;
        let places =
            |from: i32, to: i32, step: i32| (from..to).step_by(usize::try_from(step).unwrap_or(1).max(1));
        for y in places(from(all.loc.y), end.y, tile.size.h) {
            for x in places(from(all.loc.x), end.x, tile.size.w) {
                let place = Rectangle::new((x, y).into(), tile.size);
                self.copy(frame, &tile.texture, place, corner, &within(rects, place));
            }
        }
    }

    fn copy(
        &self,
        frame: &mut R::Frame<'_, '_>,
        texture: &R::TextureId,
        place: Rectangle<i32, Physical>,
        corner: Point<i32, Physical>,
        rects: &[Rectangle<i32, Physical>],
    ) {
        if rects.is_empty() {
            return;
        }
        let local: Vec<_> = rects
            .iter()
            .map(|rect| Rectangle::new(rect.loc - place.loc, rect.size))
            .collect();
        let source = Rectangle::from_size((place.size.w, place.size.h).into()).to_f64();
        let whole = [Rectangle::from_size(place.size)];
        let target = Rectangle::new(place.loc + corner, place.size);
        let drawn =
            frame.render_texture_from_to(texture, source, target, &local, &whole, Transform::Normal, 1.0);
        if drawn.is_err() {
            self.fill(frame, corner, rects, self.ground);
        }
    }

    fn fill(
        &self,
        frame: &mut R::Frame<'_, '_>,
        corner: Point<i32, Physical>,
        rects: &[Rectangle<i32, Physical>],
        with: Rgb,
    ) {
        if rects.is_empty() {
            return;
        }
        // A renderer that cannot fill a rectangle draws nothing at all; the next frame tries again.
        let _filled = frame.draw_solid(Rectangle::new(corner, self.outer), rects, solid(with));
    }
}
