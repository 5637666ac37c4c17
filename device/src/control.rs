// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests of virtio-gpu, as far as cross-domain needs them (virtio 1.3, 5.7; `include/uapi/linux/virtio_gpu.h`).
//!
//! Pure: bytes in, a request or a reason out.

use heraldry_wire::cross_domain::{CAPSET, CHANNEL, WAIT_RING};

use crate::limits::PIECES;

/// Bytes of the header of requests and answers.
pub const HEADER: usize = 24;
const FLAG_FENCE: u32 = 1;
const FLAG_RING: u32 = 2;

const GET_DISPLAY_INFO: u32 = 0x100;
const RESOURCE_UNREF: u32 = 0x102;
const GET_CAPSET_INFO: u32 = 0x108;
const GET_CAPSET: u32 = 0x109;
const RESOURCE_CREATE_BLOB: u32 = 0x10c;
const CTX_CREATE: u32 = 0x200;
const CTX_DESTROY: u32 = 0x201;
const CTX_ATTACH_RESOURCE: u32 = 0x202;
const CTX_DETACH_RESOURCE: u32 = 0x203;
const SUBMIT_3D: u32 = 0x207;
const RESOURCE_MAP_BLOB: u32 = 0x208;
const RESOURCE_UNMAP_BLOB: u32 = 0x209;

const OK_NODATA: u32 = 0x1100;
const OK_DISPLAY_INFO: u32 = 0x1101;
const OK_CAPSET_INFO: u32 = 0x1102;
const OK_CAPSET: u32 = 0x1103;
const OK_MAP_INFO: u32 = 0x1106;
const ERR_UNSPEC: u32 = 0x1200;

/// Outputs that an answer to `GET_DISPLAY_INFO` tells of, with 24 bytes each. None of ours has a screen.
const DISPLAY_INFO: usize = 16 * 24;
/// The guest may cache what it maps.
const MAP_CACHED: u32 = 1;

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the request is too short")]
    Short,
    /// A request that this device does not have.
    #[error("there is no request {0:#x}")]
    Unknown(u32),
    /// A capability set other than cross-domain.
    #[error("there is no capability set {0}")]
    Capset(u32),
    /// A blob in a kind of memory that this device does not have.
    #[error("there are no blobs of kind {0}")]
    BlobKind(u32),
    /// A blob of more pieces than any has.
    #[error("a blob consists of {0} pieces")]
    Pieces(u32),
    /// A blob of no size.
    #[error("a blob has no size")]
    Empty,
}

/// What every request begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    kind: u32,
    flags: u32,
    fence: u64,
    /// The context that it is about.
    pub context: u32,
    ring: u8,
}

/// Little-endian numbers out of bytes.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*field))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*field))
}

pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// There are too few bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = |at| u32_at(bytes, at).ok_or(Malformed::Short);
        Ok(Self {
            kind: word(0)?,
            flags: word(4)?,
            fence: u64_at(bytes, 8).ok_or(Malformed::Short)?,
            context: word(16)?,
            ring: *bytes.get(20).ok_or(Malformed::Short)?,
        })
    }

    /// Whether the answer is to wait for something to happen: the fence of the ring on which contexts wait.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.is_fenced() && self.flags & FLAG_RING != 0 && u32::from(self.ring) == WAIT_RING
    }

    /// Whether this is a submission whose end the guest may wait for.
    #[must_use]
    pub const fn is_fenced(&self) -> bool {
        self.kind == SUBMIT_3D && self.flags & FLAG_FENCE != 0
    }
}

/// A piece of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where.
    pub address: u64,
    /// How long.
    pub len: u32,
}

