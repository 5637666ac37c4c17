// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a frame is drawn from.

use crate::title::TitleRule;

/// A colour, 8 bits a channel, sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rgb {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

/// Hatching of the frame, after the engravers' convention for tinctures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// No hatching.
    Solid,
    /// Horizontal lines (azure).
    Horizontal,
    /// Vertical lines (gules).
    Vertical,
    /// Lines from the upper left to the lower right (vert).
    Diagonal,
    /// Lines from the upper right to the lower left (purpure).
    AntiDiagonal,
    /// Horizontal and vertical lines (sable).
    Cross,
    /// Dots (or).
    Dots,
}

/// A VM's marks together. All of them come from the user's configuration, none from the VM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arms {
    /// Colour of the frame.
    pub color: Rgb,
    /// Hatching of the frame.
    pub pattern: Pattern,
    /// One grapheme shown in the label's shield.
    pub glyph: String,
    /// The VM's name as the user reads it.
    pub name: String,
}

/// Sizes shared by every frame of an output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Style {
    /// Width of the band, logical pixels.
    pub frame_width: u32,
    /// Height of an ordinary window's label including the band above it, logical pixels.
    pub title_height: u32,
    /// Text size, logical pixels.
    pub font_size: f32,
    /// Physical pixels per logical pixel.
    pub scale: f64,
}

/// What is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A window with label, title and buttons.
    Window,
    /// A fullscreen window: the band and a slim label, which stay.
    Fullscreen,
    /// A popup or drag icon: the band alone.
    Popup,
}

/// Buttons in a window's label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Button {
    /// Asks the client to close.
    Close,
    /// Maximises or restores.
    Maximize,
    /// Hides.
    Minimize,
}

/// What the compositor has to say about a window or its VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Badge {
    /// It wants so much that it is slowed down.
    Throttled,
    /// It is not served.
    Paused,
    /// The window came up below others.
    WantsYou,
}

impl Badge {
    /// The word on the label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Paused => "paused",
            Self::WantsYou => "new",
        }
    }
}

/// Space around the content, physical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insets {
    /// Above.
    pub top: u32,
    /// To the right.
    pub right: u32,
    /// Below.
    pub bottom: u32,
    /// To the left.
    pub left: u32,
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameSpec<'a> {
    /// Whose window it is.
    pub arms: &'a Arms,
    /// What the client calls its window. Untrusted: filtered before it is drawn.
    pub untrusted_title: &'a str,
    /// What of it may be shown.
    pub title_rule: TitleRule,
    /// What is framed.
    pub kind: FrameKind,
    /// Whether it has the keyboard.
    pub focused: bool,
    /// Whether it is maximised (the button then shows "restore").
    pub maximized: bool,
    /// Button under the pointer.
    pub hover: Option<Button>,
    /// What is to be said about the VM.
    pub badge: Option<Badge>,
    /// Size of the content, physical pixels.
    pub content: (u32, u32),
}
