// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one scene: everything that is on the screen, front to back.
//!
//! Each piece of a client goes through [`Builder::framed`], which draws the VM's frame in front of it, clips it to its
//! content rectangle and puts an opaque plate under it. There is no other way for a client's pixels into the scene.

use std::collections::HashMap;

use heraldry_decorations::{Arms, FrameKind, FrameSpec, Style};
use smithay::backend::renderer::element::Kind;
use smithay::backend::renderer::element::memory::{MemoryRenderBuffer, MemoryRenderBufferRenderElement};
use smithay::backend::renderer::element::solid::SolidColorRenderElement;
use smithay::backend::renderer::element::surface::{
    WaylandSurfaceRenderElement, render_elements_from_surface_tree,
};
use smithay::backend::renderer::element::utils::CropRenderElement;
use smithay::backend::renderer::{Color32F, ImportAll, ImportMem, Renderer, Texture};
use smithay::utils::{Logical, Physical, Point, Rectangle};
use tracing::warn;
use wayland_server::Resource;
use wayland_server::backend::ObjectId;
use wayland_server::protocol::wl_surface::WlSurface;

use super::elements::{Exact, SceneElement};
use super::frames::FrameCache;
use super::geometry::{self, frame_kind, outer, pixels, unsigned};
use crate::layout::{Mode, WindowId};
use crate::state::Core;
use crate::windows::effective_geometry;

/// A drag icon is shown at most this large, logical pixels.
const MAX_DRAG_ICON: i32 = 128;

/// Colour of the plate: what shows where a client has drawn nothing.
const PLATE: Color32F = Color32F::new(0.10, 0.11, 0.12, 1.0);

/// Builds the scene.
pub fn build<R>(renderer: &mut R, core: &mut Core) -> Vec<SceneElement<R>>
where
    R: Renderer + ImportAll + ImportMem,
    R::TextureId: Texture + Clone + Send + 'static,
{
    let style = core.render.style;
    let mut builder = Builder {
        renderer,
        style,
        elements: Vec::new(),
    };
    let mut popup_frames = std::mem::take(&mut core.render.popups);
    let mut kept = HashMap::new();

    builder.pointer(core);
    builder.notice(core);
    builder.drag_icons(core, &mut popup_frames, &mut kept);
    let order: Vec<_> = core.windows.layout.visible().collect();
    for id in order {
        let Some(vm) = core.windows.get(id).map(|window| window.vm.clone()) else {
            continue;
        };
        let arms = core.arms(&vm);
        for popup in geometry::popups(core, id) {
            let mut cache = popup_frames.remove(&popup.surface.id()).unwrap_or_default();
            builder.framed(
                &mut cache,
                &popup_spec(&arms),
                popup.rect,
                &popup.surface,
                popup.origin,
            );
            kept.insert(popup.surface.id(), cache);
        }
        builder.window(core, id, &arms);
    }
    core.render.popups = kept;
    builder.elements
}

struct Builder<'a, R: Renderer + ImportAll + ImportMem> {
    renderer: &'a mut R,
    style: Style,
    elements: Vec<SceneElement<R>>,
}

