// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the gate asks of its surroundings.

use std::os::fd::{BorrowedFd, OwnedFd};

use thiserror::Error;

/// A service did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The surroundings failed.
    #[error("the surroundings failed")]
    Io(#[from] std::io::Error),
    /// The memory is larger than any that is passed on.
    #[error("{size} bytes are more than the {limit} that may be shared")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The service refused, for example because a VM's share is used up.
    #[error("refused: {0}")]
    Refused(String),
}

/// What the gate asks of its surroundings. A descriptor that is not returned is closed.
pub trait Services {
    /// Makes memory that the client's VM can map, with the first `size` bytes of `fd`; see
    /// [`MemoryCache`](crate::MemoryCache).
    ///
    /// # Errors
    /// If there is no such memory; the client's connection then ends.
    fn share_memory(&mut self, fd: OwnedFd, size: u32) -> Result<OwnedFd, ServiceError>;

    /// Whether `fd` is memory that the compositor can map up to `size` bytes.
    fn memory_covers(&self, fd: BorrowedFd<'_>, size: u64) -> bool;
}
