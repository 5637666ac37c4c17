// SPDX-License-Identifier: MIT OR Apache-2.0
//! What was seen where, and since when: the one rule for presses, wheels, fingers and pens.
//!
//! The user aims at what is drawn. So a VM gets what a hand does at a place only if its pixels were there for the click
//! guard's time, or if the user put the window there: by moving, raising, resizing or maximising it. What made another VM's
//! pixels appear (a window that came, grew or slid, or one above that went) does not matter.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use heraldry_identity::VmName;
use smithay::utils::{Logical, Physical, Point, Rectangle};

use super::Drag;
use super::hit::Hit;
use crate::desktop::layout::WindowId;
use crate::desktop::outputs::{Screen, ScreenId};
use crate::desktop::stack::Item;
use crate::render::geometry;
use crate::state::{Core, State};

/// Views of a screen that are kept: two seconds, the longest guard, of 500 frames a second that each differ.
const KEPT: usize = 1000;

/// For a VM that the policy no longer knows.
const DEFAULT_GUARD: Duration = Duration::from_millis(300);

/// Something drawn: a window or popup with its frame, or a notice, which no VM owns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Patch {
    rect: Rectangle<i32, Physical>,
    owner: Option<VmName>,
}

/// What was drawn on a screen.
#[derive(Debug)]
struct View {
    /// Views of all screens are numbered.
    number: u64,
    /// When it was drawn; it held until the next one was.
    since: Duration,
    /// Topmost first.
    patches: Vec<Patch>,
}

/// A place, as a view and as the layout has it.
#[derive(Debug, Clone, Copy)]
struct Place {
    screen: ScreenId,
    pixel: Point<i32, Physical>,
    at: Point<f64, Logical>,
}

/// Where the user put a window.
#[derive(Debug)]
struct UserPlacement {
    rect: Rectangle<i32, Logical>,
    /// The number of the view that was drawn last before.
    after: u64,
    at: Duration,
}

/// What a place has shown for the time of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// This VM, all the time.
    Own,
    /// For a part of it nothing of any VM.
    Nothing,
    /// For a part of it another VM.
    Another,
}

/// The views of the last moments, oldest first, and where the user put windows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    views: BTreeMap<ScreenId, VecDeque<View>>,
    /// The number of the newest view.
    noted: u64,
    placed: BTreeMap<WindowId, UserPlacement>,
}

impl Seen {
    /// Takes what is drawn on a screen now, and forgets what no guard asks for any more.
    fn note(&mut self, screen: ScreenId, now: Duration, patches: Vec<Patch>, longest: Duration) {
        let views = self.views.entry(screen).or_default();
        // What looks the same as before is something else once the user has put a window somewhere since: that window has
        // gone again at once.
        let put = self.placed.values().map(|put| put.after).max();
        let same = |last: &View| last.patches == patches && put.is_none_or(|after| after < last.number);
        if !views.back().is_some_and(same) {
            self.noted = self.noted.saturating_add(1);
            views.push_back(View {
                number: self.noted,
                since: now,
                patches,
            });
        }
        let old = |since: Duration| now.saturating_sub(since) >= longest;
        while views.get(1).is_some_and(|next| old(next.since)) || views.len() > KEPT {
            views.pop_front();
        }
        self.placed.retain(|_, put| !old(put.at));
    }

    /// The user put a window somewhere.
    fn put(&mut self, id: WindowId, rect: Rectangle<i32, Logical>, now: Duration) {
        let (after, at) = (self.noted, now);
        self.placed.insert(id, UserPlacement { rect, after, at });
    }

    /// The number of the last view before the user put a window to a place, if the user did.
    fn put_there(&self, id: WindowId, at: Point<f64, Logical>) -> Option<u64> {
        let put = self.placed.get(&id)?;
        put.rect.to_f64().contains(at).then_some(put.after)
    }

    /// The VM that was seen first at a place in the time of a guard, of the views after `put`.
    fn first(&self, place: Place, put: Option<u64>, now: Duration, guard: Duration) -> Option<&VmName> {
        let (mut first, mut until) = (None, now);
        for view in self.views.get(&place.screen).into_iter().flatten().rev() {
            let long_ago = now.saturating_sub(until) >= guard;
            if long_ago || put.is_some_and(|after| view.number <= after) {
                break;
            }
            let patch = view.patches.iter().find(|patch| patch.rect.contains(place.pixel));
            first = patch.and_then(|patch| patch.owner.as_ref()).or(first);
            until = view.since;
        }
        first
    }

