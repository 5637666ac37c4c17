// SPDX-License-Identifier: MIT OR Apache-2.0
//! The name of a VM: an identity, so there is one way to write it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// Longest VM name in bytes.
pub const MAX_NAME: usize = 31;

/// What is wrong with text that should be a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is no text.
    #[error("the name is empty")]
    Empty,
    /// There is too much text.
    #[error("the name is longer than {0} bytes")]
    Long(usize),
    /// A character that names do not have.
    #[error("the name has the byte {0:#04x}, which is not allowed in it")]
    Byte(u8),
}

impl NameError {
    /// Checks a name of 1 to `max` bytes, each of which is `allowed`. Only ASCII may be.
    ///
    /// # Errors
    /// The first fault: no text, then the first byte that is not allowed, then the length.
    pub fn check(name: &[u8], max: usize, allowed: impl Fn(u8) -> bool) -> Result<&str, Self> {
        if name.is_empty() {
            return Err(Self::Empty);
        }
        if let Some(byte) = name.iter().find(|byte| !byte.is_ascii() || !allowed(**byte)) {
            return Err(Self::Byte(*byte));
        }
        if name.len() > max {
            return Err(Self::Long(max));
        }
        str::from_utf8(name).map_err(|_all_is_ascii| Self::Empty)
    }
}

/// Text that a person wrote is no VM name: says how to write one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a VM name is 1 to {MAX_NAME} characters of a-z, 0-9 and -")]
pub struct BadVmName(#[source] pub NameError);

/// A VM's name: 1 to 31 characters of `a-z`, `0-9` and `-`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmName(Arc<str>);

impl VmName {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// The text is empty, longer than [`MAX_NAME`] bytes or has another character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        Self::from_bytes(text.as_bytes())
    }

    /// Checks bytes and makes them a name.
    ///
    /// # Errors
    /// As [`VmName::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        NameError::check(bytes, MAX_NAME, allowed).map(|text| Self(Arc::from(text)))
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

impl fmt::Debug for VmName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for VmName {
    type Err = BadVmName;

    fn from_str(text: &str) -> Result<Self, BadVmName> {
        Self::new(text).map_err(BadVmName)
    }
}

impl AsRef<str> for VmName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_digits_and_hyphens() {
        for good in ["a", "a-1", "-", "0", &"z".repeat(MAX_NAME)] {
            assert_eq!(VmName::new(good).unwrap().as_str(), good);
            assert_eq!(VmName::from_bytes(good.as_bytes()).unwrap().to_string(), good);
        }
        assert_eq!(VmName::new(""), Err(NameError::Empty));
        assert_eq!(VmName::new(&"a".repeat(MAX_NAME + 1)), Err(NameError::Long(31)));
        let long_and_wrong = "a".repeat(MAX_NAME) + "B";
        assert_eq!(VmName::new(&long_and_wrong), Err(NameError::Byte(b'B')));
        let alphabet = b"abcdefghijklmnopqrstuvwxyz0123456789-";
        for byte in 0..=u8::MAX {
            let name = VmName::from_bytes(&[b'a', byte]);
            assert_eq!(name.is_ok(), alphabet.contains(&byte), "{byte:#04x}");
            if let Err(error) = name {
                assert_eq!(error, NameError::Byte(byte));
            }
        }
        assert_eq!("Work".parse::<VmName>(), Err(BadVmName(NameError::Byte(b'W'))));
        let name: VmName = "work".parse().unwrap();
        assert_eq!(
            (name.as_ref(), format!("{name:>6} {name:?}")),
            ("work", "  work \"work\"".to_owned())
        );
    }
}
