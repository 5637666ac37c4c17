// SPDX-License-Identifier: MIT OR Apache-2.0
//! A window of another compositor or an X server, drawn with GLES: for development.

use smithay::backend::input::{
    AbsolutePositionEvent, InputBackend, InputEvent, KeyboardKeyEvent, PointerButtonEvent, TouchEvent,
};
use smithay::backend::renderer::damage::OutputDamageTracker;
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesRenderer};
use smithay::backend::winit::{self as backend, WinitEvent, WinitEventLoop, WinitGraphicsBackend};
use smithay::reexports::winit::dpi::PhysicalSize;
use smithay::reexports::winit::window::Window as WinitWindow;
use smithay::utils::{Logical, Physical, Size, Transform};

use super::{Picture, RenderError, screenshot};
use crate::desktop::outputs::{Screen, ScreenId, Setup};
use crate::input::{Event, Touch};
use crate::render::scene;
use crate::state::{Core, State};

/// The window and its renderer.
pub struct Winit {
    graphics: WinitGraphicsBackend<GlesRenderer>,
    tracker: OutputDamageTracker,
    screen: ScreenId,
    /// The window lost its content: draw all of it.
    lost: bool,
}

impl std::fmt::Debug for Winit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Winit").finish_non_exhaustive()
    }
}

/// Opens the window; its events go to [`handle`].
pub fn open(
    size: Size<i32, Physical>,
) -> Result<(WinitGraphicsBackend<GlesRenderer>, WinitEventLoop), backend::Error> {
    let attributes = WinitWindow::default_attributes()
        .with_title("Heraldry")
        .with_inner_size(PhysicalSize::new(size.w.unsigned_abs(), size.h.unsigned_abs()));
    backend::init_from_attributes::<GlesRenderer>(attributes)
}

impl Winit {
    /// Wraps an opened window.
    #[must_use]
    pub fn new(graphics: WinitGraphicsBackend<GlesRenderer>, screen: &Screen) -> Self {
        let tracker = tracker(graphics.window_size(), screen.scale());
        Self {
            graphics,
            tracker,
            screen: screen.id(),
            lost: true,
        }
    }

    /// The size of the window.
    #[must_use]
    pub fn size(&self) -> Size<i32, Physical> {
        self.graphics.window_size()
    }

    pub(super) fn render(&mut self, core: &mut Core) -> Result<bool, RenderError> {
        let elements = scene::build(self.graphics.renderer(), core, self.screen);
        let age = if std::mem::take(&mut self.lost) {
            0
        } else {
            self.graphics.buffer_age().unwrap_or(0)
        };
        let damage = {
            let (renderer, mut target) = self.graphics.bind()?;
            self.tracker
                .render_output(renderer, &mut target, age, &elements, core.render.background)
                .map_err(|error| RenderError::Damage(error.to_string()))?
                .damage
                .cloned()
        };
        let Some(damage) = damage.filter(|damage| !damage.is_empty()) else {
            return Ok(false);
        };
        self.graphics.submit(Some(&damage))?;
        Ok(true)
    }

    pub(super) fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        screenshot::of::<_, GlesRenderbuffer>(self.graphics.renderer(), core, screen)
    }
}

/// GL's picture is upside down in a window.
fn tracker(size: Size<i32, Physical>, scale: f64) -> OutputDamageTracker {
    OutputDamageTracker::new(size, scale, Transform::Flipped180)
}

/// Takes one event of the window.
pub fn handle(state: &mut State, event: WinitEvent) {
    match event {
        WinitEvent::Resized { size, .. } => {
            let screen = state.core.outputs.first();
            let (id, setup) = (
                screen.id(),
                Setup {
                    size,
                    ..*screen.setup()
                },
            );
            state.set_up(id, setup);
            if let super::Backend::Winit(winit) = &mut state.backend {
                winit.tracker = tracker(size, setup.scale);
            }
            lost(state);
        }
        WinitEvent::Redraw => {
            lost(state);
            state.core.render.schedule();
        }
        WinitEvent::CloseRequested => state.core.stopping = true,
        WinitEvent::Input(event) => input(state, &event),
        WinitEvent::Focus(_) => {}
    }
}

fn lost(state: &mut State) {
    if let super::Backend::Winit(winit) = &mut state.backend {
        winit.lost = true;
    }
}

fn input<B: InputBackend>(state: &mut State, event: &InputEvent<B>) {
    let size: Size<i32, Logical> = state.core.outputs.first().rect().size;
    match event {
        InputEvent::Keyboard { event } => state.input(Event::Key(event.key_code(), event.state())),
        InputEvent::PointerMotionAbsolute { event } => {
            state.input(Event::Motion(event.position_transformed(size)))
        }
        InputEvent::PointerButton { event } => state.input(Event::Button(event.button_code(), event.state())),
        InputEvent::PointerAxis { event } => {
            super::scroll(state, event);
        }
        InputEvent::TouchDown { event } => {
            // Only the first touch shows that there is something to touch.
            state.core.offer_touch(true);
            let at = event.position_transformed(size);
            touch(state, Touch::Down(super::finger(event.slot()), at));
        }
        InputEvent::TouchMotion { event } => {
            let at = event.position_transformed(size);
            touch(state, Touch::Motion(super::finger(event.slot()), at));
        }
        InputEvent::TouchUp { event } => touch(state, Touch::Up(super::finger(event.slot()))),
        InputEvent::TouchCancel { .. } => touch(state, Touch::Cancel),
        _ => {}
    }
}

/// Each event stands for itself: the window system sends no frames.
fn touch(state: &mut State, touch: Touch) {
    state.input(Event::Touch(touch));
    state.input(Event::Touch(Touch::Frame));
}
