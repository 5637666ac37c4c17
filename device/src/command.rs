// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands of cross-domain, and the messages that come back in a context's ring.
//!
//! Pure, and strict: a command says its size, and nothing is read beyond it. One wrong command ends the context, because what
//! follows it can't be made sense of.

use heraldry_wire::cross_domain::command::{IMAGE_REQUIREMENTS, INIT, POLL, READ, RECEIVE, SEND, WRITE};
use heraldry_wire::cross_domain::{CHANNEL, HEADER, MESSAGE, PIPE, format, kind};
use heraldry_wire::virtwl::MAX_FDS;

use crate::control::{u32_at, words};

/// Why bytes are no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("a command is too short")]
    Short,
    /// A size that no command has, 0 among them.
    #[error("a command claims to have {0} bytes")]
    Size(u16),
    /// A command that there is not.
    #[error("there is no command {0}")]
    Unknown(u8),
    /// A channel that there is not.
    #[error("there is no channel {0:#x}")]
    Channel(u32),
    /// More descriptors than a message has.
    #[error("a message has {0} descriptors")]
    TooMany(u32),
    /// A kind of descriptor that can't be sent.
    #[error("a descriptor of kind {0} cannot be sent")]
    Kind(u32),
    /// A picture in a format that there is not.
    #[error("there is no format {0:#x}")]
    Format(u32),
}

/// A descriptor that goes out with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// A blob.
    Blob(u32),
    /// The far end of a pipe that the context will read under this number.
    ReadPipe(u32),
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// The context connects.
    Init {
        /// The blob for answers to questions.
        query: u32,
        /// The blob for messages.
        channel: u32,
    },
    /// How memory for a picture is laid out; memory in general, as one byte a pixel.
    Image {
        /// Bytes of a line.
        stride: u64,
        /// Lines.
        height: u32,
    },
    /// Tell me when there is a message.
    Poll,
    /// A message to the host.
    Send {
        /// Its bytes.
        bytes: &'a [u8],
        /// Its descriptors.
        descriptors: Vec<Outgoing>,
    },
    /// Bytes for a pipe that came from the host.
    Write {
        /// Which.
        pipe: u32,
        /// Its bytes.
        bytes: &'a [u8],
        /// Whether these were the last.
        last: bool,
    },
}

/// The commands of one submission.
#[derive(Debug, Clone)]
pub struct Commands<'a>(&'a [u8]);

impl<'a> Commands<'a> {
    /// Of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn command(&mut self) -> Result<Command<'a>, Malformed> {
        let header = self.0.first_chunk::<HEADER>().ok_or(Malformed::Short)?;
        let (number, size) = (header[0], u16::from_le_bytes([header[2], header[3]]));
        let (command, rest) = self
            .0
            .split_at_checked(size.into())
            .filter(|(command, _)| command.len() >= HEADER)
            .ok_or(Malformed::Size(size))?;
        self.0 = rest;
        decode(number, command)
    }
}

impl<'a> Iterator for Commands<'a> {
    type Item = Result<Command<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let command = self.command();
        if command.is_err() {
            // Nobody knows where the next one would begin.
            self.0 = &[];
        }
        Some(command)
    }
}

