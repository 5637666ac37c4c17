// SPDX-License-Identifier: MIT OR Apache-2.0
//! How much of a client's title may be shown beside its VM's arms.

/// Which characters of a title pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TitleLevel {
    /// Printable ASCII; everything else becomes a replacement.
    Ascii,
    /// Unicode without control, direction, zero-width and stacking characters.
    SafeUtf8,
}

impl TitleLevel {
    /// The word that names it in a file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascii => "ascii",
            Self::SafeUtf8 => "safe-utf8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_words() {
        assert_eq!(TitleLevel::Ascii.as_str(), "ascii");
        assert_eq!(TitleLevel::SafeUtf8.as_str(), "safe-utf8");
    }
}
