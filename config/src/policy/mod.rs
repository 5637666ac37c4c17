// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every decision over a configuration. Pure: no files, no clocks, no Wayland library.
//!
//! Each decision returns what it decided together with the [`Origin`](crate::Origin) of the rule, so that the audit
//! log, `heraldry explain` and the tests read the same answer.

pub mod globals;
pub mod vm;
