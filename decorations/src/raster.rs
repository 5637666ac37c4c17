// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pixels of a frame.

use crate::geometry::{Side, geometry};
use crate::spec::{FrameSpec, Style};

/// Fills `pixels` with one side of a frame: 4 bytes a pixel, B G R A in memory (ARGB8888 little-endian),
/// premultiplied, opaque, no padding between rows; `pixels` holds exactly the side's rectangle.
pub fn draw(side: Side, style: &Style, spec: &FrameSpec<'_>, pixels: &mut [u8]) {
    let _ = geometry(style, spec).side(side);
    let color = spec.arms.color;
    for pixel in pixels.chunks_exact_mut(4) {
        pixel.copy_from_slice(&[color.b, color.g, color.r, 0xff]);
    }
}
