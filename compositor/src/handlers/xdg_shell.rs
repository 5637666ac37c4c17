// SPDX-License-Identifier: MIT OR Apache-2.0
//! xdg-shell: windows and popups.

use smithay::delegate_xdg_shell;
use smithay::desktop::{PopupKind, find_popup_root_surface};
use smithay::input::Seat;
use smithay::utils::Serial;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::{
    Configure, PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
    XdgToplevelSurfaceData,
};
use tracing::debug;
use wayland_protocols::xdg::decoration::zv1::server::zxdg_toplevel_decoration_v1::Mode as DecorationMode;
use wayland_protocols::xdg::shell::server::xdg_toplevel;
use wayland_server::protocol::wl_surface::WlSurface;
use wayland_server::protocol::{wl_output, wl_seat};

use crate::desktop::layout::{Edges, Mode, WindowId};
use crate::desktop::windows::pending_configures;
use crate::input::{Effect, Press};
use crate::state::{Core, State};

impl XdgShellHandler for State {
    fn xdg_shell_state(&mut self) -> &mut XdgShellState {
        &mut self.core.globals.xdg_shell
    }

    fn client_pong(&mut self, client: ShellClient) {
        self.answered(&client);
    }

    fn new_toplevel(&mut self, surface: ToplevelSurface) {
        let Some((vm, client)) = self.core.identity(surface.wl_surface()) else {
            return;
        };
        self.core.can_be_pinged(client, surface.client());
        surface.with_pending_state(|state| state.decoration_mode = Some(DecorationMode::ServerSide));
        self.core.windows.insert(vm, client, surface);
    }

    fn new_popup(&mut self, surface: PopupSurface, positioner: PositionerState) {
        let popup = PopupKind::Xdg(surface.clone());
        // The gate lets no popup through whose parents form a circle, so the walk to the root ends.
        if find_popup_root_surface(&popup).is_err() {
            surface.send_popup_done();
            return;
        }
        self.place_popup(&surface, positioner);
        if self.core.popups.track_popup(popup).is_err() {
            debug!("a popup died before it was tracked");
        }
    }

    fn reposition_request(&mut self, surface: PopupSurface, positioner: PositionerState, token: u32) {
        if too_many_pending(&self.core, surface.wl_surface()) {
            return;
        }
        self.place_popup(&surface, positioner);
        surface.send_repositioned(token);
        self.core.render.schedule();
    }

    fn grab(&mut self, surface: PopupSurface, seat: wl_seat::WlSeat, serial: Serial) {
        self.grab_popup(&surface, &seat, serial);
    }

    fn move_request(&mut self, surface: ToplevelSurface, seat: wl_seat::WlSeat, serial: Serial) {
        if let Some((id, press)) = self.pressed_window(&surface, &seat, serial) {
            self.core.input.effects.push(Effect::StartMove(id, press));
        }
    }

    fn resize_request(
        &mut self,
        surface: ToplevelSurface,
        seat: wl_seat::WlSeat,
        serial: Serial,
        edges: xdg_toplevel::ResizeEdge,
    ) {
        use xdg_toplevel::ResizeEdge as E;
        let edges = match edges {
            E::Top => Edges::TOP,
            E::Bottom => Edges::BOTTOM,
            E::Left => Edges::LEFT,
            E::Right => Edges::RIGHT,
            E::TopLeft => Edges::TOP | Edges::LEFT,
            E::TopRight => Edges::TOP | Edges::RIGHT,
            E::BottomLeft => Edges::BOTTOM | Edges::LEFT,
            E::BottomRight => Edges::BOTTOM | Edges::RIGHT,
            _ => return,
        };
        if let Some((id, press)) = self.pressed_window(&surface, &seat, serial) {
            self.core
                .input
                .effects
                .push(Effect::StartResize(id, edges, press));
        }
    }

    fn maximize_request(&mut self, surface: ToplevelSurface) {
        self.client_mode(&surface, Mode::Maximized);
    }

    fn unmaximize_request(&mut self, surface: ToplevelSurface) {
        self.client_mode(&surface, Mode::Floating);
    }

