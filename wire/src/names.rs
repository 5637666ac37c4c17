// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of contexts, and text of strangers made safe for a log.

use std::fmt;
use std::str::FromStr;

use heraldry_identity::name::NameError;

use crate::virtwl::NAME_LEN;

/// The name of a virtio_wl context: 1 to 32 visible ASCII characters.
///
/// crosvm wl.rs cuts a name at the first NUL or at 32 bytes and wants UTF-8; this is the part of it that is also safe
/// in a log.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextName(String);

impl ContextName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        Self::from_bytes(name.as_bytes())
    }

    /// Checks `name`, in bytes.
    ///
    /// # Errors
    ///
    /// As [`ContextName::new`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        NameError::check(name, NAME_LEN, |byte| byte.is_ascii_graphic()).map(|name| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ContextName {
    /// How a connection says which context it is, where all have one socket: the first bytes, with zeros after the name.
    #[must_use]
    pub fn to_role(&self) -> [u8; NAME_LEN] {
        let mut role = [0; NAME_LEN];
        for (slot, byte) in role.iter_mut().zip(self.0.bytes()) {
            *slot = byte;
        }
        role
    }

    /// Reads what [`Self::to_role`] wrote.
    ///
    /// # Errors
    ///
    /// It is no name, or something follows the zeros.
    pub fn from_role(role: &[u8; NAME_LEN]) -> Result<Self, NameError> {
        let end = role
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        Self::from_bytes(role.get(..end).unwrap_or_default())
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl AsRef<str> for ContextName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContextName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// Text of a stranger, safe to show in a terminal: printable ASCII stays, everything else is `\xNN`, and what goes
/// beyond `max` characters is cut and marked with `~`.
#[must_use]
pub fn clean(text: &[u8], max: usize) -> String {
    use fmt::Write as _;
    let mut out = String::new();
    for byte in text {
        let before = out.len();
        if (byte.is_ascii_graphic() || *byte == b' ') && *byte != b'\\' {
            out.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
        if out.len() > max {
            out.truncate(before);
            out.push('~');
            break;
        }
    }
    out
}
