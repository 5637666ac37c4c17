// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pixels of a frame: the hatched field, then the owner's box, then the lesser things.

use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, PixmapMut, Rect, Stroke, Transform};

use crate::geometry::{Geometry, PxRect, Side, geometry};
use crate::hatch::{BLACK, Field, LINE, PERIOD, WHITE, is_ink};
use crate::spec::{Badge, Button, FrameKind, FrameSpec, Rgb, Style};
use crate::text::{Weight, fit, layout};
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
/// The compositor's own colour, as in its notices.
const AMBER: Rgb = Rgb {
    r: 0xff,
    g: 0xc0,
    b: 0x30,
};
const INK: Rgb = Rgb {
    r: 0x16,
    g: 0x18,
    b: 0x1c,
};

/// Fills `pixels` with one side of a frame: 4 bytes a pixel, B G R A in memory (ARGB8888 little-endian),
/// premultiplied, opaque, no padding between rows. A buffer that does not have the side's size stays as it is.
pub fn draw(side: Side, style: &Style, spec: &FrameSpec<'_>, pixels: &mut [u8]) {
    let geometry = geometry(style, spec);
    let rect = geometry.side(side);
    let Some(mut target) = PixmapMut::from_bytes(pixels, rect.w, rect.h) else {
        return;
    };
    let field = Field::new(spec.arms.color, spec.focused);
    fill_field(&mut target, rect, geometry.outer, style, spec, field);
    if side == Side::Top && spec.kind != FrameKind::Popup {
        let mut label = Label {
            style,
            spec,
            geometry: &geometry,
            field,
        };
        label.draw(&mut target);
    }
    // tiny-skia has R G B A.
    for pixel in pixels.chunks_exact_mut(4) {
        if let [r, _, b, _] = pixel {
            std::mem::swap(r, b);
        }
    }
}

/// The hatched ground of one side, with a dark line at the frame's outer edge that parts it from any neighbour.
fn fill_field(
    target: &mut PixmapMut<'_>,
    rect: PxRect,
    outer: (u32, u32),
    style: &Style,
    spec: &FrameSpec<'_>,
    field: Field,
) {
    let (period, line, edge) = (style.px(PERIOD), style.px(LINE), style.px(1));
    let rim = field.ground.mix(BLACK, 150);
    let opaque = |color: Rgb| [color.r, color.g, color.b, 255];
    let width = usize::try_from(rect.w).unwrap_or(1).max(1);
    for (y, row) in (rect.y..).zip(target.data_mut().chunks_exact_mut(width * 4)) {
        for (x, pixel) in (rect.x..).zip(row.chunks_exact_mut(4)) {
            let at_rim = x < edge
                || y < edge
                || outer.0.saturating_sub(x) <= edge
                || outer.1.saturating_sub(y) <= edge;
            let color = if at_rim {
                rim
            } else if is_ink(spec.arms.pattern, x, y, period, line) {
                field.ink
            } else {
                field.ground
            };
            pixel.copy_from_slice(&opaque(color));
        }
    }
}

fn color(rgb: Rgb, alpha: u8) -> Color {
    Color::from_rgba8(rgb.r, rgb.g, rgb.b, alpha)
}

fn px(value: u32) -> f32 {
    f32::from(u16::try_from(value).unwrap_or(u16::MAX))
}