/// Where a blob's memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the guest.
    Guest(Vec<Piece>),
    /// On the host: an item of the context.
    Host(u64),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which screens there are.
    DisplayInfo,
    /// Which capability sets there are.
    CapsetInfo,
    /// What is in the one there is.
    Capset,
    /// A program opens the device.
    ContextCreate,
    /// And closes it.
    ContextDestroy,
    /// The context may use a blob.
    Attach(u32),
    /// And does no more.
    Detach(u32),
    /// A blob.
    BlobCreate {
        /// Its number.
        id: u32,
        /// Where its memory is.
        source: Source,
        /// Its bytes.
        size: u64,
    },
    /// The blob is not used any more.
    Unref(u32),
    /// The guest wants to see a blob at this place of the window.
    Map(u32, u64),
    /// And does no more.
    Unmap(u32),
    /// Commands of cross-domain.
    Submit(&'a [u8]),
}

impl<'a> Request<'a> {
    /// Reads a whole request, header included.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn decode(header: &Header, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let body = bytes.get(HEADER..).ok_or(Malformed::Short)?;
        let word = |at| u32_at(body, at).ok_or(Malformed::Short);
        let long = |at| u64_at(body, at).ok_or(Malformed::Short);
        let capset = |id| {
            if id == CAPSET {
                Ok(())
            } else {
                Err(Malformed::Capset(id))
            }
        };
        Ok(match header.kind {
            GET_DISPLAY_INFO => Self::DisplayInfo,
            GET_CAPSET_INFO => Self::CapsetInfo,
            GET_CAPSET => {
                capset(word(0)?)?;
                Self::Capset
            }
            CTX_CREATE => {
                // The upper bits are not for the capability set.
                capset(word(4)? & 0xff)?;
                Self::ContextCreate
            }
            CTX_DESTROY => Self::ContextDestroy,
            CTX_ATTACH_RESOURCE => Self::Attach(word(0)?),
            CTX_DETACH_RESOURCE => Self::Detach(word(0)?),
            RESOURCE_CREATE_BLOB => blob(body)?,
            RESOURCE_UNREF => Self::Unref(word(0)?),
            RESOURCE_MAP_BLOB => Self::Map(word(0)?, long(8)?),
            RESOURCE_UNMAP_BLOB => Self::Unmap(word(0)?),
            SUBMIT_3D => {
                let size = usize::try_from(word(0)?).map_err(|_too_large| Malformed::Short)?;
                let commands = body.get(8..).and_then(|rest| rest.get(..size));
                Self::Submit(commands.ok_or(Malformed::Short)?)
            }
            other => return Err(Malformed::Unknown(other)),
        })
    }
}

fn blob(body: &[u8]) -> Result<Request<'static>, Malformed> {
    let word = |at| u32_at(body, at).ok_or(Malformed::Short);
    let long = |at| u64_at(body, at).ok_or(Malformed::Short);
    let (id, kind, count) = (word(0)?, word(4)?, word(12)?);
    let (item, size) = (long(16)?, long(24)?);
    if size == 0 {
        return Err(Malformed::Empty);
    }
    let source = match kind {
        1 => {
            let entries = usize::try_from(count).unwrap_or(usize::MAX);
            if entries > PIECES {
                return Err(Malformed::Pieces(count));
            }
            let piece = |at| {
                Ok(Piece {
                    address: long(at)?,
                    len: word(at + 8)?,
                })
            };
            let pieces = (0..entries).map(|index| piece(32 + 16 * index));
            Source::Guest(pieces.collect::<Result<_, _>>()?)
        }
        2 => Source::Host(item),
        other => return Err(Malformed::BlobKind(other)),
    };
    Ok(Request::BlobCreate { id, source, size })
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It isn't.
    Refused,
    /// No screens.
    DisplayInfo,
    /// Cross-domain.
    CapsetInfo,
    /// Its version and channel.
    Capset,
    /// The blob can be seen in the window.
    Mapped,
}

