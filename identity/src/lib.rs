// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a VM is, and how that is seen.
//!
//! | module | what it has |
//! |---|---|
//! | [`name`] | a VM's name, which is its identity in files, on the wire and in the log |
//! | [`arms`] | colour, hatching and glyph, which its frames carry |
//! | [`title`] | which characters of a client's title may stand beside them |
//! | [`confusable`] | whether an eye could take two VMs for one |
//!
//! These are values and pure functions: the configuration says which VM has which, `heraldry-decorations` draws them.
#![forbid(unsafe_code)]

pub mod arms;
pub mod confusable;
pub mod name;
pub mod title;

pub use arms::{Arms, Pattern, Rgb};
pub use name::VmName;
pub use title::TitleLevel;
