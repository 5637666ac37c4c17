// SPDX-License-Identifier: MIT OR Apache-2.0
//! The display socket: how the compositor, which cannot accept, learns of accepted connections.
//!
//! Host to compositor: `Hello`, `Announce`, `Withdraw`. Compositor to host: `Hello`, `Take`, `Refuse`, `Credit`. Each record
//! has [`RECORD_LEN`] bytes:
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `HRDY` |
//! | 4..6 | version, u16 |
//! | 6..8 | kind, u16: 1 Hello, 2 Announce, 3 Withdraw (host); 1 Hello, 2 Take, 3 Refuse, 4 Credit (compositor) |
//! | 8..16 | connection number, u64; 0 in Hello, never 0 elsewhere |
//! | 16..24 | Announce: boot instance, u64; Refuse: reason, u32, then zeros; Credit: bytes, u64 |
//! | 24..32 | Announce: way, u8 (1 token, 2 context name), then zeros; Credit: descriptors, u64 |
//! | 32..64 | Announce: VM name, NUL-padded |
//! | 64..96 | Announce: the token, or the context name, NUL-padded |
//!
//! What a VM's gate has not taken yet is held by the compositor, never by the device, whose buffers all VMs share. So
//! the host sends no more of a connection than [`WINDOW_BYTES`] and [`WINDOW_FDS`] beyond what a Credit has said.
//!
//! A host that comes back after a restart says Hello again; numbers start again with each display socket, so both
//! sides forget what was announced on the one before.

use heraldry_identity::VmName;

use super::{ContextName, Record, VERSION, WireError, Writer, take, text, zero};

/// Bytes of a record on the display socket.
pub const RECORD_LEN: usize = 96;

/// Bytes of a client that may be on their way to its gate, or wait there.
pub const WINDOW_BYTES: u64 = 65_536;

/// Descriptors of a client that may be on their way to its gate, or wait there.
pub const WINDOW_FDS: u64 = 64;

/// Bytes of a connection token.
pub const TOKEN_LEN: usize = 32;

const MAGIC: [u8; 4] = *b"HRDY";
const FIELD: usize = 32;

/// How the compositor gets at an announced connection.
#[derive(Clone, PartialEq, Eq)]
pub enum Way {
    /// Open a context named [`super::CONNECTION_CONTEXT`] and send this token first.
    Token([u8; TOKEN_LEN]),
    /// Open the context of this name (a VMM that can add sockets at run time).
    Name(ContextName),
}

impl std::fmt::Debug for Way {
    /// Does not show the token: whoever has it has the connection.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token"),
            Self::Name(name) => f.debug_tuple("Name").field(name).finish(),
        }
    }
}

/// A connection that the host has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its number on this display socket; never 0, never used again.
    pub number: u64,
    /// The boot instance of the VM: new at every start of it.
    pub boot: u64,
    /// The VM that it came from.
    pub vm: VmName,
    /// How to take it.
    pub way: Way,
}

/// A record from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRecord {
    /// The host is there. First record on a display socket.
    Hello,
    /// A connection waits.
    Announce(Announcement),
    /// An announced connection waits no more: its client is gone, or it took too long.
    Withdraw {
        /// Its number.
        number: u64,
    },
}

/// Why the compositor does not take a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum RefuseReason {
    /// No configuration for a VM of this name.
    UnknownVm = 1,
    /// The VM has as many clients as it may have.
    Limit = 2,
    /// The user paused the VM.
    Paused = 3,
    /// The compositor is on its way out.
    Stopping = 4,
    /// The compositor tried and failed.
    Failed = 5,
}

/// A record from the compositor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompositorRecord {
    /// The compositor is there. First record on a display socket.
    Hello,
    /// The compositor is opening the connection.
    Take {
        /// Its number.
        number: u64,
    },
    /// The compositor does not want the connection; end its client.
    Refuse {
        /// Its number.
        number: u64,
        /// Why.
        reason: RefuseReason,
    },
    /// So much of a connection has been taken since it began. Sums, so that a record that is lost costs nothing.
    Credit {
        /// Its number.
        number: u64,
        /// Bytes.
        bytes: u64,
        /// Descriptors.
        descriptors: u64,
    },
}

const HELLO: u16 = 1;
const ANNOUNCE_OR_TAKE: u16 = 2;
const WITHDRAW_OR_REFUSE: u16 = 3;
const CREDIT: u16 = 4;

fn head(kind: u16, number: u64) -> Writer<RECORD_LEN> {
    Writer::new()
        .put(&MAGIC, 4)
        .put(&VERSION.to_le_bytes(), 2)
        .put(&kind.to_le_bytes(), 2)
        .put(&number.to_le_bytes(), 8)
}

