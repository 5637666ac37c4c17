// SPDX-License-Identifier: MIT OR Apache-2.0
//! The name of a VM: an identity, so there is one way to write it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longest VM name in bytes.
pub const MAX_NAME: usize = 31;

/// A VM's name: 1 to 31 characters of `a-z`, `0-9` and `-`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmName(Arc<str>);

/// The text is not a VM name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a VM name is 1 to 31 characters of a-z, 0-9 and -")]
pub struct BadVmName;

impl VmName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`BadVmName`] if the text is empty, longer than 31 bytes or has another character.
    pub fn new(text: &str) -> Result<Self, BadVmName> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(good) {
            return Err(BadVmName);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for VmName {
    type Err = BadVmName;

    fn from_str(text: &str) -> Result<Self, BadVmName> {
        Self::new(text)
    }
}

impl AsRef<str> for VmName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
