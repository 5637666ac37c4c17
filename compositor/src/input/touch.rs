// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fingers. What holds for a click holds for them: frames first, the click guard, the keyboard follows the tap.
//!
//! A finger on the content of a client that takes touches is that client's until it is lifted, wherever it goes. On a
//! frame, and over a client that knows only pointers, the first finger is the pointer with its left button held. Fingers
//! that come down beside one that is down are for the same VM or for nobody: a VM never learns of fingers elsewhere, nor
//! from gaps in their numbers, which are each VM's own.

use std::collections::{BTreeMap, BTreeSet};

use heraldry_identity::VmName;
use heraldry_relay::ClientKey;
use smithay::backend::input::{ButtonState, TouchSlot};
use smithay::input::touch::{DownEvent, MotionEvent, TouchHandle, UpEvent};
use smithay::utils::{Logical, Point, SERIAL_COUNTER};
use wayland_server::protocol::wl_surface::WlSurface;

use super::hit::Hit;
use super::pointer::BTN_LEFT;
use crate::desktop::layout::WindowId;
use crate::state::{Core, State};
use crate::vms::Vm;

/// What fingers do. Each has a number while it is down, the backend's own, which no other finger of any device has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Touch {
    /// A finger comes down, logical pixels of the desktop.
    Down(u32, Point<f64, Logical>),
    /// It moves.
    Motion(u32, Point<f64, Logical>),
    /// It is lifted.
    Up(u32),
    /// What went before belongs together.
    Frame,
    /// All of it was a mistake: a palm, or a gesture of the device.
    Cancel,
}

/// Whose a finger is.
#[derive(Debug, Clone, PartialEq)]
enum Owner {
    /// A client of this VM, which knows it by this number.
    Client {
        vm: VmName,
        surface: WlSurface,
        slot: u32,
        /// The client was not told where it is.
        behind: bool,
    },
    /// It is the pointer, and holds the left button.
    Pointer,
    Nobody,
}

#[derive(Debug)]
struct Finger {
    at: Point<f64, Logical>,
    owner: Owner,
}

/// The fingers that are down.
#[derive(Debug, Default)]
pub(crate) struct Touches {
    fingers: BTreeMap<u32, Finger>,
    /// VMs that were told something since the last frame.
    unframed: BTreeSet<VmName>,
    /// Whether there is anything to touch: seats have the capability.
    offered: bool,
}

impl Touches {
    /// Whether seats have the capability.
    pub(crate) fn offered(&self) -> bool {
        self.offered
    }

    /// The VM that has a finger.
    fn holder(&self) -> Option<&VmName> {
        self.fingers.values().find_map(|finger| match &finger.owner {
            Owner::Client { vm, .. } => Some(vm),
            Owner::Pointer | Owner::Nobody => None,
        })
    }

    /// Whether a finger is down on a client of this VM.
    pub(crate) fn is_on(&self, vm: &VmName) -> bool {
        self.holder() == Some(vm)
    }

    /// Where the finger is that a VM's drag, or another grab of its touches, began with.
    pub(crate) fn dragging(&self, vm: &Vm) -> Option<Point<f64, Logical>> {
        let began = vm.seat.get_touch()?.grab_start_data()?.slot;
        let its = |finger: &&Finger| matches!(&finger.owner, Owner::Client { vm: of, slot, .. } if *of == vm.name && TouchSlot::from(Some(*slot)) == began);
        self.fingers.values().find(its).map(|finger| finger.at)
    }

    /// The lowest number that no finger on this VM has.
    fn free_slot(&self, vm: &VmName) -> u32 {
        let used: BTreeSet<u32> = self
            .fingers
            .values()
            .filter_map(|finger| match &finger.owner {
                Owner::Client { vm: of, slot, .. } if of == vm => Some(*slot),
                _ => None,
            })
            .collect();
        (0..).find(|slot| !used.contains(slot)).unwrap_or(0)
    }
}

impl Core {
    /// There is something to touch now, or no more.
    pub fn offer_touch(&mut self, offered: bool) {
        if std::mem::replace(&mut self.input.touches.offered, offered) == offered {
            return;
        }
        for vm in self.vms.iter_mut() {
            if offered {
                vm.seat.add_touch();
            } else {
                vm.seat.remove_touch();
            }
        }
        if !offered {
            // What clients have of it leads nowhere; they ask again when there is a device again.
            for (_, client) in self.clients.iter_mut() {
                client.takes_touch = false;
            }
        }
    }

    fn takes_touch(&self, surface: &WlSurface) -> bool {
        self.identity(surface)
            .and_then(|(_, client)| self.clients.get(client))
            .is_some_and(|client| client.takes_touch)
    }

