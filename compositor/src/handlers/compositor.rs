// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces and what a commit to one does.

use smithay::backend::renderer::utils::{on_commit_buffer_handler, with_renderer_surface_state};
use smithay::delegate_compositor;
use smithay::desktop::PopupKind;
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, is_sync_subsurface, with_states,
};
use wayland_server::Client;
use wayland_server::protocol::wl_surface::WlSurface;

use super::smithay_quirks::disarm;
use crate::desktop::layout::WindowId;
use crate::desktop::windows::root_of;
use crate::render::uploads;
use crate::state::State;
use crate::vms::clients::ClientState;

impl CompositorHandler for State {
    fn compositor_state(&mut self) -> &mut CompositorState {
        &mut self.core.globals.compositor
    }

    fn client_compositor_state<'a>(&self, client: &'a Client) -> &'a CompositorClientState {
        // Every client is inserted with a ClientState (`Core::connect` is the only place); Smithay asks for a
        // reference, so a foreign client would have no answer at all.
        static NOBODY: std::sync::LazyLock<CompositorClientState> =
            std::sync::LazyLock::new(CompositorClientState::default);
        client
            .get_data::<ClientState>()
            .map_or(&NOBODY, |data| &data.compositor)
    }

    fn new_surface(&mut self, surface: &WlSurface) {
        self.core.tell_new_surface(surface);
    }

    fn commit(&mut self, surface: &WlSurface) {
        disarm(surface);
        self.count_upload(surface);
        on_commit_buffer_handler::<Self>(surface);
        self.core.render.schedule();
        if is_sync_subsurface(surface) {
            return;
        }
        self.core.popups.commit(surface);
        let root = root_of(surface);
        self.core.measure_later(root.clone());
        if let Some(id) = self.core.windows.by_surface(&root) {
            self.core.tell_committed(surface, id);
            self.window_commit(id, root == *surface);
        } else if let Some(PopupKind::Xdg(popup)) = self.core.popups.find_popup(&root)
            && !popup.is_initial_configure_sent()
        {
            // An initial configure is always allowed, so the only error is a popup that is already gone.
            let _gone = popup.send_configure();
        }
        self.core.input.refresh_pointer = true;
    }

    fn destroyed(&mut self, surface: &WlSurface) {
        self.core.popups_gone = true;
        self.core.forget_surface(surface);
        self.core.render.schedule();
        self.core.input.refresh_pointer = true;
    }
}

impl State {
    /// A commit in a window's tree; `own` if it was the toplevel's surface itself.
    fn window_commit(&mut self, id: WindowId, own: bool) {
        let Some(window) = self.core.windows.get_mut(id) else {
            return;
        };
        let surface = window.toplevel.wl_surface().clone();
        let has_buffer =
            with_renderer_surface_state(&surface, |state| state.buffer().is_some()).unwrap_or(false);

        if own && !window.toplevel.is_initial_configure_sent() {
            let room = self.core.windows.layout.room();
            if let Some(window) = self.core.windows.get(id) {
                window
                    .toplevel
                    .with_pending_state(|state| state.bounds = Some(room));
                window.toplevel.send_configure();
            }
            return;
        }
        if has_buffer {
            window.has_content = true;
        } else if own && std::mem::take(&mut window.has_content) {
            // A null buffer unmaps: the next one starts with a new configure.
            window.toplevel.reset_initial_configure_sent();
            window.mapped = None;
            window.waits_to_map = false;
            let vm = window.vm.clone();
            self.core.windows.layout.remove(id);
            self.core.input.unmapped(id, vm);
        }
    }

    /// New content is counted before it is taken over: by what the client says has changed.
    fn count_upload(&mut self, surface: &WlSurface) {
        let Some((vm, _)) = self.core.identity(surface) else {
            return;
        };
        let bytes = with_states(surface, uploads::bytes);
        if bytes > 0 {
            self.core.uploaded(&vm, bytes);
        }
    }
}

delegate_compositor!(State);
