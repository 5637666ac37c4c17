// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host daemon: one listener per app VM, the hand-over of accepted connections to the compositor, the splice
//! between the two, and the memory server; each VM in a process of its own.
//!
//! Wayland is not parsed here. A connection's identity is the listener it came by; nothing that a client sends is
//! looked at for it. Start reading at [`supervisor`].
#![forbid(unsafe_code)]

mod classify;
mod compositor;
mod link;
mod listeners;
mod lock;
mod orders;
pub mod part;
mod poller;
mod stats;
pub mod supervisor;
mod vm;

// Public for a test, which makes system calls of which there are no safe forms.
#[doc(hidden)]
pub mod filter;
// Public for the fuzz targets alone: what they see from the daemon's sockets is too slow and too coarse to fuzz.
#[doc(hidden)]
pub mod memory;
#[doc(hidden)]
pub mod splice;
#[doc(hidden)]
pub mod stand_in;

pub use listeners::ListenError;
pub use lock::LockError;
