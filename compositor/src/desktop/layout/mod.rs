// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where windows are and which lies above which: a pure model.
//!
//! Knows rectangles and identifiers, no Wayland objects, no time, no rendering. Everything that moves, sizes or
//! stacks a window is one method here, so that the invariants in `tests.rs` hold for every sequence of them.
//! Coordinates are logical pixels of the desktop, which has an area for each screen; a window's *content* rectangle excludes its frame.

#[cfg(test)]
mod tests;

mod edges;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use smithay::utils::{Logical, Point, Rectangle, Size};

pub use edges::Edges;

/// Number of a window, unique for the life of the process; what `heraldry ctl windows` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u64);

impl std::fmt::Display for WindowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Smallest content a frame is drawn around, so that no window is too small to carry its label.
pub const MIN_PLATE: (i32, i32) = (48, 24);
/// How much of a title bar stays inside the area, so that a window can always be fetched back.
const GRAB_MARGIN: i32 = 64;

/// Space that a frame takes around the content, in logical pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Insets {
    /// Above the content: the label.
    pub top: i32,
    /// Right of the content.
    pub right: i32,
    /// Below the content.
    pub bottom: i32,
    /// Left of the content.
    pub left: i32,
}

impl Insets {
    /// The rectangle of frame and content together.
    #[must_use]
    pub fn outer(&self, content: Rectangle<i32, Logical>) -> Rectangle<i32, Logical> {
        Rectangle::new(
            (
                content.loc.x.saturating_sub(self.left),
                content.loc.y.saturating_sub(self.top),
            )
                .into(),
            (
                content
                    .size
                    .w
                    .saturating_add(self.left)
                    .saturating_add(self.right),
                content
                    .size
                    .h
                    .saturating_add(self.top)
                    .saturating_add(self.bottom),
            )
                .into(),
        )
    }

    /// The content rectangle that fills `outer`, at least [`MIN_PLATE`].
    #[must_use]
    pub fn inner(&self, outer: Rectangle<i32, Logical>) -> Rectangle<i32, Logical> {
        Rectangle::new(
            (
                outer.loc.x.saturating_add(self.left),
                outer.loc.y.saturating_add(self.top),
            )
                .into(),
            (
                outer
                    .size
                    .w
                    .saturating_sub(self.left)
                    .saturating_sub(self.right)
                    .max(MIN_PLATE.0),
                outer
                    .size
                    .h
                    .saturating_sub(self.top)
                    .saturating_sub(self.bottom)
                    .max(MIN_PLATE.1),
            )
                .into(),
        )
    }
}

/// How a window fills the area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Where and as large as user and client want it.
    #[default]
    Floating,
    /// Fills the area, with its whole frame.
    Maximized,
    /// Fills the area, with the thin frame that never goes away.
    Fullscreen,
}

/// The two views of a floating window's size: the compositor's wish and the client's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentSize {
    /// What the client was last asked for; `None` while it may choose.
    pub asked: Option<Size<i32, Logical>>,
    /// What the client last committed, clamped.
    pub committed: Size<i32, Logical>,
}

/// One window of the model.
#[derive(Debug, Clone)]
struct Placed {
    /// Top-left corner of the floating content.
    loc: Point<i32, Logical>,
    size: ContentSize,
    mode: Mode,
    minimized: bool,
    /// The user does not want to see its VM.
    hidden: bool,
    /// Sizes the client declared; zero means "no limit".
    min: Size<i32, Logical>,
    max: Size<i32, Logical>,
    /// While edges are dragged, the corner that stays where it is (right, bottom in absolute coordinates).
    anchor: Option<(Edges, Point<i32, Logical>)>,
}

/// All windows, from bottom to top.
#[derive(Debug)]
pub struct Layout {
    areas: Vec<Rectangle<i32, Logical>>,
    frame: Insets,
    thin: Insets,
    windows: BTreeMap<WindowId, Placed>,
    stack: Vec<WindowId>,
    /// Windows whose wanted size or mode may have changed since [`Self::take_changed`].
    changed: BTreeSet<WindowId>,
}

