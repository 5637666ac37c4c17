// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is where on the screens: [`outputs`] has the screens, [`layout`] the places of windows, [`windows`] what is known of
//! each. [`stack`] is the one walk over it, from front to back. Nothing here draws.

pub mod frame_clock;
pub mod layout;
pub mod output_enter;
pub mod outputs;
pub mod stack;
pub mod windows;
