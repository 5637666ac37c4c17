// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which configuration a VM gets, by the name that the host gave it.

use heraldry_identity::VmName;

use crate::builtin;
use crate::origin::Origin;
use crate::settings::{Config, UnknownVm, VmConfig};

/// What becomes of a connection of a VM.
#[derive(Debug, Clone)]
pub enum VmVerdict<'a> {
    /// The file names the VM.
    Known(&'a VmConfig),
    /// The file does not name it and `unknown-vm` is `quarantine`: the arms of an unknown VM, the strictest rules.
    Quarantine {
        /// The settings it gets.
        vm: Box<VmConfig>,
        /// The line that says so.
        origin: Origin,
    },
    /// The file does not name it and `unknown-vm` is `refuse`.
    Refuse {
        /// The line that says so.
        origin: Origin,
    },
}

impl VmVerdict<'_> {
    /// The VM's settings, unless it is refused.
    #[must_use]
    pub fn config(&self) -> Option<&VmConfig> {
        match self {
            Self::Known(vm) => Some(vm),
            Self::Quarantine { vm, .. } => Some(vm),
            Self::Refuse { .. } => None,
        }
    }

    /// The rule that decided.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Known(vm) => vm.origin.clone(),
            Self::Quarantine { origin, .. } | Self::Refuse { origin } => origin.clone(),
        }
    }
}

impl Config {
    /// What becomes of a connection of the VM `name`.
    #[must_use]
    pub fn vm(&self, name: &VmName) -> VmVerdict<'_> {
        if let Some(vm) = self.vms.get(name) {
            return VmVerdict::Known(vm);
        }
        let origin = self.defaults.origins.of("unknown-vm");
        match self.defaults.unknown_vm {
            UnknownVm::Refuse => VmVerdict::Refuse { origin },
            UnknownVm::Quarantine => {
                let mut vm = Box::new(builtin::unknown_vm(name, &self.keyboard));
                vm.origins.extend(&self.origins);
                self.bound.apply(&mut vm.rules.limits, &mut vm.origins);
                VmVerdict::Quarantine { vm, origin }
            }
        }
    }
}
