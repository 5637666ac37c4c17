// SPDX-License-Identifier: MIT OR Apache-2.0
//! The two ways to a picture on a real screen: GL into GBM buffers, or Pixman into dumb buffers.
//!
//! No client's buffer is ever scanned out directly: its frame would be on another plane, or on none. Only the pointer
//! may have a plane of its own, and it is always our picture.

use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::dumb::DumbAllocator;
use smithay::backend::allocator::gbm::{GbmAllocator, GbmBufferFlags, GbmDevice};
use smithay::backend::allocator::{Format, Fourcc};
use smithay::backend::drm::compositor::{DrmCompositor, FrameError, FrameFlags};
use smithay::backend::drm::exporter::gbm::GbmFramebufferExporter;
use smithay::backend::drm::{DrmDevice, DrmDeviceFd, DrmNode, DrmSurface};
use smithay::backend::renderer::Bind;
use smithay::backend::renderer::gles::{GlesRenderbuffer, GlesRenderer};
use smithay::backend::renderer::pixman::PixmanRenderer;
use smithay::output::Output;
use smithay::reexports::drm::control::Mode;
use smithay::reexports::pixman::Image;
use tracing::{info, warn};

use crate::backend::{Picture, RenderError, screenshot, sys};
use crate::desktop::outputs::ScreenId;
use crate::render::scene;
use crate::state::Core;

/// What draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum RendererChoice {
    /// GL if a GPU does it, else Pixman.
    #[default]
    Auto,
    /// The processor, into dumb buffers.
    Pixman,
    /// GL, even if only the processor runs it (llvmpipe): slower than Pixman.
    Gles,
}

/// Tried in this order: what is behind the picture is opaque anyway.
const FORMATS: [Fourcc; 2] = [Fourcc::Xrgb8888, Fourcc::Argb8888];

/// Who wants to know when a frame is seen.
type Feedback = Option<crate::frame_feedback::FrameFeedback>;
type Dumb = DrmCompositor<DumbAllocator, DrmDeviceFd, Feedback, DrmDeviceFd>;
type Gbm =
    DrmCompositor<GbmAllocator<DrmDeviceFd>, GbmFramebufferExporter<DrmDeviceFd>, Feedback, DrmDeviceFd>;

/// Why nothing can be drawn on a screen.
#[derive(Debug, thiserror::Error)]
pub(super) enum PaintError {
    /// The device does not show our pictures.
    #[error("the device refused: {0}")]
    Device(String),
    /// The session is not in front.
    #[error("the device is someone else's for now")]
    Inactive,
    /// Drawing failed.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// The renderer of a device.
pub(super) enum Painter {
    Pixman(PixmanRenderer),
    Gles {
        renderer: Box<GlesRenderer>,
        gbm: GbmDevice<DrmDeviceFd>,
    },
}

/// The buffers of a screen.
pub(super) enum Canvas {
    Dumb(Box<Dumb>),
    Gbm(Box<Gbm>),
}

impl Painter {
    /// Chooses by what the device has.
    pub(super) fn new(fd: &DrmDeviceFd, choice: RendererChoice) -> Result<Self, PaintError> {
        // Looking for GL takes longer than everything else of a start, and nothing but a GPU has a render node.
        let gpu = DrmNode::from_file(fd).is_ok_and(|node| node.has_render());
        if choice == RendererChoice::Gles || (choice == RendererChoice::Auto && gpu) {
            match Self::gl(fd, choice == RendererChoice::Gles) {
                Ok(painter) => return Ok(painter),
                Err(error) if choice == RendererChoice::Gles => return Err(error),
                Err(error) => info!(%error, "the GPU has no GL for us; Pixman draws"),
            }
        }
        Ok(Self::Pixman(PixmanRenderer::new().map_err(RenderError::from)?))
    }

    fn gl(fd: &DrmDeviceFd, software_too: bool) -> Result<Self, PaintError> {
        let failed = |error: &dyn std::fmt::Display| PaintError::Device(error.to_string());
        let gbm = GbmDevice::new(fd.clone()).map_err(|error| failed(&error))?;
        let (renderer, software) = sys::gles(gbm.clone()).map_err(|error| failed(&error))?;
        if software && !software_too {
            return Err(PaintError::Device("its GL runs on the processor".to_owned()));
        }
        if software {
            warn!("GL runs on the processor; --renderer pixman is faster");
        }
        Ok(Self::Gles {
            renderer: Box::new(renderer),
            gbm,
        })
    }

