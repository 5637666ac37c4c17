// SPDX-License-Identifier: MIT OR Apache-2.0
//! A frame put together: the hatched field, and the parts of the label on it.

use tiny_skia::PixmapMut;

use crate::canvas::{Canvas, px, to_bgra};
use crate::controls::{Controls, ControlsLook};
use crate::geometry::{Geometry, PxRect, Side, geometry};
use crate::hatch::Hatching;
use crate::label::{Extent, Owner, Title};
use crate::spec::{FrameKind, FrameSpec, Insets, Style};

/// Fills `pixels` with one side of a frame: 4 bytes a pixel, B G R A in memory (ARGB8888 little-endian),
/// premultiplied, opaque, no padding between rows. A buffer that does not have the side's size stays as it is.
pub fn draw(side: Side, style: &Style, spec: &FrameSpec<'_>, pixels: &mut [u8]) {
    let frame = Frame::new(style, spec);
    let rect = frame.geometry.side(side);
    if pixels.len() != bytes(rect) {
        return;
    }
    frame.part(rect, pixels, |_| {});
    if side != Side::Top {
        return;
    }
    let Some(owner) = frame.owner() else { return };
    let mut put = |part: PxRect, draw: &dyn Fn(&mut [u8])| {
        let mut drawn = vec![0; bytes(part)];
        draw(&mut drawn);
        copy(&drawn, part, pixels, rect);
    };
    put(owner.extent.rect, &|pixels| frame.draw_owner(&owner, pixels));
    let title = frame.title(&owner.extent);
    put(title.extent.rect, &|pixels| frame.draw_title(&title, pixels));
    if let Some(controls) = frame.controls().filter(|_| !owner.extent.is_whole()) {
        put(controls, &|pixels| frame.draw_controls(pixels));
    }
}

fn bytes(rect: PxRect) -> usize {
    let side = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    side(rect.w).saturating_mul(side(rect.h)).saturating_mul(4)
}

/// Copies a part to its place on a side.
fn copy(part: &[u8], from: PxRect, side: &mut [u8], to: PxRect) {
    let size = |value: u32| usize::try_from(value).unwrap_or(1).max(1);
    let skip = size(from.y.saturating_sub(to.y).saturating_add(1)) - 1;
    let left = (size(from.x.saturating_sub(to.x).saturating_add(1)) - 1) * 4;
    let rows = side.chunks_exact_mut(size(to.w) * 4).skip(skip);
    for (row, part) in rows.zip(part.chunks_exact(size(from.w) * 4)) {
        if let Some(row) = row.get_mut(left..left + part.len()) {
            row.copy_from_slice(part);
        }
    }
}

/// A frame laid out. It is drawn in parts, so that those that look the same for many windows need not be kept for each:
/// the [`Hatching`] everywhere, the owner's box at the left end of the label, the controls at its right end, the title in
/// between. All of them lie on the field, and none on another; put together they are what [`draw`] draws.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(crate) style: &'a Style,
    pub(crate) spec: &'a FrameSpec<'a>,
    pub(crate) insets: Insets,
    geometry: Geometry,
    hatching: Hatching,
    controls: Controls,
}

impl<'a> Frame<'a> {
    /// Lays out all but the owner's box and the title.
    #[must_use]
    pub fn new(style: &'a Style, spec: &'a FrameSpec<'a>) -> Self {
        let geometry = geometry(style, spec);
        Self {
            controls: Controls::new(style, spec, &geometry),
            hatching: Hatching::new(style, &spec.arms, spec.focused),
            insets: geometry.insets,
            style,
            spec,
            geometry,
        }
    }

    /// Where the sides are.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What the frame is cut from.
    #[must_use]
    pub fn hatching(&self) -> Hatching {
        self.hatching
    }

    /// Where badge and buttons are, if there are any.
    #[must_use]
    pub fn controls(&self) -> Option<PxRect> {
        let rect = self.controls.rect;
        (rect.w > 0 && rect.h > 0).then_some(rect)
    }

    /// Where the owner's box and the title must end.
    #[must_use]
    pub fn end(&self) -> f32 {
        self.controls.end
    }

    /// Lays out the owner's box. Popups have none.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        (self.spec.kind != FrameKind::Popup).then(|| Owner::new(self))
    }

    /// Lays out the title beside an owner's box.
    #[must_use]
    pub fn title(&self, owner: &Extent) -> Title {
        Title::new(self, owner)
    }

    /// Controls of the same arms, kind, focus, badge and lit button look the same if this is the same too: without a badge
    /// only the field below them depends on where they are, and it repeats.
    #[must_use]
    pub fn controls_look(&self) -> ControlsLook {
        self.controls.look(self.hatching.period())
    }

    /// Fills `pixels` with the controls.
    pub fn draw_controls(&self, pixels: &mut [u8]) {
        self.part(self.controls.rect, pixels, |canvas| {
            canvas.shift(-px(self.controls.rect.x), 0.0);
            self.controls.draw_badge(canvas, self);
            canvas.shift(0.0, 0.0);
            self.controls.draw_buttons(canvas, self);
        });
    }

    /// Fills `pixels` with the owner's box.
    pub fn draw_owner(&self, owner: &Owner, pixels: &mut [u8]) {
        let whole = owner.extent.is_whole();
        self.part(owner.extent.rect, pixels, |canvas| {
            if whole {
                self.controls.draw_badge(canvas, self);
            }
            owner.draw(canvas, self);
            if whole {
                canvas.shift(px(self.controls.rect.x), 0.0);
                self.controls.draw_buttons(canvas, self);
            }
        });
    }

    /// Fills `pixels` with the title.
    pub fn draw_title(&self, title: &Title, pixels: &mut [u8]) {
        let rect = title.extent.rect;
        // Drawn as high as the label is: letters that reach below the pill are cut differently at a bitmap's edge.
        let high = PxRect {
            y: 0,
            h: self.insets.top,
            ..rect
        };
        let mut drawn = vec![0; bytes(high)];
        self.part(high, &mut drawn, |canvas| {
            canvas.shift(-px(rect.x), 0.0);
            title.draw(canvas, self);
        });
        let above = bytes(PxRect { h: rect.y, ..rect });
        if let Some(rows) = drawn.get(above..above.saturating_add(pixels.len())) {
            pixels.copy_from_slice(rows);
        }
    }

    /// A part of the field with something on it.
    fn part(&self, rect: PxRect, pixels: &mut [u8], draw: impl FnOnce(&mut Canvas<'_>)) {
        if pixels.len() != bytes(rect) {
            return;
        }
        self.hatching.fill(rect, self.geometry.outer, pixels);
        if let Some(target) = PixmapMut::from_bytes(pixels, rect.w, rect.h) {
            draw(&mut Canvas::new(target));
        }
        to_bgra(pixels);
    }

    pub(crate) fn outer_width(&self) -> u32 {
        self.geometry.outer.0
    }

    pub(crate) fn unit(&self, logical: u32) -> f32 {
        px(self.style.px(logical))
    }

    pub(crate) fn height(&self) -> f32 {
        px(self.insets.top)
    }

    pub(crate) fn font_size(&self) -> f32 {
        font_size(self.style, self.insets)
    }
}

pub(crate) fn font_size(style: &Style, insets: Insets) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a scale is a small number")]
    let size = style.font_size * style.scale as f32;
    // The slim label of fullscreen windows has less room.
    size.min(px(insets.top) * 0.62)
}
