// SPDX-License-Identifier: MIT OR Apache-2.0
//! Smithay's handler traits: translate to our identifiers, decide, record. Nothing here draws, moves focus or calls
//! back into Smithay's input code; [`crate::tick`] does that after the dispatch.

mod compositor;
mod seat;
mod selection;
mod shell;
mod smithay_quirks;
