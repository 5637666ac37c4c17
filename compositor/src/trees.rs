// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of a surface tree: what of it is "the window", measured once a turn, and whether it waits for a frame.
//!
//! Measuring walks the whole tree, and a client can commit each of a thousand subsurfaces in one turn. So a commit only
//! notes that the tree is to be measured. Until that is done, at the end of the turn, everybody sees the old bounds.

use std::cell::Cell;

use smithay::backend::renderer::utils::with_renderer_surface_state;
use smithay::desktop::utils::bbox_from_surface_tree;
use smithay::utils::{Logical, Rectangle};
use smithay::wayland::compositor::with_states;
use smithay::wayland::shell::xdg::SurfaceCachedState;
use wayland_server::Resource;
use wayland_server::protocol::wl_surface::WlSurface;

use crate::desktop::layout::WindowId;
use crate::state::{Core, State};
use crate::vms::booking::Work;

/// Largest coordinate and size of a window's geometry; no screen is near it.
const MOST: i32 = 1 << 24;

/// What is known of a tree, kept with its root.
#[derive(Default)]
struct Tree {
    geometry: Cell<Option<Rectangle<i32, Logical>>>,
    /// It is in the list of those that will be measured.
    waits: Cell<bool>,
    /// Its client may have asked to be told of the next frame.
    asks: Cell<bool>,
}

/// The part of a surface tree that the client calls its window, as it was at the end of the last turn: never outside the
/// tree, never empty. A tree that was never measured is measured now.
#[must_use]
pub fn effective_geometry(root: &WlSurface) -> Rectangle<i32, Logical> {
    let known = with_states(root, |states| states.data_map.get::<Tree>()?.geometry.get());
    known.unwrap_or_else(|| measure(root))
}

/// Whether a surface has content, and so is shown with its tree.
#[must_use]
pub fn has_buffer(surface: &WlSurface) -> bool {
    with_renderer_surface_state(surface, |state| state.buffer().is_some()).unwrap_or(false)
}

fn measure(root: &WlSurface) -> Rectangle<i32, Logical> {
    let bounds = bbox_from_surface_tree(root, (0, 0));
    with_states(root, |states| {
        let declared = states.cached_state.get::<SurfaceCachedState>().current().geometry;
        let geometry = declared
            .and_then(|declared| declared.intersection(bounds))
            .unwrap_or(bounds);
        // The gate clamps what a client can say; the bounds of a whole tree are kept in range here, so that adding
        // them to a place on the screen cannot overflow.
        let near = |value: i32| value.clamp(-MOST, MOST);
        let geometry = Rectangle::new(
            (near(geometry.loc.x), near(geometry.loc.y)).into(),
            (geometry.size.w.clamp(1, MOST), geometry.size.h.clamp(1, MOST)).into(),
        );
        let tree = states.data_map.get_or_insert(Tree::default);
        tree.geometry.set(Some(geometry));
        tree.waits.set(false);
        geometry
    })
}

/// Whether a tree's client may have asked to be told of the next frame: there was a commit since it was told of the last one.
pub(crate) fn asks(root: &WlSurface) -> bool {
    with_states(root, |states| {
        states.data_map.get::<Tree>().is_some_and(|tree| tree.asks.get())
    })
}

/// Takes note that everybody who asked was told.
pub(crate) fn set_told(root: &WlSurface) {
    with_states(root, |states| {
        if let Some(tree) = states.data_map.get::<Tree>() {
            tree.asks.set(false);
        }
    });
}

impl Core {
    /// A tree had a commit: it is measured at the end of the turn.
    pub(crate) fn measure_later(&mut self, root: WlSurface) {
        let waits = with_states(&root, |states| {
            let tree = states.data_map.get_or_insert(Tree::default);
            tree.asks.set(true);
            tree.waits.replace(true)
        });
        if !waits {
            self.unmeasured.push(root);
        }
    }
}

impl State {
    /// Measures the trees that had a commit in this turn. Windows take their new sizes, and those that have content for the
    /// first time appear.
    pub(crate) fn measure_trees(&mut self) {
        let roots = std::mem::take(&mut self.core.unmeasured);
        let books = self.core.books.clone();
        for root in roots.into_iter().filter(Resource::is_alive) {
            let Some((vm, _)) = self.core.identity(&root) else {
                continue;
            };
            books.book(&vm, Work::Requests, || {
                measure(&root);
                if let Some(id) = self.core.windows.by_surface(&root) {
                    self.take_size(id, &root);
                }
            });
        }
    }

    fn take_size(&mut self, id: WindowId, surface: &WlSurface) {
        let has_content = has_buffer(surface);
        let Some(window) = self.core.windows.get_mut(id).filter(|_| has_content) else {
            return;
        };
        window.geometry = effective_geometry(surface);
        let size = window.geometry.size;
        if window.mapped.is_none() {
            self.map(id);
        } else {
            let before = self.core.windows.layout.outer(id);
            self.core.windows.layout.committed(id, size);
            self.core.stand(id, before);
        }
        let (min, max) = with_states(surface, |states| {
            let mut cached = states.cached_state.get::<SurfaceCachedState>();
            let state = cached.current();
            (state.min_size, state.max_size)
        });
        self.core.windows.layout.set_limits(id, min, max);
    }
}
