// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has to be promised to EGL, and to the kernel for a device's input.
#![expect(unsafe_code, reason = "these calls are only safe as the comments say")]

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::without_provenance_mut;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};
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

/// `EVIOCGRAB` of `linux/input.h`: whatever is not zero takes the input.
struct Grab;

// SAFETY: the call's argument is a number by value, and it writes nothing (drivers/input/evdev.c).
unsafe impl Ioctl for Grab {
    type Output = ();
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        opcode::write::<i32>(b'E', 0x90)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        without_provenance_mut(1)
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
        Ok(())
    }
}

/// Takes the input of an evdev device for this descriptor alone, until it is closed: nobody else who reads the device hears of
/// it, nor do the kernel's virtual terminals.
pub(super) fn grab(device: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the descriptor is open and the call as described above; what is no evdev device refuses it.
    unsafe { ioctl(device, Grab) }
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
