// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces: their roles, their damage, and what buffer they show.

use std::collections::HashMap;

use wayland_protocols::wp::tablet::zv2::server::zwp_tablet_tool_v2;
use wayland_server::protocol::{wl_compositor, wl_data_device, wl_pointer, wl_surface};

use crate::rules::region::{Copies, Region};
use crate::rules::shm::Shown;
use crate::rules::{Action, Context, Request, State, sizes};
use crate::violation::{Rule, Violation, code};
use crate::wire::Writer;

/// Names a surface for as long as anything refers to it; unlike its id it is never used again.
pub(crate) type Key = u64;

/// What a surface is for. A surface keeps its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Part of another surface.
    Subsurface,
    /// A window.
    Toplevel,
    /// A popup.
    Popup,
    /// The picture of the pointer.
    Cursor,
    /// The picture of a drag.
    DragIcon,
}

impl Role {
    /// Whether it comes with an `xdg_surface`.
    pub(crate) const fn is_of_shell(self) -> bool {
        matches!(self, Self::Toplevel | Self::Popup)
    }
}

/// One surface.
#[derive(Debug, Default)]
pub(crate) struct Surface {
    /// Its name in [`shell`](super::shell)'s chains.
    pub(crate) key: Key,
    /// Its role, once it has one.
    pub(crate) role: Option<Role>,
    /// Its parent in the tree of subsurfaces.
    pub(crate) parent: Option<u32>,
    /// Its children there.
    pub(crate) children: Vec<u32>,
    /// The `wl_subsurface` that made it a subsurface.
    pub(crate) subsurface: Option<u32>,
    /// Whether it is a subsurface whose commits wait for its parent's. It stays so when it has no parent any more.
    pub(crate) sync: bool,
    /// Commits that wait.
    waiting: u32,
    /// Its `xdg_surface`.
    pub(crate) xdg_surface: Option<u32>,
    /// Its `wp_viewport`.
    pub(crate) viewport: Option<u32>,
    /// Its `wp_fractional_scale_v1`.
    pub(crate) fractional_scale: Option<u32>,
    /// Whether the buffer that was attached last is a placeholder.
    shows_placeholder: bool,
    /// Whether a buffer, or none, was attached since the last commit, and since the last commit that counted.
    attached: [Option<bool>; 2],
    /// The memory that it keeps mapped.
    pub(crate) shown: Shown,
    /// Rectangles of its opaque and its input region.
    pub(crate) region_copies: [Copies; 2],
    damage: Damage,
    buffer_damage: Damage,
}

/// Damage since new content was last shown. Smithay keeps all of it until then, however often it is committed.
#[derive(Debug, Default)]
struct Damage {
    /// Rectangles that were passed on.
    passed: u32,
    /// The box around those that were not: left, top, right, bottom.
    rest: Option<[i64; 4]>,
}

impl Damage {
    /// Whether a rectangle is passed on; if not, it is kept for the commit that shows new content.
    fn add(&mut self, request: &Request<'_>, limit: u32) -> bool {
        if self.passed < limit {
            self.passed = self.passed.saturating_add(1);
            return true;
        }
        let value = |index| i64::from(request.args.int(index));
        let (x, y) = (value(0), value(1));
        let (right, bottom) = (x.saturating_add(value(2)), y.saturating_add(value(3)));
        let [l, t, r, b] = self.rest.unwrap_or([x, y, right, bottom]);
        self.rest = Some([l.min(x), t.min(y), r.max(right), b.max(bottom)]);
        false
    }

    /// When new content is shown: the rest as one message, and everything from the start.
    fn take(&mut self, surface: u32, opcode: u16) -> Vec<u8> {
        let rest = std::mem::take(self).rest;
        rest.map_or_else(Vec::new, |[l, t, r, b]| {
            let near = |v: i64| i32::try_from(v.clamp(-(1 << 29), 1 << 29)).unwrap_or(0);
            let size =
                |from: i64, to: i64| i32::try_from(to.saturating_sub(from).clamp(1, 1 << 30)).unwrap_or(1);
            Writer::new(surface, opcode)
                .int(near(l))
                .int(near(t))
                .int(size(l, r))
                .int(size(t, b))
                .finish()
        })
    }
}

