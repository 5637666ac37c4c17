// SPDX-License-Identifier: MIT OR Apache-2.0
//! The pointer: frames first, then the client under it, each VM through its own seat.

use std::time::Duration;

use heraldry_identity::VmName;
use smithay::backend::input::{Axis, AxisSource, ButtonState};
use smithay::input::pointer::{AxisFrame, ButtonEvent, MotionEvent};
use smithay::utils::{Logical, Point, SERIAL_COUNTER};
use wayland_server::protocol::wl_surface::WlSurface;

use super::hit::Hit;
use super::{Drag, Effect};
use crate::desktop::layout::{Edges, Mode, WindowId};
use crate::state::State;

/// evdev codes.
pub(super) const BTN_LEFT: u32 = 0x110;
pub(super) const BTN_RIGHT: u32 = 0x111;
pub(super) const BTN_MIDDLE: u32 = 0x112;

/// Two presses within this time are a double click.
const DOUBLE_CLICK: Duration = Duration::from_millis(400);

impl State {
    pub(super) fn motion(&mut self, to: Point<f64, Logical>) {
        let to = self.core.outputs.nearest(to);
        self.pointer_is_at(to);
        match self.core.input.drag {
            Drag::Move(id, offset, _) => {
                self.core.windows.layout.move_to(id, (to - offset).to_i32_round());
            }
            Drag::Resize(id, edges, from, content) => {
                let given = edges.dragged(content, (to - from).to_i32_round());
                self.core.windows.layout.resize(id, edges, given.size);
            }
            Drag::Press(..) | Drag::Swallow => self.hover_frame(),
            Drag::None => self.place_pointer(true),
        }
    }

    /// The user moved the pointer, or what stands for it, to a place.
    pub(super) fn pointer_is_at(&mut self, to: Point<f64, Logical>) {
        self.core.input.pointer = to;
        self.core.input.pointer_seen = true;
        self.core.render.schedule();
    }

    /// Whether the pointer does nothing: no button is held, nothing is dragged, and none will be.
    pub(super) fn pointer_is_free(&self) -> bool {
        let nothing = matches!(self.core.input.drag, Drag::None) && self.core.input.buttons.is_empty();
        nothing && !self.move_modifier_held()
    }

    /// The client under the pointer loses it.
    pub(super) fn leave_pointer(&mut self) {
        if let Some((vm, _)) = self.core.input.hover.take() {
            self.send_motion(&vm, None);
        }
    }

    /// Sends the pointer's place to the client under it, leaves the others.
    pub(super) fn deliver_motion(&mut self) {
        self.place_pointer(false);
    }

    /// The same; a client that does not answer may be told later.
    fn place_pointer(&mut self, may_wait: bool) {
        self.hover_frame();
        if self.core.input.pens.is_near_client() {
            return;
        }
        let at = self.core.input.pointer;
        let hit = self.core.hit(at);
        let (mut vm, mut focus) = match hit {
            Hit::Content {
                vm,
                surface: Some((surface, origin)),
                ..
            } => (Some(vm), Some((surface, origin))),
            _ => (None, None),
        };
        // While a button is held, the VM that got the press keeps the pointer; others see nothing of it.
        if let Some(holder) = self.core.input.buttons.values().flatten().next() {
            if vm.as_ref() != Some(holder) {
                focus = None;
            }
            vm = Some(holder.clone());
        }
        let left = self
            .core
            .input
            .hover
            .as_ref()
            .map(|(old, _)| old.clone())
            .filter(|old| vm.as_ref() != Some(old));
        if let Some(old) = left {
            self.send_motion(&old, None);
        }
        let Some(vm) = vm else {
            self.core.input.hover = None;
            return;
        };
        self.core.input.hover = focus.as_ref().map(|(surface, _)| (vm.clone(), surface.clone()));
        if !may_wait || self.is_told_now(&vm, focus.as_ref().map(|(surface, _)| surface)) {
            self.send_motion(&vm, focus);
        }
    }

    /// The user turns the wheel where the pointer rests: what is hit there hears of the pointer first, if it has not.
    fn deliver_motion_if_new(&mut self, hit: &Hit) {
        if hit.surface() != self.core.input.hover.as_ref().map(|(_, surface)| surface) {
            self.deliver_motion();
        }
    }

