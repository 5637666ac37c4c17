// SPDX-License-Identifier: MIT OR Apache-2.0
//! The validated configuration: what the rest of the compositor sees.
//!
//! Values are plain; where each one came from is kept beside it in an [`Origins`] table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use heraldry_identity::{Arms, Rgb, TitleLevel, VmName};

use crate::keys::Keys;
use crate::limits::Limits;
use crate::origin::{Origin, Origins};
use crate::policy::globals::GlobalSet;
use crate::screens::{InputSettings, OutputSettings};

/// A whole configuration file, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// Every VM that the file names.
    pub vms: BTreeMap<VmName, VmConfig>,
    /// What holds for every VM that does not say otherwise.
    pub defaults: Defaults,
    /// The keyboard of VMs that name no layout, and of the compositor's own prompts.
    pub keyboard: Keyboard,
    /// Screens by the name of their connector.
    pub outputs: BTreeMap<String, OutputSettings>,
    /// Pointing devices.
    pub input: InputSettings,
    /// Looks that are the same for all VMs.
    pub appearance: Appearance,
    /// The compositor's shortcuts.
    pub keys: Keys,
    /// Settings of `heraldry-host`.
    pub host: Host,
    /// When the main loop counts as stuck.
    pub watchdog: Watchdog,
    /// What no VM exceeds, whatever its own block says; `None` where the file names no bound.
    pub bound: Bound,
    /// Named sets of globals, `base` among them.
    pub global_sets: BTreeMap<String, Arc<GlobalSet>>,
    /// The origins of everything but the VMs and the defaults: paths such as `keyboard.layout`, `keys.close`, `host.dir`.
    pub origins: Origins,
}

/// The node `bound`: limits that no VM exceeds.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// Each bounded limit by its place in [`Limits::ALL`], with the line that says so.
    pub(crate) limits: BTreeMap<usize, (u64, Origin)>,
}

/// What the node `defaults` sets.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// What happens to a VM that the file does not name.
    pub unknown_vm: UnknownVm,
    /// The rules for VMs that do not override them.
    pub rules: Rules,
    /// The origins of these settings: paths such as `title.max` and `unknown-vm`.
    pub origins: Origins,
}

/// One VM with every setting merged: built-in values, then `defaults`, then its own node.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Its identity.
    pub name: VmName,
    /// The name that people read on its frames.
    pub display_name: Arc<str>,
    /// Its marks.
    pub arms: Arms,
    /// Its keyboard.
    pub keyboard: Keyboard,
    /// What it may do.
    pub rules: Rules,
    /// Who may own its socket on the host; `None` leaves it to the user of `heraldry-host`.
    pub owner: Option<Owner>,
    /// The node that names the VM; [`Origin::BuiltIn`] for the arms of an unknown VM.
    pub origin: Origin,
    /// The origins of its settings: paths such as `color`, `title.max`, `keyboard.layout`.
    pub origins: Origins,
}

/// The rules that a VM lives by; each one can be set in `defaults` and in `vm`.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What of a window's title is shown.
    pub title: Title,
    /// What a window gets that asks to be fullscreen.
    pub fullscreen: Fullscreen,
    /// Where the picture of the pointer comes from.
    pub cursor: CursorRule,
    /// Whether the host passes memory that it cannot seal against shrinking.
    pub unsealed_memory: UnsealedMemory,
    /// How a window may get the focus.
    pub focus: Focus,
    /// The interfaces that the VM's registry shows.
    pub globals: Arc<GlobalSet>,
    /// What becomes of a VM one of whose clients broke a rule.
    pub on_violation: OnViolation,
    /// How much it may use; nothing in it exceeds the node `bound`.
    pub limits: Limits,
}

/// Settings that a file names by a word.
macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$of])* $variant,)+
        }

        impl $name {
            /// Every word of a file, with what it means.
            pub(crate) const WORDS: &[(&str, Self)] = &[$(($word, Self::$variant),)+];

            /// The word that names it in a file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    )+};
}

