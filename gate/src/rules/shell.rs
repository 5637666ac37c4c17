// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows and popups: their parents form chains without cycles, also after objects are destroyed and made again.
//!
//! The library keeps a parent with the surface's role until the role object is destroyed, even if the surface itself is
//! gone, and walks the chain without a bound. The chain here is therefore kept by [`Key`], which outlives a surface's id.

use std::collections::{HashMap, HashSet};

use wayland_protocols::xdg::shell::server::{xdg_popup, xdg_surface, xdg_toplevel, xdg_wm_base};

use crate::rules::surface::{Key, Role};
use crate::rules::{Action, Context, Request, State, sizes};
use crate::violation::{Rule, Violation, code};

/// The shell objects of a client.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    surfaces: HashMap<u32, XdgSurface>,
    /// The surface of each `xdg_toplevel` and `xdg_popup`, with its `xdg_surface`.
    roles: HashMap<u32, (Key, u32)>,
    /// The parent of each surface that has one.
    parents: HashMap<Key, Key>,
    /// Which of them are popups.
    popups: HashSet<Key>,
}

#[derive(Debug, Clone, Copy)]
struct XdgSurface {
    wm_base: u32,
    surface: u32,
    key: Key,
    /// Its `xdg_toplevel` or `xdg_popup`.
    role: Option<u32>,
}

/// What is wrong with a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadParent {
    Cycle,
    Deep,
}

impl Shell {
    /// Whether `child` may have `parent`.
    fn check(&self, child: Key, parent: Key, limit: usize) -> Result<(), BadParent> {
        let mut at = Some(parent);
        for _ in 0..limit {
            match at {
                Some(key) if key == child => return Err(BadParent::Cycle),
                Some(key) => at = self.parents.get(&key).copied(),
                None => return Ok(()),
            }
        }
        if at.is_some() {
            Err(BadParent::Deep)
        } else {
            Ok(())
        }
    }

    /// The window that a surface belongs to: what a popup was opened from, and that from.
    fn window_above(&self, mut key: Key) -> Key {
        while self.popups.contains(&key)
            && let Some(above) = self.parents.get(&key)
        {
            key = *above;
        }
        key
    }

    /// Forgets a role object.
    fn role_gone(&mut self, id: u32) {
        let Some((key, xdg_surface)) = self.roles.remove(&id) else {
            return;
        };
        self.parents.remove(&key);
        self.popups.remove(&key);
        if let Some(surface) = self
            .surfaces
            .get_mut(&xdg_surface)
            .filter(|surface| surface.role == Some(id))
        {
            surface.role = None;
        }
    }
}

impl State {
    /// `xdg_wm_base.get_xdg_surface`.
    pub(super) fn wm_base(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode != xdg_wm_base::REQ_GET_XDG_SURFACE_OPCODE {
            return Ok(Action::Pass);
        }
        let (id, surface) = (request.args.uint(0), request.args.uint(1));
        let Some(known) = self.surfaces.get_mut(surface) else {
            return Ok(Action::Pass);
        };
        if known.xdg_surface.is_some() || known.role.is_some_and(|role| role != Role::Shell) {
            let detail = format!("surface {surface} has another role or xdg_surface");
            return Err(request.violation(Rule::SurfaceRole, xdg_wm_base::Error::Role.into(), detail));
        }
        known.xdg_surface = Some(id);
        self.shell.surfaces.insert(
            id,
            XdgSurface {
                wm_base: request.id,
                surface,
                key: known.key,
                role: None,
            },
        );
        Ok(Action::Pass)
    }

    pub(super) fn xdg_surface(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        match request.opcode {
            xdg_surface::REQ_DESTROY_OPCODE => {
                if let Some(gone) = self.shell.surfaces.remove(&request.id)
                    && let Some(surface) = self.surfaces.get_mut(gone.surface)
                    && surface.key == gone.key
                {
                    surface.xdg_surface = None;
                }
                Ok(Action::Pass)
            }
            xdg_surface::REQ_GET_TOPLEVEL_OPCODE => self.get_role(request),
            xdg_surface::REQ_GET_POPUP_OPCODE => {
                self.popup_parent(request, context)?;
                self.get_role(request)
            }
            xdg_surface::REQ_SET_WINDOW_GEOMETRY_OPCODE => {
                sizes::window_geometry(request, xdg_surface::Error::InvalidSize.into())
            }
            _ => Ok(Action::Pass),
        }
    }

