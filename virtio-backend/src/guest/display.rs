// SPDX-License-Identifier: MIT OR Apache-2.0
//! The display socket and the taking of announced connections, from the compositor's side.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use heraldry_wire::connection::TokenRecord;
use heraldry_wire::display::{Announcement, CompositorRecord, HostRecord, Way};
use heraldry_wire::{CONNECTION_CONTEXT, DISPLAY_CONTEXT, RecordReader, WireError};

use super::{Context, Device, NewError, RecvError, SendError};

/// Most receives in one call, so that a host that floods does not hold the caller.
const ROUNDS: usize = 16;

/// Why the display socket is of no use any more. Open a new one; connections that were taken live on.
#[derive(Debug, thiserror::Error)]
pub enum DisplayError {
    /// The host cannot be reached.
    #[error("The display socket cannot be opened")]
    Connect(#[source] NewError),
    /// The host closed the socket.
    #[error("The host closed the display socket")]
    Closed,
    /// A record could not be sent.
    #[error("The record was not sent on the display socket")]
    Send(#[source] SendError),
    /// Records could not be received.
    #[error("Nothing could be received on the display socket")]
    Receive(#[source] RecvError),
    /// The host sent something that is no record.
    #[error("The host sent a record that is none")]
    Record(#[source] WireError),
    /// The host did not say Hello first, or said it twice.
    #[error("The host's Hello is missing or came twice")]
    Hello,
}

/// Why an announced connection could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The context could not be opened.
    #[error("The context of the connection cannot be opened")]
    Open(#[source] NewError),
    /// The token could not be sent.
    #[error("The token of the connection was not sent")]
    Token(#[source] SendError),
}

/// The display socket.
#[derive(Debug)]
pub struct DisplaySocket {
    context: Context,
    reader: RecordReader<HostRecord>,
    greeted: bool,
}

impl DisplaySocket {
    /// Opens the display socket and says Hello.
    ///
    /// # Errors
    ///
    /// The host has no display socket, or is gone at once.
    pub fn connect(device: &Device) -> Result<Self, DisplayError> {
        let context = device.context(DISPLAY_CONTEXT).map_err(DisplayError::Connect)?;
        let socket = Self {
            context,
            reader: RecordReader::new(),
            greeted: false,
        };
        socket.send(&CompositorRecord::Hello)?;
        Ok(socket)
    }

    /// Receives what is there and appends the announcements and withdrawals to `records`, in order. To be called on POLLIN
    /// and POLLHUP. Descriptors on this socket mean nothing and are closed.
    ///
    /// # Errors
    ///
    /// See [`DisplayError`]; what came before the error is in `records`.
    pub fn receive(&mut self, records: &mut Vec<HostRecord>) -> Result<(), DisplayError> {
        let mut bytes = Vec::new();
        for _ in 0..ROUNDS {
            bytes.clear();
            let mut fds = VecDeque::new();
            let received = self
                .context
                .recv(&mut bytes, &mut fds)
                .map_err(DisplayError::Receive)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                match self.reader.feed(&mut rest).map_err(DisplayError::Record)? {
                    None => {}
                    Some(HostRecord::Hello) if !self.greeted => self.greeted = true,
                    Some(HostRecord::Hello) => return Err(DisplayError::Hello),
                    Some(_) if !self.greeted => return Err(DisplayError::Hello),
                    Some(record) => records.push(record),
                }
            }
            if received.eof {
                return Err(DisplayError::Closed);
            }
            if received.would_block {
                break;
            }
        }
        Ok(())
    }

    /// Sends a record.
    ///
    /// # Errors
    ///
    /// See [`DisplayError`].
    pub fn send(&self, record: &CompositorRecord) -> Result<(), DisplayError> {
        self.context
            .send(&record.encode(), &[])
            .map_err(DisplayError::Send)
    }
}

impl AsFd for DisplaySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.context.as_fd()
    }
}

/// Opens the connection of `announcement`. From here on the context's bytes are the client's. Waits for the device, so it
/// is for the VM's own thread; the Take or Refuse goes over the [`DisplaySocket`].
///
/// # Errors
///
/// See [`TakeError`].
pub fn take_connection(device: &Device, announcement: &Announcement) -> Result<Context, TakeError> {
    match &announcement.way {
        Way::Name(name) => device.context(name.as_str()).map_err(TakeError::Open),
        Way::Token(token) => {
            let context = device.context(CONNECTION_CONTEXT).map_err(TakeError::Open)?;
            let record = TokenRecord {
                number: announcement.number,
                token: *token,
            };
            context.send(&record.encode(), &[]).map_err(TakeError::Token)?;
            Ok(context)
        }
    }
}