impl Surface {
    /// Its commits count now. If there is new content among them, what is left to say of its damage.
    fn committed(&mut self, id: u32) -> Vec<u8> {
        self.waiting = 0;
        let [last, before] = std::mem::take(&mut self.attached);
        if last.or(before) != Some(true) {
            return Vec::new();
        }
        let mut rest = self.damage.take(id, wl_surface::REQ_DAMAGE_OPCODE);
        rest.extend(self.buffer_damage.take(id, wl_surface::REQ_DAMAGE_BUFFER_OPCODE));
        rest
    }
}

/// The surfaces of a client.
#[derive(Debug, Default)]
pub(crate) struct Surfaces {
    by_id: HashMap<u32, Surface>,
    last_key: Key,
}

impl Surfaces {
    /// The surface `id`.
    pub(crate) fn get(&self, id: u32) -> Option<&Surface> {
        self.by_id.get(&id)
    }

    /// The surface `id`, to change it.
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Surface> {
        self.by_id.get_mut(&id)
    }

    fn create(&mut self, id: u32) {
        self.last_key = self.last_key.saturating_add(1);
        self.by_id.insert(
            id,
            Surface {
                key: self.last_key,
                ..Surface::default()
            },
        );
    }

    fn destroy(&mut self, id: u32) -> Option<Surface> {
        let surface = self.by_id.remove(&id)?;
        for child in &surface.children {
            if let Some(child) = self.by_id.get_mut(child) {
                child.parent = None;
            }
        }
        if let Some(parent) = surface.parent.and_then(|parent| self.by_id.get_mut(&parent)) {
            parent.children.retain(|child| *child != id);
        }
        Some(surface)
    }

    /// Gives the surface `id` a role, and checks that it may be seen in it. One that has another is `refused`.
    pub(crate) fn give_role(
        &mut self,
        request: &Request<'_>,
        id: u32,
        role: Role,
        refused: impl FnOnce(&str) -> Violation,
    ) -> Result<(), Violation> {
        let Some(surface) = self.by_id.get_mut(&id) else {
            return Ok(());
        };
        if *surface.role.get_or_insert(role) != role {
            return Err(refused(&format!("surface {id} has another role")));
        }
        if surface.shows_placeholder && role != Role::Cursor {
            return Err(grown_pool(request));
        }
        Ok(())
    }
}

/// A window shows memory that the compositor does not have.
fn grown_pool(request: &Request<'_>) -> Violation {
    let detail =
        "buffer lies in pool memory that was grown after it was shared; virtio_wl memory has a fixed size";
    request.display_violation(Rule::GrownPool, code::IMPLEMENTATION, detail)
}

impl State {
    pub(super) fn compositor(&mut self, request: &Request<'_>) -> Action {
        let id = request.args.uint(0);
        match request.opcode {
            wl_compositor::REQ_CREATE_SURFACE_OPCODE => {
                self.surfaces.create(id);
            }
            wl_compositor::REQ_CREATE_REGION_OPCODE => {
                self.regions.insert(id, Region::default());
            }
            _ => {}
        }
        Action::Pass
    }

    pub(super) fn surface(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        let Some(surface) = self.surfaces.by_id.get_mut(&request.id) else {
            return Ok(Action::Pass);
        };
        let limit = context.limits.damage_rectangles;
        match request.opcode {
            wl_surface::REQ_DESTROY_OPCODE => self.surface_gone(request.id),
            wl_surface::REQ_SET_OPAQUE_REGION_OPCODE => return Ok(self.copy_region(request, 0)),
            wl_surface::REQ_SET_INPUT_REGION_OPCODE => return Ok(self.copy_region(request, 1)),
            wl_surface::REQ_ATTACH_OPCODE => {
                let offset = [request.args.int(1), request.args.int(2)];
                if request.object.version >= wl_surface::REQ_OFFSET_SINCE && offset != [0, 0] {
                    let code = wl_surface::Error::InvalidOffset.into();
                    return Err(request.violation(Rule::AttachOffset, code, format!("{offset:?}")));
                }
                self.memory
                    .attach(&mut surface.shown, request.args.uint(0), &mut self.account);
                surface.attached[0] = Some(request.args.uint(0) != 0);
                surface.shows_placeholder = self.memory.is_placeholder(request.args.uint(0));
                if surface.shows_placeholder && surface.role.is_some_and(|role| role != Role::Cursor) {
                    return Err(grown_pool(request));
                }
                return Ok(sizes::place(request, 1));
            }
            wl_surface::REQ_OFFSET_OPCODE => return Ok(sizes::place(request, 0)),
            wl_surface::REQ_DAMAGE_OPCODE => {
                let action = sizes::area(request);
                let pass = action == Action::Drop || surface.damage.add(request, limit);
                return Ok(if pass { action } else { Action::Drop });
            }
            wl_surface::REQ_DAMAGE_BUFFER_OPCODE => {
                let action = sizes::area(request);
                let pass = action == Action::Drop || surface.buffer_damage.add(request, limit);
                return Ok(if pass { action } else { Action::Drop });
            }
            wl_surface::REQ_SET_BUFFER_SCALE_OPCODE if request.args.int(0) <= 0 => {
                let code = wl_surface::Error::InvalidScale.into();
                return Err(request.violation(
                    Rule::BufferScale,
                    code,
                    format!("scale {}", request.args.int(0)),
                ));
            }
            wl_surface::REQ_COMMIT_OPCODE => {
                self.check_viewport(request, context)?;
                return Ok(self.commit(request.id, context));
            }
            _ => {}
        }
        Ok(Action::Pass)
    }

