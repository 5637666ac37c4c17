// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client of the memory server.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heraldry_identity::VmName;
use heraldry_wire::MEMFD_CONTEXT;
use heraldry_wire::memfd::{MemfdFailure, MemfdRequest, decode_reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Context, Device, HostMemory, NewError, RecvError, SendError};

/// How long the server may take for one answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Why there is no memory.
#[derive(Debug, thiserror::Error)]
pub enum MemfdError {
    /// The server cannot be reached.
    #[error("The memory server cannot be reached")]
    Connect(#[source] NewError),
    /// The request could not be sent.
    #[error("The request to the memory server was not sent")]
    Send(#[source] SendError),
    /// The answer could not be received.
    #[error("The answer of the memory server was not received")]
    Receive(#[source] RecvError),
    /// Waiting for the answer failed.
    #[error("Waiting for the memory server failed")]
    Poll(#[source] Errno),
    /// The server closed the connection.
    #[error("The memory server closed the connection")]
    Closed,
    /// There was no answer in time.
    #[error("The memory server did not answer in time")]
    Timeout,
    /// The server answered with more or less than one byte and one descriptor.
    #[error("The memory server sent an answer that is none")]
    Answer,
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] MemfdFailure),
}

/// Asks the host for memory to give to clients. One connection serves all requests; it is opened when first needed, and
/// again after a failure that leaves it out of step.
#[derive(Debug)]
pub struct MemfdClient {
    device: Arc<Device>,
    connection: Option<Context>,
}

impl MemfdClient {
    /// A client that is not connected yet.
    #[must_use]
    pub const fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            connection: None,
        }
    }

    /// Memory of `size` bytes on behalf of `vm`. Waits for the server, for two seconds at most.
    ///
    /// # Errors
    ///
    /// See [`MemfdError`]. After a refusal the connection is kept.
    pub fn allocate(&mut self, vm: &VmName, purpose: &str, size: u64) -> Result<HostMemory, MemfdError> {
        let request = MemfdRequest::new(vm, purpose, size);
        let context = match self.connection.take() {
            Some(context) => context,
            None => self.device.context(MEMFD_CONTEXT).map_err(MemfdError::Connect)?,
        };
        let outcome = exchange(&context, &request);
        if matches!(outcome, Ok(_) | Err(MemfdError::Refused(_))) {
            self.connection = Some(context);
        }
        outcome.map(|fd| HostMemory::new(fd, size))
    }
}

fn exchange(context: &Context, request: &MemfdRequest) -> Result<OwnedFd, MemfdError> {
    context.send(&request.encode(), &[]).map_err(MemfdError::Send)?;
    let deadline = Instant::now() + DEADLINE;
    let (mut bytes, mut fds) = (Vec::new(), VecDeque::new());
    loop {
        let received = context.recv(&mut bytes, &mut fds).map_err(MemfdError::Receive)?;
        match (bytes.as_slice(), fds.len()) {
            ([], _) | ([0], 0) => {}
            ([0], 1) => return fds.pop_front().ok_or(MemfdError::Answer),
            ([byte], 0) => {
                decode_reply(*byte)?;
            }
            _ => return Err(MemfdError::Answer),
        }
        if received.eof {
            return Err(MemfdError::Closed);
        }
        if received.would_block {
            wait(context, deadline)?;
        }
    }
}

fn wait(context: &Context, deadline: Instant) -> Result<(), MemfdError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(|_too_long| MemfdError::Timeout)?;
    match poll(&mut [PollFd::new(context, PollFlags::IN)], Some(&timeout)) {
        Ok(0) => Err(MemfdError::Timeout),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(MemfdError::Poll(errno)),
    }
}