fn rounded(rect: Rect, radius: f32) -> Option<Path> {
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
fn shield(rect: Rect) -> Option<Path> {
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

fn fill(target: &mut PixmapMut<'_>, path: Option<&Path>, with: Color) {
    let Some(path) = path else { return };
    let mut paint = Paint::default();
    paint.set_color(with);
    paint.anti_alias = true;
    target.fill_path(path, &paint, FillRule::Winding, Transform::identity(), None);
}

/// The label at the top of a window.
struct Label<'a> {
    style: &'a Style,
    spec: &'a FrameSpec<'a>,
    geometry: &'a Geometry,
    field: Field,
}

impl Label<'_> {
    fn draw(&mut self, target: &mut PixmapMut<'_>) {
        let buttons = self.geometry.buttons.first().map_or_else(
            || self.geometry.outer.0.saturating_sub(self.geometry.insets.right),
            |(_, rect)| rect.x,
        );
        let end = self.badge(target, px(buttons) - self.unit(4));
        let owner_end = self.owner(target, end);
        self.title(target, owner_end + self.unit(6), end);
        for (button, rect) in self.geometry.buttons.clone() {
            self.button(target, button, rect);
        }
    }

    fn unit(&self, logical: u32) -> f32 {
        px(self.style.px(logical))
    }

    fn height(&self) -> f32 {
        px(self.geometry.insets.top)
    }

    fn font_size(&self) -> f32 {
        #[expect(clippy::cast_possible_truncation, reason = "a scale is a small number")]
        let size = self.style.font_size * self.style.scale as f32;
        // The slim label of fullscreen windows has less room.
        size.min(self.height() * 0.62)
    }

    /// The compositor's word about the VM, before the buttons: in amber, which no owner's box has. A narrow label gets
    /// the sign without the word. Returns where the rest of the label ends.
    fn badge(&self, target: &mut PixmapMut<'_>, end: f32) -> f32 {
        let Some(badge) = self.spec.badge else { return end };
        let pad = self.unit(4);
        let (top, height) = (pad, self.height() - 2.0 * pad);
        let word = layout(badge.word(), Weight::Bold, self.font_size() * 0.84);
        let side = self.unit(5);
        let sign = height * 0.5;
        let whole = sign + word.width + 3.0 * side;
        // The owner's box comes first: its shield and the beginning of a name must keep their place.
        let room = end - px(self.geometry.insets.left) - self.height() * 3.0;
        let width = if whole <= room { whole } else { sign + 2.0 * side };
        if width > end - px(self.geometry.insets.left) - self.height() {
            return end;
        }
        let Some(pill) = Rect::from_xywh(end - width, top, width, height) else {
            return end;
        };
        let rim = self.unit(1);
        if let Some(around) = pill.outset(rim, rim) {
            fill(target, rounded(around, self.unit(5)).as_ref(), color(INK, 255));
        }
        fill(target, rounded(pill, self.unit(4)).as_ref(), color(AMBER, 255));
        let (x, y) = (pill.left() + side, top + (height - sign) / 2.0);
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
        fill(target, path.finish().as_ref(), color(INK, 255));
        if width >= whole {
            let baseline = top + f32::midpoint(height, word.cap_height);
            word.draw(target, x + sign + side, baseline.round(), color(INK, 255));
        }
        pill.left() - self.unit(5)
    }

    /// The owner's box: shield with glyph, then the name. Returns where it ends.
    fn owner(&self, target: &mut PixmapMut<'_>, end: f32) -> f32 {
        // The slim label has no room to give away.
        let pad = self.unit(if self.spec.kind == FrameKind::Fullscreen {
            2
        } else {
            3
        });
        let (top, height) = (pad, self.height() - 2.0 * pad);
        let left = px(self.geometry.insets.left).max(pad);
        let shield_width = height * 0.86;
        let inner = self.unit(if self.spec.kind == FrameKind::Fullscreen {
            1
        } else {
            2
        });
        let name_left = left + inner + shield_width + self.unit(5);
        let room = end - name_left - self.unit(6);
        let name = fit(
            &self.spec.arms.name,
            Weight::Bold,
            self.font_size(),
            room.max(0.0),
        );
        let right = name.as_ref().map_or(left + shield_width + 2.0 * inner, |name| {
            name_left + name.width + self.unit(7)
        });
        let parchment = if self.spec.focused {
            PARCHMENT
        } else {
            PARCHMENT_FAINT
        };
        let Some(frame) = Rect::from_ltrb(left, top, right, top + height) else {
            return left;
        };
        // A dark rim keeps the box apart from a light tincture.
        let rim = self.unit(1);
        if let Some(around) = frame.outset(rim, rim) {
            let dark = color(self.field.ground.mix(BLACK, 150), 255);
            fill(target, rounded(around, self.unit(4)).as_ref(), dark);
        }
        fill(
            target,
            rounded(frame, self.unit(3)).as_ref(),
            color(parchment, 255),
        );

        let box_top = top + inner;
        let box_height = height - 2.0 * inner;
        if let Some(rect) = Rect::from_xywh(left + inner, box_top, shield_width, box_height) {
            let shape = shield(rect);
            fill(target, shape.as_ref(), color(self.field.ground, 255));
            if self.field.ground.luma() > 150
                && let Some(shape) = &shape
            {
                let mut paint = Paint::default();
                paint.set_color(color(INK, 255));
                let stroke = Stroke {
                    width: self.unit(1),
                    ..Stroke::default()
                };
                target.stroke_path(shape, &paint, &stroke, Transform::identity(), None);
            }
            let glyph = layout(&self.spec.arms.glyph, Weight::Bold, box_height * 0.72);
            let on = if self.field.ground.luma() > 150 {
                INK
            } else {
                WHITE
            };
            let x = rect.left() + (rect.width() - glyph.width) / 2.0;
            let baseline = rect.top() + box_height * 0.44 + glyph.cap_height / 2.0;
            glyph.draw(target, x, baseline.round(), color(on, 255));
        }
        if let Some(name) = name {
            let baseline = top + f32::midpoint(height, name.cap_height);
            name.draw(target, name_left, baseline.round(), color(INK, 255));
        }
        right
    }

    /// The client's title: after the owner, smaller, in its own pill, cut first.
    fn title(&self, target: &mut PixmapMut<'_>, from: f32, end: f32) {
        let title = safe_title(self.spec.untrusted_title, self.spec.title_rule);
        let side = self.unit(7);
        let room = end - from - 2.0 * side;
        if title.is_empty() || room < self.unit(24) {
            return;
        }
        let Some(line) = fit(&title, Weight::Regular, self.font_size() * 0.92, room) else {
            return;
        };
        let pad = self.unit(4);
        let Some(pill) = Rect::from_ltrb(from, pad, from + line.width + 2.0 * side, self.height() - pad)
        else {
            return;
        };
        fill(
            target,
            rounded(pill, self.unit(8)).as_ref(),
            color(self.field.ground.mix(BLACK, 168), 255),
        );
        let baseline = f32::midpoint(self.height(), line.cap_height);
        let alpha = if self.spec.focused { 235 } else { 190 };
        line.draw_within(target, from + side, baseline.round(), color(WHITE, alpha), pill);
    }

    fn button(&self, target: &mut PixmapMut<'_>, button: Button, rect: PxRect) {
        let hover = self.spec.hover == Some(button);
        let pad = self.unit(3);
        let (x, y, size) = (
            px(rect.x) + pad,
            px(rect.y) + pad - self.unit(1) / 2.0,
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
            (true, _) => self.field.ground.mix(WHITE, 60),
            (false, _) => self.field.ground.mix(BLACK, 168),
        };
        fill(target, rounded(area, self.unit(4)).as_ref(), color(back, 255));
        let mut paint = Paint::default();
        paint.set_color(color(WHITE, if self.spec.focused || hover { 255 } else { 190 }));
        paint.anti_alias = true;
        let stroke = Stroke {
            width: (self.unit(3) / 2.0).max(1.0),
            ..Stroke::default()
        };
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
                let shift = if self.spec.maximized { size * 0.10 } else { 0.0 };
                let front = Rect::from_ltrb(l, t + shift, r - shift, b);
                let behind = Rect::from_ltrb(l + shift, t, r, b - shift).filter(|_| shift > 0.0);
                for rect in [front, behind].into_iter().flatten() {
                    path.push_rect(rect);
                }
            }
        }
        if let Some(path) = path.finish() {
            target.stroke_path(&path, &paint, &stroke, Transform::identity(), None);
        }
    }
}
