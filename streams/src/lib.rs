// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many connections over one channel: between the compositor's VM and the host there is one way for bytes and descriptors, and
//! each client, the display socket and the memory server are streams on it.
//!
//! At both ends of a stream is a socket of the machine it is on: who uses one doesn't know of the channel. The compositor opens
//! streams, by the name of the context that it would have connected to otherwise; the host hands the other ends to whoever serves
//! such connections. What is said on a stream is the same as ever.
//!
//! Nothing waits here. Of each stream at most [`WINDOW_BYTES`] and [`WINDOW_FDS`] are on their way: more is sent only after its
//! far end has taken some. So a reader that doesn't read stops its own stream and no other, and what waits is bounded. The channel
//! itself is always read. Who breaks a rule of it loses all of it; no client can, because neither side tells clients about it.
//!
//! Start reading at [`Streams`], then `frame` (what is on the channel) and `stream` (one of them).
#![forbid(unsafe_code)]

mod carrier;
mod engine;
mod frame;
mod send_queue;
mod stream;

pub use carrier::{Arrived, Carrier, Socket};
pub use engine::{Ended, OpenError, Opened, Streams};
pub use frame::FrameError;

/// What a channel's first bytes are the name of, with zeros after it: the host's socket may be reached by others too.
pub const ROLE: &str = "heraldry-streams";

/// Bytes of a stream that are on their way, or wait for its far end to take them.
pub const WINDOW_BYTES: usize = 64 << 10;

/// Descriptors of a stream that are on their way, or wait.
pub const WINDOW_FDS: usize = 64;

/// Streams of a channel, those included whose end one side has not heard of.
pub const STREAMS: usize = 2048;

/// Bytes of a stream at once.
pub(crate) const CHUNK: usize = 16 << 10;

/// Bytes that wait for the channel before streams do.
pub(crate) const QUEUED: usize = 128 << 10;