    /// Tells the client that has the pointer where it is, and no other.
    pub(super) fn tell_place(&mut self) {
        let hit = self.core.hit(self.core.input.pointer);
        let has_it = hit.surface() == self.core.input.hover.as_ref().map(|(_, surface)| surface);
        if has_it || !self.core.input.buttons.is_empty() {
            self.deliver_motion();
        }
    }

    /// Whether a motion goes out now. Where the pointer comes to another surface, it does.
    fn is_told_now(&mut self, vm: &VmName, to: Option<&WlSurface>) -> bool {
        let pointer = self.core.vms.get(vm).and_then(|vm| vm.seat.get_pointer());
        let Some(now) = pointer.and_then(|pointer| pointer.current_focus()) else {
            return true;
        };
        let stays = to == Some(&now) || self.core.input.holds_button(vm);
        // It is asked in any case, so that it counts from here.
        let may = self.core.may_tell(&now);
        may || !stays
    }

    fn send_motion(&mut self, vm: &VmName, focus: Option<(WlSurface, Point<f64, Logical>)>) {
        let Some(pointer) = self.core.vms.get(vm).and_then(|vm| vm.seat.get_pointer()) else {
            return;
        };
        let event = MotionEvent {
            location: self.core.input.pointer,
            serial: SERIAL_COUNTER.next_serial(),
            time: self.core.clock.millis(),
        };
        pointer.motion(self, focus, &event);
        pointer.frame(self);
    }

    /// Takes the pointer from whichever client has it.
    pub(super) fn clear_pointer_focus(&mut self) {
        let holders: Vec<_> = self.core.input.buttons.values().flatten().cloned().collect();
        let hovered = self.core.input.hover.take().map(|(vm, _)| vm);
        let (serial, time) = (SERIAL_COUNTER.next_serial(), self.core.clock.millis());
        for vm in holders.into_iter().chain(hovered) {
            if let Some(pointer) = self.core.vms.get(&vm).and_then(|vm| vm.seat.get_pointer()) {
                pointer.unset_grab(self, serial, time);
            }
            self.send_motion(&vm, None);
        }
        // Nobody has the pointer now, so no client sees this; the seat must not think that the button is still down.
        let held: Vec<_> = self
            .core
            .input
            .buttons
            .iter_mut()
            .filter_map(|(button, holder)| Some((*button, holder.take()?)))
            .collect();
        for (button, vm) in held {
            self.send_button(&vm, button, ButtonState::Released);
        }
    }

    /// Something under the pointer may have moved, come or gone.
    ///
    /// A client that loses the pointer by that is told. What came there without the user learns of the pointer when it
    /// moves: until then it would only learn where it rests.
    pub fn refresh_pointer(&mut self) {
        if !std::mem::take(&mut self.core.input.refresh_pointer)
            || !self.core.input.pointer_seen
            || !matches!(self.core.input.drag, Drag::None)
        {
            return;
        }
        let at = self.core.input.pointer;
        let hit = self.core.hit(at);
        let now = match &hit {
            Hit::Content {
                vm,
                surface: Some((surface, _)),
                ..
            } => Some((vm.clone(), surface.clone())),
            _ => None,
        };
        if now == self.core.input.hover {
            return;
        }
        let same_vm = now.as_ref().map(|(vm, _)| vm) == self.core.input.hovered_vm();
        if same_vm || self.core.is_put_by_user(&hit, at) {
            self.deliver_motion();
        } else {
            self.hover_frame();
            self.leave_pointer();
        }
    }

    /// Lights the frame's button under the pointer.
    fn hover_frame(&mut self) {
        let hit = self.core.hit(self.core.input.pointer);
        let lit = match hit {
            Hit::Button(id, button) => Some((id, button)),
            _ => None,
        };
        for window in self.core.windows.iter_mut() {
            window.hover = lit.filter(|(id, _)| *id == window.id).map(|(_, button)| button);
        }
    }

