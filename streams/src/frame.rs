// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a channel consists of: frames, each for one stream.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | kind, u8: 1 Open, 2 Data, 3 Credit, 4 Close |
//! | 1 | descriptors, u8: that come with the frame, or that a Credit gives back |
//! | 2..4 | zeros |
//! | 4..8 | number of the stream, u32, never 0 |
//! | 8..12 | length, u32: bytes that follow, or that a Credit gives back |
//!
//! What follows an Open is the name of the context that the stream leads to, with zeros after it. Descriptors come with the first
//! byte of their frame or, where the way there joins pieces, with bytes before it; never later.

use std::collections::VecDeque;

use heraldry_identity::name::NameError;
use heraldry_wire::ContextName;
use heraldry_wire::virtwl::{MAX_FDS, NAME_LEN};

use crate::{CHUNK, WINDOW_BYTES, WINDOW_FDS};

/// Bytes that a frame begins with.
const HEADER: usize = 12;

/// Why bytes are no frames, or not those of one who keeps to the rules. The channel has lost its step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that there isn't.
    #[error("there is no frame of kind {0}")]
    Kind(u8),
    /// Bytes that must be zero are not.
    #[error("bytes of a frame that must be zero are not")]
    Padding,
    /// A length that frames of this kind don't have.
    #[error("a frame of kind {kind} says {length} bytes and {descriptors} descriptors")]
    Length {
        /// The kind.
        kind: u8,
        /// Its bytes.
        length: u32,
        /// Its descriptors.
        descriptors: u8,
    },
    /// No stream has this number.
    #[error("a frame is of stream 0")]
    Zero,
    /// The name in an Open is none.
    #[error("a stream leads to no valid name")]
    Name(#[source] NameError),
    /// A frame has fewer descriptors than it says.
    #[error("a frame's descriptors have not come")]
    Missing,
    /// Descriptors came that no frame has.
    #[error("descriptors came without a frame")]
    Unannounced,
}

/// A frame.
#[derive(Debug)]
pub(crate) enum Frame<D> {
    Open(u32, ContextName),
    Data(u32, Vec<u8>, Vec<D>),
    Credit(u32, usize, usize),
    Close(u32),
}

mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const DATA: u8 = 2;
    pub(super) const CREDIT: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
}

fn header(kind: u8, descriptors: usize, stream: u32, length: usize) -> Vec<u8> {
    let descriptors = u8::try_from(descriptors).unwrap_or(u8::MAX);
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let mut bytes = vec![kind, descriptors, 0, 0];
    bytes.extend(stream.to_le_bytes());
    bytes.extend(length.to_le_bytes());
    bytes
}

impl<D> Frame<D> {
    /// The frame in bytes; its descriptors are for the caller to send.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Open(stream, name) => {
                let mut bytes = header(kind::OPEN, 0, *stream, NAME_LEN);
                bytes.extend(name.to_role());
                bytes
            }
            Self::Data(stream, data, descriptors) => {
                let mut bytes = header(kind::DATA, descriptors.len(), *stream, data.len());
                bytes.extend(data);
                bytes
            }
            Self::Credit(stream, bytes, descriptors) => header(kind::CREDIT, *descriptors, *stream, *bytes),
            Self::Close(stream) => header(kind::CLOSE, 0, *stream, 0),
        }
    }
}

/// What the header of a frame says.
#[derive(Clone, Copy)]
struct Header {
    kind: u8,
    descriptors: usize,
    stream: u32,
    length: usize,
}

impl Header {
    fn decode(bytes: &[u8; HEADER]) -> Result<Self, FrameError> {
        let [kind, descriptors, zero, zero_too, a, b, c, d, e, f, g, h] = *bytes;
        let (stream, length) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if (zero, zero_too) != (0, 0) {
            return Err(FrameError::Padding);
        }
        if stream == 0 {
            return Err(FrameError::Zero);
        }
        let header = Self {
            kind,
            descriptors: descriptors.into(),
            stream,
            length: usize::try_from(length).unwrap_or(usize::MAX),
        };
        let fits = match kind {
            kind::OPEN => (header.length, header.descriptors) == (NAME_LEN, 0),
            kind::DATA => (1..=CHUNK).contains(&header.length) && header.descriptors <= MAX_FDS,
            kind::CREDIT => {
                let some = header.length > 0 || header.descriptors > 0;
                some && header.length <= WINDOW_BYTES && header.descriptors <= WINDOW_FDS
            }
            kind::CLOSE => (header.length, header.descriptors) == (0, 0),
            other => return Err(FrameError::Kind(other)),
        };
        fits.then_some(header).ok_or(FrameError::Length {
            kind,
            length,
            descriptors,
        })
    }

    /// Bytes that follow.
    const fn body(self) -> usize {
        if self.kind == kind::CREDIT { 0 } else { self.length }
    }
}

/// Gathers the bytes of one frame at a time. Holds a frame's bytes at most, and the descriptors of one.
#[derive(Debug)]
pub(crate) struct Decoder<D> {
    bytes: Vec<u8>,
    descriptors: VecDeque<D>,
}

impl<D> Default for Decoder<D> {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            descriptors: VecDeque::new(),
        }
    }
}

impl<D> Decoder<D> {
    /// Descriptors have come with the bytes that are fed next.
    pub(crate) fn take(&mut self, descriptors: impl IntoIterator<Item = D>) {
        self.descriptors.extend(descriptors);
    }

