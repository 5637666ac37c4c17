// SPDX-License-Identifier: MIT OR Apache-2.0
//! The selection that the middle button pastes, inside one VM.

use smithay::delegate_primary_selection;
use smithay::wayland::selection::primary_selection::{PrimarySelectionHandler, PrimarySelectionState};

use crate::state::State;

impl PrimarySelectionHandler for State {
    fn primary_selection_state(&self) -> &PrimarySelectionState {
        &self.core.globals.primary_selection
    }
}

delegate_primary_selection!(State);