    /// Whether a finger is on a surface of this client that was not told where it is.
    pub(super) fn has_finger_behind(&self, client: ClientKey) -> bool {
        self.input.touches.fingers.values().any(|finger| {
            matches!(&finger.owner, Owner::Client { surface, behind: true, .. }
                if self.identity(surface).is_some_and(|(_, key)| key == client))
        })
    }
}

impl State {
    pub(super) fn touch(&mut self, touch: Touch) {
        match touch {
            Touch::Down(finger, at) => {
                // A finger that is down already was lifted unseen.
                self.finger_up(finger);
                self.finger_down(finger, at);
            }
            Touch::Motion(finger, at) => self.finger_moves(finger, at),
            Touch::Up(finger) => self.finger_up(finger),
            Touch::Frame => self.touch_frame(),
            Touch::Cancel => self.cancel_touches(),
        }
    }

    fn finger_down(&mut self, finger: u32, at: Point<f64, Logical>) {
        let at = self.core.outputs.nearest(at);
        self.core.render.schedule();
        let hit = self.core.hit(at);
        let owner = if self.core.input.touches.fingers.is_empty() && self.core.input.buttons.is_empty() {
            self.first_finger(at, hit)
        } else {
            self.further_finger(at, hit)
        };
        if let Owner::Client {
            vm, surface, slot, ..
        } = &owner
        {
            let origin = self.origin_of(surface, at);
            let event = DownEvent {
                slot: TouchSlot::from(Some(*slot)),
                location: at,
                serial: SERIAL_COUNTER.next_serial(),
                time: self.core.clock.millis(),
            };
            let focus = origin.map(|origin| (surface.clone(), origin));
            if let Some(handle) = self.touch_of(vm) {
                handle.down(self, focus, &event);
            }
            self.core.input.touches.unframed.insert(vm.clone());
        }
        self.core
            .input
            .touches
            .fingers
            .insert(finger, Finger { at, owner });
    }

    /// Whose a finger is that comes down alone. Does what a press there does besides.
    fn first_finger(&mut self, at: Point<f64, Logical>, hit: Hit) -> Owner {
        if self.unseen(&hit, at) {
            return Owner::Nobody;
        }
        match hit {
            Hit::Content {
                window,
                vm,
                surface: Some((surface, _)),
            } if self.core.takes_touch(&surface) && !self.move_modifier_held() => {
                self.approach(window, Some(&surface));
                self.apply_focus();
                let slot = self.core.input.touches.free_slot(&vm);
                Owner::Client {
                    vm,
                    surface,
                    slot,
                    behind: false,
                }
            }
            _ => {
                self.motion(at);
                self.button(BTN_LEFT, ButtonState::Pressed);
                Owner::Pointer
            }
        }
    }

    /// Whose a finger is that comes down beside others, or while a button is held.
    fn further_finger(&self, at: Point<f64, Logical>, hit: Hit) -> Owner {
        if self.unseen(&hit, at) {
            return Owner::Nobody;
        }
        let holder = self.core.input.touches.holder();
        match hit {
            Hit::Content {
                vm,
                surface: Some((surface, _)),
                ..
            } if holder == Some(&vm) && self.core.takes_touch(&surface) => Owner::Client {
                slot: self.core.input.touches.free_slot(&vm),
                vm,
                surface,
                behind: false,
            },
            _ => Owner::Nobody,
        }
    }

    fn finger_moves(&mut self, number: u32, at: Point<f64, Logical>) {
        let at = self.core.outputs.nearest(at);
        let Some(finger) = self.core.input.touches.fingers.get_mut(&number) else {
            return;
        };
        finger.at = at;
        match finger.owner.clone() {
            Owner::Nobody => {}
            Owner::Pointer => self.motion(at),
            Owner::Client { surface, .. } => {
                let told = self.core.may_tell(&surface);
                if let Some(Finger {
                    owner: Owner::Client { behind, .. },
                    ..
                }) = self.core.input.touches.fingers.get_mut(&number)
                {
                    *behind = !told;
                }
                if told {
                    self.tell_finger(number);
                }
                // A drag's icon goes with it.
                self.core.render.schedule();
            }
        }
    }

    /// Sends a finger's place to its client.
    fn tell_finger(&mut self, number: u32) {
        let Some(Finger {
            at,
            owner: Owner::Client { vm, slot, .. },
        }) = self.core.input.touches.fingers.get(&number)
        else {
            return;
        };
        let (at, vm, slot) = (*at, vm.clone(), *slot);
        let Some(handle) = self.touch_of(&vm) else {
            return;
        };
        // The client of a finger does not change; a drag goes to whoever of the same VM is below.
        let below = match self.core.hit(at) {
            Hit::Content { vm: of, surface, .. } if of == vm => surface,
            _ => None,
        };
        let event = MotionEvent {
            slot: TouchSlot::from(Some(slot)),
            location: at,
            time: self.core.clock.millis(),
        };
        handle.motion(self, below, &event);
        self.core.input.touches.unframed.insert(vm);
    }

