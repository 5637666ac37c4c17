// SPDX-License-Identifier: MIT OR Apache-2.0
//! Heraldry's configuration: the KDL file, the validated settings, and every policy decision.
//!
//! [`load`] is the only function with I/O; [`parse`] turns text into a [`Config`] or into all of the text's errors at
//! once. Decisions over a configuration are pure functions in [`policy`] and return the [`Origin`] of the rule that
//! decided. This crate knows neither Wayland libraries nor files other than the one it is given.
//!
//! Start reading at [`checked`] (what the rest of the compositor sees), then `schema` (how a file becomes that).
#![forbid(unsafe_code)]

pub mod builtin;
pub mod effective;
pub mod error;
pub mod keys;
pub mod limits;
mod load;
pub mod origin;
pub mod policy;
mod schema;
pub mod screens;
pub mod settings;

pub use effective::{EffectiveSetting, effective};
pub use error::{ConfigError, ConfigErrors};
pub use keys::{KeyChord, Keys, Modifiers};
pub use limits::{LimitInfo, Limits};
pub use load::{MAX_FILE_BYTES, load, parse};
pub use origin::{Origin, Origins};
pub use policy::globals::GlobalSet;
pub use policy::vm::VmVerdict;
pub use screens::{AccelProfile, InputSettings, ModeChoice, OutputSettings, Pointing, Transform};
pub use settings::{
    Appearance, Config, CursorRule, Defaults, Focus, Fullscreen, HandOver, Host, Keyboard, MemfdLimits,
    OnViolation, Owner, Rules, Title, UnknownVm, UnsealedMemory, VmConfig, Watchdog,
};

#[cfg(test)]
mod error_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod tests;