    pub(super) fn button(&mut self, button: u32, state: ButtonState) {
        self.core.input.pointer_seen = true;
        // Two devices may hold the same button: it is down until both have let go.
        let holds = self.core.input.holds.entry(button).or_default();
        match state {
            ButtonState::Pressed => {
                *holds = holds.saturating_add(1);
                if *holds == 1 {
                    self.press(button);
                }
            }
            ButtonState::Released => {
                *holds = holds.saturating_sub(1);
                if *holds == 0 {
                    self.core.input.holds.remove(&button);
                    self.release(button);
                }
            }
        }
        self.core.render.schedule();
    }

    fn press(&mut self, button: u32) {
        self.refresh_pointer();
        let hit = self.core.hit(self.core.input.pointer);
        let first = self.core.input.buttons.is_empty();
        self.core.input.buttons.insert(button, None);
        if !first {
            // A further button belongs to the client that has the first.
            let holder = self.core.input.buttons.values().flatten().next().cloned();
            if let Some(vm) = holder {
                self.core.input.buttons.insert(button, Some(vm.clone()));
                self.catch_up(&vm);
                self.send_button(&vm, button, ButtonState::Pressed);
            }
            return;
        }
        if matches!(hit, Hit::Notice) || self.unseen(&hit, self.core.input.pointer) {
            self.core.input.drag = Drag::Swallow;
            return;
        }
        let Some(id) = hit.window() else {
            self.break_popup_grabs();
            self.set_focus(None);
            return;
        };
        let popup = matches!(hit, Hit::Band(_, edges) if edges.is_empty());
        let same_vm_grab = matches!(&hit, Hit::Content { vm, .. } if self.has_popup_grab(vm));
        if !same_vm_grab && !popup {
            self.break_popup_grabs();
            self.perform(Effect::Focus(id));
        }
        if self.move_modifier_held() && (button == BTN_LEFT || button == BTN_RIGHT) && !popup {
            let edges = (button == BTN_RIGHT).then(|| self.nearest_edges(id));
            self.start_drag(id, edges);
            return;
        }
        match hit {
            Hit::Content { vm, .. } => {
                self.apply_focus();
                self.deliver_motion();
                self.core.input.buttons.insert(button, Some(vm.clone()));
                self.send_button(&vm, button, ButtonState::Pressed);
            }
            Hit::Button(id, part) if button == BTN_LEFT => self.core.input.drag = Drag::Press(id, part),
            Hit::Label(id) if button == BTN_LEFT => self.press_label(id),
            Hit::Band(id, edges) if button == BTN_LEFT && !edges.is_empty() => {
                self.start_drag(id, Some(edges))
            }
            Hit::Label(_) | Hit::Button(..) | Hit::Band(..) | Hit::Desktop | Hit::Notice => {
                self.core.input.drag = Drag::Swallow
            }
        }
    }

    fn has_popup_grab(&self, vm: &VmName) -> bool {
        let grab = self.core.vms.get(vm).and_then(|vm| vm.popup_grab.as_ref());
        grab.is_some_and(|grab| !grab.has_ended())
    }

    /// A finger or a pen comes down on a client's surface: menus of others close, the window gets the keyboard.
    ///
    /// For the pointer Smithay's grab decides which client's menu stays; here it is the one that is touched.
    pub(super) fn approach(&mut self, id: WindowId, surface: Option<&WlSurface>) {
        let own_menu = surface
            .and_then(|surface| self.core.identity(surface))
            .is_some_and(|(vm, client)| {
                let holder = self
                    .core
                    .vms
                    .get(&vm)
                    .and_then(|vm| vm.seat.get_keyboard()?.current_focus());
                let same = holder.and_then(|holder| self.core.identity(&holder));
                self.has_popup_grab(&vm) && same.is_some_and(|(_, key)| key == client)
            });
        if !own_menu {
            self.break_popup_grabs();
            self.perform(Effect::Focus(id));
        }
    }

    /// A press on a label starts a move; the second of two quick ones maximises or restores.
    fn press_label(&mut self, id: WindowId) {
        let now = self.core.clock.now();
        let last = self.core.input.last_label.replace((id, now));
        if last.is_some_and(|(other, at)| other == id && now.saturating_sub(at) < DOUBLE_CLICK) {
            self.core.input.last_label = None;
            self.core.input.drag = Drag::Swallow;
            self.toggle_mode(id, Mode::Maximized);
        } else {
            self.start_drag(id, None);
        }
    }

