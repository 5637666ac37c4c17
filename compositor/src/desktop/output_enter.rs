// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which screens each window is on, told to its surfaces: `wl_surface.enter` and `leave`, and the scale to draw at.

use smithay::utils::{IsAlive, Transform};
use smithay::wayland::compositor::{
    SurfaceData, TraversalAction, send_surface_state, with_states, with_surface_tree_downward,
};
use smithay::wayland::fractional_scale::with_fractional_scale;
use wayland_server::Resource;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::desktop::layout::WindowId;
use crate::desktop::outputs::{Outputs, ScreenId, Setup};
use crate::state::{Core, State};
use crate::vms::clients::ClientState;

/// The screens that a window is on; the first is the one that it is mostly on.
pub type Presence = Vec<ScreenId>;

/// Tells one surface, with the screens as its VM knows them.
fn tell(outputs: &Outputs, presence: &[ScreenId], surface: &WlSurface, states: &SurfaceData) {
    let client = surface.client();
    let vm = client
        .as_ref()
        .and_then(|client| client.get_data::<ClientState>());
    for screen in outputs.iter() {
        let Some(output) = vm.and_then(|client| screen.output_for(&client.vm)) else {
            continue;
        };
        if presence.contains(&screen.id()) {
            output.enter(surface);
        } else {
            output.leave(surface);
        }
    }
    let Some(screen) = presence.first().and_then(|id| outputs.get(*id)) else {
        return;
    };
    let whole = screen.output().current_scale().integer_scale();
    send_surface_state(surface, states, whole, Transform::Normal);
    with_fractional_scale(states, |fractional| {
        fractional.set_preferred_scale(screen.scale())
    });
}

impl Core {
    /// A surface that has no role yet is taken to be on the first screen.
    pub fn tell_new_surface(&self, surface: &WlSurface) {
        let first = [self.outputs.first().id()];
        with_states(surface, |states| tell(&self.outputs, &first, surface, states));
    }

    /// A surface of a window's tree was committed; it may have joined the tree just now.
    pub fn tell_committed(&self, surface: &WlSurface, id: WindowId) {
        if self.outputs.iter().count() < 2 {
            return;
        }
        if let Some(window) = self.windows.get(id)
            && !window.presence.is_empty()
        {
            with_states(surface, |states| {
                tell(&self.outputs, &window.presence, surface, states);
            });
        }
    }

    /// A surface is gone. Outputs keep every surface that they were told of, and look through them at each bind.
    pub fn forget_surface(&self, surface: &WlSurface) {
        self.outputs.iter().for_each(|screen| screen.forget(surface));
    }

    fn presence_of(&self, id: WindowId) -> Option<Presence> {
        let outer = self.windows.layout.outer(id)?;
        let main = self.outputs.showing(outer).id();
        let also = self.outputs.iter().filter(|screen| screen.rect().overlaps(outer));
        let mut presence = vec![main];
        presence.extend(also.map(|screen| screen.id()).filter(|id| *id != main));
        Some(presence)
    }

    /// Tells the surfaces of windows that have moved to another screen.
    pub fn update_presence(&mut self) {
        let ids: Vec<_> = self.windows.layout.top_to_bottom().collect();
        for id in ids {
            let Some(presence) = self.presence_of(id) else {
                continue;
            };
            let Some(window) = self
                .windows
                .get_mut(id)
                .filter(|window| window.presence != presence)
            else {
                continue;
            };
            window.presence.clone_from(&presence);
            for surface in window.roots() {
                tell_tree(&self.outputs, &presence, &surface);
            }
        }
    }

    /// The screen that a surface's frame callbacks follow.
    #[must_use]
    pub fn screen_of_window(&self, id: WindowId) -> ScreenId {
        let known = self.windows.get(id).and_then(|window| window.presence.first());
        known
            .copied()
            .filter(|id| self.outputs.get(*id).is_some())
            .unwrap_or_else(|| self.outputs.first().id())
    }
}

fn tell_tree(outputs: &Outputs, presence: &[ScreenId], root: &WlSurface) {
    each_surface(root, |surface, states| tell(outputs, presence, surface, states));
}

/// Visits every surface of a tree, also those that are not shown.
pub(crate) fn each_surface(root: &WlSurface, mut visit: impl FnMut(&WlSurface, &SurfaceData)) {
    if !root.alive() {
        return;
    }
    with_surface_tree_downward(
        root,
        (),
        |_, _, ()| TraversalAction::DoChildren(()),
        |surface, states, ()| visit(surface, states),
        |_, _, ()| true,
    );
}

impl State {
    /// A screen was plugged in.
    pub fn plug(&mut self, setup: Setup) -> ScreenId {
        let id = self.core.outputs.add(setup);
        self.core.publish_outputs();
        self.output_changed();
        id
    }

    /// A screen has another mode, scale, turn or place.
    pub fn set_up(&mut self, id: ScreenId, setup: Setup) {
        if self
            .core
            .outputs
            .get(id)
            .is_some_and(|screen| *screen.setup() == setup)
        {
            return;
        }
        self.core.outputs.set(id, setup);
        for window in self.core.windows.iter_mut() {
            window.presence.clear();
        }
        self.output_changed();
    }

    /// A screen was unplugged. False if it was the last one, which stays for windows to be on.
    pub fn unplug(&mut self, id: ScreenId) -> bool {
        let Some(screen) = self.core.outputs.remove(id) else {
            return false;
        };
        for window in self.core.windows.iter_mut() {
            for surface in window.roots() {
                each_surface(&surface, |surface, _| screen.forget(surface));
            }
            // Clients are told again, whatever remains.
            window.presence.clear();
        }
        for global in screen.into_globals() {
            self.core.retire_global(global);
        }
        self.output_changed();
        true
    }
}