    /// What was seen at a place, where a window of `vm` is now.
    fn shown(&self, place: Place, vm: &VmName, id: WindowId, now: Duration, guard: Duration) -> Shown {
        let put = self.put_there(id, place.at);
        let long_ago = |until: Duration| now.saturating_sub(until) >= guard;
        let (mut shown, mut until) = (Shown::Own, now);
        let views = self.views.get(&place.screen);
        for view in views.into_iter().flatten().rev() {
            if long_ago(until) || put.is_some_and(|after| view.number <= after) {
                return shown;
            }
            let patch = view.patches.iter().find(|patch| patch.rect.contains(place.pixel));
            match patch.and_then(|patch| patch.owner.as_ref()) {
                Some(owner) if owner == vm => {}
                Some(_) => return Shown::Another,
                None => shown = Shown::Nothing,
            }
            until = view.since;
        }
        // What was there before is not known, but where the user has put the window since the first view.
        let all = views.is_none_or(|views| views.len() < KEPT);
        if long_ago(until) || (put.is_some() && all) {
            shown
        } else {
            Shown::Nothing
        }
    }
}

impl Core {
    /// Remembers what is drawn where on a screen.
    pub(crate) fn note_view(&mut self, screen: ScreenId) {
        self.put_by_drag();
        let Some(patches) = self.outputs.get(screen).map(|screen| self.view(screen)) else {
            return;
        };
        let now = self.clock.now();
        let config = &self.config;
        let guards = config.vms.values().map(|vm| vm.rules.focus.click_guard);
        let longest = guards
            .chain([config.defaults.rules.focus.click_guard, DEFAULT_GUARD])
            .max();
        let longest = longest.unwrap_or(DEFAULT_GUARD);
        self.input.seen.note(screen, now, patches, longest);
        let outputs = &self.outputs;
        self.input.seen.views.retain(|id, _| outputs.get(*id).is_some());
    }

    /// The user has put a window where it is now.
    pub(super) fn put_by_user(&mut self, id: WindowId) {
        self.invite(id);
        if let Some(rect) = self.windows.layout.outer(id) {
            let now = self.clock.now();
            self.input.seen.put(id, rect, now);
        }
    }

    /// The user drags a window: where it is now, it was put, as far as the hand went. Its client may have given it another
    /// size or mode, and may declare what least size it likes.
    fn put_by_drag(&mut self) {
        let at = self.input.pointer;
        let (id, given) = match self.input.drag {
            Drag::Move(id, offset, size) => (id, Rectangle::new((at - offset).to_i32_round(), size)),
            Drag::Resize(id, edges, from, content) => {
                (id, edges.dragged(content, (at - from).to_i32_round()))
            }
            Drag::None | Drag::Press(..) | Drag::Swallow => return,
        };
        let layout = &self.windows.layout;
        let (Some(outer), Some(insets)) = (layout.outer(id), layout.insets(id)) else {
            return;
        };
        self.invite(id);
        if let Some(rect) = outer.intersection(insets.outer(given)) {
            let now = self.clock.now();
            self.input.seen.put(id, rect, now);
        }
    }

    /// Whether the user put the window that is hit at a place there.
    pub(super) fn is_put_by_user(&self, hit: &Hit, at: Point<f64, Logical>) -> bool {
        hit.window()
            .is_some_and(|id| self.input.seen.put_there(id, at).is_some())
    }

    fn place(&self, at: Point<f64, Logical>) -> Place {
        let (screen, pixel) = self.pixel_at(at);
        Place {
            screen: screen.id(),
            pixel,
            at,
        }
    }

    /// The VM that the user means who points at a place and says so by a key: the one that was seen there, and not one that
    /// has taken its place since. It may have seen the key come.
    pub(crate) fn meant_at(&self, at: Point<f64, Logical>) -> Option<VmName> {
        let window = self.hit(at).window();
        let owner = window
            .and_then(|id| self.windows.get(id))
            .map(|window| &window.vm);
        let guard = match owner {
            Some(vm) => self.click_guard(vm),
            None => self.config.defaults.rules.focus.click_guard,
        };
        let put = window.and_then(|id| self.input.seen.put_there(id, at));
        let seen = self
            .input
            .seen
            .first(self.place(at), put, self.clock.now(), guard);
        seen.or(owner).cloned()
    }

    /// How long a VM's pixels must have been somewhere before it gets a click there.
    fn click_guard(&self, vm: &VmName) -> Duration {
        self.settings(vm)
            .map_or(DEFAULT_GUARD, |vm| vm.rules.focus.click_guard)
    }

