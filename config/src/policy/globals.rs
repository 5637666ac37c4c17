// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which globals a VM's registry shows, and up to which version. Everything that no line allows is denied.

use std::collections::BTreeMap;

use crate::origin::Origin;

/// The interfaces that a file may allow, with the highest version that this version of Heraldry vouches for.
///
/// An interface that is not in this table cannot be allowed: it has to be judged first.
/// An addition is a decision: what can a hostile VM do with it?
pub const KNOWN: &[(&str, u32)] = &[
    ("org_kde_kwin_server_decoration_manager", 1),
    ("wl_compositor", 6),
    ("wl_data_device_manager", 3),
    ("wl_output", 4),
    ("wl_seat", 9),
    ("wl_shm", 2),
    ("wl_subcompositor", 1),
    ("wp_cursor_shape_manager_v1", 1),
    ("wp_fractional_scale_manager_v1", 1),
    ("wp_presentation", 2),
    ("wp_single_pixel_buffer_manager_v1", 1),
    ("wp_viewporter", 1),
    ("xdg_wm_base", 6),
    ("zwp_primary_selection_device_manager_v1", 1),
    ("zwp_tablet_manager_v2", 1),
    ("zxdg_decoration_manager_v1", 1),
    ("zxdg_output_manager_v1", 3),
];

/// The set that every VM has which names no other.
pub const BASE: &str = "base";

/// A named set of allowed globals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlobalSet {
    /// Its name in the file.
    pub name: String,
    /// Each allowed interface with its highest version and the line that allows it.
    pub allowed: BTreeMap<String, Allowed>,
    /// The node that defines the set.
    pub origin: Origin,
}

/// One allowed interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The highest version that is shown.
    pub max_version: u32,
    /// The line that allows it.
    pub origin: Origin,
}

impl GlobalSet {
    /// The set `base`: what an ordinary program needs, and nothing that reaches beyond its own windows.
    #[must_use]
    pub fn base() -> Self {
        let allow = |&(name, max_version): &(&str, u32)| {
            (
                name.to_owned(),
                Allowed {
                    max_version,
                    origin: Origin::BuiltIn,
                },
            )
        };
        Self {
            name: BASE.to_owned(),
            allowed: KNOWN.iter().map(allow).collect(),
            origin: Origin::BuiltIn,
        }
    }
}

/// The highest version of `interface` that any file may allow.
#[must_use]
pub fn known(interface: &str) -> Option<u32> {
    KNOWN
        .iter()
        .find(|(name, _)| *name == interface)
        .map(|&(_, version)| version)
}
