// SPDX-License-Identifier: MIT OR Apache-2.0
//! What travels over the named contexts between host and compositor VM.
//!
//! Every record has a fixed size, a magic number, a version and little-endian fields, so that a partial read is
//! never ambiguous. Decoding is strict: bytes that mean nothing must be zero, names are checked, and a record of
//! another version is refused by name. Nothing here knows Wayland; only [`descriptors`] does I/O.
//!
//! * [`display`]: announcements of accepted connections, and what becomes of them
//! * [`connection`]: the first record on a `heraldry-connection` context
//! * [`memfd`]: requests to the memory server, in the wire format of Spectrum's crosvm
//! * [`names`]: context names, and text made safe for a log
//! * [`descriptors`]: descriptors beside bytes on a socket
//! * [`cross_domain`]: the numbers of cross-domain virtio-gpu
//! * [`virtwl`]: what bounds everything that goes over virtio_wl
#![forbid(unsafe_code)]

pub mod connection;
pub mod cross_domain;
pub mod descriptors;
pub mod display;
pub mod memfd;
pub mod names;
mod reader;
pub mod virtwl;

use heraldry_identity::name::NameError;

pub use names::{ContextName, clean};
pub use reader::{Record, RecordReader};

/// Name of the context that is the display socket.
pub const DISPLAY_CONTEXT: &str = "heraldry-display";
/// Name of the contexts that are client connections, one each, told apart by their first record.
pub const CONNECTION_CONTEXT: &str = "heraldry-connection";
/// How the names of contexts begin that a VMM finds at run time, one for each client connection; digits follow.
pub const CONNECTION_PREFIX: &str = "wl-conn-";
/// Name of the memory server's context (the name in Spectrum's wlroots patch).
pub const MEMFD_CONTEXT: &str = "__crosvm_memfd";

/// Version of the display-socket and connection records.
pub const VERSION: u16 = 1;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The record does not start with the magic number.
    #[error("The bytes do not start with the magic number of a record")]
    Magic,
    /// The record is of another version.
    #[error("The record is of version {0}, this program speaks version {VERSION}")]
    Version(u16),
    /// A record kind that this direction does not have.
    #[error("The record kind {0} does not exist in this direction")]
    Kind(u16),
    /// A field has a value outside its list.
    #[error("The field {0} has a value that does not exist")]
    Value(&'static str),
    /// Bytes that must be zero are not.
    #[error("The field {0} has bytes that must be zero")]
    Padding(&'static str),
    /// A name is not one.
    #[error("The field {0} is no valid name")]
    Name(&'static str, #[source] NameError),
    /// There are fewer bytes than the record has.
    #[error("The record is cut short")]
    Short,
}

/// Takes `N` bytes off the front of `bytes`.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (head, tail) = bytes.split_first_chunk::<N>().ok_or(WireError::Short)?;
    *bytes = tail;
    Ok(*head)
}

/// Checks that all of `bytes` are zero.
fn zero(bytes: &[u8], field: &'static str) -> Result<(), WireError> {
    if bytes.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(WireError::Padding(field))
    }
}

/// Splits NUL-padded text; bytes after the first NUL must be zero.
fn text<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a [u8], WireError> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let (head, tail) = bytes.split_at(end);
    zero(tail, field)?;
    Ok(head)
}

/// A fixed-size record under construction: fields are appended, the rest stays zero.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    const fn new() -> Self {
        Self { bytes: [0; N], at: 0 }
    }

    /// Appends `field`, which is followed by zeros up to `width`.
    fn put(mut self, field: &[u8], width: usize) -> Self {
        let room = self.bytes.iter_mut().skip(self.at).take(width);
        for (to, from) in room.zip(field) {
            *to = *from;
        }
        self.at += width;
        self
    }

    const fn done(self) -> [u8; N] {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
