// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical rectangles of windows, frames and popups: the one source for drawing and for hit tests.

use heraldry_decorations::{FrameKind, FrameSpec, Insets, TitleRule};
use heraldry_identity::TitleLevel;
use smithay::desktop::PopupManager;
use smithay::utils::{Logical, Physical, Point, Rectangle, Size};
use wayland_server::protocol::wl_surface::WlSurface;

use crate::layout::{Mode, WindowId};
use crate::outputs::Screen;
use crate::state::Core;
use crate::trees::effective_geometry;

/// A popup as it is shown.
#[derive(Debug, Clone)]
pub struct PopupView {
    /// Its surface.
    pub surface: WlSurface,
    /// What is shown of it: its geometry, inside the work area.
    pub rect: Rectangle<i32, Logical>,
    /// Where the surface's own origin is.
    pub origin: Point<i32, Logical>,
}

/// For frames that show no title.
pub const NO_TITLE: TitleRule = TitleRule {
    level: TitleLevel::Ascii,
    max: 0,
};

/// The frame that a window in this mode has.
#[must_use]
pub fn frame_kind(mode: Mode) -> FrameKind {
    match mode {
        Mode::Floating | Mode::Maximized => FrameKind::Window,
        Mode::Fullscreen => FrameKind::Fullscreen,
    }
}

/// A logical rectangle in whole physical pixels: both corners are rounded, so neighbours never gap or overlap.
#[must_use]
pub fn pixels(rect: Rectangle<i32, Logical>, scale: f64) -> Rectangle<i32, Physical> {
    let corner = Point::<i32, Logical>::from((
        rect.loc.x.saturating_add(rect.size.w),
        rect.loc.y.saturating_add(rect.size.h),
    ));
    let from: Point<i32, Physical> = rect.loc.to_f64().to_physical(scale).to_i32_round();
    let to: Point<i32, Physical> = corner.to_f64().to_physical(scale).to_i32_round();
    Rectangle::new(from, Size::from(((to.x - from.x).max(0), (to.y - from.y).max(0))))
}

/// Frame and content in physical pixels.
#[must_use]
pub fn outer(inner: Rectangle<i32, Physical>, insets: Insets) -> Rectangle<i32, Physical> {
    let signed = |value: u32| i32::try_from(value).unwrap_or(i32::MAX / 4);
    let (top, right, bottom, left) = (
        signed(insets.top),
        signed(insets.right),
        signed(insets.bottom),
        signed(insets.left),
    );
    Rectangle::new(
        (inner.loc.x - left, inner.loc.y - top).into(),
        (inner.size.w + left + right, inner.size.h + top + bottom).into(),
    )
}

/// A physical size as the decorations want it.
#[must_use]
pub fn unsigned(size: Size<i32, Physical>) -> (u32, u32) {
    (
        u32::try_from(size.w).unwrap_or(0),
        u32::try_from(size.h).unwrap_or(0),
    )
}

/// A logical rectangle of the desktop in whole physical pixels of a screen.
#[must_use]
pub fn pixels_on(rect: Rectangle<i32, Logical>, screen: &Screen) -> Rectangle<i32, Physical> {
    let corner = screen.rect().loc;
    let loc = Point::from((
        rect.loc.x.saturating_sub(corner.x),
        rect.loc.y.saturating_sub(corner.y),
    ));
    pixels(Rectangle::new(loc, rect.size), screen.scale())
}

/// The parts of a window's frame on a screen.
#[must_use]
pub fn frame_geometry(core: &Core, id: WindowId, screen: &Screen) -> Option<heraldry_decorations::Geometry> {
    let window = core.windows.get(id)?;
    let mode = core.windows.layout.mode(id)?;
    let content = pixels_on(core.windows.layout.content(id)?, screen);
    let name = core.display_name(&window.vm);
    let spec = FrameSpec {
        arms: core.arms(&window.vm),
        display_name: &name,
        untrusted_title: "",
        title_rule: NO_TITLE,
        kind: frame_kind(mode),
        focused: false,
        maximized: mode == Mode::Maximized,
        hover: None,
        badge: None,
        content: unsigned(content.size),
    };
    Some(heraldry_decorations::geometry(
        &core.render.style(screen.scale()),
        &spec,
    ))
}

/// The popups of a window, from top to bottom.
#[must_use]
pub fn popups(core: &Core, id: WindowId) -> Vec<PopupView> {
    let (Some(window), Some(content)) = (core.windows.get(id), core.windows.layout.content(id)) else {
        return Vec::new();
    };
    let area = core.windows.layout.area_of(content);
    let edge = i32::try_from(core.render.style(1.0).logical_insets(FrameKind::Popup).left).unwrap_or(0);
    // The edge must stay on the screen too, or the popup would be seen without it.
    let room = Rectangle::new(
        (area.loc.x + edge, area.loc.y + edge).into(),
        ((area.size.w - 2 * edge).max(1), (area.size.h - 2 * edge).max(1)).into(),
    );
    PopupManager::popups_for_surface(window.toplevel.wl_surface())
        .filter_map(|(popup, offset)| {
            let surface = popup.wl_surface().clone();
            let mapped = smithay::backend::renderer::utils::with_renderer_surface_state(&surface, |state| {
                state.buffer().is_some()
            });
            if mapped != Some(true) {
                return None;
            }
            let geometry = effective_geometry(&surface);
            let at = content.loc + offset;
            let rect = Rectangle::new(at, geometry.size).intersection(room)?;
            Some(PopupView {
                surface,
                rect,
                origin: at - geometry.loc,
            })
        })
        .collect()
}