fn open(bytes: &mut &[u8]) -> Result<(u16, u64), WireError> {
    if take::<4>(bytes)? != MAGIC {
        return Err(WireError::Magic);
    }
    let version = u16::from_le_bytes(take(bytes)?);
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let kind = u16::from_le_bytes(take(bytes)?);
    let number = u64::from_le_bytes(take(bytes)?);
    if (kind == HELLO) != (number == 0) {
        return Err(WireError::Value("number"));
    }
    Ok((kind, number))
}

impl HostRecord {
    /// The bytes of the record.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        match self {
            Self::Hello => head(HELLO, 0).done(),
            Self::Withdraw { number } => head(WITHDRAW_OR_REFUSE, *number).done(),
            Self::Announce(announcement) => {
                let (way, body): (u8, &[u8]) = match &announcement.way {
                    Way::Token(token) => (1, token),
                    Way::Name(name) => (2, name.as_str().as_bytes()),
                };
                head(ANNOUNCE_OR_TAKE, announcement.number)
                    .put(&announcement.boot.to_le_bytes(), 8)
                    .put(&[way], 8)
                    .put(announcement.vm.as_str().as_bytes(), FIELD)
                    .put(body, FIELD)
                    .done()
            }
        }
    }
}

impl Record for HostRecord {
    const LEN: usize = RECORD_LEN;

    fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, number) = open(&mut bytes)?;
        let record = match kind {
            HELLO => Self::Hello,
            WITHDRAW_OR_REFUSE => Self::Withdraw { number },
            ANNOUNCE_OR_TAKE => Self::Announce(announcement(number, &mut bytes)?),
            other => return Err(WireError::Kind(other)),
        };
        zero(bytes, "padding")?;
        Ok(record)
    }
}

fn announcement(number: u64, bytes: &mut &[u8]) -> Result<Announcement, WireError> {
    let boot = u64::from_le_bytes(take(bytes)?);
    let [way, pad @ ..] = take::<8>(bytes)?;
    zero(&pad, "way")?;
    let vm = take::<FIELD>(bytes)?;
    let vm = VmName::from_bytes(text(&vm, "vm")?).map_err(|error| WireError::Name("vm", error))?;
    let body = take::<FIELD>(bytes)?;
    let way = match way {
        1 => Way::Token(body),
        2 => {
            let name = ContextName::from_bytes(text(&body, "context name")?);
            Way::Name(name.map_err(|error| WireError::Name("context name", error))?)
        }
        _ => return Err(WireError::Value("way")),
    };
    Ok(Announcement {
        number,
        boot,
        vm,
        way,
    })
}

impl RefuseReason {
    const fn from_word(word: u32) -> Option<Self> {
        match word {
            1 => Some(Self::UnknownVm),
            2 => Some(Self::Limit),
            3 => Some(Self::Paused),
            4 => Some(Self::Stopping),
            5 => Some(Self::Failed),
            _ => None,
        }
    }
}

impl CompositorRecord {
    /// The bytes of the record.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        match self {
            Self::Hello => head(HELLO, 0).done(),
            Self::Take { number } => head(ANNOUNCE_OR_TAKE, *number).done(),
            Self::Refuse { number, reason } => head(WITHDRAW_OR_REFUSE, *number)
                .put(&(*reason as u32).to_le_bytes(), 8)
                .done(),
            Self::Credit {
                number,
                bytes,
                descriptors,
            } => head(CREDIT, *number)
                .put(&bytes.to_le_bytes(), 8)
                .put(&descriptors.to_le_bytes(), 8)
                .done(),
        }
    }
}

impl Record for CompositorRecord {
    const LEN: usize = RECORD_LEN;

    fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, number) = open(&mut bytes)?;
        let record = match kind {
            HELLO => Self::Hello,
            ANNOUNCE_OR_TAKE => Self::Take { number },
            WITHDRAW_OR_REFUSE => {
                let reason = RefuseReason::from_word(u32::from_le_bytes(take(&mut bytes)?));
                Self::Refuse {
                    number,
                    reason: reason.ok_or(WireError::Value("reason"))?,
                }
            }
            CREDIT => Self::Credit {
                number,
                bytes: u64::from_le_bytes(take(&mut bytes)?),
                descriptors: u64::from_le_bytes(take(&mut bytes)?),
            },
            other => return Err(WireError::Kind(other)),
        };
        zero(bytes, "padding")?;
        Ok(record)
    }
}