    /// `get_toplevel` and `get_popup`: one role object at a time.
    fn get_role(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let role = request.args.uint(0);
        let Some(known) = self.shell.surfaces.get_mut(&request.id) else {
            return Ok(Action::Pass);
        };
        if known.role.is_some() {
            let code = xdg_surface::Error::AlreadyConstructed.into();
            return Err(request.violation(Rule::SurfaceRole, code, "it has a role object already"));
        }
        let (surface, key) = (known.surface, known.key);
        if self
            .surfaces
            .get(surface)
            .is_none_or(|surface| surface.key != key)
        {
            let detail = "its wl_surface is destroyed";
            return Err(request.display_violation(Rule::SurfaceRole, code::INVALID_OBJECT, detail));
        }
        known.role = Some(role);
        self.shell.roles.insert(role, (key, request.id));
        self.surfaces.give_role(request, surface, Role::Shell)?;
        Ok(Action::Pass)
    }

    /// The parent of a new popup: another `xdg_surface` that is a window or popup, and not below this one.
    fn popup_parent(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<(), Violation> {
        let parent = request.args.uint(1);
        let Some(own) = self.shell.surfaces.get(&request.id).copied() else {
            return Ok(());
        };
        let refuse = |rule, detail: &str| {
            let code = xdg_wm_base::Error::InvalidPopupParent.into();
            Err(request.violation_on(context, own.wm_base, rule, code, detail))
        };
        if own.role.is_some() {
            // Its own error, and the chain of the popup that is there stays as it is.
            return Ok(());
        }
        if parent == 0 {
            return refuse(Rule::PopupParent, "a popup without a parent");
        }
        let known = self
            .shell
            .surfaces
            .get(&parent)
            .filter(|parent| parent.role.is_some());
        let Some(above) = known.copied() else {
            return refuse(Rule::PopupParent, "the parent is neither a window nor a popup");
        };
        match self.shell.check(own.key, above.key, context.limits.parent_depth) {
            Ok(()) => {}
            Err(BadParent::Cycle) => return refuse(Rule::PopupParent, "the popup would be its own parent"),
            Err(BadParent::Deep) => return refuse(Rule::ParentDepth, "too many popups above it"),
        }
        self.shell.parents.insert(own.key, above.key);
        self.shell.popups.insert(own.key);
        Ok(())
    }

    /// The window that a surface belongs to, by its key; 0 for none.
    pub(crate) fn window_of_surface(&self, id: u32) -> Key {
        let root = self.surfaces.root(id);
        self.surfaces
            .get(root)
            .map_or(0, |surface| self.shell.window_above(surface.key))
    }

    /// The window that an `xdg_toplevel` or `xdg_popup` is, or belongs to; 0 for none.
    pub(crate) fn window_of_role(&self, id: u32) -> Key {
        let role = self.shell.roles.get(&id);
        role.map_or(0, |(key, _)| self.shell.window_above(*key))
    }

    pub(super) fn toplevel(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        let size = xdg_toplevel::Error::InvalidSize.into();
        match request.opcode {
            xdg_toplevel::REQ_DESTROY_OPCODE => {
                self.shell.role_gone(request.id);
                Ok(Action::Pass)
            }
            xdg_toplevel::REQ_SET_PARENT_OPCODE => self.window_parent(request, context),
            xdg_toplevel::REQ_SET_MIN_SIZE_OPCODE | xdg_toplevel::REQ_SET_MAX_SIZE_OPCODE => {
                sizes::window_size(request, size)
            }
            xdg_toplevel::REQ_SHOW_WINDOW_MENU_OPCODE => Ok(sizes::place(request, 2)),
            _ => Ok(Action::Pass),
        }
    }

    fn window_parent(&mut self, request: &Request<'_>, context: &Context<'_>) -> Result<Action, Violation> {
        let Some((own, _)) = self.shell.roles.get(&request.id).copied() else {
            return Ok(Action::Pass);
        };
        let Some((parent, _)) = self.shell.roles.get(&request.args.uint(0)).copied() else {
            self.shell.parents.remove(&own);
            return Ok(Action::Pass);
        };
        let code = xdg_toplevel::Error::InvalidParent.into();
        match self.shell.check(own, parent, context.limits.parent_depth) {
            Ok(()) => {
                self.shell.parents.insert(own, parent);
                Ok(Action::Pass)
            }
            Err(BadParent::Cycle) => {
                Err(request.violation(Rule::WindowParent, code, "the window would be its own parent"))
            }
            Err(BadParent::Deep) => {
                Err(request.violation(Rule::ParentDepth, code, "too many windows above it"))
            }
        }
    }

    pub(super) fn popup(&mut self, request: &Request<'_>) -> Action {
        if request.opcode == xdg_popup::REQ_DESTROY_OPCODE {
            self.shell.role_gone(request.id);
        }
        Action::Pass
    }
}
