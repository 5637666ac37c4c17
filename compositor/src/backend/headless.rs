// SPDX-License-Identifier: MIT OR Apache-2.0
//! Into memory, with Pixman or with GL: for tests, the demo and machines without a screen.

use smithay::backend::allocator::Fourcc;
use smithay::backend::egl::native::EGLSurfacelessDisplay;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesRenderer};
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{Bind, ExportMem, Offscreen};
use smithay::reexports::pixman::Image;
use smithay::utils::{Physical, Size};

use super::kms::RendererChoice;
use super::{Picture, RenderError, screenshot, sys};
use crate::desktop::outputs::{Screen, ScreenId};
use crate::render::painter::Painter;
use crate::render::scene;
use crate::state::Core;

/// A renderer and what it draws on.
enum Canvas {
    Pixman(Surface<PixmanRenderer, Image<'static, 'static>>),
    Gles(Box<Surface<GlesRenderer, GlesRenderbuffer>>),
}

struct Surface<R, T> {
    renderer: R,
    target: T,
}

/// A screen in memory.
pub struct Headless {
    canvas: Canvas,
    tracker: OutputDamageTracker,
    screen: ScreenId,
    size: Size<i32, Physical>,
    /// Whether the target holds the last frame.
    drawn: bool,
    /// Frames that had damage.
    pub frames: u64,
}

impl std::fmt::Debug for Headless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Headless")
            .field("size", &self.size)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl<R, T> Surface<R, T>
where
    R: Painter + Bind<T> + Offscreen<T> + ExportMem,
    RenderError: From<R::Error>,
{
    fn new(mut renderer: R, format: Fourcc, size: Size<i32, Physical>) -> Result<Self, RenderError> {
        let target = renderer.create_buffer(format, (size.w, size.h).into())?;
        Ok(Self { renderer, target })
    }

    /// Draws what has changed. True if anything had.
    fn render(
        &mut self,
        core: &mut Core,
        screen: ScreenId,
        tracker: &mut OutputDamageTracker,
        age: usize,
    ) -> Result<bool, RenderError> {
        let elements = scene::build(&mut self.renderer, core, screen);
        let mut target = self.renderer.bind(&mut self.target)?;
        let background = core.render.background;
        let result = tracker
            .render_output(&mut self.renderer, &mut target, age, &elements, background)
            .map_err(|error| RenderError::Damage(error.to_string()))?;
        Ok(result.damage.is_some_and(|damage| !damage.is_empty()))
    }

    fn shown(&mut self, size: Size<i32, Physical>) -> Result<Picture, RenderError> {
        let target = self.renderer.bind(&mut self.target)?;
        screenshot::read_back(&mut self.renderer, &target, size)
    }
}

impl Headless {
    /// Shows `screen`.
    pub fn new(screen: &Screen, renderer: RendererChoice) -> Result<Self, RenderError> {
        let size = screen.setup().size;
        let canvas = match renderer {
            RendererChoice::Auto | RendererChoice::Pixman => {
                Canvas::Pixman(Surface::new(PixmanRenderer::new()?, Fourcc::Xrgb8888, size)?)
            }
            RendererChoice::Gles => {
                let (renderer, _) = sys::gles(EGLSurfacelessDisplay)?;
                Canvas::Gles(Box::new(Surface::new(renderer, Fourcc::Abgr8888, size)?))
            }
        };
        Ok(Self {
            canvas,
            tracker: OutputDamageTracker::from_output(screen.output()),
            screen: screen.id(),
            size,
            drawn: false,
            frames: 0,
        })
    }

    pub(super) fn render(&mut self, core: &mut Core) -> Result<bool, RenderError> {
        let age = usize::from(self.drawn);
        let damaged = match &mut self.canvas {
            Canvas::Pixman(surface) => surface.render(core, self.screen, &mut self.tracker, age),
            Canvas::Gles(surface) => surface.render(core, self.screen, &mut self.tracker, age),
        }?;
        self.drawn = true;
        self.frames = self.frames.saturating_add(u64::from(damaged));
        Ok(damaged)
    }

    /// What the screen shows: all that was drawn so far, one frame's changes on top of the other's.
    pub(super) fn shown(&mut self) -> Result<Picture, RenderError> {
        match &mut self.canvas {
            Canvas::Pixman(surface) => surface.shown(self.size),
            Canvas::Gles(surface) => surface.shown(self.size),
        }
    }

    pub(super) fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        match &mut self.canvas {
            Canvas::Pixman(surface) => {
                screenshot::of::<_, Image<'static, 'static>>(&mut surface.renderer, core, screen)
            }
            Canvas::Gles(surface) => {
                screenshot::of::<_, GlesRenderbuffer>(&mut surface.renderer, core, screen)
            }
        }
    }
}
