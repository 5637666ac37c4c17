// SPDX-License-Identifier: MIT OR Apache-2.0
//! Physical rectangles of windows, frames and popups: the one source for drawing and for hit tests.

use heraldry_decorations::{FrameSpec, Insets, Style, TitleRule};
use heraldry_identity::TitleLevel;
use smithay::utils::{Logical, Physical, Point, Rectangle, Size};

use crate::desktop::layout::{Mode, WindowId};
use crate::desktop::outputs::Screen;
use crate::desktop::stack::{Framed, frame_kind};
use crate::state::Core;

/// For frames that show no title.
pub const NO_TITLE: TitleRule = TitleRule {
    level: TitleLevel::Ascii,
    max: 0,
};

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

/// Where something framed is on a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Frame and content.
    pub outer: Rectangle<i32, Physical>,
    /// What shows the client's pixels.
    pub inner: Rectangle<i32, Physical>,
}

/// Where something framed is on a screen whose frames have this style.
#[must_use]
pub fn placed(framed: &Framed<'_>, screen: &Screen, style: &Style) -> Placed {
    let inner = pixels_on(framed.content, screen);
    let outer = outer(inner, style.insets(framed.kind));
    Placed { outer, inner }
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