    /// Its name, as the command line has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pixman(_) => "pixman",
            Self::Gles { .. } => "gles",
        }
    }

    /// Buffers for a screen.
    pub(super) fn canvas(
        &self,
        device: &DrmDevice,
        surface: DrmSurface,
        output: &Output,
    ) -> Result<Canvas, PaintError> {
        let fd = device.device_fd();
        let size = device.cursor_size();
        match self {
            Self::Pixman(renderer) => {
                let formats = Bind::<Dmabuf>::supported_formats(renderer).unwrap_or_default();
                let formats: Vec<Format> = formats.into_iter().collect();
                let allocator = DumbAllocator::new(fd.clone());
                DrmCompositor::new(
                    output,
                    surface,
                    None,
                    allocator,
                    fd.clone(),
                    FORMATS,
                    formats,
                    size,
                    None,
                )
                .map(|canvas| Canvas::Dumb(Box::new(canvas)))
                .map_err(|error| PaintError::Device(error.to_string()))
            }
            Self::Gles { renderer, gbm } => {
                let flags = GbmBufferFlags::RENDERING | GbmBufferFlags::SCANOUT;
                let allocator = GbmAllocator::new(gbm.clone(), flags);
                let exporter = GbmFramebufferExporter::new(gbm.clone(), None);
                let formats = renderer.egl_context().dmabuf_render_formats().clone();
                let gbm = Some(gbm.clone());
                DrmCompositor::new(
                    output, surface, None, allocator, exporter, FORMATS, formats, size, gbm,
                )
                .map(|canvas| Canvas::Gbm(Box::new(canvas)))
                .map_err(|error| PaintError::Device(error.to_string()))
            }
        }
    }

    /// Draws a screen and hands it over. True if it differs from the last frame, so that a vertical blank will come.
    pub(super) fn draw(
        &mut self,
        canvas: &mut Canvas,
        core: &mut Core,
        screen: ScreenId,
    ) -> Result<bool, PaintError> {
        let background = core.render.background;
        macro_rules! draw {
            ($renderer:expr, $canvas:expr, $flags:expr) => {{
                let elements = scene::build($renderer, core, screen);
                let frame = $canvas
                    .render_frame($renderer, &elements, background, $flags)
                    .map_err(|error| PaintError::Device(error.to_string()))?;
                if frame.is_empty {
                    return Ok(false);
                }
                if frame.needs_sync()
                    && let smithay::backend::drm::compositor::PrimaryPlaneElement::Swapchain(element) =
                        &frame.primary_element
                {
                    // Without fences in the kernel the picture must be finished before it is shown.
                    if let Err(error) = element.sync.wait() {
                        warn!(%error, "a frame may be shown unfinished");
                    }
                }
                drop(frame);
                let now = core.clock.now();
                let feedback = core.frame_drawn(screen, now);
                match $canvas.queue_frame(feedback) {
                    Ok(()) => Ok(true),
                    Err(FrameError::EmptyFrame) => Ok(false),
                    Err(FrameError::DrmError(smithay::backend::drm::DrmError::DeviceInactive)) => {
                        Err(PaintError::Inactive)
                    }
                    Err(error) => Err(PaintError::Device(error.to_string())),
                }
            }};
        }
        match (self, canvas) {
            (Self::Pixman(renderer), Canvas::Dumb(canvas)) => draw!(renderer, canvas, FrameFlags::empty()),
            (Self::Gles { renderer, .. }, Canvas::Gbm(canvas)) => {
                draw!(&mut **renderer, canvas, FrameFlags::ALLOW_CURSOR_PLANE_SCANOUT)
            }
            _ => Err(PaintError::Device(
                "the buffers are another renderer's".to_owned(),
            )),
        }
    }

    /// A screen as a picture.
    pub(super) fn screenshot(&mut self, core: &mut Core, screen: ScreenId) -> Result<Picture, RenderError> {
        match self {
            Self::Pixman(renderer) => screenshot::of::<_, Image<'static, 'static>>(renderer, core, screen),
            Self::Gles { renderer, .. } => {
                screenshot::of::<_, GlesRenderbuffer>(&mut **renderer, core, screen)
            }
        }
    }
}

impl Canvas {
    /// The frame that was handed over is seen now. Returns who wanted to know.
    pub(super) fn seen(&mut self) -> Feedback {
        let feedback = match self {
            Self::Dumb(canvas) => canvas.frame_submitted().map_err(|error| error.to_string()),
            Self::Gbm(canvas) => canvas.frame_submitted().map_err(|error| error.to_string()),
        };
        match feedback {
            Ok(feedback) => feedback.flatten(),
            Err(error) => {
                warn!(error, "the frame after this one was not taken");
                None
            }
        }
    }

    /// Somebody else used the device.
    pub(super) fn reset(&mut self) -> Result<(), PaintError> {
        let done = match self {
            Self::Dumb(canvas) => {
                canvas.reset_buffers();
                canvas.reset_state()
            }
            Self::Gbm(canvas) => {
                canvas.reset_buffers();
                canvas.reset_state()
            }
        };
        done.map_err(|error| PaintError::Device(error.to_string()))
    }

    /// Another mode, from the next frame on.
    pub(super) fn use_mode(&mut self, mode: Mode) -> Result<(), PaintError> {
        let done = match self {
            Self::Dumb(canvas) => canvas.use_mode(mode).map_err(|error| error.to_string()),
            Self::Gbm(canvas) => canvas.use_mode(mode).map_err(|error| error.to_string()),
        };
        done.map_err(PaintError::Device)
    }

    /// Makes the screen dark.
    pub(super) fn clear(&mut self) {
        let done = match self {
            Self::Dumb(canvas) => canvas.clear(),
            Self::Gbm(canvas) => canvas.clear(),
        };
        if let Err(error) = done {
            // Unplugged connectors and lost devices refuse.
            tracing::debug!(%error, "a screen cannot be cleared");
        }
    }
}
