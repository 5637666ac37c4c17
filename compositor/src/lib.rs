// SPDX-License-Identifier: MIT OR Apache-2.0
//! The compositor. The only crate that knows Smithay.
//!
//! Start reading at [`run`] (how it is put together), [`tick`] (what happens each turn of the loop) and
//! [`render::scene`] (how a client's pixels get on the screen, and that there is no other way).

pub mod backend;
pub mod cli;
pub mod control;
pub mod desktop;
pub mod frame_feedback;
mod handlers;
pub mod input;
mod mapping;
pub mod popups;
pub mod render;
pub mod run;
pub mod stacking;
pub mod state;
pub mod system;
pub mod tick;
pub mod trees;
pub mod vms;

/// PID 1 of the compositor's VM, and who starts the compositor again.
pub use heraldry_init as init;
