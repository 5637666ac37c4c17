// SPDX-License-Identifier: MIT OR Apache-2.0
//! Smithay's handler traits: translate to our identifiers, decide, record. Nothing here draws, moves focus or calls
//! back into Smithay's input code; [`crate::tick`] does that after the dispatch.

mod compositor;
mod data_device;
mod fractional_scale;
mod kde_decoration;
mod popup_grab;
mod primary_selection;
mod seat;
mod shm;
mod smithay_quirks;
mod tablet;
mod xdg_decoration;
mod xdg_shell;

use smithay::wayland::output::OutputHandler;

use crate::state::State;

// Protocols that need nothing of ours.
impl OutputHandler for State {}
smithay::delegate_viewporter!(State);
smithay::delegate_single_pixel_buffer!(State);
smithay::delegate_presentation!(State);
