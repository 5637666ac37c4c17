// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces, buffers and the small surface extensions.

use smithay::backend::renderer::utils::{on_commit_buffer_handler, with_renderer_surface_state};
use smithay::desktop::PopupKind;
use smithay::wayland::buffer::BufferHandler;
use smithay::wayland::compositor::{
    CompositorClientState, CompositorHandler, CompositorState, is_sync_subsurface, with_states,
};
use smithay::wayland::fractional_scale::{FractionalScaleHandler, with_fractional_scale};
use smithay::wayland::output::OutputHandler;
use smithay::wayland::shm::{ShmHandler, ShmState};
use smithay::{
    delegate_compositor, delegate_fractional_scale, delegate_presentation, delegate_shm,
    delegate_single_pixel_buffer, delegate_viewporter,
};
use wayland_server::Client;
use wayland_server::protocol::wl_buffer::WlBuffer;
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

    /// A window has content: it appears, unless its VM has shown too many of late. Then it appears later.
    pub(crate) fn map(&mut self, id: WindowId) {
        let now = self.core.clock.now();
        let Some(window) = self.core.windows.get(id) else {
            return;
        };
        let (vm, waits, size) = (window.vm.clone(), window.waits_to_map, window.geometry.size);
        // A VM that is hidden shows nothing, not even what it said before that; when it is resumed, the tick looks again.
        let hidden = self.core.vms.get(&vm).is_some_and(crate::vms::Vm::is_hidden);
        let may = if hidden {
            Err(None)
        } else {
            self.core.may_map(&vm).map_err(Some)
        };
        if let Err(after) = may {
            if let Some(window) = self.core.windows.get_mut(id) {
                window.waits_to_map = true;
            }
            if let Some(after) = after.filter(|_| !waits) {
                self.map_later(after);
            }
            return;
        }
        if let Some(window) = self.core.windows.get_mut(id) {
            window.waits_to_map = false;
            window.mapped = Some(now);
        }
        let near = self.core.input.pointer.to_i32_floor();
        self.core.windows.layout.add(id, size, near);
        self.core.stand(id, None);
        self.core.input.mapped(id);
    }

    /// Windows that had to wait appear, as many as may.
    pub(crate) fn map_waiting(&mut self) {
        let now = self.core.clock.now();
        if self.core.maps_due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let waiting: Vec<_> = self
            .core
            .windows
            .iter_mut()
            .filter_map(|window| std::mem::take(&mut window.waits_to_map).then_some(window.id))
            .collect();
        for id in waiting {
            self.map(id);
        }
        self.core.input.refresh_pointer = true;
        self.core.render.schedule();
    }

    /// New content is counted before it is taken over: by what the client says has changed.
    fn count_upload(&mut self, surface: &WlSurface) {
        let Some((vm, _)) = self.core.identity(surface) else {
            return;
        };
        let bytes = with_states(surface, uploads::bytes);
        self.core.uploaded(&vm, bytes);
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
        let window = self.core.windows.owning(&self.core.popups, &surface);
        let screen = window.and_then(|id| self.core.outputs.get(self.core.screen_of_window(id)));
        let scale = screen.unwrap_or_else(|| self.core.outputs.first()).scale();
        with_states(&surface, |states| {
            with_fractional_scale(states, |fractional| fractional.set_preferred_scale(scale));
        });
    }
}

delegate_compositor!(State);
delegate_shm!(State);
delegate_viewporter!(State);
delegate_fractional_scale!(State);
delegate_single_pixel_buffer!(State);
delegate_presentation!(State);