impl Layout {
    /// Empty areas; `frame` is drawn around ordinary windows, `thin` around fullscreen ones.
    #[must_use]
    pub fn new(areas: Vec<Rectangle<i32, Logical>>, frame: Insets, thin: Insets) -> Self {
        Self {
            areas,
            frame,
            thin,
            windows: BTreeMap::new(),
            stack: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Notes that a window's client may have to be told something.
    pub fn touch(&mut self, id: WindowId) {
        self.changed.insert(id);
    }

    /// The windows whose clients may have to be told something, once.
    pub fn take_changed(&mut self) -> BTreeSet<WindowId> {
        std::mem::take(&mut self.changed)
    }

    /// The largest content that is seen with its whole frame, in the smallest area.
    #[must_use]
    pub fn room(&self) -> Size<i32, Logical> {
        let rooms = self.areas.iter().map(|area| self.frame.inner(*area).size);
        rooms
            .reduce(|a, b| Size::from((a.w.min(b.w), a.h.min(b.h))))
            .unwrap_or_default()
    }

    /// The areas, one for each screen.
    #[must_use]
    pub fn areas(&self) -> &[Rectangle<i32, Logical>] {
        &self.areas
    }

    /// The area that most of `rect` is in, or else the nearest.
    #[must_use]
    pub fn area_of(&self, rect: Rectangle<i32, Logical>) -> Rectangle<i32, Logical> {
        self.areas
            .get(most_covered(&self.areas, rect))
            .copied()
            .unwrap_or_default()
    }

    /// Changes areas or insets; windows are fetched back inside. Returns the windows that need a new size.
    pub fn set_areas(
        &mut self,
        areas: Vec<Rectangle<i32, Logical>>,
        frame: Insets,
        thin: Insets,
    ) -> Vec<WindowId> {
        self.areas = areas;
        self.frame = frame;
        self.thin = thin;
        let ids: Vec<_> = self.windows.keys().copied().collect();
        for id in &ids {
            self.clamp(*id);
        }
        ids.into_iter()
            .filter(|id| self.mode(*id) != Some(Mode::Floating))
            .collect()
    }

    /// Adds a window on top, placed where it covers least of the area at `near`. A second call for the same window does
    /// nothing.
    pub fn add(&mut self, id: WindowId, committed: Size<i32, Logical>, near: Point<i32, Logical>) {
        if self.windows.contains_key(&id) {
            return;
        }
        let committed = self.clamp_size(committed);
        let others: Vec<_> = self
            .stack
            .iter()
            .filter(|other| self.is_visible(**other))
            .filter_map(|other| self.outer(*other))
            .collect();
        let area = self.area_of(Rectangle::new(near, (1, 1).into()));
        let wanted = self.frame.outer(Rectangle::from_size(plate(committed)));
        let outer_loc = place::least_covering(area, &others, wanted.size);
        let loc = outer_loc + Point::from((self.frame.left, self.frame.top));
        // A window that is larger than the screen is asked to fit, so that its whole frame is seen.
        let room = self.frame.inner(area).size;
        let asked = (committed.w > room.w || committed.h > room.h)
            .then(|| Size::from((committed.w.min(room.w), committed.h.min(room.h))));
        self.windows.insert(
            id,
            Placed {
                loc,
                size: ContentSize { asked, committed },
                mode: Mode::Floating,
                minimized: false,
                hidden: false,
                min: Size::default(),
                max: Size::default(),
                anchor: None,
            },
        );
        self.stack.push(id);
        self.clamp(id);
    }

    /// Forgets a window.
    pub fn remove(&mut self, id: WindowId) {
        self.windows.remove(&id);
        self.stack.retain(|other| *other != id);
    }

    /// Puts a window on top and shows it if it was minimised.
    pub fn raise(&mut self, id: WindowId) {
        if let Some(window) = self.windows.get_mut(&id) {
            window.minimized = false;
            self.stack.retain(|other| *other != id);
            self.stack.push(id);
        }
    }

    /// Puts a window right below the lowest of `others` that is above it, if one is.
    pub fn put_below(&mut self, id: WindowId, others: &BTreeSet<WindowId>) {
        let Some(from) = self.stack.iter().position(|other| *other == id) else {
            return;
        };
        let lowest = self.stack.iter().position(|other| others.contains(other));
        if let Some(to) = lowest.filter(|to| *to < from) {
            self.stack.remove(from);
            self.stack.insert(to, id);
        }
    }

    /// Takes a window out of sight, whatever is done to it meanwhile, or shows it again where it was.
    pub fn set_hidden(&mut self, id: WindowId, hidden: bool) {
        if let Some(window) = self.windows.get_mut(&id) {
            window.hidden = hidden;
        }
    }

    /// Whether a window is out of sight because of its VM.
    #[must_use]
    pub fn is_hidden(&self, id: WindowId) -> bool {
        self.windows.get(&id).is_some_and(|window| window.hidden)
    }

    /// Minimises or shows a window; a minimised one goes to the bottom.
    pub fn set_minimized(&mut self, id: WindowId, minimized: bool) {
        if let Some(window) = self.windows.get_mut(&id) {
            window.minimized = minimized;
            if minimized {
                self.stack.retain(|other| *other != id);
                self.stack.insert(0, id);
            }
        }
    }

    /// Switches between floating, maximised and fullscreen; the floating place is kept for the way back.
    pub fn set_mode(&mut self, id: WindowId, mode: Mode) {
        if let Some(window) = self.windows.get_mut(&id) {
            if mode == Mode::Floating && window.mode != Mode::Floating {
                // The client has forgotten its floating size; ask for the one it had.
                window.size.asked = Some(window.size.committed);
            }
            window.mode = mode;
            window.anchor = None;
            self.clamp(id);
        }
    }

    /// Limits that the client declared (zero: none).
    pub fn set_limits(&mut self, id: WindowId, min: Size<i32, Logical>, max: Size<i32, Logical>) {
        if let Some(window) = self.windows.get_mut(&id) {
            window.min = Size::from((min.w.max(0), min.h.max(0)));
            window.max = Size::from((max.w.max(0), max.h.max(0)));
        }
    }

    /// Moves the content's corner of a floating window.
    pub fn move_to(&mut self, id: WindowId, loc: Point<i32, Logical>) {
        if let Some(window) = self.windows.get_mut(&id)
            && window.mode == Mode::Floating
        {
            window.loc = loc;
            window.anchor = None;
            self.clamp(id);
        }
    }

    /// An edge is about to be dragged: the client is asked for the size it has, so that it knows which one counts.
    pub fn start_resize(&mut self, id: WindowId) {
        self.touch(id);
        if let Some(window) = self.windows.get_mut(&id) {
            window.size.asked = Some(window.size.committed);
        }
    }

    /// Asks for a new content size while `edges` are dragged; the opposite edges stay where they are.
    pub fn resize(&mut self, id: WindowId, edges: Edges, size: Size<i32, Logical>) {
        let limit = self.size_limit();
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if window.mode != Mode::Floating {
            return;
        }
        let bound = |value: i32, min: i32, max: i32, floor: i32, limit: i32| {
            let max = if max > 0 { max.min(limit) } else { limit };
            value.clamp(min.max(floor).min(max), max)
        };
        let size = Size::from((
            bound(size.w, window.min.w, window.max.w, MIN_PLATE.0, limit.w),
            bound(size.h, window.min.h, window.max.h, MIN_PLATE.1, limit.h),
        ));
        let content = Rectangle::new(window.loc, plate(window.size.committed));
        let corner = Point::from((
            content.loc.x.saturating_add(content.size.w),
            content.loc.y.saturating_add(content.size.h),
        ));
        if window.anchor.is_none_or(|(old, _)| old != edges) {
            window.anchor = Some((edges, corner));
        }
        window.size.asked = Some(size);
        self.touch(id);
    }

    /// Records the size of the client's newest content.
    pub fn committed(&mut self, id: WindowId, size: Size<i32, Logical>) {
        let size = self.clamp_size(size);
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        if window.mode != Mode::Floating || window.size.committed == size {
            return;
        }
        window.size.committed = size;
        if let Some((edges, corner)) = window.anchor {
            let shown = plate(size);
            if edges.contains(Edges::LEFT) {
                window.loc.x = corner.x.saturating_sub(shown.w);
            }
            if edges.contains(Edges::TOP) {
                window.loc.y = corner.y.saturating_sub(shown.h);
            }
        }
        self.clamp(id);
    }

    /// The size to put into the next configure; `None` lets the client choose.
    #[must_use]
    pub fn wanted_size(&self, id: WindowId) -> Option<Size<i32, Logical>> {
        let window = self.windows.get(&id)?;
        match window.mode {
            Mode::Floating => window.size.asked,
            Mode::Maximized | Mode::Fullscreen => self.content(id).map(|rect| rect.size),
        }
    }

    /// The rectangle that the client's content is clipped to.
    #[must_use]
    pub fn content(&self, id: WindowId) -> Option<Rectangle<i32, Logical>> {
        let window = self.windows.get(&id)?;
        Some(match window.mode {
            Mode::Floating => Rectangle::new(window.loc, plate(window.size.committed)),
            Mode::Maximized => self.frame.inner(self.home(window)),
            Mode::Fullscreen => self.thin.inner(self.home(window)),
        })
    }

    /// Frame and content together.
    #[must_use]
    pub fn outer(&self, id: WindowId) -> Option<Rectangle<i32, Logical>> {
        Some(self.insets(id)?.outer(self.content(id)?))
    }

    /// The space this window's frame takes now.
    #[must_use]
    pub fn insets(&self, id: WindowId) -> Option<Insets> {
        Some(match self.windows.get(&id)?.mode {
            Mode::Floating | Mode::Maximized => self.frame,
            Mode::Fullscreen => self.thin,
        })
    }

    /// The window's mode.
    #[must_use]
    pub fn mode(&self, id: WindowId) -> Option<Mode> {
        self.windows.get(&id).map(|window| window.mode)
    }

    /// Whether the window is placed, not minimised and not hidden.
    #[must_use]
    pub fn is_visible(&self, id: WindowId) -> bool {
        let window = self.windows.get(&id);
        window.is_some_and(|window| !window.minimized && !window.hidden)
    }

    /// Every placed window, from top to bottom, minimised ones last.
    pub fn top_to_bottom(&self) -> impl Iterator<Item = WindowId> + '_ {
        self.stack.iter().rev().copied()
    }

    /// Visible windows, from top to bottom.
    pub fn visible(&self) -> impl Iterator<Item = WindowId> + '_ {
        self.top_to_bottom().filter(|id| self.is_visible(*id))
    }

