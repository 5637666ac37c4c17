// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was seen where of late.
//!
//! A finger comes down without having hovered, so what the user aimed at is what was drawn there when the hand set out:
//! if another VM's pixels came under it meanwhile, they get no tap. The pointer needs none of this: it is watched where it is.

use std::collections::VecDeque;
use std::time::Duration;

use heraldry_config::VmName;
use heraldry_decorations::FrameKind;
use smithay::utils::{Logical, Point, Rectangle};

use crate::render::geometry;
use crate::state::Core;

/// Views that are kept: a second of a screen that changes with every frame.
const KEPT: usize = 64;

/// Rectangles with their frames, topmost first.
type View = Vec<(Rectangle<i32, Logical>, VmName)>;

/// The views of the last moments, oldest first, each with the time since when it held.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Duration, View)>);

impl Recent {
    /// Takes what is drawn now, if it differs.
    fn note(&mut self, now: Duration, view: View) {
        if self.0.back().is_some_and(|(_, last)| *last == view) {
            return;
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, view));
    }

    /// Whether somebody else than `vm` was seen at a place until less than `guard` before `now`.
    fn was_anothers(&self, at: Point<i32, Logical>, vm: &VmName, now: Duration, guard: Duration) -> bool {
        let ends = self.0.iter().skip(1).map(|(since, _)| *since).chain([now]);
        self.0
            .iter()
            .zip(ends)
            .filter(|(_, until)| now.saturating_sub(*until) < guard)
            .any(|((_, view), _)| {
                let owner = view.iter().find(|(rect, _)| rect.contains(at));
                owner.map(|(_, vm)| vm) != Some(vm)
            })
    }
}

impl Core {
    /// Remembers what is drawn where, while there is something to touch.
    pub(crate) fn note_view(&mut self) {
        if !self.input.touches.offered() {
            return;
        }
        let view = self.view();
        let now = self.clock.now();
        self.input.recent.note(now, view);
    }

    /// Whether other pixels than this VM's were seen at `at` within `guard`.
    pub(super) fn came_there(&self, at: Point<f64, Logical>, vm: &VmName, guard: Duration) -> bool {
        let now = self.clock.now();
        self.input.recent.was_anothers(at.to_i32_floor(), vm, now, guard)
    }

    fn view(&self) -> View {
        let style = self.render.style(1.0);
        let framed = |rect: Rectangle<i32, Logical>, kind| {
            let insets = style.logical_insets(kind);
            let signed = |value: u32| i32::try_from(value).unwrap_or(0);
            let (left, top) = (signed(insets.left), signed(insets.top));
            let (right, bottom) = (signed(insets.right), signed(insets.bottom));
            Rectangle::new(
                (rect.loc.x.saturating_sub(left), rect.loc.y.saturating_sub(top)).into(),
                (
                    rect.size.w.saturating_add(left).saturating_add(right),
                    rect.size.h.saturating_add(top).saturating_add(bottom),
                )
                    .into(),
            )
        };
        let mut view = View::new();
        for id in self.windows.layout.visible() {
            let (Some(window), Some(content)) = (self.windows.get(id), self.windows.layout.content(id))
            else {
                continue;
            };
            for popup in geometry::popups(self, id) {
                view.push((framed(popup.rect, FrameKind::Popup), window.vm.clone()));
            }
            let kind = geometry::frame_kind(self.windows.layout.mode(id).unwrap_or_default());
            view.push((framed(content, kind), window.vm.clone()));
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn view(rects: &[(i32, &str)]) -> View {
        rects
            .iter()
            .map(|(x, vm)| {
                let name = VmName::new(vm).expect("a name");
                (Rectangle::new((*x, 0).into(), (10, 10).into()), name)
            })
            .collect()
    }

    #[test]
    fn what_came_within_the_guard_was_anothers() {
        let mut recent = Recent::default();
        let (ours, place) = (VmName::new("work").expect("a name"), Point::from((5, 5)));
        recent.note(ms(0), view(&[(0, "work")]));
        assert!(
            !recent.was_anothers(place, &ours, ms(1), ms(300)),
            "it was there first"
        );
        recent.note(ms(1000), view(&[(0, "games"), (0, "work")]));
        recent.note(ms(1100), view(&[(0, "work")]));
        let after = |now| recent.was_anothers(place, &ours, ms(now), ms(300));
        assert_eq!(
            [1101, 1300, 1399, 1400, 2000].map(after),
            [true, true, true, false, false]
        );
        assert!(!recent.was_anothers(place, &ours, ms(1101), ms(0)), "no guard");
    }

    #[test]
    fn what_is_not_drawn_yet_was_never_aimed_at() {
        let mut recent = Recent::default();
        let games = VmName::new("games").expect("a name");
        recent.note(ms(0), view(&[(0, "work")]));
        assert!(recent.was_anothers((5, 5).into(), &games, ms(9000), ms(300)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        for time in 0..10_000_u64 {
            let x = i32::from(time % 2 == 0) * 100;
            recent.note(ms(time), view(&[(x, "games")]));
        }
        assert_eq!(recent.0.len(), KEPT);
    }
}
