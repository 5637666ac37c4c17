// SPDX-License-Identifier: MIT OR Apache-2.0
//! The decoration protocol that GTK asks instead of the xdg one: the answer is "server side".

use smithay::delegate_kde_decoration;
use smithay::wayland::shell::kde::decoration::{KdeDecorationHandler, KdeDecorationState};
use wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration::{
    Mode, OrgKdeKwinServerDecoration,
};
use wayland_server::WEnum;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

impl KdeDecorationHandler for State {
    fn kde_decoration_state(&self) -> &KdeDecorationState {
        &self.core.globals.kde_decoration
    }

    fn request_mode(
        &mut self,
        _surface: &WlSurface,
        decoration: &OrgKdeKwinServerDecoration,
        _mode: WEnum<Mode>,
    ) {
        decoration.mode(Mode::Server);
    }
}

delegate_kde_decoration!(State);
