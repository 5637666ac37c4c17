// SPDX-License-Identifier: MIT OR Apache-2.0
//! A short notice of the compositor's own, in a look that no VM's frame has.

use tiny_skia::{Color, PixmapMut};

use crate::canvas::{Canvas, to_bgra};
use crate::spec::Style;
use crate::text::{Weight, layout};

/// A drawn notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Width and height in physical pixels.
    pub size: (u32, u32),
    /// Opaque B G R A, no padding.
    pub pixels: Vec<u8>,
}

/// Black on amber with a hazard edge.
const GROUND: [u8; 3] = [0xff, 0xc0, 0x30];
const INK: [u8; 3] = [0x18, 0x14, 0x08];

/// Draws a notice with `text`.
#[must_use]
pub fn notice(text: &str, style: &Style) -> Notice {
    #[expect(clippy::cast_possible_truncation, reason = "a scale is a small number")]
    let line = layout(text, Weight::Bold, style.font_size * style.scale as f32);
    let (edge, pad) = (style.px(6), style.px(8));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the width of a short text"
    )]
    let text_width = line.width.ceil().clamp(0.0, 4096.0) as u32;
    let size = (text_width + 2 * (edge + pad), style.px(24));
    let period = style.px(8).max(2);
    let mut pixels = Vec::with_capacity(usize::try_from(size.0 * size.1 * 4).unwrap_or(0));
    for y in 0..size.1 {
        for x in 0..size.0 {
            let hazard = x < edge || x >= size.0 - edge;
            let [r, g, b] = if hazard && (x + y) % period < period / 2 {
                INK
            } else {
                GROUND
            };
            pixels.extend_from_slice(&[r, g, b, 0xff]);
        }
    }
    if let Some(target) = PixmapMut::from_bytes(&mut pixels, size.0, size.1) {
        let float = |value: u32| f32::from(u16::try_from(value).unwrap_or(u16::MAX));
        let baseline = f32::midpoint(float(size.1), line.cap_height).round();
        let [r, g, b] = INK;
        Canvas::new(target).write(
            &line,
            float(edge + pad),
            baseline,
            Color::from_rgba8(r, g, b, 0xff),
        );
    }
    to_bgra(&mut pixels);
    Notice { size, pixels }
}
