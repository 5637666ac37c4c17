// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a window appears: at once, or later if its VM has shown too many, or is out of sight.

use crate::desktop::layout::WindowId;
use crate::state::State;

impl State {
    /// A window has content: it appears, unless its VM has shown too many lately. Then it appears later.
    pub(crate) fn map(&mut self, id: WindowId) {
        let now = self.core.clock.now();
        let Some(window) = self.core.windows.get(id) else {
            return;
        };
        let (vm, waits, size) = (window.vm.clone(), window.waits_to_map, window.geometry.size);
        // A VM that is hidden shows nothing, not even what it said before that; when it is resumed, the tick looks again.
        let hidden = self.core.vms.get(&vm).is_some_and(crate::vms::Vm::is_hidden);
        let may = if hidden {
            Err(None)
        } else {
            self.core.may_map(&vm).map_err(Some)
        };
        if let Err(after) = may {
            if let Some(window) = self.core.windows.get_mut(id) {
                window.waits_to_map = true;
            }
            if let Some(after) = after.filter(|_| !waits) {
                self.map_later(after);
            }
            return;
        }
        if let Some(window) = self.core.windows.get_mut(id) {
            window.waits_to_map = false;
            window.mapped = Some(now);
        }
        let near = self.core.input.pointer.to_i32_floor();
        self.core.windows.layout.add(id, size, near);
        self.core.stand(id, None);
        self.core.input.mapped(id);
    }

    /// Windows that had to wait appear, as many as may.
    pub(crate) fn map_waiting(&mut self) {
        let now = self.core.clock.now();
        if self.core.maps_due.take_if(|due| *due <= now).is_none() {
            return;
        }
        let waiting: Vec<_> = self
            .core
            .windows
            .iter_mut()
            .filter_map(|window| std::mem::take(&mut window.waits_to_map).then_some(window.id))
            .collect();
        for id in waiting {
            self.map(id);
        }
        self.core.input.refresh_pointer = true;
        self.core.render.schedule();
    }
}
