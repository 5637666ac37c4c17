// SPDX-License-Identifier: MIT OR Apache-2.0
//! Machines: the compositor's VM in QEMU, on a real kernel, with real DRM and input devices.
//!
//! [`Machine`] is one; its screen, keys and pointer are reached through QMP, programs in it through a shell on the
//! second serial port, and what init and the compositor say through the first. [`attempt`] runs a test and gives QEMU,
//! not the test, a second chance.

mod app;
mod image;
mod machine;
mod qmp;
mod screen;
mod shell;

pub use app::AppDevice;
pub use image::{
    Files, Image, app_image, app_image_with_gtk, base, image_with_gl, kernel, lists, qemu, test_image,
};
pub use machine::{Machine, Setup, attempt, skipped};
pub use qmp::Qmp;
pub use screen::Head;
pub use shell::Shell;

use std::time::Duration;

/// Whoever waits longer than this in a machine has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);
