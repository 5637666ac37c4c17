// SPDX-License-Identifier: MIT OR Apache-2.0
//! What lies under a point. The same rectangles that are drawn decide: the owner of the visible pixel gets the
//! click, or nobody does.

use heraldry_decorations::{Button, FrameKind};
use heraldry_identity::VmName;
use smithay::desktop::WindowSurfaceType;
use smithay::desktop::utils::under_from_surface_tree;
use smithay::utils::{Logical, Physical, Point, Rectangle};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::layout::{Edges, Mode, WindowId};
use crate::outputs::Screen;
use crate::render::geometry::{self, PopupView};
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

/// A window or a popup as a screen shows it.
#[derive(Debug)]
pub(super) struct Piece {
    /// Frame and content.
    pub(super) outer: Rectangle<i32, Physical>,
    inner: Rectangle<i32, Physical>,
    popup: Option<PopupView>,
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

    /// A window and its popups as a screen shows them, from top to bottom.
    pub(super) fn pieces(&self, id: WindowId, screen: &Screen) -> Vec<Piece> {
        let style = self.render.style(screen.scale());
        let piece = |rect, kind, popup| {
            let inner = geometry::pixels_on(rect, screen);
            Piece {
                outer: geometry::outer(inner, style.insets(kind)),
                inner,
                popup,
            }
        };
        let popups = geometry::popups(self, id).into_iter();
        let popups = popups.map(|popup| piece(popup.rect, FrameKind::Popup, Some(popup)));
        let kind = geometry::frame_kind(self.windows.layout.mode(id).unwrap_or_default());
        let content = self.windows.layout.content(id);
        popups
            .chain(content.map(|content| piece(content, kind, None)))
            .collect()
    }

    /// What is under `point`.
    #[must_use]
    pub fn hit(&self, point: Point<f64, Logical>) -> Hit {
        let (screen, pixel) = self.pixel_at(point);
        let notice = self.render.notice_place(screen.size(), screen.scale());
        if notice.is_some_and(|notice| notice.contains(pixel)) {
            return Hit::Notice;
        }
        for id in self.windows.layout.visible() {
            let pieces = self.pieces(id, screen);
            let Some(piece) = pieces.into_iter().find(|piece| piece.outer.contains(pixel)) else {
                continue;
            };
            return match piece.popup {
                _ if piece.inner.contains(pixel) => self.content_hit(id, piece.popup.as_ref(), point),
                Some(_) => Hit::Band(id, Edges::empty()),
                None => self.frame_hit(id, screen, pixel - piece.outer.loc, piece.outer.size),
            };
        }
        Hit::Desktop
    }

    /// The content of a window or of a popup of it.
    fn content_hit(&self, id: WindowId, popup: Option<&PopupView>, point: Point<f64, Logical>) -> Hit {
        let (Some(window), Some(content)) = (self.windows.get(id), self.windows.layout.content(id)) else {
            return Hit::Desktop;
        };
        let (root, origin, kinds) = match popup {
            Some(popup) => (&popup.surface, popup.origin, WindowSurfaceType::ALL),
            None => (
                window.toplevel.wl_surface(),
                content.loc - window.geometry.loc,
                WindowSurfaceType::TOPLEVEL | WindowSurfaceType::SUBSURFACE,
            ),
        };
        let origin = origin.to_f64();
        let surface = under_from_surface_tree(root, point - origin, (0, 0), kinds);
        Hit::Content {
            window: id,
            vm: window.vm.clone(),
            surface: surface.map(|(surface, at)| (surface, at.to_f64() + origin)),
        }
    }

    fn frame_hit(
        &self,
        id: WindowId,
        screen: &Screen,
        at: Point<i32, Physical>,
        size: smithay::utils::Size<i32, Physical>,
    ) -> Hit {
        let scale = screen.scale();
        let kind = geometry::frame_kind(self.windows.layout.mode(id).unwrap_or_default());
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
