// SPDX-License-Identifier: MIT OR Apache-2.0
//! What one VM may have.

/// Contexts, each with its connection to the host. A context that waits holds a place of the ring, and rings of 1024 have room
/// for these four times over.
pub const CONTEXTS: usize = 256;

/// Requests of a context that wait for something to happen.
pub const WAITING: usize = 4;

/// Blobs. Each context has two of its own.
pub const BLOBS: usize = 4096;

/// Pieces of guest memory that a blob may consist of. Rings of a page have one.
pub const PIECES: usize = 16;

/// Descriptors of a context that the guest has neither used nor given back.
pub const ITEMS: usize = 256;

/// Blobs that are mapped into the guest at once. QEMU aborts at 512 regions of memory.
pub const MAPPINGS: usize = 400;

/// The window into which blobs are mapped, which also bounds the bytes that can be mapped at once.
pub const WINDOW: u64 = 1 << 30;

/// Bytes of host memory that may be made for the guest, for as long as anybody has them.
pub const MEMORY: u64 = 1 << 30;

/// Pieces that this memory may consist of.
pub const PIECES_MADE: usize = BLOBS;

/// Bytes that wait for a host that does not read; so many may also wait for the readers of a context's pipes together.
pub const QUEUED: usize = 4 << 20;

/// Descriptors that wait for a host that does not read.
pub const DESCRIPTORS: usize = 1024;

/// Bytes that wait for peers of a context before the guest's submissions are held back.
pub const BACKLOG: usize = 256 << 10;

/// Submissions of a context that are held back at once.
pub const HELD_BACK: usize = 4;

/// Bytes that wait for the reader of a pipe.
pub const PIPE_QUEUED: usize = 1 << 20;

/// The largest memory of others that is copied because it can't be mapped into a guest as it is.
pub const COPIED: u64 = 16 << 20;
