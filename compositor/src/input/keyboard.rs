// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keys: bindings first, then the VM that has the focus.

use heraldry_config::KeyChord;
use smithay::backend::input::{ButtonState, KeyState, Keycode};
use smithay::input::keyboard::{FilterResult, Keysym, ModifiersState, xkb};
use smithay::utils::SERIAL_COUNTER;

use super::KeyOwner;
use super::actions::Action;
use crate::init::client::Request;
use crate::state::State;

impl State {
    pub(super) fn key(&mut self, code: Keycode, state: KeyState) {
        let Some(own) = self.core.input.own.as_ref().and_then(|seat| seat.get_keyboard()) else {
            return;
        };
        let ((modifiers, symbol), _) = own.input_intercept(self, code, state, |_, modifiers, handle| {
            // Bindings are written for the unshifted Latin symbol, whatever the layout.
            (*modifiers, handle.raw_latin_sym_or_raw_current_sym())
        });
        match state {
            KeyState::Pressed => {
                let action = symbol.and_then(|symbol| self.binding(modifiers, symbol));
                if let Some(action) = action {
                    self.core.input.keys.insert(code.raw(), KeyOwner::Compositor);
                    self.act(action);
                    return;
                }
                let focused = self.core.input.focus.and_then(|id| self.core.windows.get(id));
                let Some(vm) = focused.map(|window| window.vm.clone()) else {
                    return;
                };
                self.core.input.keys.insert(code.raw(), KeyOwner::Vm(vm.clone()));
                self.forward_key(&vm, code, state);
            }
            KeyState::Released => {
                // The release goes to who saw the press, even if the focus has moved on.
                if let Some(KeyOwner::Vm(vm)) = self.core.input.keys.remove(&code.raw()) {
                    self.forward_key(&vm, code, state);
                }
                if !(modifiers.alt || modifiers.logo || modifiers.ctrl) {
                    self.end_switching();
                }
            }
        }
    }

    /// Lets go of all keys, buttons, fingers and pens: the device that pressed them is gone, or somebody else has it now.
    pub(crate) fn release_input(&mut self) {
        let keys: Vec<_> = self.core.input.keys.keys().copied().collect();
        for key in keys {
            self.key(Keycode::new(key), KeyState::Released);
        }
        self.cancel_touches();
        self.pen_away();
        self.core.input.holds.clear();
        let buttons: Vec<_> = self.core.input.buttons.keys().copied().collect();
        for button in buttons {
            self.input(super::Event::Button(button, ButtonState::Released));
        }
    }

    fn forward_key(&mut self, vm: &heraldry_identity::VmName, code: Keycode, state: KeyState) {
        let Some(keyboard) = self.core.vms.get(vm).and_then(|vm| vm.seat.get_keyboard()) else {
            return;
        };
        let time = self.core.clock.millis();
        keyboard.input::<(), _>(
            self,
            code,
            state,
            SERIAL_COUNTER.next_serial(),
            time,
            |_, _, _| FilterResult::Forward,
        );
    }

    fn binding(&self, modifiers: ModifiersState, symbol: Keysym) -> Option<Action> {
        if symbol == Keysym::XF86_PowerOff {
            return Some(Action::Machine(Request::PowerOff));
        }
        if let Some(number) = terminal(modifiers, symbol) {
            return Some(Action::Terminal(number));
        }
        let keys = &self.core.config.keys;
        [
            (&keys.close, Action::Close),
            (&keys.maximize, Action::ToggleMaximize),
            (&keys.minimize, Action::Minimize),
            (&keys.fullscreen, Action::ToggleFullscreen),
            (&keys.next_window, Action::Switch { backward: false }),
            (&keys.previous_window, Action::Switch { backward: true }),
            (&keys.hide_vm, Action::HideVm),
            (&keys.show_vm, Action::ShowVm),
            (&keys.quit, Action::Quit),
            (&keys.reboot, Action::Machine(Request::Reboot)),
            (&keys.power_off, Action::Machine(Request::PowerOff)),
        ]
        .into_iter()
        .find(|(chord, _)| matches(chord, modifiers, symbol))
        .map(|(_, action)| action)
    }

    /// Whether the modifier for moving and resizing with the pointer is held.
    pub(super) fn move_modifier_held(&self) -> bool {
        let Some(own) = self.core.input.own.as_ref().and_then(|seat| seat.get_keyboard()) else {
            return false;
        };
        let held = own.modifier_state();
        let wanted = self.core.config.keys.move_modifier;
        !wanted.is_empty()
            && wanted.ctrl == held.ctrl
            && wanted.alt == held.alt
            && wanted.shift == held.shift
            && wanted.logo == held.logo
    }
}

/// The virtual terminal that Ctrl+Alt+F1 to F12 stand for.
fn terminal(modifiers: ModifiersState, symbol: Keysym) -> Option<i32> {
    if !(modifiers.ctrl && modifiers.alt) {
        return None;
    }
    let number = symbol.raw().checked_sub(Keysym::F1.raw())?;
    (number < 12)
        .then(|| i32::try_from(number).ok())
        .flatten()
        .map(|number| number + 1)
}

fn matches(chord: &KeyChord, held: ModifiersState, symbol: Keysym) -> bool {
    let wanted = chord.modifiers;
    if (wanted.ctrl, wanted.alt, wanted.shift, wanted.logo) != (held.ctrl, held.alt, held.shift, held.logo) {
        return false;
    }
    let named = xkb::keysym_from_name(&chord.key, xkb::KEYSYM_CASE_INSENSITIVE);
    // Shift+Tab arrives as ISO_Left_Tab on most layouts.
    named == symbol || (named == Keysym::Tab && symbol == Keysym::ISO_Left_Tab)
}
