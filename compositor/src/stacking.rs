// SPDX-License-Identifier: MIT OR Apache-2.0
//! How far in front windows come up that the user did not ask for. On which screen: `mapping.rs`.
//!
//! A window of a VM without the keyboard comes up, or grows, below the one that has it and below fullscreen ones, so that
//! the user types and clicks into what is seen. What a VM covers in this way is bounded: beyond its share of the screen, its
//! windows lie below those of all other VMs. A window that the user gives the keyboard is asked for, until it grows by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::utils::{Logical, Rectangle};

use crate::desktop::layout::{Mode, WindowId};
use crate::state::Core;

/// How long a notice says that a VM has a new window, and how long it says nothing of that VM's windows from its beginning.
const SHOWN: Duration = Duration::from_secs(4);
const SILENT: Duration = Duration::from_secs(30);

/// Windows above one that are looked at to see whether its label is covered.
const LOOKED_AT: usize = 64;

/// What was said lately, for each VM: since when, and the text while it is shown.
#[derive(Debug, Default)]
pub struct Announcements(BTreeMap<VmName, (Duration, Option<String>)>);

impl Announcements {
    /// When the next text was shown for long enough.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let shown = self.0.values().filter(|(_, text)| text.is_some());
        shown.map(|(since, _)| since.saturating_add(SHOWN)).min()
    }
}

/// A visible window.
#[derive(Debug)]
struct VisibleWindow<'a> {
    id: WindowId,
    vm: &'a VmName,
    outer: Rectangle<i32, Logical>,
    fullscreen: bool,
    uninvited: bool,
}

/// The windows that one of `vm`, which lacks the keyboard, must lie below.
fn below(
    windows: &[VisibleWindow<'_>],
    of: (WindowId, &VmName, Rectangle<i32, Logical>),
    focus: Option<WindowId>,
    screen: Rectangle<i32, Logical>,
    share: u64,
) -> BTreeSet<WindowId> {
    let (id, vm, outer) = of;
    let others = windows.iter().filter(|window| window.vm != vm);
    let covered = windows
        .iter()
        .filter(|window| window.vm == vm && (window.uninvited || window.id == id))
        .filter_map(|window| window.outer.intersection(screen))
        .map(area)
        .fold(0, u64::saturating_add);
    let beyond = covered.saturating_mul(100) > area(screen).saturating_mul(share);
    let above = |window: &&VisibleWindow<'_>| {
        beyond || Some(window.id) == focus || (window.fullscreen && window.outer.overlaps(outer))
    };
    others.filter(above).map(|window| window.id).collect()
}

fn area(rect: Rectangle<i32, Logical>) -> u64 {
    let side = |value: i32| u64::try_from(value).unwrap_or(0);
    side(rect.size.w).saturating_mul(side(rect.size.h))
}

impl Core {
    /// A window is where its client wants it: new, or with another size than when it took up `before`.
    pub(crate) fn stand(&mut self, id: WindowId, before: Option<Rectangle<i32, Logical>>) {
        let (Some(vm), Some(outer)) = (
            self.windows.get(id).map(|window| window.vm.clone()),
            self.windows.layout.outer(id),
        ) else {
            return;
        };
        if before.is_some_and(|before| before.contains_rect(outer)) || self.has_keyboard(&vm) {
            return;
        }
        let share = self.vms.get(&vm).map_or(0, |vm| vm.limits().window_coverage);
        let screen = self.windows.layout.area_of(outer);
        let layout = &self.windows.layout;
        let windows: Vec<_> = layout
            .visible()
            .filter_map(|id| {
                let window = self.windows.get(id)?;
                Some(VisibleWindow {
                    id,
                    vm: &window.vm,
                    outer: layout.outer(id)?,
                    fullscreen: layout.mode(id) == Some(Mode::Fullscreen),
                    uninvited: window.uninvited,
                })
            })
            .collect();
        let above = below(&windows, (id, &vm, outer), self.input.focus(), screen, share);
        self.windows.layout.put_below(id, &above);
        let is_new = before.is_none() && !above.is_empty();
        if let Some(window) = self.windows.get_mut(id) {
            window.uninvited = true;
            window.wants_attention |= is_new;
        }
        if is_new && self.label_is_covered(id) {
            let name = self.display_name(&vm);
            self.announce(&vm, format!("{name} has a new window"));
        }
    }

    /// All windows from below, each with its place: those that are out of sight come back where they are then.
    pub(crate) fn places(&self) -> Vec<(WindowId, Rectangle<i32, Logical>)> {
        let layout = &self.windows.layout;
        let mut places: Vec<_> = layout
            .top_to_bottom()
            .filter_map(|id| Some((id, layout.outer(id)?)))
            .collect();
        places.reverse();
        places
    }

