// SPDX-License-Identifier: MIT OR Apache-2.0
//! What keys, buttons and clients can set going, and who ends up with the keyboard.

use heraldry_identity::VmName;
use smithay::desktop::{PopupGrab, PopupUngrabStrategy};
use smithay::utils::SERIAL_COUNTER;
use smithay::wayland::selection::data_device::set_data_device_focus;
use smithay::wayland::selection::primary_selection::set_primary_focus;
use tracing::{info, warn};
use wayland_server::Resource;

use super::{Change, Drag, Press};
use crate::desktop::layout::{Edges, Mode, WindowId};
use crate::state::{Core, State};

/// What a key binding does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Close,
    ToggleMaximize,
    Minimize,
    ToggleFullscreen,
    Switch {
        backward: bool,
    },
    /// Pauses and hides the VM under the pointer.
    HideVm,
    /// Brings back the one that was hidden last.
    ShowVm,
    Quit,
    /// Asks PID 1.
    Machine(crate::init::client::Request),
    /// Shows another virtual terminal.
    Terminal(i32),
}

/// What a protocol handler or the control socket asks for; performed after the dispatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The client wants its window dragged by what was pressed on it.
    StartMove(WindowId, Press),
    /// The client wants an edge dragged by it.
    StartResize(WindowId, Edges, Press),
    /// A mode for a window.
    SetMode(WindowId, Mode),
    /// A configure even if nothing changed.
    Configure(WindowId),
    /// Hide.
    Minimize(WindowId),
    /// Ask the client to close.
    Close(WindowId),
    /// Give it the keyboard and put it on top.
    Focus(WindowId),
    /// Tell the client that has the pointer where it is.
    TellPlace,
}

impl Effect {
    /// The window that it is about.
    #[must_use]
    pub fn window(self) -> Option<WindowId> {
        match self {
            Self::StartMove(id, _)
            | Self::StartResize(id, _, _)
            | Self::SetMode(id, _)
            | Self::Configure(id)
            | Self::Minimize(id)
            | Self::Close(id)
            | Self::Focus(id) => Some(id),
            Self::TellPlace => None,
        }
    }
}

/// Nothing but a line in the log if PID 1 is not ours: then the machine is not ours to switch off.
fn ask_init(request: crate::init::client::Request) {
    info!(request = request.word(), "asked by key");
    if let Err(error) = crate::init::client::request(request) {
        warn!(error = &error as &dyn std::error::Error, "PID 1 did not do it");
    }
}

impl State {
    pub(super) fn act(&mut self, action: Action) {
        let focus = self.core.input.focus;
        match (action, focus) {
            (Action::Quit, _) => {
                info!("quit by key");
                self.core.stopping = true;
            }
            (Action::HideVm, _) => self.hide_vm(),
            (Action::ShowVm, _) => self.show_vm(),
            (Action::Machine(request), _) => ask_init(request),
            (Action::Terminal(number), _) => self.change_vt(number),
            (Action::Switch { backward }, _) => self.switch(backward),
            (Action::Close, Some(id)) => self.perform(Effect::Close(id)),
            (Action::Minimize, Some(id)) => self.perform(Effect::Minimize(id)),
            (Action::ToggleMaximize, Some(id)) => self.toggle_mode(id, Mode::Maximized),
            (Action::ToggleFullscreen, Some(id)) => self.toggle_mode(id, Mode::Fullscreen),
            (_, None) => {}
        }
    }

    pub(super) fn toggle_mode(&mut self, id: WindowId, mode: Mode) {
        let now = self.core.windows.layout.mode(id);
        self.perform(Effect::SetMode(
            id,
            if now == Some(mode) { Mode::Floating } else { mode },
        ));
        self.core.put_by_user(id);
    }

