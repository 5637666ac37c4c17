// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where pictures go and input comes from. All backends draw the same scene; what differs is the renderer and who
//! shows the result.

pub mod headless;
pub mod kms;
mod screenshot;
mod sys;
pub mod winit;

use std::time::Duration;

use smithay::backend::input::{Axis, InputBackend, PointerAxisEvent, TouchSlot};

pub use screenshot::Picture;

use crate::desktop::outputs::ScreenId;
use crate::input::Event;
use crate::state::{Core, State};

/// Time between two frames: 60 a second.
pub const FRAME_INTERVAL: Duration = Duration::from_nanos(16_666_667);

/// Why a frame could not be drawn or read back.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// Pixman said no.
    #[error("the software renderer failed")]
    Pixman(#[from] smithay::backend::renderer::pixman::PixmanError),
    /// GL said no.
    #[error("the GL renderer failed")]
    Gles(#[from] smithay::backend::renderer::gles::GlesError),
    /// There is no GL.
    #[error(
        "GL is not to be had: install Mesa's drivers (libegl1, libgl1-mesa-dri), or use --renderer pixman"
    )]
    NoGl(#[from] sys::GlesFailure),
    /// The window system did not take the buffer.
    #[error("the window could not be swapped")]
    Swap(#[from] smithay::backend::SwapBuffersError),
    /// Drawing the scene failed; the text is the renderer's.
    #[error("drawing the scene failed: {0}")]
    Damage(String),
    /// The screen was unplugged.
    #[error("there is no such screen")]
    NoScreen,
    /// There is nothing to draw with.
    #[error("no backend is running")]
    NoBackend,
}

/// A backend.
#[derive(Debug)]
pub enum Backend {
    /// Nothing is shown: a test fixture that needs no pixels.
    Blind,
    /// Into memory.
    Headless(Box<headless::Headless>),
    /// A window of another compositor or an X server.
    Winit(Box<winit::Winit>),
    /// Real screens; they draw each in its own time, by [`crate::state::State`]'s `kms_frames`.
    Kms(Box<kms::Kms>),
}

impl Backend {
    /// Draws what changed. Returns whether anything had.
    pub fn render(&mut self, core: &mut Core) -> Result<bool, RenderError> {
        match self {
            Self::Blind | Self::Kms(_) => Ok(false),
            Self::Headless(headless) => headless.render(core),
            Self::Winit(winit) => winit.render(core),
        }
    }

    /// Draws a whole screen again and reads it back.
    pub fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        match self {
            Self::Blind => Err(RenderError::NoBackend),
            Self::Headless(headless) => headless.screenshot(core, screen),
            Self::Winit(winit) => winit.screenshot(core, screen),
            Self::Kms(kms) => kms.screenshot(core, screen),
        }
    }

    /// What a screen in memory shows, as frame after frame has left it; nothing is drawn for this.
    pub fn shown(&mut self) -> Result<Picture, RenderError> {
        match self {
            Self::Headless(headless) => headless.shown(),
            Self::Blind | Self::Winit(_) | Self::Kms(_) => Err(RenderError::NoBackend),
        }
    }

    /// Its name, as the command line has it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Blind => "blind",
            Self::Headless(_) => "headless",
            Self::Winit(_) => "winit",
            Self::Kms(_) => "kms",
        }
    }
}

/// Takes a scroll of a backend's device. A wheel that only counts its clicks moves 15 logical pixels with each.
fn scroll<B: InputBackend>(state: &mut State, event: &impl PointerAxisEvent<B>) {
    for axis in [Axis::Horizontal, Axis::Vertical] {
        let v120 = event.amount_v120(axis);
        let distance = event
            .amount(axis)
            .or_else(|| v120.map(|v120| v120 * 15.0 / 120.0));
        if let Some(distance) = distance.filter(|distance| *distance != 0.0) {
            state.input(Event::Scroll(axis, event.source(), distance, v120));
        }
    }
}

/// A finger's number. Devices that know one finger only do not number it.
fn finger(slot: TouchSlot) -> u32 {
    u32::try_from(i32::from(slot)).unwrap_or(0)
}
