// SPDX-License-Identifier: MIT OR Apache-2.0
//! The arms of a VM: colour, hatching pattern and glyph.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A colour in sRGB, eight bits a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rgb {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

impl Rgb {
    /// A colour from its three channels.
    #[must_use]
    pub const fn new(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b }
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.r, self.g, self.b)
    }
}

/// The text is not a colour.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a colour is written #rrggbb, with six hexadecimal digits")]
pub struct BadColor;

impl FromStr for Rgb {
    type Err = BadColor;

    fn from_str(text: &str) -> Result<Self, BadColor> {
        let digits = text.strip_prefix('#').ok_or(BadColor)?;
        if digits.len() != 6 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BadColor);
        }
        let [_, r, g, b] = u32::from_str_radix(digits, 16)
            .map_err(|_digits_were_checked| BadColor)?
            .to_be_bytes();
        Ok(Self { r, g, b })
    }
}

/// A hatching: the second cue that tells two VMs apart, readable without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// A plain field.
    Solid,
    /// Horizontal lines (heraldry's blue).
    Horizontal,
    /// Vertical lines (heraldry's red).
    Vertical,
    /// Lines from the upper left to the lower right (heraldry's green).
    Diagonal,
    /// Lines from the upper right to the lower left (heraldry's purple).
    AntiDiagonal,
    /// Horizontal and vertical lines (heraldry's black).
    Cross,
    /// Dots (heraldry's gold).
    Dots,
}

impl Pattern {
    /// Every pattern, in the order of the documents.
    pub const ALL: [Self; 7] = [
        Self::Solid,
        Self::Horizontal,
        Self::Vertical,
        Self::Diagonal,
        Self::AntiDiagonal,
        Self::Cross,
        Self::Dots,
    ];

    /// The word that names the pattern in a file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Horizontal => "horizontal",
            Self::Vertical => "vertical",
            Self::Diagonal => "diagonal",
            Self::AntiDiagonal => "anti-diagonal",
            Self::Cross => "cross",
            Self::Dots => "dots",
        }
    }
}

/// The marks of a VM that its frames carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arms {
    /// The field's colour.
    pub color: Rgb,
    /// The hatching over the field.
    pub pattern: Pattern,
    /// One visible character.
    pub glyph: char,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_written_with_six_digits() {
        for (text, color) in [
            ("#000000", Rgb::new(0, 0, 0)),
            ("#0a1b2c", Rgb::new(0x0a, 0x1b, 0x2c)),
            ("#ff8001", Rgb::new(0xff, 0x80, 0x01)),
        ] {
            assert_eq!(text.parse(), Ok(color));
            assert_eq!(text.to_ascii_uppercase().parse(), Ok(color));
            assert_eq!(color.to_string(), text);
        }
        for bad in [
            "", "#", "000000", "#00000", "#0000000", "#+00000", "#00000g", "# 00000", "#0000é", "##00000",
        ] {
            assert_eq!(bad.parse::<Rgb>(), Err(BadColor), "{bad}");
        }
    }

    #[test]
    fn patterns_have_their_heraldic_words() {
        assert_eq!(
            Pattern::ALL.map(Pattern::as_str),
            [
                "solid",
                "horizontal",
                "vertical",
                "diagonal",
                "anti-diagonal",
                "cross",
                "dots"
            ]
        );
    }
}