impl<R> Builder<'_, R>
where
    R: Renderer + ImportAll + ImportMem,
    R::TextureId: Texture + Clone + Send + 'static,
{
    fn window(&mut self, core: &mut Core, id: WindowId, arms: &Arms) {
        let focused = core.input.focus() == Some(id);
        let mode = core.windows.layout.mode(id).unwrap_or_default();
        let Some(title_rule) = core.windows.get(id).map(|window| core.title_rule(&window.vm)) else {
            return;
        };
        let badge = core.windows.get(id).and_then(|window| core.badge(&window.vm));
        let Some(content) = core.windows.layout.content(id) else {
            return;
        };
        let Some(window) = core.windows.get_mut(id) else {
            return;
        };
        let mut cache = std::mem::take(&mut window.frame);
        let spec = FrameSpec {
            arms,
            untrusted_title: &window.untrusted_title,
            title_rule,
            kind: frame_kind(mode),
            focused,
            maximized: mode == Mode::Maximized,
            hover: window.hover,
            badge,
            content: (0, 0),
        };
        let surface = window.toplevel.wl_surface().clone();
        self.framed(
            &mut cache,
            &spec,
            content,
            &surface,
            content.loc - window.geometry.loc,
        );
        window.frame = cache;
    }

    /// The pointer, from our own shapes.
    fn pointer(&mut self, core: &mut Core) {
        if !core.input.pointer_seen {
            return;
        }
        let Some(shape) = super::pointer::shape(core) else {
            return;
        };
        let at: Point<i32, Physical> = core.input.pointer.to_physical(self.style.scale).to_i32_round();
        let (buffer, rect) = core.render.pointer.picture(shape, self.style.scale);
        let buffer = buffer.clone();
        self.bitmap(&buffer, Rectangle::new(at + rect.loc, rect.size), Kind::Cursor);
    }

    /// The compositor's own notice, at the bottom of the screen.
    fn notice(&mut self, core: &mut Core) {
        let Some((buffer, size)) = core.render.notice() else {
            return;
        };
        let screen = pixels(core.windows.layout.area(), self.style.scale).size;
        let at = Point::from(((screen.w - size.w) / 2, screen.h - size.h));
        self.bitmap(&buffer, Rectangle::new(at, size), Kind::Unspecified);
    }

    /// One of our own bitmaps that may be missing if it cannot be uploaded: it guards nothing.
    fn bitmap(&mut self, buffer: &MemoryRenderBuffer, rect: Rectangle<i32, Physical>, kind: Kind) {
        let element = MemoryRenderBufferRenderElement::from_buffer(
            self.renderer,
            rect.loc.to_f64(),
            buffer,
            None,
            None,
            None,
            kind,
        );
        match element {
            Ok(element) => self
                .elements
                .push(SceneElement::Bitmap(Exact::new(element, rect, false))),
            Err(error) => warn!(%error, "cannot upload a picture of ours"),
        }
    }

    fn drag_icons(
        &mut self,
        core: &Core,
        frames: &mut HashMap<ObjectId, FrameCache>,
        kept: &mut HashMap<ObjectId, FrameCache>,
    ) {
        for vm in core.vms.iter() {
            let Some(icon) = vm.drag_icon.as_ref().filter(|icon| icon.is_alive()) else {
                continue;
            };
            let mapped = smithay::backend::renderer::utils::with_renderer_surface_state(icon, |state| {
                state.buffer().is_some()
            });
            if mapped != Some(true) {
                continue;
            }
            let bounds = effective_geometry(icon);
            // Never under the pointer itself, so that it hides nothing that is about to be clicked.
            let at = core.input.pointer.to_i32_round() + Point::from((12, 12));
            let size = (bounds.size.w.min(MAX_DRAG_ICON), bounds.size.h.min(MAX_DRAG_ICON));
            let mut cache = frames.remove(&icon.id()).unwrap_or_default();
            let rect = Rectangle::new(at, size.into());
            self.framed(
                &mut cache,
                &popup_spec(&core.arms(&vm.name)),
                rect,
                icon,
                at - bounds.loc,
            );
            kept.insert(icon.id(), cache);
        }
    }

    /// The only way a client's pixels get on the screen: frame in front, content clipped, plate below.
    fn framed(
        &mut self,
        cache: &mut FrameCache,
        spec: &FrameSpec<'_>,
        content: Rectangle<i32, Logical>,
        surface: &WlSurface,
        origin: Point<i32, Logical>,
    ) {
        let scale = self.style.scale;
        let inner = pixels(content, scale);
        let spec = FrameSpec {
            content: unsigned(inner.size),
            ..spec.clone()
        };
        cache.update(&self.style, &spec);
        let corner = outer(inner, self.style.insets(spec.kind)).loc;
        for (buffer, rect) in cache.sides() {
            let rect = Rectangle::new(rect.loc + corner, rect.size);
            let element = MemoryRenderBufferRenderElement::from_buffer(
                self.renderer,
                rect.loc.to_f64(),
                buffer,
                None,
                None,
                None,
                Kind::Unspecified,
            );
            match element {
                Ok(element) => self
                    .elements
                    .push(SceneElement::Bitmap(Exact::new(element, rect, true))),
                Err(error) => {
                    // Without its frame nothing of this client may be shown.
                    warn!(error = %error, "cannot upload a frame; its window is not drawn");
                    return;
                }
            }
        }
        self.content(surface, origin, inner);
        let (id, commit) = cache.plate();
        self.elements
            .push(SceneElement::Plate(SolidColorRenderElement::new(
                id,
                inner,
                commit,
                PLATE,
                Kind::Unspecified,
            )));
    }

    fn content(&mut self, surface: &WlSurface, origin: Point<i32, Logical>, clip: Rectangle<i32, Physical>) {
        let scale = self.style.scale;
        let at: Point<i32, Physical> = origin.to_f64().to_physical(scale).to_i32_round();
        let elements: Vec<WaylandSurfaceRenderElement<R>> =
            render_elements_from_surface_tree(self.renderer, surface, at, scale, 1.0, Kind::Unspecified);
        self.elements.extend(
            elements
                .into_iter()
                .filter_map(|element| CropRenderElement::from_element(element, scale, clip))
                .map(SceneElement::Content),
        );
    }
}

fn popup_spec(arms: &Arms) -> FrameSpec<'_> {
    FrameSpec {
        arms,
        untrusted_title: "",
        title_rule: geometry::NO_TITLE,
        kind: FrameKind::Popup,
        focused: true,
        maximized: false,
        hover: None,
        badge: None,
        content: (0, 0),
    }
}