    /// Sends the places that clients were not told, while they did not answer.
    pub(super) fn tell_fingers(&mut self) {
        let mut late = Vec::new();
        for (number, finger) in &mut self.core.input.touches.fingers {
            if let Owner::Client { behind, .. } = &mut finger.owner
                && std::mem::take(behind)
            {
                late.push(*number);
            }
        }
        for number in late {
            self.tell_finger(number);
        }
        self.touch_frame();
    }

    fn finger_up(&mut self, number: u32) {
        let Some(finger) = self.core.input.touches.fingers.get(&number) else {
            return;
        };
        match finger.owner.clone() {
            Owner::Nobody => {}
            Owner::Pointer => self.button(BTN_LEFT, ButtonState::Released),
            Owner::Client { vm, slot, behind, .. } => {
                if behind {
                    self.tell_finger(number);
                }
                let event = UpEvent {
                    slot: TouchSlot::from(Some(slot)),
                    serial: SERIAL_COUNTER.next_serial(),
                    time: self.core.clock.millis(),
                };
                if let Some(handle) = self.touch_of(&vm) {
                    handle.up(self, &event);
                }
                self.core.input.touches.unframed.insert(vm);
            }
        }
        self.core.input.touches.fingers.remove(&number);
        self.core.render.schedule();
    }

    fn touch_frame(&mut self) {
        for vm in std::mem::take(&mut self.core.input.touches.unframed) {
            if let Some(handle) = self.touch_of(&vm) {
                handle.frame(self);
            }
        }
    }

    /// Takes all fingers from whoever has them; what they did does not count.
    pub(super) fn cancel_touches(&mut self) {
        let holder = self.core.input.touches.holder().cloned();
        if let Some(vm) = holder {
            self.take_fingers(&vm);
        }
        let fingers = std::mem::take(&mut self.core.input.touches.fingers);
        if fingers.values().any(|finger| finger.owner == Owner::Pointer) {
            self.button(BTN_LEFT, ButtonState::Released);
        }
    }

    /// Takes the fingers from a VM's client.
    pub(super) fn take_fingers(&mut self, vm: &VmName) {
        let on_it = |finger: &Finger| matches!(&finger.owner, Owner::Client { vm: of, .. } if of == vm);
        let numbers: Vec<u32> = self
            .core
            .input
            .touches
            .fingers
            .iter()
            .filter(|(_, finger)| on_it(finger))
            .map(|(number, _)| *number)
            .collect();
        for number in &numbers {
            // Smithay cancels only what something was said of since the last frame.
            self.tell_finger(*number);
        }
        self.core.input.touches.unframed.remove(vm);
        if let Some(handle) = self.touch_of(vm) {
            handle.cancel(self);
        }
        for number in numbers {
            if let Some(finger) = self.core.input.touches.fingers.get_mut(&number) {
                finger.owner = Owner::Nobody;
            }
        }
    }

    /// A client wants its window to follow the finger that is on it: the finger becomes the pointer. Whether it has.
    pub(super) fn finger_takes_over(&mut self, id: WindowId) -> bool {
        let Some(vm) = self.core.windows.get(id).map(|window| window.vm.clone()) else {
            return false;
        };
        if !self.core.input.buttons.is_empty() || !self.core.input.touches.is_on(&vm) {
            return false;
        }
        let on_it = |finger: &Finger| matches!(&finger.owner, Owner::Client { vm: of, .. } if *of == vm);
        let first = self.core.input.touches.fingers.iter();
        let Some((number, at)) = first
            .filter(|(_, finger)| on_it(finger))
            .map(|(number, finger)| (*number, finger.at))
            .next()
        else {
            return false;
        };
        self.take_fingers(&vm);
        if let Some(finger) = self.core.input.touches.fingers.get_mut(&number) {
            finger.owner = Owner::Pointer;
        }
        self.core.input.pointer = at;
        self.core.input.hold(BTN_LEFT);
        true
    }

    fn touch_of(&self, vm: &VmName) -> Option<TouchHandle<Self>> {
        self.core.vms.get(vm).and_then(|vm| vm.seat.get_touch())
    }

    /// Where a surface's origin is, as it lies under a point.
    fn origin_of(&self, surface: &WlSurface, at: Point<f64, Logical>) -> Option<Point<f64, Logical>> {
        match self.core.hit(at) {
            Hit::Content {
                surface: Some((under, origin)),
                ..
            } if under == *surface => Some(origin),
            _ => None,
        }
    }
}