    /// Takes bytes off the front of `input`, and returns the frame when it is complete. To be called again while there is some.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Frame<D>>, FrameError> {
        let fill = |bytes: &mut Vec<u8>, up_to: usize, input: &mut &[u8]| {
            let (head, tail) = input.split_at(up_to.saturating_sub(bytes.len()).min(input.len()));
            bytes.extend_from_slice(head);
            *input = tail;
        };
        fill(&mut self.bytes, HEADER, input);
        let Some(header) = self.bytes.first_chunk() else {
            return Ok(None);
        };
        let header = Header::decode(header)?;
        let whole = HEADER.saturating_add(header.body());
        fill(&mut self.bytes, whole, input);
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let body = self.bytes.split_off(HEADER);
        self.bytes.clear();
        let stream = header.stream;
        Ok(Some(match header.kind {
            kind::OPEN => {
                let role = <[u8; NAME_LEN]>::try_from(body).unwrap_or([0; NAME_LEN]);
                Frame::Open(stream, ContextName::from_role(&role).map_err(FrameError::Name)?)
            }
            kind::DATA => {
                if self.descriptors.len() < header.descriptors {
                    return Err(FrameError::Missing);
                }
                let descriptors = self.descriptors.drain(..header.descriptors).collect();
                Frame::Data(stream, body, descriptors)
            }
            kind::CREDIT => Frame::Credit(stream, header.length, header.descriptors),
            _ => Frame::Close(stream),
        }))
    }

    /// All that has come is fed: what descriptors are left must be those of the frame that has begun.
    pub(crate) fn check(&self) -> Result<(), FrameError> {
        let most = match self.bytes.first_chunk() {
            Some(header) => {
                let header = Header::decode(header)?;
                if header.kind == kind::DATA {
                    header.descriptors
                } else {
                    0
                }
            }
            None if self.bytes.is_empty() => 0,
            None => MAX_FDS,
        };
        if self.descriptors.len() > most {
            return Err(FrameError::Unannounced);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds bytes in pieces of these sizes; descriptors are numbers, which come with the first.
    fn decode(bytes: &[u8], piece: usize, descriptors: &[u32]) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut decoder = Decoder::default();
        decoder.take(descriptors.iter().copied());
        let mut frames = Vec::new();
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                frames.extend(decoder.feed(&mut piece)?.map(|frame| frame.encode()));
            }
            decoder.check()?;
        }
        Ok(frames)
    }

    #[test]
    fn lies_are_found_at_once() {
        let of =
            |kind, descriptors, stream, length| decode(&header(kind, descriptors, stream, length), 99, &[]);
        let length = |kind, length, descriptors| {
            Err(FrameError::Length {
                kind,
                length,
                descriptors,
            })
        };
        assert_eq!(of(0, 0, 1, 0), Err(FrameError::Kind(0)));
        assert_eq!(of(5, 0, 1, 0), Err(FrameError::Kind(5)));
        assert_eq!(of(kind::CLOSE, 0, 0, 0), Err(FrameError::Zero));
        assert_eq!(of(kind::CLOSE, 0, 1, 1), length(4, 1, 0));
        assert_eq!(of(kind::CLOSE, 1, 1, 0), length(4, 0, 1));
        assert_eq!(of(kind::OPEN, 0, 1, 31), length(1, 31, 0));
        assert_eq!(of(kind::DATA, 0, 1, 0), length(2, 0, 0));
        assert_eq!(of(kind::DATA, 29, 1, 1), length(2, 1, 29));
        assert_eq!(of(kind::DATA, 0, 1, usize::MAX), length(2, u32::MAX, 0));
        assert_eq!(of(kind::CREDIT, 0, 1, 0), length(3, 0, 0));
        assert_eq!(of(kind::CREDIT, 0, 1, WINDOW_BYTES + 1), length(3, 65_537, 0));
        assert_eq!(
            decode(&[4, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0], 99, &[]),
            Err(FrameError::Padding)
        );
        let mut open = header(kind::OPEN, 0, 1, NAME_LEN);
        open.extend([0; NAME_LEN]);
        assert!(matches!(decode(&open, 99, &[]), Err(FrameError::Name(_))));
    }

    #[test]
    fn descriptors_come_with_their_frame_and_no_others() {
        let data = Frame::Data(7, vec![1, 2], vec![8, 9]).encode();
        assert_eq!(decode(&data, 1, &[8, 9]), Ok(vec![data.clone()]));
        assert_eq!(decode(&data, 99, &[8]), Err(FrameError::Missing));
        assert_eq!(decode(&data, 99, &[8, 9, 10]), Err(FrameError::Unannounced));
        assert_eq!(decode(&data[..13], 99, &[8, 9, 10]), Err(FrameError::Unannounced));
        assert_eq!(decode(&data[..3], 99, &[0; MAX_FDS]), Ok(Vec::new()));
        assert_eq!(
            decode(&data[..3], 99, &[0; MAX_FDS + 1]),
            Err(FrameError::Unannounced)
        );
        let close = Frame::<u32>::Close(7).encode();
        assert_eq!(decode(&close, 99, &[1]), Err(FrameError::Unannounced));
        assert_eq!(decode(&[close, data].concat(), 99, &[8, 9]).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_understood_is_what_was_said(
            bytes in prop::collection::vec(prop_oneof![4 => 0..5_u8, 1 => any::<u8>()], 0..200),
            pieces in 1..60_usize,
        ) {
            let descriptors: Vec<u32> = (0..200).collect();
            let whole = decode(&bytes, bytes.len().max(1), &[]);
            prop_assert_eq!(&decode(&bytes, pieces, &[]), &whole, "whatever pieces it comes in");
            if let Ok(frames) = whole {
                prop_assert!(bytes.starts_with(&frames.concat()));
            }
            // Never more than a frame's descriptors are kept.
            prop_assert!(bytes.is_empty() || decode(&bytes, pieces, &descriptors).is_err());
        }
    }
}
