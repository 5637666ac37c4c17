// SPDX-License-Identifier: MIT OR Apache-2.0
//! Subsurfaces: Smithay walks their trees recursively, on every commit, so trees are shallow and small.

use wayland_server::protocol::{wl_subcompositor, wl_subsurface};

use crate::rules::surface::{Role, Surfaces};
use crate::rules::{Action, Context, Request, State, sizes};
use crate::violation::{Rule, Violation};

impl Surfaces {
    /// Parents above `id`, nearest first. Trees have no cycles and a bounded depth, which [`State::subcompositor`] keeps.
    fn ancestors(&self, id: u32) -> Vec<u32> {
        let parent = |id: u32| self.get(id).and_then(|surface| surface.parent);
        std::iter::successors(parent(id), |id| parent(*id)).collect()
    }

    /// The root of the tree that `id` is in.
    pub(super) fn root(&self, id: u32) -> u32 {
        let parent = |id: &u32| self.get(*id).and_then(|surface| surface.parent);
        std::iter::successors(Some(id), parent).last().unwrap_or(id)
    }

    /// Whether the commits of `id` wait for those of a surface above.
    pub(super) fn is_sync(&self, id: u32) -> bool {
        let mut at = self.get(id);
        while let Some(surface) = at {
            if surface.sync {
                return true;
            }
            at = surface.parent.and_then(|parent| self.get(parent));
        }
        false
    }

    /// What a commit of `id`, which waits for none, commits: itself, and everything below children that wait for it.
    pub(super) fn committed_with(&self, id: u32) -> Vec<u32> {
        let children = |id: u32| self.get(id).map_or(&[][..], |surface| &surface.children);
        let mut all = vec![id];
        let waits = |child: &&u32| self.get(**child).is_some_and(|surface| surface.sync);
        all.extend(children(id).iter().filter(waits));
        let mut next = 1;
        while let Some(id) = all.get(next).copied() {
            all.extend_from_slice(children(id));
            next = next.saturating_add(1);
        }
        all
    }

    /// Levels below `id`, and surfaces in its tree with itself.
    fn height_and_size(&self, id: u32) -> (usize, usize) {
        let mut todo = vec![(id, 0_usize)];
        let (mut height, mut size) = (0, 0_usize);
        while let Some((id, depth)) = todo.pop() {
            height = depth.max(height);
            size = size.saturating_add(1);
            let children = self.get(id).map_or(&[][..], |surface| &surface.children);
            todo.extend(children.iter().map(|child| (*child, depth.saturating_add(1))));
        }
        (height, size)
    }
}

impl State {
    pub(super) fn subcompositor(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        if request.opcode != wl_subcompositor::REQ_GET_SUBSURFACE_OPCODE {
            return Ok(Action::Pass);
        }
        let (subsurface, id, parent) = (request.args.uint(0), request.args.uint(1), request.args.uint(2));
        let bad_parent = wl_subcompositor::Error::BadParent.into();
        let refuse = |rule, detail: String| Err(request.violation(rule, bad_parent, detail));
        let ancestors = self.surfaces.ancestors(parent);
        if id == parent || ancestors.contains(&id) {
            return refuse(
                Rule::SubsurfaceParent,
                format!("surface {id} would be its own parent"),
            );
        }
        if self
            .surfaces
            .get(id)
            .is_some_and(|surface| surface.subsurface.is_some())
        {
            let code = wl_subcompositor::Error::BadSurface.into();
            return Err(request.violation(
                Rule::SubsurfaceParent,
                code,
                format!("surface {id} is a subsurface already"),
            ));
        }
        let (height, size) = self.surfaces.height_and_size(id);
        let depth = ancestors.len().saturating_add(1).saturating_add(height);
        if depth > context.limits.subsurface_depth {
            return refuse(
                Rule::SubsurfaceDepth,
                format!("{depth} levels; {} at most", context.limits.subsurface_depth),
            );
        }
        let root = ancestors.last().copied().unwrap_or(parent);
        let total = self.surfaces.height_and_size(root).1.saturating_add(size);
        if total > context.limits.tree_surfaces {
            return refuse(
                Rule::TreeSurfaces,
                format!("{total} surfaces; {} at most", context.limits.tree_surfaces),
            );
        }
        let refused = |detail: &str| {
            let code = wl_subcompositor::Error::BadSurface.into();
            request.violation(Rule::SurfaceRole, code, detail)
        };
        self.surfaces.give_role(request, id, Role::Subsurface, refused)?;
        if let Some(surface) = self.surfaces.get_mut(id) {
            surface.parent = Some(parent);
            surface.subsurface = Some(subsurface);
            surface.sync = true;
        }
        if let Some(parent) = self.surfaces.get_mut(parent) {
            parent.children.push(id);
        }
        self.subsurfaces.insert(subsurface, id);
        Ok(Action::Pass)
    }

    pub(super) fn subsurface(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        // The surface may be gone, or may have become another's after that; then the request does nothing.
        let surface = self.subsurfaces.get(&request.id).copied();
        let own = surface.filter(|id| {
            self.surfaces
                .get(*id)
                .is_some_and(|s| s.subsurface == Some(request.id))
        });
        match request.opcode {
            wl_subsurface::REQ_DESTROY_OPCODE => {
                self.subsurfaces.remove(&request.id);
                if let Some(id) = own {
                    self.unlink(id);
                }
                Ok(Action::Pass)
            }
            wl_subsurface::REQ_SET_SYNC_OPCODE | wl_subsurface::REQ_SET_DESYNC_OPCODE => {
                if let Some(surface) = own.and_then(|id| self.surfaces.get_mut(id)) {
                    surface.sync = request.opcode == wl_subsurface::REQ_SET_SYNC_OPCODE;
                }
                Ok(Action::Pass)
            }
            wl_subsurface::REQ_SET_POSITION_OPCODE => Ok(sizes::place(request, 0)),
            wl_subsurface::REQ_PLACE_ABOVE_OPCODE | wl_subsurface::REQ_PLACE_BELOW_OPCODE => {
                let sibling = request.args.uint(0);
                let Some(id) = own else { return Ok(Action::Drop) };
                let Some(parent) = self.surfaces.get(id).and_then(|surface| surface.parent) else {
                    return Ok(Action::Drop);
                };
                let related = sibling == parent
                    || self
                        .surfaces
                        .get(sibling)
                        .is_some_and(|s| s.parent == Some(parent));
                if sibling == id || !related {
                    let code = wl_subsurface::Error::BadSurface.into();
                    let detail = format!("surface {sibling} is neither parent nor sibling");
                    return Err(request.violation(Rule::SubsurfaceSibling, code, detail));
                }
                Ok(Action::Pass)
            }
            _ => Ok(Action::Pass),
        }
    }

    /// Takes a surface out of its tree.
    fn unlink(&mut self, id: u32) {
        let Some(surface) = self.surfaces.get_mut(id) else {
            return;
        };
        surface.subsurface = None;
        surface.sync = true;
        if let Some(parent) = surface
            .parent
            .take()
            .and_then(|parent| self.surfaces.get_mut(parent))
        {
            parent.children.retain(|child| *child != id);
        }
    }
}
