// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Smithay would end a client for and the gate cannot know: it is made harmless here, with Smithay's own
//! numbers. See `docs/decisions/0007-the-library-ends-nobody.md`.

use smithay::backend::renderer::buffer_dimensions;
use smithay::backend::renderer::utils::{RendererSurfaceStateUserData, with_renderer_surface_state};
use smithay::input::Seat;
use smithay::utils::{Logical, Rectangle, Size};
use smithay::wayland::compositor::{
    BufferAssignment, SurfaceAttributes, SurfaceData, TraversalAction, is_sync_subsurface, with_states,
    with_surface_tree_upward,
};
use smithay::wayland::shell::xdg::{PopupSurface, XdgPopupSurfaceData};
use smithay::wayland::viewporter::ViewportCachedState;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::state::State;

/// The size of a surface before its viewport, as it will be when its commit is taken over.
fn size_to_be(states: &SurfaceData) -> Option<Size<i32, Logical>> {
    let mut cached = states.cached_state.get::<SurfaceAttributes>();
    let attributes = cached.current();
    match &attributes.buffer {
        Some(BufferAssignment::NewBuffer(buffer)) => {
            let transform = attributes.buffer_transform.into();
            let size = buffer_dimensions(buffer)?;
            Some(size.to_logical(attributes.buffer_scale.max(1), transform))
        }
        Some(BufferAssignment::Removed) => None,
        None => {
            let shown = states.data_map.get::<RendererSurfaceStateUserData>()?;
            shown.lock().ok()?.buffer_size()
        }
    }
}

/// To be called before the commit of `surface` is taken over, which looks at its whole tree.
///
/// A viewport's source outside the buffer is none: the whole buffer is shown. When the two meet depends on which surfaces
/// of a tree wait for which, so the gate leaves it to us. Opaque regions are dropped: nobody believes them, and Smithay
/// would cut each rectangle with all others.
pub(super) fn disarm(surface: &WlSurface) {
    if is_sync_subsurface(surface) {
        return;
    }
    with_surface_tree_upward(
        surface,
        (),
        |_, _, ()| TraversalAction::DoChildren(()),
        |_, states, ()| {
            states
                .cached_state
                .get::<SurfaceAttributes>()
                .current()
                .opaque_region = None;
            let Some(size) = size_to_be(states) else { return };
            let mut cached = states.cached_state.get::<ViewportCachedState>();
            let viewport = cached.current();
            let whole = Rectangle::from_size(size.to_f64());
            if viewport.src.is_some_and(|source| !whole.contains_rect(source)) {
                viewport.src = None;
            }
        },
        |_, _, ()| true,
    );
}

impl State {
    /// Whether a popup may take the input: it is not shown yet, and its parent is the menu on top, if there is one.
    pub(super) fn may_grab(&mut self, popup: &PopupSurface, seat: &Seat<Self>) -> bool {
        let surface = popup.wl_surface();
        if with_renderer_surface_state(surface, |state| state.buffer().is_some()).unwrap_or(false) {
            return false;
        }
        // Smithay asks whether there was a commit at all, the protocol whether anything is shown.
        with_states(surface, |states| {
            let attributes = states.data_map.get::<XdgPopupSurfaceData>();
            if let Some(Ok(mut attributes)) = attributes.map(|attributes| attributes.lock()) {
                attributes.committed = false;
            }
        });
        let grab = self.core.vms.by_seat(seat).and_then(|vm| vm.popup_grab.as_ref());
        let Some(grab) = grab else { return true };
        // A grab without menus names its window.
        let window = grab.keyboard_grab_start_data().focus.clone();
        match grab.current_grab() {
            Some(top) if Some(&top) != window.as_ref() => popup.get_parent_surface() == Some(top),
            _ => true,
        }
    }
}
