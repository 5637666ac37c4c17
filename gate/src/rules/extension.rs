// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a surface or window may have once: a viewport, a fractional scale, a decoration.

use std::collections::HashMap;

use wayland_protocols::wp::fractional_scale::v1::server::wp_fractional_scale_manager_v1;
use wayland_protocols::wp::viewporter::server::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::decoration::zv1::server::{
    zxdg_decoration_manager_v1, zxdg_toplevel_decoration_v1,
};

use crate::rules::surface::Key;
use crate::rules::{Action, Context, Request, State, sizes};
use crate::violation::{Rule, Violation};

/// The extensions of a client's surfaces and windows.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    viewports: HashMap<u32, Viewport>,
    /// The surface of each `wp_fractional_scale_v1`.
    scales: HashMap<u32, (u32, Key)>,
    /// The `xdg_toplevel` of each decoration, and the decoration of each toplevel.
    decorations: HashMap<u32, u32>,
    decorated: HashMap<u32, u32>,
}

#[derive(Debug)]
struct Viewport {
    surface: u32,
    key: Key,
    /// Width and height of the source are whole numbers, or there is none.
    is_whole: bool,
    has_destination: bool,
}

impl Extensions {
    /// An `xdg_toplevel` is destroyed; its decoration, if it has one, decorates nothing any more.
    pub(crate) fn toplevel_gone(&mut self, id: u32) {
        self.decorated.remove(&id);
    }
}

impl State {
    /// `wp_viewporter.get_viewport`.
    pub(super) fn viewporter(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode != wp_viewporter::REQ_GET_VIEWPORT_OPCODE {
            return Ok(Action::Pass);
        }
        let (id, surface) = (request.args.uint(0), request.args.uint(1));
        let Some(known) = self.surfaces.get_mut(surface) else {
            return Ok(Action::Pass);
        };
        if known.viewport.is_some() {
            let code = wp_viewporter::Error::ViewportExists.into();
            return Err(second(request, code, "viewport"));
        }
        known.viewport = Some(id);
        self.extensions.viewports.insert(
            id,
            Viewport {
                surface,
                key: known.key,
                is_whole: true,
                has_destination: false,
            },
        );
        Ok(Action::Pass)
    }

    /// `wp_viewport`.
    pub(super) fn viewport(
        &mut self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<Action, Violation> {
        if request.opcode == wp_viewport::REQ_DESTROY_OPCODE {
            if let Some(gone) = self.extensions.viewports.remove(&request.id)
                && let Some(surface) = self.surfaces.get_mut(gone.surface)
                && surface.viewport == Some(request.id)
            {
                surface.viewport = None;
            }
            return Ok(Action::Pass);
        }
        let action = sizes::viewport(request, context)?;
        let Some(viewport) = self.extensions.viewports.get_mut(&request.id) else {
            return Ok(action);
        };
        let surface = self.surfaces.get(viewport.surface);
        if surface.is_none_or(|surface| surface.key != viewport.key) {
            let code = wp_viewport::Error::NoSurface.into();
            return Err(request.violation(Rule::ViewportSurface, code, "its wl_surface is destroyed"));
        }
        let args = &request.args;
        match request.opcode {
            // No source is -1, which is whole, too. 8 bits are the fraction.
            wp_viewport::REQ_SET_SOURCE_OPCODE => {
                viewport.is_whole = [2, 3].iter().all(|index| args.uint(*index) & 0xff == 0);
            }
            wp_viewport::REQ_SET_DESTINATION_OPCODE => viewport.has_destination = args.int(0) > 0,
            _ => {}
        }
        Ok(action)
    }

    /// A surface is committed: without a destination its size is that of its viewport's source, which must be one.
    pub(super) fn check_viewport(
        &self,
        request: &Request<'_>,
        context: &Context<'_>,
    ) -> Result<(), Violation> {
        let id = self.surfaces.get(request.id).and_then(|surface| surface.viewport);
        let viewport = id.and_then(|id| Some((id, self.extensions.viewports.get(&id)?)));
        match viewport {
            Some((id, viewport)) if !viewport.is_whole && !viewport.has_destination => {
                let code = wp_viewport::Error::BadSize.into();
                let detail = "the source has no whole size, and there is no destination";
                Err(request.violation_on(context, id, Rule::ViewportSize, code, detail))
            }
            _ => Ok(()),
        }
    }

    /// `wp_fractional_scale_manager_v1.get_fractional_scale`.
    pub(super) fn fractional_manager(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        use wp_fractional_scale_manager_v1::{Error, REQ_GET_FRACTIONAL_SCALE_OPCODE};
        if request.opcode != REQ_GET_FRACTIONAL_SCALE_OPCODE {
            return Ok(Action::Pass);
        }
        let (id, surface) = (request.args.uint(0), request.args.uint(1));
        let Some(known) = self.surfaces.get_mut(surface) else {
            return Ok(Action::Pass);
        };
        if known.fractional_scale.is_some() {
            return Err(second(
                request,
                Error::FractionalScaleExists.into(),
                "fractional scale",
            ));
        }
        known.fractional_scale = Some(id);
        self.extensions.scales.insert(id, (surface, known.key));
        Ok(Action::Pass)
    }

    /// `wp_fractional_scale_v1`, which can only be destroyed.
    pub(super) fn fractional_scale(&mut self, request: &Request<'_>) -> Action {
        if request.desc.is_destructor
            && let Some((id, key)) = self.extensions.scales.remove(&request.id)
            && let Some(surface) = self.surfaces.get_mut(id)
            && surface.key == key
        {
            surface.fractional_scale = None;
        }
        Action::Pass
    }

    /// `zxdg_decoration_manager_v1.get_toplevel_decoration`.
    pub(super) fn decoration_manager(&mut self, request: &Request<'_>) -> Result<Action, Violation> {
        if request.opcode != zxdg_decoration_manager_v1::REQ_GET_TOPLEVEL_DECORATION_OPCODE {
            return Ok(Action::Pass);
        }
        let (id, toplevel) = (request.args.uint(0), request.args.uint(1));
        if self.extensions.decorated.contains_key(&toplevel) {
            let code = zxdg_toplevel_decoration_v1::Error::AlreadyConstructed.into();
            return Err(second(request, code, "decoration"));
        }
        self.extensions.decorated.insert(toplevel, id);
        self.extensions.decorations.insert(id, toplevel);
        Ok(Action::Pass)
    }

    /// `zxdg_toplevel_decoration_v1`.
    pub(super) fn decoration(&mut self, request: &Request<'_>) -> Action {
        if request.desc.is_destructor
            && let Some(toplevel) = self.extensions.decorations.remove(&request.id)
            && self.extensions.decorated.get(&toplevel) == Some(&request.id)
        {
            self.extensions.decorated.remove(&toplevel);
        }
        Action::Pass
    }
}

fn second(request: &Request<'_>, code: u32, what: &str) -> Violation {
    request.violation(Rule::SecondExtension, code, format!("there is a {what} already"))
}
