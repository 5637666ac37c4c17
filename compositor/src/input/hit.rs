// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies under a point. The same rectangles that are drawn decide: the owner of the visible pixel gets the
//! click, or nobody does.

use heraldry_decorations::{Button, FrameKind};
use heraldry_identity::VmName;
use smithay::desktop::WindowSurfaceType;
use smithay::desktop::utils::under_from_surface_tree;
use smithay::utils::{Logical, Physical, Point};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::desktop::layout::{Edges, Mode, WindowId};
use crate::desktop::outputs::Screen;
use crate::desktop::stack::{Framed, Item, frame_kind};
use crate::render::geometry::{self, Placed};
use crate::state::Core;

/// What is under a point.
#[derive(Debug, Clone)]
pub enum Hit {
    /// The content rectangle of a window or of one of its popups; `surface` with its origin, if one takes input there.
    Content {
        /// The window.
        window: WindowId,
        /// Its VM.
        vm: VmName,
        /// The surface and where its origin is, logical.
        surface: Option<(WlSurface, Point<f64, Logical>)>,
    },
    /// A window's label.
    Label(WindowId),
    /// A button in the label.
    Button(WindowId, Button),
    /// The band, with the edges it would move; none for popups.
    Band(WindowId, Edges),
    /// A notice of ours, which lies above all windows.
    Notice,
    /// Nothing of any VM.
    Desktop,
}

impl Hit {
    /// The surface that takes input there.
    #[must_use]
    pub fn surface(&self) -> Option<&WlSurface> {
        match self {
            Self::Content { surface, .. } => surface.as_ref().map(|(surface, _)| surface),
            _ => None,
        }
    }

    /// The window whose frame or content it is.
    #[must_use]
    pub fn window(&self) -> Option<WindowId> {
        match self {
            Self::Content { window, .. } => Some(*window),
            Self::Label(id) | Self::Button(id, _) | Self::Band(id, _) => Some(*id),
            Self::Desktop | Self::Notice => None,
        }
    }
}

/// Corners of the band reach this far along the edges, logical pixels.
const CORNER: i32 = 16;

impl Core {
    /// The VM whose content or frame is under `point`.
    #[must_use]
    pub fn owner_at(&self, point: Point<f64, Logical>) -> Option<VmName> {
        let id = self.hit(point).window()?;
        self.windows.get(id).map(|window| window.vm.clone())
    }

    /// The screen at `point`, and which of its pixels.
    pub(super) fn pixel_at(&self, point: Point<f64, Logical>) -> (&Screen, Point<i32, Physical>) {
        let screen = self.outputs.at(point);
        let local = point - screen.rect().loc.to_f64();
        (screen, local.to_physical(screen.scale()).to_i32_floor())
    }

    /// What is under `point`.
    #[must_use]
    pub fn hit(&self, point: Point<f64, Logical>) -> Hit {
        let (screen, pixel) = self.pixel_at(point);
        let style = self.render.style(screen.scale());
        for item in self.stack(screen) {
            let framed = match item {
                Item::Notice(place) if place.contains(pixel) => return Hit::Notice,
                Item::Framed(framed) => framed,
                Item::Pointer | Item::Notice(_) => continue,
            };
            let Some(id) = framed.window else { continue };
            let Placed { outer, inner } = geometry::placed(&framed, screen, &style);
            if inner.contains(pixel) {
                return content_hit(id, &framed, point);
            }
            if outer.contains(pixel) {
                return match framed.kind {
                    FrameKind::Popup => Hit::Band(id, Edges::empty()),
                    FrameKind::Window | FrameKind::Fullscreen => {
                        self.frame_hit(id, screen, pixel - outer.loc, outer.size)
                    }
                };
            }
        }
        Hit::Desktop
    }

    fn frame_hit(
        &self,
        id: WindowId,
        screen: &Screen,
        at: Point<i32, Physical>,
        size: smithay::utils::Size<i32, Physical>,
    ) -> Hit {
        let scale = screen.scale();
        let kind = frame_kind(self.windows.layout.mode(id).unwrap_or_default());
        let insets = self.render.style(scale).insets(kind);
        let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        if kind == FrameKind::Window
            && let (Ok(x), Ok(y)) = (u32::try_from(at.x), u32::try_from(at.y))
            && let Some(button) =
                geometry::frame_geometry(self, id, screen).and_then(|frame| frame.button_at(x, y))
        {
            return Hit::Button(id, button);
        }
        if self.windows.layout.mode(id) != Some(Mode::Floating) {
            return Hit::Label(id);
        }
        let corner = Point::<i32, Logical>::from((CORNER, CORNER)).to_physical_precise_round::<_, i32>(scale);
        let band = signed(insets.left);
        let mut edges = Edges::empty();
        let near = |value: i32, end: i32, reach: i32| (value < reach, value >= end - reach);
        let (on_left, on_right) = near(at.x, size.w, band);
        let (on_top, on_bottom) = near(at.y, size.h, band);
        let (left, right) = near(at.x, size.w, corner.x);
        let (top, bottom) = near(at.y, size.h, corner.y);
        edges.set(Edges::LEFT, on_left || (left && (on_top || on_bottom)));
        edges.set(Edges::RIGHT, on_right || (right && (on_top || on_bottom)));
        edges.set(Edges::TOP, on_top || (top && (on_left || on_right)));
        edges.set(Edges::BOTTOM, on_bottom || (bottom && (on_left || on_right)));
        if edges.is_empty() {
            Hit::Label(id)
        } else {
            Hit::Band(id, edges)
        }
    }
}

/// The content of a window or of a popup of it.
fn content_hit(id: WindowId, framed: &Framed<'_>, point: Point<f64, Logical>) -> Hit {
    let kinds = match framed.kind {
        FrameKind::Popup => WindowSurfaceType::ALL,
        FrameKind::Window | FrameKind::Fullscreen => {
            WindowSurfaceType::TOPLEVEL | WindowSurfaceType::SUBSURFACE
        }
    };
    let origin = framed.origin.to_f64();
    let surface = under_from_surface_tree(&framed.surface, point - origin, (0, 0), kinds);
    Hit::Content {
        window: id,
        vm: framed.owner.clone(),
        surface: surface.map(|(surface, at)| (surface, at.to_f64() + origin)),
    }
}
