// SPDX-License-Identifier: MIT OR Apache-2.0
//! xdg-shell and the decoration protocols. Whatever a client asks of its decoration, the answer is "server side".

use smithay::desktop::{
    PopupKeyboardGrab, PopupKind, PopupManager, PopupPointerGrab, find_popup_root_surface,
};
use smithay::input::Seat;
use smithay::input::pointer::Focus;
use smithay::utils::Serial;
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::kde::decoration::{KdeDecorationHandler, KdeDecorationState};
use smithay::wayland::shell::xdg::decoration::XdgDecorationHandler;
use smithay::wayland::shell::xdg::{
    Configure, PopupSurface, PositionerState, ShellClient, ToplevelSurface, XdgShellHandler, XdgShellState,
    XdgToplevelSurfaceData,
};
use smithay::{delegate_kde_decoration, delegate_xdg_decoration, delegate_xdg_shell};
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
        let popup = PopupKind::Xdg(surface.clone());
        let (Some(seat), Ok(root)) = (
            Seat::<Self>::from_resource(&seat),
            find_popup_root_surface(&popup),
        ) else {
            surface.send_popup_done();
            return;
        };
        // The gate turns a serial that was never sent into 0.
        if u32::from(serial) == 0 {
            surface.send_popup_done();
            return;
        }
        // Only a window that has the keyboard may open a menu that takes the input.
        let focused = self.core.input.focus().and_then(|id| self.core.windows.get(id));
        if focused.is_none_or(|window| *window.toplevel.wl_surface() != root) {
            surface.send_popup_done();
            return;
        }
        let (Some(keyboard), Some(pointer)) = (seat.get_keyboard(), seat.get_pointer()) else {
            return;
        };
        if !self.may_grab(&surface, &seat) {
            surface.send_popup_done();
            return;
        }
        let Ok(mut grab) = self.core.popups.grab_popup(root, popup, &seat, serial) else {
            return;
        };
        let stale = |held: bool, has: bool, previous: bool| held && !(has || previous);
        let previous = grab.previous_serial().unwrap_or(grab.serial());
        if stale(
            keyboard.is_grabbed(),
            keyboard.has_grab(serial),
            keyboard.has_grab(previous),
        ) || stale(
            pointer.is_grabbed(),
            pointer.has_grab(serial),
            pointer.has_grab(previous),
        ) {
            grab.ungrab(smithay::desktop::PopupUngrabStrategy::All);
            return;
        }
        keyboard.set_focus(self, grab.current_grab(), serial);
        keyboard.set_grab(self, PopupKeyboardGrab::new(&grab), serial);
        pointer.set_grab(self, PopupPointerGrab::new(&grab), serial, Focus::Keep);
        if let Some(vm) = self.core.vms.by_seat(&seat) {
            vm.popup_grab = Some(grab);
        }
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

    /// Closes all popups of a window, the innermost first.
    pub fn dismiss_popups(&mut self, id: WindowId) {
        let Some(window) = self.core.windows.get(id) else {
            return;
        };
        let root = window.toplevel.wl_surface().clone();
        for (popup, _) in window.popups() {
            // Already gone is as good as dismissed.
            let _gone = PopupManager::dismiss_popup(&root, &popup);
        }
    }
}

/// Whether a client has left too many configures of a window or popup unacknowledged: the library keeps them all.
fn too_many_pending(core: &Core, surface: &WlSurface) -> bool {
    let limit = core
        .identity(surface)
        .and_then(|(vm, _)| Some(core.vms.get(&vm)?.limits().pending_configures));
    pending_configures(surface) >= limit.unwrap_or(0)
}

impl XdgDecorationHandler for State {
    fn new_decoration(&mut self, toplevel: ToplevelSurface) {
        toplevel.with_pending_state(|state| state.decoration_mode = Some(DecorationMode::ServerSide));
        if toplevel.is_initial_configure_sent() {
            toplevel.send_pending_configure();
        }
    }

    fn request_mode(&mut self, toplevel: ToplevelSurface, _mode: DecorationMode) {
        toplevel.with_pending_state(|state| state.decoration_mode = Some(DecorationMode::ServerSide));
        if toplevel.is_initial_configure_sent() && !too_many_pending(&self.core, toplevel.wl_surface()) {
            toplevel.send_configure();
        }
    }

    fn unset_mode(&mut self, toplevel: ToplevelSurface) {
        XdgDecorationHandler::request_mode(self, toplevel, DecorationMode::ServerSide);
    }
}

impl KdeDecorationHandler for State {
    fn kde_decoration_state(&self) -> &KdeDecorationState {
        &self.core.globals.kde_decoration
    }

    fn request_mode(
        &mut self,
        _surface: &WlSurface,
        decoration: &wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration::OrgKdeKwinServerDecoration,
        _mode: wayland_server::WEnum<
            wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration::Mode,
        >,
    ) {
        decoration.mode(
            wayland_protocols_misc::server_decoration::server::org_kde_kwin_server_decoration::Mode::Server,
        );
    }
}

delegate_xdg_shell!(State);
delegate_xdg_decoration!(State);
delegate_kde_decoration!(State);
