// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fixed-size records out of a byte stream that arrives in pieces.

use std::fmt;
use std::marker::PhantomData;

use super::WireError;

/// A record of fixed size.
pub trait Record: Sized {
    /// Its size in bytes.
    const LEN: usize;

    /// The record in exactly [`Self::LEN`] bytes.
    ///
    /// # Errors
    ///
    /// The bytes are no such record.
    fn decode(bytes: &[u8]) -> Result<Self, WireError>;
}

/// Gathers the bytes of one record at a time.
pub struct RecordReader<R> {
    bytes: Vec<u8>,
    record: PhantomData<fn() -> R>,
}

impl<R> fmt::Debug for RecordReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader")
            .field("held", &self.bytes.len())
            .finish()
    }
}

impl<R: Record> Default for RecordReader<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Record> RecordReader<R> {
    /// A reader that holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            record: PhantomData,
        }
    }

    /// How many bytes the current record still needs; never 0. Reading no more than this from a socket leaves what
    /// follows the record, and its descriptors, to the next reader.
    #[must_use]
    pub fn missing(&self) -> usize {
        R::LEN.saturating_sub(self.bytes.len()).max(1)
    }

    /// Whether a record has begun and is not complete.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Takes bytes off the front of `input`, at most one record's worth, and returns the record when it is complete.
    /// Call again while `input` is not empty.
    ///
    /// # Errors
    ///
    /// The bytes are no record. The stream has lost its step; give it up.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<R>, WireError> {
        let (head, tail) = input.split_at(self.missing().min(input.len()));
        self.bytes.extend_from_slice(head);
        *input = tail;
        if self.bytes.len() < R::LEN {
            return Ok(None);
        }
        let record = R::decode(&self.bytes);
        self.bytes.clear();
        record.map(Some)
    }
}