    /// Performs one effect.
    pub fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::TellPlace => {
                self.tell_fingers();
                if matches!(self.core.input.drag, Drag::None) {
                    self.tell_place();
                }
            }
            Effect::StartMove(id, press) => self.start_granted(id, None, press),
            Effect::StartResize(id, edges, press) => self.start_granted(id, Some(edges), press),
            Effect::SetMode(id, mode) => {
                let before = self.core.windows.layout.outer(id);
                self.core.windows.layout.set_mode(id, mode);
                self.core.stand(id, before);
                self.core.input.refresh_pointer = true;
            }
            Effect::Configure(id) => {
                self.core.input.configures_due.insert(id);
            }
            Effect::Minimize(id) => {
                self.core.windows.layout.set_minimized(id, true);
                self.core.input.refresh_pointer = true;
                let vm = self.core.windows.get(id).map(|window| window.vm.clone());
                if let Some(vm) = vm.filter(|_| self.core.input.focus == Some(id)) {
                    self.focus_next_of(&vm, id);
                }
            }
            Effect::Close(id) => {
                if let Some(window) = self.core.windows.get(id) {
                    window.toplevel.send_close();
                }
            }
            // The user does not want to see it.
            Effect::Focus(id) if self.core.windows.layout.is_hidden(id) => {}
            Effect::Focus(id) => {
                self.core.windows.layout.raise(id);
                self.core.put_by_user(id);
                self.core.input.refresh_pointer = true;
                self.set_focus(Some(id));
            }
        }
        self.core.render.schedule();
    }

    /// Tells every client what has changed of its windows, once a turn; who was promised a configure gets one in any case.
    pub(crate) fn send_configures(&mut self) {
        let sent = self.core.send_configures(self.core.input.focus);
        for id in std::mem::take(&mut self.core.input.configures_due) {
            if let Some(window) = self.core.windows.get(id)
                && window.toplevel.alive()
                && window.toplevel.is_initial_configure_sent()
                && !sent.contains(&id)
            {
                window.toplevel.send_configure();
            }
        }
    }

    /// Moves the keyboard. Seats learn of it in the tick.
    pub fn set_focus(&mut self, id: Option<WindowId>) {
        let id = id.filter(|id| self.core.windows.layout.is_visible(*id));
        if self.core.input.focus == id {
            return;
        }
        self.break_popup_grabs();
        self.core.input.focus = id;
        if let Some(id) = id
            && self.core.input.switcher.is_none()
        {
            self.core.input.history.retain(|other| *other != id);
            self.core.input.history.insert(0, id);
        }
        self.core.input.refresh_focus = true;
        self.core.render.schedule();
    }

    /// Ends every popup's hold on the input.
    pub(super) fn break_popup_grabs(&mut self) {
        self.end_popup_grabs(|_| true);
    }

    /// Ends what is left of grabs whose popups are gone: Smithay would keep the keyboard until the next key.
    pub fn end_dead_popup_grabs(&mut self) {
        self.end_popup_grabs(PopupGrab::has_ended);
    }

    fn end_popup_grabs(&mut self, which: impl Fn(&PopupGrab<Self>) -> bool) {
        let (serial, time) = (SERIAL_COUNTER.next_serial(), self.core.clock.millis());
        let grabs: Vec<_> = self
            .core
            .vms
            .iter_mut()
            .filter_map(|vm| Some((vm.seat.clone(), vm.popup_grab.take_if(|grab| which(grab))?)))
            .collect();
        for (seat, mut grab) in grabs {
            // Also of a window that is gone: Smithay would keep its menus, and end the client that opens the next.
            grab.ungrab(PopupUngrabStrategy::All);
            if let Some(keyboard) = seat.get_keyboard() {
                keyboard.unset_grab(self);
            }
            if let Some(pointer) = seat.get_pointer()
                && pointer.has_grab(grab.serial())
            {
                pointer.unset_grab(self, serial, time);
            }
            self.core.input.refresh_focus = true;
        }
    }

    /// Ends drags that began without a held button.
    pub fn end_unfounded_drags(&mut self) {
        let (serial, time) = (SERIAL_COUNTER.next_serial(), self.core.clock.millis());
        let seats: Vec<_> = self
            .core
            .vms
            .iter_mut()
            .filter_map(|vm| {
                if !std::mem::take(&mut vm.unfounded_drag) {
                    return None;
                }
                vm.drag_icon = None;
                Some(vm.seat.clone())
            })
            .collect();
        for pointer in seats.iter().filter_map(smithay::input::Seat::get_pointer) {
            pointer.unset_grab(self, serial, time);
        }
    }

    /// Windows came or went: decide who has the keyboard now.
    pub fn settle_focus(&mut self) {
        for change in std::mem::take(&mut self.core.input.changes) {
            match change {
                Change::Came(id) => {
                    if self.core.may_take_focus(id) {
                        self.core.windows.layout.raise(id);
                        self.core.invite(id);
                        self.set_focus(Some(id));
                    }
                }
                Change::Went(id, vm) => {
                    self.core.input.history.retain(|other| *other != id);
                    if self.core.input.focus == Some(id) {
                        self.focus_next_of(&vm, id);
                    }
                }
            }
        }
    }

    /// The keyboard stays with the VM that had it, or goes to nobody: what the user types next was meant for it.
    pub(crate) fn focus_next_of(&mut self, vm: &VmName, leaving: WindowId) {
        let next =
            self.core.windows.layout.visible().find(|id| {
                *id != leaving && self.core.windows.get(*id).is_some_and(|window| window.vm == *vm)
            });
        self.set_focus(next);
    }

    /// Tells the seats about a moved focus: the old VM's seat loses it before the new one's gets it.
    pub fn apply_focus(&mut self) {
        if !std::mem::take(&mut self.core.input.refresh_focus) {
            return;
        }
        let focused = self.core.input.focus.and_then(|id| self.core.windows.get(id));
        let target = focused.map(|window| (window.vm.clone(), window.toplevel.wl_surface().clone()));
        let mut seats: Vec<_> = self
            .core
            .vms
            .iter()
            .map(|vm| (vm.name.clone(), vm.seat.clone()))
            .collect();
        seats.sort_by_key(|(name, _)| target.as_ref().is_some_and(|(vm, _)| vm == name));
        for (name, seat) in seats {
            let surface = target
                .as_ref()
                .filter(|(vm, _)| *vm == name)
                .map(|(_, surface)| surface.clone());
            let Some(keyboard) = seat.get_keyboard() else {
                continue;
            };
            if keyboard.current_focus() != surface && !keyboard.is_grabbed() {
                let client = surface.as_ref().and_then(Resource::client);
                keyboard.set_focus(self, surface, SERIAL_COUNTER.next_serial());
                // Smithay reports only gained focus, so the selections follow here.
                set_data_device_focus(&self.core.display_handle, &seat, client.clone());
                set_primary_focus(&self.core.display_handle, &seat, client);
            }
        }
    }

    /// One step of Alt-Tab: the next window in the order of last use.
    fn switch(&mut self, backward: bool) {
        if self.core.input.switcher.is_none() {
            let mut order: Vec<_> = self.core.input.history.clone();
            order.extend(
                self.core
                    .windows
                    .layout
                    .top_to_bottom()
                    .filter(|id| !self.core.input.history.contains(id)),
            );
            let start = usize::from(order.first().copied() != self.core.input.focus);
            let start = if start == 1 {
                order.len().saturating_sub(1)
            } else {
                0
            };
            self.core.input.switcher = Some((order, start));
        }
        let Some((order, at)) = self.core.input.switcher.as_mut() else {
            return;
        };
        let layout = &self.core.windows.layout;
        order.retain(|id| layout.mode(*id).is_some() && !layout.is_hidden(*id));
        if order.is_empty() {
            return;
        }
        *at = (*at).min(order.len().saturating_sub(1));
        *at =
            (*at + if backward {
                order.len().saturating_sub(1)
            } else {
                1
            }) % order.len();
        if let Some(id) = order.get(*at).copied() {
            self.core.windows.layout.raise(id);
            self.core.put_by_user(id);
            self.core.input.refresh_pointer = true;
            self.set_focus(Some(id));
        }
    }

    /// The modifiers are up: what was chosen is now the window used last.
    pub(super) fn end_switching(&mut self) {
        if self.core.input.switcher.take().is_some()
            && let Some(id) = self.core.input.focus
        {
            self.core.input.history.retain(|other| *other != id);
            self.core.input.history.insert(0, id);
        }
    }

    /// Starts to drag a window by the pointer; the client loses the pointer meanwhile.
    pub(super) fn start_drag(&mut self, id: WindowId, edges: Option<Edges>) {
        // The button may have been let go in the same turn.
        if self.core.input.buttons.is_empty() {
            return;
        }
        let Some(content) = self.core.windows.layout.content(id) else {
            return;
        };
        if self.core.windows.layout.mode(id) != Some(Mode::Floating) {
            return;
        }
        let at = self.core.input.pointer;
        self.core.input.drag = match edges {
            None => Drag::Move(id, at - content.loc.to_f64(), content.size),
            Some(edges) => {
                self.core.windows.layout.start_resize(id);
                if let Some(window) = self.core.windows.get_mut(id) {
                    window.resizing = true;
                }
                Drag::Resize(id, edges, at, content)
            }
        };
        self.clear_pointer_focus();
        self.core.render.schedule();
    }
}

impl Core {
    /// Whether a window of this VM has the keyboard.
    pub(crate) fn has_keyboard(&self, vm: &VmName) -> bool {
        let holder = self.input.focus.and_then(|id| self.windows.get(id));
        holder.is_some_and(|holder| holder.vm == *vm)
    }

    /// Whether a window that has just appeared may take the keyboard: only from its own VM; from nobody if
    /// the user's configuration says so; never from another VM.
    fn may_take_focus(&self, id: WindowId) -> bool {
        let Some(window) = self.windows.get(id) else {
            return false;
        };
        let holder = self.input.focus.and_then(|id| self.windows.get(id));
        match holder {
            Some(holder) => holder.vm == window.vm,
            None => self.settings(&window.vm).is_some_and(|vm| vm.rules.focus.on_map),
        }
    }
}
