// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pixman into memory: for tests, the demo and machines without a screen.

use smithay::backend::allocator::Fourcc;
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::backend::renderer::{Bind, Offscreen};
use smithay::reexports::pixman::Image;
use smithay::utils::{Physical, Size};

use super::{Picture, RenderError, screenshot};
use crate::outputs::{Screen, ScreenId};
use crate::render::scene;
use crate::state::Core;

/// A screen in memory.
pub struct Headless {
    renderer: PixmanRenderer,
    image: Image<'static, 'static>,
    tracker: OutputDamageTracker,
    screen: ScreenId,
    size: Size<i32, Physical>,
    /// Whether the image holds the last frame.
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

impl Headless {
    /// Shows `screen`.
    pub fn new(screen: &Screen) -> Result<Self, RenderError> {
        let mut renderer = PixmanRenderer::new()?;
        let size = screen.setup().size;
        let image = renderer.create_buffer(Fourcc::Xrgb8888, (size.w, size.h).into())?;
        let tracker = OutputDamageTracker::from_output(screen.output());
        Ok(Self {
            renderer,
            image,
            tracker,
            screen: screen.id(),
            size,
            drawn: false,
            frames: 0,
        })
    }

    pub(super) fn render(&mut self, core: &mut Core) -> Result<bool, RenderError> {
        let elements = scene::build(&mut self.renderer, core, self.screen);
        let age = usize::from(self.drawn);
        let mut target = self.renderer.bind(&mut self.image)?;
        let result = self
            .tracker
            .render_output(
                &mut self.renderer,
                &mut target,
                age,
                &elements,
                core.render.background,
            )
            .map_err(|error| RenderError::Damage(error.to_string()))?;
        self.drawn = true;
        let damaged = result.damage.is_some_and(|damage| !damage.is_empty());
        self.frames = self.frames.saturating_add(u64::from(damaged));
        Ok(damaged)
    }

    /// What the screen shows: all that was drawn so far, one frame's changes on top of the other's.
    pub(super) fn shown(&mut self) -> Result<Picture, RenderError> {
        let target = self.renderer.bind(&mut self.image)?;
        screenshot::read_back(&mut self.renderer, &target, self.size)
    }

    pub(super) fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        screenshot::of::<_, Image<'static, 'static>>(&mut self.renderer, core, screen)
    }
}
