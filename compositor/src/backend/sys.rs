// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has to be promised to EGL.
#![expect(unsafe_code, reason = "EGL's calls are only safe as the comments say")]

use smithay::backend::egl::native::EGLNativeDisplay;
use smithay::backend::egl::{self, EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::{GlesError, GlesRenderer};

/// A GL renderer for a device or for none, and whether it is one that only the processor runs.
pub(super) fn gles(device: impl EGLNativeDisplay + 'static) -> Result<(GlesRenderer, bool), GlesFailure> {
    // SAFETY: the display keeps the device, which keeps its descriptor open for as long as it lives.
    let display = unsafe { EGLDisplay::new(device) }?;
    let software = EGLDevice::device_for_display(&display).is_ok_and(|device| device.is_software());
    let context = EGLContext::new(&display)?;
    // SAFETY: the context was made just now, on this thread, and nobody else has it.
    let renderer = unsafe { GlesRenderer::new(context) }?;
    Ok((renderer, software))
}

/// Why there is no GL.
#[derive(Debug, thiserror::Error)]
pub enum GlesFailure {
    /// EGL said no.
    #[error("EGL: {0}")]
    Egl(#[from] egl::Error),
    /// GL said no.
    #[error("GL: {0}")]
    Gles(#[from] GlesError),
}
