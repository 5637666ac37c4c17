// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is where on the screens. [`stack`] is the one walk over it, from front to back.

pub mod stack;
