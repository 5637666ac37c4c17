// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host daemon: one listener per app VM, the hand-over of accepted connections to the compositor, the splice
//! between the two, and the memory server.
//!
//! Wayland is not parsed here. A connection's identity is the listener it came by; nothing that a client sends is
//! looked at for it. Start reading at [`daemon`].
#![forbid(unsafe_code)]

mod classify;
pub mod daemon;
mod handover;
mod listeners;
mod memory;
mod splice;
mod stats;

pub use listeners::ListenError;