    /// The area that a window belongs to: where it floats, or would.
    fn home(&self, window: &Placed) -> Rectangle<i32, Logical> {
        self.area_of(
            self.frame
                .outer(Rectangle::new(window.loc, plate(window.size.committed))),
        )
    }

    /// No window may be larger than twice the largest area, whatever its client claims.
    fn size_limit(&self) -> Size<i32, Logical> {
        let largest =
            |side: fn(&Size<i32, Logical>) -> i32| self.areas.iter().map(|area| side(&area.size)).max();
        Size::from((
            largest(|size| size.w)
                .unwrap_or(0)
                .saturating_mul(2)
                .max(MIN_PLATE.0),
            largest(|size| size.h)
                .unwrap_or(0)
                .saturating_mul(2)
                .max(MIN_PLATE.1),
        ))
    }

    fn clamp_size(&self, size: Size<i32, Logical>) -> Size<i32, Logical> {
        let limit = self.size_limit();
        Size::from((size.w.clamp(1, limit.w), size.h.clamp(1, limit.h)))
    }

    /// Keeps a grabbable part of the label inside the area.
    fn clamp(&mut self, id: WindowId) {
        let frame = self.frame;
        let limit = self.size_limit();
        let Some(area) = self.windows.get(&id).map(|window| self.home(window)) else {
            return;
        };
        let Some(window) = self.windows.get_mut(&id) else {
            return;
        };
        window.size.committed = Size::from((
            window.size.committed.w.min(limit.w),
            window.size.committed.h.min(limit.h),
        ));
        let outer_w = plate(window.size.committed)
            .w
            .saturating_add(frame.left)
            .saturating_add(frame.right);
        let keep = GRAB_MARGIN.min(outer_w);
        let min_x = area
            .loc
            .x
            .saturating_add(keep)
            .saturating_sub(outer_w)
            .saturating_add(frame.left);
        let max_x = area
            .loc
            .x
            .saturating_add(area.size.w)
            .saturating_sub(keep)
            .saturating_add(frame.left)
            .max(min_x);
        let min_y = area.loc.y.saturating_add(frame.top);
        let max_y = area.loc.y.saturating_add(area.size.h).max(min_y);
        window.loc.x = window.loc.x.clamp(min_x, max_x);
        window.loc.y = window.loc.y.clamp(min_y, max_y);
        self.touch(id);
    }
}