    /// Screens have come, gone or changed: what moved for that comes up over nothing that the user looks at.
    pub(crate) fn stand_again(&mut self, before: &[(WindowId, Rectangle<i32, Logical>)]) {
        for (id, before) in before {
            if self
                .windows
                .layout
                .outer(*id)
                .is_none_or(|outer| outer == *before)
            {
                continue;
            }
            let invited = self.windows.get(*id).is_some_and(|window| !window.uninvited);
            self.stand(*id, Some(*before));
            if invited {
                self.invite(*id);
            }
        }
    }

    /// The user gave a window the keyboard, or put it somewhere.
    pub(crate) fn invite(&mut self, id: WindowId) {
        if let Some(window) = self.windows.get_mut(id) {
            window.uninvited = false;
            window.wants_attention = false;
        }
    }

    /// Whether nothing is seen of a window's label.
    fn label_is_covered(&self, id: WindowId) -> bool {
        let layout = &self.windows.layout;
        let (Some(outer), Some(insets)) = (layout.outer(id), layout.insets(id)) else {
            return false;
        };
        let label = Rectangle::new(outer.loc, (outer.size.w, insets.top).into());
        let above = layout.visible().take_while(|other| *other != id).take(LOOKED_AT);
        let above = above.filter_map(|other| layout.outer(other));
        label.subtract_rects(above).is_empty()
    }

    /// Says something of a VM for a moment, unless something was said of it lately.
    pub(crate) fn announce(&mut self, vm: &VmName, text: String) {
        let now = self.clock.now();
        let since = self.announcements.0.get(vm).map(|(since, _)| *since);
        if since.is_some_and(|since| now.saturating_sub(since) < SILENT) {
            return;
        }
        self.announce_always(vm, text);
    }

    /// Says something of a VM for a moment, in place of what was said of it before.
    pub(crate) fn announce_always(&mut self, vm: &VmName, text: String) {
        self.render.show_notice(&text);
        let said = (self.clock.now(), Some(text));
        if let Some((_, Some(old))) = self.announcements.0.insert(vm.clone(), said) {
            self.render.hide_notice(&old);
        }
    }

    /// Takes back what was said for long enough.
    pub(crate) fn end_announcements(&mut self) {
        let now = self.clock.now();
        for (since, text) in self.announcements.0.values_mut() {
            if now.saturating_sub(*since) >= SHOWN
                && let Some(text) = text.take()
            {
                self.render.hide_notice(&text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(id: u64, vm: &VmName, rect: (i32, i32, i32, i32)) -> VisibleWindow<'_> {
        let (x, y, w, h) = rect;
        VisibleWindow {
            id: WindowId(id),
            vm,
            outer: Rectangle::new((x, y).into(), (w, h).into()),
            fullscreen: false,
            uninvited: false,
        }
    }

    #[test]
    fn a_window_stays_below_the_focused_one_fullscreen_ones_and_beyond_its_share_below_all() {
        let (ours, theirs) = (VmName::new("a").expect("a"), VmName::new("b").expect("b"));
        let screen = Rectangle::from_size((1000, 1000).into());
        let fullscreen = VisibleWindow {
            fullscreen: true,
            ..visible(3, &theirs, (0, 0, 1000, 500))
        };
        let mut windows = vec![
            visible(1, &theirs, (0, 500, 500, 500)),
            visible(2, &theirs, (500, 500, 500, 500)),
            fullscreen,
            visible(4, &ours, (0, 0, 1000, 1000)),
            visible(9, &ours, (0, 400, 100, 300)),
        ];
        let above = |windows: &[VisibleWindow<'_>], rect: (i32, i32, i32, i32), focus| {
            let outer = Rectangle::new((rect.0, rect.1).into(), (rect.2, rect.3).into());
            below(windows, (WindowId(9), &ours, outer), focus, screen, 50)
        };
        let ids = |ids: &[u64]| ids.iter().copied().map(WindowId).collect::<BTreeSet<_>>();
        assert_eq!(
            above(&windows, (0, 400, 100, 300), Some(WindowId(1))),
            ids(&[1, 3])
        );
        assert_eq!(
            above(&windows, (0, 500, 100, 300), None),
            ids(&[]),
            "beside the fullscreen one"
        );
        // The large one was not asked for either.
        windows[3].uninvited = true;
        assert_eq!(above(&windows, (0, 500, 100, 300), None), ids(&[1, 2, 3]));
    }
}
