// SPDX-License-Identifier: MIT OR Apache-2.0
//! VMs that are not served: their connections stay and are not read, their windows stay and say so.
//!
//! Under a supervisor that holds until the user resumes them, whatever becomes of the compositor meanwhile: a VM that can crash it
//! must not be free afterwards.

use std::time::Duration;

use heraldry_config::OnViolation;
use heraldry_identity::VmName;
use tracing::{info, warn};

use super::vm::Service;
use crate::init::record::Pause;
use crate::state::{Core, State};

pub use crate::init::record::PauseReason;

fn notice(vm: &VmName, reason: PauseReason) -> Option<String> {
    // The user knows what the user did.
    (reason != PauseReason::User).then(|| format!("VM {vm} is PAUSED: {}", reason.as_str()))
}

impl Core {
    /// Takes all windows of a VM out of sight, or shows them again where they were.
    fn set_hidden(&mut self, vm: &VmName, hidden: bool) {
        let of_it = self.windows.iter().filter(|window| window.vm == *vm);
        let ids: Vec<_> = of_it.map(|window| window.id).collect();
        for id in ids {
            self.windows.layout.set_hidden(id, hidden);
        }
        self.input.refresh_pointer = true;
        self.render.schedule();
    }
}

impl State {
    /// Stops serving a VM; with `hide` its windows are hidden too. False if it is not known.
    pub fn pause(&mut self, name: &VmName, reason: PauseReason, hide: bool) -> bool {
        // It may not have come yet.
        self.core.ensure_vm(name);
        let Some(vm) = self.core.vms.get_mut(name) else {
            return false;
        };
        let (before, was_hidden) = (vm.paused(), vm.is_hidden());
        let hide = hide && !was_hidden;
        let by_user = reason == PauseReason::User;
        let reason = before.unwrap_or(reason);
        if hide || before.is_none() {
            let hidden = hide || was_hidden;
            vm.service = Service::Paused { reason, hidden };
            self.core.books.paused(&Pause {
                vm: name.clone(),
                reason,
                hidden,
            });
        }
        if before.is_none() {
            warn!(vm = %name, reason = reason.as_str(), "VM paused");
            if let Some(relay) = self.core.transports.relay(name) {
                relay.pause(true);
            }
            if let Some(text) = notice(name, reason) {
                self.core.render.show_notice(&text);
            }
        }
        if hide {
            self.core.set_hidden(name, true);
            self.take_from_hand(name);
            let focus = self.core.input.focus();
            if let Some(id) = focus.filter(|id| self.core.windows.layout.is_hidden(*id)) {
                self.focus_next_of(name, id);
            }
            // What comes back first is what the user hid last, and not who broke a rule since.
            let at = if by_user { self.core.input.hidden.len() } else { 0 };
            self.core.input.hidden.insert(at, name.clone());
        }
        self.core.render.schedule();
        true
    }

    /// Pauses what was paused when the last compositor ended.
    pub fn restore_pauses(&mut self) {
        let books = self.core.books.clone();
        for pause in books
            .record()
            .map(crate::init::record::Record::pauses)
            .unwrap_or_default()
        {
            self.pause_once_known(pause);
        }
    }

    /// Pauses a VM, or if the configuration does not know it, as soon as one does.
    pub fn pause_once_known(&mut self, pause: Pause) {
        if !self.pause(&pause.vm, pause.reason, pause.hidden) {
            warn!(vm = %pause.vm, "a VM that is to be paused is not in the configuration; it will be when it is");
            self.core.books.paused(&pause);
            self.core.unknown_pauses.push(pause);
        }
    }

    /// The configuration may know VMs that it did not know before.
    pub(crate) fn pause_known(&mut self) {
        for pause in std::mem::take(&mut self.core.unknown_pauses) {
            self.pause_once_known(pause);
        }
    }

    /// Serves a VM again. False if it is not known.
    pub fn resume(&mut self, name: &VmName) -> bool {
        let Some(vm) = self.core.vms.get_mut(name) else {
            return false;
        };
        let Some(reason) = vm.paused() else {
            return true;
        };
        vm.service = Service::Serving;
        self.core.set_hidden(name, false);
        self.core.books.resumed(name);
        self.core.input.hidden.retain(|hidden| hidden != name);
        info!(vm = %name, "VM resumed");
        if let Some(relay) = self.core.transports.relay(name) {
            relay.pause(false);
        }
        if let Some(text) = notice(name, reason) {
            self.core.render.hide_notice(&text);
        }
        // Windows that came meanwhile appear.
        self.map_later(Duration::ZERO);
        self.core.input.refresh_pointer = true;
        self.core.render.schedule();
        true
    }

    /// The user wants a VM out of the way: the one under the pointer, or else the one that has the keyboard.
    pub(crate) fn hide_vm(&mut self) {
        let pointed = self.core.meant_at(self.core.input.pointer);
        let pointed = pointed.filter(|_| self.core.input.pointer_seen);
        let focused = self.core.input.focus().and_then(|id| self.core.windows.get(id));
        let Some(name) = pointed.or_else(|| focused.map(|window| window.vm.clone())) else {
            return;
        };
        if self.pause(&name, PauseReason::User, true) {
            let text = format!(
                "{} is paused and hidden; {} brings it back",
                self.core.display_name(&name),
                self.core.config.keys.show_vm
            );
            self.core.announce_always(&name, text);
        }
    }

    /// The user wants the VM back that was hidden last.
    pub(crate) fn show_vm(&mut self) {
        if let Some(name) = self.core.input.hidden.pop() {
            self.resume(&name);
        }
    }

    /// A client of the VM broke a rule.
    pub(super) fn violated(&mut self, name: &VmName) {
        let rule = self
            .core
            .settings(name)
            .map(|settings| settings.rules.on_violation);
        match rule {
            None | Some(OnViolation::EndClient) => {}
            Some(OnViolation::PauseVm) => drop(self.pause(name, PauseReason::Violation, false)),
            Some(OnViolation::HideVm) => drop(self.pause(name, PauseReason::Violation, true)),
        }
    }
}
