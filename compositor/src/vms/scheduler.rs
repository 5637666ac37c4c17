// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each VM may send in the next turn of the loop, by what its requests cost in the last one.

use std::time::Duration;

use tracing::debug;

use super::booking::Spent;
use super::budget::MARKED;
use crate::state::State;

impl State {
    /// A turn is over: every VM may feed the next, but for those that wait for a frame.
    pub fn next_turns(&mut self) {
        let now = self.core.clock.now();
        let mut marks_changed = false;
        let mut marked = false;
        for vm in self.core.vms.iter_mut() {
            let Spent {
                requests: spent,
                drawing,
                ..
            } = self.core.books.take(&vm.name);
            vm.load.last_turn = spent;
            vm.load.drawing = vm.load.drawing.saturating_add(drawing);
            let Some(relay) = self.core.transports.relay(&vm.name) else {
                continue;
            };
            let target = Duration::from_micros(vm.limits().turn_us);
            let pressed = if vm.paused().is_some() {
                relay.next_unserved_turn(spent, target);
                false
            } else if vm.load.held {
                relay.is_waiting()
            } else {
                let most = usize::try_from(vm.limits().turn_bytes).unwrap_or(usize::MAX);
                relay.next_turn(spent, target, most).exhausted
            };
            let waits = std::mem::take(&mut vm.load.drawing_waits);
            marks_changed |= vm.load.press(now, pressed || waits);
            marked |= vm.load.throttled;
        }
        if marks_changed {
            self.core.render.schedule();
        }
        // A mark goes when its VM has nothing more to say.
        self.core.marks_due = marked.then(|| now.saturating_add(MARKED));
    }

    /// A window has to wait: the tick looks again when its VM may show one.
    pub(crate) fn map_later(&mut self, after: Duration) {
        let due = self.core.clock.now().saturating_add(after);
        self.core.maps_due = Some(self.core.maps_due.map_or(due, |known| known.min(due)));
        debug!(?after, "a window has to wait");
    }
}
