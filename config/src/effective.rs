// SPDX-License-Identifier: MIT OR Apache-2.0
//! The merged settings of one VM, each with its origin, as `heraldry effective` prints them.

use std::fmt;

use heraldry_identity::VmName;

use crate::origin::Origin;
use crate::settings::{Config, Owner, Rules};

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

fn text(text: &str) -> String {
    format!("{text:?}")
}

/// The rules of a VM but for its limits, each by its path and as a file writes it.
pub(crate) fn rule_rows(rules: &Rules) -> Vec<(&'static str, String)> {
    vec![
        ("title", text(rules.title.level.as_str())),
        ("title.max", rules.title.max.to_string()),
        ("fullscreen", text(rules.fullscreen.as_str())),
        ("cursor", text(rules.cursor.as_str())),
        ("unsealed-memory", text(rules.unsealed_memory.as_str())),
        (
            "focus.click-guard-ms",
            rules.focus.click_guard.as_millis().to_string(),
        ),
        ("focus.on-map", format!("#{}", rules.focus.on_map)),
        ("globals", text(&rules.globals.name)),
        ("on-violation", text(rules.on_violation.as_str())),
    ]
}

/// The merged settings of the VM `name`, in the order of the documents; `None` if such a VM is refused.
#[must_use]
pub fn effective(config: &Config, name: &VmName) -> Option<Vec<EffectiveSetting>> {
    let verdict = config.vm(name);
    let vm = verdict.config()?;
    let rules = &vm.rules;
    let owner = match &vm.owner {
        None => "(the user of heraldry-host)".to_owned(),
        Some(Owner::Uid(uid)) => uid.to_string(),
        Some(Owner::Name(name)) => text(name),
    };
    let all = [
        ("display-name", text(&vm.display_name)),
        ("color", text(&vm.arms.color.to_string())),
        ("pattern", text(vm.arms.pattern.as_str())),
        ("glyph", text(&vm.arms.glyph.to_string())),
        ("owner", owner),
        ("keyboard.layout", text(&vm.keyboard.layout)),
        ("keyboard.variant", text(&vm.keyboard.variant)),
        ("keyboard.options", text(&vm.keyboard.options)),
        ("keyboard.repeat-rate", vm.keyboard.repeat_rate.to_string()),
        ("keyboard.repeat-delay", vm.keyboard.repeat_delay.to_string()),
    ];
    let rows = rule_rows(rules);
    let limits = crate::limits::Limits::ALL
        .iter()
        .zip(rules.limits.values())
        .map(|(info, value)| (info.path, value.to_string()));
    let setting = |(setting, value)| EffectiveSetting {
        setting,
        value,
        origin: vm.origins.of(setting),
    };
    Some(all.into_iter().chain(rows).chain(limits).map(setting).collect())
}
