// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a client's bytes come and go: a virtio_wl context, or a socket of this machine. Knows no Wayland.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use heraldry_gate::SendQueue;
use heraldry_virtio::guest::{Context, Device, RecvError, SendError, TakeError, take_connection};
use heraldry_wire::descriptors::{Arrival, receive, send};
use heraldry_wire::virtwl::MAX_FDS;
use rustix::io::Errno;

use crate::events::Endpoint;

/// Bytes taken from a socket at once, and given to a connection at once.
pub(crate) const CHUNK: usize = 16 * 1024;

/// The gate knows no virtio_wl, and its messages must fit into one of its transactions.
const _: () = assert!(heraldry_gate::MAX_DESCRIPTORS_PER_SEND <= MAX_FDS);

/// A client's connection.
pub(crate) enum Transport {
    /// Over virtio_wl: always read, because what is unread holds buffers of the device that all VMs share.
    Virtio(Context),
    /// A socket of this machine, which waits by itself.
    Socket(UnixStream),
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The host no longer has it.
    #[error("the announced connection could not be taken: {0}")]
    Take(#[from] TakeError),
    /// There is no device for a VM's connection to come through.
    #[error("there is no device")]
    NoDevice,
    /// The system gave no socket pair.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}

/// Why a connection takes or gives no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    /// The client left.
    #[error("the client left")]
    Gone,
    /// The connection failed.
    #[error("{0}")]
    Failed(String),
}

/// What came at once.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: VecDeque<OwnedFd>,
    /// Nothing follows.
    pub(crate) ended: bool,
}

impl Transport {
    /// Opens what was accepted.
    pub(crate) fn open(endpoint: Endpoint, device: Option<&Device>) -> Result<Self, OpenError> {
        match endpoint {
            Endpoint::Socket(stream) => {
                stream.set_nonblocking(true)?;
                Ok(Self::Socket(stream))
            }
            Endpoint::Announced(announcement) => {
                let device = device.ok_or(OpenError::NoDevice)?;
                let context = take_connection(device, &announcement)?;
                Ok(context.into_socket().map_or_else(Self::Virtio, Self::Socket))
            }
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Virtio(context) => context.as_fd(),
            Self::Socket(stream) => stream.as_fd(),
        }
    }

    /// Whether it may be left unread, and says when it has room.
    pub(crate) fn waits_by_itself(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// Receives once.
    pub(crate) fn receive(&self) -> Result<Incoming, TransportError> {
        let mut incoming = Incoming::default();
        let Incoming { bytes, fds, ended } = &mut incoming;
        match self {
            Self::Virtio(context) => match context.recv(bytes, fds) {
                Ok(received) => *ended = received.eof,
                Err(RecvError::NoDescriptors) => {
                    return Err(TransportError::Failed("no descriptors are left".to_owned()));
                }
                Err(error) => return Err(TransportError::Failed(error.to_string())),
            },
            Self::Socket(stream) => {
                bytes.resize(CHUNK, 0);
                let received = receive(stream.as_fd(), bytes, fds);
                bytes.truncate(received.map_or(0, |received| received.bytes));
                *ended = match received {
                    Ok(received) => match received.descriptors {
                        Arrival::Whole => received.bytes == 0,
                        // What follows would be taken for something else.
                        Arrival::Lost => {
                            return Err(TransportError::Failed("no descriptors are left".to_owned()));
                        }
                        Arrival::TooMany => {
                            return Err(TransportError::Failed(
                                "more descriptors than a message may have".to_owned(),
                            ));
                        }
                    },
                    Err(Errno::AGAIN | Errno::INTR) => false,
                    Err(Errno::CONNRESET) => true,
                    Err(errno) => return Err(TransportError::Failed(errno.to_string())),
                };
            }
        }
        Ok(incoming)
    }

    /// Sends what waits, as far as there is room. Over virtio_wl there always is: SEND takes everything or waits.
    pub(crate) fn flush(&self, queue: &mut SendQueue) -> Result<(), TransportError> {
        while !queue.is_empty() {
            let sent = match self {
                Self::Virtio(context) => queue.send(CHUNK, |chunk| {
                    context
                        .send(chunk.bytes, &chunk.fds)
                        .map(|()| chunk.bytes.len())
                        .map_err(|error| match error {
                            SendError::Gone => TransportError::Gone,
                            error => TransportError::Failed(error.to_string()),
                        })
                }),
                Self::Socket(stream) => {
                    match queue.send(CHUNK, |chunk| send(stream.as_fd(), chunk.bytes, &chunk.fds)) {
                        Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                        Err(Errno::PIPE | Errno::CONNRESET) => Err(TransportError::Gone),
                        Err(errno) => Err(TransportError::Failed(errno.to_string())),
                        Ok(taken) => Ok(taken),
                    }
                }
            };
            sent?;
        }
        Ok(())
    }

    /// Sends a client's last event, if it can be sent.
    pub(crate) fn send_last(&self, event: &[u8]) {
        match self {
            Self::Virtio(context) => drop(context.send(event, &[])),
            Self::Socket(stream) => drop(send(stream.as_fd(), event, &[])),
        }
    }
}
