// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that speaks virtio_wl, the device that carries Wayland connections out of a virtual machine.
//!
//! | module | what it is |
//! |---|---|
//! | [`uapi`] | the guest driver's user interface: ioctl numbers, structures, errors |
//! | [`guest`] | a library for programs inside the VM: contexts, host memory, pipes |
//! | [`device`] | the host side and the guest driver as state machines without I/O |
//!
//! Nothing here knows Wayland: a context carries bytes and descriptors. `unsafe` is confined to the private
//! module `sys`, one operation per block.
//!
//! Start reading at [`guest::Device`] for the compositor's side, at [`heraldry_wire`] for what both sides say.

pub mod device;
pub mod guest;
pub mod uapi;

mod sys;
