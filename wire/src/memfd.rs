// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory server: memory that the compositor can hand to clients.
//!
//! The format is that of Spectrum's crosvm, as its wlroots patch uses it: a request of 232 bytes (name, zero-filled,
//! and size), a reply of one byte, with the memory when the byte is 0. What Spectrum left open is settled here:
//! several requests may go over one connection, one at a time; the name has no bytes after its first NUL; a failure
//! has one of the codes of [`MemfdFailure`] and no descriptor; the memory is whole pages.
//!
//! The name says on whose behalf memory is asked for, `heraldry/<vm>/<purpose>`, so that the server can keep an
//! account per VM. Other compositors name their memory as they like (`wlroots`); they share one account.

use heraldry_identity::VmName;

use super::{Record, WireError, Writer, clean, take, text};

/// Bytes of a request.
pub const REQUEST_LEN: usize = 232;
/// Bytes of the name in a request.
pub const REQUEST_NAME_LEN: usize = 224;

const PREFIX: &str = "heraldry/";

/// A request for memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemfdRequest {
    name: Vec<u8>,
    /// How many bytes, not rounded.
    pub size: u64,
}

impl MemfdRequest {
    /// A request on behalf of `vm`. The purpose is cut to what fits.
    #[must_use]
    pub fn new(vm: &VmName, purpose: &str, size: u64) -> Self {
        let purpose = clean(purpose.as_bytes(), 128);
        Self {
            name: format!("{PREFIX}{vm}/{purpose}").into_bytes(),
            size,
        }
    }

    /// The name as sent, without its padding. It is a stranger's text.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The name, safe for a log and for memfd_create(2).
    #[must_use]
    pub fn clean_name(&self) -> String {
        clean(&self.name, 200)
    }

    /// The VM on whose behalf the memory is asked for, if the name has the form `heraldry/<vm>/<purpose>`.
    #[must_use]
    pub fn vm(&self) -> Option<VmName> {
        let rest = self.name.strip_prefix(PREFIX.as_bytes())?;
        let end = rest.iter().position(|byte| *byte == b'/')?;
        VmName::from_bytes(rest.get(..end)?).ok()
    }

    /// Whether the name is of another form altogether: who asks knows nothing of VMs.
    #[must_use]
    pub fn is_of_others(&self) -> bool {
        !self.name.starts_with(PREFIX.as_bytes())
    }

    /// The bytes of the request.
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST_LEN] {
        Writer::new()
            .put(&self.name, REQUEST_NAME_LEN)
            .put(&self.size.to_le_bytes(), 8)
            .done()
    }
}

impl Record for MemfdRequest {
    const LEN: usize = REQUEST_LEN;

    fn decode(mut bytes: &[u8]) -> Result<Self, WireError> {
        let name = take::<REQUEST_NAME_LEN>(&mut bytes)?;
        let size = u64::from_le_bytes(take(&mut bytes)?);
        Ok(Self {
            name: text(&name, "name")?.to_vec(),
            size,
        })
    }
}

/// Why the memory server gives no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MemfdFailure {
    /// The request has no VM in its name, or is not a request at all.
    #[error("The memory server did not understand the request")]
    Malformed,
    /// Memory of no bytes was asked for.
    #[error("The memory server does not give memory of size 0")]
    ZeroSize,
    /// One piece of memory may not be this large.
    #[error("The memory server does not give memory of this size")]
    TooLarge,
    /// The VM has had its share.
    #[error("The VM has used up its budget at the memory server")]
    VmBudget,
    /// All VMs together have had theirs.
    #[error("The budget of the memory server is used up")]
    TotalBudget,
    /// The host has no memory.
    #[error("The host has no memory left")]
    NoMemory,
    /// A code that this version does not know.
    #[error("The memory server failed with the unknown reason {0}")]
    Unknown(u8),
}

impl MemfdFailure {
    /// The reply byte of the failure; never 0, which means success.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::ZeroSize => 2,
            Self::TooLarge => 3,
            Self::VmBudget => 4,
            Self::TotalBudget => 5,
            Self::NoMemory => 6,
            Self::Unknown(0) => u8::MAX,
            Self::Unknown(code) => code,
        }
    }
}

/// The reply byte for `outcome`.
#[must_use]
pub const fn encode_reply(outcome: Result<(), MemfdFailure>) -> u8 {
    match outcome {
        Ok(()) => 0,
        Err(failure) => failure.code(),
    }
}

/// The outcome that a reply byte stands for.
///
/// # Errors
///
/// The byte is not 0; the failure says why there is no memory.
pub const fn decode_reply(byte: u8) -> Result<(), MemfdFailure> {
    match byte {
        0 => Ok(()),
        1 => Err(MemfdFailure::Malformed),
        2 => Err(MemfdFailure::ZeroSize),
        3 => Err(MemfdFailure::TooLarge),
        4 => Err(MemfdFailure::VmBudget),
        5 => Err(MemfdFailure::TotalBudget),
        6 => Err(MemfdFailure::NoMemory),
        other => Err(MemfdFailure::Unknown(other)),
    }
}
