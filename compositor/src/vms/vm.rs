// SPDX-License-Identifier: MIT OR Apache-2.0
//! One record for each VM: its settings, its seat, whether it is served.
//!
//! A VM's seat is visible to that VM alone, so clipboard, primary selection, drag and drop, held keys and modifiers
//! are separate by construction. Records are kept for the life of the process and found by the VM's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use heraldry_config::builtin::{self, UNKNOWN_ARMS, UNKNOWN_NAME};
use heraldry_config::{Fullscreen, Keyboard, Limits, VmConfig};
use heraldry_decorations::TitleRule;
use heraldry_identity::{Arms, TitleLevel, VmName};
use heraldry_rate::LogBudget;
use heraldry_relay::ClientKey;
use smithay::desktop::PopupGrab;
use smithay::input::Seat;
use smithay::input::keyboard::XkbConfig;
use smithay::input::pointer::CursorImageStatus;
use tracing::warn;
use wayland_server::Resource;
use wayland_server::backend::GlobalId;
use wayland_server::protocol::wl_surface::WlSurface;

use super::budget::Load;
use super::clients::ClientState;
use super::globals::adopt;
use super::pause::PauseReason;
use crate::state::{Core, State};

/// Whether a VM is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// It is.
    Serving,
    /// Its connections stay and are not read, its windows stay and say so.
    Paused {
        /// Why.
        reason: PauseReason,
        /// Its windows are out of sight until it is served again.
        hidden: bool,
    },
}

/// One VM.
#[derive(Debug)]
pub struct Vm {
    /// Its name: the identity.
    pub name: VmName,
    /// Its settings in force. One that a reload no longer admits has those of an unknown VM while its clients end.
    pub config: Arc<VmConfig>,
    /// The configuration in force admits its clients.
    pub(super) admitted: bool,
    /// Whether it is served.
    pub service: Service,
    /// Its input seat.
    pub seat: Seat<State>,
    /// A popup of this VM that took the input.
    pub popup_grab: Option<PopupGrab<State>>,
    /// The pointer image it asked for.
    pub cursor: CursorImageStatus,
    /// The picture of a running drag.
    pub drag_icon: Option<WlSurface>,
    /// Set when a drag began without a held button; the tick ends it.
    pub unfounded_drag: bool,
    /// Connections that it has ever had.
    pub connections: u64,
    /// Log lines that its connections cause.
    pub log: LogBudget,
    /// How hard it presses, and what is done about it.
    pub load: Load,
    _seat_global: Option<GlobalId>,
}

impl Vm {
    /// What it may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.config.rules.limits
    }

    /// Why it is not served.
    #[must_use]
    pub fn paused(&self) -> Option<PauseReason> {
        match self.service {
            Service::Serving => None,
            Service::Paused { reason, .. } => Some(reason),
        }
    }

    /// Its windows are out of sight until it is served again.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        matches!(self.service, Service::Paused { hidden: true, .. })
    }
}

/// All VMs that have connected, or were paused, so far.
#[derive(Debug, Default)]
pub struct Vms(BTreeMap<VmName, Vm>);

impl Vms {
    /// A VM by name.
    #[must_use]
    pub fn get(&self, name: &VmName) -> Option<&Vm> {
        self.0.get(name)
    }

    /// A VM by name, to change.
    pub fn get_mut(&mut self, name: &VmName) -> Option<&mut Vm> {
        self.0.get_mut(name)
    }

    /// All VMs.
    pub fn iter(&self) -> impl Iterator<Item = &Vm> {
        self.0.values()
    }

    /// All VMs, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Vm> {
        self.0.values_mut()
    }

    /// The VM that a seat belongs to.
    pub fn by_seat(&mut self, seat: &Seat<State>) -> Option<&mut Vm> {
        self.0.values_mut().find(|vm| vm.seat == *seat)
    }
}

