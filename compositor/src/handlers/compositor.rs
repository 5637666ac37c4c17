// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces, buffers and the small surface extensions.

use smithay::backend::renderer::utils::{on_commit_buffer_handler, with_renderer_surface_state};
use smithay::desktop::PopupKind;
use smithay::utils::Transform;
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, is_sync_subsurface, send_surface_state,
    with_states,
};
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use smithay::wayland::output::OutputHandler;
use smithay::wayland::shell::xdg::{SurfaceCachedState, ToplevelSurface};
use smithay::wayland::shm::{ShmHandler, ShmState};
use smithay::{
    delegate_compositor, delegate_fractional_scale, delegate_output, delegate_presentation, delegate_shm,
    delegate_single_pixel_buffer, delegate_viewporter,
};
use wayland_server::Client;
use wayland_server::protocol::wl_buffer::WlBuffer;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::client::ClientState;
use crate::layout::WindowId;
use crate::state::State;
use crate::windows::{effective_geometry, root_of};

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
        self.core.output.enter(surface);
        let scale = self.core.output.current_scale().integer_scale();
        with_states(surface, |states| {
            send_surface_state(surface, states, scale, Transform::Normal)
        });
    }

    fn commit(&mut self, surface: &WlSurface) {
        on_commit_buffer_handler::<Self>(surface);
        self.core.render.schedule();
        if is_sync_subsurface(surface) {
            return;
        }
        self.core.popups.commit(surface);
        let root = root_of(surface);
        if let Some(id) = self.core.windows.by_surface(&root) {
            self.window_commit(id, root == *surface);
        } else if let Some(PopupKind::Xdg(popup)) = self.core.popups.find_popup(&root)
            && !popup.is_initial_configure_sent()
        {
            // An initial configure is always allowed, so the only error is a popup that is already gone.
            let _gone = popup.send_configure();
        }
        self.core.input.refresh_pointer = true;
    }

    fn destroyed(&mut self, _surface: &WlSurface) {
        self.core.render.schedule();
        self.core.input.refresh_pointer = true;
    }
}

impl State {
    /// A commit in a window's tree; `own` if it was the toplevel's surface itself.
    fn window_commit(&mut self, id: WindowId, own: bool) {
        let now = self.core.clock.now();
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
            window.geometry = effective_geometry(&surface);
            let size = window.geometry.size;
            let fresh = window.mapped.is_none();
            if fresh {
                window.mapped = Some(now);
            }
            let toplevel = window.toplevel.clone();
            if fresh {
                self.core.windows.layout.add(id, size);
                self.core.input.mapped(id);
            } else {
                self.core.windows.layout.committed(id, size);
            }
            if own {
                self.update_limits(id, &toplevel);
            }
        } else if own && window.mapped.take().is_some() {
            // A null buffer unmaps: the next one starts with a new configure.
            window.toplevel.reset_initial_configure_sent();
            let vm = window.vm.clone();
            self.core.windows.layout.remove(id);
            self.core.input.unmapped(id, vm);
        }
    }

    fn update_limits(&mut self, id: WindowId, toplevel: &ToplevelSurface) {
        let (min, max) = with_states(toplevel.wl_surface(), |states| {
            let mut cached = states.cached_state.get::<SurfaceCachedState>();
            let state = cached.current();
            (state.min_size, state.max_size)
        });
        self.core.windows.layout.set_limits(id, min, max);
    }
}

impl BufferHandler for State {
    fn buffer_destroyed(&mut self, _buffer: &WlBuffer) {}
}

impl ShmHandler for State {
    fn shm_state(&self) -> &ShmState {
        &self.core.globals.shm
    }
}

impl OutputHandler for State {}

impl FractionalScaleHandler for State {
    fn new_fractional_scale(&mut self, surface: WlSurface) {
        let scale = self.core.output.current_scale().fractional_scale();
        with_states(&surface, |states| {
            with_fractional_scale(states, |fractional| fractional.set_preferred_scale(scale));
        });
    }
}

delegate_compositor!(State);
delegate_shm!(State);
delegate_output!(State);
delegate_viewporter!(State);
delegate_fractional_scale!(State);
delegate_single_pixel_buffer!(State);
delegate_presentation!(State);
