// SPDX-License-Identifier: MIT OR Apache-2.0
//! The numbers of cross-domain virtio-gpu, which our device and our guest programs keep to.
//!
//! They are those of rutabaga (`cross_domain_protocol.rs`) and of the guests that are written for it. All fields are little-endian.
//! A command begins with its number, a byte for the ring, its whole size in 16 bits, and 32 bits for nothing.

use crate::virtwl::MAX_FDS;

/// The capability set.
pub const CAPSET: u32 = 5;
/// The channel for Wayland, the only one that we have.
pub const CHANNEL: u32 = 1;
/// The ring on which a context waits for messages.
pub const WAIT_RING: u32 = 1;

/// Bytes of a context's ring: a message fits into it.
pub const RING: usize = 4096;
/// Bytes that a command begins with.
pub const HEADER: usize = 8;
/// Bytes before the data of a message: the header, how many descriptors, how many bytes; numbers, kinds and sizes of descriptors.
pub const MESSAGE: usize = HEADER + 8 + 3 * 4 * MAX_FDS;
/// Bytes before the data of a pipe: the header, which pipe, whether it ends, how many bytes, nothing.
pub const PIPE: usize = HEADER + 16;
/// Most data of a message.
pub const ROOM: usize = RING - MESSAGE;
/// Most data of a pipe in one message.
pub const PIPE_ROOM: usize = RING - PIPE;

/// Where the guest begins to count the pipes that it reads; the first has the next number.
pub const READ_PIPES: u32 = 0x8000_0000;

/// Commands, and messages to the guest.
pub mod command {
    /// The context connects: query blob, message blob, channel.
    pub const INIT: u8 = 1;
    /// How is memory laid out: width, height, format, flags. The answer comes in the query blob.
    pub const IMAGE_REQUIREMENTS: u8 = 2;
    /// Tell of the next message.
    pub const POLL: u8 = 3;
    /// A message to the host.
    pub const SEND: u8 = 4;
    /// A message from the host.
    pub const RECEIVE: u8 = 5;
    /// Bytes of a pipe that the guest reads.
    pub const READ: u8 = 6;
    /// Bytes for a pipe that came from the host.
    pub const WRITE: u8 = 7;
}

/// Kinds of descriptors.
pub mod kind {
    /// Memory.
    pub const BLOB: u32 = 1;
    /// A pipe that the guest will read.
    pub const READ_PIPE: u32 = 3;
    /// A pipe that the guest may write.
    pub const WRITE_PIPE: u32 = 4;
}

/// Formats of pictures, as fourcc: one byte a pixel, and four.
pub mod format {
    /// Bytes.
    pub const R8: u32 = u32::from_le_bytes(*b"R8  ");
    /// Colour.
    pub const XRGB: u32 = u32::from_le_bytes(*b"XR24");
    /// Colour and opacity.
    pub const ARGB: u32 = u32::from_le_bytes(*b"AR24");
}