impl Core {
    /// Makes sure that a VM has its record. False if the configuration refuses it.
    pub(super) fn ensure_vm(&mut self, name: &VmName) -> bool {
        if let Some(vm) = self.vms.get(name) {
            return vm.admitted;
        }
        let verdict = self.config.vm(name);
        let Some(settings) = verdict.config().cloned() else {
            return false;
        };
        // Every VM's seat has the same name: "seat0" tells nothing about how many there are.
        let mut seat = self.seats.new_wl_seat(&self.display_handle, "seat0");
        if !add_keyboard(&mut seat, &settings.keyboard) {
            warn!(vm = %name, "no keyboard: the xkb data cannot be read");
        }
        seat.add_pointer();
        if self.input.touches.offered() {
            seat.add_touch();
        }
        self.give_tablet(&seat);
        let global = seat
            .global()
            .and_then(|id| adopt(&self.display_handle, id, Some(name.clone())));
        let vm = Vm {
            name: name.clone(),
            admitted: true,
            service: Service::Serving,
            seat,
            popup_grab: None,
            cursor: CursorImageStatus::default_named(),
            drag_icon: None,
            unfounded_drag: false,
            connections: 0,
            log: LogBudget::per_second(u32::try_from(settings.rules.limits.log_lines).unwrap_or(u32::MAX)),
            load: Load::default(),
            config: Arc::new(settings),
            _seat_global: global,
        };
        self.vms.0.insert(name.clone(), vm);
        self.publish_outputs();
        true
    }

    /// After a reload: every record gets the settings that are in force now. A VM that is refused now loses its clients;
    /// while they end, their windows have the arms of an unknown VM, because another VM may have its arms by now.
    pub(crate) fn reconfigure_vms(&mut self) {
        let config = Arc::clone(&self.config);
        let mut refused = Vec::new();
        for vm in self.vms.iter_mut() {
            let verdict = config.vm(&vm.name);
            vm.admitted = verdict.config().is_some();
            let settings = verdict
                .config()
                .cloned()
                .unwrap_or_else(|| builtin::unknown_vm(&vm.name, &config.keyboard));
            let before = std::mem::replace(&mut vm.config, Arc::new(settings));
            if before.rules.limits != vm.config.rules.limits {
                self.transports.set_limits(&vm.name, vm.limits());
            }
            if !vm.admitted {
                refused.push(vm.name.clone());
            }
        }
        refused.iter().for_each(|vm| self.disconnect(vm));
    }

    /// The settings in force for a VM that has a record.
    #[must_use]
    pub fn settings(&self, vm: &VmName) -> Option<&VmConfig> {
        self.vms.get(vm).map(|vm| &*vm.config)
    }

    /// Whether a client of this VM may fill the screen (with its frame).
    #[must_use]
    pub fn fullscreen_allowed(&self, vm: &VmName) -> bool {
        self.settings(vm)
            .is_some_and(|settings| settings.rules.fullscreen == Fullscreen::Framed)
    }

    /// What of the titles of a VM's windows may be shown.
    #[must_use]
    pub fn title_rule(&self, vm: &VmName) -> TitleRule {
        self.settings(vm).map_or(
            TitleRule {
                level: TitleLevel::Ascii,
                max: 0,
            },
            |settings| TitleRule {
                level: settings.rules.title.level,
                max: settings.rules.title.max,
            },
        )
    }

    /// The arms to show for a VM. A VM that is not known gets the marks of the unknown, never none.
    #[must_use]
    pub fn arms(&self, vm: &VmName) -> Arms {
        self.settings(vm).map_or(UNKNOWN_ARMS, |vm| vm.arms)
    }

    /// The name that people read on the frames of a VM.
    #[must_use]
    pub fn display_name(&self, vm: &VmName) -> Arc<str> {
        self.settings(vm).map_or_else(
            || format!("{UNKNOWN_NAME} {vm}").into(),
            |vm| Arc::clone(&vm.display_name),
        )
    }

    /// The identity behind a surface; `None` for a client that is gone.
    #[must_use]
    pub fn identity(&self, surface: &WlSurface) -> Option<(VmName, ClientKey)> {
        let client = surface.client()?;
        let data = client.get_data::<ClientState>()?;
        Some((data.vm.clone(), data.key))
    }
}

/// Gives a seat the configured keyboard, or one with the layout "us". False if the xkb data cannot be read at all.
pub(crate) fn add_keyboard(seat: &mut Seat<State>, keyboard: &Keyboard) -> bool {
    let xkb = XkbConfig {
        layout: &keyboard.layout,
        variant: &keyboard.variant,
        options: (!keyboard.options.is_empty()).then(|| keyboard.options.clone()),
        ..XkbConfig::default()
    };
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let (delay, rate) = (number(keyboard.repeat_delay), number(keyboard.repeat_rate));
    if seat.add_keyboard(xkb, delay, rate).is_ok() {
        return true;
    }
    warn!(layout = %keyboard.layout, "no such keyboard layout, using us");
    seat.add_keyboard(XkbConfig::default(), delay, rate).is_ok()
}
