// SPDX-License-Identifier: MIT OR Apache-2.0
//! When a window appears, and on which screen: at once, or later if its VM has shown too many, or is hidden. Nothing here is
//! about memory.

use heraldry_identity::VmName;
use smithay::utils::{Logical, Point};

use crate::desktop::layout::WindowId;
use crate::state::{Core, State};

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
        let near = self.core.comes_up_near(&vm);
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

impl Core {
    /// A place on the screen that a new window of this VM comes up on: the pointer's if it is on a window of this VM, else that
    /// of the VM's topmost window, else the first.
    ///
    /// A client is told which screen its surface is on. Were it always the pointer's, each new window would tell where the
    /// user's hand is, also to a VM that the user has nothing to do with.
    fn comes_up_near(&self, vm: &VmName) -> Point<i32, Logical> {
        if self.input.hovered_vm() == Some(vm) {
            return self.input.pointer.to_i32_floor();
        }
        let layout = &self.windows.layout;
        let own = |id: &WindowId| self.windows.get(*id).is_some_and(|window| window.vm == *vm);
        let topmost = layout.visible().find(own).and_then(|id| layout.outer(id));
        let screen = topmost.map(|outer| layout.area_of(outer));
        let screen = screen.or_else(|| layout.areas().first().copied());
        screen.unwrap_or_default().loc
    }
}