words! {
    /// What becomes of a VM one of whose clients broke a rule of the gate. The client is ended in any case.
    OnViolation {
        /// Nothing more.
        EndClient = "end-client",
        /// The VM is not served until the user resumes it; its windows stay, marked.
        PauseVm = "pause-vm",
        /// As `PauseVm`, and its windows are hidden.
        HideVm = "hide-vm",
    }

    /// What a window gets that asks to be fullscreen.
    Fullscreen {
        /// The whole output, within its frame.
        Framed = "framed",
        /// No more than being maximised, with its ordinary frame.
        Deny = "deny",
    }

    /// Where the picture of the pointer comes from.
    CursorRule {
        /// From the compositor's own theme; a client chooses a shape by name and cannot draw one.
        Shapes = "shapes",
    }

    /// Whether the host passes memory that it cannot seal against shrinking.
    UnsealedMemory {
        /// Refuse it: the connection ends.
        Refuse = "refuse",
        /// Pass it; a VM that shrinks it harms its own windows.
        Allow = "allow",
    }

    /// What happens to a VM that the file does not name.
    UnknownVm {
        /// Its connections are refused.
        Refuse = "refuse",
        /// It gets the arms of an unknown VM and the strictest rules.
        Quarantine = "quarantine",
    }

    /// How the compositor gets at a client that the host has accepted.
    HandOver {
        /// By a token, on one socket for all. Works with every VMM.
        Token = "token",
        /// By a socket of its own, whose context name is new. For a VMM that finds sockets at run time.
        Name = "name",
    }
}

/// When the main loop counts as stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    /// A turn of this length is logged, with the VM that was being served.
    pub warn: Duration,
    /// A turn of this length ends the compositor under `heraldry supervise`, which starts it again.
    pub abort: Duration,
}

/// What of a window's title is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Title {
    /// Which characters pass.
    pub level: TitleLevel,
    /// The most characters that are shown.
    pub max: u32,
}

/// How a window may get the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Focus {
    /// For so long a VM must have been seen at a place before a click, a wheel, a finger or a pen there reaches it.
    pub click_guard: Duration,
    /// Whether a new window gets the keyboard when no window has it. A window of the VM that has the keyboard always
    /// does, one of another VM never.
    pub on_map: bool,
}

/// A keyboard as XKB names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    /// XKB layout, for example `de`.
    pub layout: String,
    /// XKB variant; may be empty.
    pub variant: String,
    /// XKB options, separated by commas; may be empty.
    pub options: String,
    /// Repeats a second; 0 switches repeat off.
    pub repeat_rate: u32,
    /// Milliseconds before the first repeat.
    pub repeat_delay: u32,
}

/// Looks that are the same for all VMs; sizes are logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appearance {
    /// The colour behind all windows.
    pub background: Rgb,
    /// Size of label text.
    pub font_size: u32,
    /// Width of the frame's left, right and lower band.
    pub frame_width: u32,
    /// Height of the frame's upper band, which holds the label.
    pub title_height: u32,
}

/// Settings of `heraldry-host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The folder with the sockets.
    pub dir: std::path::PathBuf,
    /// How the compositor gets at an accepted client.
    pub hand_over: HandOver,
    /// What the memfd server gives.
    pub memfd: MemfdLimits,
    /// How long an announced connection waits for the compositor.
    pub withdraw_after: Duration,
    /// The most connections of one VM at one time.
    pub connections_per_vm: u32,
    /// The most descriptors that one connection may have in flight.
    pub descriptors_per_connection: u32,
}

/// What the host's memfd server gives for the needs of one VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemfdLimits {
    /// The most bytes at one time.
    pub bytes_per_vm: u64,
    /// The most memfds at one time.
    pub count_per_vm: u32,
    /// The most bytes for requests whose name tells no VM; 0 refuses them.
    pub bytes_for_others: u64,
}

/// A user of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By number.
    Uid(u32),
    /// By name; looked up by `heraldry-host`.
    Name(String),
}
