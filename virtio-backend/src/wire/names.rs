// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names: of VMs, of contexts, and text of strangers made safe for a log.

use std::fmt;
use std::str::FromStr;

use crate::uapi::NAME_LEN;

/// Most bytes of a VM name.
pub const VM_NAME_MAX: usize = 31;

/// Why text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text.
    #[error("The name is empty")]
    Empty,
    /// There is too much text.
    #[error("The name is longer than {0} bytes")]
    Long(usize),
    /// A character that names do not have.
    #[error("The name has the byte {0:#04x}, which is not allowed in it")]
    Byte(u8),
}

/// The name of a VM: 1 to 31 of `a` to `z`, `0` to `9` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmName(String);

impl VmName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// It is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        check(name.as_bytes(), VM_NAME_MAX, allowed)?;
        Ok(Self(name.to_owned()))
    }

    /// Checks `name`, in bytes.
    ///
    /// # Errors
    ///
    /// As [`VmName::new`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        Self::new(ascii(name)?)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

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
        check(name.as_bytes(), NAME_LEN, |byte| byte.is_ascii_graphic())?;
        Ok(Self(name.to_owned()))
    }

    /// Checks `name`, in bytes.
    ///
    /// # Errors
    ///
    /// As [`ContextName::new`].
    pub fn from_bytes(name: &[u8]) -> Result<Self, NameError> {
        Self::new(ascii(name)?)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }
    };
}

text_type!(VmName);
text_type!(ContextName);

fn check(name: &[u8], max: usize, allowed: impl Fn(u8) -> bool) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(byte) = name.iter().find(|byte| !allowed(**byte)) {
        return Err(NameError::Byte(*byte));
    }
    if name.len() > max {
        Err(NameError::Long(max))
    } else {
        Ok(())
    }
}

fn ascii(name: &[u8]) -> Result<&str, NameError> {
    match str::from_utf8(name) {
        Ok(text) => Ok(text),
        Err(error) => Err(NameError::Byte(
            name.get(error.valid_up_to()).copied().unwrap_or(0),
        )),
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