    fn fullscreen_request(&mut self, surface: ToplevelSurface, _output: Option<wl_output::WlOutput>) {
        let allowed = self
            .core
            .windows
            .by_surface(surface.wl_surface())
            .and_then(|id| self.core.windows.get(id));
        let allowed = allowed.is_some_and(|window| self.core.fullscreen_allowed(&window.vm));
        self.client_mode(
            &surface,
            if allowed {
                Mode::Fullscreen
            } else {
                Mode::Maximized
            },
        );
    }

    fn unfullscreen_request(&mut self, surface: ToplevelSurface) {
        self.client_mode(&surface, Mode::Floating);
    }

    fn minimize_request(&mut self, surface: ToplevelSurface) {
        if let Some(id) = self.core.windows.by_surface(surface.wl_surface()) {
            self.core.input.effects.push(Effect::Minimize(id));
        }
    }

    fn toplevel_destroyed(&mut self, surface: ToplevelSurface) {
        if let Some(id) = self.core.windows.by_surface(surface.wl_surface()) {
            if let Some(window) = self.core.windows.remove(id) {
                self.core.input.unmapped(id, window.vm);
            }
            self.core.render.schedule();
        }
    }

    fn ack_configure(&mut self, surface: WlSurface, _configure: Configure) {
        self.core.windows.acknowledged(&surface);
    }

    fn popup_destroyed(&mut self, _surface: PopupSurface) {
        self.core.popups_gone = true;
        self.core.render.schedule();
        self.core.input.refresh_pointer = true;
    }

    fn title_changed(&mut self, surface: ToplevelSurface) {
        let title = with_states(surface.wl_surface(), |states| {
            let data = states.data_map.get::<XdgToplevelSurfaceData>()?;
            data.lock().ok()?.title.clone()
        });
        if let Some(id) = self.core.windows.by_surface(surface.wl_surface())
            && let Some(window) = self.core.windows.get_mut(id)
        {
            window.untrusted_title = title.unwrap_or_default();
            self.core.render.schedule();
        }
    }
}

impl State {
    /// The window, if `serial` is the press of a button, finger or pen that its own VM has right now on that client.
    fn pressed_window(
        &self,
        surface: &ToplevelSurface,
        seat: &wl_seat::WlSeat,
        serial: Serial,
    ) -> Option<(WindowId, Press)> {
        let id = self.core.windows.by_surface(surface.wl_surface())?;
        let window = self.core.windows.get(id)?;
        let own = &self.core.vms.get(&window.vm)?.seat;
        let press = Press(serial);
        let granted = Seat::<Self>::from_resource(seat).is_some_and(|seat| seat == *own);
        (granted && self.core.holds(id, press)).then_some((id, press))
    }

    /// A client asks for a mode; the window keeps its frame in each of them.
    fn client_mode(&mut self, surface: &ToplevelSurface, mode: Mode) {
        if let Some(id) = self.core.windows.by_surface(surface.wl_surface()) {
            self.core.input.effects.push(Effect::SetMode(id, mode));
            // The protocol promises a configure for the request even if nothing changes.
            if surface.is_initial_configure_sent() && !too_many_pending(&self.core, surface.wl_surface()) {
                self.core.input.effects.push(Effect::Configure(id));
            }
        }
    }

    fn place_popup(&self, surface: &PopupSurface, positioner: PositionerState) {
        let geometry = self
            .core
            .place_popup(&PopupKind::Xdg(surface.clone()), &positioner);
        surface.with_pending_state(|state| {
            state.geometry = geometry;
            state.positioner = positioner;
        });
    }
}

/// Whether a client has left too many configures of a window or popup unacknowledged: Smithay keeps them all.
pub(super) fn too_many_pending(core: &Core, surface: &WlSurface) -> bool {
    let limit = core
        .identity(surface)
        .and_then(|(vm, _)| Some(core.vms.get(&vm)?.limits().pending_configures));
    pending_configures(surface) >= limit.unwrap_or(0)
}

delegate_xdg_shell!(State);
