// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows and popups: their parents form chains without cycles, also after objects are destroyed and made again.
//!
//! Smithay keeps a parent with the surface's role until the role object is destroyed, even if the surface itself is
//! gone, and walks the chain without a bound. The chain here is therefore kept by [`Key`], which outlives a surface's id.

use std::collections::{HashMap, HashSet};

use wayland_protocols::xdg::shell::server::{xdg_popup, xdg_surface, xdg_toplevel, xdg_wm_base};

use crate::rules::configure::Configures;
use crate::rules::surface::{Key, Role};
use crate::rules::{Action, Context, Request, State, sizes};
use crate::violation::{Rule, Violation, code};

/// The shell objects of a client.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    /// The `xdg_surface`s of each `xdg_wm_base` that has some.
    bases: HashMap<u32, usize>,
    surfaces: HashMap<u32, XdgSurface>,
    /// The configures of each `xdg_surface`.
    configures: HashMap<u32, Configures>,
    /// The `xdg_surface` of each role object whose deletion is not confirmed.
    dying: HashMap<u32, u32>,
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
            if let Some(configures) = self.configures.get_mut(&xdg_surface) {
                configures.role_destroyed();
                self.dying.insert(id, xdg_surface);
            }
        }
    }

    /// The compositor has confirmed that a role object is gone.
    pub(super) fn role_confirmed(&mut self, id: u32) {
        let configures = self.dying.remove(&id).and_then(|id| self.configures.get_mut(&id));
        if let Some(configures) = configures {
            configures.role_confirmed();
        }
    }

    /// Forgets an `xdg_surface`.
    fn surface_gone(&mut self, id: u32) -> Option<XdgSurface> {
        let gone = self.surfaces.remove(&id)?;
        self.configures.remove(&id);
        if let Some(count) = self.bases.get_mut(&gone.wm_base) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.bases.remove(&gone.wm_base);
            }
        }
        Some(gone)
    }
}

impl State {
    /// A configure of the `xdg_surface` `id` goes to the client as `number`.
    pub(crate) fn configured(&mut self, id: u32, number: u32, serial: u32) {
        if let Some(configures) = self.shell.configures.get_mut(&id) {
            configures.sent(number, serial);
        }
    }

    /// `xdg_wm_base`.
    pub(super) fn wm_base(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode == xdg_wm_base::REQ_DESTROY_OPCODE && self.shell.bases.contains_key(&request.id) {
            let code = xdg_wm_base::Error::DefunctSurfaces.into();
            return Err(request.violation(Rule::ObjectOrder, code, "it has an xdg_surface"));
        }
        if request.opcode != xdg_wm_base::REQ_GET_XDG_SURFACE_OPCODE {
            return Ok(Action::Pass);
        }
        let (id, surface) = (request.args.uint(0), request.args.uint(1));
        let Some(known) = self.surfaces.get_mut(surface) else {
            return Ok(Action::Pass);
        };
        if known.xdg_surface.is_some() || known.role.is_some_and(|role| !role.is_of_shell()) {
            let detail = format!("surface {surface} has another role or xdg_surface");
            return Err(request.violation(Rule::SurfaceRole, xdg_wm_base::Error::Role.into(), detail));
        }
        known.xdg_surface = Some(id);
        let count = self.shell.bases.entry(request.id).or_default();
        *count = count.saturating_add(1);
        self.shell.configures.insert(id, Configures::default());
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
            xdg_surface::REQ_DESTROY_OPCODE => self.destroy_xdg_surface(request),
            xdg_surface::REQ_GET_TOPLEVEL_OPCODE => self.get_role(request, context, Role::Toplevel),
            xdg_surface::REQ_GET_POPUP_OPCODE => {
                self.popup_parent(request, context)?;
                self.get_role(request, context, Role::Popup)
            }
            xdg_surface::REQ_SET_WINDOW_GEOMETRY_OPCODE => {
                let is_live = self.constructed(request)?;
                let action = sizes::window_geometry(request, xdg_surface::Error::InvalidSize.into())?;
                Ok(if is_live { action } else { Action::Drop })
            }
            xdg_surface::REQ_ACK_CONFIGURE_OPCODE => {
                self.constructed(request)?;
                let configures = self.shell.configures.get_mut(&request.id);
                configures.map_or(Ok(Action::Drop), |configures| configures.acknowledge(request))
            }
            _ => Ok(Action::Pass),
        }
    }

    /// The role object goes first, unless the surface itself is gone.
    fn destroy_xdg_surface(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        let Some(gone) = self.shell.surface_gone(request.id) else {
            return Ok(Action::Pass);
        };
        if let Some(surface) = self.surfaces.get_mut(gone.surface)
            && surface.key == gone.key
        {
            if gone.role.is_some() {
                let code = xdg_surface::Error::DefunctRoleObject.into();
                return Err(request.violation(Rule::ObjectOrder, code, "its role object is there"));
            }
            surface.xdg_surface = None;
        }
        Ok(Action::Pass)
    }

    /// Whether the surface of an `xdg_surface` is there. One that is must have been a window or a popup: Smithay does
    /// not ask whether it is one now.
    fn constructed(&self, request: &Request<'_>) -> Result<bool, Violation> {
        let known = self.shell.surfaces.get(&request.id);
        let surface = known.and_then(|known| {
            let surface = self.surfaces.get(known.surface)?;
            (surface.key == known.key).then_some(surface)
        });
        if surface.is_some_and(|surface| !surface.role.is_some_and(Role::is_of_shell)) {
            let code = xdg_surface::Error::NotConstructed.into();
            return Err(request.violation(Rule::ObjectOrder, code, "it has no role"));
        }
        Ok(surface.is_some())
    }

    /// `get_toplevel` and `get_popup`: one role object at a time, and always of the same kind.
    fn get_role(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
        wanted: Role,
    ) -> Result<Action, Violation> {
        let role = request.args.uint(0);
        let Some(known) = self.shell.surfaces.get_mut(&request.id) else {
            return Ok(Action::Pass);
        };
        if known.role.is_some() {
            let code = xdg_surface::Error::AlreadyConstructed.into();
            return Err(request.violation(Rule::SurfaceRole, code, "it has a role object already"));
        }
        let (surface, key, wm_base) = (known.surface, known.key, known.wm_base);
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
        let refused = |detail: &str| {
            let code = xdg_wm_base::Error::Role.into();
            request.violation_on(context, wm_base, Rule::SurfaceRole, code, detail)
        };
        self.surfaces.give_role(request, surface, wanted, refused)?;
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
                self.extensions.toplevel_gone(request.id);
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