    /// A surface is committed. One that waits for its parent may do so a few times: Smithay keeps every commit with
    /// copies of all lists. What further ones say stays with the surface, and counts when the parent's commit does.
    fn commit(&mut self, id: u32, context: &Context<'_>) -> Action {
        if self.surfaces.is_sync(id) {
            let Some(surface) = self.surfaces.by_id.get_mut(&id) else {
                return Action::Pass;
            };
            let [opaque, input] = &mut surface.region_copies;
            let full = surface.waiting >= context.limits.waiting_commits;
            if full || !Copies::wait_both(opaque, input, &mut self.account) {
                return Action::Drop;
            }
            surface.waiting = surface.waiting.saturating_add(1);
            surface.attached[1] = surface.attached[0].take().or(surface.attached[1]);
            surface.shown.wait();
            return Action::Pass;
        }
        let mut before = Vec::new();
        for each in self.surfaces.committed_with(id) {
            if let Some(surface) = self.surfaces.by_id.get_mut(&each) {
                for copies in &mut surface.region_copies {
                    copies.commit(each == id, &mut self.account);
                }
                before.extend(surface.committed(each));
                self.memory.apply(&mut surface.shown, &mut self.account);
            }
        }
        if before.is_empty() {
            Action::Pass
        } else {
            Action::After(before)
        }
    }

    /// A surface is destroyed: what it kept is free.
    fn surface_gone(&mut self, id: u32) {
        let Some(surface) = self.surfaces.destroy(id) else {
            return;
        };
        self.memory.forget(&surface.shown, &mut self.account);
        for copies in surface.region_copies {
            copies.forget(&mut self.account);
        }
    }

    /// `wl_pointer.set_cursor`.
    pub(super) fn pointer(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode != wl_pointer::REQ_SET_CURSOR_OPCODE {
            return Ok(Action::Pass);
        }
        self.cursor(request, wl_pointer::Error::Role.into())
    }

    /// `zwp_tablet_tool_v2.set_cursor`.
    pub(super) fn tablet_tool(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode != zwp_tablet_tool_v2::REQ_SET_CURSOR_OPCODE {
            return Ok(Action::Pass);
        }
        self.cursor(request, zwp_tablet_tool_v2::Error::Role.into())
    }

    /// A serial, a surface that becomes a cursor, and its hot spot.
    fn cursor(&mut self, request: &Request<'_>, code: u32) -> Result<Action, Violation> {
        let refused = |detail: &str| request.violation(Rule::SurfaceRole, code, detail);
        self.surfaces
            .give_role(request, request.args.uint(1), Role::Cursor, refused)?;
        Ok(sizes::place(request, 2))
    }

    /// `wl_data_device.start_drag`: its icon is seen.
    pub(super) fn data_device(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode == wl_data_device::REQ_START_DRAG_OPCODE {
            let refused = |detail: &str| {
                request.violation(Rule::SurfaceRole, wl_data_device::Error::Role.into(), detail)
            };
            self.surfaces
                .give_role(request, request.args.uint(2), Role::DragIcon, refused)?;
            if request.args.uint(0) != 0 {
                self.sources.entry(request.args.uint(0)).or_default().is_dragged = true;
            }
        }
        Ok(Action::Pass)
    }
}
