// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a frame is drawn from.

use heraldry_identity::Arms;

use crate::title::TitleRule;

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
    pub arms: Arms,
    /// The name of its VM that people read. Like the arms, it comes from the user's configuration.
    pub display_name: &'a str,
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
