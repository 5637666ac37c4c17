// SPDX-License-Identifier: MIT OR Apache-2.0
//! Key chords: the compositor's own shortcuts.

use std::fmt;

/// The modifiers of a chord. Exactly these must be down; locks do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Modifiers {
    /// Control.
    pub ctrl: bool,
    /// Alt.
    pub alt: bool,
    /// Shift.
    pub shift: bool,
    /// Super, the key with the logo.
    pub logo: bool,
}

impl Modifiers {
    /// Whether no modifier is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !(self.ctrl || self.alt || self.shift || self.logo)
    }
}

impl fmt::Display for Modifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.logo, "Super"),
            (self.ctrl, "Ctrl"),
            (self.alt, "Alt"),
            (self.shift, "Shift"),
        ];
        let mut separator = "";
        for (_, name) in names.iter().filter(|(set, _)| *set) {
            write!(f, "{separator}{name}")?;
            separator = "+";
        }
        Ok(())
    }
}

/// A key with modifiers, for example `Super+Shift+E`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyChord {
    /// The modifiers.
    pub modifiers: Modifiers,
    /// The key by its keysym's name, without modifiers applied: letters are lower case (`e`, `Tab`, `F4`, `Up`).
    pub key: String,
}

impl fmt::Display for KeyChord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Letters are written as they stand on the keyboard.
        let upper = self.key.to_ascii_uppercase();
        let key = if self.key.len() == 1 { &upper } else { &self.key };
        if self.modifiers.is_empty() {
            f.write_str(key)
        } else {
            write!(f, "{}+{key}", self.modifiers)
        }
    }
}

/// The compositor's shortcuts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Asks the focused window to close.
    pub close: KeyChord,
    /// Maximizes or restores the focused window.
    pub maximize: KeyChord,
    /// Minimizes the focused window.
    pub minimize: KeyChord,
    /// Switches fullscreen of the focused window.
    pub fullscreen: KeyChord,
    /// Focuses the next window.
    pub next_window: KeyChord,
    /// Focuses the previous window.
    pub previous_window: KeyChord,
    /// Pauses and hides the VM under the pointer.
    pub hide_vm: KeyChord,
    /// Brings back the VM that was hidden last.
    pub show_vm: KeyChord,
    /// Ends the compositor.
    pub quit: KeyChord,
    /// Starts the machine again.
    pub reboot: KeyChord,
    /// Switches the machine off.
    pub power_off: KeyChord,
    /// Held while a window is dragged anywhere on its content to move it (or resize it, with the right button).
    pub move_modifier: Modifiers,
}

impl Keys {
    /// Every chord with the name of its node.
    #[must_use]
    pub fn chords(&self) -> [(&'static str, &KeyChord); 11] {
        [
            ("close", &self.close),
            ("maximize", &self.maximize),
            ("minimize", &self.minimize),
            ("fullscreen", &self.fullscreen),
            ("next-window", &self.next_window),
            ("previous-window", &self.previous_window),
            ("hide-vm", &self.hide_vm),
            ("show-vm", &self.show_vm),
            ("quit", &self.quit),
            ("reboot", &self.reboot),
            ("power-off", &self.power_off),
        ]
    }
}
