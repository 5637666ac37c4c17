// SPDX-License-Identifier: MIT OR Apache-2.0
//! The merged settings of one VM, each with its origin, as `heraldry effective` prints them.

use std::fmt;

use crate::checked::Config;
use crate::name::VmName;
use crate::origin::Origin;

/// One setting of one VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The setting's path, for example `title.max`.
    pub setting: &'static str,
    /// Its value, written as in the file.
    pub value: String,
    /// What set it.
    pub origin: Origin,
}

impl fmt::Display for EffectiveSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:28} {:24} {}", self.setting, self.value, self.origin)
    }
}

/// The merged settings of the VM `name`, in the order of the documents; `None` if such a VM is refused.
#[must_use]
pub fn effective(config: &Config, name: &VmName) -> Option<Vec<EffectiveSetting>> {
    let verdict = config.vm(name);
    let vm = verdict.config()?;
    let setting = |setting: &'static str, value: String| EffectiveSetting {
        setting,
        value,
        origin: vm.origins.of(setting),
    };
    Some(vec![
        setting("display-name", vm.display_name.clone()),
        setting("color", vm.arms.color.to_string()),
    ])
}
