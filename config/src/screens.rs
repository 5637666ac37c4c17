// SPDX-License-Identifier: MIT OR Apache-2.0
//! Settings of screens and pointing devices, checked.

use std::str::FromStr;

/// What is set for one connector; what is `None` is left to the compositor.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutputSettings {
    /// False if nothing is shown on it.
    pub off: bool,
    /// Which mode.
    pub mode: ModeChoice,
    /// Physical pixels per logical one.
    pub scale: Option<f64>,
    /// How the picture is turned.
    pub transform: Transform,
    /// Its upper left corner on the desktop, logical pixels.
    pub position: Option<(i32, i32)>,
}

/// Which of a screen's modes is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeChoice {
    /// The one that the screen prefers.
    #[default]
    Preferred,
    /// One of this size; without a rate the fastest.
    Size {
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// Frames in a thousand seconds.
        millihertz: Option<u32>,
    },
}

impl FromStr for ModeChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HINT: &str = "preferred, WxH or WxH@Hz, for example 1920x1080@60";
        if text == "preferred" {
            return Ok(Self::Preferred);
        }
        let (size, rate) = text
            .split_once('@')
            .map_or((text, None), |(size, rate)| (size, Some(rate)));
        let (width, height) = size.split_once('x').ok_or(HINT)?;
        let side = |text: &str| match text.parse::<u16>() {
            Ok(pixels @ 1..=16384) => Ok(pixels),
            _ => Err(HINT),
        };
        let millihertz = rate.map(rate_of).transpose().map_err(|()| HINT)?;
        Ok(Self::Size {
            width: side(width)?,
            height: side(height)?,
            millihertz,
        })
    }
}

/// Hertz with up to three digits after the point, in thousandths.
fn rate_of(text: &str) -> Result<u32, ()> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    if !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    let whole = whole
        .parse::<u32>()
        .ok()
        .filter(|hertz| (1..=1000).contains(hertz))
        .ok_or(())?;
    let thousandths = format!("{part:0<3}").parse::<u32>().map_err(drop)?;
    Ok(whole * 1000 + thousandths)
}

/// How a picture is turned, counter-clockwise, as Wayland has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transform {
    /// Not at all.
    #[default]
    Normal,
    /// A quarter.
    Quarter,
    /// Upside down.
    Half,
    /// Three quarters.
    ThreeQuarters,
    /// Mirrored left to right.
    Flipped,
    /// Mirrored, then a quarter.
    FlippedQuarter,
    /// Mirrored, then upside down.
    FlippedHalf,
    /// Mirrored, then three quarters.
    FlippedThreeQuarters,
}

impl Transform {
    /// Each with its word.
    pub const WORDS: [(&'static str, Self); 8] = [
        ("normal", Self::Normal),
        ("90", Self::Quarter),
        ("180", Self::Half),
        ("270", Self::ThreeQuarters),
        ("flipped", Self::Flipped),
        ("flipped-90", Self::FlippedQuarter),
        ("flipped-180", Self::FlippedHalf),
        ("flipped-270", Self::FlippedThreeQuarters),
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, transform)| *transform == self);
        known.map_or("normal", |(word, _)| word)
    }
}

/// How mice and touchpads behave. What is `None` is left to libinput.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pointing {
    /// -1 (slowest) to 1.
    pub speed: Option<f64>,
    /// How speed follows the hand.
    pub profile: Option<AccelProfile>,
    /// Content follows the fingers.
    pub natural_scroll: Option<bool>,
    /// Left and right button are swapped.
    pub left_handed: Option<bool>,
    /// A tap is a click; touchpads only.
    pub tap: Option<bool>,
    /// Dead while typing; touchpads only.
    pub off_while_typing: Option<bool>,
}

/// How a pointer's speed follows the hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccelProfile {
    /// Faster for fast movements.
    Adaptive,
    /// Always the same.
    Flat,
}

/// Input devices.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InputSettings {
    /// Mice, and what else points without being a touchpad.
    pub pointer: Pointing,
    /// Touchpads.
    pub touchpad: Pointing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_written() {
        let size = |width, height, millihertz| ModeChoice::Size {
            width,
            height,
            millihertz,
        };
        assert_eq!("preferred".parse(), Ok(ModeChoice::Preferred));
        assert_eq!("1920x1080".parse(), Ok(size(1920, 1080, None)));
        assert_eq!("1920x1080@60".parse(), Ok(size(1920, 1080, Some(60_000))));
        assert_eq!("1920x1080@59.94".parse(), Ok(size(1920, 1080, Some(59_940))));
        for bad in [
            "",
            "x",
            "1920",
            "0x0",
            "1920x",
            "1x1@",
            "1x1@0",
            "1x1@1.2345",
            "70000x1",
            "1x1@-1",
            "1x1@+6",
        ] {
            let read = bad.parse::<ModeChoice>();
            assert!(read.is_err(), "{bad}: {read:?}");
        }
    }
}