/// Which of `areas` most of `rect` is in; if none, the nearest one.
#[must_use]
pub fn most_covered(areas: &[Rectangle<i32, Logical>], rect: Rectangle<i32, Logical>) -> usize {
    // How far two stretches overlap; less than nothing is the gap between them.
    let shared = |a: i32, length: i32, b: i32, other: i32| {
        let end = (i64::from(a) + i64::from(length)).min(i64::from(b) + i64::from(other));
        end - i64::from(a).max(i64::from(b))
    };
    let both = |area: &Rectangle<i32, Logical>| {
        (
            shared(area.loc.x, area.size.w, rect.loc.x, rect.size.w),
            shared(area.loc.y, area.size.h, rect.loc.y, rect.size.h),
        )
    };
    let covered = |area: &Rectangle<i32, Logical>| {
        let (x, y) = both(area);
        x.max(0).saturating_mul(y.max(0))
    };
    let far = |area: &Rectangle<i32, Logical>| {
        let (x, y) = both(area);
        x.min(0).saturating_add(y.min(0)).saturating_neg()
    };
    let best = areas
        .iter()
        .enumerate()
        .min_by_key(|(_, area)| (std::cmp::Reverse(covered(area)), far(area)));
    best.map_or(0, |(index, _)| index)
}

/// The size shown for a content size: never smaller than a label needs.
fn plate(size: Size<i32, Logical>) -> Size<i32, Logical> {
    Size::from((size.w.max(MIN_PLATE.0), size.h.max(MIN_PLATE.1)))
}
