// SPDX-License-Identifier: MIT OR Apache-2.0
//! What handlers ask for, to be done once in a turn.
//!
//! A client can ask a thousand times in a turn. Only the last word of each kind for each window counts, so that what is done
//! in a turn is bounded by the windows that there are.

use std::collections::HashMap;

use super::Effect;
use crate::desktop::layout::WindowId;

/// Effects that differ in nothing but what they ask for take each other's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Drag,
    Mode,
    Configure,
    Minimize,
    Close,
    Focus,
    TellPlace,
}

fn slot(effect: Effect) -> (Kind, Option<WindowId>) {
    match effect {
        Effect::StartMove(id, _) | Effect::StartResize(id, _, _) => (Kind::Drag, Some(id)),
        Effect::SetMode(id, _) => (Kind::Mode, Some(id)),
        Effect::Configure(id) => (Kind::Configure, Some(id)),
        Effect::Minimize(id) => (Kind::Minimize, Some(id)),
        Effect::Close(id) => (Kind::Close, Some(id)),
        Effect::Focus(id) => (Kind::Focus, Some(id)),
        Effect::TellPlace => (Kind::TellPlace, None),
    }
}

/// Effects that wait for the end of the turn, in the order of their last word.
#[derive(Debug, Default)]
pub struct Effects {
    last: HashMap<(Kind, Option<WindowId>), (u64, Effect)>,
    pushed: u64,
}

impl Effects {
    /// Asks for something.
    pub fn push(&mut self, effect: Effect) {
        self.pushed = self.pushed.saturating_add(1);
        self.last.insert(slot(effect), (self.pushed, effect));
    }

    /// Everything that is to be done, in order; nothing is left.
    pub fn take(&mut self) -> Vec<Effect> {
        let mut effects: Vec<_> = self.last.drain().map(|(_, effect)| effect).collect();
        effects.sort_unstable_by_key(|(order, _)| *order);
        effects.into_iter().map(|(_, effect)| effect).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desktop::layout::Mode;

    #[test]
    fn the_last_word_of_a_kind_counts_for_each_window() {
        let (one, two) = (WindowId(1), WindowId(2));
        let mut effects = Effects::default();
        for _ in 0..1000 {
            effects.push(Effect::SetMode(one, Mode::Maximized));
            effects.push(Effect::Configure(one));
            effects.push(Effect::SetMode(two, Mode::Fullscreen));
            effects.push(Effect::SetMode(one, Mode::Floating));
            effects.push(Effect::Configure(one));
        }
        assert_eq!(
            effects.take(),
            [
                Effect::SetMode(two, Mode::Fullscreen),
                Effect::SetMode(one, Mode::Floating),
                Effect::Configure(one),
            ]
        );
        assert!(effects.take().is_empty());
    }
}
