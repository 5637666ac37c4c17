// SPDX-License-Identifier: MIT OR Apache-2.0
//! The scene as a picture, independent of what is on the screen already.

use std::io::Write;

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::{Bind, Color32F, ExportMem, Offscreen};
use smithay::utils::{Buffer, Physical, Rectangle, Size, Transform};

use super::RenderError;
use crate::desktop::outputs::ScreenId;
use crate::render::elements::SceneElement;
use crate::render::painter::Painter;
use crate::render::scene;
use crate::state::Core;

/// Pixels read back: rows from top to bottom, R G B A, 8 bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `width * height * 4` bytes.
    pub rgba: Vec<u8>,
}

impl Picture {
    /// Writes a PNG.
    pub fn write_png(&self, to: impl Write) -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(to, self.width, self.height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header()?.write_image_data(&self.rgba)
    }
}

/// Draws a screen into a buffer of its own and reads it back.
pub(super) fn of<R, T>(renderer: &mut R, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError>
where
    R: Painter + Offscreen<T> + Bind<T> + ExportMem,
    RenderError: From<R::Error>,
{
    let (size, scale) = core
        .outputs
        .get(screen)
        .map(|screen| (screen.size(), screen.scale()))
        .ok_or(RenderError::NoScreen)?;
    let elements = scene::build(renderer, core, screen);
    capture(renderer, &elements, size, scale, core.render.background)
}

fn capture<R, T>(
    renderer: &mut R,
    elements: &[SceneElement<R>],
    size: Size<i32, Physical>,
    scale: f64,
    background: Color32F,
) -> Result<Picture, RenderError>
where
    R: Painter + Offscreen<T> + Bind<T> + ExportMem,
    RenderError: From<R::Error>,
{
    let buffer_size = Size::<i32, Buffer>::from((size.w, size.h));
    let mut buffer = renderer.create_buffer(Fourcc::Abgr8888, buffer_size)?;
    let mut target = renderer.bind(&mut buffer)?;
    let mut tracker = OutputDamageTracker::new(size, scale, Transform::Normal);
    tracker
        .render_output(renderer, &mut target, 0, elements, background)
        .map_err(|error| RenderError::Damage(error.to_string()))?;
    read_back(renderer, &target, size)
}

/// What is on a target.
pub(super) fn read_back<R: ExportMem>(
    renderer: &mut R,
    target: &R::Framebuffer<'_>,
    size: Size<i32, Physical>,
) -> Result<Picture, RenderError>
where
    RenderError: From<R::Error>,
{
    let whole = Rectangle::from_size(Size::<i32, Buffer>::from((size.w, size.h)));
    let mapping = renderer.copy_framebuffer(target, whole, Fourcc::Abgr8888)?;
    let bytes = renderer.map_texture(&mapping)?;
    let (width, height) = (
        u32::try_from(size.w).unwrap_or(0),
        u32::try_from(size.h).unwrap_or(0),
    );
    let row = usize::try_from(width).unwrap_or(0) * 4;
    let stride = bytes
        .len()
        .checked_div(usize::try_from(height).unwrap_or(0))
        .unwrap_or(row);
    let rgba = bytes
        .chunks(stride.max(1))
        .flat_map(|line| line.iter().take(row).copied())
        .collect();
    Ok(Picture { width, height, rgba })
}