impl Answer {
    /// As bytes, header included.
    #[must_use]
    pub fn encode(self, to: &Header) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Done => (OK_NODATA, Vec::new()),
            Self::Refused => (ERR_UNSPEC, Vec::new()),
            Self::DisplayInfo => (OK_DISPLAY_INFO, vec![0; DISPLAY_INFO]),
            Self::CapsetInfo => (OK_CAPSET_INFO, words(&[CAPSET, 0, 16, 0])),
            // Version, channels, no memory of a graphics card.
            Self::Capset => (OK_CAPSET, words(&[1, 1 << CHANNEL, 0, 0])),
            Self::Mapped => (OK_MAP_INFO, words(&[MAP_CACHED, 0])),
        };
        let flags = to.flags & (FLAG_FENCE | FLAG_RING);
        let mut bytes = words(&[kind, flags]);
        bytes.extend(to.fence.to_le_bytes());
        bytes.extend(to.context.to_le_bytes());
        bytes.extend([to.ring, 0, 0, 0]);
        bytes.extend(body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u32, body: &[u32]) -> Vec<u8> {
        let mut bytes = words(&[kind, 3, 7, 0, 9, 1]);
        bytes.extend(words(body));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Request<'_>, Malformed> {
        Request::decode(&Header::decode(bytes)?, bytes)
    }

    #[test]
    fn requests_are_read() {
        let piece = Piece {
            address: 0x1000,
            len: 4096,
        };
        for (kind, body, expected) in [
            (0x100, &[][..], Request::DisplayInfo),
            (0x108, &[0, 0], Request::CapsetInfo),
            (0x109, &[5, 1], Request::Capset),
            (0x200, &[4, 0x105], Request::ContextCreate),
            (0x201, &[], Request::ContextDestroy),
            (0x202, &[3, 0], Request::Attach(3)),
            (0x203, &[3, 0], Request::Detach(3)),
            (0x102, &[3, 0], Request::Unref(3)),
            (0x208, &[3, 0, 0x2000, 1], Request::Map(3, 0x1_0000_2000)),
            (0x209, &[3, 0], Request::Unmap(3)),
            (0x207, &[4, 0, 0x0403_0201], Request::Submit(&[1, 2, 3, 4])),
            (
                0x10c,
                &[3, 1, 1, 1, 0, 0, 4096, 0, 0x1000, 0, 4096, 0],
                Request::BlobCreate {
                    id: 3,
                    source: Source::Guest(vec![piece]),
                    size: 4096,
                },
            ),
            (
                0x10c,
                &[3, 2, 3, 0, 8, 0, 4096, 0],
                Request::BlobCreate {
                    id: 3,
                    source: Source::Host(8),
                    size: 4096,
                },
            ),
        ] {
            assert_eq!(decode(&request(kind, body)), Ok(expected), "{kind:#x}");
        }
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (kind, body, expected) in [
            (0x101, &[][..], Malformed::Unknown(0x101)),
            (0x109, &[2, 1], Malformed::Capset(2)),
            (0x200, &[4, 2], Malformed::Capset(2)),
            (0x202, &[], Malformed::Short),
            (0x208, &[3, 0, 1], Malformed::Short),
            (0x207, &[4, 0], Malformed::Short),
            (0x207, &[u32::MAX, 0, 0], Malformed::Short),
            (0x10c, &[3, 1, 1, 1, 0, 0, 4096, 0], Malformed::Short),
            (
                0x10c,
                &[3, 1, 1, u32::MAX, 0, 0, 4096, 0],
                Malformed::Pieces(u32::MAX),
            ),
            (0x10c, &[3, 3, 1, 0, 0, 0, 4096, 0], Malformed::BlobKind(3)),
            (0x10c, &[3, 2, 1, 0, 8, 0, 0, 0], Malformed::Empty),
        ] {
            assert_eq!(decode(&request(kind, body)), Err(expected), "{kind:#x}");
        }
        for len in 0..HEADER {
            assert_eq!(decode(&vec![0; len]), Err(Malformed::Short), "{len}");
        }
    }

    #[test]
    fn answers_carry_the_fence_of_their_request() {
        let header = Header::decode(&request(0x207, &[])).unwrap();
        assert!(header.waits());
        let bytes = Answer::Mapped.encode(&header);
        let expected = words(&[0x1106, 3, 7, 0, 9, 1, 1, 0]);
        assert_eq!(bytes, expected);
        assert_eq!(Answer::DisplayInfo.encode(&header).len(), HEADER + 384);
    }
}