    fn release(&mut self, button: u32) {
        // The place goes to the client that still holds the button.
        let holder = self.core.input.buttons.get(&button).cloned().flatten();
        if let Some(vm) = &holder {
            self.catch_up(vm);
        }
        let owner = self.core.input.buttons.remove(&button).flatten();
        if let Some(vm) = &owner {
            self.send_button(vm, button, ButtonState::Released);
        }
        if !self.core.input.buttons.is_empty() {
            return;
        }
        match std::mem::take(&mut self.core.input.drag) {
            Drag::Press(id, part) => {
                if matches!(self.core.hit(self.core.input.pointer), Hit::Button(at, over) if (at, over) == (id, part))
                {
                    match part {
                        heraldry_decorations::Button::Close => self.perform(Effect::Close(id)),
                        heraldry_decorations::Button::Minimize => self.perform(Effect::Minimize(id)),
                        heraldry_decorations::Button::Maximize => self.toggle_mode(id, Mode::Maximized),
                    }
                }
            }
            Drag::Resize(id, ..) => {
                if let Some(window) = self.core.windows.get_mut(id) {
                    window.resizing = false;
                }
                self.core.windows.layout.touch(id);
            }
            Drag::None | Drag::Move(..) | Drag::Swallow => {}
        }
        if self.core.input.by_finger {
            // The pointer goes with the finger that was it: nothing stays lit below.
            self.core.input.pointer_seen = false;
            self.leave_pointer();
        } else {
            self.deliver_motion();
        }
        // The holder kept the pointer wherever it went; let go outside of it, it must be told.
        if let Some(vm) = owner.filter(|vm| self.core.input.hovered_vm() != Some(vm)) {
            self.send_motion(&vm, None);
        }
    }

    fn send_button(&mut self, vm: &VmName, button: u32, state: ButtonState) {
        let Some(pointer) = self.core.vms.get(vm).and_then(|vm| vm.seat.get_pointer()) else {
            return;
        };
        let event = ButtonEvent {
            button,
            state,
            serial: SERIAL_COUNTER.next_serial(),
            time: self.core.clock.millis(),
        };
        pointer.button(self, &event);
        pointer.frame(self);
    }

    pub(super) fn scroll(&mut self, axis: Axis, source: AxisSource, distance: f64, v120: Option<f64>) {
        // While a button is held, its holder has the pointer; else the wheel goes where it turns.
        if self.core.input.buttons.is_empty() {
            let at = self.core.input.pointer;
            let hit = self.core.hit(at);
            if self.unseen(&hit, at) {
                return;
            }
            self.core.input.pointer_seen = true;
            self.deliver_motion_if_new(&hit);
        }
        let vm = self.core.input.hover.as_ref().map(|(vm, _)| vm.clone());
        if let Some(vm) = &vm {
            self.catch_up(vm);
        }
        let Some(pointer) = vm.and_then(|vm| self.core.vms.get(&vm).and_then(|vm| vm.seat.get_pointer()))
        else {
            return;
        };
        let mut frame = AxisFrame::new(self.core.clock.millis()).source(source);
        if distance == 0.0 {
            frame = frame.stop(axis);
        } else {
            frame = frame.value(axis, distance);
            if let Some(v120) = v120 {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "clamped to the range of i32 by `as`"
                )]
                let v120 = v120 as i32;
                frame = frame.v120(axis, v120);
            }
        }
        pointer.axis(self, frame);
        pointer.frame(self);
    }

    /// The corner or edge of a window nearest to the pointer, for resizing with the modifier.
    fn nearest_edges(&self, id: WindowId) -> Edges {
        let Some(content) = self.core.windows.layout.content(id) else {
            return Edges::BOTTOM | Edges::RIGHT;
        };
        let at = self.core.input.pointer - content.loc.to_f64();
        let size = content.size.to_f64();
        let horizontal = if at.x < size.w / 2.0 {
            Edges::LEFT
        } else {
            Edges::RIGHT
        };
        let vertical = if at.y < size.h / 2.0 {
            Edges::TOP
        } else {
            Edges::BOTTOM
        };
        horizontal | vertical
    }
}