    fn view(&self, screen: &Screen) -> Vec<Patch> {
        let all = Rectangle::from_size(screen.size());
        let mut patches = Vec::new();
        let mut see = |rect: Rectangle<i32, Physical>, owner: Option<&VmName>| {
            if rect.overlaps(all) {
                let owner = owner.cloned();
                patches.push(Patch { rect, owner });
            }
        };
        let style = self.render.style(screen.scale());
        for item in self.stack(screen) {
            match item {
                Item::Notice(place) => see(place, None),
                Item::Framed(framed) if framed.window.is_some() => {
                    let outer = geometry::placed(&framed, screen, &style).outer;
                    see(outer, Some(framed.owner));
                }
                Item::Pointer | Item::Framed(_) => {}
            }
        }
        patches
    }
}

impl State {
    /// Whether the VM that is hit at a place may not get what the user does there, because something else was seen there.
    ///
    /// Where nothing of any VM was, the VM that has the keyboard is believed: its menus and dialogs open for the user.
    pub(super) fn unseen(&self, hit: &Hit, at: Point<f64, Logical>) -> bool {
        let Some(window) = hit.window().and_then(|id| self.core.windows.get(id)) else {
            return false;
        };
        let place = self.core.place(at);
        let (now, guard) = (self.core.clock.now(), self.core.click_guard(&window.vm));
        match self
            .core
            .input
            .seen
            .shown(place, &window.vm, window.id, now, guard)
        {
            Shown::Own => false,
            Shown::Nothing => !self.core.has_keyboard(&window.vm),
            Shown::Another => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUARD: Duration = Duration::from_millis(300);
    const SECOND: Duration = Duration::from_secs(1);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn vm(name: &str) -> VmName {
        VmName::new(name).expect("a name")
    }

    fn screen() -> ScreenId {
        crate::desktop::outputs::Outputs::new(crate::desktop::outputs::Setup::plain((100, 10).into(), 1.0))
            .first()
            .id()
    }

    fn place(x: i32) -> Place {
        Place {
            screen: screen(),
            pixel: (x, 5).into(),
            at: (f64::from(x), 5.0).into(),
        }
    }

    fn patches(rects: &[(i32, i32, &str)]) -> Vec<Patch> {
        let patch = |(x, w, name): &(i32, i32, &str)| Patch {
            rect: Rectangle::new((*x, 0).into(), (*w, 10).into()),
            owner: Some(vm(name)),
        };
        rects.iter().map(patch).collect()
    }

    fn shown(seen: &Seen, x: i32, name: &str, now: u64) -> Shown {
        seen.shown(place(x), &vm(name), WindowId(1), ms(now), GUARD)
    }

    #[test]
    fn what_came_or_was_uncovered_within_the_guard_was_anothers() {
        let mut seen = Seen::default();
        seen.note(screen(), ms(0), patches(&[(0, 10, "work")]), SECOND);
        assert_eq!(
            shown(&seen, 5, "work", 1),
            Shown::Nothing,
            "nothing is known of before"
        );
        assert_eq!(shown(&seen, 5, "work", 300), Shown::Own);
        assert_eq!(
            shown(&seen, 5, "games", 9000),
            Shown::Another,
            "it is not drawn yet"
        );
        seen.note(
            screen(),
            ms(1000),
            patches(&[(0, 10, "games"), (0, 10, "work")]),
            SECOND,
        );
        seen.note(screen(), ms(1100), patches(&[(0, 10, "work")]), SECOND);
        let after = |now| shown(&seen, 5, "work", now);
        assert_eq!([1101, 1399].map(after), [Shown::Another; 2]);
        assert_eq!([1400, 2000].map(after), [Shown::Own; 2]);
        assert_eq!(
            seen.shown(place(5), &vm("work"), WindowId(1), ms(1101), Duration::ZERO),
            Shown::Own,
            "no guard"
        );
    }

    #[test]
    fn where_the_user_put_a_window_it_counts_as_seen_and_no_further() {
        let mut seen = Seen::default();
        seen.note(screen(), ms(0), patches(&[(0, 50, "work")]), SECOND);
        seen.put(
            WindowId(1),
            Rectangle::new((0, 0).into(), (20, 10).into()),
            ms(1000),
        );
        assert_eq!(shown(&seen, 10, "games", 1001), Shown::Own, "raised");
        seen.note(
            screen(),
            ms(1005),
            patches(&[(0, 40, "games"), (0, 50, "work")]),
            SECOND,
        );
        assert_eq!(shown(&seen, 10, "games", 1010), Shown::Own);
        assert_eq!(
            shown(&seen, 30, "games", 1010),
            Shown::Another,
            "it grew by itself"
        );
        // Covered since, and uncovered again by somebody else.
        seen.note(screen(), ms(1050), patches(&[(0, 50, "work")]), SECOND);
        seen.note(screen(), ms(1060), patches(&[(0, 40, "games")]), SECOND);
        assert_eq!(shown(&seen, 10, "games", 1070), Shown::Another);
    }

    #[test]
    fn a_window_that_was_raised_and_went_before_it_was_drawn_was_not_seen() {
        let mut seen = Seen::default();
        seen.note(screen(), ms(0), patches(&[(0, 10, "work")]), SECOND);
        seen.put(
            WindowId(1),
            Rectangle::new((0, 0).into(), (10, 10).into()),
            ms(1000),
        );
        seen.note(screen(), ms(1010), patches(&[(0, 10, "work")]), SECOND);
        seen.note(
            screen(),
            ms(1200),
            patches(&[(0, 10, "games"), (0, 10, "work")]),
            SECOND,
        );
        assert_eq!(shown(&seen, 5, "games", 1210), Shown::Another);
    }

    #[test]
    fn who_was_there_first_is_meant() {
        let mut seen = Seen::default();
        seen.note(
            screen(),
            ms(0),
            patches(&[(0, 10, "games"), (0, 10, "work")]),
            SECOND,
        );
        seen.note(screen(), ms(1000), patches(&[]), SECOND);
        seen.note(screen(), ms(1050), patches(&[(0, 10, "work")]), SECOND);
        let first = |put, now| seen.first(place(5), put, ms(now), GUARD).map(VmName::as_str);
        assert_eq!([1051, 1299].map(|now| first(None, now)), [Some("games"); 2]);
        assert_eq!([1300, 2000].map(|now| first(None, now)), [Some("work"); 2]);
        assert_eq!(first(Some(1), 1051), Some("work"), "raised since");
    }

    #[test]
    fn views_are_kept_by_age_whatever_the_rate_of_frames() {
        for hertz in [30, 60, 240, 480] {
            let mut seen = Seen::default();
            seen.note(screen(), ms(0), patches(&[(0, 10, "work")]), GUARD);
            for frame in 1..2000_u64 {
                let x = i32::from(frame % 2 == 0) * 20 + 40;
                let now = Duration::from_nanos(frame * 1_000_000_000 / hertz);
                seen.note(
                    screen(),
                    now,
                    patches(&[(x, 10, "games"), (0, 10, "work")]),
                    GUARD,
                );
            }
            let now = Duration::from_nanos(1999 * 1_000_000_000 / hertz);
            let view = seen.shown(place(5), &vm("work"), WindowId(1), now, GUARD);
            assert_eq!(view, Shown::Own, "at {hertz} Hz");
            assert!(seen.views[&screen()].len() < 200);
        }
    }

    proptest! {
        /// What is said of a place is what a witness says who looked at it in every millisecond.
        #[test]
        fn agrees_with_a_witness(
            steps in proptest::collection::vec((1_u64..120, 0..4_i32, 0..4_i32, any::<bool>()), 1..60),
            guard in 0_u64..400,
        ) {
            let names = ["work", "games", "", ""];
            let (mut seen, mut now) = (Seen::default(), 0_u64);
            let mut witness: Vec<&str> = Vec::new();
            let mut put_at: Option<usize> = None;
            let mut drawn = "";
            for (wait, top, x, by_user) in steps {
                witness.extend(std::iter::repeat_n(drawn, usize::try_from(wait).expect("small")));
                now += wait;
                if by_user && names[usize::try_from(top).expect("small")] == "work" {
                    seen.put(WindowId(1), Rectangle::new((0, 0).into(), (10, 10).into()), ms(now));
                    put_at = Some(witness.len());
                }
                let name = names[usize::try_from(top).expect("small")];
                let elsewhere = (20 + x * 10, 10, "games");
                let mut all = vec![elsewhere];
                if !name.is_empty() {
                    all.push((0, 10, name));
                }
                drawn = name;
                seen.note(screen(), ms(now), patches(&all), ms(400));
                let from = witness.len().saturating_sub(usize::try_from(guard).expect("small"));
                let from = from.max(put_at.unwrap_or(0));
                let mut looked: Vec<&str> = witness.get(from..).unwrap_or_default().to_vec();
                if guard > 0 {
                    looked.push(drawn);
                }
                let other = looked.contains(&"games");
                let nothing = looked.iter().any(|seen| seen.is_empty());
                let said = seen.shown(place(5), &vm("work"), WindowId(1), ms(now), ms(guard));
                if other {
                    prop_assert_eq!(said, Shown::Another);
                } else if nothing {
                    prop_assert_ne!(said, Shown::Own);
                } else if now >= guard {
                    prop_assert_eq!(said, Shown::Own);
                }
            }
        }
    }
}