fn decode(number: u8, bytes: &[u8]) -> Result<Command<'_>, Malformed> {
    let word = |at| u32_at(bytes, at).ok_or(Malformed::Short);
    let data = |at: usize, len: u32| {
        let len = usize::try_from(len).map_err(|_too_large| Malformed::Short)?;
        let rest = bytes.get(at..).ok_or(Malformed::Short)?;
        rest.get(..len).ok_or(Malformed::Short)
    };
    Ok(match number {
        INIT => {
            let channel = word(16)?;
            if channel != CHANNEL {
                return Err(Malformed::Channel(channel));
            }
            Command::Init {
                query: word(8)?,
                channel: word(12)?,
            }
        }
        IMAGE_REQUIREMENTS => {
            let (width, height, fourcc) = (word(8)?, word(12)?, word(16)?);
            let pixel = match fourcc {
                format::R8 => 1,
                format::XRGB | format::ARGB => 4,
                _ => return Err(Malformed::Format(fourcc)),
            };
            let stride = u64::from(width) * pixel;
            Command::Image { stride, height }
        }
        POLL => Command::Poll,
        SEND => {
            let (count, len) = (word(8)?, word(12)?);
            let descriptors = outgoing(bytes, count)?;
            let bytes = data(MESSAGE, len)?;
            Command::Send { bytes, descriptors }
        }
        WRITE => Command::Write {
            pipe: word(8)?,
            last: word(12)? != 0,
            bytes: data(PIPE, word(16)?)?,
        },
        other => return Err(Malformed::Unknown(other)),
    })
}

fn outgoing(bytes: &[u8], count: u32) -> Result<Vec<Outgoing>, Malformed> {
    let word = |at| u32_at(bytes, at).ok_or(Malformed::Short);
    let fits = usize::try_from(count).ok().filter(|count| *count <= MAX_FDS);
    let count = fits.ok_or(Malformed::TooMany(count))?;
    let descriptor = |index: usize| {
        let id = word(16 + 4 * index)?;
        match word(16 + 4 * (MAX_FDS + index))? {
            kind::BLOB => Ok(Outgoing::Blob(id)),
            kind::READ_PIPE => Ok(Outgoing::ReadPipe(id)),
            other => Err(Malformed::Kind(other)),
        }
    };
    (0..count).map(descriptor).collect()
}

/// A descriptor that comes in with a message: what the guest learns of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// Memory: an item to make a blob of, and its size.
    Blob(u32, u32),
    /// A pipe to write to.
    WritePipe(u32),
    /// Nothing that a guest could use; it is closed.
    Unusable,
}

/// A message from the host, at most [`ROOM`](heraldry_wire::cross_domain::ROOM) bytes of it. Without bytes and descriptors it is the end.
#[must_use]
pub fn message(bytes: &[u8], descriptors: &[Incoming]) -> Vec<u8> {
    let words_of = |descriptor: &Incoming| match *descriptor {
        Incoming::Blob(id, size) => [id, kind::BLOB, size],
        Incoming::WritePipe(id) => [id, kind::WRITE_PIPE, 0],
        Incoming::Unusable => [0, 0, 0],
    };
    let mut fields = [[0; MAX_FDS]; 3];
    for (index, descriptor) in descriptors.iter().take(MAX_FDS).enumerate() {
        for (field, word) in fields.iter_mut().zip(words_of(descriptor)) {
            if let Some(slot) = field.get_mut(index) {
                *slot = word;
            }
        }
    }
    let length = |len: usize| u32::try_from(len).unwrap_or(0);
    let mut encoded = words(&[
        RECEIVE.into(),
        0,
        length(descriptors.len().min(MAX_FDS)),
        length(bytes.len()),
    ]);
    encoded.extend(words(fields.as_flattened()));
    encoded.extend_from_slice(bytes);
    encoded
}

/// Bytes of a pipe that the context reads, or its end.
#[must_use]
pub fn pipe_data(pipe: u32, bytes: &[u8]) -> Vec<u8> {
    let end = u32::from(bytes.is_empty());
    let length = u32::try_from(bytes.len()).unwrap_or(0);
    let mut encoded = words(&[READ.into(), 0, pipe, end, length, 0]);
    encoded.extend_from_slice(bytes);
    encoded
}

/// The answer to a question after memory: how it is laid out, and the item to make a blob of.
#[must_use]
pub fn image(stride: u32, size: u64, item: u32) -> Vec<u8> {
    let mut encoded = words(&[stride, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    encoded.extend(size.to_le_bytes());
    // The guest may cache it; no memory type and no device of a graphics card.
    encoded.extend(words(&[item, 1, u32::MAX, u32::MAX]));
    encoded
}

#[cfg(test)]
mod tests;
