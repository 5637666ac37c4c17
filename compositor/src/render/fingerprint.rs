// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a surface tree still shows what it showed.
//!
//! A content that was composed into a picture need not be gathered again while nobody commits to it: a thousand silent
//! surfaces would cost 3 to 7 µs each in every frame that others cause. Looking whether they are the same costs a tenth.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use smithay::backend::renderer::utils::{CommitCounter, RendererSurfaceStateUserData};
use smithay::utils::{Physical, Point};
use smithay::wayland::compositor::{SurfaceData, TraversalAction, with_surface_tree_downward};
use wayland_server::Resource;
use wayland_server::protocol::wl_surface::WlSurface;

/// Makes fingerprints that nobody can aim at.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    /// All that [`super::piece::gather`] reads of a tree whose root is at `origin`, on a screen of this scale.
    pub(super) fn of(&self, root: &WlSurface, origin: Point<i32, Physical>, scale: f64) -> u64 {
        let mut hasher = self.0.build_hasher();
        (origin.x, origin.y, scale.to_bits()).hash(&mut hasher);
        with_surface_tree_downward(
            root,
            0_u32,
            |_, states, depth| {
                if is_shown(states) {
                    TraversalAction::DoChildren(depth + 1)
                } else {
                    TraversalAction::SkipChildren
                }
            },
            |surface, states, depth| {
                (depth, surface.id()).hash(&mut hasher);
                look(states, &mut hasher);
            },
            |_, _, _| true,
        );
        hasher.finish()
    }
}

fn is_shown(states: &SurfaceData) -> bool {
    let state = states.data_map.get::<RendererSurfaceStateUserData>();
    state.is_some_and(|state| state.lock().is_ok_and(|state| state.view().is_some()))
}

fn look(states: &SurfaceData, hasher: &mut impl Hasher) {
    let state = states.data_map.get::<RendererSurfaceStateUserData>();
    let Some(state) = state.and_then(|state| state.lock().ok()) else {
        return;
    };
    let since_ever = state.current_commit().distance(Some(CommitCounter::default()));
    (since_ever, state.buffer_scale()).hash(hasher);
    std::mem::discriminant(&state.buffer_transform()).hash(hasher);
    state.buffer().map(|buffer| buffer.id()).hash(hasher);
    if let Some(view) = state.view() {
        let numbers = [view.src.loc.x, view.src.loc.y, view.src.size.w, view.src.size.h];
        numbers.map(f64::to_bits).hash(hasher);
        (view.dst.w, view.dst.h, view.offset.x, view.offset.y).hash(hasher);
    }
}
